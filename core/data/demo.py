"""The embedded demo: real films, and viewers drawn with known tastes, so that what an SAE finds can be checked.

    P(viewer u watches film i)  ~  popularity_i ** liking_u * exp(STRENGTH * match_ui),   without replacement

`match` is the largest weight of the tastes of u that i belongs to. Everything about the viewers is invented.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from core.data.assemble import assemble
from core.data.catalogue import CATALOGUE
from core.data.dataset import Columns, Dataset
from core.data.layouts.generic import read_items
from core.data.layouts.raw import RawLog
from core.seeding import generator

C = Columns()
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "data" / "demo"
"""The folder of the tracked film table."""
GENRES = ("Animation", "Documentary", "Horror", "Musical", "Romance", "Sci-Fi", "War", "Western")
"""Genres that viewers may have as a taste: those that say more than "a film"."""
ERAS = {"before 1960": (0, 1959), "1970s": (1970, 1979), "1980s": (1980, 1989), "2010s": (2010, 2019)}
"""Eras that viewers may have as a taste: first and last year."""
MIN_ITEMS = 18
"""A theme with fewer films is nobody's taste."""

STRENGTH = 4.0
"""How much a film of a taste of weight 1 is preferred: exp(4), about 55 times."""
N_TASTES = {1: 0.3, 2: 0.45, 3: 0.25}
"""How many tastes a viewer has, and how often."""
HISTORY = (55.0, 0.55, 15, 200)
"""Films watched: median, standard deviation of the logarithm, least, most."""
POPULARITY_SPREAD = 1.2
"""Standard deviation of the logarithm of the popularity of films, which stays within two of them."""
FANS_SHARE = 0.12
"""Share of viewers who want what everybody watches: their liking is 2 in place of about 1."""
DAYS = 730
"""Days over which viewers watch."""


def planted_concepts(dataset: Dataset) -> dict[str, np.ndarray]:
    """Give the tastes that were planted: theme, genre or era to the boolean (n_items,) mask of its films."""
    return concepts_of_table(dataset.item_table)


def concepts_of_table(items: pd.DataFrame) -> dict[str, np.ndarray]:
    """Give the same for an item table with `year`, `genres` and `tags`."""
    tags = sorted({tag for row in items[C.tags] for tag in row})
    year = items[C.year].fillna(-1).to_numpy(dtype=np.int64)
    masks = {tag: np.array([tag in row for row in items[C.tags]], dtype=bool) for tag in tags}
    masks |= {genre: np.array([genre in row for row in items[C.genres]], dtype=bool) for genre in GENRES}
    masks |= {era: (year >= low) & (year <= high) for era, (low, high) in ERAS.items()}
    return {name: mask for name, mask in masks.items() if mask.sum() >= MIN_ITEMS}


def make_demo(seed: int = 0, n_users: int = 2400) -> Dataset:
    """Draw the demo's dataset: the same seed and number of viewers give the same one."""
    return assemble(demo_log(DEMO_FOLDER, seed, n_users), licence=CATALOGUE["demo"].licence)


def demo_log(folder: Path, seed: int = 0, n_users: int = 2400) -> RawLog:
    """Draw viewers over the film table of a folder.

    Returns:
        A log with timestamps; `users` tells the planted tastes of each viewer.
    """
    items, notes = read_items(folder / "items.csv")
    concepts = concepts_of_table(items)
    rng = generator(seed, "demo")
    tastes = _draw_tastes(rng, n_users, len(concepts))
    match = _match(tastes, np.array(list(concepts.values())))
    popularity = POPULARITY_SPREAD * np.clip(rng.standard_normal(len(items)), -2, 2)  # of the logarithm
    liking = np.where(rng.random(n_users) < FANS_SHARE, 2.0, rng.normal(0.9, 0.2, n_users))
    preference = liking[:, None] * popularity + STRENGTH * match
    median, spread, least, most = HISTORY
    wanted = np.rint(median * np.exp(spread * rng.standard_normal(n_users)))
    lengths = np.clip(wanted, least, min(most, len(items) // 2)).astype(np.int64)
    # The largest sums of log-weight and Gumbel noise are a draw without replacement (Vieira 2014).
    order = np.argsort(-(preference + rng.gumbel(size=preference.shape)), axis=1)
    item = order[np.arange(len(items)) < lengths[:, None]]
    user = np.repeat(np.arange(n_users), lengths)
    ids = pd.Series([f"viewer-{u + 1:04d}" for u in range(n_users)])
    first_day = pd.Timestamp(year=int(items[C.year].max()) + 1, month=1, day=1)
    names = np.array(list(concepts))
    interactions = pd.DataFrame(
        {
            C.user: pd.Categorical.from_codes(user, categories=ids),
            C.item: pd.Categorical.from_codes(item, categories=items[C.item]),
            C.timestamp: _draw_times(rng, user, n_users) + float(first_day.timestamp()),
        }
    )
    users = pd.DataFrame({C.user: ids, "tastes": [", ".join(names[row > 0]) for row in tastes]})
    said = "The films are real; the viewers are simulated: a program drew them with tastes that are known."
    return RawLog("demo", interactions, items, users, (said, *notes), simulated=True)


def _draw_tastes(rng: np.random.Generator, n_users: int, n_concepts: int) -> np.ndarray:
    """Give (n_users, n_concepts) weights in [0.75, 1] of each viewer's one to three tastes, 0 elsewhere."""
    n_tastes = rng.choice(list(N_TASTES), size=n_users, p=list(N_TASTES.values()))
    place = np.argsort(rng.random((n_users, n_concepts)), axis=1).argsort(axis=1)
    return np.where(place < n_tastes[:, None], rng.uniform(0.75, 1.0, (n_users, n_concepts)), 0.0)


def _match(tastes: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Give (n_users, n_items): the largest weight of a viewer's tastes that the item belongs to."""
    match = np.zeros((len(tastes), masks.shape[1]))
    for weight, mask in zip(tastes.T, masks, strict=True):
        fans = np.flatnonzero(weight)
        match[np.ix_(fans, mask)] = np.maximum(match[np.ix_(fans, mask)], weight[fans, None])
    return match


def _draw_times(rng: np.random.Generator, user: np.ndarray, n_users: int) -> np.ndarray:
    """Give seconds after the first day: each viewer joins one day, stays some months and watches in the evening."""
    joins = rng.uniform(0, 0.7 * DAYS, n_users)
    stays = rng.uniform(60, 0.3 * DAYS, n_users)
    day = np.floor(joins[user] + stays[user] * rng.random(len(user)))
    return day * 86_400 + np.rint(np.clip(rng.normal(20.0, 2.0, len(user)), 6, 23.9) * 3600)
