"""A model's vectors, brought along on the command line: the same lists as at home, and two lines for every fault."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.data.dataset import Dataset
from core.errors import ConfigError
from core.evaluation.ranking import ndcg_at_n
from core.pipeline import BuildRequest, plan
from core.recommenders.base import embed_users, rank
from core.recommenders.precomputed import Precomputed
from core.report import recommender_metrics
from core.runs import Run, list_runs, open_run
from core.workspace import Workspace
from tests.conftest import TINY_SETTINGS
from tests.core.recommenders.blocks import dataset_of
from tests.core.recommenders.implicit_models import COLD_USER, recommended, save_implicit, taste_log, train_implicit
from tests.core.recommenders.recbole_files import write_checkpoint
from tests.core.recommenders.test_recbole import SETTINGS, random_tensors
from tests.core.test_command_line import two_lines

SAE = [part for key, value in TINY_SETTINGS.items() if key.startswith("sae") for part in ("--set", f"{key}={value}")]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="session")
def model(tiny_run: Run, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the vectors of ELSA in another order than the tables, as a person would export them."""
    folder = tmp_path_factory.mktemp("model")
    dataset, recommender = tiny_run.dataset, tiny_run.recommender
    items, users = RNG.permutation(dataset.n_items), RNG.permutation(dataset.n_users)
    np.save(folder / "items.npy", recommender.embed_items()[items])
    np.save(folder / "users.npy", embed_users(recommender, dataset, users).astype(np.float64))
    (folder / "items.txt").write_text("\n".join(dataset.items.ids[i] for i in items))
    np.save(folder / "users_ids.npy", np.array([dataset.users.ids[u] for u in users]))
    return folder


def arguments(model: Path, tables: Path, workspace: Path, *more: str, log: bool = True) -> list[str]:
    given = {
        "--items": model / "items.npy", "--item-ids": model / "items.txt", "--users": model / "users.npy",
        "--user-ids": model / "users_ids.npy", "--item-table": tables / "items.csv", "--name": "mine",
        "--workspace": workspace,
    }  # fmt: skip
    if log:
        given["--interactions"] = tables / "interactions.csv"
    given |= dict(zip(more[::2], more[1::2], strict=True))
    return ["import", "embeddings", *(str(part) for pair in given.items() for part in pair)]


def newest(workspace: Path) -> Run:
    """Give the chain that ends in the newest brought recommender."""
    store = Workspace(workspace)
    meta = next(m for m in store.artefacts("recommender") if m.config["name"] == "precomputed")
    return Run(store, {**meta.parents, "recommender": meta.id})


def lists(run: Run, names: list[str]) -> list[list[str]]:
    """Give the ten best unseen items of some viewers of the tiny log, the seen ones being those of all its items."""
    users = np.array([run.full.users.index(name) for name in names])
    best = rank(run.recommender.score(embed_users(run.recommender, run.dataset, users)), 10)
    return [[run.full.items.ids[i] for i in row] for row in best]


@pytest.mark.parametrize("log", [True, False])
def test_vectors_that_come_back_give_the_lists_of_the_original(
    log: bool, model: Path, tiny_run: Run, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(model, tiny_folder, tmp_path / "w", "--json", str(tmp_path / "r.json"), log=log)) == 0
    names = [f"viewer {n}" for n in (0, 17, 89)]
    assert lists(newest(tmp_path / "w"), names) == lists(tiny_run, names)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["dataset"]["n_interactions"] == (1260 if log else 0)
    assert (report["recommender"]["ndcg_at_20"] is None) == (not log)
    assert ("fold_in_ndcg_loss" in report["recommender"]) == log
    assert report["recommender"]["source"]["files"]["items"]["name"] == "items.npy"
    assert len(report["recommender"]["source"]["files"]["users"]["sha256"]) == 64
    out = capsys.readouterr().out
    assert "precomputed on mine" in out and (f"{0 if not log else 90} viewers") in out


