"""Generic folders: what is read, what is filtered, and the two lines that a broken file ends in."""

from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.configs import from_dict
from core.data.assemble import TITLE_LIMIT
from core.data.loaders import DataConfig, has_layout, read_dataset
from core.errors import ConfigError, DataError
from tests.core.data.conftest import ITEMS, Write

Factory = pytest.TempPathFactory


def histories(path: Path, **options: object) -> dict[str, list[str]]:
    dataset = read_dataset(path, options=from_dict(DataConfig, options))
    return {u: [dataset.items.ids[i] for i in dataset.history(n)] for n, u in enumerate(dataset.users.ids)}


def test_a_small_folder_is_read_as_it_is_written(write: Write) -> None:
    dataset = read_dataset(write(users__csv="user_id,gender,age\n2,F,30\n1,M,\n"))
    assert dataset.name == "shop"
    assert dataset.users.ids == ("1", "2")
    assert dataset.items.ids == ("a", "b", "c")
    assert dataset.user_index.tolist() == [0, 0, 1, 1]
    assert dataset.item_index.tolist() == [0, 1, 1, 2]
    assert dataset.user_index.dtype == dataset.item_index.dtype == np.int32
    assert dataset.timestamps is None
    assert dataset.titles() == ["Alpha", "Beta", "Gamma"]
    assert dataset.item_table["year"].tolist() == [1990, 1991, pd.NA]
    assert dataset.item_table["genres"].tolist() == [("Drama", "War"), (), ("Comedy",)]
    assert dataset.item_table["tags"].tolist() == [("war",), (), ("fun", "odd")]
    assert dataset.user_table is not None
    assert dataset.user_table["gender"].tolist() == ["M", "F"]
    assert dataset.notes == ()
    assert not dataset.simulated


def test_parquet_gives_the_same_dataset_as_csv(write: Write, tmp_path: Path) -> None:
    csv = write(users__csv="user_id,age\n1,20\n2,30\n")
    parquet = tmp_path / "parquet" / "shop"
    parquet.mkdir(parents=True)
    for table in ("interactions", "items", "users"):
        pd.read_csv(csv / f"{table}.csv", dtype=str).to_parquet(parquet / f"{table}.parquet")
    assert read_dataset(parquet).fingerprint() == read_dataset(csv).fingerprint()


def test_parquet_may_hold_whole_number_ids_and_lists_of_genres(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [7, 7, 8], "item_id": [1, 2, 2]}).to_parquet(tmp_path / "interactions.parquet")
    table = pd.DataFrame({"item_id": [1, 2], "title": ["A", "B"], "year": [1990, None], "genres": [["x", "y"], None]})
    table.to_parquet(tmp_path / "items.parquet")
    dataset = read_dataset(tmp_path)
    assert dataset.users.ids == ("7", "8")
    assert dataset.item_table["genres"].tolist() == [("x", "y"), ()]
    assert dataset.item_table["year"].tolist() == [1990, pd.NA]


def test_times_order_a_history_and_whole_number_ids_are_in_their_order(write: Write) -> None:
    text = "user_id,item_id,timestamp\n10,a,5\n9,c,3\n10,b,4\n10,c,4\n9,a,9\n"
    dataset = read_dataset(write(interactions__csv=text))
    assert dataset.users.ids == ("9", "10")
    assert dataset.item_index.tolist() == [2, 0, 1, 2, 0]
    assert dataset.timestamps is not None
    assert dataset.timestamps.tolist() == [3, 9, 4, 4, 5]


def test_other_ids_are_in_the_order_of_the_file_and_may_be_any_text(write: Write) -> None:
    text = 'user_id,item_id\nżółw two,Ä b\n"a, b",東京\nżółw two,東京\n'
    path = write(interactions__csv=text, items__csv="item_id,title\n東京,Tokyo\nÄ b,<b>$x$</b>\n")
    assert histories(path) == {"żółw two": ["Ä b", "東京"], "a, b": ["東京"]}
    assert read_dataset(path).titles() == ["Tokyo", "<b>$x$</b>"]


def test_a_repeated_interaction_counts_once_and_a_note_says_so(write: Write) -> None:
    path = write(interactions__csv="user_id,item_id,timestamp\n1,a,1\n1,b,2\n1,a,3\n2,c,1\n")
    assert histories(path) == {"1": ["b", "a"], "2": ["c"]}
    assert "1 repeated interactions were kept once." in read_dataset(path).notes


