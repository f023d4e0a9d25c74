"""Which items a label is made from and which it is tested on: parted by the items' ids, before anything is chosen."""

import hashlib
from collections.abc import Iterable

import numpy as np

EXPLAIN_SHARE = 0.6


def explaining(item_ids: Iterable[str]) -> np.ndarray:
    """Give the (n_items,) mask of the items that a label may be made from; the others (40 %) are kept for its test.

    By the SHA-256 of the id alone: the same for every neuron, seed, model and machine, so no source of labels can see
    the items on which another is tested.
    """
    parts = (hashlib.sha256(f"label-split\x1f{name}".encode()).digest()[:8] for name in item_ids)
    return np.array([int.from_bytes(part, "big") < EXPLAIN_SHARE * 2**64 for part in parts], bool)
