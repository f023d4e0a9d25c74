"""What is known of neurons from all rows, viewers or items, in one pass over shards of them with bounded memory.

`shard_stats` looks at one shard and `merge` joins what was seen of two: exactly, in any order and association, so that
shards may be read one after another, or by several processes. Nothing is rounded: counts are whole numbers, sums are
kept as whole numbers for each power of two, and equal activations are in the order of their ids.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from core.recommenders.base import resolve
from core.sae.model import SAE

BINS_PER_OCTAVE, LOWEST, HIGHEST = 64, -20, 12
"""Bins of the histogram between a power of two and the next, equally wide; from 2^LOWEST to 2^HIGHEST. What lies beyond
is in the first or the last bin."""
N_BINS = BINS_PER_OCTAVE * (HIGHEST - LOWEST)
QUANTILE_ERROR = 1 / BINS_PER_OCTAVE
"""Bound of the relative error of a quantile within the range of the bins: the width of one."""
SHARD_ROWS, SHARD_VALUES = 4096, 2**24
"""Rows of a shard, fewer where all neurons of so many would be more values."""
MOST_PAIRED = 20_000
"""Rows whose pairs of neurons are counted, on average, of however many: the standard error of a share is < .4 %."""
_SHIFT = 23 - BINS_PER_OCTAVE.bit_length() + 1
_FIRST = (127 + LOWEST) * BINS_PER_OCTAVE
_NONE = np.iinfo(np.int64).max
_MOST_ROWS = 2**31 - 1


class Shard(NamedTuple):
    """Some rows and what fires in them."""

    ids: np.ndarray
    """(n,) int64 row numbers, each at most once in all shards, below 2^31."""
    acts: sparse.csr_matrix
    """(n, d_sae) float32; only values above 0 count."""


@dataclass(frozen=True, eq=False)
class Stats:
    """What was seen of each neuron in some rows.

    Attributes:
        n_rows: How many rows.
        counts: (d_sae, N_BINS) int32 histogram of the activations above 0; see `edges`.
        mantissas: (d_sae, 256) int64: for each exponent of a float32 the sum of the mantissas, whole numbers.
        top: (d_sae, n_top) int64, ascending: activation (falling) and id (rising) in one number.
    """

    n_rows: int
    counts: np.ndarray
    mantissas: np.ndarray
    top: np.ndarray

    @property
    def n_firing(self) -> np.ndarray:
        """Give (d_sae,) int64: the number of rows in which each neuron fires."""
        return self.counts.sum(axis=1, dtype=np.int64)

    @property
    def total(self) -> np.ndarray:
        """Give (d_sae,) float64: the sum of the activations, rounded once."""
        exponents = np.maximum(np.arange(256), 1) - 150
        return (self.mantissas.astype(np.float64) * np.exp2(exponents)).sum(axis=1)

    @property
    def highest(self) -> np.ndarray:
        """Give (d_sae,) float32: the largest activation, 0 for a neuron that never fires."""
        return np.nan_to_num(self.top_values[:, 0])

    @property
    def top_ids(self) -> np.ndarray:
        """Give (d_sae, n_top) int32: the rows in which it fires most, strongest first, then by id; -1 padded."""
        return np.where(self.top == _NONE, -1, self.top & 0xFFFFFFFF).astype(np.int32)

    @property
    def top_values(self) -> np.ndarray:
        """Give (d_sae, n_top) float32: their activations, NaN padded."""
        values = (0x7FFFFFFF - (self.top >> 32)).astype(np.int32).view(np.float32)
        return np.where(self.top == _NONE, np.float32(np.nan), values)

    def quantile(self, q: float) -> np.ndarray:
        """Give (d_sae,) float64: the q-quantile of the activations above 0, between two linearly as `np.quantile`.

        Exact where it lies among the `n_top` largest; else the relative error is below `QUANTILE_ERROR`, for values
        within the range of the bins. NaN for a neuron that never fires.
        """
        n = self.n_firing
        place = q * np.maximum(n - 1, 0)
        low, high = self._ranked(np.floor(place).astype(np.int64)), self._ranked(np.ceil(place).astype(np.int64))
        return np.where(n > 0, low + (place % 1) * (high - low), np.nan)

    def _ranked(self, rank: np.ndarray) -> np.ndarray:
        """Give the activation of each neuron that so many others are below; in a bin they count as equally spread."""
        neurons, below = np.arange(len(rank)), np.cumsum(self.counts, axis=1, dtype=np.int64)
        bins = np.minimum((below <= rank[:, None]).sum(axis=1), N_BINS - 1)
        inside, borders = self.counts[neurons, bins], edges()
        share = (rank - (below[neurons, bins] - inside) + 0.5) / np.maximum(inside, 1)
        value = np.minimum(borders[bins] + share * (borders[bins + 1] - borders[bins]), self.highest)
        from_top, n_top = self.n_firing - 1 - rank, self.top.shape[1]
        kept = self.top_values[neurons, np.clip(from_top, 0, n_top - 1)]
        return np.where(from_top < n_top, kept, value).astype(np.float64)

    def histogram(self, highest: np.ndarray, n_bins: int) -> np.ndarray:
        """Give (d_sae, n_bins) int64 counts in equal bins from 0 to each neuron's `highest`; their sum is `n_firing`.

        A fine bin that a border runs through is shared out by width, and the counts up to each border are rounded: a
        border may be off by a part of a fine bin's count, never the sum.

        Args:
            highest: (d_sae,) upper ends; larger activations are in the last bin.
            n_bins: How many.
        """
        borders, out = edges(), np.zeros((len(self.counts), n_bins), np.int64)
        inner = np.arange(1, n_bins) / n_bins
        for j in np.flatnonzero(self.counts.any(axis=1)):
            upto = np.concatenate([[0], np.cumsum(self.counts[j], dtype=np.int64)])
            at = np.rint(np.interp(inner * float(highest[j]), borders, upto)).astype(np.int64)
            out[j] = np.diff(at, prepend=0, append=upto[-1])
        return out


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which neurons fire in the same rows.

    Attributes:
        n_rows: How many rows were looked at.
        counts: (d_sae, d_sae) int32: the rows in which both fire; on the diagonal those in which one does.
    """

    n_rows: int
    counts: np.ndarray

    @property
    def n_firing(self) -> np.ndarray:
        """Give (d_sae,) int32: the number of these rows in which each neuron fires."""
        return self.counts.diagonal()

    def lift(self, neurons: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Give how much more often two neurons fire together than they would by chance.

            lift_ij = n n_ij / (n_i n_j)

        Args:
            neurons: The rows to give; all by default.

        Returns:
            (len(neurons), d_sae) float64: 1 for chance; NaN where one of the two never fires.
        """
        n = self.n_firing.astype(np.float64)
        expected = np.outer(n[neurons], n) / max(self.n_rows, 1)
        empty = np.full(expected.shape, np.nan)
        return np.divide(self.counts[neurons], expected, out=empty, where=expected > 0)


def edges() -> np.ndarray:
    """Give the (N_BINS + 1,) borders of the fine bins: 0, then those of equal bins between powers of two."""
    octave, part = np.divmod(np.arange(N_BINS + 1), BINS_PER_OCTAVE)
    borders = np.exp2(LOWEST + octave) * (1 + part / BINS_PER_OCTAVE)
    borders[0] = 0
    return borders


def shard_stats(shard: Shard, n_top: int) -> Stats:
    """Give what a shard says of each neuron.

    Args:
        shard: Some rows.
        n_top: How many of the rows in which a neuron fires most are kept.

    Raises:
        ValueError: An id is not a row number, or an activation not a finite number.
    """
    return stream_stats([shard], shard.acts.shape[1], n_top)


def merge(a: Stats, b: Stats) -> Stats:
    """Give what the rows of both say: exactly what one look at all of them would give.

    Raises:
        ValueError: They are not of the same neurons, or do not keep as many rows.
    """
    if a.top.shape != b.top.shape:
        raise ValueError(f"top rows of shape {a.top.shape} and {b.top.shape} do not go together")
    if a.n_rows + b.n_rows > _MOST_ROWS:
        raise ValueError(f"{a.n_rows + b.n_rows:,} rows are more than {_MOST_ROWS:,}")
    top = np.sort(np.concatenate([a.top, b.top], axis=1), axis=1)[:, : a.top.shape[1]]
    return Stats(a.n_rows + b.n_rows, a.counts + b.counts, a.mantissas + b.mantissas, top)


def stream_stats(shards: Iterable[Shard], d_sae: int, n_top: int) -> Stats:
    """Give what all shards say together; each is let go of before the next one is read.

    The same as merging `shard_stats` of each, without the arrays of each.

    Args:
        shards: In any order.
        d_sae: Number of neurons.
        n_top: As for `shard_stats`.

    Raises:
        ValueError: As for `shard_stats`.
    """
    counts = np.zeros((d_sae, N_BINS), np.int32)
    mantissas = np.zeros((d_sae, 256), np.int64)
    top = np.full((d_sae, n_top), _NONE)
    n_rows, add = 0, resolve("core.neurons.shard_loops:add_rows")
    for shard in shards:
        _check(shard, d_sae)
        acts = sparse.csr_matrix(shard.acts, dtype=np.float32)
        parts = (acts.indptr, acts.indices, acts.data.view(np.int32))
        add(parts, np.asarray(shard.ids, np.int64), (_SHIFT, _FIRST), counts, mantissas, top)
        n_rows += len(shard.ids)
    return Stats(n_rows, counts, mantissas, top)


def shard_pairs(shard: Shard) -> Pairs:
    """Give which neurons fire together in a shard."""
    return stream_pairs([shard], shard.acts.shape[1])


def merge_pairs(a: Pairs, b: Pairs) -> Pairs:
    """Give which neurons fire together in the rows of both.

    Raises:
        ValueError: They are not of the same neurons.
    """
    if a.counts.shape != b.counts.shape:
        raise ValueError(f"pairs of {len(a.counts)} and of {len(b.counts)} neurons do not go together")
    return Pairs(a.n_rows + b.n_rows, a.counts + b.counts)


def stream_pairs(shards: Iterable[Shard], d_sae: int) -> Pairs:
    """Give which neurons fire together in all shards; memory for one number each pair of neurons.

    Time grows with the square of the active neurons of a row: give it a sample of the rows (see `sampled`).

    Raises:
        ValueError: As for `shard_stats`.
    """
    counts, n_rows = np.zeros((d_sae, d_sae), np.int32), 0
    add = resolve("core.neurons.shard_loops:add_pairs")
    for shard in shards:
        _check(shard, d_sae)
        acts = sparse.csr_matrix(shard.acts, dtype=np.float32)
        add(acts.indptr, acts.indices, acts.data, counts)
        n_rows += len(shard.ids)
    return Pairs(n_rows, counts)


def shards_of(sae: SAE, embed: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> Iterator[Shard]:
    """Embed and encode rows, a shard at a time.

    Args:
        sae: The encoder.
        embed: Row numbers to their (n, d_in) embeddings.
        rows: (n,) the row numbers, which are the ids.
    """
    encode = resolve("core.sae.codes:encode")
    size = max(1, min(SHARD_ROWS, SHARD_VALUES // sae.config.d_sae))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield Shard(part, encode(sae, embed(part)))


def sampled(ids: np.ndarray, n_total: int, most: int = MOST_PAIRED) -> np.ndarray:
    """Say which rows are in the sample: every row if there are at most `most`, else as many on average.

    By a hash of the id (splitmix64, Steele, Lea, Flood 2014): a row is in or out wherever it lies, so that shards can
    be sampled each by itself.

    Args:
        ids: (n,) row numbers.
        n_total: How many rows there are in all shards.
        most: How many to take.

    Returns:
        (n,) bool.
    """
    if n_total <= most:
        return np.ones(len(ids), bool)
    z = np.asarray(ids).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) < np.uint64(int(2**64 * most / n_total))


def _check(shard: Shard, d_sae: int) -> None:
    n = len(shard.ids)
    if shard.acts.shape != (n, d_sae):
        raise ValueError(f"activations of shape {shard.acts.shape}, expected {(n, d_sae)}")
    if n and not 0 <= np.min(shard.ids) <= np.max(shard.ids) <= _MOST_ROWS:
        raise ValueError(f"ids from {np.min(shard.ids)} to {np.max(shard.ids)}: expected row numbers below 2^31")
    values = shard.acts.data if sparse.issparse(shard.acts) else shard.acts
    if not np.isfinite(values).all():
        raise ValueError("an activation is not a finite number")
