"""What people write, on the pages: save a list, give a label, write a note. Each is a small popover of its own."""

from collections.abc import Callable
from datetime import UTC, datetime

import streamlit as st

from core.brief.briefs import Remark
from core.runs import Run
from core.store import Label, Of, author, basis_of
from core.store.tables import MAX_LABEL, MAX_TEXT
from dashboard import cache, guard, state
from dashboard.escape import for_html, for_markdown
from dashboard.listing import named
from dashboard.panels import show_note, show_title

WORDS: dict[Of, tuple[str, str]] = {
    "neurons": ("concept", "concepts"),
    "viewers": ("viewer", "viewers"),
    "items": ("title", "titles"),
}
"""What lists hold, as people call one and several."""


def counted(n: int, of: Of) -> str:
    """Say how many.

    >>> counted(1, "neurons"), counted(1200, "items")
    ('1 concept', '1,200 titles')
    """
    return f"{n:,} {WORDS[of][n != 1]}"


def show_brief(name: str, make: Callable[[str], str], key: str = "page") -> None:
    """Draw the button that downloads a brief: one HTML file that needs no server.

    Args:
        name: Of the file, without its ending; plain words.
        make: Gives the HTML, told the date and the author; called when the button is pressed, outside of the page, so
            that it is given every value beforehand and asks nothing of the page's caches.
        key: Tells several on one page apart.
    """
    written = f"{datetime.now(UTC):%Y-%m-%d} · {author()}"
    st.download_button(
        "Brief", lambda: make(written).encode("utf-8"), f"{name}.html", "text/html", icon=":material/description:",
        on_click="ignore", key=f"brief-{key}",
        help="One HTML file with the evidence, the limits and what it was made from: to send or to print",
    )  # fmt: skip


def remarks(run: Run, of: Of, subject: str) -> list[Remark]:
    """Give the notes on something as a brief takes them."""
    notes = cache.store().notes(basis_of(run.ids, of), of, subject)
    return [Remark(note.text, f"{note.author} · {day(note.changed)}") for note in notes]


def day(at: str) -> str:
    """Give the day of a time of the store.

    >>> day("2026-11-21T14:20:32.000001Z")
    '2026-11-21'
    """
    return at[:10]


@guard.fragment
def show_save(run: Run, of: Of, ids: list[str], key: str = "page") -> None:
    """Draw the popover that saves what is chosen as a list, a new one or one that is there.

    Args:
        run: The run that is shown.
        of: What the ids are of.
        ids: Of neurons: their index, as text.
        key: Tells several on one page apart.
    """
    with st.popover("Save as a list", icon=":material/bookmark_add:", disabled=not ids):
        store = cache.store()
        known = {saved.name: saved for saved in store.lists(run.id, of)}
        with st.form(f"save-{of}-{key}", border=False, clear_on_submit=True):
            name = st.selectbox(
                f"Save {counted(len(ids), of)} to", list(known), index=None, accept_new_options=True,
                placeholder="Name a new list, or choose one", key=f"save-name-{of}-{key}",
            )  # fmt: skip
            note = st.text_area("Note", max_chars=MAX_TEXT, height=80, placeholder="What for?", key=f"why-{of}-{key}")
            chosen = st.form_submit_button("Save", type="primary")
        if chosen:
            done = save(run, of, (name or "").strip(), ids, note)
            st.success(for_markdown(done, 300), icon=":material/check:")


def save(run: Run, of: Of, name: str, ids: list[str], note: str) -> str:
    """Save ids to the list of this name, made where it is not there, and say what was done.

    Raises:
        UserError: It cannot be saved.
    """
    store = cache.store()
    there = next((saved for saved in store.lists(run.id, of) if saved.name == name), None)
    if there is None:
        made = store.save_list(run.id, of, name, ids, note)
        return f"Saved {counted(made.size, of)} as “{made.name}”."
    added = store.add_to_list(there.id, ids)
    if note.strip():
        store.change_list(there.id, note=f"{there.note}\n{note}".strip())
    return f"{counted(added, of)} joined “{there.name}”, which holds {there.size + added:,} now."


