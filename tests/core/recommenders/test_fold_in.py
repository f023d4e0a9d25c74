"""Folding histories into a space of which only the vectors are known."""

import numpy as np
import pytest

from core.recommenders import fold_in
from core.recommenders.fold_in import FoldIn, discriminant, enough_users, regression

HISTORIES = [np.array(h) for h in ([0, 1], [2], [0, 2, 3], [1, 3], [3], [0], [1, 2, 3], [0, 1, 2, 3], [2, 3], [1])]
V = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 3.0]], np.float32)
NO_BIAS = np.zeros(4, np.float32)


def pooled(power: float) -> np.ndarray:
    return np.stack([V[h].sum(axis=0) / len(h) ** power for h in HISTORIES])


def test_it_is_a_linear_map_of_the_sum_or_mean_of_the_items() -> None:
    fold = FoldIn(np.array([[1.0, 2.0], [0.0, 1.0]], np.float32), np.array([0.5, 0.0], np.float32), 1.0, 0.0)
    assert fold.embed([np.array([0, 1])], V).tolist() == [[1.5, 2.5]]  # mean (1, 0.5)
    assert fold._replace(power=0.0).embed([np.array([0, 1])], V).tolist() == [[2.5, 5.0]]  # sum (2, 1)
    assert fold._replace(length=5.0).embed([np.array([0])], V).tolist() == [pytest.approx([2.6503, 4.2400], abs=1e-3)]


def test_an_empty_history_is_nowhere_and_an_item_twice_counts_once() -> None:
    for fold in (discriminant(V, NO_BIAS, None), regression(V, HISTORIES, pooled(0.0), 0.0)):
        assert fold.embed([np.array([], int)], V).tolist() == [[0, 0]]
        assert np.array_equal(fold.embed([np.array([1, 1])], V), fold.embed([np.array([1])], V))
        assert fold.embed([], V).shape == (0, 2)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_regression_finds_what_made_the_users(power: float) -> None:
    W, c = np.array([[0.3, -1.0], [2.0, 0.1]]), np.array([0.7, -0.2])
    rng = np.random.default_rng(0)
    items = rng.normal(size=(30, 2)).astype(np.float32)
    histories = [rng.choice(30, size, replace=False) for size in rng.integers(1, 15, 400)]
    users = np.stack([items[h].sum(axis=0) / len(h) ** power for h in histories]) @ W + c
    fold = regression(items, histories, users.astype(np.float32), 0.0)
    assert fold.power == power
    np.testing.assert_allclose(fold.W, W, atol=1e-3)
    np.testing.assert_allclose(fold.embed(histories, items), users, rtol=1e-3, atol=2e-3)


def test_histories_of_one_length_make_the_regression_one_of_means() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(30, 2)).astype(np.float32)
    histories = [rng.choice(30, 6, replace=False) for _ in range(100)]
    users = np.stack([items[h].mean(axis=0) for h in histories]) + rng.normal(0, 0.1, (100, 2))
    assert regression(items, histories, users, 0.0).power == 1


@pytest.mark.parametrize("strength", [1e-5, 0.1])
def test_the_regression_is_least_squares_with_a_penalty(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_in, "PENALTIES", (strength,))
    rng = np.random.default_rng(1)
    users = rng.normal(size=(10, 2))
    fold = regression(V, HISTORIES, users, 0.0)
    m = pooled(fold.power)
    penalty = strength * np.trace((m - m.mean(0)).T @ (m - m.mean(0))) / 2
    # The same by ordinary least squares: the penalty as two more observations, the offset as one more column.
    A = np.block([[m, np.ones((10, 1))], [np.sqrt(penalty) * np.eye(2), np.zeros((2, 1))]])
    expected = np.linalg.lstsq(A, np.vstack([users, np.zeros((2, 2))]), rcond=None)[0]
    np.testing.assert_allclose(fold.W, expected[:2], atol=1e-5)
    np.testing.assert_allclose(fold.c, expected[2], atol=1e-5)


def test_the_discriminant_is_fishers_of_the_consumed_items_against_all() -> None:
    S = np.cov(V.T, bias=True)
    shrunk = S + np.trace(S) / 2 * np.eye(2)
    fold = discriminant(V, NO_BIAS, 3.0)
    for history in HISTORIES:
        direction = np.linalg.solve(shrunk, V[history].mean(axis=0) - V.mean(axis=0))
        if np.linalg.norm(direction) < 1e-6:
            continue  # somebody who consumed everything
        found = fold.embed([history], V)[0]
        np.testing.assert_allclose(found, 3 * direction / np.linalg.norm(direction), atol=1e-5)


def test_what_all_items_share_says_nothing_of_a_viewer() -> None:
    moved = V + np.array([50.0, -20.0], np.float32)
    a, b = discriminant(V, NO_BIAS, 1.0), discriminant(moved, NO_BIAS, 1.0)
    np.testing.assert_allclose(a.embed(HISTORIES[:3], V), b.embed(HISTORIES[:3], moved), atol=1e-3)


def test_without_known_users_tastes_spread_twice_as_far_as_biases() -> None:
    rng = np.random.default_rng(0)
    items, b = rng.normal(size=(500, 6)).astype(np.float32), rng.normal(size=500).astype(np.float32)
    fold = discriminant(items, b, None)
    scores = fold.embed([np.array([i]) for i in range(500)], items) @ items.T
    assert scores.std(axis=1).mean() == pytest.approx(2 * b.std(), rel=0.05)
    assert discriminant(items, np.zeros(500, np.float32), None).length == 1


def test_items_that_are_all_alike_leave_nobody_anywhere_but_finite() -> None:
    same = np.ones((5, 3), np.float32)
    for b in (np.zeros(5, np.float32), np.arange(5, dtype=np.float32)):
        assert np.isfinite(discriminant(same, b, None).embed(HISTORIES[:3], same)).all()
    users = np.ones((10, 3), np.float32)
    np.testing.assert_allclose(regression(same, HISTORIES, users, 0.0).embed(HISTORIES, same), users, atol=1e-5)


def test_a_regression_needs_two_users_for_each_number_of_a_vector() -> None:
    assert enough_users(130, 64) and not enough_users(129, 64)
