"""What a step of SAE training costs, beside the product with the encoder alone and beside other libraries.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.sae_step [--size D_IN D_SAE K] [--rounds N]

TopK, batches of 1,024, one thread, float32, the same embeddings. A step is forward, backward, optimiser, decoder
rows of length 1, and the count of neurons that fire. Ours is what `core.sae.trainer.train` does between two calls of
`progress`: batches, logs and all. The others are driven as their own trainers drive them, with the optimiser that these
have by default. A round is one step of each and one product, in turns; what is shown are medians of CPU seconds. A
library that is not installed is left out. They are no requirements of this project; in an environment of their own:

    pip install -r requirements.txt eai-sparsify sae-lens dictionary-learning
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from core.sae.config import TrainConfig
from core.sae.trainer import train

N_BATCH = 1024
N_WARM = 3
"""Rounds at the start that do not count: code is compiled, memory is got."""
RATE = 1e-3

Step = Callable[[torch.Tensor], object]


def sparsify_step(d_in: int, d_sae: int, k: int, optimiser: str) -> Step:
    """Give a step of EleutherAI sparsify's SparseCoder, as its `Trainer` makes it."""
    sparsify = importlib.import_module("sparsify")
    coder = sparsify.SparseCoder(d_in, sparsify.SparseCoderConfig(num_latents=d_sae, k=k))
    if optimiser == "adam":
        optim = torch.optim.Adam(coder.parameters(), lr=RATE)
    else:
        sign = importlib.import_module("sparsify.sign_sgd").SignSGD(coder.parameters(), lr=RATE)
        optim = importlib.import_module("schedulefree").ScheduleFreeWrapper(sign, momentum=0.95)
        optim.train()
    since_fired = torch.zeros(d_sae, dtype=torch.long)

    def step(x: torch.Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x, dead_mask=since_fired > 10_000_000)
        (out.fvu + out.auxk_loss / 32).backward()
        did_fire = torch.zeros(d_sae, dtype=torch.bool)
        did_fire[out.latent_indices.flatten()] = True
        since_fired.add_(len(x))
        since_fired[did_fire] = 0
        coder.remove_gradient_parallel_to_decoder_directions()
        optim.step()
        optim.zero_grad()

    return step


def saelens_step(d_in: int, d_sae: int, k: int, sparse: bool) -> Step:
    """Give a step of SAELens' TopKTrainingSAE, as its `SAETrainer` makes it."""
    topk = importlib.import_module("sae_lens.saes.topk_sae")
    step_input = importlib.import_module("sae_lens.saes.sae").TrainStepInput
    # The product of sparse activations with the lengths of decoder rows has no gradient on a CPU.
    how = {"use_sparse_activations": sparse, "rescale_acts_by_decoder_norm": not sparse}
    sae = topk.TopKTrainingSAE(topk.TopKTrainingSAEConfig(d_in=d_in, d_sae=d_sae, k=k, **how))
    optim = torch.optim.Adam(sae.parameters(), lr=RATE)
    since_fired, counts = torch.zeros(d_sae), torch.zeros(d_sae)

    def step(x: torch.Tensor) -> None:
        out = sae.training_forward_pass(
            step_input(
                sae_in=x, coefficients={}, dead_neuron_mask=since_fired > 1000, n_training_steps=0,
                is_logging_step=False,
            )
        )  # fmt: skip
        with torch.no_grad():
            fires = out.feature_acts.bool().float()
            did_fire = fires.sum(-2).bool()
            since_fired.add_(1)
            since_fired[did_fire.to_dense() if did_fire.is_sparse else did_fire] = 0
            counts.add_(fires.sum(0))
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optim.step()
        optim.zero_grad()

    return step


