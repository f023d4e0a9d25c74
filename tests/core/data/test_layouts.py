"""The official layouts, on small files written as their homes write them."""

from pathlib import Path

import pandas as pd
import pytest

from core.data.layouts.movielens import AGE_BANDS, OCCUPATIONS
from core.data.layouts.tagging import VAGUE_TAGS, most_used_tags
from core.data.loaders import DataConfig, read_dataset
from core.errors import DataError


@pytest.fixture
def ml_1m(tmp_path: Path) -> Path:
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ratings.dat").write_text(
        "2::10::3::978298413\n1::10::5::978300760\n1::7::3::978302109\n1::10::4::978300761\n"
    )
    films = (
        "7::Misérables, Les (1995)::Drama|Musical\n10::Mission: Impossible (1996)::Action\n11::Unseen (1990)::Drama\n"
    )
    (folder / "movies.dat").write_bytes(films.encode("latin-1"))
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    return folder


def test_movielens_1m_is_read_with_its_people_and_times(ml_1m: Path) -> None:
    dataset = read_dataset(ml_1m)
    assert (dataset.name, dataset.users.ids, dataset.items.ids) == ("ml-1m", ("1", "2"), ("7", "10"))
    assert dataset.titles() == ["Les Misérables", "Mission: Impossible"]
    assert dataset.item_table["year"].tolist() == [1995, 1996]
    assert dataset.item_table["genres"].tolist() == [("Drama", "Musical"), ("Action",)]
    assert [dataset.history(0).tolist(), dataset.history(1).tolist()] == [[1, 0], [1]]
    assert dataset.timestamps is not None
    assert dataset.timestamps.tolist() == [978300761, 978302109, 978298413]
    assert dataset.user_table is not None
    assert dataset.user_table.to_dict("list") == {
        "gender": ["F", "M"],
        "age": ["Under 18", "56+"],
        "occupation": ["K-12 student", "self-employed"],
    }
    assert dataset.licence.startswith("MovieLens data of GroupLens")


def test_a_least_rating_uses_the_latest_rating_of_a_pair(ml_1m: Path) -> None:
    with (ml_1m / "ratings.dat").open("a") as file:
        file.write("2::7::5::978298414\n")
    dataset = read_dataset(ml_1m, options=DataConfig(min_rating=4))
    assert [h.tolist() for h in dataset.histories()] == [[1], [0]]


def test_a_generic_log_wins_over_official_files_beside_it(ml_1m: Path) -> None:
    (ml_1m / "interactions.csv").write_text("user_id,item_id\n5,a\n6,b\n")
    (ml_1m / "items.csv").write_text("item_id,title\na,A\nb,B\n")
    assert read_dataset(ml_1m).users.ids == ("5", "6")


def test_half_of_an_official_layout_says_what_is_lacking(ml_1m: Path) -> None:
    (ml_1m / "ratings.dat").unlink()
    with pytest.raises(DataError, match=r"lacks ratings\.dat beside movies\.dat"):
        read_dataset(ml_1m)


def test_a_ratings_file_of_another_separator_is_told(ml_1m: Path) -> None:
    (ml_1m / "ratings.dat").write_text("1,10,5,978300760\n")
    with pytest.raises(DataError, match="separated by a comma, expected a double colon"):
        read_dataset(ml_1m)


def test_movielens_10m_has_no_people_and_half_stars(ml_1m: Path) -> None:
    (ml_1m / "users.dat").unlink()
    (ml_1m / "ratings.dat").write_text("1::7::4.5::978300760\n2::10::0.5::978300761\n")
    dataset = read_dataset(ml_1m)
    assert dataset.user_table is None
    assert dataset.n_interactions == 2


