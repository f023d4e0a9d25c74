"""Vectors out of a person's files: every format gives the same, and what cannot be used is said with numbers."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from core.errors import DataError
from core.recommenders.embeddings_file import read_bias, read_ids, read_matrix

X = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
IDS = ["a", "b", "c", "d"]


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def every_format(folder: Path) -> dict[str, Path]:
    np.savez(folder / "x.npz", vectors=X, ids=np.array(IDS))
    np.savez_compressed(folder / "z.npz", vectors=X, item_ids=np.array(IDS), other=np.zeros(9))
    save_file({"item.weight": X, "bias": X[:, 0].copy()}, folder / "x.safetensors")
    pd.DataFrame({"id": IDS, "v": list(X)}).to_parquet(folder / "pandas.parquet")
    pd.DataFrame(X, columns=[f"v{i}" for i in range(3)], index=IDS).to_parquet(folder / "index.parquet")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)
    return {
        "npy": npy(folder / "x.npy", X),
        "by columns": npy(folder / "f.npy", np.asfortranarray(X)),
        "npz": folder / "x.npz",
        "compressed npz": folder / "z.npz",
        "safetensors": folder / "x.safetensors",
        "lists": parquet(folder / "lists.parquet", item_id=IDS, v=X.tolist()),
        "fixed lists": parquet(folder / "fixed.parquet", item_id=IDS, v=fixed),
        "columns": parquet(folder / "c.parquet", item_id=IDS, a=X[:, 0], b=X[:, 1].astype("f8"), c=X[:, 2]),
        "pandas": folder / "pandas.parquet",
        "pandas index": folder / "index.parquet",
    }


FORMATS = [
    "npy", "by columns", "npz", "compressed npz", "safetensors", "lists", "fixed lists", "columns", "pandas",
    "pandas index",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_vectors(form: str, tmp_path: Path) -> None:
    found = read_matrix(every_format(tmp_path)[form], "item")
    assert found.vectors.dtype == np.float32 and found.vectors.flags.c_contiguous
    np.testing.assert_array_equal(found.vectors, X)
    assert found.ids == (None if form in ("npy", "by columns", "safetensors") else IDS)


@pytest.mark.parametrize("kind", ["f2", "f4", ">f4", "f8", "i1", "i8", "u2"])
def test_every_kind_of_number_becomes_float32(kind: str, tmp_path: Path) -> None:
    numbers = np.array([[1, 2], [3, 4]], kind)
    assert read_matrix(npy(tmp_path / "x.npy", numbers), "item").vectors.tolist() == [[1, 2], [3, 4]]


def test_a_tensor_of_torch_is_read_by_its_name(tmp_path: Path) -> None:
    save_torch({"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(5, 3)}, tmp_path / "m.safetensors")
    assert read_matrix(tmp_path / "m.safetensors", "item", array="b.weight").vectors.shape == (5, 3)
    with pytest.raises(DataError, match=r"2 arrays with 2 dimensions: .*a.weight \(2, 3\).*") as error:
        read_matrix(tmp_path / "m.safetensors", "item")
    assert "--item-array" in error.value.fix
    with pytest.raises(DataError, match=r"did you mean 'b.weight'"):
        read_matrix(tmp_path / "m.safetensors", "user", array="b.weigth")


def test_a_list_column_is_read_by_its_name(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", item_id=IDS, a=X.tolist(), b=(X + 1).tolist())
    np.testing.assert_allclose(read_matrix(path, "item", array="b").vectors, X + 1)
    with pytest.raises(DataError, match="2 columns of lists: a, b"):
        read_matrix(path, "item")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", "a\nb\nc\nd"),
        ("ids.txt", "\ufeffitem_id\r\na\r\nb\r\nc\r\nd\r\n"),
        ("ids.csv", "id\na\nb\nc\nd\n"),
        ("ids.csv", 'title,item_id\n"one, first",a\n"two",b\nthree,c\nfour,d\n'),
    ],
)
def test_ids_come_from_a_text_with_one_a_line(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_matrix(npy(tmp_path / "x.npy", X), "item", ids=tmp_path / name).ids == IDS


def test_an_id_may_hold_commas_quotes_and_odd_white_space(tmp_path: Path) -> None:
    odd = ["a,b", "c\u2028d", 'e"f', " g"]
    (tmp_path / "ids.txt").write_text("\n".join(odd), encoding="utf-8")
    assert read_ids(tmp_path / "ids.txt", "item") == odd
    pd.DataFrame({"item_id": odd}).to_csv(tmp_path / "ids.csv", index=False)
    assert read_ids(tmp_path / "ids.csv", "item") == odd


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([2**63, 2**64 - 1], np.uint64), ["9223372036854775808", "18446744073709551615"]),
        (np.array([9007199254740993, -1]), ["9007199254740993", "-1"]),
        (np.array([1.0, 2.0]), ["1", "2"]),
        (np.array(["ä", "b"]), ["ä", "b"]),
        (np.array([b"x", b"yy"]), ["x", "yy"]),
        (np.array([[5], [6]]), ["5", "6"]),
    ],
)
def test_ids_of_an_array_are_exact(array: np.ndarray, expected: list[str], tmp_path: Path) -> None:
    assert read_ids(npy(tmp_path / "ids.npy", array), "user") == expected


def test_huge_ids_of_parquet_are_exact(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", item_id=[9007199254740993, 2**63 - 1, 1, 2], v=X.tolist())
    assert read_matrix(path, "item").ids == ["9007199254740993", "9223372036854775807", "1", "2"]


def test_an_id_file_wins_over_the_ids_of_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("p\nq\nr\ns")
    files = every_format(tmp_path)
    for form in ("npz", "lists", "columns"):
        assert read_matrix(files[form], "item", ids=tmp_path / "ids.txt").ids == ["p", "q", "r", "s"]


def lie(path: Path, shape: tuple[int, ...]) -> Path:
    """Write an array whose header says another shape."""
    np.save(path, X)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(4, 3), }" + b" " * 10, (repr(shape) + ", }").encode().ljust(19)))
    return path


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Give files that cannot be used, and what is said of each."""
    wrong = X.copy()
    wrong[[1, 3], 2] = np.nan, np.inf
    np.savez(folder / "o.npz", x=np.array([[1, None]], object))
    np.savez(folder / "oid.npz", x=X, ids=np.array(IDS, object))
    np.savez(folder / "two.npz", a=X, b=X)
    np.savez(folder / "none.npz")
    save_torch({"w": torch.ones(4, 3, dtype=torch.bfloat16)}, folder / "b.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-3])
    (folder / "zip.npz").write_bytes(b"PK\3\4 no zip")
    (folder / "empty.npy").touch()
    (folder / "x.pkl").write_bytes(b"\x80\4N.")
    (folder / "text.npy").write_text("1,2,3\n")
    with zipfile.ZipFile(folder / "text.npz", "w") as archive:
        archive.writestr("x.npy", "hello")
    (folder / "cut.npy").write_bytes(npy(folder / "w.npy", X).read_bytes()[:-1])
    ragged = [[1.0, 2.0], [1.0, 2.0], [1.0], [1.0, 2.0]]
    return {
        "NaN": (npy(folder / "nan.npy", wrong), r"NaN or infinite numbers in 2 of 4 rows, the first are row 1, row 3"),
        "beyond": (npy(folder / "big.npy", X.astype("f8") * 1e300), r"numbers beyond 1e\+15 in 4 of 4 rows"),
        "too large": (npy(folder / "big4.npy", X * 1e20), r"numbers beyond 1e\+15 in 4 of 4 rows"),
        "pickled": (npy(folder / "o.npy", X.astype(object)), "holds Python objects"),
        "pickled npz": (folder / "o.npz", "holds Python objects"),
        "pickled ids": (folder / "oid.npz", "holds Python objects"),
        "longer than it is": (
            lie(folder / "l.npy", (10**12, 3)),
            r"shape \(1000000000000, 3\), 12,000,000,000,000 bytes",
        ),
        "of negative size": (lie(folder / "m.npy", (-4, 3)), "damaged|shape"),
        "cut": (folder / "cut.npy", r"48 bytes, and has 47"),
        "complex": (npy(folder / "c.npy", X * 1j), "holds complex64, expected numbers"),
        "text": (npy(folder / "s.npy", X.astype(str)), "holds <U"),
        "yes and no": (npy(folder / "bool.npy", X > 0), "holds bool"),
        "one dimension": (npy(folder / "1.npy", X[0]), r"shape \(3,\), expected \(rows, width\)"),
        "three dimensions": (npy(folder / "3.npy", X[None]), r"shape \(1, 4, 3\), expected"),
        "no columns": (npy(folder / "00.npy", X[:, :0]), r"shape \(4, 0\)"),
        "no rows": (npy(folder / "0.npy", X[:0]), "no rows"),
        "empty": (folder / "empty.npy", "is empty"),
        "missing": (folder / "xx.npy", "missing"),
        "a folder": (folder, "missing or no file"),
        "a pickle": (folder / "x.pkl", "ends in '.pkl', expected one of: .npy, .npz"),
        "no npy": (folder / "text.npy", "no whole .npy file"),
        "no zip": (folder / "zip.npz", "no whole .npz file"),
        "no npy in a zip": (folder / "text.npz", "no whole .npz file"),
        "two arrays": (folder / "two.npz", r"2 arrays with 2 dimensions: a \(4, 3\), b \(4, 3\)"),
        "no array": (folder / "none.npz", "0 arrays"),
        "bfloat16": (folder / "b.safetensors", "kind BF16, which NumPy has not"),
        "cut safetensors": (folder / "cut.safetensors", "no whole .safetensors file"),
        "ragged": (
            parquet(folder / "r.parquet", item_id=IDS, v=ragged),
            r"1 vectors whose width is not 2, the first is 'c' with 1",
        ),
        "lists of text": (parquet(folder / "t.parquet", item_id=IDS, v=[["x"]] * 4), "hold string"),
        "without ids": (parquet(folder / "n.parquet", v=X.tolist()), "no column item_id; its columns are v"),
        "a missing id": (
            parquet(folder / "i.parquet", item_id=["a", None, "c", "d"], v=X.tolist()),
            "1 rows without an id",
        ),
        "without vectors": (
            parquet(folder / "e.parquet", item_id=IDS),
            "neither a column of lists nor columns of numbers",
        ),
        "a missing vector": (parquet(folder / "mv.parquet", item_id=IDS, v=[*X.tolist()[:3], None]), "'d' with 0"),
        "a missing number": (
            parquet(folder / "mn.parquet", item_id=IDS, a=[1.0, None, 2.0, 3.0]),
            "1 of 4 rows, the first are 'b'",
        ),
    }


@pytest.mark.parametrize("fault", sorted([
    "NaN", "beyond", "too large", "pickled", "pickled npz", "pickled ids", "longer than it is", "of negative size",
    "cut", "complex", "text", "yes and no", "one dimension", "three dimensions", "no columns", "no rows", "empty",
    "missing", "a folder", "a pickle", "no npy", "no zip", "no npy in a zip", "two arrays", "no array", "bfloat16",
    "cut safetensors", "ragged", "lists of text", "without ids", "a missing id", "without vectors", "a missing vector",
    "a missing number",
]))  # fmt: skip
def test_what_cannot_be_used_is_said(fault: str, tmp_path: Path) -> None:
    path, said = damaged(tmp_path)[fault]
    with pytest.raises(DataError, match=said) as error:
        read_matrix(path, "item")
    assert error.value.fix.endswith(".") or "(" in error.value.fix
    assert "\n" not in error.value.problem + error.value.fix


def test_the_list_of_faults_is_whole(tmp_path: Path) -> None:
    marks = test_what_cannot_be_used_is_said.pytestmark  # type: ignore[attr-defined]
    assert sorted(damaged(tmp_path)) == list(marks[0].args[1])
    assert sorted(every_format(tmp_path)) == sorted(FORMATS)


def test_ids_and_rows_must_be_as_many(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\nb\nc")
    with pytest.raises(DataError, match=r"4 rows and ids.txt 3 item ids \(it seems to be transposed\)") as error:
        read_matrix(npy(tmp_path / "x.npy", X), "item", ids=tmp_path / "ids.txt")
    assert "transposed" in error.value.fix
    (tmp_path / "ids.txt").write_text("iid\na\nb\nc\nd")
    with pytest.raises(DataError, match=r"4 rows and ids.txt 5 item ids; the first id is 'iid'"):
        read_matrix(tmp_path / "x.npy", "item", ids=tmp_path / "ids.txt")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ids.txt", b"a\n\nb", "1 empty ids, the first in row 2"),
        ("ids.txt", b"a\n\xff\n", "no whole|not UTF-8 text in line 2"),
        ("ids.csv", b"a,b\nc,d\n", "2 columns, and none is named 'item_id'"),
        ("ids.json", b"[]", "ends in '.json'"),
        ("ids.txt", b"", "empty"),
    ],
)
def test_ids_that_cannot_be_read_are_said(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_ids(tmp_path / name, "item")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([1.5, 2.0]), r"1 ids that are no exact whole numbers, the first is 1.5"),
        (np.array([1e17, 2.0]), "no exact whole numbers"),
        (np.array([1, None], object), "Python objects"),
        (np.array([[1, 2], [3, 4]]), r"shape \(2, 2\), expected one id a row"),
        (np.array(["a", ""]), "1 empty ids"),
        (np.array([True, False]), "holds bool"),
    ],
)
def test_ids_of_an_array_that_are_none_are_said(array: np.ndarray, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_ids(npy(tmp_path / "ids.npy", array), "item")


def test_a_bias_is_a_number_for_each_row(tmp_path: Path) -> None:
    b = np.array([0.5, -1, 2, 3])
    np.savez(tmp_path / "m.npz", w=X, bias=b)
    for path in (npy(tmp_path / "b.npy", b), npy(tmp_path / "b2.npy", b[:, None]), tmp_path / "m.npz"):
        assert read_bias(path, 4).tolist() == b.tolist()
    with pytest.raises(DataError, match=r"shape \(4,\), expected 5 biases"):
        read_bias(tmp_path / "b.npy", 5)
    with pytest.raises(DataError, match="NaN"):
        read_bias(npy(tmp_path / "n.npy", b * np.nan), 4)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }".ljust(117) + b"\n"
    (tmp_path / "evil.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + code)
    with pytest.raises(DataError, match="Python objects"):
        read_matrix(tmp_path / "evil.npy", "item")
    assert not mark.exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_never_ends_in_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    forms = tmp_path / "forms"
    if not forms.exists():
        forms.mkdir()
        every_format(forms)
    source = forms / data.draw(st.sampled_from(["x.npy", "x.npz", "z.npz", "x.safetensors", "lists.parquet"]))
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, min(len(content), 400) - 1) | st.integers(0, len(content) - 1))
        content[where] = data.draw(st.integers(0, 255))
    broken = tmp_path / f"broken{source.suffix}"
    broken.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(1, len(content)))])
    try:
        found = read_matrix(broken, "item")
    except DataError:
        return
    assert np.isfinite(found.vectors).all() and found.vectors.ndim == 2
