"""Which labels of a language model may become names: those that tell held-out titles better than what is there.

A label of a model is offered where it passes its own test and its strength, the mean of the balanced accuracies against
random and against similar titles, is above that of the keyword label, of a label of the same model for another concept,
and of the label in use. All others stay proposals, with the reason. A name that a person gave is never offered another.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from core.labels.bench import Bench
from core.labels.trust import shuffled

Reason = Literal["better", "person", "same", "nameless", "untested", "fails", "chance", "keyword", "used"]
REASONS: dict[Reason, str] = {
    "better": "tells more than the keyword label",
    "person": "a person named it",
    "same": "is its name already",
    "nameless": "claims nothing",
    "untested": "cannot be tested: too few titles, or no fact of the catalogue in it",
    "fails": "does not tell titles that it was not made from",
    "chance": "tells no more than a label of another concept",
    "keyword": "tells no more than the keyword label",
    "used": "tells no more than the label in use",
}
"""Why a label of a model is offered, or not, for people."""
_NAMELESS = ("mixed", "unclear")


class Offer(NamedTuple):
    """A label of a model beside the one in use. All texts are untrusted."""

    neuron: int
    now: str
    """The label in use."""
    source: str
    """Who gave that."""
    label: str
    """Of the model."""
    reason: Reason
    old: dict[str, Any]
    """The trust card of the label in use."""
    new: dict[str, Any]
    """The same of the model's."""

    @property
    def better(self) -> bool:
        """Whether it may become the name."""
        return self.reason == "better"


def strength(card: Mapping[str, Any] | None) -> float:
    """Give the mean of a card's two balanced accuracies; a half, as good as a coin, where there is none.

    >>> strength({"random": 1.0, "hard": 0.75}), strength({"random": 0.75, "hard": float("nan")}), strength(None)
    (0.875, 0.75, 0.5)
    """
    values = [] if card is None else [v for v in (float(card["random"]), float(card["hard"])) if np.isfinite(v)]
    return float(np.mean(values)) if values else 0.5


def offers(bench: Bench, frame: pd.DataFrame, proposals: Mapping[int, str], seed: int) -> list[Offer]:
    """Compare the labels of a model with those in use, a neuron that never fires left out; by neuron.

    Args:
        bench: What labels are tested with.
        frame: Of the run's neurons: `label` and `label_source` in use.
        proposals: Neuron to the model's label.
        seed: Of the run, for whose label stands for chance.
    """
    named = sorted(j for j, text in proposals.items() if text.casefold() not in _NAMELESS)
    other = shuffled(named, seed) if len(named) > 1 else {}
    keyword = dict(zip(bench.cards["neuron"].tolist(), bench.cards["label"].tolist(), strict=True))
    labels, sources = frame["label"].to_numpy(object), frame["label_source"].to_numpy(object)
    found = []
    for neuron, text in sorted(proposals.items()):
        now, source = str(labels[neuron]), str(sources[neuron])
        old, new = bench.card(neuron, now), bench.card(neuron, text)
        if old is None or new is None:
            continue
        rivals: list[tuple[Reason, str | None]] = [
            ("keyword", keyword[neuron]), ("used", now), ("chance", _unlike(proposals, other.get(neuron), text)),
        ]  # fmt: skip
        beaten = (why for why, rival in rivals if _no_more(bench, neuron, new, rival))
        standing = _standing(text, now, source, new)
        reason: Reason = next(beaten, "better") if standing is None else standing
        found.append(Offer(neuron, now, source, text, reason, old, new))
    return found


def _standing(text: str, now: str, source: str, new: Mapping[str, Any]) -> Reason | None:
    """Give the reason that holds whatever the other labels tell; None where they have to be compared."""
    if source == "human":
        return "person"
    if text.casefold() == now.casefold():
        return "same"
    if text.casefold() in _NAMELESS:
        return "nameless"
    if new["status"] == "untested":
        return "untested"
    return None if new["status"] in ("holds", "reads") else "fails"


def _unlike(proposals: Mapping[int, str], other: int | None, text: str) -> str | None:
    """Give the label of another neuron; None where it is the same text, which says nothing of chance."""
    rival = None if other is None else proposals[other]
    return None if rival is None or rival.casefold() == text.casefold() else rival


def _no_more(bench: Bench, neuron: int, new: Mapping[str, Any], rival: str | None) -> bool:
    return rival is not None and strength(new) <= strength(bench.card(neuron, rival))
