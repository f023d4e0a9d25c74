"""Models that `implicit` saved: real ones give its own lists, whatever else a file holds is refused in two lines."""

import io
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from implicit.nearest_neighbours import BM25Recommender
from implicit.utils import ParameterWarning

from core.errors import DataError
from core.recommenders import implicit_file
from core.recommenders.base import Recommender, embed_users, rank
from core.recommenders.implicit_file import read_implicit, to_als
from tests.core.recommenders.implicit_models import (
    COLD_USER,
    KINDS,
    N_ITEMS,
    N_USERS,
    recommended,
    save_implicit,
    taste_log,
    train_implicit,
)

KNOWN = np.delete(np.arange(N_USERS), COLD_USER)
each = pytest.mark.parametrize("kind", sorted(KINDS))


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_model_gives_the_lists_of_implicit(kind: str, dtype: Any, tmp_path: Path) -> None:
    theirs = train_implicit(kind, taste_log(), dtype=dtype)
    theirs.save(tmp_path / "model.npz")
    model = read_implicit(tmp_path / "model.npz")
    assert model.kind == kind and model.users is not None
    assert model.users.shape == (N_USERS, 6) and model.items.shape == (N_ITEMS, 6)
    bias = np.zeros(N_ITEMS, np.float32) if model.item_bias is None else model.item_bias
    scores = model.users[KNOWN] @ model.items.T + bias
    lists = rank(scores, 20, taste_log().histories(KNOWN))
    assert np.array_equal(lists, recommended(theirs, taste_log(), KNOWN, 20))
    assert (model.item_bias is None) == (kind == "als")
    for array in (model.users, model.items, bias):
        assert array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable


def test_a_saved_als_becomes_our_own_with_its_viewers_and_its_fold_in(tmp_path: Path) -> None:
    theirs = train_implicit("als", taste_log(), alpha=7.5, regularization=0.25)
    theirs.save(tmp_path / "model.npz")
    ours = to_als(read_implicit(tmp_path / "model.npz"))
    assert isinstance(ours, Recommender)
    assert (ours.config.confidence, ours.config.regularisation, ours.regularisation) == (7.5, 0.25, 0.25)
    histories = taste_log().histories(KNOWN)
    lists = rank(ours.score(embed_users(ours, taste_log(), KNOWN)), 20, histories)
    assert np.array_equal(lists, recommended(theirs, taste_log(), KNOWN, 20))
    folded = rank(ours.score(ours.embed(histories)), 20, histories)
    assert np.array_equal(folded, recommended(theirs, taste_log(), KNOWN, 20, recalculate_user=True))
    assert not np.array_equal(folded, lists)


