"""Which titles belong to one series, told from the titles alone: so that examples are not four parts of one film."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

MOST_OF_A_SERIES = 2
"""Titles of one series among the examples of a concept."""
LARGEST = 30
"""Titles that share a stem and are more are no series: catalogues name things "Track 17" or "Product 204"."""

_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_AFTER = re.compile(r"(?<=\w)[^\w\s]*(?::\s|\s[-–—]\s).*", re.DOTALL)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_PART = re.compile(r"(?:\d{1,4}|i|ii|iii|iv|v|vi|vii|viii|ix|x|xi|xii|xiii|[1-9]d)")
_COUNTING = {"part", "chapter", "episode", "volume", "vol", "no", "number", "season", "one", "two", "three"}
_AGAIN = {"returns", "forever", "again", "begins", "strikes", "back", "reloaded", "revolutions", "rises"}
_ARTICLES = {"the", "a", "an", "le", "la", "les", "il", "der", "die", "das", "el", "los"}
_SMALL = _ARTICLES | {
    "of",
    "on",
    "in",
    "and",
    "to",
    "for",
    "from",
    "with",
    "at",
    "my",
    "i",
    "you",
    "is",
    "no",
    "it",
    "de",
}


def stem(title: str) -> tuple[str, ...]:
    """Give the words of a title without what tells one part of a series from another.

    Articles at either end, asides in brackets, what follows a colon or a dash, and numbers of parts at the end go.

    >>> stem("Star Trek VI: The Undiscovered Country"), stem("Godfather: Part II, The"), stem("Alien³")
    (('star', 'trek'), ('godfather',), ('alien',))
    """
    raised = re.sub(r"(?=[¹²³])", " ", title)
    text = _ASIDE.sub(" ", unicodedata.normalize("NFKC", raised).casefold())
    head, comma, end = text.rpartition(",")
    if comma and end.strip() in _ARTICLES:
        text = head
    text = _AFTER.sub("", text)
    words = [word.replace("’", "'") for word in _WORD.findall(text.replace("&", " and "))]
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    while len(words) > 1 and (_PART.fullmatch(words[-1]) or words[-1] in _COUNTING | _AGAIN):
        words.pop()
    return tuple(words)


def series_of(titles: Sequence[str]) -> np.ndarray:
    """Give a number for the series of each title; titles of one series have the same one.

    Titles are of one series where their stems are the same, where both stems begin with the same two words that mean
    something ("Indiana Jones and the ..."), or where one ends with the whole stem of another ("Beneath the Planet of
    the Apes"). A stem of one word also covers its plural ("Aliens") and what it is joined to ("Batman & Robin").
    More than `LARGEST` titles are no series: each then stands alone. These are rules of thumb; they are meant for
    choosing what to show, and nothing is counted by them.

    Returns:
        (n,) int64: the position of the first title of the series.
    """
    stems = [stem(title) for title in titles]
    bases = {words for words in stems if _meaning(words) >= 2 or len(words) == 1}
    first: dict[tuple[str, ...], int] = {}
    out = np.empty(len(stems), np.int64)
    for i, words in enumerate(stems):
        parts = [words[start:] for start in range(1, len(words) - 1)] + [words[:1]] * (words[1:2] == ("and",))
        key = _key(next((part for part in parts if part in bases), words))
        out[i] = first.setdefault(key, i) if key else i
    large = [series for series, n in Counter(out.tolist()).items() if n > LARGEST]
    alone = np.isin(out, large)
    out[alone] = np.flatnonzero(alone)
    return out


def at_most(items: Iterable[int], series: np.ndarray, n: int, shown: Counter[int] | None = None) -> list[int]:
    """Give the first `n` of some items, in their order, with at most `MOST_OF_A_SERIES` of one series.

    Args:
        items: Positions in the catalogue.
        series: (n_items,) of `series_of`.
        n: How many.
        shown: How many of each series were chosen before; grows.
    """
    counts: Counter[int] = Counter() if shown is None else shown
    chosen: list[int] = []
    for item in items:
        if len(chosen) == n:
            break
        key = int(series[item])
        if counts[key] < MOST_OF_A_SERIES:
            counts[key] += 1
            chosen.append(int(item))
    return chosen


def _key(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(words) >= 2 and _meaning(words[:2]) == 2:
        return words[:2]
    if len(words) == 1 and len(words[0]) > 4:
        return (words[0].removesuffix("s"),)
    return words


def _meaning(words: tuple[str, ...]) -> int:
    return sum(word not in _SMALL for word in words)
