"""A run of neurons whose concepts are known, without a recommender: items by genre, theme and decade.

`python -m tests.core.labels.planted WORKSPACE BASE_URL N` labels it, to be stopped from outside.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from core.labels.costs import Price
from core.labels.endpoint import endpoint_of
from core.labels.plan import Plan
from core.labels.runner import label_neurons
from core.labels.split import explaining
from core.workspace import Workspace
from tests.core.catalogues import catalogue

GENRES = ("Horror", "Comedy", "Western", "Musical", "Documentary", "Crime", "Fantasy", "Romance")
N_THEMES = 25
_SYLLABLES = ("ba", "ko", "li", "mu", "ra", "te", "zo", "ni", "pe", "sha", "du", "vel", "gor", "an")
PRICE = Price(1.0, 4.0)


def themes(n: int = N_THEMES) -> list[str]:
    """Give different words that nobody could guess."""
    return ["".join(_SYLLABLES[i // 14**k % 14] for k in range(3)) + "ology" for i in range(n)]


def planted(
    folder: Path, n_neurons: int, n_items: int = 600, titles: dict[int, str] | None = None, n_themes: int = N_THEMES
) -> Any:
    """Give what labels read of a run: neuron j fires on the items of one theme, the more the earlier they are.

    Args:
        folder: Of the workspace.
        n_neurons: The last one fires on 11 items only.
        n_items: Each has one of 8 genres and one of the themes.
        titles: Of some items; others have titles of their own.
        n_themes: Neurons beyond so many fire on the items of another one.
    """
    rng = np.random.default_rng(0)
    theme = np.arange(n_items) % n_themes
    names = themes(n_themes)
    words = [" ".join(w.capitalize() for w in _made(rng)) for _ in range(n_items)]
    data = catalogue(
        [[GENRES[g]] for g in rng.integers(0, len(GENRES), n_items)],
        [int(y) for y in rng.integers(1950, 2020, n_items)],
        [[names[t]] for t in theme],
        [list(rng.choice(n_items, 12, replace=False)) for _ in range(40)],
        [(titles or {}).get(i, words[i]) for i in range(n_items)],
    )
    acts = np.zeros((n_items, n_neurons), np.float32)
    for j in range(n_neurons):
        items = np.flatnonzero(theme == j % n_themes)[: 11 if j == n_neurons - 1 else None]
        acts[items, j] = np.linspace(1.0, 0.3, len(items)) * (1 + 0.1 * rng.random(len(items)))
    frame = pd.DataFrame(
        {"neuron": np.arange(n_neurons), "alive": True, "n_users_firing": np.arange(n_neurons)[::-1], "label": "x"}
    )
    neighbours = np.roll(np.arange(n_neurons), 1)[:, None]
    return SimpleNamespace(
        id="planted-00000000", seed=0, workspace=Workspace(folder), dataset=data,
        table=SimpleNamespace(frame=frame, neighbours=neighbours), activations=lambda _of: sparse.csc_matrix(acts),
        theme_of=lambda j: names[j % n_themes],
    )  # fmt: skip


def large(folder: Path, n_neurons: int) -> Any:
    """Give a run whose neurons all have a theme of their own, of twenty items."""
    return planted(folder, n_neurons, 20 * n_neurons, n_themes=n_neurons)


def strongest(run: Any, neuron: int, place: int = 0) -> int:
    """Give an explaining item that fires a neuron, the strongest first."""
    acts = run.activations("items")[:, [neuron]].toarray().ravel()
    order = np.argsort(-np.where(explaining(run.dataset.items.ids), acts, 0), kind="stable")
    return int(order[place])


def plan(base_url: str, **settings: Any) -> Plan:
    """Give a plan for the test server."""
    settings = {"price": PRICE, "backoff_s": 0.01, "timeout_s": 5.0} | settings
    return Plan(endpoint_of("reader", base_url, {}), **settings)


def _made(rng: np.random.Generator) -> list[str]:
    return ["".join(rng.choice(_SYLLABLES, 3)) for _ in range(2)]


def main() -> None:
    folder, base_url, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    try:
        label_neurons(large(folder, n), plan(base_url))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
