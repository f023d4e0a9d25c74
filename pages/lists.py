"""Lists and notes: what people wrote about this recommender."""

import numpy as np
import pandas as pd
import streamlit as st

from core.data.dataset import IdMap
from core.errors import DataError, one_line
from core.neurons.groups import SAVED
from core.runs import Run
from core.store import Label, Note, Of, SavedList, basis_of
from core.store.exchange import bring_in, collect
from core.store.file import MAX_BYTES, read_json, to_json
from core.store.tables import MAX_NAME, MAX_TEXT
from core.store.values import OFS
from dashboard import cache, state
from dashboard.charts import DASH
from dashboard.escape import for_csv, for_html, for_markdown
from dashboard.listing import named
from dashboard.navigation import go
from dashboard.panels import show_card, show_header, show_note, show_rows, show_section
from dashboard.saving import counted, day
from dashboard.sidebar import current_run

QUESTION = "Which concepts, viewers and titles did people put aside, and what did they write?"
PAGES: dict[Of, str] = {"neurons": "concept", "viewers": "viewer", "items": "item"}
NOT_HERE = "not in this run"
N_UNKNOWN = 5


def run() -> None:
    """Draw the page."""
    shown = current_run("Lists and notes", QUESTION)
    store = cache.store()
    lists = store.lists(shown.id)
    notes = [note for of in OFS for note in store.notes(basis_of(shown.ids, of), of)]
    labels = [label for label in store.labels(basis_of(shown.ids, "neurons")).values() if label.source == "human"]
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        show_header("Lists and notes", QUESTION)
        with st.container(horizontal=True, width="content", gap="small"):
            show_import()
            st.download_button(
                "Export", lambda: to_json(collect(store)), "steerlens-notes.json", "application/json",
                icon=":material/download:", on_click="ignore",
                help="All lists, notes and labels of this workspace in one file, to keep or to import elsewhere",
            )  # fmt: skip
    show_undo()
    if not (lists or notes or labels):
        show_card(
            "Nothing written yet",
            "“Save as a list” on the pages of Explore puts concepts, viewers or titles aside under a name. Concepts "
            "get other labels on their page, and notes are written on the pages of concepts, viewers and titles.",
        )
    if lists:
        show_lists(shown, lists)
    show_notes_table(shown, notes)
    show_labels(shown, labels)
    show_deleted(store.lists(shown.id, deleted=True))
    elsewhere = len(store.lists()) - len(lists)
    if elsewhere:
        show_note(f"{elsewhere:,} more lists are of other SAEs or datasets: choose their run in the side bar.")


def show_import() -> None:
    """Draw the popover that imports a file, and say what came in."""
    with st.popover("Import", icon=":material/upload:"):
        with st.form("import-notes", border=False, clear_on_submit=True):
            file = st.file_uploader("A file that was exported here or elsewhere", type="json", key="notes-file")
            chosen = st.form_submit_button("Import", type="primary")
        if not chosen:
            return
        if file is None:
            raise DataError("No file was chosen.", "Choose one first.")
        if file.size > MAX_BYTES:
            read_json(b" " * (MAX_BYTES + 1))
        done = bring_in(cache.store(), read_json(file.getvalue()))
        came = f"{done.lists:,} lists, {done.notes:,} notes and {done.labels:,} labels joined"
        state.keep("imported", (f"{came}; {done.kept:,} were there already.", done.unknown))
        st.rerun()


def show_undo() -> None:
    """Say what was just imported, or deleted, which can be undone."""
    imported = state.kept("imported")
    if imported is not None:
        said, unknown = imported
        st.success(for_markdown(said, 200), icon=":material/check:")
        for sentence in unknown[:N_UNKNOWN]:
            show_note(f"Kept, though unknown here. {sentence}")
        if len(unknown) > N_UNKNOWN:
            show_note(f"And {len(unknown) - N_UNKNOWN:,} more like this.")
        state.keep("imported", None)
    gone = state.kept("list_gone")
    if gone is not None:
        with st.container(horizontal=True, vertical_alignment="center", key="undo-list"):
            show_note(f"“{gone[1]}” was deleted.", width="content")
            if st.button("Undo", icon=":material/undo:", key="undo-delete"):
                bring_back(gone[0])


def bring_back(list_id: int) -> None:
    """Restore a list, and open it."""
    cache.store().restore_list(list_id)
    state.keep("list_gone", None)
    state.set_page_choice(state.LIST, str(list_id))
    st.rerun()