def test_users_without_a_vector_do_not_count_in_what_folding_in_costs(tiny_run: Run) -> None:
    parts, items = tiny_run.split, tiny_run.recommender.embed_items()
    users = RNG.normal(size=(90, items.shape[1])).astype(np.float32)
    users[::2] = tiny_run.recommender.embed(parts.history.histories(range(0, 90, 2)))
    users[45:] = np.nan
    bias = np.zeros(len(items), np.float32)
    model: Any = Precomputed.bring(parts.history, items, bias, users, "dot")
    found = recommender_metrics(model, parts, seed=0).metrics["fold_in_ndcg_loss"]

    def ndcg(rows: np.ndarray) -> float:
        history, targets = parts.history.histories(range(45)), [parts.targets[u] for u in range(45)]
        return float(np.nanmean(ndcg_at_n(rank(model.score(rows), 20, history), targets, 20)))

    folded = model.embed(parts.history.histories(range(45)))
    assert found == pytest.approx(1 - ndcg(folded) / ndcg(users[:45]))


def test_only_item_vectors_and_a_log_are_enough(model: Path, tiny_folder: Path, tmp_path: Path) -> None:
    given = arguments(model, tiny_folder, tmp_path / "w", "--seed", "1")
    for option in ("--users", "--user-ids"):
        place = given.index(option)
        del given[place : place + 2]
    assert main(given) == 0
    run = newest(tmp_path / "w")
    assert run.recommender.native_users is None and run.recommender.config.fold_in == "discriminant"
    assert run.report["recommender"]["ndcg_at_20"] > 1.5 * run.report["recommender"]["coverage_at_10"] * 0.1


def test_a_preset_trains_an_sae_on_it_and_a_second_import_builds_nothing(
    model: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*arguments(model, tiny_folder, tmp_path / "w", "--preset", "knots"), *SAE]
    assert main(given) == 0
    run = open_run(tmp_path / "w")
    assert run.table.frame["alive"].any() and "SAE knots" in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*")}
    assert main(given) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*")} == before
    assert len(list_runs(Workspace(tmp_path / "w"))) == 1


def test_one_number_more_is_another_model(model: Path, tiny_folder: Path, tmp_path: Path) -> None:
    assert main(arguments(model, tiny_folder, tmp_path / "w")) == 0
    other = np.load(model / "items.npy")
    other[0, 0] += 1e-3
    np.save(tmp_path / "other.npy", other)
    assert main(arguments(model, tiny_folder, tmp_path / "w", "--items", str(tmp_path / "other.npy"))) == 0
    brought = [m for m in Workspace(tmp_path / "w").artefacts("recommender") if m.config["name"] == "precomputed"]
    assert len(brought) == 2


def test_a_bias_and_a_cosine_are_taken_in(model: Path, tiny_folder: Path, tmp_path: Path) -> None:
    bias = np.zeros(60)
    bias[3] = 1000
    np.save(tmp_path / "bias.npy", bias)
    loved = (model / "items.txt").read_text().split("\n")[3]
    assert main(arguments(model, tiny_folder, tmp_path / "w", "--item-bias", str(tmp_path / "bias.npy"))) == 0
    assert [best[0] for best in lists(newest(tmp_path / "w"), ["viewer 0", "viewer 5"])] == [loved, loved]
    assert main(arguments(model, tiny_folder, tmp_path / "w2", "--scoring", "cosine")) == 0
    recommender = newest(tmp_path / "w2").recommender
    assert recommender.score(recommender.native_users).max() <= 1 + 1e-6  # type: ignore[arg-type]


def matrix(folder: Path, n: int, d: int, **change: object) -> str:
    array = RNG.normal(size=(n, d))
    for _ in change:
        array[:2] = 0
    np.save(folder / f"{n}x{d}{''.join(change)}.npy", array)
    return str(folder / f"{n}x{d}{''.join(change)}.npy")


