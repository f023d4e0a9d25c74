"""The tables of RecBole, whose columns say their type."""

from pathlib import Path

import pytest

from core.data.layouts.atomic import read_interactions, read_items
from core.errors import DataError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_item_file_of_recbole_is_read(tmp_path: Path) -> None:
    text = (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Children's Comedy\n"
        '2\tMatrix, The\t1999\tAction Sci-Fi\n7\tThe "7"\t\t\n'
    )
    table, notes = read_items(written(tmp_path / "ml-100k.item", text))
    assert table["item_id"].tolist() == ["1", "2", "7"]
    assert table["title"].tolist() == ["Toy Story", "The Matrix", 'The "7"']
    assert table["year"].tolist()[:2] == [1995, 1999] and table["year"].isna().tolist() == [False, False, True]
    assert table["genres"].tolist() == [("Animation", "Children's", "Comedy"), ("Action", "Sci-Fi"), ()]
    assert len(notes) == 1 and "'Matrix, The'" in notes[0]


def test_an_item_table_with_commas_and_columns_without_a_type_is_read(tmp_path: Path) -> None:
    text = 'item_id:token,movie_title:token_seq,genre:token_seq,pop_score\n5,"Bug\'s Life, A",Animation War,0.5\n'
    table, _ = read_items(written(tmp_path / "items.csv", text))
    assert table.iloc[0][["item_id", "title", "genres"]].tolist() == ["5", "A Bug's Life", ("Animation", "War")]


def test_a_list_in_one_token_is_one_label(tmp_path: Path) -> None:
    text = "item_id:token\tname:token_seq\ttags:token\n1\tPortishead\ttrip hop\n"
    assert read_items(written(tmp_path / "x.item", text))[0]["tags"].tolist() == [("trip hop",)]


def test_titles_whose_utf_8_was_read_as_latin_1_are_mended_and_no_others(tmp_path: Path) -> None:
    text = "item_id:token\ttitle:token_seq\n1\tMisÃ©rables\n2\tMisérables\n3\tÃ\n4\tPlain\n5\t東京\n"
    table, notes = read_items(written(tmp_path / "x.item", text))
    assert table["title"].tolist() == ["Misérables", "Misérables", "Ã", "Plain", "東京"]
    assert notes == ("1 titles were UTF-8 read as Latin-1, and are shown as they were meant.",)


def test_an_item_table_in_the_generic_layout_is_read_as_such(tmp_path: Path) -> None:
    text = "item_id,title,genres\na,Star Wars: A New Hope,Action|War\n"
    table, _ = read_items(written(tmp_path / "items.csv", text))
    assert table["genres"].tolist() == [("Action", "War")]


def test_interactions_of_recbole_are_read(tmp_path: Path) -> None:
    text = "user_id:token\tartist_id:token\trating:float\ttimestamp:float\n7\ta\t5\t978300760\n7\tb\t3\t978302109\n"
    log = read_interactions(written(tmp_path / "x.inter", text), item="artist_id")
    assert log["user_id"].tolist() == ["7", "7"] and log["item_id"].tolist() == ["a", "b"]
    assert log["timestamp"].tolist() == [978300760, 978302109] and log["rating"].tolist() == [5, 3]


def test_interactions_in_the_generic_layout_are_read_as_such(tmp_path: Path) -> None:
    assert read_interactions(written(tmp_path / "interactions.csv", "user_id,item_id\n1,2\n"))["item_id"].tolist() == [
        "2"
    ]


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column item_id:token; its columns are business_id:token, name:token_seq"):
        read_items(written(tmp_path / "x.item", "business_id:token\tname:token_seq\n1\tx\n"))
    with pytest.raises(DataError, match=r"no column title:token or movie_title:token or item_name:token"):
        read_items(written(tmp_path / "x.item", "item_id:token\tprice:float\n1\t2\n"))
    with pytest.raises(DataError, match="is missing"):
        read_items(tmp_path / "y.item")


def test_an_impossible_time_is_named(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\ttimestamp:float\n7\ta\t978300760000\n"
    with pytest.raises(DataError, match="impossible timestamp"):
        read_interactions(written(tmp_path / "x.inter", text))