def test_items_without_interactions_are_dropped_with_a_note_or_kept(write: Write) -> None:
    path = write(interactions__csv="user_id,item_id\n1,a\n2,c\n")
    dataset = read_dataset(path)
    assert dataset.items.ids == ("a", "c")
    assert dataset.titles() == ["Alpha", "Gamma"]
    assert dataset.notes == ("1 items without any interaction were dropped.",)
    kept = read_dataset(path, options=DataConfig(keep_unused_items=True))
    assert kept.items.ids == ("a", "b", "c")
    assert kept.item_counts.tolist() == [1, 0, 1]


def test_low_ratings_are_dropped_after_the_latest_of_a_pair_is_taken(write: Write) -> None:
    path = write(interactions__csv="user_id,item_id,rating\n1,a,5\n1,b,3.5\n1,a,2\n2,b,4\n2,c,3\n")
    with pytest.raises(DataError, match="one item only"):
        histories(path, min_rating=3.5)
    assert histories(path, min_rating=3) == {"1": ["b"], "2": ["b", "c"]}


def test_a_minimum_rating_needs_ratings(write: Write) -> None:
    with pytest.raises(DataError, match="no ratings"):
        read_dataset(write(), options=DataConfig(min_rating=3))


def test_the_core_is_taken_again_until_every_minimum_holds(write: Write) -> None:
    # 3 has one item: it goes; then d has one user: it goes; then 2 has one item left ...
    text = "user_id,item_id\n1,a\n1,b\n4,a\n4,b\n2,a\n2,d\n3,d\n"
    path = write(interactions__csv=text, items__csv="item_id,title\na,A\nb,B\nd,D\n")
    assert histories(path, k_core=2) == {"1": ["a", "b"], "4": ["a", "b"]}
    assert histories(path, min_user_items=2) == {"1": ["a", "b"], "2": ["a", "d"], "4": ["a", "b"]}
    assert histories(path, min_item_users=2)["2"] == ["a", "d"]


def test_filters_that_leave_nothing_say_so(write: Write) -> None:
    with pytest.raises(DataError, match="No interaction of shop is left") as caught:
        read_dataset(write(), options=DataConfig(k_core=9))
    assert "k_core" in caught.value.fix


def test_unknown_items_are_refused_dropped_or_kept(write: Write) -> None:
    path = write(interactions__csv="user_id,item_id\n1,a\n1,x\n2,b\n2,x\n2,y\n")
    with pytest.raises(
        DataError, match="3 interactions are with 2 items that the item table lacks: 'x', 'y'"
    ) as caught:
        read_dataset(path)
    assert "data.unknown_items" in caught.value.fix
    assert histories(path, unknown_items="drop") == {"1": ["a"], "2": ["b"]}
    kept = read_dataset(path, options=DataConfig(unknown_items="keep"))
    assert kept.titles() == ["Alpha", "Beta", "x", "y"]
    assert kept.item_table["genres"].tolist()[2:] == [(), ()]


def test_users_without_a_row_and_rows_without_a_user_are_told(write: Write) -> None:
    dataset = read_dataset(write(users__csv="user_id,age\n1,20\n77,30\n78,30\n"))
    assert dataset.user_table is not None
    assert dataset.user_table["age"].isna().tolist() == [False, True]
    assert "1 users have interactions and no row in the user table." in dataset.notes
    assert "2 users without any interaction were dropped." in dataset.notes


def test_articles_move_to_the_front_of_titles_and_a_note_says_so(write: Write) -> None:
    items = 'item_id,title\na,"American President, The"\nb,"Cry, the Beloved Country"\nc,"Misérables, Les (1995)"\n'
    dataset = read_dataset(write(items__csv=items))
    assert dataset.titles() == ["The American President", "Cry, the Beloved Country", "Les Misérables (1995)"]
    assert dataset.notes == ("2 titles such as 'American President, The' are shown as 'The American President'.",)


@pytest.mark.parametrize(
    "title", ["<script>alert(1)</script>", "**bold** _it_ [x](y)", r"$\frac{1}{2}$ `c`", "a\u202eb"]
)
def test_a_hostile_title_is_kept_as_it_is(write: Write, title: str) -> None:
    assert read_dataset(write(items__csv=f"item_id,title\na,{title}\nb,B\nc,C\n")).titles()[0] == title


def test_a_very_long_title_is_cut_and_an_empty_one_shown_by_its_id(write: Write) -> None:
    dataset = read_dataset(write(items__csv=f"item_id,title\na,{'x' * 10_000}\nb,\nc,C\n"))
    assert dataset.titles() == ["x" * (TITLE_LIMIT - 1) + "…", "b", "C"]
    assert len(dataset.notes) == 2