def faults(model: Path, tables: Path, folder: Path) -> Iterator[tuple[str, list[str], str, str]]:
    """Give (what, options, what the first line says, what the second says)."""

    def file(name: str, text: str) -> str:
        (folder / name).write_text(text)
        return str(folder / name)

    other = "\n".join(f"other-{n}" for n in range(60))
    table = pd.read_csv(tables / "items.csv")
    table.iloc[5:].to_csv(folder / "part.csv", index=False)
    zero_items, zero_users = matrix(folder, 60, 12, zero=0), matrix(folder, 90, 12, zero=0)
    two = file("l.csv", "user_id,item_id\nviewer 1,film-1\nviewer 2,film-1\n")
    part, nothing = str(folder / "part.csv"), str(folder / "nothing")
    yield "width", ["--users", matrix(folder, 90, 9)], "users are 9 wide, and those of items.npy 12", "one model"
    yield "other catalogue", ["--item-ids", file("o.txt", other)], "No item of items.npy is in items.csv", "same ids"
    yield (
        "part of a table",
        ["--item-table", part],
        "5 of 60 items of items.npy are not in part.csv",
        "--unknown-items",
    )
    yield "zero", ["--items", zero_items, "--scoring", "cosine"], "has 2 vectors of length 0: '", "--scoring dot"
    yield "zero users", ["--users", zero_users, "--scoring", "cosine"], "has 2 vectors of length 0: 'viewer", "dot"
    yield "bias", ["--item-bias", matrix(folder, 59, 1)], "expected 60 biases", "same order"
    yield "ids", ["--item-ids", file("few.txt", "film-1\nfilm-2")], "60 rows and few.txt 2 item ids", "as many"
    yield "header", ["--item-table", file("no.csv", "1,Alien\n2,Brazil\n")], "no column 'item_id'", "first line"
    yield "name", ["--name", " "], "name", "--name"
    yield "format", ["--items", file("m.pt", "x")], "ends in '.pt'", "np.save"
    yield "missing", ["--items", f"{nothing}.npy"], "missing", "file"
    yield "missing table", ["--item-table", f"{nothing}.csv"], "missing", "nothing.csv"
    yield "preset", ["--preset", "nots"], "did you mean 'knots'", "knots"
    yield "setting", ["--set", "recommender.epochs=3"], "recommender.epochs cannot be set", "python -m core build"
    yield "scoring", ["--scoring", "euclid"], "euclid", "--help"
    yield "seed", ["--seed", "-1"], "seed", "--help"
    yield "sequence", ["--set", "split.name=temporal-leave-one-out", "--interactions", two], "needs timestamps", "split"


