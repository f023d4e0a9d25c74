"""How far each label of a run can be trusted: told from held-out items, raised by steering, and a sentence of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from core.labels.detection import Detection, Sample, Share, detect
from core.labels.facts import Fact
from core.labels.judges import Judge
from core.labels.rules import Rule
from core.seeding import generator

Status = Literal["holds", "reads", "moves", "fails", "mixed", "untested"]
STATUSES: dict[Status, str] = {
    "holds": "Told on held-out items, and raised by steering",
    "reads": "Told on held-out items, not raised by steering",
    "moves": "Raised by steering, not told on held-out items",
    "fails": "Neither told on held-out items nor raised by steering",
    "mixed": "Claims nothing: its items have nothing in common that the catalogue knows",
    "untested": "Too few items, or no fact of the catalogue in it",
}
"""What a label can come to, for people."""
MAX_P = 0.05
MIN_EFFECT = 0.01
"""A share of lists that grows by less than one point is not raised."""
N_NULL = 200
"""Random alive neurons that a neuron's effect is compared with."""


class Causal(NamedTuple):
    """What promoting a neuron does to what its label names, in the lists of viewers the SAE never saw."""

    effect: float
    """Share of the top 20 gained, in [-1, 1], when one strong activation is added."""
    p: float
    """(1 + random alive neurons that raise it as much) / (1 + random alive neurons)."""
    behaves_as: str
    """The fact of the catalogue that it raises most in comparison with other neurons; "" where it raises none."""
    behaves_effect: float

    @property
    def raises(self) -> bool:
        """Whether it raises what the label names."""
        return self.p <= MAX_P and self.effect >= MIN_EFFECT


def told(detection: Detection) -> bool:
    """Say whether a label tells held-out items: its interval on random ones lies above a half, its hard value too."""
    return detection.random.low > 0.5 and detection.hard.value > 0.5


def status_of(claims: bool, detection: Detection | None, causal: Causal | None) -> Status:
    """Give what a label comes to."""
    if not claims:
        return "mixed"
    if detection is None:
        return "untested"
    raises = causal is not None and causal.raises
    if told(detection):
        return "holds" if raises else "reads"
    return "moves" if raises else "fails"


def verdict(label: str, status: Status, causal: Causal | None) -> str:
    """Give one sentence for people; it holds the label and names of facts, which are untrusted text."""
    label = f"titles like {label.removeprefix('Like ')}" if label.startswith("Like ") else label
    other = causal.behaves_as if causal is not None else ""
    more = causal is not None and causal.effect >= MIN_EFFECT
    alone = "; promoting it raises that, but so does many another." if more else "; promoting it does not raise that."
    behaves = f", behaves as {other}." if other else alone
    return {
        "holds": f"Reads as {label}, and promoting it raises that.",
        "reads": f"Reads as {label}{behaves}"
        if causal is not None
        else f"Reads as {label}; steering was not measured.",
        "moves": f"Fires on more, or on other, than {label}; promoting it raises that.",
        "fails": f"{label} could not be confirmed on items that it was not made from.",
        "mixed": f"No label; behaves as {other}." if other else "No label: nothing in common that the catalogue knows.",
        "untested": "Not tested: too few of the titles that fire it were kept for a test.",
    }[status]


class Effects(NamedTuple):
    """What promoting each of some neurons does to facts of the catalogue."""

    neurons: np.ndarray
    """(n,) the measured neurons, ascending."""
    changes: np.ndarray
    """(n, n_facts) of `core.steering.exposure.exposure_changes`."""
    names: tuple[str, ...]
    """Of the facts."""

    def of(self, neuron: int, column: np.ndarray, own: Sequence[str], seed: int) -> Causal | None:
        """Give what a neuron does to what a label names; None where it was not measured.

        Args:
            neuron: Its index.
            column: (n,) what each measured neuron does to what the label names.
            own: Names of facts that say the same as the label: it does not behave as "another" one of these.
            seed: Of the run, for the choice of random neurons.
        """
        place = int(np.searchsorted(self.neurons, neuron))
        if place == len(self.neurons) or self.neurons[place] != neuron:
            return None
        others = np.delete(np.arange(len(self.neurons)), place)
        if len(others) > N_NULL:
            others = generator(seed, "causal", str(neuron)).choice(others, N_NULL, replace=False)
        p = (1 + int((column[others] >= column[place]).sum())) / (1 + len(others))
        behaves, effect = self._behaves(place, set(own))
        return Causal(float(column[place]), p, behaves, effect)

    def _behaves(self, place: int, own: set[str]) -> tuple[str, float]:
        if not self.names:
            return "", 0.0
        spread = np.maximum(self.changes.std(axis=0), 1e-9)
        z = np.where(self.changes[place] >= MIN_EFFECT, (self.changes[place] - self.changes.mean(axis=0)) / spread, 0)
        best = int(z.argmax())
        found = z[best] > 1.64 and self.names[best] not in own
        return (self.names[best], float(self.changes[place, best])) if found else ("", 0.0)