def test_a_year_that_is_none_is_left_out_with_a_note(write: Write) -> None:
    dataset = read_dataset(write(items__csv="item_id,title,year\na,A,199O\nb,B,1990.0\nc,C,\n"))
    assert dataset.item_table["year"].tolist() == [pd.NA, 1990, pd.NA]
    assert dataset.notes == ("1 items have a year that is not one, such as '199O': shown without.",)


def test_a_user_with_one_interaction_is_a_user(write: Write) -> None:
    assert histories(write(interactions__csv="user_id,item_id\n1,a\n2,b\n")) == {"1": ["a"], "2": ["b"]}


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(write: Write) -> None:
    path = write(interactions__csv=b"\xef\xbb\xbfuser_id,item_id\r\n1,a\r\n2,b\r\n")
    assert histories(path) == {"1": ["a"], "2": ["b"]}


BROKEN: dict[str, tuple[dict[str, str | bytes | None], str]] = {
    "no items": ({"items__csv": None}, r"items\.csv is missing"),
    "no items, near name": ({"items__csv": None, "item__csv": "x"}, r"did you mean 'item\.csv'"),
    "no log, near name": ({"interactions__csv": None, "interaction__csv": "x"}, r"'interaction\.csv' is there"),
    "nothing": ({"interactions__csv": None, "items__csv": None}, r"holds no interactions\.csv"),
    "column": ({"interactions__csv": "userid,item_id\n1,a\n"}, r"no column 'user_id' \(did you mean 'userid'\?\)"),
    "no title": ({"items__csv": "item_id,name\na,A\n"}, "no column 'title'"),
    "semicolons": ({"interactions__csv": "user_id;item_id\n1;a\n"}, "separated by a semicolon, expected a comma"),
    "tabs": ({"items__csv": "item_id\ttitle\na\tA\n"}, "separated by a tab"),
    "utf-16": ({"items__csv": "item_id,title\na,A\n".encode("utf-16")}, "UTF-16"),
    "utf-16 without mark": ({"items__csv": "item_id,title\na,A\n".encode("utf-16-le")}, "NUL byte in line 1"),
    "latin-1": ({"items__csv": "item_id,title\na,A\nb,Amélie\n".encode("latin-1")}, "not UTF-8: byte 0xe9 in line 3"),
    "nul": ({"interactions__csv": b"user_id,item_id\n1,a\n2,\0b\n"}, "NUL byte in line 3"),
    "empty": ({"interactions__csv": ""}, "is empty"),
    "header only": ({"interactions__csv": "user_id,item_id\n"}, "a header and no rows"),
    "blank lines": ({"interactions__csv": "\n\n\n"}, "begins with a blank line"),
    "old Macintosh": ({"interactions__csv": "user_id,item_id\r1,a\r2,b\r"}, "carriage return only"),
    "column twice": ({"interactions__csv": "user_id,item_id,item_id\n1,a,b\n"}, "column 'item_id' more than once"),
    "title twice": ({"items__csv": "item_id,title,title\na,A,B\n"}, "column 'title' more than once"),
    "user column twice": ({"users__csv": "user_id,age,age\n1,3,4\n"}, "column 'age' more than once"),
    "no item id": ({"items__csv": "item_id,title\na,A\n,B\n"}, "1 rows without a item_id"),
    "ragged": ({"interactions__csv": "user_id,item_id\n1,a\n2,b,c\n"}, "damaged row"),
    "item twice": ({"items__csv": "item_id,title\na,A\nb,B\na,C\n"}, "1 ids more than once: 'a'"),
    "user twice": ({"users__csv": "user_id,age\n1,3\n1,4\n"}, "1 ids more than once: '1'"),
    "rating": ({"interactions__csv": "user_id,item_id,rating\n1,a,good\n"}, "not a number.*good"),
    "nan rating": (
        {"interactions__csv": "user_id,item_id,rating\n1,a,3\n2,b,NaN\n"},
        "impossible rating.*nan in row 2",
    ),
    "no rating": ({"interactions__csv": "user_id,item_id,rating\n1,a,3\n2,b,\n"}, "impossible rating.*row 2"),
    "infinite": ({"interactions__csv": "user_id,item_id,rating\n1,a,inf\n2,b,1\n"}, "impossible rating"),
    "past": ({"interactions__csv": "user_id,item_id,timestamp\n1,a,-4\n2,b,3\n"}, "impossible timestamp.*-4"),
    "milliseconds": ({"interactions__csv": "user_id,item_id,timestamp\n1,a,1500000000000\n"}, "seconds since 1970"),
    "date": ({"interactions__csv": "user_id,item_id,timestamp\n1,a,2020-01-01\n"}, "not a number"),
    "no id": ({"interactions__csv": "user_id,item_id\n,a\n2,b\n"}, "without a user_id"),
    "one user": ({"interactions__csv": "user_id,item_id\n1,a\n1,b\n"}, "one user only"),
    "one item": ({"interactions__csv": "user_id,item_id\n1,a\n2,a\n"}, "one item only"),
    "parquet": ({"items__csv": None, "items__parquet": b"PAR1 not at all PAR1"}, "cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_ends_in_a_problem_and_a_fix(write: Write, case: str) -> None:
    files, problem = BROKEN[case]
    with pytest.raises(DataError, match=problem) as caught:
        read_dataset(write(**files))
    assert caught.value.fix
    assert "\n" not in caught.value.problem + caught.value.fix


def test_parquet_may_hold_numbers_times_bytes_and_lists_where_text_is_expected(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2]}).to_parquet(tmp_path / "interactions.parquet")
    pd.DataFrame({"item_id": [1, 2], "title": [300, 1984]}).to_parquet(tmp_path / "items.parquet")
    odd = {"user_id": [1, 2], "blob": [b"\xff", None], "since": pd.Timestamp("2020-01-01"), "list": [[1], [2, 3]]}
    pd.DataFrame(odd).to_parquet(tmp_path / "users.parquet")
    dataset = read_dataset(tmp_path)
    assert dataset.titles() == ["300", "1984"]
    assert dataset.user_table is not None
    assert dataset.user_table["list"].tolist() == ["[1]", "[2 3]"]
    assert dataset.user_table["blob"].isna().tolist() == [False, True]
    assert len(dataset.fingerprint()) == 16


