"""The tables of the store. Plain types and plain SQL, so that SQLite and PostgreSQL hold the same."""

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

VERSION = 1
"""Of these tables. A database of a newer program is refused, never guessed at."""
MAX_NAME, MAX_LABEL, MAX_AUTHOR, MAX_ID, MAX_BASIS = 120, 120, 80, 1000, 60
MAX_TEXT = 10_000
"""Characters of a note."""
_TIME = 32

metadata = MetaData()

schema = Table("steerlens_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

lists = Table(
    "steerlens_lists",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("basis", String(MAX_BASIS), nullable=False),
    Column("run", String(MAX_BASIS), nullable=False),
    Column("of", String(10), nullable=False),
    Column("name", String(MAX_NAME), nullable=False),
    Column("note", Text, nullable=False),
    Column("author", String(MAX_AUTHOR), nullable=False),
    Column("created", String(_TIME), nullable=False),
    Column("changed", String(_TIME), nullable=False),
    Column("deleted", String(_TIME)),
    sqlite_autoincrement=True,  # the number of a list that is gone never stands for another one
)
Index(
    "steerlens_lists_name", lists.c.basis, lists.c.of, lists.c.name, unique=True,
    sqlite_where=lists.c.deleted.is_(None), postgresql_where=lists.c.deleted.is_(None),
)  # fmt: skip

members = Table(
    "steerlens_members",
    metadata,
    Column("list", ForeignKey(lists.c.id, ondelete="CASCADE"), primary_key=True),
    Column("member", String(MAX_ID), primary_key=True),
    Column("place", Integer, nullable=False),
)

notes = Table(
    "steerlens_notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("basis", String(MAX_BASIS), nullable=False),
    Column("of", String(10), nullable=False),
    Column("subject", String(MAX_ID), nullable=False),
    Column("text", Text, nullable=False),
    Column("author", String(MAX_AUTHOR), nullable=False),
    Column("created", String(_TIME), nullable=False),
    Column("changed", String(_TIME), nullable=False),
    Column("deleted", String(_TIME)),
    Index("steerlens_notes_subject", "basis", "of", "subject"),
    sqlite_autoincrement=True,
)

labels = Table(
    "steerlens_labels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sae", String(MAX_BASIS), nullable=False),
    Column("run", String(MAX_BASIS), nullable=False),
    Column("neuron", Integer, nullable=False),
    Column("text", String(MAX_LABEL), nullable=False),
    Column("source", String(10), nullable=False),
    Column("author", String(MAX_AUTHOR), nullable=False),
    Column("at", String(_TIME), nullable=False),
    Column("why", Text, nullable=False),
    Index("steerlens_labels_neuron", "sae", "neuron"),
    sqlite_autoincrement=True,
)
"""Append-only: what was once said of a neuron stays."""

ratings = Table(
    "steerlens_ratings",
    MetaData(),  # made at the first rating: stores of before have none
    Column("id", Integer, primary_key=True),
    Column("sae", String(MAX_BASIS), nullable=False),
    Column("neuron", Integer, nullable=False),
    Column("label", String(MAX_LABEL), nullable=False),
    Column("rating", Integer, nullable=False),
    Column("author", String(MAX_AUTHOR), nullable=False),
    Column("at", String(_TIME), nullable=False),
    Index("steerlens_ratings_sae", "sae", "neuron"),
    sqlite_autoincrement=True,
)
"""What people think of labels. Append-only; of each person the last one of a label counts."""
MAX_RATING = 4
