"""The inner loop of `core.neurons.separation`, compiled. Nothing here checks its arguments."""

import numpy as np

from core.sae.kernels import compiled

__all__ = ["separate"]


@compiled(error_model="numpy")
def _finish(
    sums: np.ndarray, above: np.ndarray, done: np.ndarray, n_with: np.ndarray, n_rows: int, n_fire: int
) -> None:
    """Count the rows that do not fire, and make means of the sums of one neuron."""
    silent = n_rows - n_fire
    for f in range(len(n_with)):
        n_without = n_rows - n_with[f]
        left = n_with[f] - above[f]
        without = silent - left
        sums[f, 2] += (n_fire - done[f]) * above[f] ** 2 + without * (above[f] + left / 2) ** 2
        share = 1 - (n_fire - above[f] + without / 2) / n_without
        sums[f, 0] = (sums[f, 0] + left * share) / n_with[f]
        sums[f, 1] = (sums[f, 1] + left * share**2) / n_with[f]
        sums[f, 2] /= n_without * n_with[f] ** 2


@compiled(error_model="numpy")
def separate(
    firing: tuple[np.ndarray, np.ndarray, np.ndarray],
    facts: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_rows: int,
    n_top: int,
    out: np.ndarray,
    hits: np.ndarray,
    moments: np.ndarray,
) -> None:
    """Walk down the rows that fire each neuron, strongest first, and keep count of each fact.

    Rows that fire alike are one group; those that do not fire are the last one. For a fact with m rows that have it and
    n that have not, a row that has it stands above a share of those that have not (ties half), and the other way round.

    Args:
        firing: By neuron: where its rows start, (d + 1,); the rows, strongest first; their activations.
        facts: By row: where its facts start, (n_rows + 1,); the facts. And the number of rows with each fact, (f,).
        n_rows: How many rows there are.
        n_top: Of how many of the strongest rows the facts are counted.
        out: (d, f, 3), to be filled: the mean share of those above whom they stand, and the mean squares of the shares,
            over the rows that have the fact and over those that have not.
        hits: (d, f, 2) int32, of zeros, to be filled: of the strongest rows, and of all that fire, those with the fact.
        moments: (d, 2), to be filled: the second and third central moments of the ranks of all rows.
    """
    starts, rows, values = firing
    fact_starts, fact_of, n_with = facts
    d, n_facts = len(starts) - 1, len(n_with)
    above, inside, done = np.zeros(n_facts), np.zeros(n_facts), np.zeros(n_facts)
    touched = np.empty(n_facts, np.int64)
    for j in range(d):
        begin, n_fire = starts[j], starts[j + 1] - starts[j]
        above[:], done[:] = 0, 0
        sums = out[j]
        sums[:] = 0
        m2 = m3 = 0.0
        a = 0
        while a < n_fire:
            b = a + 1
            while b < n_fire and values[begin + b] == values[begin + a]:
                b += 1
            size, n_touched = b - a, 0
            for place in range(a, b):
                row = rows[begin + place]
                for k in range(fact_starts[row], fact_starts[row + 1]):
                    f = fact_of[k]
                    if inside[f] == 0:
                        touched[n_touched] = f
                        n_touched += 1
                    inside[f] += 1
                    hits[j, f, 1] += 1
                    hits[j, f, 0] += place < n_top
            for k in range(n_touched):
                f = touched[k]
                n_without = n_rows - n_with[f]
                sums[f, 2] += (a - done[f]) * above[f] ** 2  # the rows without it since the last one with it
                without = size - inside[f]
                sums[f, 2] += without * (above[f] + inside[f] / 2) ** 2
                share = 1 - (a - above[f] + without / 2) / n_without
                sums[f, 0] += inside[f] * share
                sums[f, 1] += inside[f] * share**2
                above[f] += inside[f]
                done[f], inside[f] = b, 0
            apart = n_rows / 2 - a - size / 2
            m2 += size * apart**2
            m3 += size * apart**3
            a = b
        silent = n_rows - n_fire
        apart = -n_fire / 2
        moments[j, 0] = (m2 + silent * apart**2) / n_rows
        moments[j, 1] = (m3 + silent * apart**3) / n_rows
        _finish(sums, above, done, n_with, n_rows, n_fire)
