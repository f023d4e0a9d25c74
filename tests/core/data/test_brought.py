"""A model's ids and a person's tables: everything finds its row, and what does not is said."""

from pathlib import Path

import numpy as np
import pytest

from core.data.brought import Ids, Joined, Tables, join
from core.errors import DataError

ITEMS = "item_id,title,year,genres\na,Alien,1979,Horror\nb,Brazil,1985,Comedy|Drama\nc,Cube,1997,Horror\nd,Dune,,\n"
LOG = "user_id,item_id,timestamp\nv,c,3\nu,a,1\nu,b,2\nv,a,9\nu,a,5\n"


def write(folder: Path, items: str = ITEMS, log: str | None = None, users: str | None = None) -> Tables:
    paths = []
    for name, text in (("items.csv", items), ("log.csv", log), ("people.csv", users)):
        paths.append(None if text is None else folder / name)
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    assert paths[0] is not None
    return Tables(*paths)


def items_of(*ids: str) -> Ids:
    return Ids(ids, len(ids), "items.npy", "--item-ids")


def users_of(*ids: str) -> Ids:
    return Ids(ids, len(ids), "users.npy", "--user-ids")


def joined(tables: Tables, items: Ids | None = None, users: Ids | None = None, **more: str) -> Joined:
    found = join(tables, items or items_of("a", "b", "c", "d"), users, name="mine", **more)  # type: ignore[arg-type]
    assert len(found.item_rows) == found.dataset.n_items and len(found.user_rows) == found.dataset.n_users
    return found


def test_items_and_users_of_any_order_find_their_rows(tmp_path: Path) -> None:
    found = joined(write(tmp_path, log=LOG), items_of("d", "c", "b", "a"), users_of("w", "v", "u"))
    dataset = found.dataset
    assert dataset.items.ids == ("a", "b", "c", "d") and found.item_rows.tolist() == [3, 2, 1, 0]
    assert dict(zip(dataset.users.ids, found.user_rows.tolist(), strict=True)) == {"u": 2, "v": 1, "w": 0}
    histories = {u: [dataset.items.ids[i] for i in dataset.history(n)] for n, u in enumerate(dataset.users.ids)}
    assert histories == {"v": ["c", "a"], "u": ["b", "a"], "w": []}
    assert dataset.titles()[0] == "Alien" and dataset.n_interactions == 4
    assert dataset.notes == ("1 repeated interactions were kept once.",)


def test_there_need_be_no_log(tmp_path: Path) -> None:
    found = joined(write(tmp_path), users=users_of("x", "y"))
    dataset = found.dataset
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == (2, 4, 0)
    assert found.user_rows.tolist() == [0, 1] and dataset.history(1).tolist() == []
    assert (
        dataset.matrix().shape == (2, 4)
        and dataset.fingerprint() != joined(write(tmp_path), users=users_of("x", "z")).dataset.fingerprint()
    )


def test_there_need_be_no_vectors_of_users(tmp_path: Path) -> None:
    found = joined(write(tmp_path, log=LOG))
    assert found.user_rows.tolist() == [-1, -1] and set(found.dataset.users.ids) == {"u", "v"}


def test_users_without_a_vector_are_counted(tmp_path: Path) -> None:
    found = joined(write(tmp_path, log=LOG), users=users_of("u"))
    assert dict(zip(found.dataset.users.ids, found.user_rows.tolist(), strict=True)) == {"u": 0, "v": -1}
    assert "1 of 2 users of the interactions have no vector and are folded in: 'v'." in found.dataset.notes


def test_items_without_a_vector_are_left_out_with_their_interactions(tmp_path: Path) -> None:
    found = joined(write(tmp_path, log=LOG), items_of("d", "b", "a"))
    assert found.dataset.items.ids == ("a", "b", "d") and found.item_rows.tolist() == [2, 1, 0]
    assert found.dataset.n_interactions == 3
    assert "1 of 4 items have no vector and were left out: 'c'." in found.dataset.notes
    assert any("1 of 5 interactions are with 1 items without a vector" in n for n in found.dataset.notes)


@pytest.mark.parametrize("option", ["drop", "keep"])
def test_vectors_that_the_item_table_lacks_are_refused_dropped_or_kept(option: str, tmp_path: Path) -> None:
    tables, items = write(tmp_path, log=LOG + "u,z,7\n"), items_of("a", "z", "b", "c", "d")
    with pytest.raises(DataError, match=r"1 of 5 items of items.npy are not in items.csv: 'z'") as error:
        joined(tables, items)
    assert "--unknown-items" in error.value.fix
    found = joined(tables, items, unknown_items=option)
    kept = option == "keep"
    assert found.dataset.items.ids == ("a", "b", "c", "d", *(["z"] if kept else []))
    assert found.item_rows.tolist() == [0, 2, 3, 4, *([1] if kept else [])]
    assert found.dataset.n_interactions == 4 + kept
    assert found.dataset.titles()[-1] == ("z" if kept else "Dune") and found.dataset.item_table["genres"].iloc[-1] == ()