@pytest.mark.parametrize("first", ["1\t1\t5\t874965758", "1 1 5\t874965758"])
def test_movielens_100k_is_read_also_where_a_copy_mixes_blanks_and_tabs(tmp_path: Path, first: str) -> None:
    (tmp_path / "u.data").write_text(f"{first}\n2\t2\t3\t876893171\n1\t2\t4\t874965700\n")
    (tmp_path / "u.genre").write_text("unknown|0\nAction|1\nDrama|2\n\n")
    (tmp_path / "u.item").write_bytes(
        "1|Crow, The (1994)|01-Jan-1994||http://x|0|1|1\n2|Été|01-Jan-1995||http://y|1|0|0\n".encode("latin-1")
    )
    (tmp_path / "u.user").write_text("1|17|M|writer|85711\n2|53|F|other|94043\n")
    dataset = read_dataset(tmp_path)
    assert dataset.titles() == ["The Crow", "Été"]
    assert dataset.item_table["year"].tolist() == [1994, pd.NA]
    assert dataset.item_table["genres"].tolist() == [("Action", "Drama"), ()]
    assert dataset.history(0).tolist() == [1, 0]
    assert dataset.user_table is not None
    assert dataset.user_table.to_numpy().tolist() == [["M", "Under 18", "writer"], ["F", "50-55", "other"]]


def test_movielens_latest_is_read_with_its_most_used_tags(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,3,4.0,964982703\n2,5,3.5,964982704\n")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n3,"Postino, Il (1994)",Comedy|Drama\n5,"Babylon, 5",(no genres listed)\n'
    )
    (tmp_path / "tags.csv").write_text(
        "userId,movieId,tag,timestamp\n1,3,Poetry,1\n2,3,poetry ,1\n1,3,in Netflix queue,1\n1,3,Italy,1\n"
    )
    dataset = read_dataset(tmp_path)
    assert dataset.titles() == ["Il Postino", "Babylon, 5"]
    assert dataset.item_table["genres"].tolist() == [("Comedy", "Drama"), ()]
    assert dataset.item_table["tags"].tolist() == [("poetry", "italy"), ()]
    (tmp_path / "tags.csv").unlink()
    assert read_dataset(tmp_path).item_table["tags"].tolist() == [(), ()]


def test_lastfm_gives_artists_their_most_used_tags_as_genres(tmp_path: Path) -> None:
    crlf = "\r\n"
    tables = {
        "user_artists.dat": ["userID\tartistID\tweight", "2\t51\t13883", "2\t52\t1", "3\t51\t9", "3\t51\t9"],
        "artists.dat": ["id\tname\turl\tpictureURL", '51\t"Weird" Al\tu\tp', "52\tBjörk\tu\t", "53\tX\tu\tp"],
        "user_taggedartists.dat": ["userID\tartistID\ttagID\tday\tmonth\tyear"]
        + [f"{u}\t{a}\t{t}\t1\t4\t2009" for u, a, t in [(2, 51, 1), (3, 51, 1), (2, 51, 2), (3, 51, 2), (4, 51, 2)]]
        + [f"2\t51\t{t}\t1\t4\t2009" for t in (3, 4, 5, 6)]
        + ["2\t52\t4\t1\t4\t2009", "2\t99\t4\t1\t4\t2009", "2\t52\t77\t1\t4\t2009"],
    }
    for name, lines in tables.items():
        (tmp_path / name).write_bytes((crlf.join(lines) + crlf).encode())
    tags = "tagID\ttagValue\r\n1\tcomedy\r\n2\tseen live\r\n3\tchanson française\r\n4\tpop\r\n5\trock\r\n6\tzouk\r\n"
    (tmp_path / "tags.dat").write_bytes(tags.encode("latin-1"))
    dataset = read_dataset(tmp_path)
    assert dataset.titles() == ['"Weird" Al', "Björk"]
    # comedy was given twice; of those given once, pop is the most used elsewhere, then the alphabet decides
    assert dataset.item_table["genres"].tolist() == [("comedy", "pop", "chanson française", "rock"), ("pop",)]
    assert dataset.timestamps is None
    assert dataset.n_interactions == 3
    with pytest.raises(DataError, match="one user only"):
        read_dataset(tmp_path, options=DataConfig(min_rating=1000))


def test_vague_tags_are_whole_words_in_lower_case() -> None:
    assert {"seen live", "favourites", "in netflix queue", "<3"} <= VAGUE_TAGS
    assert all(tag == tag.strip().lower() and tag for tag in VAGUE_TAGS)
    assert "live action" not in VAGUE_TAGS


def test_only_so_many_tags_are_kept() -> None:
    table = pd.DataFrame({"item": ["a"] * 4, "tag": ["z", "y", "x", "y"]})
    assert most_used_tags(table, "item", "tag", n=2) == {"a": ("y", "x")}


def test_the_tables_of_people_are_complete() -> None:
    assert len(OCCUPATIONS) == 21
    assert len(AGE_BANDS) == 7
