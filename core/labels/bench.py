"""The trust of any label of a run, whoever gave it and whenever: keyword labels as they were tested, others at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.data.dataset import Dataset
from core.labels import trust
from core.labels.detection import Sample
from core.labels.facts import facts_known
from core.labels.judges import Judge, rule_of
from core.labels.rules import Rule
from core.labels.split import explaining
from core.neurons.concepts import concepts_of

NO_FACT = "Cannot be tested by facts: the label names none that the catalogue knows."


class Bench:
    """The samples of a run, its effects, and the catalogue's facts.

    Args:
        arrays: Of the analysis "trust".
        tables: Of the same.
        dataset: The catalogue.
        acts_of: Neuron -> (n_items,) activations.
        seed: Of the run.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        tables: Mapping[str, pd.DataFrame],
        dataset: Dataset,
        acts_of: Callable[[int], np.ndarray],
        seed: int,
    ) -> None:
        self.cards = tables["cards"]
        self._rows = {int(j): place for place, j in enumerate(self.cards["neuron"])}
        self._arrays, self._acts_of, self._seed = arrays, acts_of, seed
        self._facts = facts_known(dataset, concepts_of(dataset))
        self._held_out = ~explaining(dataset.items.ids)
        self._effects = trust.Effects(arrays["neurons"], arrays["changes"], tuple(tables["facts"]["name"]))

    def card(self, neuron: int, label: str) -> dict[str, Any] | None:
        """Give the trust card of a label of a neuron; None for a neuron that never fires.

        The neuron's keyword label has the card that was made with it. Any other text is tested as the facts that it
        names (`core.labels.judges.rule_of`); one that names none is "untested".
        """
        if neuron not in self._rows:
            return None
        stored = {str(k): v for k, v in self.cards.iloc[self._rows[neuron]].to_dict().items()}
        if label == stored["label"]:
            return stored
        rule = rule_of(label, self._facts)
        causal = self._causal(neuron, rule)
        made = trust.card(neuron, label, rule, self.sample(neuron), None, causal, self._acts_of(neuron), self._held_out)
        if rule is None:
            made |= {"status": "untested", "verdict": NO_FACT}
        return {**made, **{name: stored[name] for name in ("random_shuffled", "hard_shuffled")}}

    def sample(self, neuron: int) -> Sample | None:
        """Give the held-out items on which labels of a neuron are tested; None where it cannot be."""
        parts = (self._arrays[name][neuron] for name in ("positives", "random", "hard"))
        positives, random, hard = (part[part >= 0].astype(np.int64) for part in parts)
        return Sample(positives, random, hard) if len(positives) else None

    def judged(self, neuron: int, label: str, judge: Judge) -> dict[str, Any] | None:
        """Give what a label achieves through a judge, as columns; None where the neuron cannot be tested."""
        sample = self.sample(neuron)
        return None if sample is None else trust.row_of(trust.judged(label, sample, judge))

    def table(self, labels: Sequence[tuple[int, str, str]]) -> pd.DataFrame:
        """Give the cards of labels (neuron, text, source) as rows, `source` first."""
        rows = [{"source": source, **found} for j, text, source in labels if (found := self.card(j, text)) is not None]
        return pd.DataFrame(rows, columns=["source", *self.cards.columns])

    def _causal(self, neuron: int, rule: Rule | None) -> trust.Causal | None:
        """Give the effect on the facts that a rule names, their mean where there are several."""
        names = [] if rule is None else [fact.name for fact in rule.facts]
        columns = [i for i, name in enumerate(self._effects.names) if name in names]
        if not columns:
            return None
        return self._effects.of(neuron, self._effects.changes[:, columns].mean(axis=1), names, self._seed)
