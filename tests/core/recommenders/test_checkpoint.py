"""A checkpoint is read without torch, and whatever is hostile in it is named and not run."""

import copyreg
import io
import os
import pickle
import struct
import tarfile
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.recommenders import checkpoint
from core.recommenders.checkpoint import read_checkpoint
from core.recommenders.inert import Name, Record, Tensor
from tests.core.recommenders.recbole_files import write_checkpoint

TOUCH = "touch canary"


def op(name: str, *parts: bytes) -> bytes:
    """Give one instruction by its name in pickletools."""
    return getattr(pickle, name) + b"".join(parts)


def text(value: str) -> bytes:
    return op("SHORT_BINUNICODE", struct.pack("<B", len(value)), value.encode())


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + op("STACK_GLOBAL")


def called(module: str, name: str, *args: bytes) -> bytes:
    return named(module, name) + op("MARK") + b"".join(args) + op("TUPLE") + op("REDUCE")


def number(value: int) -> bytes:
    return op("LONG1", struct.pack("<B", 9), value.to_bytes(9, "little", signed=True))


def entry(value: bytes) -> bytes:
    """Give a whole pickle: a dict with one entry."""
    return op("PROTO", b"\4") + op("EMPTY_DICT") + text("a") + value + op("SETITEM") + op("STOP")


def storage(key: str = "0", kind: str = "FloatStorage", numel: int = 6, what: str = "storage") -> bytes:
    group = op("MARK") + text(what) + named("torch", kind) + text(key) + text("cpu") + number(numel) + op("TUPLE")
    return group + op("BINPERSID")


def tensor(
    offset: int = 0,
    shape: tuple = (2, 3),
    strides: tuple = (3, 1),
    of: bytes | None = None,
    hooks: bytes = called("collections", "OrderedDict"),
) -> bytes:
    sizes = [op("MARK") + b"".join(number(i) for i in part) + op("TUPLE") for part in (shape, strides)]
    args = (of or storage(), number(offset), *sizes, op("NEWFALSE"), hooks)
    return called("torch._utils", "_rebuild_tensor_v2", *args)


SIX = np.arange(6, dtype="<f4").tobytes()


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return buffer.getvalue()


def whole(pickled: bytes, **more: bytes) -> bytes:
    """Give the bytes of a checkpoint with this data.pkl and six floats."""
    return archive({"m/data.pkl": pickled, "m/byteorder": b"little", "m/data/0": SIX, "m/version": b"3\n"} | more)