def show_lists(shown: Run, lists: list[SavedList]) -> None:
    """Draw the table of the lists and the one that is open."""
    known = {str(saved.id): saved for saved in lists}
    asked = state.page_choice(state.LIST, None, "")
    show_section("Lists", f"{len(lists):,}, select one to open it")
    view = pd.DataFrame(
        {
            "Name": [saved.name for saved in lists],
            "Holds": [counted(saved.size, saved.of) for saved in lists],
            "Note": [saved.note.replace("\n", " ") for saved in lists],
            "Author": [saved.author for saved in lists],
            "Changed": [day(saved.changed) for saved in lists],
        }
    )
    newest = max(saved.changed for saved in lists)
    picked = show_rows(view, f"lists-{len(lists)}-{newest}", {})
    if picked is not None and str(lists[picked].id) != asked:
        state.set_page_choice(state.LIST, str(lists[picked].id))
        st.rerun()
    if asked and asked not in known:
        raise DataError(
            f"There is no list {one_line(asked, 20)!r} on this run.", "Choose one of the table, or the run it is of."
        )
    if asked:
        show_list(shown, known[asked])


def show_list(shown: Run, saved: SavedList) -> None:
    """Draw one list: its note, its members with their names, and what can be done with it."""
    store = cache.store()
    ids = store.ids(saved.id)
    rows = members_of(shown, saved.of, ids)
    with st.container(border=True, key="open-list"):
        when = f"{day(saved.created)}, changed {day(saved.changed)}"
        facts = f"{counted(saved.size, saved.of)} · {saved.author}, {when} · made on {saved.run}"
        note = "".join(f"<p>{for_html(line, MAX_TEXT)}</p>" for line in saved.note.split("\n") if line.strip())
        written = f"<div class='sl-written'>{note}<small>{for_html(facts)}</small></div>"
        st.html(f"<h3 class='sl-cardtitle'>{for_html(saved.name)}</h3>{written}")
        with st.container(horizontal=True, gap="small"):
            show_rename(saved)
            st.download_button(
                "Download as CSV", lambda: to_csv(rows, saved), f"list-{saved.id}.csv", "text/csv", on_click="ignore",
                icon=":material/download:", type="tertiary",
            )  # fmt: skip
            if saved.of != "neurons" and st.button(
                "Compare in Groups", icon=":material/compare_arrows:", type="tertiary", key="to-groups",
                help="What sets these apart from all others",
            ):  # fmt: skip
                go("groups", of=saved.of, a_by=SAVED, a=str(saved.id))
            if st.button("Delete", icon=":material/delete:", type="tertiary", key="delete-list"):
                store.delete_list(saved.id)
                state.keep("list_gone", (saved.id, saved.name))
                state.set_page_choice(state.LIST, None)
                st.rerun()
        show_members(saved, rows)


def show_rename(saved: SavedList) -> None:
    """Draw the popover that gives a list another name and note."""
    with st.popover("Rename", icon=":material/edit:", type="tertiary"):
        with st.form(f"rename-{saved.id}-{saved.changed}", border=False):
            name = st.text_input("Name", saved.name, max_chars=MAX_NAME)
            note = st.text_area("Note", saved.note, max_chars=MAX_TEXT, height=120)
            chosen = st.form_submit_button("Save", type="primary")
        if chosen:
            cache.store().change_list(saved.id, name=name, note=note)
            st.rerun()


def show_members(saved: SavedList, rows: pd.DataFrame) -> None:
    """Draw the members; those that are selected can be opened or removed."""
    if rows.empty:
        show_note("The list is empty now.")
        return
    event = st.dataframe(
        rows, hide_index=True, height=min(38 + 35 * len(rows), 528), on_select="rerun", placeholder=DASH,
        selection_mode="multi-row", key=f"members-{saved.id}-{saved.changed}",
    )  # fmt: skip
    picked = [str(rows.iloc[row, 0]) for row in event.selection.rows if row < len(rows)]
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        known = len(picked) == 1 and rows[rows.columns[1]].iloc[event.selection.rows[0]] != NOT_HERE
        if st.button("Open", icon=":material/open_in_new:", disabled=not known, key="open-member"):
            key = {"neurons": "neuron", "viewers": "viewer", "items": "item"}[saved.of]
            go(PAGES[saved.of], **{key: picked[0]})
        if st.button("Remove from the list", icon=":material/remove:", disabled=not picked, key="remove-members"):
            cache.store().remove_from_list(saved.id, picked)
            st.rerun()
        show_note("Select one to open it, or several to remove them." if not picked else f"{len(picked):,} selected")