def test_interactions_with_items_that_nothing_knows_are_refused_or_left_out(tmp_path: Path) -> None:
    tables = write(tmp_path, log=LOG + "u,z,7\nv,z,7\nu,y,9\n")
    with pytest.raises(
        DataError, match=r"3 interactions of log.csv are with 2 items that the item table lacks: 'z', 'y'"
    ):
        joined(tables)
    assert joined(tables, unknown_items="drop").dataset.n_interactions == 4
    assert joined(tables, unknown_items="keep").dataset.n_items == 4


def test_rows_without_ids_follow_the_tables(tmp_path: Path) -> None:
    tables = write(tmp_path, users="user_id,age\ny,7\nx,8\n")
    found = joined(tables, Ids(None, 4, "i.npy", "--item-ids"), Ids(None, 2, "u.npy", "--user-ids"))
    assert found.item_rows.tolist() == [0, 1, 2, 3] and found.dataset.users.ids == ("y", "x")
    assert found.dataset.user_table is not None and found.dataset.user_table["age"].tolist() == ["7", "8"]
    numbered = joined(write(tmp_path), users=Ids(None, 3, "u.npy", "--user-ids")).dataset
    assert (
        numbered.users.ids == ("0", "1", "2")
        and "u.npy has no ids of its users: they are numbered from 0." in numbered.notes
    )


@pytest.mark.parametrize(
    ("items", "users", "said"),
    [
        (Ids(None, 3, "i.npy", "--item-ids"), None, "i.npy has 3 rows without ids, and items.csv 4 items"),
        (None, Ids(None, 2, "u.npy", "--user-ids"), "u.npy has 2 rows without ids, and the interactions 2 users"),
        (items_of("a", "b", "a", "b"), None, "items.npy gives 2 ids more than once: 'a', 'b'"),
        (None, users_of("u", "w", "u"), "users.npy gives 1 ids more than once: 'u'"),
        (
            items_of("1", "2", "3", "4"),
            None,
            "No item of items.npy is in items.csv: the one has '1', '2', '3', …, the other 'a', 'b'",
        ),
        (None, users_of("1", "2"), "No user of users.npy is in the interactions: the one has '1', '2', the others '"),
        (items_of("a"), None, "Only 1 item of items.csv has a vector"),
    ],
)
def test_what_cannot_be_told_is_refused(items: Ids | None, users: Ids | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        joined(write(tmp_path, log=LOG), items, users)


def test_a_log_of_another_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"No interaction of log.csv is with an item that has a vector: its items are 'q'"
    ):
        joined(write(tmp_path, log="user_id,item_id\nu,q\nv,q\n"))


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("1,Alien\n2,Brazil\n", "items.csv has no column 'item_id'"),
        (ITEMS + "a,Alien,1979,\n", "gives 1 ids more than once: 'a'"),
        ("item_id,title\n", "header and no rows"),
    ],
)
def test_an_item_table_that_is_none_is_refused(items: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        joined(write(tmp_path, items=items), users=users_of("u"))


def test_the_user_table_is_joined_by_id(tmp_path: Path) -> None:
    tables = write(tmp_path, log=LOG, users="user_id,age\nv,50\nw,60\nq,1\n")
    dataset = joined(tables, users=users_of("w", "u")).dataset
    assert dataset.user_table is not None
    ages = dict(zip(dataset.users.ids, dataset.user_table["age"], strict=True))
    assert ages["v"] == "50" and ages["w"] == "60" and not isinstance(ages["u"], str)
    assert "1 of 3 users have no row in the user table: 'u'." in dataset.notes
    twice = write(tmp_path, log=LOG, users="user_id,age\nv,50\nv,60\n")
    with pytest.raises(DataError, match="user table gives 1 ids more than once: 'v'"):
        joined(twice)


def test_rows_cannot_follow_a_user_table_with_a_missing_id(tmp_path: Path) -> None:
    tables = write(tmp_path, users="user_id,age\ny,7\n,8\n")
    with pytest.raises(DataError, match="user table has 1 rows without a user_id"):
        joined(tables, users=Ids(None, 2, "u.npy", "--user-ids"))


def test_a_dataset_without_a_log_comes_back_from_disk(tmp_path: Path) -> None:
    dataset = joined(write(tmp_path), users=users_of("x", "y")).dataset
    again = type(dataset).from_saved(*dataset.to_saved())
    assert again.fingerprint() == dataset.fingerprint() and np.array_equal(again.item_counts, np.zeros(4))
