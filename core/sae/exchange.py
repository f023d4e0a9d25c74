"""An SAE in the formats of others: the `cfg.json` and tensors of SAELens, and named arrays. No file is opened here.

SAELens (its version 6, `saes/sae.py` and a module an architecture) computes

    x_n   = norm_in(x)                                   none | constant_norm_rescale | layer_norm
    acts  = gate((x_n - b_dec * apply_b_dec_to_input) @ W_enc + b_enc)
    x_hat = norm_out(acts @ W_dec + b_dec)

which is what `core.sae.model` computes, with other scales:

| here | there | what is multiplied |
|---|---|---|
| `none` | `none` | nothing |
| `global`, x / s | `none` | W_enc / s, W_dec * s, b_dec * s |
| `unit`, x / (length + 1e-7) | `constant_norm_rescale`, x sqrt(d_in) / length | the same with s = sqrt(d_in) |
| `sample`, (x - mean) / (deviation + 1e-7) | `layer_norm`, the same with 1e-5 and on the way back 0 | nothing |
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np

from core.errors import DataError, near, one_line
from core.sae.model import EPSILON, LARGEST, SAE, GateKind, NormalisationKind, SAEConfig

SAELENS = "6.54.12"
"""The version of SAELens whose format this is."""
ARCHITECTURES: dict[str, GateKind] = {
    "standard": "relu", "topk": "topk", "jumprelu": "threshold",
    "batchtopk": "threshold", "matryoshka_batchtopk": "threshold",
}  # fmt: skip
"""What SAELens calls a gate. The last two are of trainings, which SAELens saves as `jumprelu` when they are over."""
NORMALISATIONS: dict[str, NormalisationKind] = {
    "none": "none", "constant_norm_rescale": "unit", "layer_norm": "sample",
}  # fmt: skip
UNFOLDED = {
    "expected_average_only_in": "sae.fold_activation_norm_scaling_factor(factor)",
    "covariance_whitening": "sae.fold_activation_whitening(...)",
}
"""Normalisations of which the numbers are not in the folder, and what SAELens offers to get rid of them."""
SLACK: dict[NormalisationKind, float] = {"unit": EPSILON, "sample": 1e-5}
"""What one side adds to a length or a deviation and the other does not."""
TOLERANCE = 1e-4
"""Largest relative difference that this may make to an embedding."""
AGAIN = "Load it with SAELens 6 and save it again: sae.save_model(folder)."

Shapes = Mapping[str, tuple[int, ...]]


class Layout(NamedTuple):
    """What a `cfg.json` says of the tensors beside it."""

    architecture: str
    d_in: int
    d_sae: int
    shapes: Shapes
    """Name -> shape of every tensor that has to be there; no other may be."""


def to_saelens(sae: SAE) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Give the `cfg.json` and the tensors with which SAELens computes what `sae` computes.

    What has to be folded into the weights is, in float64 and rounded once. `metadata.steerlens` says what was.
    """
    config = sae.config
    kind: NormalisationKind = "none" if config.normalisation == "global" else config.normalisation
    scale = {"global": sae.global_scale, "unit": config.d_in**0.5}.get(config.normalisation, 1.0)
    name = {"relu": "standard", "topk": "topk", "threshold": "jumprelu"}[config.gate]
    cfg = {
        "architecture": name,
        "d_in": config.d_in,
        "d_sae": config.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": config.centre_input,
        "normalize_activations": {ours: theirs for theirs, ours in NORMALISATIONS.items()}[kind],
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": SAELENS,
            "sae_lens_training_version": None,
            "steerlens": {
                "normalisation": config.normalisation,
                "folded_scale": scale,
                "levels": list(config.levels),
            },
        },
    }
    if config.gate == "topk":
        cfg |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    return cfg, _tensors(_rescaled(sae, scale))


def read_layout(cfg: Mapping[str, Any]) -> Layout:
    """Say which tensors belong to a `cfg.json` of SAELens.

    Raises:
        DataError: It is of another architecture, or says what the inference model here cannot say.
    """
    name = _text(cfg.get("architecture", "standard"))
    if name not in ARCHITECTURES:
        raise DataError(
            f"cfg.json is of the architecture {name!r}{near(name, ARCHITECTURES)}.",
            f"Use an SAE of one of these: {', '.join(ARCHITECTURES)}.",
        )
    norm = _text(cfg.get("normalize_activations", "none"))
    if norm not in NORMALISATIONS:
        raise DataError(
            f"cfg.json has normalize_activations {norm!r}{near(norm, NORMALISATIONS)}, which cannot be done here.",
            f"In SAELens call {UNFOLDED[norm]}, then sae.save_model(folder)." if norm in UNFOLDED else AGAIN,
        )
    activation = _text(cfg.get("activation_fn_str") or cfg.get("activation_fn") or "relu")
    if activation != "relu" or cfg.get("finetuning_scaling_factor"):
        what = "a finetuning_scaling_factor" if activation == "relu" else f"the activation function {activation!r}"
        raise DataError(f"cfg.json has {what}, as SAELens had before its version 6.", AGAIN)
    d_in, d_sae = (_whole(cfg, key) for key in ("d_in", "d_sae"))
    if d_in * d_sae > LARGEST:
        raise DataError(
            f"cfg.json says d_in {d_in:,} and d_sae {d_sae:,}: matrices of {d_in * d_sae:,} weights.",
            f"Bring an SAE with d_in times d_sae up to {LARGEST:,}.",
        )
    shapes: dict[str, tuple[int, ...]] = dict(_shapes(d_in, d_sae))
    if name == "topk" and not 1 <= _whole(cfg, "k") <= d_sae:
        raise DataError(f"cfg.json has k {cfg['k']} with d_sae {d_sae}.", "Give k neurons, at most d_sae, in cfg.json.")
    if name == "jumprelu":
        shapes["threshold"] = (d_sae,)
    elif ARCHITECTURES[name] == "threshold":
        shapes["topk_threshold"] = ()
    return Layout(name, d_in, d_sae, shapes)


