"""What a training went through, and what a person should know of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.sae.model import SAEConfig

DEAD_SHARE = 0.1
"""Share of silent neurons from which on it is said."""
LAST_SHARE = 0.3
"""Share of the logged steps, at the end, that is compared with as many before."""
LOSS_FALL, L0_FALL = 0.1, 0.05
"""Share by which the mean of the last steps must be lower to be called falling."""
N_DEVIATIONS = 3.0
"""So many standard errors of the difference it must be lower as well: batches differ."""


class LogRow(NamedTuple):
    """What is noted of one step."""

    step: int
    loss: float
    l0: float
    dead_share: float
    terms: dict[str, float]


@dataclass(frozen=True, eq=False)
class TrainHistory:
    """What a training went through: one number an array for every logged step.

    Attributes:
        step: The step, from 1.
        loss: Weighted sum of all terms.
        l0: Mean number of active neurons of an embedding.
        dead_share: Share of neurons without a firing in the last `dead_after` steps.
        terms: Each weighted term of the loss by name.
        warnings: What a person should know, a sentence each (see `warnings_of`).
    """

    step: np.ndarray
    loss: np.ndarray
    l0: np.ndarray
    dead_share: np.ndarray
    terms: dict[str, np.ndarray]
    warnings: tuple[str, ...] = ()


def history_of(log: Sequence[LogRow]) -> TrainHistory:
    """Give the history that some rows make up; a term that a step did not have counts as 0."""
    step, loss, l0, dead_share = (np.array(column) for column in list(zip(*log, strict=True))[:4])
    names = sorted({name for row in log for name in row.terms})
    terms = {name: np.array([row.terms.get(name, 0.0) for row in log]) for name in names}
    return TrainHistory(step, loss, l0, dead_share, terms)


def warnings_of(config: SAEConfig, n_rows: int, history: TrainHistory) -> tuple[str, ...]:
    """Give what a person should know of a training, in sentences that say what to do: none when all is well.

    Args:
        config: The model that was trained.
        n_rows: Embeddings that it was trained on, without item probes.
        history: How the training went.
    """
    found = []
    if config.d_sae > n_rows:
        found.append(
            f"There are more neurons ({config.d_sae:,}) than embeddings to learn from ({n_rows:,}), which neurons can "
            "learn by heart: set sae.d_sae lower."
        )
    dead_share = float(history.dead_share[-1])
    if dead_share > DEAD_SHARE:
        found.append(f"{dead_share:.0%} of the neurons were silent at the end: set sae.d_sae lower or sae.k higher.")
    if (fall := falling(history.l0, L0_FALL)) is not None:
        found.append(f"The number of active neurons was still falling at the end ({fall}): set sae.n_steps higher.")
    if (fall := falling(history.loss, LOSS_FALL)) is not None:
        found.append(f"The loss was still falling at the end ({fall}): set sae.n_steps higher.")
    return tuple(found)


def falling(values: np.ndarray, least: float) -> str | None:
    """Say from where to where numbers still fell over the last `LAST_SHARE`, by `least` or more; None: they did not."""
    n = int(LAST_SHARE * len(values))
    if n < 3:
        return None
    before, last = values[-2 * n : -n], values[-n:]
    fall = before.mean() - last.mean()
    noise = np.sqrt((before.var() + last.var()) / n)
    if fall <= max(least * before.mean(), N_DEVIATIONS * noise):
        return None
    return f"from {before.mean():.3g} to {last.mean():.3g}"
