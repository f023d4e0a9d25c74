"""The quality of the three presets on MovieLens-1M and of the demo, against what they are to reach.

    DATASETS_DIR=... python -m tests.benchmarks.quality [--seeds 0 1 2] [--workspace DIR] [--only knots ...]

Builds what is not built yet (about three minutes a seed on one core) and prints one row a figure and seed.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.crossfit import cross_fit
from core.data.demo import planted_concepts
from core.neurons.concepts import auc
from core.pipeline import DEMO, BuildRequest, build, plan
from core.recommenders.base import rank
from core.runs import Run
from core.seeding import generator
from core.steering.steering import Edit, Steering, steer
from core.workspace import Workspace

WANTED_FILMS = 4.0
"""How many horror films the knob is to add to a mean top 20."""
N_VIEWERS = 500
N_FOLDS = 6
"""Parts of the viewers, each measured by an SAE that was trained on the others."""


class Figure(NamedTuple):
    """One measured number and its bar."""

    name: str
    value: float
    bar: float
    higher_is_better: bool

    @property
    def reached(self) -> bool:
        """The bar is met."""
        return self.value >= self.bar if self.higher_is_better else self.value <= self.bar


class Knob(NamedTuple):
    """What promoting the horror neuron does at the strength that adds four films."""

    neuron: int
    strength: float
    """In units of the neuron's strong activation."""
    before: float
    after: float
    """Mean number of horror films in the top 20."""
    kept: float
    """Mean number of the original 20 that stay."""


def horror_knob(run: Run, n: int = 20) -> Knob:
    """Find by bisection the strength at which the purest horror neuron adds four films to unseen viewers' lists."""
    neuron = run.report["neurons"]["purity"]["Horror"]["neuron"]
    unit = float(run.table.frame["strong_activation"].iloc[neuron])
    horror = np.array(["Horror" in genres for genres in run.dataset.item_table["genres"]])
    users = run.split.unseen_users
    users = np.sort(generator(0, "horror knob").choice(users, size=min(N_VIEWERS, len(users)), replace=False))
    histories = run.dataset.histories(users)
    embeddings = run.recommender.embed(histories)
    original = rank(run.recommender.score(embeddings), n, histories)
    before = float(horror[original].sum(axis=1).mean())

    def at(strength: float) -> tuple[float, float]:
        edit = Steering((Edit(neuron, "add", strength * unit),))
        steered = rank(run.recommender.score(steer(embeddings, edit, run.sae)), n, histories)
        kept = np.mean([np.isin(a, b).sum() for a, b in zip(steered, original, strict=True)])
        return float(horror[steered].sum(axis=1).mean()), float(kept)

    low, high = 0.0, 1.0
    while at(high)[0] < before + WANTED_FILMS and high < 256:
        high *= 2
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle)[0] >= before + WANTED_FILMS else (middle, high)
    return Knob(neuron, high, before, *at(high))


def _mf(run: Run) -> Iterator[Figure]:
    model = run.report["recommender"]
    yield Figure("MF uniform: MPR", model["mpr"], 0.08, False)
    yield Figure("MF uniform: nDCG@20", model["ndcg_at_20"], 0.185, True)
    yield Figure("MF uniform: CPU seconds of training", model["fit_cpu_s"], 40, False)


def _faithful(run: Run) -> Iterator[Figure]:
    yield from _mf(run)
    sae = run.report["sae"]
    yield Figure("monosemantic-faithful: RBO@30", sae["rbo_at_30"], 0.85, True)
    yield Figure("monosemantic-faithful: Kendall@30", sae["kendall_at_30"], 0.70, True)


def _monosemantic(run: Run) -> Iterator[Figure]:
    purity = run.report["neurons"]["paper_purity"]
    for n, bar in (("10", 0.90), ("20", 0.87), ("50", 0.81)):
        yield Figure(f"monosemantic: mean purity@{n} of 15 concepts", purity[n], bar, True)
    for name, means in run.report["neurons"]["baselines"].items():
        for n, value in means.items():
            yield Figure(f"  baseline {name}: purity@{n}", value, 0.0, True)


