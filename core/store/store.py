"""Lists, notes and labels: what is kept of them, and how they are changed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from sqlalchemy import Connection, Row, Table, func, select
from sqlalchemy.exc import IntegrityError

from core.errors import ConfigError, DataError, MissingStageError, StaleArtefactError, one_line
from core.store.database import WAIT_S, Database, url_of_environment
from core.store.tables import MAX_AUTHOR, MAX_LABEL, labels, lists, members, notes
from core.store.values import (
    MAX_MEMBERS,
    Label,
    Note,
    Of,
    SavedList,
    Source,
    author,
    basis_of,
    check_of,
    checked_ids,
    checked_name,
    checked_text,
    clean,
    needed_text,
    now,
    too_many,
)
from core.workspace import Workspace

_CHUNK = 5000


def open_store(workspace: Workspace | Path | str, wait_s: float = WAIT_S) -> "Store":
    """Open what people wrote: in the database that DATABASE_URL names, else in `store.sqlite` of the workspace.

    Raises:
        ConfigError: DATABASE_URL cannot be used.
        MissingDependencyError: Its driver is not installed.
    """
    place = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    return Store(place, Database(place.path, url_of_environment(), wait_s))


class Store:
    """What people wrote. Every change is one short transaction; every mistake a `UserError`, with nothing changed.

    Args:
        workspace: Whose runs the ids belong to.
        database: Where it is kept.
    """

    def __init__(self, workspace: Workspace, database: Database) -> None:
        self.workspace = workspace
        self.database = database
        self._revisions: dict[str, tuple[object, int]] = {}

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def lists(self, run_id: str | None = None, of: Of | None = None, *, deleted: bool = False) -> list[SavedList]:
        """Give the lists that hold ids of a run's SAE or dataset, the last changed first; all without a run.

        Args:
            run_id: A run; lists made on another run of the same SAE, or dataset, hold here too.
            of: What they hold; all by default.
            deleted: Those that were deleted instead.
        """
        size = select(func.count()).where(members.c.list == lists.c.id).scalar_subquery()
        query = select(lists, size.label("size")).where(
            lists.c.deleted.is_not(None) if deleted else lists.c.deleted.is_(None)
        )
        if run_id is not None:
            query = query.where(lists.c.basis.in_([run_id, *self._bases(run_id).values()]))
        if of is not None:
            query = query.where(lists.c.of == of)
        with self.database.reading() as connection:
            rows = [] if connection is None else connection.execute(query).all()
        return [_saved(row) for row in sorted(rows, key=lambda row: (row.changed, row.id), reverse=True)]

    def saved(self, list_id: int) -> SavedList:
        """Give a list.

        Raises:
            DataError: There is none of this number.
        """
        found = next((saved for saved in self.lists() if saved.id == list_id), None)
        if found is None:
            raise _no_list(list_id)
        return found

    def ids(self, list_id: int) -> list[str]:
        """Give the members of a list in the order in which they came.

        Raises:
            DataError: There is no such list.
        """
        self.saved(list_id)
        query = select(members.c.member).where(members.c.list == list_id).order_by(members.c.place, members.c.member)
        with self.database.reading() as connection:
            return [] if connection is None else list(connection.execute(query).scalars())

    def save_list(self, run_id: str, of: Of, name: str, ids: Sequence[str], note: str = "") -> SavedList:
        """Save a new list.

        Raises:
            ConfigError: It has no name, no members or too many, or a list of this name is there.
            MissingStageError: There is no such run.
        """
        basis = basis_of(self.workspace.meta("neurons", run_id).parents, check_of(of))
        chosen, at = checked_name(name), now()
        values = {
            "basis": basis, "run": run_id, "of": of, "name": chosen, "note": checked_text(note), "author": author(),
            "created": at, "changed": at,
        }  # fmt: skip
        unique = checked_ids(ids)
        if not unique:
            raise ConfigError("A list needs at least one member.", "Choose some first.")
        with self.database.writing() as connection:
            list_id = insert_list(connection, values, unique)
        return self.saved(list_id)

    def add_to_list(self, list_id: int, ids: Sequence[str]) -> int:
        """Add members to a list and give how many were not in it.

        Raises:
            DataError: There is no such list.
            ConfigError: It would hold too many.
        """
        unique = checked_ids(ids)
        with self.database.writing() as connection:
            self._touch(connection, list_id)
            held = connection.execute(select(members.c.member, members.c.place).where(members.c.list == list_id)).all()
            known = {row.member for row in held}
            new = [i for i in unique if i not in known]
            if len(known) + len(new) > MAX_MEMBERS:
                raise too_many(len(known) + len(new))
            insert_members(connection, list_id, new, 1 + max((row.place for row in held), default=-1))
        return len(new)

    def remove_from_list(self, list_id: int, ids: Sequence[str]) -> int:
        """Remove members from a list and give how many were in it.

        Raises:
            DataError: There is no such list.
        """
        gone = 0
        with self.database.writing() as connection:
            self._touch(connection, list_id)
            for chunk in _chunks(list(dict.fromkeys(ids))):
                done = connection.execute(
                    members.delete().where(members.c.list == list_id, members.c.member.in_(chunk))
                )
                gone += done.rowcount
        return gone

    def change_list(self, list_id: int, *, name: str | None = None, note: str | None = None) -> None:
        """Give a list another name or note.

        Raises:
            DataError: There is no such list.
            ConfigError: Another list has this name.
        """
        values: dict[str, Any] = {} if name is None else {"name": checked_name(name)}
        values |= {} if note is None else {"note": checked_text(note)}
        with self.database.writing() as connection:
            self._touch(connection, list_id, **values)

    def delete_list(self, list_id: int) -> None:
        """Put a list away; `restore_list` brings it back.

        Raises:
            DataError: There is no such list.
        """
        with self.database.writing() as connection:
            self._touch(connection, list_id, deleted=now())

    def restore_list(self, list_id: int) -> None:
        """Bring a deleted list back.

        Raises:
            DataError: There is no such list.
            ConfigError: Another list has its name by now.
        """
        with self.database.writing() as connection:
            self._touch(connection, list_id, of_deleted=True, deleted=None)

    def notes(self, basis: str | None = None, of: Of | None = None, subject: str | None = None) -> list[Note]:
        """Give the notes on ids of an SAE or dataset, or on one of them, the first written first."""
        query = select(notes).where(notes.c.deleted.is_(None)).order_by(notes.c.created, notes.c.id)
        for column, value in ((notes.c.basis, basis), (notes.c.of, of), (notes.c.subject, subject)):
            query = query if value is None else query.where(column == value)
        with self.database.reading() as connection:
            rows = [] if connection is None else connection.execute(query).all()
        return [Note(*(getattr(row, field) for field in Note._fields)) for row in rows]

    def add_note(self, basis: str, of: Of, subject: str, text: str) -> None:
        """Write a note on a neuron, a viewer or an item.

        Raises:
            ConfigError: It is empty or too long.
        """
        at = now()
        values = {
            "basis": basis, "of": check_of(of), "subject": checked_ids([subject])[0], "text": needed_text(text),
            "author": author(), "created": at, "changed": at,
        }  # fmt: skip
        with self.database.writing() as connection:
            connection.execute(notes.insert().values(**values))

    def change_note(self, note_id: int, text: str) -> None:
        """Write a note anew.

        Raises:
            DataError: There is no such note.
            ConfigError: It is empty or too long.
        """
        self._change_note(note_id, text=needed_text(text), changed=now())

    def delete_note(self, note_id: int) -> None:
        """Put a note away; `restore_note` brings it back."""
        self._change_note(note_id, deleted=now())

    def restore_note(self, note_id: int) -> None:
        """Bring a deleted note back."""
        self._change_note(note_id, deleted=None)

    def labels(self, sae: str) -> dict[int, Label]:
        """Give the label of each neuron that has one: a person's, else a language model's, else stored keywords."""
        chosen: dict[int, dict[str, Label]] = {}
        for label in self._labels(sae):
            of_neuron = chosen.setdefault(label.neuron, {})
            if label.source == "automatic":
                of_neuron.pop("human", None)
            else:
                of_neuron[label.source] = label
        order = get_args(Source)
        return {
            neuron: found[next(source for source in order if source in found)]
            for neuron, found in chosen.items()
            if found
        }

    def label_history(self, sae: str, neuron: int) -> list[Label]:
        """Give every label that a neuron was given, the oldest first."""
        return self._labels(sae, neuron)

    def set_label(
        self, run_id: str, neuron: int, text: str, why: str = "", source: Source = "human", by: str | None = None
    ) -> None:
        """Give a neuron of a run's SAE a label, a new row of its history.

        Args:
            run_id: The run it was given on; it holds for every run on this SAE.
            neuron: Index.
            text: The label.
            why: The reason, if there is one.
            source: Who gives it.
            by: The name of who gives it; `author()` by default.

        Raises:
            ConfigError: The label is empty or too long.
            MissingStageError: There is no such run.
        """
        chosen = "" if source == "automatic" else checked_name(text, MAX_LABEL, "label")
        sae = basis_of(self.workspace.meta("neurons", run_id).parents, "neurons")
        values = {
            "sae": sae, "run": run_id, "neuron": int(neuron), "text": chosen, "source": source,
            "author": clean(by or author(), MAX_AUTHOR), "at": now(), "why": checked_text(why),
        }  # fmt: skip
        with self.database.writing() as connection:
            connection.execute(labels.insert().values(**values))

    def back_to_automatic(self, run_id: str, neuron: int, why: str = "") -> None:
        """Take a person's label back: a new row of the history too."""
        self.set_label(run_id, neuron, "", why, "automatic")

    def label_revision(self, sae: str) -> int:
        """Give a number that changes whenever a label of an SAE does: how many were ever given."""
        stamp = self.database.stamp()
        if stamp is not None and stamp == self._revisions.get(sae, (None, 0))[0]:
            return self._revisions[sae][1]
        query = select(func.count()).select_from(labels).where(labels.c.sae == sae)
        with self.database.reading() as connection:
            revision = 0 if connection is None else int(connection.execute(query).scalar_one())
        self._revisions[sae] = (stamp, revision)
        return revision

    def _labels(self, sae: str, neuron: int | None = None) -> list[Label]:
        query = select(labels).where(labels.c.sae == sae).order_by(labels.c.at, labels.c.id)
        query = query if neuron is None else query.where(labels.c.neuron == neuron)
        with self.database.reading() as connection:
            rows = [] if connection is None else connection.execute(query).all()
        return [Label(*(getattr(row, field) for field in Label._fields)) for row in rows]

    def _bases(self, run_id: str) -> dict[str, str]:
        try:
            return self.workspace.meta("neurons", run_id).parents
        except (MissingStageError, StaleArtefactError):
            return {}

    def _touch(self, connection: Connection, list_id: int, of_deleted: bool = False, **values: Any) -> None:
        """Change a list, and hold it until the transaction ends, so that two that add to it do so in turn."""
        is_there = lists.c.deleted.is_not(None) if of_deleted else lists.c.deleted.is_(None)
        try:
            done = connection.execute(
                lists.update().where(lists.c.id == list_id, is_there).values(changed=now(), **values)
            )
        except IntegrityError:
            raise _taken(values.get("name")) from None
        if not done.rowcount:
            raise _no_list(list_id)

    def _change_note(self, note_id: int, **values: Any) -> None:
        with self.database.writing() as connection:
            if not connection.execute(notes.update().where(notes.c.id == note_id).values(**values)).rowcount:
                raise DataError(f"There is no note {note_id}.", "Reload the page: it may have been removed.")


