"""Generated catalogues and scores for tests of the pages and the elements."""

import numpy as np

from dashboard.components.steer import SteerInput, SteerNeuron, SteerTarget, pack_items, rerank

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


def steer_input(
    n_items: int = 20_000,
    n_neurons: int = 8,
    *,
    hostile: bool = False,
    version: int = 0,
    start: float = 0.0,
    without: list[int] | None = None,
    seed: int = 0,
) -> SteerInput:
    """A viewer over `n_items` items in eight genres; neuron j pushes the items of genre j up and, a little, others down."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, len(GENRES), n_items)
    items = [
        (
            f"{_FIRST[rng.integers(len(_FIRST))]} {_SECOND[rng.integers(len(_SECOND))]} {i}",
            int(1930 + rng.integers(95)) if i % 17 else None,
            (GENRES[genre[i]],),
        )
        for i in range(n_items)
    ]
    if hostile:
        items = [(HOSTILE[i % len(HOSTILE)], year, genres) for i, (_, year, genres) in enumerate(items)]
    base = rng.normal(0, 1, n_items).astype(np.float32)
    neurons = []
    for j in range(n_neurons):
        row = (0.3 * (genre == j % len(GENRES)) + rng.normal(0, 0.08, n_items) - 0.05).astype(np.float32)
        label = HOSTILE[j % len(HOSTILE)] if hostile else LABELS[j % len(LABELS)]
        neurons.append(SteerNeuron(17 + 31 * j, label, 1.5 + j / 3, max(0.0, 1.2 - j / 2), row, start * (1.5 + j / 3)))
    seen = np.arange(0, n_items, 40)
    tilted = base + rng.normal(0, 0.05, n_items).astype(np.float32)
    return SteerInput(
        items=pack_items(items),
        base_scores=base,
        reconstructed=rerank(tilted, [], [], seen, 20),
        seen=seen,
        neurons=[x for x in neurons if x.neuron not in (without or [])],
        target=SteerTarget("Horror", genre == 0),
        version=version,
    )