def members_of(shown: Run, of: Of, ids: list[str]) -> pd.DataFrame:
    """Give the members of a list with what this run knows of them; those that it does not know say so."""
    if of == "neurons":
        frame = shown.table.frame
        known = np.array([int(i[:9]) if i.isascii() and i.isdigit() and int(i[:9]) < len(frame) else -1 for i in ids])
        labels = [named(str(frame["label"].iloc[j]), j) if j >= 0 else NOT_HERE for j in known]
        sources = [str(frame["label_source"].iloc[j]) if j >= 0 else "" for j in known]
        return pd.DataFrame({"#": ids, "Label": labels, "Label by": sources})
    data = shown.dataset
    known = places(ids, data.users if of == "viewers" else data.items)
    if of == "viewers":
        lengths = np.diff(data.indptr)
        said = [f"{int(lengths[i]):,} titles" if i >= 0 else NOT_HERE for i in known]
        return pd.DataFrame({"Viewer": ids, "History": said})
    titles, years = data.titles(), cache.years(shown.id)
    return pd.DataFrame(
        {
            "Id": ids,
            "Title": [titles[i] if i >= 0 else NOT_HERE for i in known],
            "Year": [years[i] if i >= 0 else "" for i in known],
        }
    )


def places(ids: list[str], known: IdMap) -> list[int]:
    """Give the index of each id, -1 where it is not known."""
    return [known.index(i) if i in known else -1 for i in ids]


def to_csv(rows: pd.DataFrame, saved: SavedList) -> bytes:
    """Write the members as CSV (UTF-8 with its mark, for spreadsheets); no cell can run as a formula."""
    table = rows.map(for_csv).assign(list=for_csv(saved.name))
    return table.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


def show_notes_table(shown: Run, notes: list[Note]) -> None:
    """Draw all notes; the one that is selected is opened where it was written."""
    if not notes:
        return
    newest = sorted(notes, key=lambda note: note.changed, reverse=True)
    show_section("Notes", f"{len(notes):,}, select one to open what it is on")
    rows = {of: members_of(shown, of, [n.subject for n in newest if n.of == of]) for of in OFS}
    names = {of: dict(zip(frame.iloc[:, 0], frame.iloc[:, 1], strict=True)) for of, frame in rows.items()}
    words = {"neurons": "Concept #", "viewers": "Viewer ", "items": "Title "}
    view = pd.DataFrame(
        {
            "On": [words[n.of] + n.subject for n in newest],
            "Name": [names[n.of][n.subject] for n in newest],
            "Note": [n.text.replace("\n", " ") for n in newest],
            "Author": [n.author for n in newest],
            "Changed": [day(n.changed) for n in newest],
        }
    )
    picked = show_rows(view, "notes-table", {})
    if picked is not None and view["Name"].iloc[picked] != NOT_HERE:
        note = newest[picked]
        key = {"neurons": "neuron", "viewers": "viewer", "items": "item"}[note.of]
        go(PAGES[note.of], **{key: note.subject})


def show_labels(shown: Run, labels: list[Label]) -> None:
    """Draw the labels that people gave; the one that is selected opens its concept."""
    if not labels:
        return
    newest = sorted(labels, key=lambda label: label.at, reverse=True)
    built = shown.built_table.frame["label"]
    show_section("Labels by people", f"{len(labels):,}, select one to open the concept")
    view = pd.DataFrame(
        {
            "#": [label.neuron for label in newest],
            "Label": [label.text for label in newest],
            "Automatic label": [
                named(str(built.iloc[label.neuron]), label.neuron) if label.neuron < len(built) else NOT_HERE
                for label in newest
            ],
            "Why": [label.why.replace("\n", " ") for label in newest],
            "Author": [label.author for label in newest],
            "Date": [day(label.at) for label in newest],
        }
    )
    picked = show_rows(view, "labels-table", {})
    if picked is not None and newest[picked].neuron < len(built):
        go("concept", neuron=str(newest[picked].neuron))


def show_deleted(deleted: list[SavedList]) -> None:
    """Draw the lists that were deleted, each to be brought back."""
    if not deleted:
        return
    with st.expander(f"Deleted lists ({len(deleted):,})"):
        for saved in deleted:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                show_note(f"{saved.name} · {counted(saved.size, saved.of)} · {saved.author}", width="content")
                if st.button("Bring back", icon=":material/undo:", key=f"restore-{saved.id}", type="tertiary"):
                    bring_back(saved.id)


if __name__ == "__main__":
    run()