def dictionary_learning_step(d_in: int, d_sae: int, k: int) -> Step:
    """Give a step of dictionary_learning's TopKTrainer."""
    top_k = importlib.import_module("dictionary_learning.trainers.top_k")
    trainer = top_k.TopKTrainer(
        steps=10_000, activation_dim=d_in, dict_size=d_sae, k=k, layer=0, lm_name="", lr=RATE, device="cpu"
    )
    return lambda x: trainer.update(1, x)


OTHERS: dict[str, tuple[str, Callable[[int, int, int], Step]]] = {
    "sparsify, Adam": ("eai-sparsify", lambda *shape: sparsify_step(*shape, "adam")),
    "sparsify, signum": ("eai-sparsify", lambda *shape: sparsify_step(*shape, "signum")),
    "SAELens": ("sae-lens", lambda *shape: saelens_step(*shape, False)),
    "SAELens, sparse": ("sae-lens", lambda *shape: saelens_step(*shape, True)),
    "dictionary_learning": ("dictionary-learning", dictionary_learning_step),
}


def measure(d_in: int, d_sae: int, k: int, rounds: int) -> dict[str, float]:
    """Give the median CPU seconds of each by name."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((16 * N_BATCH, d_in)).astype(np.float32)
    W_enc = rng.standard_normal((d_in, d_sae)).astype(np.float32)
    torch_W_enc = torch.from_numpy(W_enc)
    steps: dict[str, Step] = {
        "x @ W_enc, NumPy": lambda x: x.numpy() @ W_enc,
        "x @ W_enc, torch": lambda x: x @ torch_W_enc,
    }
    for name, (package, make) in OTHERS.items():
        try:
            steps[name] = make(d_in, d_sae, k)
        except ImportError as error:
            print(f"{name}: left out, {package} is not installed ({error})")
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *steps)}
    ended = 0.0

    def others(*_: object) -> None:
        """Note how long our step took, and let the others make one."""
        nonlocal ended
        seconds["ours"].append(time.process_time() - ended)
        for name, step in steps.items():
            start = time.process_time()
            step(torch.from_numpy(X[rng.permutation(len(X))[:N_BATCH]]))
            seconds[name].append(time.process_time() - start)
        ended = time.process_time()

    n_steps = N_WARM + rounds
    config = TrainConfig(
        d_sae=d_sae, k=k, normalisation="none", fvu=1.0, cosine=0.0, batch_size=N_BATCH, n_steps=n_steps, dead_after=50,
        restart_dead=False, learning_rate=RATE,
    )  # fmt: skip
    train(X, config, seed=0, progress=others)
    assert all(len(s) == n_steps for s in seconds.values()), "progress is told of every step"
    return {name: float(np.median(s[N_WARM:])) for name, s in seconds.items()}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs=3, type=int, action="append", metavar=("D_IN", "D_SAE", "K"))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{_processor()}, {os.cpu_count()} cores; Python {platform.python_version()}")
    packages = ["torch", "numpy", "numba", *dict.fromkeys(package for package, _ in OTHERS.values())]
    print(", ".join(f"{package} {_version(package)}" for package in packages))
    with threadpool_limits(1):
        for d_in, d_sae, k in options.size or [(512, 16384, 32), (64, 4096, 32)]:
            seconds = measure(d_in, d_sae, k, options.rounds)
            print(f"\nd_in {d_in}, d_sae {d_sae}, k {k}, batch {N_BATCH}: medians of {options.rounds}")
            print(f"{'':<22}{'CPU ms':>9}{'vectors/s':>12}{'/ torch':>9}{'/ NumPy':>9}{'ours is':>9}")
            for name, s in seconds.items():
                ratios = (s / seconds["x @ W_enc, torch"], s / seconds["x @ W_enc, NumPy"])
                faster = f"{s / seconds['ours']:>8.2f}x" if name in OTHERS else ""
                print(f"{name:<22}{1e3 * s:>9.1f}{N_BATCH / s:>12,.0f}{ratios[0]:>9.2f}{ratios[1]:>9.2f}{faster}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Give the name of the processor where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
