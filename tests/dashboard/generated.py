"""Generated catalogues and scores for tests of the pages and the elements."""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dashboard.components.steer import Catalogue, SteerAnswer, SteerInput, SteerNeuron, SteerTarget, pack_items, rerank

LABELS = (
    "Horror · 1980s",
    "Documentary",
    "Film noir · 1940s",
    "Family animation",
    "Blockbuster",
    "Slow-burn thriller",
    "Science fiction",
    "Romantic comedy",
)
GENRES = ("Horror", "Documentary", "Film-Noir", "Animation", "Action", "Thriller", "Sci-Fi", "Romance")
_FIRST = ("Velvet", "Broken", "Silent", "Hidden", "Crimson", "Lonely", "Midnight", "Golden", "Glass", "Paper", "Iron")
_SECOND = ("Kingdom", "Harbor", "Echo", "Letter", "River", "Orchard", "Garden", "Voyage", "Mirror", "Promise", "Season")
HOSTILE = (
    "<img src=x onerror=\"window.__pwned=1;fetch('http://evil.test/a')\">",
    "<script>window.__pwned=1</script>",
    "$\\frac{1}{0}$ **bold** ![x](http://evil.test/b.png) [link](javascript:window.__pwned=1)",
    "</style><style>*{display:none}</style><svg onload=window.__pwned=1>",
    "שלום עולם 2001: מסע \u202eevil\u202c بالعربية",
    "Family 👩‍👩‍👧‍👦 & friends 🎬",
    "x" * 10_000,
    "line\nbreak\ttab\x00null \ud800",
    "",
)


class _World(NamedTuple):
    items: Catalogue
    genre: np.ndarray
    base: np.ndarray
    rows: np.ndarray
    reconstructed: np.ndarray
    seen: np.ndarray


@lru_cache(maxsize=8)
def _world(n_items: int, n_neurons: int, hostile: bool, seed: int) -> _World:
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, len(GENRES), n_items)
    names = rng.integers(0, (len(_FIRST), len(_SECOND)), (n_items, 2))
    years = 1930 + rng.integers(0, 95, n_items)
    items = [
        (
            HOSTILE[i % len(HOSTILE)] if hostile else f"{_FIRST[names[i, 0]]} {_SECOND[names[i, 1]]} {i}",
            int(years[i]) if i % 17 else None,
            (GENRES[genre[i]],),
        )
        for i in range(n_items)
    ]
    base = rng.normal(0, 1, n_items).astype(np.float32)
    own = genre == np.arange(n_neurons)[:, None] % len(GENRES)
    rows = (0.3 * own + rng.normal(0, 0.08, own.shape) - 0.05).astype(np.float32)
    seen = np.arange(0, n_items, 40)
    tilted = base + rng.normal(0, 0.05, n_items).astype(np.float32)
    return _World(pack_items(items), genre, base, rows, rerank(tilted, [], [], seen, 20), seen)


def steer_input(
    n_items: int = 20_000,
    n_neurons: int = 8,
    *,
    hostile: bool = False,
    version: int = 0,
    values: Mapping[int, float] | None = None,
    without: Sequence[int] = (),
    seed: int = 0,
) -> SteerInput:
    """A viewer over `n_items` items in eight genres; neuron j pushes genre j up and, a little, the others down."""
    world = _world(n_items, n_neurons, hostile, seed)
    neurons = []
    for j, row in enumerate(world.rows):
        neuron = 17 + 31 * j
        label = HOSTILE[j % len(HOSTILE)] if hostile else LABELS[j % len(LABELS)]
        value = (values or {}).get(neuron, 0.0)
        target = SteerTarget(GENRES[j % len(GENRES)], world.genre == j % len(GENRES))
        neurons.append(SteerNeuron(neuron, label, 1.5 + j / 3, max(0.0, 1.2 - j / 2), row, value, target))
    return SteerInput(
        items=world.items,
        base_scores=world.base,
        reconstructed=world.reconstructed,
        seen=world.seen,
        neurons=[x for x in neurons if x.neuron not in without],
        version=version,
    )


def curved_input(given: SteerInput, delay_s: float = 0.0) -> SteerInput:
    """Give the same viewer under a scorer that is not linear: pushes saturate, and the server answers."""
    rows = np.array([x.row for x in given.neurons])

    def recompute(values: Sequence[float]) -> SteerAnswer:
        time.sleep(delay_s)
        change = np.tanh(np.float32(values) @ rows).astype(np.float32)
        return SteerAnswer(given.base_scores + change, np.tile(change / len(rows), (len(rows), 1)))

    return given._replace(neurons=[x._replace(row=None) for x in given.neurons], recompute=recompute)
