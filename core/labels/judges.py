"""Who decides what a label says of an item. Keyword labels are rules; other texts are read for the facts they name."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from core.labels.facts import Fact
from core.labels.rules import MAX_FACTS, Join, Rule

Judge = Callable[[str, np.ndarray], np.ndarray]
"""From a label and (n,) items to (n,) bool: which of them it says fire the neuron. The plug for a language model's."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_CLASS = {"genre": 0, "tag": 0, "era": 1, "popularity": 2}


def facts_named(text: str, facts: Sequence[Fact]) -> list[int]:
    """Give the facts that a text names: all of a fact's words stand in it, in their order, singular or plural.

    Of facts that share words the longest counts: "film noir" does not name "film". Titles and "like" are never read.

    >>> mask = np.ones(1, bool)
    >>> facts = [Fact("Horror", "genre", mask), Fact("1980s", "era", mask), Fact("Space opera", "tag", mask)]
    >>> facts_named("Space operas of the 1980s", facts)
    [1, 2]
    """
    said = _words(text)
    found: list[tuple[int, int, int]] = []  # start, end, fact
    for i, fact in enumerate(facts):
        own = _words(fact.name) if fact.kind in _CLASS else []
        for start in range(len(said) - len(own) + 1 if own else 0):
            if said[start : start + len(own)] == own:
                found.append((start, start + len(own), i))
                break
    longest = [
        fact
        for start, end, fact in found
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in found)
    ]
    return sorted(set(longest))


def rule_of(text: str, facts: Sequence[Fact]) -> Rule | None:
    """Give a text as a rule over facts; None where it names none: it cannot be tested by facts.

    Genres and tags are joined by "or", eras and popularity by "and"; at most three facts, the first ones named.
    """
    named = [facts[i] for i in facts_named(text, facts)][:MAX_FACTS]
    if not named:
        return None
    n_of_class = Counter(_CLASS[fact.kind] for fact in named)
    named.sort(key=lambda fact: (-n_of_class[_CLASS[fact.kind]], _CLASS[fact.kind]))  # alternatives come first
    joins: list[Join] = ["or" if _CLASS[a.kind] == _CLASS[b.kind] else "and" for a, b in pairwise(named)]
    return Rule(tuple(named), tuple(joins))


def rule_judge(rule: Rule) -> Judge:
    """Give the judge of a label that is a rule."""
    holds = rule.holds()
    return lambda _, items: holds[items]


def _words(text: str) -> list[str]:
    words = _WORD.findall(text.casefold())
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words]
