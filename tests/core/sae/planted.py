"""Embeddings with a known dictionary, and settings for each variant that find it."""

import numpy as np
import torch

from core.sae.config import TrainConfig
from core.sae.model import SAE
from core.sae.variants import PreActs


def planted(n=1500, d_in=12, n_directions=12, n_active=2, seed=0):
    """Sums of few known directions, each with a positive weight."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((n_directions, d_in))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = np.zeros((n, n_directions))
    for row in weights:
        row[rng.choice(n_directions, n_active, replace=False)] = rng.uniform(0.5, 1.5, n_active)
    return (weights @ directions).astype(np.float32), directions


def recovered(sae: SAE, directions: np.ndarray) -> float:
    """Give the mean over directions of the cosine with the decoder row that is nearest."""
    rows = sae.W_dec / np.linalg.norm(sae.W_dec, axis=1, keepdims=True)
    return float((directions @ rows.T).max(axis=1).mean())


def as_pre_acts(values: torch.Tensor) -> PreActs:
    """Give these (n, d_sae) as values before the gate: those that rows of the identity are encoded to."""
    return PreActs(torch.eye(len(values)), None, values.T.contiguous(), torch.zeros(values.shape[1]))


COMMON = {
    "d_sae": 16, "k": 2, "normalisation": "none", "mse": 1.0, "cosine": 0.0, "n_steps": 600, "batch_size": 128,
    "learning_rate": 1e-2,
}  # fmt: skip
BY_VARIANT = {
    "relu": TrainConfig(variant="relu", l1=0.02, **COMMON),
    "topk": TrainConfig(variant="topk", **COMMON),
    "batchtopk": TrainConfig(variant="batchtopk", **COMMON),
    "jumprelu": TrainConfig(variant="jumprelu", **COMMON),
}
