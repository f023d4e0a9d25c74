import numpy as np
import pytest

from core.sae import metrics


def test_cosine_is_the_mean_over_rows_that_have_a_direction():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert metrics.cosine(X, np.array([[2.0, 0.0], [1.0, 0.0], [1.0, 1.0]])) == pytest.approx(0.5)


def test_what_is_undefined_is_nan_and_not_a_perfect_score():
    assert np.isnan(metrics.fvu(np.ones((3, 2)), np.ones((3, 2))))
    assert np.isnan(metrics.cosine(np.zeros((3, 2)), np.ones((3, 2))))


def test_the_unexplained_variance_of_a_perfect_copy_is_zero_and_of_half_the_way_a_quarter():
    X = np.array([[0.0], [4.0]])
    assert metrics.fvu(X, X) == 0
    assert metrics.fvu(X, np.array([[1.0], [3.0]])) == pytest.approx(0.25)


def test_a_neuron_counts_as_active_only_above_zero():
    acts = np.array([[0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 3.0]])
    assert metrics.l0(acts) == 1.5
    assert metrics.density(acts).tolist() == [0, 0.5, 0, 1]
    assert metrics.alive(acts).tolist() == [False, True, False, True]
    assert metrics.alive(acts, np.array([[4.0, 0, 0, 0]])).tolist() == [True, True, False, True]
