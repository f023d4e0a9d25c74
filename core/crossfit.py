"""How faithful an SAE is, measured on every viewer by an SAE that never saw this viewer."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.configs import check
from core.data.split import Split
from core.pipeline import Plan, build_fold
from core.progress import Progress, no_progress
from core.report import fidelity_metrics, viewers_with_targets
from core.runs import Run
from core.seeding import generator


class CrossFit(NamedTuple):
    """What was measured over all folds."""

    metrics: dict[str, Any]
    """`fidelity_metrics` of all viewers together, `dead_share` (mean over the folds) and `dead_share_highest`,
    `n_viewers`, `n_folds`, `seconds`, `cpu_s`."""
    viewers: pd.DataFrame
    """A row a viewer, ascending (see `core.report.viewer_fidelity`), and the `fold` in which it was measured."""


def folds_of(split: Split, n_folds: int, seed: int) -> list[np.ndarray]:
    """Cut the viewers with held-out items into folds of equal sizes that are alike in the lengths of their histories.

    Sorted by length, equal ones in random order, each `n_folds` that stand together are dealt to the folds at random.

    Returns:
        Sorted viewers of each fold; every viewer is in one, and sizes differ by one at most.

    Raises:
        ConfigError: Fewer than two folds, more folds than viewers, or a split in which only the unseen are asked.
    """
    users = viewers_with_targets(split)
    check(n_folds >= 2, f"{n_folds} folds leave nothing to train on.", "Give 2 folds or more, for example --folds 6.")
    check(
        bool(np.isin(users, split.unseen_users, invert=True).any()),
        "No viewer but the unseen ones has held-out items in this split: no other can be measured.",
        "Use split.name=leave-n-out or per-user-ratio with --folds.",
    )
    check(
        n_folds <= len(users),
        f"{n_folds} folds of {len(users)} viewers with held-out items: some would be empty.",
        f"Give at most {len(users)} folds.",
    )
    rng = generator(seed, "folds")
    shuffled = rng.permutation(users)
    by_length = shuffled[np.argsort(np.diff(split.history.indptr)[shuffled], kind="stable")]
    fold = np.concatenate([rng.permutation(n_folds) for _ in range(-(-len(users) // n_folds))])
    return [np.sort(by_length[fold[: len(users)] == number]) for number in range(n_folds)]


def cross_fit(todo: Plan, run: Run, n_folds: int, progress: Progress = no_progress) -> CrossFit:
    """Train an SAE for each fold on all other viewers and measure it on this one; what is there is not trained again.

    Every viewer with held-out items is measured once (of very many, drawn ones: see `core.report.drawn_viewers`), by an
    SAE that never saw it. The loss is that of all viewers together, not a mean over folds, and its 95 % interval a
    paired bootstrap over all of them: each is drawn with the values of its original and its reconstructed list. The
    recommender is the same in all folds. The interval holds for these SAEs: what another seed would give is not in it.

    Args:
        todo: What to build; with a preset.
        run: Ends with the recommender.
        n_folds: How many.
        progress: Told how far it is.

    Raises:
        ConfigError: As for `folds_of`.
        TrainingError: A training diverged.
    """
    parts, dead, seconds, cpu = [], [], 0.0, 0.0
    for number, users in enumerate(folds_of(run.split, n_folds, todo.seed)):
        fold = build_fold(todo, run, (number, n_folds), users, progress)
        meta = fold.meta("sae")
        parts.append(run.workspace.tables("sae", meta.id)["viewers"].assign(fold=number))
        dead.append(meta.metrics["dead_share"])
        seconds, cpu = seconds + meta.seconds, cpu + meta.metrics["cpu_s"]
    viewers = pd.concat(parts).sort_values("user", ignore_index=True)
    metrics = fidelity_metrics(viewers, todo.seed) | {
        "dead_share": float(np.mean(dead)), "dead_share_highest": max(dead),
        "n_viewers": len(viewers), "n_folds": n_folds, "seconds": seconds, "cpu_s": cpu,
    }  # fmt: skip
    return CrossFit(metrics, viewers)
