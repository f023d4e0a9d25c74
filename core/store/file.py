"""The file that holds everything that people wrote: JSON, the same bytes for the same content, read strictly.

Another version, an unknown key, a wrong type or a text that the store would not take is refused with its place.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_args

from core.errors import ConfigError, DataError, one_line
from core.store.tables import MAX_AUTHOR, MAX_BASIS, MAX_LABEL, MAX_NAME, MAX_RATING
from core.store.values import OFS, Of, Source, checked_ids, checked_text, clean

FORMAT = 2
"""Version of the file. Version 1, which knew no ratings, is read too."""
MAX_BYTES = 100_000_000
MAX_LISTS, MAX_ROWS = 10_000, 200_000
"""Rows are notes, labels, or ratings."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_HEAD = "steerlens_notes"


class ListRow(NamedTuple):
    """A list with its members; see `SavedList`."""

    basis: str
    run: str
    of: Of
    name: str
    note: str
    author: str
    created: str
    changed: str
    ids: tuple[str, ...]


class NoteRow(NamedTuple):
    """A note; see `Note`."""

    basis: str
    of: Of
    subject: str
    text: str
    author: str
    created: str
    changed: str


class LabelRow(NamedTuple):
    """A label as it was once given; see `Label`."""

    sae: str
    run: str
    neuron: int
    text: str
    source: Source
    author: str
    at: str
    why: str


class RatingRow(NamedTuple):
    """What a person once thought of a label, 0 to 4; see `core.labels.ratings`."""

    sae: str
    neuron: int
    label: str
    rating: int
    author: str
    at: str


class Written(NamedTuple):
    """Everything that people wrote."""

    lists: list[ListRow]
    notes: list[NoteRow]
    labels: list[LabelRow]
    ratings: list[RatingRow]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Give how many of each."""
        return len(self.lists), len(self.notes), len(self.labels), len(self.ratings)


def to_json(written: Written) -> bytes:
    """Write everything as one file.

    Raises:
        DataError: It is more than `read_json` takes.
    """
    _check_rows(written)
    values: dict[str, Any] = {_HEAD: FORMAT}
    values |= {name: [row._asdict() for row in rows] for name, rows in written._asdict().items()}
    data = (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    _check_size(len(data))
    return data


def read_json(data: bytes) -> Written:
    """Read what `to_json` wrote, or what somebody made of it.

    Raises:
        DataError: It is no such file; where and why.
    """
    _check_size(len(data))
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refused)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else one_line(str(error), 120)
        raise _wrong("the file", f"it is no JSON that can be read ({why})") from None
    if not isinstance(values, dict) or _HEAD not in values:
        raise _wrong("the file", f"it has no {_HEAD!r} at its top")
    if isinstance(values[_HEAD], bool) or values[_HEAD] not in (1, FORMAT):
        seen = one_line(repr(values[_HEAD]), 20)
        raise _wrong("the file", f"it is of version {seen}, this program reads 1 and {FORMAT}")
    if values[_HEAD] == 1 and "ratings" not in values:
        values["ratings"] = []
    _check_keys("the file", values, (_HEAD, *Written._fields))
    for name in Written._fields:
        if not isinstance(values[name], list):
            raise _wrong(name, "it is no list")
    _check_rows(Written(**{name: values[name] for name in Written._fields}))
    return Written(
        [ListRow(**_row(f"lists[{i}]", row, _LIST)) for i, row in enumerate(values["lists"])],
        [NoteRow(**_row(f"notes[{i}]", row, _NOTE)) for i, row in enumerate(values["notes"])],
        [LabelRow(**_row(f"labels[{i}]", row, _LABEL)) for i, row in enumerate(values["labels"])],
        [RatingRow(**_row(f"ratings[{i}]", row, _RATING)) for i, row in enumerate(values["ratings"])],
    )


def _text(limit: int) -> Callable[[Any], bool]:
    """A text on one line, as `clean` gives it."""
    return lambda value: isinstance(value, str) and len(value) <= limit and bool(value) and clean(value, limit) == value


def _written(value: Any) -> bool:
    try:
        return isinstance(value, str) and checked_text(value) == value
    except ConfigError:
        return False


def _members(value: Any) -> bool:
    try:
        return isinstance(value, list) and all(isinstance(i, str) for i in value) and checked_ids(value) == value
    except ConfigError:
        return False


def _one_of(values: Iterable[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in tuple(values)


def _time(value: Any) -> bool:
    return isinstance(value, str) and bool(_TIME.fullmatch(value))


def _whole(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


_neuron = _whole(2**31 - 1)


_LIST: Mapping[str, Callable[[Any], bool]] = {
    "basis": _text(MAX_BASIS), "run": _text(MAX_BASIS), "of": _one_of(OFS), "name": _text(MAX_NAME),
    "note": _written, "author": _text(MAX_AUTHOR), "created": _time, "changed": _time, "ids": _members,
}  # fmt: skip
_NOTE: Mapping[str, Callable[[Any], bool]] = {
    "basis": _text(MAX_BASIS), "of": _one_of(OFS), "subject": lambda value: _members([value]),
    "text": lambda value: _written(value) and value != "", "author": _text(MAX_AUTHOR), "created": _time,
    "changed": _time,
}  # fmt: skip
_LABEL: Mapping[str, Callable[[Any], bool]] = {
    "sae": _text(MAX_BASIS), "run": _text(MAX_BASIS), "neuron": _neuron,
    "text": lambda value: value == "" or _text(MAX_LABEL)(value), "source": _one_of(get_args(Source)),
    "author": _text(MAX_AUTHOR), "at": _time, "why": _written,
}  # fmt: skip
_RATING: Mapping[str, Callable[[Any], bool]] = {
    "sae": _text(MAX_BASIS), "neuron": _neuron, "label": _text(MAX_LABEL), "rating": _whole(MAX_RATING),
    "author": _text(MAX_AUTHOR), "at": _time,
}  # fmt: skip


def _row(place: str, row: Any, fields: Mapping[str, Callable[[Any], bool]]) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise _wrong(place, "it is no object")
    _check_keys(place, row, fields)
    for name, fits in fields.items():
        if not fits(row[name]):
            raise _wrong(f"{place}.{name}", f"{one_line(repr(row[name])[:80], 60)} cannot be there")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _check_keys(place: str, row: Mapping[str, Any], expected: Iterable[str]) -> None:
    wrong = sorted(set(row) ^ set(expected))
    if wrong:
        raise _wrong(place, f"missing or unknown keys: {one_line(', '.join(wrong), 100)}")


def _check_rows(written: Written) -> None:
    limits = {"lists": MAX_LISTS, "notes": MAX_ROWS, "labels": MAX_ROWS, "ratings": MAX_ROWS}
    for name, rows in written._asdict().items():
        if len(rows) > limits[name]:
            raise DataError(
                f"The file holds {len(rows):,} {name}; at most {limits[name]:,} fit into one.", "Leave some out."
            )


def _check_size(n: int) -> None:
    if n > MAX_BYTES:
        raise DataError(
            f"The file has {n / 1e6:,.0f} MB; what people wrote has at most {MAX_BYTES / 1e6:,.0f} MB.",
            "Give the file that export-notes wrote, or delete large lists.",
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return values


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no value of JSON")


def _wrong(place: str, why: str) -> DataError:
    return DataError(
        f"The notes cannot be imported: {place}: {why}. Nothing was changed.",
        "Give a file as python -m core export-notes writes it.",
    )