def card(
    neuron: int,
    label: str,
    rule: Rule | None,
    sample: Sample | None,
    wide: Sample | None,
    causal: Causal | None,
    acts: np.ndarray,
    held_out: np.ndarray,
) -> dict[str, Any]:
    """Give the trust card of a label that is a rule: a row of the table.

    Args:
        neuron: Its index.
        label: Its text.
        rule: What it claims; None where it claims nothing.
        sample: Held-out items of the 20 strongest and their negatives; None where there is too little to test on.
        wide: The same for the 50 strongest.
        causal: What steering does; None where it was not measured.
        acts: (n_items,) activations.
        held_out: (n_items,) bool.
    """
    says = np.zeros(len(acts), bool) if rule is None else rule.holds()
    found = None if sample is None else detect(sample, says[sample.items])
    far = None if wide is None else detect(wide, says[wide.items])
    status: Status = "untested" if sample is None else status_of(rule is not None, found, causal)
    purity = float(says[(wide or sample).positives].mean()) if (wide or sample) is not None and rule else np.nan  # type: ignore[union-attr]
    base = float(says[held_out].mean()) if rule else np.nan
    return {
        "neuron": neuron, "label": label, **row_of(found, "", ""), "wide_random": far.random.value if far else np.nan,
        "wide_hard": far.hard.value if far else np.nan, "purity": purity, "base_rate": base,
        "lift": purity / base if base else np.nan, "confidence": _correlation(acts[held_out], says[held_out]),
        "effect": causal.effect if causal else np.nan, "p": causal.p if causal else np.nan,
        "behaves_as": causal.behaves_as if causal else "",
        "behaves_effect": causal.behaves_effect if causal else np.nan,
        "status": status, "verdict": verdict(label, status, causal),
    }  # fmt: skip


def row_of(found: Detection | None, prefix: str = "", suffix: str = "") -> dict[str, Any]:
    """Give a detection as columns, NaN and 0 where there is none."""
    nothing = Share(np.nan, np.nan, np.nan)
    random, hard = (found.random, found.hard) if found else (nothing, nothing)
    values = {
        "random": random.value, "random_low": random.low, "random_high": random.high, "hard": hard.value,
        "hard_low": hard.low, "hard_high": hard.high, "n_positives": found.n_positives if found else 0,
        "n_random": found.n_random if found else 0, "n_hard": found.n_hard if found else 0,
    }  # fmt: skip
    return {f"{prefix}{name}{suffix}": value for name, value in values.items()}


def detections(
    rules: Sequence[Rule | None], samples: Mapping[int, Sample], of: Mapping[int, int] | None = None
) -> pd.DataFrame:
    """Give what labels achieve on the samples of their neurons, a row each; a label that claims nothing gets a half.

    Args:
        rules: Of all neurons.
        samples: Of those that can be tested.
        of: Neuron -> another one whose label it is given instead: the null.
    """
    rows = []
    for neuron, sample in samples.items():
        rule = rules[neuron if of is None else of[neuron]]
        says = np.zeros(len(sample.items), bool) if rule is None else rule.holds()[sample.items]
        rows.append({"neuron": neuron, **row_of(detect(sample, says))})
    return pd.DataFrame(rows, columns=["neuron", *row_of(None)])


def judged(text: str, sample: Sample, judge: Judge) -> Detection:
    """Give what any text achieves on a sample through a judge, for example a language model that reads the items."""
    return detect(sample, np.asarray(judge(text, sample.items), bool))


def shuffled(neurons: Sequence[int], seed: int) -> dict[int, int]:
    """Give each neuron another one, each one once: whose label stands for chance."""
    order = generator(seed, "shuffled labels").permutation(np.asarray(neurons, np.int64))
    return {int(a): int(b) for a, b in zip(order, np.roll(order, 1), strict=True)}


def behaviour_facts(facts: Sequence[Fact]) -> list[Fact]:
    """Give the facts that a neuron can behave as: those of the catalogue, without words of titles."""
    return [fact for fact in facts if fact.kind in ("genre", "tag", "era", "popularity")]


def _correlation(acts: np.ndarray, says: np.ndarray) -> float:
    """Give the point-biserial correlation; NaN where one is constant. See `core.labels.tfidf.point_biserial`."""
    if says.all() or not says.any() or (acts <= 0).all():
        return float("nan")
    return float(np.corrcoef(np.maximum(acts, 0).astype(np.float64), says)[0, 1])
