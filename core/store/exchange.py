"""Everything that people wrote, out of a store and into another.

Ids that this workspace does not know are kept, because its next build may, and named.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Table, inspect, select

from core.data.dataset import Dataset
from core.errors import MissingStageError, StaleArtefactError, one_line
from core.runs import Run
from core.store.file import LabelRow, ListRow, NoteRow, RatingRow, Written
from core.store.store import Store, insert_list, insert_members, insert_rows
from core.store.tables import MAX_NAME, labels, lists, members, notes, ratings
from core.store.values import OFS, Of
from core.workspace import Workspace

N_NAMED = 3
"""Unknown ids that are named of each list."""


class Imported(NamedTuple):
    """What an import did."""

    lists: int
    """That are new, or newer than those that were there."""
    notes: int
    labels: int
    ratings: int
    kept: int
    """Rows that were there already."""
    unknown: list[str]
    """A sentence for everything that this workspace does not know. Untrusted text in it."""


def collect(store: Store) -> Written:
    """Give everything that people wrote, in an order of its own; what was deleted is left out."""
    with store.database.reading() as connection:
        if connection is None:
            return Written([], [], [], [])
        held: dict[int, list[str]] = {}
        for row in connection.execute(select(members).order_by(members.c.list, members.c.place, members.c.member)):
            held.setdefault(row.list, []).append(row.member)
        rows = connection.execute(select(lists).where(lists.c.deleted.is_(None))).all()
        found = [
            ListRow._make([*(getattr(r, f) for f in ListRow._fields[:-1]), tuple(held.get(r.id, ()))]) for r in rows
        ]
        rows = connection.execute(select(notes).where(notes.c.deleted.is_(None))).all()
        said = [NoteRow(*(getattr(r, f) for f in NoteRow._fields)) for r in rows]
        rows = connection.execute(select(labels)).all()
        named = [LabelRow(*(getattr(r, f) for f in LabelRow._fields)) for r in rows]
        rows = connection.execute(select(ratings)).all() if inspect(connection).has_table(ratings.name) else []
        rated = [RatingRow(*(getattr(r, f) for f in RatingRow._fields)) for r in rows]
    return Written(
        sorted(found, key=_list_key), sorted(said, key=_note_key), sorted(named, key=_row_key),
        sorted(rated, key=_row_key),
    )  # fmt: skip


def bring_in(store: Store, written: Written) -> Imported:
    """Join what somebody wrote to what is in a store, all of it or nothing.

    A list or note is the same one where basis, author and time of creation are the same: the one that was changed last
    stays. A list that is another one of the same name gets a number behind its name. A label or a rating is a row of a
    history: one that is there already is not there twice.

    Raises:
        UserError: The database cannot be written.
    """
    with store.database.writing() as connection:
        if written.ratings:
            ratings.create(connection, checkfirst=True)
        new = (
            _bring_lists(connection, written.lists),
            _bring_notes(connection, written.notes),
            _bring_history(connection, labels, written.labels),
            _bring_history(connection, ratings, written.ratings),
        )
    n_rows = sum(written.counts)
    return Imported(*new, kept=n_rows - sum(new), unknown=unknown_in(store.workspace, written))


def unknown_in(workspace: Workspace, written: Written) -> list[str]:
    """Name what a workspace does not have: SAEs, datasets, and ids that theirs lack."""
    subjects: dict[tuple[str, Of], list[tuple[str, tuple[str, ...]]]] = {}
    for row in written.lists:
        subjects.setdefault((row.basis, row.of), []).append((f"The list “{one_line(row.name, 60)}”", row.ids))
    for of in OFS:
        for basis in dict.fromkeys(n.basis for n in written.notes if n.of == of):
            ids = tuple(dict.fromkeys(n.subject for n in written.notes if (n.basis, n.of) == (basis, of)))
            subjects.setdefault((basis, of), []).append((f"Notes on {of}", ids))
    histories: tuple[tuple[str, Sequence[LabelRow | RatingRow]], ...] = (
        ("Labels", written.labels), ("Ratings", written.ratings),
    )  # fmt: skip
    for what, given in histories:
        for sae in dict.fromkeys(row.sae for row in given):
            ids = tuple(dict.fromkeys(str(row.neuron) for row in given if row.sae == sae))
            subjects.setdefault((sae, "neurons"), []).append((what, ids))
    said = []
    for (basis, of), holders in subjects.items():
        known = _known(workspace, basis, of)
        for who, ids in holders:
            missing = ids if known is None else [i for i in ids if not known(i)]
            if known is None:
                said.append(f"{who}: this workspace has no {'SAE' if of == 'neurons' else 'dataset'} {basis}.")
            elif missing:
                named = ", ".join(one_line(i, 40) for i in missing[:N_NAMED]) + (
                    ", …" if len(missing) > N_NAMED else ""
                )
                said.append(f"{who}: {len(missing):,} of {len(ids):,} ids are not in {basis}: {named}.")
    return said


def _known(workspace: Workspace, basis: str, of: Of) -> Callable[[str], bool] | None:
    """Give the test for an id of an SAE or dataset; None where that is not in the workspace."""
    try:
        if of == "neurons":
            d_sae = int(workspace.meta("sae", basis).metrics["model"]["d_sae"])
            return lambda name: name.isascii() and name.isdigit() and int(name[:12]) < d_sae
        dataset: Dataset = Run(workspace, {"dataset": basis}).full
    except (MissingStageError, StaleArtefactError):
        return None
    ids = dataset.users if of == "viewers" else dataset.items
    return lambda name: name in ids


def _bring_lists(connection: Connection, rows: list[ListRow]) -> int:
    there, taken, new = {}, set(), 0
    for held in connection.execute(select(lists)):
        there[held.basis, held.of, held.author, held.created] = (held.id, "" if held.deleted else held.changed)
        if held.deleted is None:
            taken.add((held.basis, held.of, held.name))
    for row in rows:
        key = (row.basis, row.of, row.author, row.created)
        list_id, changed = there.get(key, (None, ""))
        if changed >= row.changed:
            continue
        if list_id is not None and changed:
            old = connection.execute(select(lists.c.name).where(lists.c.id == list_id)).scalar_one()
            taken.discard((row.basis, row.of, old))
        name = _free_name(row, taken)
        taken.add((row.basis, row.of, name))
        values = {k: v for k, v in row._asdict().items() if k != "ids"} | {"name": name}
        if list_id is None:
            list_id = insert_list(connection, values, row.ids)
        else:
            connection.execute(lists.update().where(lists.c.id == list_id).values(**values, deleted=None))
            connection.execute(members.delete().where(members.c.list == list_id))
            insert_members(connection, list_id, row.ids, 0)
        there[key] = (list_id, row.changed)
        new += 1
    return new


def _free_name(row: ListRow, taken: set[tuple[str, str, str]]) -> str:
    free, n = row.name, 2
    while (row.basis, row.of, free) in taken:
        tail = f" ({n})"
        free, n = row.name[: MAX_NAME - len(tail)] + tail, n + 1
    return free


def _bring_notes(connection: Connection, rows: list[NoteRow]) -> int:
    there = {}
    for held in connection.execute(select(notes)):
        key = (held.basis, held.of, held.subject, held.author, held.created)
        there[key] = (held.id, "" if held.deleted else held.changed)
    new: dict[tuple[str, ...], NoteRow] = {}
    newer: dict[int, NoteRow] = {}
    for row in rows:
        key = (row.basis, row.of, row.subject, row.author, row.created)
        note_id, changed = there.get(key, (None, ""))
        if changed >= row.changed:
            continue
        there[key] = (note_id, row.changed)
        if note_id is None:
            new[key] = row
        else:
            newer[note_id] = row
    insert_rows(connection, notes, [row._asdict() for row in new.values()])
    for note_id, row in newer.items():
        values = {"text": row.text, "changed": row.changed, "deleted": None}
        connection.execute(notes.update().where(notes.c.id == note_id).values(**values))
    return len(new) + len(newer)


def _bring_history(connection: Connection, table: Table, rows: Sequence[LabelRow | RatingRow]) -> int:
    if not rows:
        return 0
    known = {tuple(row) for row in connection.execute(select(*(table.c[field] for field in rows[0]._fields)))}
    new = [row for row in dict.fromkeys(rows) if tuple(row) not in known]
    insert_rows(connection, table, [row._asdict() for row in new])
    return len(new)


def _list_key(row: ListRow) -> tuple[str, ...]:
    return (row.created, row.basis, row.of, row.name, row.author)


def _note_key(row: NoteRow) -> tuple[str, ...]:
    return (row.created, row.basis, row.of, row.subject, row.author, row.text)


def _row_key(row: LabelRow | RatingRow) -> tuple[str | int, ...]:
    return (row.at, *row)
