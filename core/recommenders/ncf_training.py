"""The training of NCF by a teacher, and the differentiable twin of its scores.

The network learns the scores t of a wide matrix factorisation (Hinton et al. 2015, "Distilling the knowledge in a
neural network"): it minimises the mean over pairs of viewers and items of

    (sigmoid(t_ui) + 0.05) (score(u, i) - t_ui)²

The viewers are those of the log, a third of them once more with a part of their history, and those between two of them
(Zhang et al. 2018, "mixup"): a score must be right along the way from one viewer to another, which is where steering
goes. First their vectors are free, from the best factorisation of t of their width; then everybody is folded in (see
`core.recommenders.ncf`) and only items and network go on, so that they are right where viewers are going to be.

This is not the paper's training. That of Arviv et al. tells clicks from sampled items, from random vectors; on
MovieLens-1M it memorises, and its lists are worse than those of the matrix factorisation of the same width by a sixth,
also when it starts from that factorisation or sees every item (Rendle et al. 2020, "Neural collaborative filtering vs.
matrix factorization revisited"). The teacher has learnt what can be known of each pair, without the noise of a click.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from core.data.dataset import Dataset
from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.elsa_training import one_thread
from core.recommenders.mf import MF, MFConfig
from core.recommenders.ncf import NCF, NCFConfig
from core.recommenders.ncf_network import Network
from core.seeding import derive_seed, generator

USERS, ITEMS = 64, 64
"""Viewers and items whose pairs make a step."""
FLOOR = 0.05
"""How much a pair counts that the teacher is sure will not meet; one that it is sure of counts 1 more."""
EVERY = 3
"""One viewer of so many is there once more, with a part of their history."""
BETWEEN = 0.5
"""Share of the viewers of a step who stand between two."""
ROUNDS = 2
"""Of equal length: with free vectors, then with folded-in ones."""
VECTOR_RATE = 2.0
"""The learning rate of the vectors, in units of the network's."""
WARM_UP = 0.1
"""Share of a round in which the learning rate rises; then it falls to zero along a half cosine."""
N_STARTS = 128
"""Viewers from whose vectors a fold-in may begin."""
EPSILON = 1e-3
"""The least that viewers are believed to differ in a number of their vectors."""

Parameters = dict[str, torch.Tensor]
"""The arrays of `NCF` as tensors."""