FAULTS = (
    "bias", "format", "header", "ids", "missing", "missing table", "name", "other catalogue", "part of a table",
    "preset", "scoring", "seed", "sequence", "setting", "width", "zero", "zero users",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_person_can_fix_ends_in_two_lines(
    fault: str, model: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {what: rest for what, *rest in faults(model, tiny_folder, tmp_path)}
    assert sorted(known) == sorted(FAULTS)
    options, problem, fix = known[fault]
    assert main(arguments(model, tiny_folder, tmp_path / "w", *options)) == 2
    first, second = two_lines(capsys)
    assert problem in first and fix in second, (first, second)
    assert not (tmp_path / "w" / "recommender").exists()


def test_settings_are_checked_before_any_file_is_read(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, tiny_folder, tmp_path / "w", "--preset", "nots")) == 2
    assert "knots" in two_lines(capsys)[0]


def test_nobody_to_recommend_to_is_refused(
    model: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["import", "embeddings", "--items", str(model / "items.npy"), "--name", "x"]
    assert main([*given, "--item-table", str(tiny_folder / "items.csv"), "--workspace", str(tmp_path / "w")]) == 2
    assert "nobody to recommend" in two_lines(capsys)[0] and not (tmp_path / "w").exists()


def test_what_is_brought_cannot_be_built() -> None:
    with pytest.raises(ConfigError, match="trained elsewhere") as error:
        plan(BuildRequest("demo", "precomputed", None))
    assert "python -m core import" in error.value.fix


def write_tables(folder: Path, log: Dataset, shift: int = 0, *, times: bool = True) -> tuple[str, str]:
    """Write a log as a person's tables, its items called `i1`, `i2`, ... and its users `u1`, `u2`, ..."""
    items = [f"i{n + shift}" for n in range(log.n_items)]
    pd.DataFrame({"item_id": items, "title": [f"Film {i}" for i in items]}).to_csv(folder / "items.csv", index=False)
    table = {"user_id": [f"u{u + shift}" for u in log.user_index], "item_id": [items[i] for i in log.item_index]}
    if times:
        table["timestamp"] = range(log.n_interactions)
    pd.DataFrame(table).to_csv(folder / "log.csv", index=False)
    return str(folder / "items.csv"), str(folder / "log.csv")


@pytest.mark.parametrize("kind", ["als", "bpr", "logistic"])
def test_a_model_of_implicit_gives_its_own_lists(kind: str, tmp_path: Path) -> None:
    theirs, log = train_implicit(kind, taste_log()), taste_log()
    theirs.save(tmp_path / "model.npz")
    items, interactions = write_tables(tmp_path, log)
    (tmp_path / "users.txt").write_text("\n".join(f"u{u}" for u in range(log.n_users)))
    given = ["--item-table", items, "--interactions", interactions, "--user-ids", str(tmp_path / "users.txt")]
    where = ["--name", "mine", "--workspace", str(tmp_path / "w"), "--set", "split.n_held_out=1"]
    assert main(["import", "implicit", str(tmp_path / "model.npz"), *given, *where]) == 0
    store = Workspace(tmp_path / "w")
    meta = next(m for m in store.artefacts("recommender") if m.config.get("source", {}).get("kind") == "implicit")
    run = Run(store, {**meta.parents, "recommender": meta.id})
    assert run.recommender.name == ("als" if kind == "als" else "precomputed")
    known = np.setdiff1d(np.arange(log.n_users), COLD_USER)
    rows = np.array([run.full.users.index(f"u{u}") for u in known])
    best = rank(run.recommender.score(embed_users(run.recommender, run.full, rows)), 20, run.full.histories(rows))
    assert np.array_equal(best, recommended(theirs, log, known, 20))


def test_ids_for_a_model_of_implicit_must_be_as_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_implicit(tmp_path / "model.npz", "als")
    items, _ = write_tables(tmp_path, taste_log())
    (tmp_path / "few.txt").write_text("i0\ni1\n")
    given = ["--item-table", items, "--item-ids", str(tmp_path / "few.txt"), "--name", "x"]
    assert main(["import", "implicit", str(tmp_path / "model.npz"), *given, "--workspace", str(tmp_path / "w")]) == 2
    assert "items, and few.txt 2 ids" in two_lines(capsys)[0]


def recbole_command(folder: Path, model: str, *, times: bool = True) -> list[str]:
    """Give the command that imports a checkpoint of random tensors with its log."""
    log = dataset_of([[0, 1, 2], [3, 4, 5, 6], [1, 3, 5], [0, 6, 2, 4], [6, 5, 1]], 7)
    checkpoint = write_checkpoint(folder / "m.pth", model, SETTINGS[model], random_tensors(model))
    items, interactions = write_tables(folder, log, times=times)
    for kind, n in (("i", 7), ("u", 5)):
        (folder / f"{kind}.json").write_text(json.dumps(["[PAD]", *(f"{kind}{k}" for k in range(n))]))
    given = ["--item-table", items, "--interactions", interactions, "--name", "rb", "--set", "split.n_held_out=1"]
    ids = ["--item-ids", str(folder / "i.json"), "--user-ids", str(folder / "u.json")]
    return ["import", "recbole", str(checkpoint), *given, *ids, "--workspace", str(folder / "w")]


def test_a_bpr_of_recbole_is_opened_with_its_users(tmp_path: Path) -> None:
    assert main(recbole_command(tmp_path, "BPR")) == 0
    run, tensors = newest(tmp_path / "w"), random_tensors("BPR")
    users, items = (tensors[f"{kind}_embedding.weight"][1:].detach().numpy() for kind in ("user", "item"))
    rows = np.array([run.full.users.index(f"u{u}") for u in range(5)])
    scores = run.recommender.score(embed_users(run.recommender, run.full, rows))
    np.testing.assert_allclose(scores, users @ items.T, rtol=1e-4, atol=1e-5)


def test_a_sasrec_of_recbole_needs_the_order_of_each_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = recbole_command(tmp_path, "SASRec", times=False)
    assert main(given) == 2
    problem, fix = two_lines(capsys)
    assert "no column timestamp" in problem and "--order as-given" in fix
    assert main([*given, "--order", "as-given"]) == 0
    assert Workspace(tmp_path / "w").artefacts("recommender")[0].config["name"] in ("sasrec", "popularity", "ease")
    place = given.index("--interactions")
    assert main(given[:place] + given[place + 2 :]) == 2
    assert "SASRec has no vectors of users" in two_lines(capsys)[0]
