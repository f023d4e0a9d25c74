"""The training of SASRec: every place of a window predicts the next item at once.

RecBole makes an example of every prefix of a history. A place of the causal network sees exactly its prefix, so one
pass over a window gives the same losses in sum.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.data.dataset import Histories
from core.errors import TrainingError
from core.progress import Progress
from core.recommenders.elsa_training import one_thread
from core.recommenders.sasrec import LAYER_NORM_EPSILON, SASRecConfig
from core.seeding import derive_seed

START = 0.02
"""Standard deviation of all weights at the start (RecBole)."""
WARM_UP = 0.1
"""Share of the training in which the learning rate rises."""


class Attention(nn.Module):
    """Causal self-attention with its residual and LayerNorm."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        d = config.embedding_size
        self.query, self.key, self.value, self.dense = (nn.Linear(d, d) for _ in range(4))
        self.LayerNorm = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.n_heads, self.attention_dropout = config.n_heads, config.attention_dropout
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give (n, length, d) for (n, length, d)."""
        query, key, value = (
            part(x).unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        dropout = self.attention_dropout if self.training else 0.0
        context = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        out: torch.Tensor = self.LayerNorm(x + self.dropout(self.dense(context.transpose(1, 2).flatten(2))))
        return out


class FeedForward(nn.Module):
    """Two dense layers with their residual and LayerNorm."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.dense_1 = nn.Linear(config.embedding_size, config.inner_size)
        self.dense_2 = nn.Linear(config.inner_size, config.embedding_size)
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give (n, length, d) for (n, length, d)."""
        out: torch.Tensor = self.LayerNorm(x + self.dropout(self.dense_2(functional.gelu(self.dense_1(x)))))
        return out


class Layer(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.multi_head_attention, self.feed_forward = Attention(config), FeedForward(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give (n, length, d) for (n, length, d)."""
        out: torch.Tensor = self.feed_forward(self.multi_head_attention(x))
        return out