def from_saelens(cfg: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> SAE:
    """Give the SAE that computes what SAELens computes with these.

    Args:
        cfg: The content of `cfg.json`.
        tensors: Arrays of the shapes that `read_layout` gives, every value finite.

    Raises:
        DataError: As for `read_layout`, or the levels in it are none.
    """
    layout = read_layout(cfg)
    gate = ARCHITECTURES[layout.architecture]
    kind = NORMALISATIONS[_text(cfg.get("normalize_activations", "none"))]
    weights = {name: np.asarray(tensors[name], np.float64) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    if _flag(cfg, "rescale_acts_by_decoder_norm", False):  # acts are multiplied by the lengths of decoder rows
        lengths = np.maximum(np.linalg.norm(weights["W_dec"], axis=1), 1e-8)
        weights["W_enc"] = weights["W_enc"] * lengths
        weights["b_enc"] = weights["b_enc"] * lengths
        weights["W_dec"] = weights["W_dec"] / lengths[:, None]
    threshold = np.zeros(0, np.float32)
    if gate == "threshold":
        given = tensors["threshold" if layout.architecture == "jumprelu" else "topk_threshold"]
        threshold = np.ascontiguousarray(np.broadcast_to(np.asarray(given, np.float32), (layout.d_sae,)))
    config = SAEConfig(
        layout.d_in, layout.d_sae, gate, _whole(cfg, "k") if gate == "topk" else 0, kind,
        _flag(cfg, "apply_b_dec_to_input", True), _levels(cfg, layout.d_sae),
    )  # fmt: skip
    plain = SAE.from_arrays(config, {**weights, "threshold": threshold, "global_scale": [1.0]})
    return _rescaled(plain, layout.d_in**-0.5) if kind == "unit" else plain


def to_arrays(sae: SAE) -> dict[str, np.ndarray]:
    """Give all that the SAE is as named arrays of numbers and text, for an .npz file."""
    config = sae.config
    said = {
        "gate": config.gate, "k": config.k, "normalisation": config.normalisation,
        "centre_input": config.centre_input, "levels": np.array(config.levels, np.int64),
    }  # fmt: skip
    arrays = sae.to_arrays()
    if config.gate != "threshold":
        del arrays["threshold"]
    return arrays | {name: np.asarray(value) for name, value in said.items()}


def array_shapes(shapes: Shapes) -> Shapes:
    """Give the shapes that the arrays of an .npz file should have, out of those that it has; what may lack is left out.

    Raises:
        DataError: There is no matrix W_enc, it is too large, or an array has a name that is not known.
    """
    optional = {"threshold", "global_scale", "k", "normalisation", "centre_input", "levels"}
    known = {"W_enc", "b_enc", "W_dec", "b_dec", "gate"} | optional
    for name in sorted(shapes.keys() - known):
        raise DataError(
            f"There is an array {one_line(name, 60)!r}{near(name, known)}.",
            f"Use these names: {', '.join(sorted(known))}.",
        )
    d_in, d_sae = shapes.get("W_enc", ()) if len(shapes.get("W_enc", ())) == 2 else (0, 0)
    if not 0 < d_in * d_sae <= LARGEST:
        raise DataError(
            f"W_enc has the shape {shapes.get('W_enc')}, expected (d_in, d_sae).",
            f"Save the encoder as a matrix W_enc of up to {LARGEST:,} weights.",
        )
    expected = {**_shapes(d_in, d_sae), "gate": ()}
    one = (1,) if shapes.get("global_scale") == (1,) else ()
    free = {"threshold": (d_sae,), "levels": shapes.get("levels", (0,)), "global_scale": one}
    return expected | {name: free.get(name, ()) for name in optional if name in shapes}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> SAE:
    """Give the SAE that some named arrays are (see `to_arrays`); of those that are not there the defaults hold.

    Raises:
        DataError: A value is none that is known, or what the gate needs is missing.
    """

    def chosen(name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = str(arrays[name]) if name in arrays else default
        if value not in allowed:
            raise DataError(
                f"The array {name} says {one_line(str(value), 40)!r}{near(str(value), allowed)}.",
                f"Save as {name} one of: {', '.join(allowed)}.",
            )
        return value

    gate = cast(GateKind, chosen("gate", get_args(GateKind)))
    kind = cast(NormalisationKind, chosen("normalisation", get_args(NormalisationKind), "none"))
    for wanted, needed in (
        ("threshold", gate == "threshold"),
        ("k", gate == "topk"),
        ("global_scale", kind == "global"),
    ):
        if needed and wanted not in arrays:
            raise DataError(
                f"There is no array {wanted}, which the gate {gate} with the normalisation {kind} needs.",
                f"Save {wanted} beside the weights.",
            )
    d_in, d_sae = arrays["W_enc"].shape
    k, scale = float(arrays.get("k", 0)), float(np.ravel(arrays.get("global_scale", 1.0))[0])
    if (gate == "topk" and not (1 <= k <= d_sae and k.is_integer())) or scale <= 0:
        what = f"global_scale is {scale:g}" if scale <= 0 else f"k is {k:g} with d_sae {d_sae}"
        raise DataError(f"The {what}.", "Save a whole k from 1 to d_sae, and a global_scale above 0.")
    levels = _checked_levels(np.ravel(arrays.get("levels", ())).tolist(), d_sae, "The array levels")
    config = SAEConfig(
        d_in, d_sae, gate, int(k) if gate == "topk" else 0, kind, bool(arrays.get("centre_input", True)), levels
    )
    threshold = arrays["threshold"] if gate == "threshold" else ()
    return SAE.from_arrays(config, {**arrays, "threshold": threshold, "global_scale": [scale]})


def check_scales(sae: SAE, X: np.ndarray, doing: Literal["written", "read"]) -> None:
    """Raise where some embeddings are so short that SAELens and the model here would not say the same of them.

    Rows of one number all over are left out: here they are all shift, and SAELens divides 0 by 0 where it divides by
    the length.

    Args:
        sae: Whose normalisation is looked at.
        X: (n, d_in).
        doing: Whether it is written for SAELens or was read.

    Raises:
        DataError: `SLACK` is more than `TOLERANCE` of a length (`unit`) or a deviation (`sample`).
    """
    slack = SLACK.get(sae.config.normalisation)
    if slack is None or not len(X):
        return
    scale = sae.normalise(X).scale
    short = int(((scale > 2 * EPSILON) & (scale * TOLERANCE < slack)).sum())
    if short:
        what = "length" if sae.config.normalisation == "unit" else "deviation"
        raise DataError(
            f"{short:,} embeddings of this run have a {what} below {slack / TOLERANCE:g}, where SAELens' way to divide "
            f"by it and ours differ: the SAE cannot be {doing} as it is.",
            "Use --format npz."
            if doing == "written"
            else "Use an SAE that was trained with normalize_activations none.",
        )


def _rescaled(sae: SAE, scale: float) -> SAE:
    """Give the SAE for embeddings that come `scale` times as long out of the normalisation."""
    if scale == 1.0:
        return sae
    exact = {name: getattr(sae, name).astype(np.float64) for name in ("W_enc", "W_dec", "b_dec")}
    return replace(
        sae,
        W_enc=(exact["W_enc"] / scale).astype(np.float32),
        W_dec=(exact["W_dec"] * scale).astype(np.float32),
        b_dec=(exact["b_dec"] * scale).astype(np.float32),
    )


def _tensors(sae: SAE) -> dict[str, np.ndarray]:
    tensors = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    return tensors | ({"threshold": sae.threshold} if sae.config.gate == "threshold" else {})


def _shapes(d_in: int, d_sae: int) -> Shapes:
    return {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}


def _levels(cfg: Mapping[str, Any], d_sae: int) -> tuple[int, ...]:
    """Give the levels of nested neurons: of our own files, or of a Matryoshka training of SAELens."""
    own = cfg.get("metadata")
    own = own.get("steerlens") if isinstance(own, Mapping) else None
    given = own.get("levels") if isinstance(own, Mapping) else cfg.get("matryoshka_widths")
    return _checked_levels(given or [], d_sae, "cfg.json")


def _checked_levels(given: Any, d_sae: int, where: str) -> tuple[int, ...]:
    whole = isinstance(given, list) and all(isinstance(n, int) for n in given)
    if not whole or (given and (given[-1] != d_sae or any(a >= b for a, b in pairwise([0, *given])))):
        raise DataError(
            f"{where} has the levels {one_line(str(given), 60)}, expected rising whole numbers that end with {d_sae}.",
            "Save the levels as they were trained, or none.",
        )
    return tuple(given)


def _whole(cfg: Mapping[str, Any], key: str) -> int:
    value = cfg.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0 or value < 1:
        raise DataError(
            f"cfg.json has {key} {one_line(repr(value), 40)}, expected a whole number from 1 on.",
            "Save the SAE again: sae.save_model(folder).",
        )
    return int(value)


def _flag(cfg: Mapping[str, Any], key: str, default: bool) -> bool:
    value = cfg.get(key, default)
    if not isinstance(value, bool):
        raise DataError(f"cfg.json has {key} {_text(value)}, expected true or false.", AGAIN)
    return value


def _text(value: Any) -> str:
    return one_line(str(value), 60)
