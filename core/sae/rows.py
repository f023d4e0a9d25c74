"""Embeddings as rows that may lie on a disk: in memory, memory-mapped, one array or several, none ever copied whole."""

import mmap
from collections.abc import Callable, Iterator, Sequence

import numpy as np

BLOCK = 2**22
"""Numbers that are looked at at a time: 16 MiB."""
MAPPED = 128
"""Rows taken one by one after which mapped pages are given back: a row can map a large page, 2 MiB."""

Change = Callable[[np.ndarray], np.ndarray]


class Rows:
    """The rows of some arrays, one after another, as float32.

    Whatever is measured of them is measured block by block, so that it is the same bit for bit whether they lie in one
    array or in several, in memory or on a disk. An array only needs a `shape` and rows by a slice or by ascending
    numbers: what `np.load(file, mmap_mode="r")` gives is read as it is needed.

    Args:
        parts: (n, d) arrays of one width d.
        change: What becomes of rows when they are read, each by itself: (n, d) to (n, d).
    """

    def __init__(self, parts: Sequence[np.ndarray], change: Change | None = None) -> None:
        self.parts, self.change = tuple(parts), change
        self.starts = np.cumsum([0, *(part.shape[0] for part in self.parts)])
        self.shape = (int(self.starts[-1]), int(self.parts[0].shape[1]))
        self._n_taken = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Give (len(rows), d) rows by their numbers, in any order; files are read from front to back."""
        rows = np.asarray(rows)
        if len(self.parts) == 1 and type(self.parts[0]) is np.ndarray:
            return self._read(self.parts[0][rows])
        order, out = np.argsort(rows, kind="stable"), np.empty((len(rows), self.shape[1]), np.float32)
        for begin in range(0, len(rows), MAPPED):
            some = order[begin : begin + MAPPED]
            cuts = np.searchsorted(rows[some], self.starts)
            for part, start, first, last in zip(self.parts, self.starts[:-1], cuts[:-1], cuts[1:], strict=True):
                if first < last:
                    out[some[first:last]] = part[rows[some[first:last]] - start]
            self._n_taken += len(some)
            if self._n_taken >= MAPPED:
                self._give_back()
        return self._read(out)

    def through(self, change: Change) -> "Rows":
        """Give the same rows with `change` made to them whenever they are read."""
        return Rows(self.parts, change)

    def blocks(self) -> Iterator[np.ndarray]:
        """Give all rows in their order, so many at a time that they have `BLOCK` numbers."""
        size = max(1, BLOCK // max(self.shape[1], 1))
        for start in range(0, len(self), size):
            yield self._between(start, min(start + size, len(self)))

    def mean_of(self, measure: Callable[[np.ndarray], np.ndarray | float]) -> np.ndarray:
        """Give the mean over all rows of what `measure` gives as a mean over some, in float64."""
        total: np.ndarray = np.zeros(())
        for block in self.blocks():
            total = total + np.asarray(measure(block), np.float64) * len(block)
        return total / len(self)

    def mean(self) -> np.ndarray:
        """Give the (d,) mean row."""
        return self.mean_of(lambda block: block.mean(axis=0)).astype(np.float32)

    def are_finite(self) -> bool:
        """Say whether every number is finite."""
        return all(bool(np.isfinite(block).all()) for block in self.blocks())

    def _between(self, start: int, end: int) -> np.ndarray:
        """Give a copy of rows that follow each other."""
        out = np.empty((end - start, self.shape[1]), np.float32)
        for part, first in zip(self.parts, self.starts[:-1], strict=True):
            low, high = max(start - first, 0), min(end - first, part.shape[0])
            if low < high:
                with np.errstate(over="ignore"):  # beyond float32 it is infinite
                    out[low + first - start : high + first - start] = part[low:high]
        self._give_back()
        return self._read(out)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(rows, np.float32)
        return rows if self.change is None else self.change(rows)

    def _give_back(self) -> None:
        """Let go of the pages of files that are mapped for reading: they would count as memory of this process."""
        self._n_taken = 0
        for part in self.parts:
            file = getattr(part, "_mmap", None)
            if isinstance(part, np.memmap) and part.mode == "r" and file is not None and hasattr(mmap, "MADV_DONTNEED"):
                file.madvise(mmap.MADV_DONTNEED)