def _knots(run: Run) -> Iterator[Figure]:
    model, sae = run.report["recommender"], run.report["sae"]
    yield Figure("ELSA: recall@20", model["recall_at_20"], 0.33, True)
    yield Figure("ELSA: nDCG@20", model["ndcg_at_20"], 0.25, True)
    yield Figure("ELSA: CPU seconds of training", model["fit_cpu_s"], 45, False)
    for name in ("recall", "ndcg"):
        low, high = sae[f"{name}_loss_interval"]
        yield Figure(f"knots: loss of {name}@20 [{low:+.4f}, {high:+.4f}]", sae[f"{name}_loss"], 0.02, False)
    yield Figure("knots: cosine", sae["cosine"], 0.97, True)
    yield Figure("knots: dead share", sae["dead_share"], 0.01, False)
    concepts = run.table.concepts
    genres = np.flatnonzero(concepts["kind"] == "genre")
    pure = int((np.nanmax(run.table.purity[0][genres], axis=1) >= 0.8).sum())
    yield Figure("knots: genres with a neuron of purity@10 >= .8", pure, len(genres), True)
    frame = run.table.frame
    others = (frame["purity_at_10"] >= 0.8) & ~frame["best_concept"].isin(["Drama", "Comedy"])
    yield Figure("knots: neurons of purity@10 >= .8 outside Drama and Comedy", int(others.sum()), 100, True)
    knob = horror_knob(run)
    yield Figure(f"Horror knob #{knob.neuron} at {knob.strength:.2f} x strong: horror before", knob.before, 0.0, True)
    yield Figure("Horror knob: horror films in the top 20", knob.after, 5.0, True)
    yield Figure("Horror knob: originals kept of 20", knob.kept, 14.0, True)


def _cross_fit(run: Run) -> Iterator[Figure]:
    base = Run(run.workspace, {stage: run.ids[stage] for stage in ("dataset", "split", "recommender")})
    measured = cross_fit(plan(CASES["cross-fit"][0](run.seed)), base, N_FOLDS).metrics
    for name in ("recall", "ndcg"):
        _, high = measured[f"{name}_loss_interval"]
        what = f"knots, {N_FOLDS} folds, {measured['n_viewers']:,} viewers: loss of {name}@20"
        yield Figure(what, measured[f"{name}_loss"], 0.01, False)
        yield Figure(f"{what}, upper end", high, 0.02, False)
    yield Figure("knots, folds: cosine", measured["cosine"], 0.98, True)
    yield Figure("knots, folds: dead share", measured["dead_share"], 0.01, False)
    yield Figure("  knots, folds: CPU seconds", measured["cpu_s"], 0.0, True)


def _demo(run: Run) -> Iterator[Figure]:
    masks = planted_concepts(run.full)
    values = auc(run.sae.encode(run.recommender.probe_items()), np.array(list(masks.values())))
    found = np.nanmax(values, axis=1) >= 0.9
    yield Figure(
        f"demo: share of {len(masks)} planted concepts with a neuron of AUC >= .9", float(found.mean()), 0.9, True
    )
    yield Figure("demo: seconds of the build", sum(run.report["seconds"].values()), 60, False)


def _ml1m(recommender: str, preset: str) -> Callable[[int], BuildRequest]:
    return lambda seed: BuildRequest("ml-1m", recommender, preset, seed)


def _demo_request(seed: int) -> BuildRequest:
    return BuildRequest(DEMO.dataset, DEMO.recommender, DEMO.preset, seed, settings=DEMO.settings)


CASES: dict[str, tuple[Callable[[int], BuildRequest], Callable[[Run], Iterator[Figure]]]] = {
    "monosemantic-faithful": (_ml1m("mf", "monosemantic-faithful"), _faithful),
    "monosemantic": (_ml1m("mf", "monosemantic"), _monosemantic),
    "knots": (_ml1m("elsa", "knots"), _knots),
    "cross-fit": (_ml1m("elsa", "knots"), _cross_fit),
    "demo": (_demo_request, _demo),
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Build, measure and print; give the figures by case and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--workspace", type=Path, default=Path("data/workspaces/benchmarks"))
    options = parser.parse_args(arguments)
    out: dict[str, Any] = {}
    for case in options.only:
        request, figures = CASES[case]
        for seed in options.seeds:
            for figure in figures(build(request(seed), Workspace(options.workspace))):
                out.setdefault(case, {}).setdefault(seed, []).append(figure)
                verdict = "" if figure.name.startswith("  ") else "reached" if figure.reached else "MISSED"
                sign = ">=" if figure.higher_is_better else "<="
                print(
                    f"seed {seed}  {figure.name:<72} {figure.value:9.4f}  {sign} {figure.bar:<7g} {verdict}", flush=True
                )
    return out


if __name__ == "__main__":
    main()