@guard.fragment
def show_label_editor(run: Run, neuron: int) -> None:
    """Draw the popover that gives a concept another label, shows those it had, and goes back to the automatic one."""
    store, sae = cache.store(), basis_of(run.ids, "neurons")
    facts = run.table.frame.iloc[neuron]
    history = store.label_history(sae, neuron)
    with st.popover("Edit label", icon=":material/edit:", disabled=not facts["alive"]):
        with st.form(f"label-{neuron}-{len(history)}", border=False):
            text = st.text_input("Label", named(str(facts["label"]), neuron), max_chars=MAX_LABEL)
            why = st.text_input("Why", max_chars=MAX_TEXT, placeholder="Optional")
            chosen = st.form_submit_button("Save label", type="primary")
        if chosen:
            store.set_label(run.id, neuron, text, why)
            st.rerun()
        if facts["label_source"] == "human" and st.button(
            "Back to the automatic label", icon=":material/undo:", key=f"automatic-{neuron}", type="tertiary",
            help=for_markdown(str(run.built_table.frame["label"].iloc[neuron])),
        ):  # fmt: skip
            store.back_to_automatic(run.id, neuron)
            st.rerun()
        who = author()
        unnamed = " (STEERLENS_AUTHOR, set before the start, changes it)" if who == "unknown" else ""
        show_note(f"Your name beside it: {who}{unnamed}. It holds for every run on this SAE.")
        st.html(history_html(history, str(run.built_table.frame["label"].iloc[neuron])))


def history_html(history: list[Label], automatic: str) -> str:
    """Give the labels that a neuron had as safe HTML, the newest first; the build's own one was the first."""
    rows = [
        (label.text or "back to the automatic label", f"{label.source} · {label.author} · {day(label.at)}", label.why)
        for label in reversed(history)
    ]
    lines = "".join(
        f"<li><b>{for_html(text)}</b><small>{for_html(who)}</small>{f'<p>{for_html(why, 400)}</p>' if why else ''}</li>"
        for text, who, why in [*rows, (automatic, "keywords of the catalogue, at the build", "")]
    )
    return f"<ul class='sl-history' aria-label='History of the label'>{lines}</ul>"


@guard.fragment
def show_notes(run: Run, of: Of, subject: str) -> None:
    """Draw the notes on a concept, a viewer or an item, each to be changed or removed, and room for another."""
    store, basis = cache.store(), basis_of(run.ids, of)
    found = store.notes(basis, of, subject)
    where = f"{of}-{subject}"
    with st.container(key=f"notes-{of}", gap="small"):
        show_title("Notes", f"{len(found)}" if found else "nothing written yet")
        for note in found:
            paragraphs = "".join(f"<p>{for_html(line, MAX_TEXT)}</p>" for line in note.text.split("\n") if line.strip())
            edited = " · edited" if note.changed != note.created else ""
            who = for_html(f"{note.author} · {day(note.created)}{edited}")
            with st.container(horizontal=True, vertical_alignment="top", gap="small"):
                st.html(f"<div class='sl-written'>{paragraphs}<small>{who}</small></div>")
                with st.popover("Edit", type="tertiary"):
                    with st.form(f"note-{note.id}-{note.changed}", border=False):
                        text = st.text_area("Note", note.text, max_chars=MAX_TEXT, height=120)
                        changed = st.form_submit_button("Save note", type="primary")
                    if changed:
                        store.change_note(note.id, text)
                        st.rerun()
                    if st.button("Remove", key=f"remove-note-{note.id}", type="tertiary", icon=":material/delete:"):
                        store.delete_note(note.id)
                        state.keep("note_gone", (where, note.id))
                        st.rerun()
        gone = state.kept("note_gone")
        if gone is not None and gone[0] == where and st.button("Undo: bring the note back", icon=":material/undo:"):
            store.restore_note(gone[1])
            state.keep("note_gone", None)
            st.rerun()
        with st.form(f"new-note-{where}", border=False, clear_on_submit=True):
            text = st.text_area("A new note", max_chars=MAX_TEXT, height=80, placeholder="What did you see?")
            if st.form_submit_button("Add note"):
                store.add_note(basis, of, subject, text)
                st.rerun()
