"""Every recommender on one dataset: what it costs to fit and what it finds, against popularity and EASE.

    DATASETS_DIR=... OMP_NUM_THREADS=1 python -m tests.benchmarks.recommenders [--dataset ml-1m]
        [--protocol leave-n-out] [--recommender NAME ...] [--seed 0 ...]

The seed draws the split and the start values; every item that a viewer has not seen is ranked. `loss of fold-in` is
the share of nDCG@20 that is lost where known viewers are folded in, `to ...` the relative difference of nDCG@20 over
the same viewers, both with the 95 % interval of the paired bootstrap.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple, get_args, get_type_hints

import numpy as np
import pandas as pd

from core.data.dataset import Dataset
from core.data.download import find
from core.data.loaders import read_dataset
from core.data.split import Split, SplitConfig, split
from core.errors import UserError
from core.evaluation.ranking import Interval
from core.pipeline import EASE_LIMIT, REFERENCES
from core.recommenders.base import RECOMMENDERS, recommender_class
from core.report import compare_viewers, recommender_metrics

FIGURES = {
    "recall@20": "recall_at_20", "nDCG@10": "ndcg_at_10", "nDCG@20": "ndcg_at_20", "hit@10": "hit_at_10",
    "coverage@10": "coverage_at_10", "Gini@10": "gini_at_10",
}  # fmt: skip
"""Title of a column -> what was measured."""
NOTHING = Interval(np.nan, np.nan, np.nan)


class Row(NamedTuple):
    """What a recommender reached on one split."""

    recommender: str
    seed: int | str
    fit_cpu_s: float
    figures: dict[str, float]
    intervals: dict[str, Interval]
    """Title of a column -> a share."""

    def __str__(self) -> str:
        figures = "".join(f"{value:>13.4f}" for value in self.figures.values())
        intervals = "".join(f"{_percent(value):>28}" for value in self.intervals.values())
        return f"{self.recommender:<12}{self.seed:>6}{self.fit_cpu_s:>9.2f}{figures}{intervals}"


def measure(names: list[str], parts: Split, seed: int) -> Iterator[Row | str]:
    """Fit recommenders with their own settings and measure them; a sentence where one cannot be fitted on this log."""
    viewers: dict[str, pd.DataFrame] = {}
    for name in names:
        kind, start = recommender_class(name), time.process_time()
        try:
            model = kind.fit(parts.train, kind.Config(), seed=seed)
        except UserError as error:
            yield f"{name:<12}{seed:>6}  {error.problem}"
            continue
        fit_cpu_s = time.process_time() - start
        metrics, viewers[name] = recommender_metrics(model, parts, seed=seed)
        loss = NOTHING
        if "fold_in_ndcg_loss" in metrics:
            loss = Interval(metrics["fold_in_ndcg_loss"], *metrics["fold_in_ndcg_loss_interval"])
        intervals = {"loss of fold-in": loss}
        for other in (r for r in REFERENCES if r in names):
            known = other in viewers and other != name
            change = compare_viewers(viewers[other], viewers[name], "ndcg_at_20", seed) if known else NOTHING
            intervals[f"to {other}"] = change
        yield Row(name, seed, fit_cpu_s, {title: metrics[key] for title, key in FIGURES.items()}, intervals)


def mean(rows: list[Row]) -> Row:
    """Give the means over splits; of intervals only their middles."""
    return Row(
        rows[0].recommender,
        "mean",
        float(np.mean([r.fit_cpu_s for r in rows])),
        {title: float(np.mean([r.figures[title] for r in rows])) for title in rows[0].figures},
        {t: Interval(float(np.mean([r.intervals[t].mean for r in rows])), np.nan, np.nan) for t in rows[0].intervals},
    )


def chosen(dataset: Dataset, names: list[str]) -> list[str]:
    """Give the recommenders to fit: the references first, EASE only where it is asked for or the catalogue is small."""
    wanted = [r for r in REFERENCES if r in names or r != "ease" or dataset.n_items <= EASE_LIMIT]
    return [*wanted, *(name for name in names if name not in wanted)]


def main(arguments: list[str] | None = None) -> list[Row]:
    """Fit, measure and print a table; give its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    protocols = get_args(get_type_hints(SplitConfig)["name"])
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--protocol", choices=protocols, default=SplitConfig().name)
    parser.add_argument("--recommender", nargs="+", choices=sorted(RECOMMENDERS), default=list(RECOMMENDERS))
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    options = parser.parse_args(arguments)
    dataset = read_dataset(find(options.dataset))
    names = chosen(dataset, options.recommender)
    print(
        f"{dataset.name}: {dataset.n_users:,} viewers, {dataset.n_items:,} items, {dataset.n_interactions:,} "
        f"interactions; {options.protocol}, seeds {' '.join(map(str, options.seed))}"
    )
    titles = ["loss of fold-in", *(f"to {r}" for r in REFERENCES if r in names)]
    print(f"{'':<12}{'seed':>6}{'CPU s':>9}", *(f"{t:>13}" for t in FIGURES), *(f"{t:>28}" for t in titles), sep="")
    rows: list[Row] = []
    for seed in options.seed:
        for row in measure(names, split(dataset, SplitConfig(name=options.protocol), seed=seed), seed):
            print(row, flush=True)
            rows += [row] if isinstance(row, Row) else []
    if len(options.seed) > 1:
        for name in names:
            if of_name := [r for r in rows if r.recommender == name]:
                print(mean(of_name))
    return rows


def _percent(value: Interval) -> str:
    if np.isnan(value.mean):
        return "-"
    ends = "" if np.isnan(value.low) else f" [{value.low:+.1%}, {value.high:+.1%}]"
    return f"{value.mean:+.1%}{ends}"


if __name__ == "__main__":
    main()
