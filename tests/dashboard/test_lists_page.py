"""Lists and notes: what was written is shown, opened, changed, deleted and brought back; labels win everywhere."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.neurons.contrast import contrast
from core.runs import Run, open_run
from core.store import Store, basis_of, open_store
from core.store.exchange import collect
from core.store.file import to_json
from core.workspace import Workspace
from dashboard import briefs, cache
from dashboard.saving import save
from pages.lists import members_of, to_csv
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, metric, open_page, query, shown

HOSTILE = "<img src=x onerror=alert(1)> **b** $x$ {0}"


@pytest.fixture
def written(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run in a workspace of its own, into which a test may write."""
    for stage in ("dataset", "split", "recommender", "sae", "neurons"):
        (tmp_path / stage).symlink_to(tiny_run.workspace.path / stage)
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("STEERLENS_AUTHOR", "Ada")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return open_run(tmp_path)


def store_of(run: Run) -> Store:
    return open_store(Workspace(run.workspace.path))


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def headings(app: AppTest) -> str:
    return "".join(e.proto.body for e in app.get("html") if "sl-section" in e.proto.body)


def test_a_workspace_in_which_nobody_wrote_says_how_to_begin(written: Run) -> None:
    app = open_page("lists")
    assert "Nothing written yet" in shown(app) and not app.dataframe
    assert not list(written.workspace.path.glob("store*")), "looking writes nothing"


def test_what_was_written_is_shown_with_size_author_and_note(written: Run) -> None:
    store = store_of(written)
    store.save_list(written.id, "neurons", HOSTILE, ["3", "99"], "why\nso")
    store.add_note(basis_of(written.ids, "items"), "items", "film-3", "seen")
    alive = int(written.table.frame.index[written.table.frame["alive"]][0])
    store.set_label(written.id, alive, "Mine")
    app = open_page("lists")
    html = shown(app)
    assert "Lists<small>1" in html and "Notes<small>1" in html and "Labels by people<small>1" in html
    tables = [table.value for table in app.dataframe]
    assert tables[0].iloc[0].tolist()[:4] == [HOSTILE, "2 concepts", "why so", "Ada"]
    assert tables[1].iloc[0].tolist()[:4] == ["Title film-3", str(written.dataset.titles()[3]), "seen", "Ada"]
    assert tables[2].iloc[0].tolist()[:2] == [alive, "Mine"]


def test_an_open_list_names_its_members_and_those_that_are_not_here(written: Run) -> None:
    saved = store_of(written).save_list(written.id, "neurons", HOSTILE, ["3", "99", "x"], HOSTILE)
    app = open_page("lists", list=str(saved.id))
    html = shown(app)
    assert "&lt;img src=x" in html and "<img" not in html
    rows = app.dataframe[1].value
    assert rows["#"].tolist() == ["3", "99", "x"]
    assert rows["Label"].tolist()[1:] == ["not in this run", "not in this run"]
    seen = Markup()
    seen.feed(html)
    assert seen.tags <= OUR_TAGS and seen.attributes <= OUR_ATTRIBUTES
    viewers = members_of(written, "viewers", ["viewer 3", "viewer 900"])
    length = len(written.dataset.history(written.dataset.users.index("viewer 3")))
    assert viewers["History"].tolist() == [f"{length} titles", "not in this run"]
    items = members_of(written, "items", ["film-7", "film-900"])
    assert items["Title"].tolist() == [written.dataset.titles()[7], "not in this run"]


def test_a_list_is_renamed_deleted_and_brought_back(written: Run) -> None:
    store = store_of(written)
    saved = store.save_list(written.id, "items", "Mine", ["film-3"])
    app = open_page("lists", list=str(saved.id))
    next(t for t in app.text_input if t.label == "Name").input("Ours")
    button(app, "Save").click().run()
    assert store.saved(saved.id).name == "Ours" and "Ours" in shown(app)
    button(app, "Delete").click().run()
    assert store.lists() == [] and "“Ours” was deleted." in shown(app) and query(app, "list") is None
    button(app, "Undo").click().run()
    assert store.ids(saved.id) == ["film-3"] and query(app, "list") == str(saved.id)
    button(app, "Delete").click().run()
    fresh = open_page("lists")
    button(fresh, "Bring back").click().run()
    assert store.ids(saved.id) == ["film-3"] and query(fresh, "list") == str(saved.id)


def test_a_list_that_is_not_there_is_said(written: Run) -> None:
    store_of(written).save_list(written.id, "items", "Mine", ["film-3"])
    html = shown(open_page("lists", list="77"))
    assert "sl-problem" in html and "There is no list &#x27;77&#x27; on this run." in html


def test_a_damaged_database_is_a_card_and_not_a_traceback(written: Run) -> None:
    (written.workspace.path / "store.sqlite").write_bytes(b"x" * 5000)
    html = shown(open_page("lists"))
    assert "sl-problem" in html and "is damaged" in html


def test_a_saved_list_is_a_group_and_a_changed_one_another_group(written: Run) -> None:
    store = store_of(written)
    horror = [f"film-{i}" for i in range(0, 60, 3)]
    saved = store.save_list(written.id, "items", HOSTILE, [*horror[:10], "film-900"])
    app = open_page("groups", of="items", a_by="saved", a=str(saved.id))
    assert metric(app, "Group A") == "10" and "A: the list “&lt;img" in shown(app)
    mask = np.zeros(60, bool)
    mask[::3] = True
    store.add_to_list(saved.id, horror[10:])
    assert metric(app.run(), "Group A") == "20"
    found = contrast(written.activations("items"), mask, ~mask)
    assert metric(app, "Concepts that differ") == f"{found.n_called} of {found.n_compared}"
    store.delete_list(saved.id)
    assert "sl-problem" in shown(app.run())


