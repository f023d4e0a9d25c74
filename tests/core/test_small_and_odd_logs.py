"""Whole builds on logs at the edge of what can be learnt from: a result, or two lines; never a traceback."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.pipeline import BuildRequest, build
from core.runs import Run, list_runs, steer_viewer
from core.steering.steering import Edit, Steering
from core.workspace import Workspace

SMALL = {
    "recommender.embedding_size": "4", "recommender.epochs": "2", "recommender.min_steps": "4",
    "sae.d_sae": "6", "sae.k": "2", "sae.n_steps": "20", "sae.batch_size": "16", "split.n_held_out": "1",
}  # fmt: skip


def write(folder: Path, rows: list[tuple[str, str]], titles: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True)
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(folder / "interactions.csv", index=False)
    items = sorted({i for _, i in rows} | set(titles or {}))
    table = pd.DataFrame({"item_id": items, "title": [(titles or {}).get(i, f"Title {i}") for i in items]})
    table.assign(year=1990, genres=["Drama" if k % 2 else "Comedy|War" for k in range(len(items))]).to_csv(
        folder / "items.csv", index=False
    )
    return folder


def log(n_users: int, n_items: int, length: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    return [(f"u{u}", f"i{i}") for u in range(n_users) for i in rng.choice(n_items, length, replace=False)]


def make(folder: Path, workspace: Path, **settings: str) -> Run:
    request = BuildRequest(str(folder), "elsa", "knots", settings=SMALL | settings)
    return build(request, Workspace(workspace))


@pytest.mark.parametrize(
    "rows",
    [
        [("u0", "i0")],
        [("u0", f"i{i}") for i in range(1)] + [("u1", "i0")],
        [("u0", f"i{i}") for i in range(12)],
        [(f"u{u}", "i0") for u in range(12)],
        [(f"u{u}", f"i{u}") for u in range(12)],
        log(2, 6, 4),
        log(3, 3, 3),
        log(30, 8, 5),
    ],
    ids=[
        "one pair",
        "one item twice",
        "one user",
        "one item",
        "one interaction each",
        "two users",
        "all the same",
        "8 items",
    ],
)
def test_a_tiny_log_gives_a_run_or_two_lines(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    folder = write(tmp_path / "data", rows)
    try:
        run = make(folder, tmp_path / "w")
    except UserError as error:
        assert error.problem and error.fix
        assert list_runs(Workspace(tmp_path / "w")) == []
    else:
        user = next(u for u in range(run.dataset.n_users) if len(run.dataset.history(u)))
        result = steer_viewer(run, run.dataset.users.ids[user], Steering((Edit(0, "add", 1.0),)), 20)
        assert len(result["original"]) == run.dataset.n_items - len(run.dataset.history(user))
        assert run.report["neurons"]["purity"] is not None


def test_a_list_longer_than_the_catalogue_is_as_long_as_it_can_be(tmp_path: Path) -> None:
    run = make(write(tmp_path / "data", log(40, 8, 5)), tmp_path / "w")
    assert 0 <= run.report["recommender"]["recall_at_20"] <= 1
    assert run.report["recommender"]["coverage_at_10"] == 1.0
    assert run.report["sae"]["rbo_at_30"] <= 1


HOSTILE = {
    "i0": "<script>window.__pwn = 1</script>",
    "i1": "**bold** $x^2$ [link](http://evil.test) :red[x]",
    "i2": "أفلام عربية",
    "i3": "🎬" * 40,
    "i4": "=HYPERLINK(1)",
    "i5": "A" * 10_000,
}


def test_hostile_titles_are_kept_as_text(tmp_path: Path) -> None:
    run = make(write(tmp_path / "data", log(40, 12, 6), HOSTILE), tmp_path / "w")
    titles = run.dataset.titles()
    for item in ("i0", "i1", "i2", "i3", "i4"):
        assert titles[run.dataset.items.index(item)] == HOSTILE[item]
    assert 100 < len(titles[run.dataset.items.index("i5")]) < 10_000
    assert any("title" in note for note in run.dataset.notes)


def test_ids_with_spaces_and_unicode_work(tmp_path: Path) -> None:
    rows = [(f"Zoë {u}", f"film № {i}") for u, i in log(40, 12, 6)]
    run = make(write(tmp_path / "data", rows), tmp_path / "w")
    assert steer_viewer(run, "Zoë u3", Steering(), 3)["original"][0]["item"].startswith("film №")


def test_nothing_left_after_filtering_ends_in_two_lines(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", log(40, 12, 3))
    with pytest.raises(UserError) as error:
        make(folder, tmp_path / "w", **{"data.k_core": "50"})
    assert error.value.fix
    assert not (tmp_path / "w").exists()


def test_neurons_that_all_sleep_are_measured_without_a_number(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", log(40, 12, 6))
    settings = {k: v for k, v in SMALL.items() if not k.startswith("recommender.")}
    run = build(BuildRequest(str(folder), "popularity", "knots", settings=settings), Workspace(tmp_path / "w"))
    assert run.report["sae"]["alive"] == 0
    assert run.report["neurons"]["monosemanticity"] is None


def test_without_unseen_viewers_nothing_is_said_about_them(tmp_path: Path) -> None:
    run = make(write(tmp_path / "data", log(40, 12, 6)), tmp_path / "w", **{"split.unseen_user_share": "0"})
    assert run.report["sae"]["n_unseen_viewers"] == 0
    for name in ("l0", "density", "fvu", "cosine", "recall_at_20", "rbo_at_30"):
        assert run.report["sae"][name] is None


def test_a_catalogue_that_is_not_of_films_is_judged_by_its_own_genres(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", log(60, 40, 8))
    items = pd.read_csv(folder / "items.csv")
    items.assign(genres=["metal|comedy" if k % 3 else "jazz" for k in range(len(items))]).to_csv(
        folder / "items.csv", index=False
    )
    neurons = make(folder, tmp_path / "w").report["neurons"]
    assert (neurons["concepts"], set(neurons["purity"])) == ("genres", {"metal", "comedy", "jazz"})


def test_more_neurons_than_viewers_give_a_run_or_two_lines(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", log(12, 12, 5))
    try:
        run = make(folder, tmp_path / "w", **{"sae.d_sae": "64", "sae.k": "8"})
    except UserError as error:
        assert error.fix
    else:
        assert run.sae.config.d_sae == 64
