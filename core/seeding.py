"""One seed for a run, and an independent generator for each purpose: never global state."""

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: str) -> int:
    """Give the seed of one purpose (for example ``"split"``) out of the run's seed: 0 <= seed < 2**63.

    The same seed and purpose give the same number on every machine; two purposes give unrelated ones.
    """
    digest = hashlib.sha256("\x1f".join([str(int(seed)), *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Give a fresh NumPy generator for one purpose of a run (see `derive_seed`)."""
    return np.random.default_rng(derive_seed(seed, *purpose))
