"""What is written comes back, on SQLite and on PostgreSQL; what cannot be kept is refused with nothing changed."""

import random

import pytest

from core.errors import ConfigError, DataError, MissingStageError
from core.store import Store, author, open_store
from core.store.values import MAX_MEMBERS
from core.workspace import Workspace
from tests.core.store.conftest import DATA, FOREIGN_RUN, OTHER_RUN, RUN, SAE


def test_a_list_keeps_its_order_and_each_member_once(store: Store) -> None:
    saved = store.save_list(RUN, "items", "  Late\nnight ", ["b", "a", "b", "c"], "why\r\nso")
    assert (saved.name, saved.note, saved.author, saved.size) == ("Late night", "why\nso", "Ada", 3)
    assert (saved.run, saved.basis, saved.of) == (RUN, DATA, "items")
    assert store.ids(saved.id) == ["b", "a", "c"]
    assert store.add_to_list(saved.id, ["c", "z", "a", "y"]) == 2
    assert store.ids(saved.id) == ["b", "a", "c", "z", "y"]
    assert store.remove_from_list(saved.id, ["a", "z", "none"]) == 2
    assert store.ids(saved.id) == ["b", "c", "y"] and store.saved(saved.id).size == 3


def test_a_list_holds_on_every_run_of_its_sae_or_dataset_and_on_no_other(store: Store) -> None:
    neurons = store.save_list(RUN, "neurons", "Mine", ["3"])
    viewers = store.save_list(FOREIGN_RUN, "viewers", "Mine", ["u"])
    assert store.lists(OTHER_RUN, "neurons") == [neurons] and store.lists(OTHER_RUN, "viewers") == []
    assert store.lists(FOREIGN_RUN) == [viewers]
    assert {saved.id for saved in store.lists()} == {neurons.id, viewers.id}
    assert store.lists("run-that-is-gone") == []


def test_the_list_that_was_changed_last_comes_first(store: Store) -> None:
    ids = [store.save_list(RUN, "items", name, ["1"]).id for name in "abc"]
    store.change_list(ids[0], note="seen")
    assert [saved.name for saved in store.lists(RUN)] == ["a", "c", "b"]
    assert store.lists(RUN)[0].note == "seen"


def test_two_lists_of_one_name_are_told_apart_by_what_they_hold_only(store: Store) -> None:
    first = store.save_list(RUN, "items", "Mine", ["1"])
    store.save_list(RUN, "viewers", "Mine", ["1"])
    with pytest.raises(ConfigError, match="list called 'Mine' already"):
        store.save_list(OTHER_RUN, "items", "Mine", ["2"])
    other = store.save_list(RUN, "items", "Other", ["1"])
    with pytest.raises(ConfigError, match="already"):
        store.change_list(other.id, name="Mine")
    assert store.saved(other.id).name == "Other"
    store.change_list(first.id, name="Mine")  # to its own name


def test_a_deleted_list_comes_back_with_all_it_held_unless_its_name_was_taken(store: Store) -> None:
    saved = store.save_list(RUN, "items", "Mine", ["1", "2"], "note")
    store.delete_list(saved.id)
    assert store.lists(RUN) == [] and [s.id for s in store.lists(RUN, deleted=True)] == [saved.id]
    with pytest.raises(DataError, match="no list"):
        store.ids(saved.id)
    taker = store.save_list(RUN, "items", "Mine", ["3"])
    with pytest.raises(ConfigError, match="already"):
        store.restore_list(saved.id)
    store.delete_list(taker.id)
    store.restore_list(saved.id)
    assert store.ids(saved.id) == ["1", "2"] and store.saved(saved.id).note == "note"