def scores_of_pairs(network: Parameters, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Give the (n, m) scores of n viewers and m items: vectors (m, d + g), or (n, m, d + g), others for each viewer."""
    d = len(network["W_0"]) // 2
    h = len(network["w_out"]) - (users.shape[1] - d)
    user_half = users[:, :d] @ network["W_0"][:d]
    x = torch.relu(user_half[:, None] + (items[..., :d] @ network["W_0"][d:] + network["b_0"]))
    layer = 1
    while f"W_{layer}" in network:
        x = torch.relu(x @ network[f"W_{layer}"] + network[f"b_{layer}"])
        layer += 1
    products = items[..., d:] @ (users[:, d:] * network["w_out"][h:])[..., None]
    return x @ network["w_out"][:h] + network["b_out"] + products[..., 0]


def torch_scorer(network: Network) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give the differentiable twin of `Network.score`."""
    parameters = {"w_out": torch.tensor(network.w_out), "b_out": torch.tensor(network.b_out)}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        parameters |= {f"W_{layer}": torch.tensor(W), f"b_{layer}": torch.tensor(b)}
    vectors = torch.tensor(network.items)

    def score(x: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        return scores_of_pairs(parameters, x, vectors if items is None else vectors[items])

    return score


def train_ncf(
    train: Dataset, config: NCFConfig, *, seed: int, progress: Progress
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Give the arrays of `NCF`, and the (n_users, d_in) vectors that its viewers had at the end of the training.

    Args:
        train: What to learn from, with at least one interaction.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch, of the teacher too; an exception from it ends the training.

    Raises:
        TrainingError: The loss is not finite any more.
    """
    width = max(config.teacher_size, config.embedding_size + config.gmf_size)
    taught = MFConfig(width, config.negatives, config.n_negatives)
    n_all = taught.epochs + config.epochs
    teacher = MF.fit(train, taught, seed=seed, progress=lambda stage, done, _, x: progress(stage, done, n_all, x))
    histories = train.histories()
    histories += _parts(histories[::EVERY], generator(seed, "ncf", "parts"))
    goal = Goal(
        torch.from_numpy(np.column_stack([teacher.embed(histories), np.ones(len(histories), np.float32)])),
        torch.from_numpy(np.column_stack([teacher.Q, teacher.b])),
        np.cumsum(np.sqrt(train.item_counts + 1.0)),
    )
    n_steps = -(-max(train.n_interactions, config.min_steps * USERS * ITEMS // config.epochs) // (USERS * ITEMS))
    random = generator(seed, "ncf", "pairs")
    arrays: dict[str, np.ndarray] = {}
    with one_thread():
        users, network = _start(goal, config, seed)
        for round_ in range(ROUNDS):
            if arrays:
                users = torch.from_numpy(NCF(config, arrays).embed(histories))
            first, last = (config.epochs * part // ROUNDS for part in (round_, round_ + 1))
            learning = _learn(network, users, goal, config.learning_rate, (last - first) * n_steps, random)
            for epoch in range(first, last):
                loss = float(np.mean([next(learning) for _ in range(n_steps)]))
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"The loss of NCF is {loss} after epoch {epoch + 1} of {config.epochs}.",
                        f"Set recommender.learning_rate below {config.learning_rate:g}.",
                    )
                progress("recommender", taught.epochs + epoch + 1, n_all, {"loss": loss})
            vectors = users.detach().numpy()
            if not arrays:
                known = vectors[: train.n_users]
                prior = {"centre": known.mean(axis=0), "spread": known.std(axis=0) + EPSILON}
                prior["column_weight"] = teacher.column_weight
            arrays = prior | {name: tensor.detach().numpy().copy() for name, tensor in network.items()}
            arrays["starts"] = vectors[:: -(-len(vectors) // N_STARTS)].copy()
    return arrays, vectors[: train.n_users]


class Goal(NamedTuple):
    """The scores of the teacher, `left @ right.T`, and how often an item is drawn."""

    left: torch.Tensor
    """(n, teacher_size + 1): each viewer, then 1."""
    right: torch.Tensor
    """(n_items, teacher_size + 1): each item, then its bias."""
    chance: np.ndarray
    """(n_items,) sums up to each item of the root of its viewers."""


def _learn(
    network: Parameters, users: torch.Tensor, goal: Goal, rate: float, n_steps: int, random: np.random.Generator
) -> Iterator[float]:
    """Make `n_steps` steps and give the loss of each; the vectors of viewers learn along where they need a gradient."""
    layers = [tensor for name, tensor in network.items() if name != "items"]
    vectors = [network["items"], users] if users.requires_grad else [network["items"]]
    groups: list[dict[str, Any]] = [
        {"params": layers, "lr": rate},
        {"params": vectors, "lr": VECTOR_RATE * rate},
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate_over(n_steps))
    for _ in range(n_steps):
        u = torch.from_numpy(random.integers(len(users), size=USERS))
        # By equal distances along the items: no draw is all popular ones.
        places = (np.arange(ITEMS) + random.random(ITEMS)) / ITEMS * goal.chance[-1]
        i = torch.from_numpy(np.searchsorted(goal.chance, places))
        share = np.where(random.random(len(u)) < BETWEEN, random.random(len(u)), 1.0).astype(np.float32)
        between, other = torch.from_numpy(share)[:, None], u[torch.from_numpy(random.permutation(len(u)))]
        target = torch.lerp(goal.left[other], goal.left[u], between) @ goal.right[i].T
        error = scores_of_pairs(network, torch.lerp(users[other], users[u], between), network["items"][i]) - target
        weight = torch.sigmoid(target) + FLOOR
        loss = (weight * error**2).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield loss.item()


def _start(goal: Goal, config: NCFConfig, seed: int) -> tuple[torch.Tensor, Parameters]:
    """Give the vectors of the viewers and the network: the best factorisation of the goal, and random layers.

    Both sides of the factorisation vary as much. The products of GMF start as its first terms.
    """
    d, g = config.embedding_size, config.gmf_size
    left, right = goal.left.numpy(), goal.right.numpy()
    q_left, r_left = np.linalg.qr(left.astype(np.float64))
    q_right, r_right = np.linalg.qr(right.astype(np.float64))
    a, values, b = np.linalg.svd(r_left @ r_right.T)
    balance = (len(left) / len(right)) ** 0.25
    root = np.sqrt(values)[: max(d, g)]
    sides = (q_left @ a[:, : len(root)] * root * balance, q_right @ b[: len(root)].T * root / balance)
    users, items = (torch.tensor(np.hstack([_wide(side, d), _wide(side, g)]), dtype=torch.float32) for side in sides)
    random = torch.Generator().manual_seed(derive_seed(seed, "ncf"))
    network = {"items": items}
    widths = [2 * d, *config.hidden]
    for layer, (into, out) in enumerate(pairwise(widths)):
        network[f"W_{layer}"] = torch.randn(into, out, generator=random) * math.sqrt(2 / into)
        network[f"b_{layer}"] = torch.zeros(out)
    last = torch.randn(widths[-1], generator=random) * math.sqrt(2 / widths[-1])
    network["w_out"] = torch.cat([last, torch.ones(g)])
    network["b_out"] = torch.tensor([left.mean(axis=0) @ right.mean(axis=0)])
    for tensor in (users, *network.values()):
        tensor.requires_grad_()
    return users, network


def _parts(histories: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    """Give a random part of each history, of any size with as many digits as any other."""
    sizes = [int(len(h) ** random.random()) for h in histories]
    return [random.permutation(h)[:size] for h, size in zip(histories, sizes, strict=True)]


def _wide(side: np.ndarray, width: int) -> np.ndarray:
    """Give `width` columns: the first ones, zeros where there are no more."""
    return np.pad(side[:, :width], ((0, 0), (0, max(0, width - side.shape[1]))))


def _rate_over(n_steps: int) -> Callable[[int], float]:
    """Give the share of the highest learning rate at each step of `n_steps`."""
    return lambda step: min(1.0, (step + 1) / (WARM_UP * n_steps)) * 0.5 * (1 + math.cos(math.pi * step / n_steps))
