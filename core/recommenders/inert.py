"""Follows the pickle of a checkpoint without running it.

A pickle is a program. Here `pickletools` parses it, and a small machine follows those of its instructions that build
numbers, text, lists, dicts, sets and tensors: it imports, calls and looks up nothing that the file names. A name that
is not in the lists below ends the reading. The few objects of RecBole's own that its checkpoints hold become a `Record`
of what they were made of, or a `Name`.
"""

import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np

from core.errors import DataError, one_line

MAX_INSTRUCTIONS = 500_000
MAX_DEPTH = 60
"""How deep lists, dicts and tuples may lie in each other."""
MAX_DIMENSIONS = 8
MAX_SIZE = 2**40
"""Of a dimension, a stride and an offset."""

DTYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "<u1",
}  # fmt: skip
"""The element type of torch's storages as it lies in the file."""

CONFIG = "recbole.config.configurator.Config"
ENUMS = {
    f"recbole.utils.enum_type.{name}"
    for name in ("ModelType", "KGDataLoaderState", "EvaluatorType", "InputType", "FeatureType", "FeatureSource")
}
NAMES = (
    {CONFIG, "yaml.loader.FullLoader", "torch.bfloat16", "torch.int8", "torch.uint8", "torch.bool"}
    | ENUMS
    | {f"torch.{name}" for name in DTYPES}
    | {f"torch.{kind}{bits}" for kind in ("int", "float") for bits in (16, 32, 64)}
)
"""What may be named, beside `CALLS`. A name stands for itself and is not called."""
MODEL_CLASS = re.compile(r"recbole\.model(\.[a-z0-9_]+)+\.[A-Za-z_][A-Za-z0-9_]*")
"""The class of a model may be named too, so that a message can tell which one it is."""
RENAMED = (("__builtin__.", "builtins."), ("numpy._core.", "numpy.core."))
"""How other versions of Python and NumPy write a name, and how it stands here."""

SCALARS = (int, float, str, bytes, type(None))
"""What may be a key of a dict or a member of a set; bool is an int."""