class Reduced:
    """Pickles as a call of anything."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return self.parts


def dumped(value: Any, protocol: int = 4) -> bytes:
    return pickle.dumps({"a": value}, protocol)


def overlapping() -> bytes:
    """Give an archive whose list names the same bytes again and again, as a bomb of zeros is made."""
    data = archive({"m/data.pkl": entry(number(1)), "m/data/0": bytes(100_000)})
    first = data.index(b"PK\1\2")
    last = data[data.rindex(b"PK\1\2") : -22]
    directory = data[first:-22] + b"".join(last.replace(b"data/0", b"data/%d" % i) for i in range(1, 9))
    return data[:first] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 10, 10, len(directory), first, 0)


def with_claimed_size(size: int) -> bytes:
    """Give an archive whose list says that a member is larger than it is."""
    data = bytearray(whole(entry(tensor())))
    place = data.index(b"m/data/0", data.index(b"PK\1\2")) - 46
    data[place + 20 : place + 28] = struct.pack("<LL", size, size)
    return bytes(data)


def with_directory_of(n: int) -> bytes:
    data = bytearray(whole(entry(tensor())))
    data[-10:-6] = struct.pack("<L", n)
    return bytes(data)


def with_64_bit_directory_of(n: int) -> bytes:
    data = whole(entry(tensor()))
    record = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, n * 46, 0)
    return data[:-22] + record + struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1) + data[-22:]


def numpy_type(code: str, order: str | None = None) -> bytes:
    made = called("numpy", "dtype", text(code), op("NEWFALSE"), op("NEWTRUE"))
    return (
        made
        if order is None
        else made + op("MARK") + number(3) + text(order) + op("NONE") * 3 + op("TUPLE") + op("BUILD")
    )


def twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("m/data.pkl", entry(tensor()))
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("m/data.pkl", dumped(1))
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(tarfile.TarInfo("sys_info"), io.BytesIO())
    return buffer.getvalue()


def saved(value: Any, **keywords: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **keywords)
    return buffer.getvalue()


def legacy() -> bytes:
    return saved({"a": torch.ones(2)}, _use_new_zipfile_serialization=False)


DEEP = b"]" * 5_000 + b"a" * 4_999
LOOP = op("EMPTY_LIST") + op("MEMOIZE") + op("BINGET", b"\0") + op("APPEND")
LAUGHS = op("EMPTY_LIST") + b"".join(
    op("MEMOIZE") + op("EMPTY_LIST") + op("MARK") + op("BINGET", bytes([i])) * 10 + op("APPENDS") for i in range(30)
)
"""A list of ten lists of ten lists, ...: written out it would have no end."""
TAKEN = named("builtins", "getattr")
CONFIG = named("recbole.config.configurator", "Config")
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "os.system": (lambda: whole(dumped(Reduced(os.system, (TOUCH,)))), r"posix\.system"),
    "os.system by its other name": (lambda: whole(entry(called("os", "system", text(TOUCH)))), r"os\.system"),
    "os.system in protocol 0": (lambda: whole(dumped(Reduced(os.system, (TOUCH,)), 0)), "instruction DICT"),
    "os.system in protocol 2": (lambda: whole(dumped(Reduced(os.system, (TOUCH,)), 2)), r"posix\.system"),
    "eval": (lambda: whole(dumped(Reduced(eval, ("open('canary', 'w')",)))), r"builtins\.eval"),
    "exec": (lambda: whole(dumped(Reduced(exec, ("open('canary', 'w')",)))), r"builtins\.exec"),
    "exec of Python 2": (lambda: whole(dumped(Reduced(exec, ("1",)), 2)), r"builtins\.exec"),
    "open": (lambda: whole(dumped(Reduced(open, ("canary", "w")))), r"io\.open|_io"),
    "Popen": (lambda: whole(entry(called("subprocess", "Popen", text(TOUCH)))), r"subprocess\.Popen"),
    "torch's own loader": (lambda: whole(entry(called("torch", "load", text("x")))), r"torch\.load"),
    "numpy's own loader": (lambda: whole(entry(called("numpy", "load", text("x")))), r"numpy\.load"),
    "a name that is not even called": (lambda: whole(entry(named("os", "system"))), r"asks for 'os\.system'"),
    "a name in the old way": (lambda: whole(entry(op("GLOBAL", b"os\nsystem\n"))), r"asks for 'os\.system'"),
    "a name made of a number": (lambda: whole(entry(number(1) + text("x") + op("STACK_GLOBAL"))), "makes a name of 1"),
    "a name whose text has no end": (lambda: whole(entry(LAUGHS + text("x") + op("STACK_GLOBAL"))), "makes a name of"),
    "a name of a million letters": (
        lambda: whole(entry(op("BINUNICODE", struct.pack("<I", 10**6), b"x" * 10**6) + text("y") + op("STACK_GLOBAL"))),
        "asks for 'xxx",
    ),
    "a call with a list": (lambda: whole(entry(named("torch", "Size") + op("EMPTY_LIST") + op("REDUCE"))), "calls"),
    "an addition to a tuple": (lambda: whole(entry(b")Na")), "appends to a value of type tuple"),
    "an addition to text": (lambda: whole(entry(text("x") + b"(N\x90")), "adds to a value of type str"),
    "an entry of a list": (lambda: whole(entry(b"]NNs")), "sets entries of a value of type list"),
    "a key without a value": (lambda: whole(entry(b"}(NNNu")), "sets entries of a value of type dict"),
    "a way in by dots": (
        lambda: whole(entry(called("collections", "OrderedDict.__init__.__globals__", text("x")))),
        "__globals__",
    ),
    "a call within a call": (
        lambda: whole(entry(called("collections", "OrderedDict", called("os", "system", text(TOUCH))))),
        r"os\.system",
    ),
    "a call of what a call gave": (
        lambda: whole(entry(called("collections", "OrderedDict") + op("EMPTY_TUPLE") + op("REDUCE"))),
        "calls a value of type OrderedDict",
    ),
    "getattr of a module": (
        lambda: whole(entry(called("builtins", "getattr", named("torch", "FloatStorage"), text("__init__")))),
        r"builtins\.getattr.*does not fit",
    ),
    "a chain of getattr": (
        lambda: whole(
            entry(called("builtins", "getattr", called("builtins", "getattr", CONFIG, text("__init__")), text("x")))
        ),
        r"builtins\.getattr.*does not fit",
    ),
    "getattr of nothing allowed": (lambda: whole(entry(TAKEN + text("x") + op("REDUCE"))), "calls|does not fit"),
    "copyreg": (
        lambda: whole(dumped(Reduced(copyreg._reconstructor, (dict, dict, {})), 2)),
        r"copy_?reg\._reconstructor",
    ),
    "the class of a model called": (
        lambda: whole(entry(called("recbole.model.general_recommender.bpr", "BPR"))),
        "may only name",
    ),
    "a Config made with arguments": (
        lambda: whole(entry(CONFIG + text("x") + op("TUPLE1") + op("NEWOBJ"))),
        "makes an object",
    ),
    "an object made of a function": (
        lambda: whole(entry(named("torch._utils", "_rebuild_tensor_v2") + op("EMPTY_TUPLE") + op("NEWOBJ"))),
        "makes an object",
    ),
    "state for a member of an enum": (
        lambda: whole(
            entry(called("recbole.utils.enum_type", "ModelType", number(1)) + op("EMPTY_DICT") + op("BUILD"))
        ),
        "sets the state of 'recbole.utils",
    ),
    "state twice": (
        lambda: whole(entry(CONFIG + op("EMPTY_TUPLE") + op("NEWOBJ") + (op("EMPTY_DICT") + op("BUILD")) * 2)),
        "sets the state of 'recbole.config",
    ),
    "state for a list": (
        lambda: whole(entry(op("EMPTY_LIST") + op("EMPTY_DICT") + op("BUILD"))),
        "sets the state of a value of type list",
    ),
    "state for a function": (
        lambda: whole(entry(named("builtins", "getattr") + op("EMPTY_DICT") + op("BUILD"))),
        "sets the state of 'builtins.getattr'",
    ),
    "state that is a __setstate__": (
        lambda: whole(
            entry(
                CONFIG + op("EMPTY_TUPLE") + op("NEWOBJ") + op("NONE") + op("EMPTY_DICT") + op("TUPLE2") + op("BUILD")
            )
        ),
        "gives .*Config' the state a value of type tuple",
    ),
    "INST": (lambda: whole(entry(op("MARK") + text(TOUCH) + op("INST", b"os\nsystem\n"))), "instruction INST"),
    "OBJ": (lambda: whole(entry(op("MARK") + named("torch", "Size") + op("OBJ"))), "instruction OBJ"),
    "NEWOBJ_EX": (
        lambda: whole(entry(CONFIG + op("EMPTY_TUPLE") + op("EMPTY_DICT") + op("NEWOBJ_EX"))),
        "instruction NEWOBJ_EX",
    ),
    "EXT1": (lambda: whole(entry(op("EXT1", b"\1"))), "instruction EXT1"),
    "EXT4": (lambda: whole(entry(op("EXT4", b"\1\0\0\0"))), "instruction EXT4"),
    "a persistent id in text": (lambda: whole(entry(op("PERSID", b"0\n"))), "instruction PERSID"),
    "a persistent id that is no storage": (
        lambda: whole(entry(text("x") + op("BINPERSID"))),
        "refers to a value of type str",
    ),
    "a storage of another kind": (lambda: whole(entry(storage(what="module"))), "refers to a value of type tuple"),
    "a storage of no numbers": (lambda: whole(entry(storage(kind="Size"))), "refers to a value of type tuple"),
    "a storage that is not there": (lambda: whole(entry(storage(key="7"))), r"lacks the member 'data/7'"),
    "a storage outside data": (lambda: whole(entry(storage(key="../data.pkl"))), "lacks the member"),
    "a storage of another size": (lambda: whole(entry(storage(numel=7))), "24 bytes in data/0, expected 28"),
    "a storage of another type": (lambda: whole(entry(storage(kind="DoubleStorage"))), "expected 48"),
    "a storage of less than nothing": (lambda: whole(entry(storage(numel=-6))), "expected -24"),
    "a tensor beyond its storage": (lambda: whole(entry(tensor(offset=1))), "6 numbers up to place 7"),
    "a tensor larger than its storage": (lambda: whole(entry(tensor(shape=(3, 3)))), "9 numbers"),
    "a tensor with a long stride": (lambda: whole(entry(tensor(strides=(4, 1)))), "up to place 7"),
    "a tensor that walks backwards": (lambda: whole(entry(tensor(offset=5, strides=(-3, -1)))), "whole numbers from 0"),
    "a tensor before its storage": (lambda: whole(entry(tensor(offset=-1))), "whole numbers from 0"),
    "a tensor of one number a million times": (
        lambda: whole(entry(tensor(shape=(10**6,), strides=(0,)))),
        "a stride of 0",
    ),
    "a tensor whose rows overlap": (lambda: whole(entry(tensor(shape=(4, 3), strides=(1, 1)))), "12 numbers"),
    "a tensor that overflows": (lambda: whole(entry(tensor(shape=(2**33, 2**33)))), "numbers up to place"),
    "an empty tensor without end": (lambda: whole(entry(tensor(shape=(0, 2**39, 2**39), strides=(1, 1, 1)))), "0 num"),
    "a tensor of too many dimensions": (lambda: whole(entry(tensor(shape=(1,) * 70, strides=(1,) * 70))), "70 dimens"),
    "a tensor with fewer strides": (lambda: whole(entry(tensor(shape=(2, 3), strides=(1,)))), "2 dimensions and 1"),
    "a tensor of text": (lambda: whole(entry(tensor(of=text("x")))), "expected a storage"),
    "a number of NumPy of any object": (
        lambda: whole(entry(numpy_type("O8"))),
        r"numpy\.dtype.*type of a number",
    ),
    "a number of NumPy of too few bytes": (
        lambda: whole(
            entry(
                called(
                    "numpy.core.multiarray",
                    "scalar",
                    numpy_type("f8"),
                    op("SHORT_BINBYTES", b"\4abcd"),
                )
            )
        ),
        "4 bytes for a number of 8",
    ),
    "a number of NumPy in big order": (
        lambda: whole(entry(called("numpy.core.multiarray", "scalar", numpy_type("f4", ">"), b"C\4abcd"))),
        "expected little byte order",
    ),
    "a number of NumPy without a type": (
        lambda: whole(entry(called("numpy.core.multiarray", "scalar", text("f4"), b"C\4abcd"))),
        "expected the type of a number",
    ),
    "hooks of a tensor": (
        lambda: whole(entry(tensor(hooks=op("EMPTY_DICT") + number(1) + op("NONE") + op("SETITEM")))),
        "a tensor has no hooks",
    ),
    "a parameter that is no tensor": (
        lambda: whole(entry(called("torch._utils", "_rebuild_parameter", text("x"), op("NEWTRUE"), op("EMPTY_DICT")))),
        "expected a tensor",
    ),
    "a size of text": (lambda: whole(entry(called("torch", "Size", text("x")))), "expected a tuple of whole numbers"),
    "a device of three": (lambda: whole(entry(called("torch", "device", *[text("x")] * 3))), "expected a device"),
    "a device of a list": (lambda: whole(entry(called("torch", "device", op("EMPTY_LIST")))), "expected a device"),
    "bytes in another encoding": (
        lambda: whole(entry(called("_codecs", "encode", text("x"), text("zlib")))),
        "expected text and latin1",
    ),
    "a set of lists": (lambda: whole(entry(called("builtins", "set", b"]]a"))), "expected a list of numbers or text"),
    "an array of NumPy": (lambda: whole(dumped(np.arange(3))), r"numpy\.core\.(multiarray\._reconstruct|numeric)"),
    "a memo of nothing": (lambda: whole(entry(op("BINGET", b"\7"))), "recalls value 7"),
    "an empty stack": (lambda: whole(op("PROTO", b"\4") + op("TUPLE3") + op("STOP")), "its stack"),
    "no mark": (lambda: whole(op("PROTO", b"\4") + op("TUPLE") + op("STOP")), "its stack"),
    "no end": (lambda: whole(entry(number(1))[:-1]), "damaged data.pkl"),
    "more after the end": (lambda: whole(entry(number(1)) + entry(number(2))), "goes on after the end"),
    "two values": (lambda: whole(op("NONE") + entry(number(1))), "half built"),
    "an open mark": (lambda: whole(op("MARK") + entry(number(1))), "half built"),
    "a list as a key": (
        lambda: whole(op("EMPTY_DICT") + op("EMPTY_LIST") + op("NONE") + op("SETITEM") + op("STOP")),
        "uses a value of type list as a key",
    ),
    "a deep tuple as a key": (
        lambda: whole(op("EMPTY_DICT") + b")" + b"\x85" * 100_000 + op("NONE") + op("SETITEM") + op("STOP")),
        "uses a value of type tuple as a key",
    ),
    "a deep tuple as a pair": (
        lambda: whole(entry(called("collections", "OrderedDict", b"])" + b"\x85" * 100_000 + b"N\x86a"))),
        "does not fit",
    ),
    "a long number": (lambda: whole(entry(op("LONG1", b"\xff" + b"\x7f" * 255))), "more than 64 bits"),
    "a huge number": (lambda: whole(entry(op("LONG4", struct.pack("<i", 2**31 - 1), b"\1" * 9))), "damaged|LONG4"),
    "a number in a million digits": (lambda: whole(entry(op("LONG", b"9" * 1_000_000 + b"L\n"))), "damaged|LONG"),
    "huge bytes": (lambda: whole(entry(op("BINBYTES8", struct.pack("<Q", 2**62), b"x"))), "damaged|BINBYTES8"),
    "huge text": (lambda: whole(entry(op("BINUNICODE", struct.pack("<I", 2**32 - 1), b"x"))), "damaged"),
    "values too deep": (lambda: whole(entry(DEEP)), "deep in each other"),
    "groups too deep": (lambda: whole(entry(op("MARK") * 5_000)), "groups in each other"),
    "a value in itself": (lambda: whole(entry(LOOP)), "contains itself"),
    "too many instructions": (lambda: whole(entry(b"N0" * 10 + b"N" * 600_000)), "instruction"),
    "too many values": (lambda: whole(b"N" * 600_000), "more than 500,000 instructions"),
    "a large program": (lambda: whole(b"N" * (checkpoint.MAX_PICKLE_BYTES + 1)), "more than 8,388,608"),
    "no dict": (lambda: whole(pickle.dumps([1, 2], 4)), "holds a value of type list, expected a dict"),
    "no data.pkl": (lambda: archive({"m/data/0": SIX}), "without a data.pkl"),
    "big byte order": (lambda: whole(entry(tensor()), **{"m/byteorder": b"big"}), "byte order"),
    "two folders": (lambda: archive({"m/data.pkl": entry(tensor()), "n/data/0": SIX}), "outside the one folder"),
    "a path upwards": (lambda: whole(entry(tensor()), **{"m/../../canary": b""}), "outside the one folder"),
    "an absolute path": (lambda: archive({"/m/data.pkl": entry(tensor())}), "outside the one folder"),
    "a path of Windows": (lambda: whole(entry(tensor()), **{"m/..\\canary": b""}), "outside the one folder"),
    "a member twice": (twice, "twice"),
    "a member that is compressed": (
        lambda: archive({"m/data.pkl": entry(tensor()), "m/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED),
        "compressed or locked",
    ),
    "a member larger than the file": (lambda: with_claimed_size(2**31), "claims to hold|overlap|Overlap"),
    "members that lie on each other": (overlapping, "claims to hold 900,|Overlap"),
    "too many members": (lambda: archive({f"m/data/{i}": b"" for i in range(20_001)}), "20,001 members"),
    "a list of members without end": (lambda: with_directory_of(2**31), "too many"),
    "a list of members without end in 64 bits": (lambda: with_64_bit_directory_of(2**40), "too many"),
    "a byte order of another length": (lambda: whole(entry(tensor()), **{"m/byteorder": b"little "}), "byte order"),
    "a file that is cut": (lambda: whole(entry(tensor()))[:-30], "cut off"),
    "a file with an addition": (lambda: whole(entry(tensor())) + b"x", "cut off, or something was added"),
    "a file with a foreword": (lambda: b"#!/bin/sh\n" + whole(entry(tensor())), "does not begin"),
    "a script": (lambda: b"#!/bin/sh\ntouch canary\n", "does not begin"),
    "nothing": (lambda: b"", "does not begin"),
    "four bytes": (lambda: b"PK\3\4", "cut off"),
    "a tar": (tar, "before 1.6"),
    "a stream of an old PyTorch": (legacy, "before 1.6"),
    "a bare pickle": (lambda: dumped(Reduced(os.system, (TOUCH,))), "bare pickle"),
    "a whole model": (lambda: saved({"model": torch.nn.Linear(2, 2)}), r"torch\.nn\.modules\.linear\.Linear"),
}


def test_there_are_hostile_files() -> None:
    assert len(HOSTILE) > 100


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_named_and_nothing_in_it_is_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, said = HOSTILE[name]
    (tmp_path / "x.pth").write_bytes(make())
    monkeypatch.chdir(tmp_path)
    for module, attribute in (("os", "system"), ("builtins", "eval"), ("pickle", "loads"), ("subprocess", "Popen")):
        monkeypatch.setattr(f"{module}.{attribute}", lambda *_, **__: pytest.fail("something was run"))
    before, started = dict(os.environ), time.process_time()
    with pytest.raises(DataError, match=said) as caught:
        read_checkpoint(tmp_path / "x.pth")
    monkeypatch.undo()
    assert time.process_time() - started < 2
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"] and dict(os.environ) == before
    assert caught.value.problem.startswith(("x.pth", str(tmp_path))) and caught.value.fix
    assert "\n" not in caught.value.problem + caught.value.fix and len(caught.value.problem) < 400


def read(tmp_path: Path, data: bytes, *load: str) -> dict[str, Any]:
    (tmp_path / "x.pth").write_bytes(data)
    return read_checkpoint(tmp_path / "x.pth", load)


def test_six_numbers_are_read_as_they_lie_in_the_file(tmp_path: Path) -> None:
    inner = op("EMPTY_DICT") + text("t") + tensor() + op("SETITEM")
    transposed = op("EMPTY_DICT") + text("t") + tensor(offset=1, shape=(2, 2), strides=(1, 3)) + op("SETITEM")
    assert read(tmp_path, whole(entry(inner)), "a")["a"]["t"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read(tmp_path, whole(entry(transposed)), "a")["a"]["t"].tolist() == [[1, 4], [2, 5]]


KINDS = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_type_of_number_is_what_torch_reads(tmp_path: Path, kind: torch.dtype, protocol: int) -> None:
    base = (torch.arange(24) % 7).reshape(4, 6).to(kind)
    tensors = {
        "whole": base,
        "scalar": base[1, 1],
        "empty": base[:0],
        "part": base[1:, 2:5],
        "transposed": base.T,
        "one row": base[2:3].expand(1, 6),
    }
    found = read(tmp_path, saved({"state_dict": tensors}, pickle_protocol=protocol), "state_dict")["state_dict"]
    for name, tensor_ in tensors.items():
        expected = (tensor_.float() if kind is torch.bfloat16 else tensor_).numpy()
        assert np.array_equal(found[name], expected) and found[name].dtype == expected.dtype, name
        assert not found[name].flags.writeable or not found[name].size
    assert found["part"].base is not None, "no copy"


@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_values_come_back_as_they_were(tmp_path: Path, protocol: int) -> None:
    values = {
        "none": None, "yes": True, "no": False, "zero": 0, "small": -1, "large": 2**40, "largest": 2**63 - 1,
        "float": 0.1, "text": "Amélie", "bytes": b"\0\xff", "list": [1, [2, []]], "tuple": (1, (2,), ()),
        "five": (1, 2, 3, 4, 5), "set": {1, "a"}, "dict": {1: {"a": {}}}, "numpy": np.float64(0.125),
        "whole number": np.int64(-3), "truth": np.bool_(True), "size": torch.Size([2, 3]),
    }  # fmt: skip
    found = read(tmp_path, saved({"v": values, "ordered": OrderedDict(b=1, a=2)}, pickle_protocol=protocol))
    assert found["v"] == {**values, "size": (2, 3)}
    assert [type(found["v"][k]) for k in ("numpy", "whole number", "truth")] == [float, int, bool]
    assert list(found["ordered"].items()) == [("b", 1), ("a", 2)]


def test_objects_of_recbole_become_records_of_what_they_were_made_of(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pth", "BPR", {"embedding_size": 4}, {"w": torch.ones(2, 4)})
    found = read_checkpoint(path)
    config = found["config"]
    assert isinstance(config, Record) and config.name == "recbole.config.configurator.Config"
    assert config.state["final_config_dict"]["embedding_size"] == 4
    kind = config.state["model_class"]
    assert isinstance(kind, Name) and kind.path == "recbole.model.general_recommender.bpr.BPR"
    assert config.state["final_config_dict"]["MODEL_TYPE"].name == "recbole.utils.enum_type.ModelType"
    assert config.state["final_config_dict"]["device"].args == ("cuda", 0)
    assert found["best_valid_score"] == 0.25 and found["state_dict"]["w"].tolist() == [[1.0] * 4] * 2
    moments = found["optimizer"]["state"][0]["exp_avg"]
    assert isinstance(moments, Tensor) and moments.shape == (2, 4), "not asked for, so not read"


@pytest.mark.parametrize(
    "member",
    [
        called("builtins", "getattr", named("recbole.utils.enum_type", "ModelType"), text("GENERAL")),
        called("recbole.utils.enum_type", "ModelType", number(1)),
    ],
    ids=["3.11", "3.12"],
)
def test_a_member_of_an_enum_is_read_as_every_python_writes_it(tmp_path: Path, member: bytes) -> None:
    found = read(tmp_path, whole(entry(member)))["a"]
    assert isinstance(found, Record) and found.args in (("GENERAL",), (1,))


def test_a_state_dict_with_versions_and_parameters_is_read(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    found = read(
        tmp_path,
        saved({"state_dict": layer.state_dict(), "other_parameter": dict(layer.named_parameters())}),
        "state_dict",
        "other_parameter",
    )
    for part in ("state_dict", "other_parameter"):
        assert np.array_equal(found[part]["weight"], layer.weight.detach().numpy())


def test_a_file_without_byte_order_is_little_as_torch_before_2_1_wrote_it(tmp_path: Path) -> None:
    found = read(tmp_path, archive({"m/data.pkl": entry(tensor()), "m/data/0": SIX}))
    assert found["a"].shape == (2, 3)


def test_a_damaged_number_is_noticed(tmp_path: Path) -> None:
    data = bytearray(whole(entry(op("EMPTY_DICT") + text("t") + tensor() + op("SETITEM"))))
    data[data.index(SIX)] ^= 1
    with pytest.raises(DataError, match="no whole checkpoint: Bad CRC-32"):
        read(tmp_path, bytes(data), "a")


def test_a_checkpoint_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "x.pth", tmp_path):
        with pytest.raises(DataError, match="missing or no file"):
            read_checkpoint(path)


def test_a_file_beyond_all_measure_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"")
    os.truncate(tmp_path / "x.pth", checkpoint.MAX_BYTES + 1)
    with pytest.raises(DataError, match="4,294,967,297 bytes, more than"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    tensors = {"user_embedding.weight": torch.ones(3, 2), "half": torch.ones(2, 2, dtype=torch.bfloat16)}
    return write_checkpoint(
        tmp_path_factory.mktemp("small") / "x.pth", "BPR", {"embedding_size": 2}, tensors
    ).read_bytes()


def mutated(data: bytes, changes: list[tuple[int, int]], cut: int, doubled: int) -> bytes:
    """Change, remove and repeat bytes; positions are shares of the length in millionths."""
    out = bytearray(data)
    for place, value in changes:
        out[place * len(out) // 1_000_000] = value
    place = doubled * len(out) // 1_000_000
    out[place:place] = out[place : place + doubled % 8]
    return bytes(out[: len(out) - cut])


MUTATIONS = {
    "changes": st.lists(st.tuples(st.integers(0, 999_999), st.integers(0, 255)), max_size=6),
    "cut": st.sampled_from([0] * 6 + [1, 7, 100]),
    "doubled": st.integers(0, 999_999),
}


def ends_well(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    started = time.process_time()
    try:
        assert isinstance(read_checkpoint(path), dict)
    except DataError as error:
        assert error.problem and error.fix
    assert time.process_time() - started < 1


@settings(max_examples=120, deadline=None)
@given(**MUTATIONS)
def test_any_change_of_the_file_ends_in_a_message_or_a_dict(
    small: bytes, tmp_path_factory: Any, **changes: Any
) -> None:
    ends_well(tmp_path_factory.getbasetemp() / "fuzz.pth", mutated(small, **changes))


@settings(max_examples=120, deadline=None)
@given(**MUTATIONS)
def test_any_change_of_the_program_ends_in_a_message_or_a_dict(
    small: bytes, tmp_path_factory: Any, **changes: Any
) -> None:
    with zipfile.ZipFile(io.BytesIO(small)) as whole_:
        members = {name: whole_.read(name) for name in whole_.namelist()}
    program = next(name for name in members if name.endswith("data.pkl"))
    members[program] = mutated(members[program], **changes)
    ends_well(tmp_path_factory.getbasetemp() / "fuzz.pth", archive(members))


@pytest.mark.real_data
def test_the_file_that_recbole_published_is_read(datasets_dir: Path) -> None:
    path = datasets_dir / "recbole-sasrec-ml-1m" / "SASRec-ml-1m.pth"
    if not path.is_file():
        pytest.skip("recbole-sasrec-ml-1m is not in DATASETS_DIR")
    found = read_checkpoint(path)
    assert len(found["state_dict"]) == 36 and found["state_dict"]["item_embedding.weight"].shape == (3417, 64)
    assert found["epoch"] == 48 and found["best_valid_score"] == pytest.approx(0.1212)
