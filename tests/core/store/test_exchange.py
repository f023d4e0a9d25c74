"""What people wrote leaves and comes back the same; a file of another kind is refused with nothing changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.errors import DataError
from core.labels.ratings import rate, ratings
from core.runs import Run
from core.store import Store, open_store
from core.store.exchange import bring_in, collect
from core.store.file import MAX_ROWS, Written, read_json, to_json
from core.workspace import Workspace
from tests.core.store.conftest import DATA, OTHER_RUN, RUN, SAE, make_workspace

NAMES = (
    "<img src=x onerror=alert(1)>",
    "=HYPERLINK(1)",
    "$x$ **b** \u202eabc 👩‍🚀",
    "'; DROP TABLE lists; --",
    "Ω" * 120,
)


def fill(store: Store) -> None:
    """Write something of every kind, with names of every kind."""
    for i, name in enumerate(NAMES):
        store.save_list(RUN, ("neurons", "viewers", "items")[i % 3], name, ["9", f"{name}", "1"], f"note\n{name}")
        store.add_note(SAE if i % 2 else DATA, "neurons" if i % 2 else "items", f"{i}", f"{name}\n\nmore")
        store.set_label(OTHER_RUN, i % 2, name, f"why {name}")
        rate(store, RUN, i, name, i, by="Ada" if i % 2 else "Bob")
    rate(store, RUN, 0, NAMES[0], 4, by="Bob")
    store.back_to_automatic(RUN, 0)
    store.delete_list(store.lists()[0].id)
    gone = store.notes()[0].id
    store.delete_note(gone)


def test_what_was_written_comes_back_the_same_in_an_empty_workspace(store: Store, tmp_path: Path) -> None:
    fill(store)
    data = to_json(collect(store))
    written = read_json(data)
    assert [len(rows) for rows in written] == [4, 4, 6, 6]
    other = Store(make_workspace(tmp_path / "other"), type(store.database)(tmp_path / "other"))
    done = bring_in(other, written)
    assert done[:5] == (4, 4, 6, 6, 0)
    assert to_json(collect(other)) == data
    assert other.labels(SAE) == store.labels(SAE)
    assert ratings(other, SAE) == ratings(store, SAE) and len(ratings(other, SAE)) == 5
    assert next(r.rating for r in ratings(other, SAE) if r.neuron == 0) == 4, "the last one of a person counts"
    again = bring_in(other, written)
    assert again[:5] == (0, 0, 0, 0, 20)
    assert to_json(collect(other)) == data
    bring_in(store, written)
    assert to_json(collect(store)) == data, "nothing that was deleted came back by importing what does not hold it"


def test_of_a_list_that_was_changed_on_both_sides_the_later_one_stays(store: Store) -> None:
    saved = store.save_list(RUN, "items", "Mine", ["1"])
    store.add_note(SAE, "neurons", "1", "old")
    before = collect(store)
    store.add_to_list(saved.id, ["2"])
    store.change_note(store.notes()[0].id, "new")
    after = collect(store)
    bring_in(store, before)
    assert store.ids(saved.id) == ["1", "2"] and store.notes()[0].text == "new"
    store.delete_list(saved.id)
    store.delete_note(store.notes()[0].id)
    done = bring_in(store, before)
    assert (done.lists, done.notes) == (1, 1)
    assert store.ids(saved.id) == ["1"] and store.notes()[0].text == "old", "an import brings back what was deleted"
    bring_in(store, after)
    assert collect(store) == after


def test_another_list_of_the_same_name_gets_a_number(store: Store) -> None:
    store.save_list(RUN, "items", "Mine", ["1"])
    theirs = collect(store).lists[0]._replace(author="Bob", ids=("7",))
    full = theirs._replace(author="Cy", name="Mine")
    done = bring_in(store, Written([theirs, full], [], [], []))
    assert done.lists == 2
    assert {s.name: store.ids(s.id) for s in store.lists()} == {"Mine": ["1"], "Mine (2)": ["7"], "Mine (3)": ["7"]}
    assert bring_in(store, Written([theirs, full], [], [], [])).kept == 2


def test_unknown_ids_are_kept_and_named(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    workspace = Workspace(tmp_path)
    for stage in ("dataset", "sae", "neurons"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / tiny_run.ids[stage]).symlink_to(tiny_run.workspace.path / stage / tiny_run.ids[stage])
    store = open_store(workspace)
    run = tiny_run.ids["neurons"]
    store.save_list(run, "viewers", "People", ["viewer 3", "viewer 900", "viewer 901", "viewer 902", "viewer 903"])
    store.save_list(run, "items", "Films", ["film-3"])
    store.save_list(run, "neurons", "Units", ["3", "23", "24", "x"])
    store.set_label(run, 700, "Far out")
    store.add_note("other-sae", "neurons", "3", "of another one")
    data = read_json(to_json(collect(store)))
    other = Store(workspace, type(store.database)(tmp_path / "new"))
    said = bring_in(other, data).unknown
    dataset, sae = tiny_run.ids["dataset"], tiny_run.ids["sae"]
    assert sorted(said) == [
        f"Labels: 1 of 1 ids are not in {sae}: 700.",
        "Notes on neurons: this workspace has no SAE other-sae.",
        f"The list “People”: 4 of 5 ids are not in {dataset}: viewer 900, viewer 901, viewer 902, ….",
        f"The list “Units”: 2 of 4 ids are not in {sae}: 24, x.",
    ]
    assert collect(other) == data


GOOD: dict[str, Any] = {
    "steerlens_notes": 2,
    "lists": [
        {
            "basis": DATA, "run": RUN, "of": "items", "name": "Mine", "note": "", "author": "Ada",
            "created": "2026-11-21T10:00:00.000000Z", "changed": "2026-11-21T10:00:00.000000Z", "ids": ["1"],
        }
    ],
    "notes": [
        {
            "basis": SAE, "of": "neurons", "subject": "1", "text": "x", "author": "Ada",
            "created": "2026-11-21T10:00:00.000000Z", "changed": "2026-11-21T10:00:00.000000Z",
        }
    ],
    "labels": [
        {
            "sae": SAE, "run": RUN, "neuron": 1, "text": "x", "source": "human", "author": "Ada",
            "at": "2026-11-21T10:00:00.000000Z", "why": "",
        }
    ],
    "ratings": [
        {
            "sae": SAE, "neuron": 1, "label": "x", "rating": 3, "author": "Ada", "at": "2026-11-21T10:00:00.000000Z",
        }
    ],
}  # fmt: skip


def good(*path: str | int, value: Any) -> bytes:
    """Give the good file with one value changed; `...` removes it."""
    values = json.loads(json.dumps(GOOD))
    place = values
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(values).encode()


def test_the_good_file_is_good() -> None:
    assert [len(rows) for rows in read_json(json.dumps(GOOD).encode())] == [1, 1, 1, 1]


def test_a_file_of_before_there_were_ratings_is_read() -> None:
    old = {name: rows for name, rows in GOOD.items() if name != "ratings"} | {"steerlens_notes": 1}
    assert [len(rows) for rows in read_json(json.dumps(old).encode())] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"steerlens_notes": 1, "steerlens_notes": 1}', "comes twice"),
        (b"[1]", "no 'steerlens_notes'"),
        (b'{"steerlens_notes": NaN}', "NaN is no value"),
        (b'{"steerlens_notes": ' + b"9" * 5000 + b"}", "no JSON"),
        (good("steerlens_notes", value=3), "version 3"),
        (good("steerlens_notes", value=True), "version True"),
        (good("lists", value=...), "missing or unknown keys: lists"),
        (good("extra", value=1), "missing or unknown keys: extra"),
        (good("lists", value={}), "lists: it is no list"),
        (good("lists", 0, value=7), r"lists\[0\]: it is no object"),
        (good("lists", 0, "of", value="planets"), r"lists\[0\].of"),
        (good("lists", 0, "of", value=["items"]), r"lists\[0\].of"),
        (good("lists", 0, "name", value="a\nb"), r"lists\[0\].name"),
        (good("lists", 0, "name", value=""), r"lists\[0\].name"),
        (good("lists", 0, "name", value="x" * 121), r"lists\[0\].name"),
        (good("lists", 0, "note", value="x" * 10_001), r"lists\[0\].note"),
        (good("lists", 0, "note", value=None), r"lists\[0\].note"),
        (good("lists", 0, "ids", value=[1]), r"lists\[0\].ids"),
        (good("lists", 0, "ids", value=["1", "1"]), r"lists\[0\].ids"),
        (good("lists", 0, "ids", value=["a\0"]), r"lists\[0\].ids"),
        (good("lists", 0, "ids", value=["x"] * 1_000_000), r"lists\[0\].ids"),
        (good("lists", 0, "ids", value=[str(i) for i in range(1_000_000)]), r"lists\[0\].ids"),
        (good("lists", 0, "created", value="yesterday"), r"lists\[0\].created"),
        (good("notes", 0, "subject", value=1), r"notes\[0\].subject"),
        (good("notes", 0, "text", value=""), r"notes\[0\].text"),
        (good("notes", 0, "why", value=""), r"notes\[0\]: missing or unknown keys: why"),
        (good("labels", 0, "neuron", value=-1), r"labels\[0\].neuron"),
        (good("labels", 0, "neuron", value=True), r"labels\[0\].neuron"),
        (good("labels", 0, "neuron", value=10**12), r"labels\[0\].neuron"),
        (good("labels", 0, "source", value="god"), r"labels\[0\].source"),
        (good("labels", 0, "author", value=""), r"labels\[0\].author"),
        (good("ratings", 0, "rating", value=5), r"ratings\[0\].rating"),
        (good("ratings", 0, "rating", value=True), r"ratings\[0\].rating"),
        (good("ratings", value=...), "missing or unknown keys: ratings"),
        (good("labels", value=[0] * 1_000_000), f"1,000,000 labels; at most {MAX_ROWS:,}"),
        (good("lists", value=[0] * 10_001), "10,001 lists"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_a_file_of_another_kind_is_refused_in_two_lines(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as told:
        read_json(data)
    assert len(str(told.value).splitlines()) == 2 and len(str(told.value)) < 500


def test_a_file_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(DataError, match="at most 100 MB"):
        read_json(b" " * 100_000_001)


def test_the_command_line_exports_and_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    workspace = make_workspace(tmp_path / "one")
    open_store(workspace).save_list(RUN, "items", NAMES[0], ["1"])
    file = tmp_path / "deep" / "notes.json"
    assert main(["export-notes", str(file), "--workspace", str(workspace.path)]) == 0
    assert "1 list, 0 notes, 0 labels and 0 ratings are in" in capsys.readouterr().out
    assert main(["export-notes", str(file), "--workspace", str(workspace.path)]) == 2
    assert "is there already" in capsys.readouterr().err
    for joined, there in ((1, 0), (0, 1)):
        assert main(["import-notes", str(file), "--workspace", str(tmp_path / "two")]) == 0
        out = capsys.readouterr().out
        assert f"{joined} list{'s' * (joined != 1)}, 0 notes, 0 labels and 0 ratings joined; {there} were" in out
        assert "this workspace has no dataset films-1" in out
    file.write_text("{", encoding="utf-8")
    assert main(["import-notes", str(file), "--workspace", str(tmp_path / "two")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["import-notes", str(tmp_path / "none.json"), "--workspace", str(tmp_path / "two")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