DISTRUST = "Nothing in it was run. Use a checkpoint that RecBole itself saved, from somebody you trust."


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A class or function that the file names: text, never the thing."""

    path: str


@dataclass(slots=True, eq=False)
class Record:
    """What an object was made of: never the object."""

    name: str
    args: tuple
    state: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A run of numbers that lies in the member `data/KEY`."""

    key: str
    kind: str
    """A key of `DTYPES`."""
    numel: int


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor that was not read yet; it lies within its storage. Offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Machine:
    """Follows the instructions of one pickle.

    Args:
        file: Name of the file, for messages.
        members: Size in bytes of each member of the archive.
    """

    def __init__(self, file: str, members: Mapping[str, int]) -> None:
        self.file = file
        self.members = members
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks under the open marks."""
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """Give what the pickle builds."""
        try:
            for count, (opcode, arg, position) in enumerate(pickletools.genops(data)):
                if count >= MAX_INSTRUCTIONS:
                    self.refuse(f"is a program of more than {MAX_INSTRUCTIONS:,} instructions")
                if opcode.name not in STEPS:
                    self.refuse(f"has the instruction {opcode.name}, which no checkpoint needs")
                if opcode.name == "STOP" and position != len(data) - 1:
                    self.refuse("goes on after the end of its data.pkl")
                STEPS[opcode.name](self, arg)
        except (ValueError, DeprecationWarning) as error:  # of genops, which warns of an odd escape in old text
            self.refuse(f"has a damaged data.pkl ({one_line(str(error)[:500], 100)})")
        except IndexError:
            self.refuse("takes more from its stack than is there")
        if len(self.stack) != 1 or self.below:
            self.refuse("leaves its data.pkl half built")
        root = self.stack.pop()
        self.check_nesting(root)
        return root

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that ends the reading; `what` follows the name of the file."""
        raise DataError(f"{self.file} {what}.", DISTRUST)

    def check_nesting(self, root: Any) -> None:
        """Raise when values lie too deep in each other, or in themselves."""
        depth: dict[int, int] = {}
        above: set[int] = set()
        work = [(root, False)]
        while work:
            value, leaving = work.pop()
            inner = _inner(value)
            if inner is None or id(value) in depth:
                continue
            if leaving:
                above.remove(id(value))
                depth[id(value)] = 1 + max((depth.get(id(i), 0) for i in inner), default=0)
                if depth[id(value)] > MAX_DEPTH:
                    self.refuse(f"holds values more than {MAX_DEPTH} deep in each other")
            elif id(value) in above:
                self.refuse("holds a value that contains itself")
            else:
                above.add(id(value))
                work.append((value, True))
                work.extend((i, False) for i in inner)

    def pop_mark(self) -> list[Any]:
        """Give what was pushed since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: object) -> None:
        """Begin a group."""
        if len(self.below) >= MAX_DEPTH:
            self.refuse(f"opens more than {MAX_DEPTH} groups in each other")
        self.below.append(self.stack)
        self.stack = []

    def memoize(self, place: int | None) -> None:
        """Remember the top of the stack."""
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def recall(self, place: int) -> None:
        """Push what was remembered."""
        if place not in self.memo:
            self.refuse(f"recalls value {place}, which it never stored")
        self.stack.append(self.memo[place])

    def integer(self, value: int) -> None:
        """Push a whole number of at most 64 bits."""
        if not -(2**63) <= value < 2**64:
            self.refuse("holds a whole number of more than 64 bits")
        self.stack.append(value)

    def group(self, n: int) -> None:
        """Push a tuple of the last `n` values."""
        items = [self.stack.pop() for _ in range(n)]
        self.stack.append(tuple(reversed(items)))

    def extend(self, items: Iterable[Any]) -> None:
        """Append to the list on the stack."""
        target = self.stack[-1]
        if type(target) is not list:
            self.refuse(f"appends to {shown(target)}")
        target.extend(items)

    def add(self, items: Sequence[Any]) -> None:
        """Add to the set on the stack."""
        target = self.stack[-1]
        if type(target) is not set:
            self.refuse(f"adds to {shown(target)}")
        target.update(self.keys(items))

    def update(self, items: Sequence[Any]) -> None:
        """Set keys and values, in turns, of the dict on the stack."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            self.refuse(f"sets entries of {shown(target)}")
        target.update(zip(self.keys(items[::2]), items[1::2], strict=True))

    def keys(self, values: Sequence[Any]) -> Sequence[Any]:
        """Give the values when each may be a key."""
        for value in values:
            if not isinstance(value, SCALARS):
                self.refuse(f"uses {shown(value)} as a key")
        return values

    def name(self, module: object, attribute: object) -> None:
        """Push a name when it is one of those that are known."""
        if not (isinstance(module, str) and isinstance(attribute, str)):
            self.refuse(f"makes a name of {shown(module)} and {shown(attribute)}")
        path = f"{module}.{attribute}"
        for old, new in RENAMED:
            path = new + path.removeprefix(old) if path.startswith(old) else path
        if path not in NAMES and path not in CALLS and not MODEL_CLASS.fullmatch(path):
            self.refuse(
                f"asks for {one_line(path[:200], 100)!r}, which is not on the list of what a checkpoint may name"
            )
        self.stack.append(Name(path))

    def stack_global(self, _: object) -> None:
        """Push a name whose two parts are on the stack."""
        module, attribute = self.stack[-2:]
        del self.stack[-2:]
        self.name(module, attribute)

    def reduce(self, _: object) -> None:
        """Interpret a call."""
        args, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Name) or type(args) is not tuple:
            self.refuse(f"calls {shown(called)}")
        if called.path in ENUMS and len(args) == 1 and isinstance(args[0], (int, str)):
            self.stack.append(Record(called.path, args))
            return
        if called.path not in CALLS:
            self.refuse(f"calls {called.path!r}, which it may only name")
        try:
            self.stack.append(CALLS[called.path](*args))
        except (TypeError, ValueError, OverflowError) as error:
            self.refuse(f"calls {called.path!r} with what does not fit ({one_line(str(error)[:500], 100)})")

    def new(self, _: object) -> None:
        """Interpret the making of RecBole's Config: a record."""
        args, kind = self.stack.pop(), self.stack.pop()
        if not isinstance(kind, Name) or kind.path != CONFIG or args != ():
            self.refuse(f"makes an object of {shown(kind)}")
        self.stack.append(Record(CONFIG, ()))

    def build(self, _: object) -> None:
        """Interpret the setting of an object's state."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Record) and target.state is None and target.name in (CONFIG, "numpy.dtype"):
            if type(state) is not (dict if target.name == CONFIG else tuple):
                self.refuse(f"gives {target.name!r} the state {shown(state)}")
            target.state = state
        elif type(target) is not OrderedDict or type(state) is not dict:  # a state_dict's versions are of no use
            self.refuse(f"sets the state of {shown(target)}")

    def persistent(self, _: object) -> None:
        """Push the storage that a persistent id stands for."""
        match self.stack.pop():
            case ("storage", Name(path), str(key), str(), int(numel)) if path.removeprefix("torch.") in DTYPES:
                kind = path.removeprefix("torch.")
            case other:
                self.refuse(f"refers to {shown(other)}, which is no storage of numbers")
        size, expected = self.members.get(f"data/{key}"), numel * np.dtype(DTYPES[kind]).itemsize
        if size is None:
            self.refuse(f"lacks the member {one_line(f'data/{key}', 60)!r}")
        if size != expected:
            self.refuse(f"has {size:,} bytes in data/{key}, expected {expected:,} for {numel:,} numbers")
        self.stack.append(Storage(key, kind, numel))


def _inner(value: Any) -> Iterable[Any] | None:
    """Give what lies in a value, None when it is a leaf. Keys and sets hold scalars only."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, Record):
        return (value.args, value.state)
    return value if isinstance(value, (list, tuple)) else None


