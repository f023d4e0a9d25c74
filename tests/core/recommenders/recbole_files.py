"""Writes checkpoints as RecBole 1.x does, without RecBole: stand-ins that carry the names of its classes."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

CLASSES = {
    "SASRec": "recbole.model.sequential_recommender.sasrec",
    "GRU4Rec": "recbole.model.sequential_recommender.gru4rec",
    "BPR": "recbole.model.general_recommender.bpr",
    "LightGCN": "recbole.model.general_recommender.lightgcn",
    "NeuMF": "recbole.model.general_recommender.neumf",
}


class Config:
    """RecBole's Config: a bag of values."""


class ModelType(Enum):
    """RecBole's kinds of models."""

    GENERAL = 1
    SEQUENTIAL = 2


@contextmanager
def recbole_modules() -> Iterator[Mapping[str, Any]]:
    """Let pickle find the stand-ins under RecBole's names; gives them by name."""
    found: dict[str, Any] = {name: type(name, (), {"__module__": place}) for name, place in CLASSES.items()}
    found |= {"Config": Config, "ModelType": ModelType}
    Config.__module__, ModelType.__module__ = "recbole.config.configurator", "recbole.utils.enum_type"
    modules: dict[str, ModuleType] = {}
    for kind in found.values():
        parts = kind.__module__.split(".")
        for n in range(1, len(parts) + 1):
            modules.setdefault(".".join(parts[:n]), ModuleType(".".join(parts[:n])))
        setattr(modules[kind.__module__], kind.__name__, kind)
    for name, module in modules.items():
        sys.modules[name] = module
    try:
        yield found
    finally:
        for name in modules:
            del sys.modules[name]


def write_checkpoint(
    path: Path,
    model: str,
    settings: Mapping[str, Any],
    state_dict: Mapping[str, torch.Tensor],
    other_parameter: Mapping[str, Any] | None = None,
    protocol: int = 4,
) -> Path:
    """Write what `Trainer._save_checkpoint` of RecBole 1.2 writes."""
    with recbole_modules() as named:
        config = Config()
        config.parameters = {"General": ["seed"]}
        config.model, config.model_class = model, named[model]
        config.final_config_dict = {
            "model": model,
            "MODEL_TYPE": ModelType.GENERAL,
            "device": torch.device("cuda", 0),
            "topk": [10],
            **settings,
        }
        moments = {
            place: {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(v), "exp_avg_sq": torch.zeros_like(v)}
            for place, v in enumerate(state_dict.values())
        }
        state = {
            "config": config,
            "epoch": 3,
            "cur_step": 0,
            "best_valid_score": np.float64(0.25),
            "state_dict": state_dict,
            "other_parameter": dict(other_parameter or {}),
            "optimizer": {
                "state": moments,
                "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), "params": list(moments)}],
            },
        }
        torch.save(state, path, pickle_protocol=protocol)
    return path