class Network(nn.Module):
    """The network whose `state_dict` is what `SASRec` is made of."""

    def __init__(self, n_items: int, config: SASRecConfig) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(n_items, config.embedding_size)
        self.position_embedding = nn.Embedding(config.max_length, config.embedding_size)
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.trm_encoder = nn.ModuleDict({"layer": nn.Sequential(*(Layer(config) for _ in range(config.n_layers)))})
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=START)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Give the (n, length, d) states at (n, length) items, padded on the right with any item."""
        places = torch.arange(items.shape[1])
        x = self.dropout(self.LayerNorm(self.item_embedding(items) + self.position_embedding(places)))
        out: torch.Tensor = self.trm_encoder["layer"](x)
        return out


class Window(NamedTuple):
    """A part of a history that is learnt from at once."""

    history: np.ndarray
    """Of the viewer, oldest first."""
    start: int
    stop: int

    @property
    def items(self) -> np.ndarray:
        """What is seen, and from the second item on foreseen."""
        return self.history[self.start : self.stop]


def cut(history: np.ndarray, max_length: int, shift: int = 0) -> list[Window]:
    """Cut a history into windows in which every item but the first of the history is the next item once.

    Args:
        history: Oldest first.
        max_length: Items of a window that are seen; one more is foreseen.
        shift: How many items before the end the windows are laid from; what is behind is a window of its own.

    >>> [w.items.tolist() for w in cut(np.arange(7), 3)], [w.items.tolist() for w in cut(np.arange(7), 3, shift=1)]
    ([[0, 1, 2, 3], [3, 4, 5, 6]], [[0, 1, 2], [2, 3, 4, 5], [5, 6]])
    """
    stops = sorted({len(history), *range(len(history) - shift, 1, -max_length)})
    starts = [0, *(stop - 1 for stop in stops[:-1])]
    return [Window(history, start, stop) for start, stop in zip(starts, stops, strict=True) if stop - start > 1]


def next_item_loss(network: Network, windows: Sequence[Window], config: SASRecConfig) -> torch.Tensor:
    """Give the mean loss over all places of the windows (`SASRecConfig.loss` and `.candidates` say which)."""
    lengths = torch.tensor([len(window.items) - 1 for window in windows])
    items = nn.utils.rnn.pad_sequence([torch.from_numpy(w.items).long() for w in windows], batch_first=True)
    known = torch.arange(items.shape[1] - 1) < lengths[:, None]
    states, wanted = network(items[:, :-1])[known], items[:, 1:][known]
    table = network.item_embedding.weight
    if config.loss == "bpr":
        other = torch.cat([not_in(w.history, int(n), len(table)) for w, n in zip(windows, lengths, strict=True)])
        return functional.softplus((states * (table[other] - table[wanted])).sum(dim=1)).mean()
    logits = states @ table.T
    if config.candidates == "unseen":
        logits[consumed_before(windows)] = -torch.inf
    return functional.cross_entropy(logits, wanted)


def consumed_before(windows: Sequence[Window]) -> tuple[torch.Tensor, torch.Tensor]:
    """Give (place, item) of all that a viewer had consumed at each place of the windows, one window after the other.

    >>> [t.tolist() for t in consumed_before([Window(np.array([7, 5, 6, 8]), 1, 4)])]
    [[0, 0, 1, 1, 1], [7, 5, 7, 5, 6]]
    """
    places, items, first = [], [], 0
    for window in windows:
        n = len(window.items) - 1
        place, earlier = np.tril_indices(n, window.start, window.stop - 1)
        places.append(place + first)
        items.append(window.history[earlier])
        first += n
    return torch.from_numpy(np.concatenate(places)), torch.from_numpy(np.concatenate(items)).long()


def not_in(history: np.ndarray, n: int, n_items: int) -> torch.Tensor:
    """Draw n items at random that are not in a history; any items where there is none."""
    if len(history) == n_items:
        return torch.randint(n_items, (n,))
    drawn = torch.randint(n_items - len(history), (n,)).numpy()
    # The k-th item that was not consumed is k plus the number of consumed ones before it.
    before = np.searchsorted(np.sort(history) - np.arange(len(history)), drawn, side="right")
    return torch.from_numpy(drawn + before)


def train_sasrec(
    histories: Histories, n_items: int, config: SASRecConfig, *, seed: int, progress: Progress
) -> dict[str, np.ndarray]:
    """Give the weights, with the names that `SASRec` documents.

    Args:
        histories: Of the viewers, oldest first.
        n_items: Size of the catalogue.
        config: How to train.
        seed: Of the run.
        progress: Called after each epoch; an exception from it ends the training.

    Raises:
        TrainingError: No history has two items, or the loss is not finite any more.
    """
    known = [np.asarray(h) for h in histories if len(h) > 1]
    if not known:
        raise TrainingError(
            "No history has two items, so there is no next item to learn.", "Give a log with longer histories."
        )
    steps_an_epoch = -(-sum(len(cut(h, config.max_length)) for h in known) // config.batch_size)
    epochs = max(config.epochs, -(-config.min_steps // steps_an_epoch))
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "sasrec"))
        network = Network(n_items, config)
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        for epoch in range(epochs):
            # Long histories are cut at other places in each epoch: an item is foreseen from all lengths of context.
            windows = [w for h in known for w in cut(h, config.max_length, _shift(h, config.max_length))]
            order = torch.randperm(len(windows)).tolist()
            losses = []
            for start in range(0, len(order), config.batch_size):
                batch = [windows[i] for i in order[start : start + config.batch_size]]
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * rate((epoch + start / len(order)) / epochs)
                loss = next_item_loss(network, batch, config)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            mean = float(np.mean(losses))
            if not np.isfinite(mean):
                raise TrainingError(
                    f"The loss of SASRec is {mean} after epoch {epoch + 1} of {epochs}.",
                    f"Set recommender.learning_rate below {config.learning_rate:g}.",
                )
            progress("recommender", epoch + 1, epochs, {"loss": mean})
        return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def rate(done: float) -> float:
    """Give the share of the highest learning rate after a share of the training.

    It rises over the first tenth, since gradients near the output are large at first where LayerNorm comes last (Xiong
    et al. 2020), and falls to zero along a half cosine.
    """
    return min(1.0, (done + 1e-3) / WARM_UP) * (1 + math.cos(math.pi * done)) / 2


def _shift(history: np.ndarray, max_length: int) -> int:
    """Draw where a history is cut: not at all if it is one window."""
    return int(torch.randint(max_length, ())) if len(history) > max_length + 1 else 0
