"""What an SAE says here and what it says in SAELens, of the same embeddings, in both directions.

    pip install sae-lens numpy scipy pandas pyarrow safetensors typer tqdm   # in an environment of its own
    OMP_NUM_THREADS=1 python -m tests.benchmarks.saelens [FOLDER_THAT_EXPORT_SAE_WROTE RUN WORKSPACE]

Differences are the largest one over the largest value, in rows where the same neurons fire. Two neurons between which
lies less than a rounding can change places: such rows are counted.
"""

import importlib.metadata
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sae_lens
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.registry import get_sae_class
from safetensors.numpy import save_file

from core.exchange import bring_sae
from core.recommenders.base import embed_users
from core.runs import open_run
from core.sae.exchange import to_saelens
from core.sae.model import SAE, SAEConfig

D_IN, D_SAE, K, N = 48, 384, 24, 2000
PACKAGES = ("sae-lens", "torch", "numpy", "safetensors")


class Difference(NamedTuple):
    """How far two SAEs are apart on the same embeddings."""

    acts: float
    rebuilt: float
    n_others: int
    """Rows in which other neurons fire."""


def difference(ours: SAE, theirs: Any, X: np.ndarray) -> Difference:
    """Encode and rebuild the same embeddings in both."""
    with torch.no_grad():
        x = torch.from_numpy(X)
        acts = theirs.encode(x)
        rebuilt = theirs.decode(acts).numpy()
    own, acts = ours.encode(X), acts.numpy()
    same = ((own > 0) == (acts > 0)).all(axis=1)

    def relative(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a[same] - b[same]).max() / np.abs(a).max())

    return Difference(relative(own, acts), relative(ours.reconstruct(X), rebuilt), int((~same).sum()))


def embeddings() -> np.ndarray:
    """Give embeddings of several lengths about a mean that is not 0."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D_IN)) + rng.standard_normal(D_IN)
    return (X * rng.uniform(0.5, 5, (N, 1))).astype(np.float32)


def weights(gate: str) -> dict[str, np.ndarray]:
    """Give random weights."""
    rng = np.random.default_rng(1)
    shapes = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    drawn = {name: (0.2 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return drawn | (
        {"threshold": rng.uniform(0, 1, D_SAE).astype(np.float32)} if gate in ("threshold", "jumprelu") else {}
    )


def write(folder: Path, cfg: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """Write a folder as SAELens has it."""
    folder.mkdir()
    (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


def from_here(folder: Path) -> Iterator[tuple[str, Difference]]:
    """Make SAEs here, write them for SAELens, and open them there."""
    kinds = product(("relu", "topk", "threshold"), ("none", "global", "unit", "sample"), (True, False))
    for gate, kind, centre in kinds:
        config = SAEConfig(D_IN, D_SAE, gate, K if gate == "topk" else 0, kind, centre)
        ours = SAE(config, **weights(gate), global_scale=1.7 if kind == "global" else 1.0)
        name = f"{gate}, {kind}{'' if centre else ', not centred'}"
        theirs = sae_lens.SAE.load_from_disk(write(folder / name, *to_saelens(ours)))
        yield name, difference(ours, theirs, embeddings())


def from_there(folder: Path) -> Iterator[tuple[str, Difference]]:
    """Make SAEs in SAELens, let it write them, and open them here."""
    norms = ("none", "constant_norm_rescale", "layer_norm")
    for kind, norm, centre in product(("standard", "topk", "topk rescaled", "jumprelu"), norms, (True, False)):
        architecture, _, rescaled = kind.partition(" ")
        name = f"{kind}, {norm}{'' if centre else ', not centred'}"
        cfg = {
            "d_in": D_IN, "d_sae": D_SAE, "normalize_activations": norm, "apply_b_dec_to_input": centre,
            **({"k": K, "rescale_acts_by_decoder_norm": bool(rescaled)} if architecture == "topk" else {}),
        }  # fmt: skip
        model, config_of = get_sae_class(architecture)
        theirs = model(config_of(**cfg))
        theirs.load_state_dict({n: torch.from_numpy(array) for n, array in weights(architecture).items()})
        theirs.save_model(folder / name)
        yield name, difference(bring_sae(folder / name).sae, theirs, embeddings())
    training = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(D_IN, D_SAE, k=K))
    training.load_state_dict({n: torch.from_numpy(array) for n, array in weights("batchtopk").items()}, strict=False)
    training.topk_threshold = torch.tensor(0.5, dtype=torch.float64)
    training.save_inference_model(folder / "finished")
    theirs = sae_lens.SAE.load_from_disk(folder / "finished")
    yield "batchtopk, finished", difference(bring_sae(folder / "finished").sae, theirs, embeddings())
    training.save_model(folder / "training")
    yield "batchtopk, checkpoint of its training", difference(bring_sae(folder / "training").sae, theirs, embeddings())


def of_run(folder: Path, run_id: str, workspace: Path) -> Difference:
    """Compare the SAE of a run with what SAELens reads from its export, on the viewers of the run."""
    run = open_run(workspace, run_id)
    X = embed_users(run.recommender, run.dataset, np.arange(run.dataset.n_users))
    return difference(run.sae, sae_lens.SAE.load_from_disk(folder), X)


def show(name: str, found: Difference) -> None:
    """Print a row of a table."""
    print(f"| {name} | {found.acts:.1e} | {found.rebuilt:.1e} | {found.n_others} |")


if __name__ == "__main__":
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()}, {versions}; {N:,} embeddings\n")
    print("| SAE | acts | x_hat | rows |\n|---|---|---|---|")
    if len(sys.argv) > 1:
        show(sys.argv[2], of_run(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
    with tempfile.TemporaryDirectory() as place:
        for title, compare in (("here to SAELens", from_here), ("SAELens to here", from_there)):
            (Path(place) / title).mkdir()
            for row, difference_ in compare(Path(place) / title):
                show(f"{title}: {row}", difference_)