@pytest.mark.parametrize(
    ("name", "ids", "note", "said"),
    [
        ("", ["1"], "", "1 to 120 characters"),
        ("x" * 121, ["1"], "", "1 to 120 characters"),
        ("ok", [], "", "at least one member"),
        ("ok", [""], "", "cannot be kept"),
        ("ok", ["a\0b"], "", "cannot be kept"),
        ("ok", ["\ud800"], "", "cannot be kept"),
        ("ok", ["x" * 1001], "", "cannot be kept"),
        ("ok", ["1"], "n" * 10_001, "at most 10,000 characters"),
        ("ok", [str(i) for i in range(MAX_MEMBERS + 1)], "", "at most 100,000 members"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_saved(
    store: Store, name: str, ids: list[str], note: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        store.save_list(RUN, "items", name, ids, note)
    assert store.lists() == []


def test_what_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(MissingStageError):
        store.save_list("knots-9", "items", "Mine", ["1"])
    with pytest.raises(ConfigError, match="no lists of 'planets'"):
        store.save_list(RUN, "planets", "Mine", ["1"])  # type: ignore[arg-type]
    store.save_list(RUN, "items", "Mine", ["1"])
    for change in (store.delete_list, store.ids, store.restore_list, store.delete_note):
        with pytest.raises(DataError, match="There is no"):
            change(999)


def test_reading_makes_no_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    store = open_store(workspace)
    assert (store.lists(), store.notes(), store.labels(SAE), store.label_revision(SAE)) == ([], [], {}, 0)
    assert not list(workspace.path.glob("store*"))


def test_notes_are_written_changed_removed_and_brought_back(store: Store) -> None:
    store.add_note(SAE, "neurons", "3", "first\nline two\x07")
    store.add_note(SAE, "neurons", "3", "second")
    store.add_note(SAE, "neurons", "4", "another")
    store.add_note(DATA, "viewers", "3", "a viewer")
    first, second = store.notes(SAE, "neurons", "3")
    assert (first.text, first.author, second.text) == ("first\nline two", "Ada", "second")
    store.change_note(first.id, "better")
    changed = store.notes(SAE, "neurons", "3")[0]
    assert changed.text == "better" and changed.created == first.created and changed.changed > first.changed
    store.delete_note(first.id)
    assert [n.text for n in store.notes(SAE, "neurons", "3")] == ["second"]
    store.restore_note(first.id)
    assert len(store.notes(SAE, "neurons", "3")) == 2 and len(store.notes()) == 4
    with pytest.raises(ConfigError, match="empty"):
        store.add_note(SAE, "neurons", "3", " \n ")


def test_the_newest_label_of_a_person_wins_and_every_label_stays_in_the_history(store: Store) -> None:
    store.set_label(RUN, 3, "words", source="keyword", by="keywords")
    assert store.labels(SAE)[3].text == "words"
    store.set_label(RUN, 3, "model", source="llm", by="a model")
    assert store.labels(SAE)[3].source == "llm"
    store.set_label(RUN, 3, "mine", "it is")
    store.set_label(OTHER_RUN, 3, "ours")
    store.set_label(RUN, 3, "model again", source="llm", by="a model")
    label = store.labels(SAE)[3]
    assert (label.text, label.source, label.author, label.run) == ("ours", "human", "Ada", OTHER_RUN)
    store.back_to_automatic(RUN, 3)
    assert store.labels(SAE)[3].text == "model again"
    history = store.label_history(SAE, 3)
    assert [h.text for h in history] == ["words", "model", "mine", "ours", "model again", ""]
    assert history[2].why == "it is" and history[-1].source == "automatic"
    assert store.label_history(SAE, 4) == [] and store.labels("sae-2") == {}
    for text in ("", "x" * 121):
        with pytest.raises(ConfigError, match="1 to 120"):
            store.set_label(RUN, 3, text)
    assert len(store.label_history(SAE, 3)) == 6


def test_labels_follow_their_history_whatever_it_is(store: Store) -> None:
    draw = random.Random(0)
    rows = [(draw.randrange(3), draw.choice(["human", "llm", "keyword", "automatic"]), str(i)) for i in range(40)]
    for neuron, source, text in rows:
        store.set_label(RUN, neuron, text, source=source)  # type: ignore[arg-type]
    for neuron in range(3):
        mine = [(source, text) for n, source, text in rows if n == neuron]
        last = max((i for i, (source, _) in enumerate(mine) if source == "automatic"), default=-1)
        human = [text for source, text in mine[last + 1 :] if source == "human"]
        rest = [[text for source, text in mine if source == kind] for kind in ("llm", "keyword")]
        expected = next((texts[-1] for texts in (human, *rest) if texts), None)
        assert store.labels(SAE)[neuron].text == expected


def test_the_revision_changes_with_every_label_also_of_another_process(store: Store, workspace: Workspace) -> None:
    other = open_store(workspace)
    seen = [store.label_revision(SAE)]
    for i in range(4):
        (store, other)[i % 2].set_label(RUN, 1, f"label {i}")
        seen.append(store.label_revision(SAE))
    assert len(set(seen)) == 5 and store.label_revision("sae-2") == 0
    store.save_list(RUN, "items", "Mine", ["1"])
    assert store.label_revision(SAE) == seen[-1]
    other.close()


def test_who_writes_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("STEERLENS_AUTHOR", "USER", "LOGNAME", "USERNAME"):
        monkeypatch.delenv(key, raising=False)
    assert author() == "unknown"
    monkeypatch.setenv("USER", "ada")
    assert author() == "ada"
    monkeypatch.setenv("STEERLENS_AUTHOR", " Ada\nLovelace ")
    assert author() == "Ada Lovelace"