def shown(value: Any) -> str:
    """Describe a value for a message, without following it."""
    if isinstance(value, (Name, Record)):
        return repr(one_line(value.path if isinstance(value, Name) else value.name, 100))
    return repr(value) if isinstance(value, (int, float)) else f"a value of type {type(value).__name__}"


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    """Interpret `torch._utils._rebuild_tensor_v2`; the tensor must lie within its storage and repeat nothing."""
    if not isinstance(storage, Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise TypeError("expected a storage, a shape and strides")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{len(shape)} dimensions and {len(strides)} strides")
    if not all(type(i) is int and 0 <= i < MAX_SIZE for i in (offset, *shape, *strides)):
        raise ValueError("offset, shape and strides must be whole numbers from 0")
    steps = [(size, step) for size, step in zip(shape, strides, strict=True) if size > 1]
    if any(step == 0 for _, step in steps):
        raise ValueError("a stride of 0 repeats numbers")
    n = prod(shape)
    end = offset + (1 + sum((size - 1) * step for size, step in steps) if n else 0)
    if n > storage.numel or end > storage.numel or prod(max(size, 1) for size in shape) >= MAX_SIZE:
        raise ValueError(f"{n:,} numbers up to place {end:,} of a storage of {storage.numel:,}")
    if type(requires_grad) is not bool or hooks != {} or metadata not in (None, {}):
        raise TypeError("a tensor has no hooks")
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> Tensor:
    if not isinstance(tensor, Tensor) or type(requires_grad) is not bool or hooks != {}:
        raise TypeError("expected a tensor")
    return tensor


def _size(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or not all(type(i) is int for i in shape):
        raise TypeError("expected a tuple of whole numbers")
    return shape


def _device(*args: Any) -> Record:
    if not 1 <= len(args) <= 2 or not all(isinstance(i, (str, int)) for i in args):
        raise TypeError("expected a device")
    return Record("torch.device", args)


def _ordered() -> OrderedDict:
    return OrderedDict()


def _dtype(code: Any, _align: Any, _copy: Any) -> Record:
    if not isinstance(code, str) or not re.fullmatch(r"b1|[iu][1248]|f[248]", code):
        raise TypeError("expected the type of a number")
    return Record("numpy.dtype", (code,))


def _scalar(dtype: Any, data: Any) -> int | float | bool:
    """Interpret a NumPy number."""
    if not isinstance(dtype, Record) or dtype.name != "numpy.dtype" or not isinstance(data, bytes):
        raise TypeError("expected the type of a number and its bytes")
    if dtype.state is not None and dtype.state[1:2] not in (("<",), ("|",)):
        raise ValueError("expected little byte order")
    kind = np.dtype("<" + dtype.args[0])
    if len(data) != kind.itemsize:
        raise ValueError(f"{len(data)} bytes for a number of {kind.itemsize}")
    return np.frombuffer(data, kind)[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    """Interpret how protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("expected text and latin1")
    return text.encode("latin-1")


def _set(items: Any) -> set:
    if type(items) is not list or not all(isinstance(i, SCALARS) for i in items):
        raise TypeError("expected a list of numbers or text")
    return set(items)


def _getattr(kind: Any, member: Any) -> Record:
    """Interpret how Python 3.11 writes the member of an enum; of nothing else is an attribute taken."""
    if not isinstance(kind, Name) or kind.path not in ENUMS or not isinstance(member, str):
        raise TypeError("expected a member of an enum of RecBole")
    return Record(kind.path, (member,))


CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "builtins.set": _set,
    "builtins.getattr": _getattr,
    "_codecs.encode": _encode,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}
"""What may be called, and what we do instead."""


def _push(machine: Machine, value: Any) -> None:
    machine.stack.append(value)


def _pushes(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _skip(_machine: Machine, _arg: Any) -> None:
    """Do nothing: a protocol number, the length of a frame, the end."""


STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": _skip,
    "FRAME": _skip,
    "STOP": _skip,
    "NONE": _pushes(lambda: None),
    "NEWTRUE": _pushes(lambda: True),
    "NEWFALSE": _pushes(lambda: False),
    "BININT": _push,
    "BININT1": _push,
    "BININT2": _push,
    "LONG1": Machine.integer,
    "BINFLOAT": _push,
    "SHORT_BINUNICODE": _push,
    "BINUNICODE": _push,
    "SHORT_BINBYTES": _push,
    "BINBYTES": _push,
    "EMPTY_LIST": _pushes(list),
    "EMPTY_TUPLE": _pushes(tuple),
    "EMPTY_DICT": _pushes(dict),
    "EMPTY_SET": _pushes(set),
    "MARK": Machine.mark,
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, _: machine.group(1),
    "TUPLE2": lambda machine, _: machine.group(2),
    "TUPLE3": lambda machine, _: machine.group(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_mark()),
    "ADDITEMS": lambda machine, _: machine.add(machine.pop_mark()),
    "SETITEM": lambda machine, _: machine.update([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_mark()),
    "MEMOIZE": Machine.memoize,
    "BINPUT": Machine.memoize,
    "LONG_BINPUT": Machine.memoize,
    "BINGET": Machine.recall,
    "LONG_BINGET": Machine.recall,
    "GLOBAL": lambda machine, arg: machine.name(*arg.split(" ", 1)),
    "STACK_GLOBAL": Machine.stack_global,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.new,
    "BUILD": Machine.build,
    "BINPERSID": Machine.persistent,
}
"""The instructions that a checkpoint may have. All others end the reading: INST, OBJ, EXT, DUP, NEWOBJ_EX, ..."""