def test_the_label_of_a_person_wins_on_every_page_and_goes_back(written: Run) -> None:
    store = store_of(written)
    frame = written.built_table.frame
    j = int(frame.index[frame["alive"]][0])
    automatic = str(frame["label"].iloc[j])
    store.set_label(written.id, j, HOSTILE)
    concepts = cache.concepts(written.id).set_index("neuron")
    assert concepts.loc[j, "label"] == HOSTILE and concepts.loc[j, "label_source"] == "human"
    assert (concepts.drop(index=j)["label_source"] == "keyword").all()
    assert cache.run(written.id).table.frame["label"].iloc[j] == HOSTILE
    html = shown(open_page("concept", neuron=str(j)))
    assert "&lt;img src=x onerror=alert(1)&gt; **b**" in html and "label: human" in html
    table = open_page("concepts").dataframe[0].value
    assert HOSTILE in table["Label"].tolist()
    store.back_to_automatic(written.id, j)
    assert cache.concepts(written.id).set_index("neuron").loc[j, "label"] == automatic
    store.set_label(written.id, 10_000, "of no neuron")
    assert len(cache.concepts(written.id)) == len(frame)


def test_a_neuron_that_is_not_there_or_never_fires_takes_no_label(written: Run) -> None:
    table = written.built_table
    frame = table.frame.assign(alive=table.frame["neuron"] != 2)
    other = replace(table, frame=frame).with_labels(dict.fromkeys((-1, 1, 2, len(frame)), ("x", "human")))
    changed = other.frame["label"] != frame["label"]
    assert other.frame.index[changed].tolist() == [1] and frame["label"].tolist() == table.frame["label"].tolist()
    assert other.frame["label_source"].tolist().count("human") == 1


def test_saving_makes_a_list_or_joins_the_one_of_that_name(written: Run) -> None:
    cache.store()
    said = save(written, "neurons", "Mine", ["1", "2"], "first")
    assert said == "Saved 2 concepts as “Mine”."
    said = save(written, "neurons", "Mine", ["2", "3"], "second")
    assert said == "1 concept joined “Mine”, which holds 3 now."
    saved = store_of(written).lists()[0]
    assert saved.note == "first\nsecond" and store_of(written).ids(saved.id) == ["1", "2", "3"]


def test_the_csv_holds_every_member_and_no_formula(written: Run) -> None:
    saved = store_of(written).save_list(written.id, "items", "=HYPERLINK(1)", ["=1+1", "film-3"])
    rows = members_of(written, "items", ["=1+1", "film-3"])
    read = pd.read_csv(io.BytesIO(to_csv(rows, saved)))
    assert read["Id"].tolist() == ["'=1+1", "film-3"] and read["list"].eq("'=HYPERLINK(1)").all()


def test_a_file_is_imported_on_the_page(written: Run, tmp_path: Path) -> None:
    store = store_of(written)
    saved = store.save_list(written.id, "items", HOSTILE, ["film-3", "film-900"])
    data = to_json(collect(store))
    store.delete_list(saved.id)
    app = open_page("lists")
    app.file_uploader[0].upload("notes.json", data, "application/json")
    button(app, "Import").click().run()
    assert store.ids(saved.id) == ["film-3", "film-900"]
    assert "1 of 2 ids are not in" in shown(app) and "1 lists, 0 notes" in app.success[0].value.replace("\\", "")
    app.file_uploader[0].upload("notes.json", b"{", "application/json")
    button(app, "Import").click().run()
    assert "sl-problem" in shown(app) and "no JSON" in shown(app)


def test_the_popovers_save_label_and_note_by_themselves(written: Run) -> None:
    store = store_of(written)
    j = int(written.table.frame.index[written.table.frame["alive"]][0])
    app = open_page("concept", neuron=str(j))
    next(t for t in app.text_input if t.label == "Label").input("Mine")
    button(app, "Save label").click().run()
    assert store.labels(basis_of(written.ids, "neurons"))[j].text == "Mine" and "Mine" in shown(app)
    button(app, "Back to the automatic label").click().run()
    assert store.labels(basis_of(written.ids, "neurons")) == {} and "back to the automatic label" in shown(app)
    next(t for t in app.text_area if t.label == "A new note").input("first\nsecond")
    button(app, "Add note").click().run()
    assert [note.text for note in store.notes(subject=str(j))] == ["first\nsecond"]
    assert "<p>first</p><p>second</p>" in shown(app)
    button(app, "Remove").click().run()
    assert store.notes() == []
    button(app, "Undo: bring the note back").click().run()
    assert len(store.notes()) == 1


def test_every_brief_button_gives_a_brief(written: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, str] = {}
    monkeypatch.setattr(briefs, "show_brief", lambda name, make, _: made.update({name: make("2026-11-21 · Ada")}))
    alive = written.table.frame.index[written.table.frame["alive"]].tolist()
    shown(open_page("concept", neuron=str(alive[0])))
    shown(open_page("compare", a=str(alive[0]), b=str(alive[1])))
    shown(open_page("groups", of="items", a_by="genre", a="Horror"))
    assert set(made) == {f"concept-{alive[0]}", f"concepts-{alive[0]}-{alive[1]}", "groups"}
    assert "Horror titles against all other titles" in made["groups"]
    for html in made.values():
        assert html.startswith("<!doctype html>") and "Limits" in html and written.ids["sae"] in html
