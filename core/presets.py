"""The papers' methods as named sets of settings: a recommender to start from and how its SAE is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import ConfigError, near


@dataclass(frozen=True)
class Preset:
    """A recipe with a name.

    Attributes:
        name: What people type.
        paper: Where the method comes from.
        summary: What it is good for and where it departs from the paper, for people.
        recommender: The recommender it was made for.
        recommender_settings: Settings of that recommender; a setting that a person gives wins.
        sae: Settings of `TrainConfig`; a setting that a person gives wins.
        train_on_items: The SAE trains on item probes beside the viewers.
    """

    name: str
    paper: str
    summary: str
    recommender: str
    recommender_settings: Mapping[str, Any] = field(default_factory=dict)
    sae: Mapping[str, Any] = field(default_factory=dict)
    train_on_items: bool = False

    def sae_with(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Give the settings of the SAE with a person's own over them.

        How many neurons there are is said by `d_sae` or by `expansion`: one of them takes the place of the other.
        """
        rivals = {"d_sae": "expansion", "expansion": "d_sae"}
        outdone = {rivals[name] for name in rivals if name in own}
        return {name: value for name, value in self.sae.items() if name not in outdone} | dict(own)


ARVIV = "Arviv et al., Extracting Interaction-Aware Monosemantic Concepts in Recommender Systems (AAAI 2026)"
SPISAK = "Spišák et al., From Knots to Knobs (2026)"
POPSTEER = "PopSteer (2026, arXiv 2601.15122)"
RECSAE = "RecSAE (2024, arXiv 2411.06112)"

MONOSEMANTIC: dict[str, Any] = {
    "variant": "relu", "d_sae": 22, "tied": True, "normalisation": "global", "decoder_norm": "start",
    "mse": 1.0, "cosine": 0.0, "kl_rho": 0.05, "init": "random",
    "n_steps": 6000, "batch_size": 256, "learning_rate": 3e-3, "decay_share": 0.2,
}  # fmt: skip

SEQUENCES: dict[str, Any] = {
    "variant": "topk", "k": 32, "normalisation": "none", "init": "linear", "fvu": 1.0, "cosine": 0.0,
    "dead_after": None, "restart_dead": False, "history_dropout": 0.5,
    "n_steps": 2000, "batch_size": 256, "learning_rate": 1e-3, "decay_share": 0.2,
}  # fmt: skip

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "monosemantic", ARVIV,
            "Few neurons, each as pure as can be: 22 tied ReLU neurons for viewers and items together.",
            "mf", {"negatives": "popularity"}, {**MONOSEMANTIC, "kl": 0.015, "prediction": 0.3}, train_on_items=True,
        ),
        Preset(
            "monosemantic-faithful", ARVIV,
            "The same 22 neurons, held to the recommender's own scores and under little pressure to be sparse.",
            "mf", {"negatives": "uniform"}, {**MONOSEMANTIC, "kl": 0.0005, "prediction": 5.0}, train_on_items=True,
        ),
        Preset(
            "knots", SPISAK,
            "Many fine knobs: the 128 strongest of 512 neurons rebuild a viewer almost exactly.",
            "elsa", {},
            {
                "variant": "topk", "d_sae": 512, "k": 128, "k_aux": 64, "normalisation": "unit", "cosine": 1.0,
                "prediction": 0.002, "history_dropout": 0.8,
                "n_steps": 2500, "batch_size": 512, "learning_rate": 4e-3, "decay_share": 0.2,
            },
        ),
        Preset(
            "popsteer", POPSTEER,
            "A very wide dictionary of a sequence model, 64 neurons a dimension of which 32 fire: to find and move "
            "popularity. Most of its neurons stay silent, as in the paper.",
            "sasrec", {},
            {**SEQUENCES, "expansion": 64, "decoder_norm": "start", "auxk_coefficient": 1 / 2, "aux_expansion": 2.0},
        ),
        Preset(
            "recsae", RECSAE,
            "A wide dictionary of a sequence model, 32 neurons a dimension of which 32 fire: to name its concepts.",
            "sasrec", {"n_layers": 1, "n_heads": 1, "max_length": 20, "loss": "bpr"},
            {**SEQUENCES, "expansion": 32, "decoder_norm": "epoch", "auxk_coefficient": 1 / 32, "aux_expansion": 0.5},
        ),
    )
}  # fmt: skip


def preset(name: str) -> Preset:
    """Give a preset by its name.

    Raises:
        ConfigError: There is no preset of this name.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}{near(name, PRESETS)}.", f"Use one of: {', '.join(PRESETS)}.")
    return PRESETS[name]
