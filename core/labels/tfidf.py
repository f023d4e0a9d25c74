"""The labels of "From Knots to Knobs": one tag a neuron, by TF-IDF in either orientation, and their confidence."""

from typing import Literal

import numpy as np

Orientation = Literal["knots-tag", "knots-neuron"]
"""What counts as a document: each tag, with the neurons as its words, or each neuron, with the tags as its words."""


def tfidf_scores(item_acts: np.ndarray, masks: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Give how telling each tag is for each neuron (Spisak et al. 2026, arXiv 2601.11182, and the SARSSA code).

        M = P @ A          P[t, i] = 1 / number of items with tag t, where i has it
        tf = M / sum of its document,   idf = ln((D + 1) / (df + 1)) + 1,   df = documents in which the word is above 0

    Departure: catalogues say whether an item has a tag, not how often it was given, so tags count once an item.

    Args:
        item_acts: (n_items, d_sae) activations; only values above 0 count.
        masks: (n_tags, n_items) bool.
        orientation: What counts as a document.

    Returns:
        (n_tags, d_sae), >= 0; a neuron that fires on no item, and a tag of none, have 0 throughout.
    """
    weights = masks / np.maximum(masks.sum(axis=1, keepdims=True), 1)
    M = weights.astype(np.float64) @ np.maximum(item_acts, 0).astype(np.float64)
    axis = 0 if orientation == "knots-neuron" else 1  # words run along this axis of a document
    total = M.sum(axis=axis, keepdims=True)
    tf = np.divide(M, total, out=np.zeros_like(M), where=total > 0)
    df = (M > 0).sum(axis=1 - axis, keepdims=True)
    return np.asarray(tf * (np.log((M.shape[1 - axis] + 1) / (df + 1)) + 1))


def point_biserial(item_acts: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Give the correlation of activations with having a fact: the confidence of any label, whoever gave it.

        r = (mean with - mean without) / s * sqrt(p (1 - p))

    with s the population's deviation and p the share of the items that have it; Pearson's r with a 0/1 variable.

    Returns:
        (n_masks, d_sae) in [-1, 1]; NaN where all items have it or none, or all fire alike.
    """
    acts = np.maximum(item_acts, 0).astype(np.float64)
    acts = acts - acts.mean(axis=0)
    facts = masks.astype(np.float64)
    facts = facts - facts.mean(axis=1, keepdims=True)
    length = np.outer(np.linalg.norm(facts, axis=1), np.linalg.norm(acts, axis=0))
    return np.clip(np.divide(facts @ acts, length, out=np.full(length.shape, np.nan), where=length > 1e-12), -1, 1)