def test_only_an_als_becomes_an_als(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bpr"):
        to_als(read_implicit(save_implicit(tmp_path / "model.npz", "bpr")))


def test_settings_are_read_from_the_file_whatever_their_type(tmp_path: Path) -> None:
    model = read_implicit(save_implicit(tmp_path / "model.npz", "als", regularization=3, alpha=2))
    assert (model.regularization, model.alpha) == (3.0, 2.0)
    assert read_implicit(save_implicit(tmp_path / "b.npz", "bpr", regularization=0.02)).regularization == 0.02
    assert read_implicit(tmp_path / "b.npz").alpha is None


def test_an_item_item_model_is_refused_by_name(tmp_path: Path) -> None:
    model = BM25Recommender(K=3, num_threads=1)
    with pytest.warns(ParameterWarning):  # implicit converts its own matrix
        model.fit(taste_log().matrix(), show_progress=False)
    model.save(str(tmp_path / "model.npz"))
    with pytest.raises(DataError, match="item-item model") as caught:
        read_implicit(tmp_path / "model.npz")
    assert "AlternatingLeastSquares" in caught.value.fix


def test_a_model_that_was_never_fitted_says_so(tmp_path: Path) -> None:
    KINDS["als"](num_threads=1).save(tmp_path / "model.npz")
    with pytest.raises(DataError, match="no item_factors") as caught:
        read_implicit(tmp_path / "model.npz")
    assert caught.value.fix == "Fit the model, then save it."


def test_a_file_of_other_arrays_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", vectors=np.eye(3), ids=np.arange(3))
    with pytest.raises(DataError, match=r"it holds vectors, ids\."):
        read_implicit(tmp_path / "other.npz")


@cache
def parts(kind: str = "als") -> dict[str, np.ndarray]:
    """Give the attributes of a saved model, not to be changed."""
    stream = io.BytesIO()
    train_implicit(kind, taste_log()).save(stream)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        return dict(arrays)


def changed(path: Path, kind: str = "als", without: str = "", **values: Any) -> Path:
    arrays = {k: v for k, v in {**parts(kind), **values}.items() if k != without}
    np.savez(path, **arrays)
    return path


def spoilt(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[2, 1] = value
    return array


FACTORS = np.ones((N_ITEMS, 6), np.float32)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no penalty": ({"without": "regularization"}, "no regularization"),
    "no width": ({"without": "factors"}, "no factors"),
    "a negative penalty": ({"regularization": -1.0}, "regularization is -1"),
    "a penalty that is no number": ({"regularization": np.nan}, "regularization is nan"),
    "no confidence": ({"alpha": 0.0}, "alpha is 0"),
    "a penalty of text": ({"regularization": "much"}, "regularization has values of type <U4"),
    "three penalties": ({"regularization": np.ones(3)}, r"regularization has the shape \(3\), expected \(\)"),
    "half a factor": ({"factors": 6.5}, "factors has values of type float64"),
    "wider than it says": ({"item_factors": np.ones((N_ITEMS, 7))}, r"has the shape \(50, 7\), expected \(n, 6\)"),
    "viewers narrower than items": ({"user_factors": np.ones((4, 5))}, r"user_factors has the shape \(4, 5\)"),
    "a list of items": ({"item_factors": np.ones(6)}, r"has the shape \(6\), expected \(n, 6\)"),
    "no items": ({"item_factors": np.ones((0, 6))}, r"has the shape \(0, 6\)"),
    "whole numbers": ({"item_factors": np.ones((4, 6), int)}, "item_factors has values of type int64"),
    "complex numbers": ({"item_factors": np.ones((4, 6), np.complex64)}, "values of type complex64"),
    "NaN": ({"item_factors": spoilt(FACTORS, np.nan)}, "item_factors holds a value that is not a number"),
    "infinity": ({"user_factors": spoilt(FACTORS, np.inf)}, "user_factors holds values from 1 to inf"),
    "too large for float32": ({"item_factors": spoilt(np.ones((4, 6)), -1e300)}, "holds values from -1e.300 to 1"),
    "too wide to solve": ({"factors": 9999, "item_factors": np.ones((2, 9999))}, "factors is 9999"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_a_model_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    values, problem = WRONG[case]
    with pytest.raises(DataError, match=problem) as caught:
        read_implicit(changed(tmp_path / "model.npz", **values))
    assert caught.value.fix.endswith(".")


@pytest.mark.parametrize("kind", ["bpr", "logistic"])
def test_biases_without_their_column_of_ones_are_refused(kind: str, tmp_path: Path) -> None:
    users = parts(kind)["user_factors"].copy()
    users[3, 6] = 0.5
    with pytest.raises(DataError, match="column 7 of user_factors is not 1"):
        read_implicit(changed(tmp_path / "model.npz", kind, user_factors=users))


def test_half_precision_columns_first_and_the_other_byte_order_are_read_too(tmp_path: Path) -> None:
    items = parts()["item_factors"]
    for stored in (items.astype(np.float16), np.asfortranarray(items), items.astype(">f4")):
        read = read_implicit(changed(tmp_path / "model.npz", item_factors=stored)).items
        assert np.array_equal(read, stored.astype(np.float32)) and read.flags.c_contiguous


def test_a_model_without_viewers_or_of_a_version_without_alpha_is_read(tmp_path: Path) -> None:
    assert read_implicit(changed(tmp_path / "model.npz", without="user_factors")).users is None
    assert to_als(read_implicit(tmp_path / "model.npz")).native_users is None
    assert read_implicit(changed(tmp_path / "model.npz", without="alpha")).alpha == 1.0


def test_objects_are_refused_unread(tmp_path: Path) -> None:
    trap = np.array([[Trap()] * 6], object)
    with pytest.raises(DataError, match="item_factors has values of type object"):
        read_implicit(changed(tmp_path / "model.npz", item_factors=trap))


class Trap:
    """Fails the test when somebody unpickles it."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("it was unpickled",)


def member(header: str, data: bytes = b"") -> bytes:
    """Give an .npy whose header says what is given."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def rebuilt(path: Path, compress: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    """Save an ALS with some of its members replaced, or joined by others, byte for byte."""
    source = path.with_name("source.npz")
    np.savez(source, **parts())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compress) as new:
        for name in old.namelist():
            if name.removesuffix(".npy") not in members:
                new.writestr(name, old.read(name))
        for name, data in members.items():
            new.writestr(name if "." in name else f"{name}.npy", data)
    return path


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (700000000, 6)}"


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"item_factors": member(HUGE, bytes(240))}, "item_factors has 240 bytes, expected 16,800,000,000"),
        ({"item_factors": member(HUGE.replace("700000000", "9"), bytes(240))}, "has 240 bytes, expected 216"),
        ({"item_factors": member(HUGE.replace("700000000", "-9"), bytes(24))}, r"has the shape \(-9, 6\)"),
        ({"item_factors": member(HUGE.replace("'<f4'", "[('a', '<f4')]"))}, "item_factors has values of type"),
        ({"item_factors": member("(" * 5000)}, "is no whole model"),
        ({"item_factors": member("{" * 20)}, "is no whole model"),
        ({"item_factors": member("[" + " " * 20_000)}, "is no whole model"),
        ({"item_factors": b"\x93NUMPY\x02\x00\xff\xff\xff\xff"}, "another version of NumPy's format"),
        ({"item_factors": b"GIF89a"}, "is no whole model"),
        ({"../../evil.npy": b""}, "has a member '../../evil.npy'"),
        ({"folder/x.npy": b""}, "has a member 'folder/x.npy'"),
        ({"readme.txt": b""}, "has a member 'readme.txt'"),
        ({"spaced name.npy": b""}, "has a member 'spaced name.npy'"),
    ],
)
def test_hostile_members_are_refused(members: dict[str, bytes], problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=problem):
        read_implicit(rebuilt(tmp_path / "model.npz", **members))


def test_compressed_members_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = rebuilt(tmp_path / "model.npz", zipfile.ZIP_DEFLATED, item_factors=bytes(50 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="compressed or locked member"):
        read_implicit(path)


def test_a_member_twice_is_refused(tmp_path: Path) -> None:
    path = rebuilt(tmp_path / "model.npz")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("alpha.npy", b"")
    with pytest.raises(DataError, match=r"the member 'alpha.npy' twice"):
        read_implicit(path)


def test_members_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    data = bytearray(rebuilt(tmp_path / "model.npz").read_bytes())
    place = data.index(b"PK\x01\x02", data.rindex(b"user_factors.npy") - 60)
    data[place + 20 : place + 28] = struct.pack("<II", len(data), len(data))  # both of its sizes in the list
    (tmp_path / "model.npz").write_bytes(data)
    with pytest.raises(DataError, match="claims to hold"):
        read_implicit(tmp_path / "model.npz")


def test_changed_numbers_do_not_match_their_checksum(tmp_path: Path) -> None:
    path = save_implicit(tmp_path / "model.npz", "als")
    data = bytearray(path.read_bytes())
    place = data.index(b"item_factors.npy") + 400
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="Bad CRC-32"):
        read_implicit(path)


def test_what_is_no_zip_archive_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    for data, problem in (
        (b"", "no zip archive"),
        (b"user,item\n1,2\n", "no zip archive"),
        (b"\x80\x04\x95", "a pickle, which is not read"),
        (b"\x93NUMPY\x01\x00", "a single array"),
        (save_implicit(tmp_path / "whole.npz", "als").read_bytes()[:-30], "is cut off"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=problem):
            read_implicit(path)
    for missing in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(DataError, match="is missing or no file"):
            read_implicit(missing)


def test_sizes_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_implicit(tmp_path / "model.npz", "als")
    monkeypatch.setattr(implicit_file, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(DataError, match="bytes, more than"):
        read_implicit(path)
    monkeypatch.undo()
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(1500):
            archive.writestr(f"a{i}.npy", b"")
    with pytest.raises(DataError, match="lists more members"):
        read_implicit(path)


@each
def test_a_file_damaged_anywhere_is_read_whole_or_refused(kind: str, tmp_path: Path) -> None:
    whole = save_implicit(tmp_path / "whole.npz", kind).read_bytes()
    path, random, refused = tmp_path / "model.npz", np.random.default_rng(0), 0
    for trial in range(160):
        data = bytearray(whole)
        if trial % 4 == 0:
            del data[int(random.integers(len(data))) :]
        else:
            for place in random.integers(len(data), size=trial % 4):
                data[place] = random.integers(256)
        path.write_bytes(data)
        try:
            model = read_implicit(path)
            assert np.isfinite(model.items).all()
        except DataError:
            refused += 1
    assert refused > 80
