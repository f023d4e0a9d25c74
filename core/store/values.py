"""What the store holds, as values, and what it takes: names, texts and ids that every database keeps as they are."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from core.errors import ConfigError, one_line
from core.store.tables import MAX_AUTHOR, MAX_ID, MAX_NAME, MAX_TEXT

Of = Literal["neurons", "viewers", "items"]
"""What a list holds, and what a note is on; ids are texts (of neurons: their index)."""
OFS: tuple[Of, ...] = get_args(Of)
Source = Literal["human", "llm", "keyword", "automatic"]
"""Who gave a label, the strongest first; "automatic" takes a person's label back."""
MAX_MEMBERS = 100_000
"""Of a list."""


class SavedList(NamedTuple):
    """A list without its members. Name, note and author are untrusted text."""

    id: int
    basis: str
    """The artefact that its ids belong to: the SAE of neurons, the dataset of viewers and items."""
    run: str
    """The run that it was made on."""
    of: Of
    name: str
    note: str
    author: str
    created: str
    """UTC, ISO 8601."""
    changed: str
    size: int


class Note(NamedTuple):
    """A note on a neuron, a viewer or an item. Text and author are untrusted."""

    id: int
    basis: str
    of: Of
    subject: str
    text: str
    author: str
    created: str
    changed: str


class Label(NamedTuple):
    """A label as somebody once gave it. Text, author and reason are untrusted."""

    neuron: int
    text: str
    source: Source
    author: str
    at: str
    why: str
    run: str


def author() -> str:
    """Give the name under which something is written: STEERLENS_AUTHOR, else the name of the login."""
    names = (os.environ.get(key, "").strip() for key in ("STEERLENS_AUTHOR", "USER", "LOGNAME", "USERNAME"))
    return clean(next(filter(None, names), "unknown"), MAX_AUTHOR)


def basis_of(ids: Mapping[str, str], of: Of) -> str:
    """Give the artefact of a run that ids belong to.

    >>> basis_of({"dataset": "films-1", "sae": "knots-2"}, "neurons")
    'knots-2'
    """
    return ids["sae" if of == "neurons" else "dataset"]


def now() -> str:
    """Give the time, UTC, to the microsecond: texts that sort as times do."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check_of(of: str) -> Of:
    """Give what a list is of.

    Raises:
        ConfigError: It is nothing that lists are of.
    """
    if of not in OFS:
        raise ConfigError(f"There are no lists of {one_line(of, 40)!r}.", f"Use one of: {', '.join(OFS)}.")
    return of


def clean(text: str, limit: int) -> str:
    """Fold text to one line that every database takes."""
    return one_line(text.encode("utf-8", "ignore").decode(), limit)


def checked_name(text: str, limit: int = MAX_NAME, what: str = "list") -> str:
    """Give the name of a list, or a label.

    Raises:
        ConfigError: It is empty or too long.
    """
    name = clean(text, limit + 1)
    if not name or len(name) > limit:
        raise ConfigError(
            f"The name of a {what} has 1 to {limit} characters, not {len(name) if len(name) <= limit else 'more'}.",
            "Give it a short name.",
        )
    return name


def checked_text(text: str) -> str:
    """Give the text of a note: its lines stay, other control characters do not.

    Raises:
        ConfigError: It is too long.
    """
    if len(text) > MAX_TEXT:
        raise ConfigError(f"A note has at most {MAX_TEXT:,} characters, not {len(text):,}.", "Make it shorter.")
    written = text.replace("\r\n", "\n").encode("utf-8", "ignore").decode()
    return "".join(c if c.isprintable() or c == "\n" else " " for c in written).strip()


def checked_ids(ids: Iterable[str]) -> list[str]:
    """Give ids without repetition, in their order.

    Raises:
        ConfigError: There are too many, or one cannot be kept.
    """
    unique = list(dict.fromkeys(map(str, ids)))
    if len(unique) > MAX_MEMBERS:
        raise too_many(len(unique))
    for name in unique:
        if not 0 < len(name) <= MAX_ID or "\0" in name or name != name.encode("utf-8", "ignore").decode():
            raise ConfigError(
                f"The id {one_line(name, 40)!r} cannot be kept.", f"Ids are texts of 1 to {MAX_ID:,} characters."
            )
    return unique


def needed_text(text: str) -> str:
    """Give the text of a note that has to say something.

    Raises:
        ConfigError: It is empty or too long.
    """
    written = checked_text(text)
    if not written:
        raise ConfigError("The note is empty.", "Write something, or delete the note.")
    return written


def too_many(n: int) -> ConfigError:
    """Say that a list would be too long."""
    return ConfigError(f"A list holds at most {MAX_MEMBERS:,} members, not {n:,}.", "Save fewer.")