def insert_list(connection: Connection, values: Mapping[str, Any], ids: Sequence[str]) -> int:
    """Insert a list with its members and give its number.

    Raises:
        ConfigError: A list of this name is there.
    """
    try:
        done = connection.execute(lists.insert().values(**values))
    except IntegrityError:
        raise _taken(values["name"]) from None
    list_id = int((done.inserted_primary_key or (0,))[0])
    insert_members(connection, list_id, ids, 0)
    return list_id


def insert_members(connection: Connection, list_id: int, ids: Sequence[str], start: int) -> None:
    """Insert members that are not in the list yet, from place `start` on."""
    insert_rows(connection, members, [{"list": list_id, "member": i, "place": n} for n, i in enumerate(ids, start)])


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows, some thousands at a time."""
    for chunk in _chunks(rows):
        connection.execute(table.insert(), chunk)


def _chunks(rows: Sequence[Any]) -> Iterable[list[Any]]:
    return (list(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK))


def _saved(row: Row) -> SavedList:
    return SavedList(*(getattr(row, field) for field in SavedList._fields))


def _no_list(list_id: int) -> DataError:
    return DataError(f"There is no list {list_id}.", "Open “Lists and notes” to see those that there are.")


def _taken(name: str | None) -> ConfigError:
    called = f"called {one_line(name, 60)!r}" if name else "of its name"
    return ConfigError(f"There is a list {called} already.", "Give this one another name, or add to the list.")