def test_latin_1_is_read_where_it_is_asked_for(write: Write) -> None:
    path = write(items__csv="item_id,title\na,Amélie\nb,B\nc,C\n".encode("latin-1"))
    assert read_dataset(path, options=DataConfig(encoding="latin-1")).titles()[0] == "Amélie"


def test_a_missing_folder_and_a_file_in_its_place_are_told_apart(write: Write) -> None:
    path = write()
    with pytest.raises(DataError, match="does not exist"):
        read_dataset(path / "nothing")
    with pytest.raises(DataError, match="is a file"):
        read_dataset(path / "items.csv")


def test_a_layout_is_known_by_its_files(write: Write, tmp_path: Path) -> None:
    assert has_layout(write())
    assert not has_layout(tmp_path)
    assert not has_layout(write("other", interactions__csv=None))


@pytest.mark.parametrize(
    "values", [{"k_core": -1}, {"unknown_items": "guess"}, {"min_ratng": 3}, {"encoding": "utf-7"}]
)
def test_options_that_cannot_be_are_refused(values: dict) -> None:
    with pytest.raises(ConfigError):
        from_dict(DataConfig, values)


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter_where_there_are_times(
    tmp_path_factory: Factory, random: Random
) -> None:
    lines = [f"{u},{i},{u * 7 + n}" for u in range(6) for n, i in enumerate("abc"[: 1 + u % 3])]
    folders = []
    for order in (lines, random.sample(lines, len(lines))):
        folder = tmp_path_factory.mktemp("order") / "shop"
        folder.mkdir()
        (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(order))
        (folder / "items.csv").write_text(ITEMS)
        folders.append(folder)
    assert read_dataset(folders[0]).fingerprint() == read_dataset(folders[1]).fingerprint()


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), min_size=8), st.integers(0, 4))
def test_in_a_core_every_minimum_holds(tmp_path_factory: Factory, rows: list[tuple[int, str]], k: int) -> None:
    folder = tmp_path_factory.mktemp("core")
    (folder / "interactions.csv").write_text("user_id,item_id\n" + "\n".join(f"{u},{i}" for u, i in rows))
    (folder / "items.csv").write_text(ITEMS)
    try:
        dataset = read_dataset(folder, options=DataConfig(k_core=k))
    except DataError:
        return
    assert np.diff(dataset.indptr).min() >= max(k, 1)
    assert dataset.item_counts.min() >= max(k, 1)
    assert dataset.n_interactions <= len(set(rows))
    if k <= 1:
        assert dataset.n_interactions == len(set(rows))
