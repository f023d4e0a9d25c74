"""Names that can be wrong: up to three facts joined by "and" and "or", so that they say of each item yes or no."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from core.labels.facts import Fact, Kind

SEPARATOR = " · "
MAX_FACTS = 3
PRICE: dict[Kind, float] = {"genre": 0.01, "tag": 0.01, "era": 0.015, "popularity": 0.015, "like": 0.03, "word": 0.04}
"""What a fact must bring in balanced accuracy, by its kind: a plain name is worth more than a slightly better one."""
N_LEADS, N_PAIRS = 40, 10
"""Facts that may stand first, and pairs that are tried with a third."""
_ORDER = {"genre": 0, "tag": 0, "word": 1, "like": 2, "era": 3, "popularity": 4}

Join = Literal["and", "or"]


class Rule(NamedTuple):
    """Facts joined from the left: `(a JOIN b) JOIN c`."""

    facts: tuple[Fact, ...]
    joins: tuple[Join, ...]
    """One fewer than facts."""

    def holds(self) -> np.ndarray:
        """Give the (n_items,) mask of the items for which it is true."""
        mask = self.facts[0].mask
        for fact, join in zip(self.facts[1:], self.joins, strict=True):
            mask = mask & fact.mask if join == "and" else mask | fact.mask
        return mask

    @property
    def name(self) -> str:
        """The rule as people read it: "Horror or thriller · 1980s · niche"."""
        return _capital(self._words())

    def _words(self) -> str:
        kinds = [_ORDER[fact.kind] for fact in self.facts]
        order = np.argsort(kinds, kind="stable")
        if "and" not in self.joins:
            return _either([self.facts[i] for i in order])
        if self.joins == ("or", "and"):
            pair, third = _either(self.facts[:2]), said(self.facts[2])
            return SEPARATOR.join([pair, third] if kinds[2] >= min(kinds[:2]) else [third, pair])
        both = [i for i in order if i < 2] if self.joins == ("and", "or") else order
        together = SEPARATOR.join(said(self.facts[i]) for i in both)
        return f"{together}, or {said(self.facts[2])}" if self.joins == ("and", "or") else together


class Fit(NamedTuple):
    """A rule and how well it parts the items that it was fitted on."""

    rule: Rule
    score: float
    """Balanced accuracy, shrunk towards a half, less the price of its facts."""


def said(fact: Fact) -> str:
    """Give a fact as it stands in a name; words of titles in quotes."""
    return f"“{fact.name}” titles" if fact.kind == "word" else fact.name


def _either(facts: Sequence[Fact]) -> str:
    """Join with "or", saying "like" once."""
    names = [said(fact) for fact in facts]
    for i in range(1, len(facts)):
        if facts[i].kind == facts[i - 1].kind == "like":
            names[i] = names[i].removeprefix("like ")
    return " or ".join(names)


def fit_rules(
    facts: Sequence[Fact],
    leads: np.ndarray,
    telling: np.ndarray,
    positives: tuple[np.ndarray, np.ndarray],
    negatives: tuple[np.ndarray, np.ndarray],
) -> list[Fit]:
    """Give the rules that part some items from others best, best first, no two of the same name.

        score = (share of the positives for which it holds + share of the negatives for which it does not) / 2

    Both shares count one more item of which half is right, so that few items promise little. Singles are tried, then
    pairs with one of the best leads, then the best pairs with a third fact; each fact must bring its price.

    Args:
        facts: What rules are made of.
        leads: (n_facts,) bool: the facts that may stand first.
        telling: (n_facts,) bool: the facts that may follow an "or".
        positives: (n_facts, n_positives) float32, which fact holds for which, and what each counts; weights sum
            to the effective number of items.
        negatives: The same of the others.
    """
    (P, pos_weight), (N, neg_weight) = positives, negatives
    if not leads.any() or not pos_weight.size or not neg_weight.size:
        return []
    wp, wn = pos_weight.astype(np.float32), neg_weight.astype(np.float32)
    n_pos, n_neg = float(wp.sum()), float(wn.sum())

    def score(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
        return np.asarray(((hits + 0.5) / (n_pos + 1) + 1 - (alarms + 0.5) / (n_neg + 1)) / 2, np.float64)

    hit, alarm = P @ wp, N @ wn
    price = np.array([PRICE[fact.kind] for fact in facts])
    single = np.where(leads, score(hit, alarm) - price, -np.inf)
    first = np.argsort(-single, kind="stable")[: min(N_LEADS, int(leads.sum()))]
    found: list[tuple[float, tuple[int, ...], tuple[Join, ...]]] = [(float(single[i]), (int(i),), ()) for i in first]
    hit_both, alarm_both = (P[first] * wp) @ P.T, (N[first] * wn) @ N.T
    by_join: dict[Join, np.ndarray] = {
        "and": score(hit_both, alarm_both),
        "or": score(hit[first][:, None] + hit - hit_both, alarm[first][:, None] + alarm - alarm_both),
    }
    by_join = {join: values - price[first][:, None] - price for join, values in by_join.items()}
    by_join["or"][:, ~telling] = -np.inf
    pairs: list[tuple[float, tuple[int, ...], tuple[Join, ...]]] = []
    for join, values in by_join.items():
        for place in np.argsort(-values.ravel(), kind="stable")[: 2 * N_PAIRS]:
            row, second = divmod(int(place), len(facts))
            if second != first[row] and values[row, second] > single[first[row]]:
                pairs.append((float(values[row, second]), (int(first[row]), second), (join,)))
    pairs.sort(key=lambda pair: -pair[0])
    for value, (a, b), joins in pairs[:N_PAIRS]:
        p, q = (np.minimum(m[a], m[b]) if joins == ("and",) else np.maximum(m[a], m[b]) for m in (P, N))
        hit_three, alarm_three = P @ (wp * p), N @ (wn * q)
        thirds: dict[Join, np.ndarray] = {
            "and": score(hit_three, alarm_three),
            "or": score(hit + wp @ p - hit_three, alarm + wn @ q - alarm_three),
        }
        for join, values in thirds.items():
            dear = np.where(telling | (join == "and"), values - price[a] - price[b] - price, -np.inf)
            for third in np.argsort(-dear, kind="stable")[:3]:
                if third not in (a, b) and dear[third] > value:
                    found.append((float(dear[third]), (a, b, int(third)), (*joins, join)))
    best: dict[str, Fit] = {}
    for value, which, joins in sorted(found + pairs, key=lambda one: -one[0]):
        fit = Fit(Rule(tuple(facts[i] for i in which), joins), value)
        if len(which) == 1 or not any((fit.rule.holds() == facts[i].mask).all() for i in which):
            best.setdefault(fit.rule.name, fit)
    return list(best.values())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
