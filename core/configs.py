"""What every config shares: a strict reader, so that a misspelt setting is an error and never a silent default."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from core.errors import ConfigError, near

C = TypeVar("C")


def from_dict(kind: type[C], values: Mapping[str, Any], where: str = "") -> C:
    """Build the frozen dataclass `kind` from plain values; text is converted to the field's type.

    Args:
        kind: A dataclass whose fields are int, float, bool, str, optional ones of these, or tuples of them.
        values: Field name to value; the command line gives text, a file gives typed values.
        where: The prefix that messages show, for example ``"sae."``.

    Raises:
        ConfigError: An unknown field, or a value that cannot be read as the field's type or is out of range.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name for f in dataclasses.fields(typing.cast(Any, kind))}
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"{where}{name} is not a setting of {kind.__name__}{near(name, fields)}.",
                f"Use one of: {', '.join(sorted(fields))}.",
            )
    return kind(**{name: _read(hints[name], value, f"{where}{name}") for name, value in values.items()})


def check(condition: bool, problem: str, fix: str) -> None:
    """Raise `ConfigError` with these two lines unless the condition holds: for ``__post_init__``."""
    if not condition:
        raise ConfigError(problem, fix)


def _read(hint: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _read(next(a for a in typing.get_args(hint) if a is not type(None)), value, name)
    if origin is typing.Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ConfigError(f"{name} is {value!r}{near(str(value), allowed)}.", f"Use one of: {', '.join(allowed)}.")
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else list(value)
        return tuple(_read(typing.get_args(hint)[0], part, name) for part in parts)
    if hint is bool:
        text = str(value).lower()
        if text not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            raise ConfigError(f"{name} is {value!r}, expected yes or no.", f"Give {name}=yes or {name}=no.")
        return text in ("true", "1", "yes", "on")
    if hint in (int, float):
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} is {value!r}, expected a number.", f"Give {name} a number.") from None
        if not math.isfinite(number):
            raise ConfigError(f"{name} is {value!r}, expected a finite number.", f"Give {name} a finite number.")
        if hint is int:
            if number != int(number):
                raise ConfigError(f"{name} is {value!r}, expected a whole number.", f"Give {name} a whole number.")
            return int(value) if isinstance(value, int) else int(number)
        return number
    return str(value)
