"""Vectors that were trained elsewhere, as a recommender."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import TrainingError
from core.recommenders.base import BROUGHT, RECOMMENDERS, Recommender, embed_users, entry, rank, recommender_class
from core.recommenders.precomputed import Precomputed, PrecomputedConfig
from tests.core.recommenders.blocks import ITEMS_A_BLOCK, N_ITEMS, block_log, dataset_of

LOG = dataset_of([[0, 1], [], [1, 2]], 3)
V = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], np.float32)
B = np.array([0.0, 1.0, 0.0], np.float32)
U = np.array([[1.0, 0.0], [np.nan, np.nan], [0.0, 5.0]], np.float32)


def planted(n_known: int = 120, scoring: str = "dot") -> Precomputed:
    """Give vectors in which each block has a direction of its own, of the first `n_known` users."""
    rng = np.random.default_rng(0)
    log, _ = block_log()
    directions = np.eye(4, 6)
    items = np.repeat(directions, ITEMS_A_BLOCK, axis=0) + 0.1 * rng.normal(size=(N_ITEMS, 6)) + 0.3
    users = directions[np.arange(log.n_users) % 4] + 0.05 * rng.normal(size=(log.n_users, 6))
    users[n_known:] = np.nan
    vectors = None if n_known == 0 else users.astype(np.float32)
    return Precomputed.bring(log, items.astype(np.float32), np.zeros(N_ITEMS, np.float32), vectors, scoring)  # type: ignore[arg-type]


def test_a_score_is_the_product_and_the_bias() -> None:
    model = Precomputed.bring(LOG, V, B, U, "dot")
    assert isinstance(model, Recommender)
    assert model.score(U[[0, 2]]).tolist() == [[3, 1, 1], [20, 11, 0]]


def test_a_cosine_knows_no_lengths() -> None:
    model = Precomputed.bring(LOG, V, np.zeros(3, np.float32), U, "cosine")
    assert model.native_users is not None
    np.testing.assert_allclose(model.score(model.native_users[[0, 2]]), [[0.6, 0, 1], [0.8, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(model.embed([np.array([0, 1]), np.array([2])]), axis=1), 1, atol=1e-6)
    longer = Precomputed.bring(LOG, V * np.array([[2], [30], [0.1]], np.float32), model.b, U * 7, "cosine")
    np.testing.assert_allclose(longer.V, model.V, atol=1e-6)
    np.testing.assert_allclose(longer.native_users, model.native_users, atol=1e-6)


def test_known_users_have_their_own_vectors_and_others_are_folded_in() -> None:
    model = Precomputed.bring(LOG, V, B, U, "dot")
    found = embed_users(model, LOG, np.array([2, 1, 0]))  # type: ignore[arg-type]
    assert found[0].tolist() == [0, 5] and found[2].tolist() == [1, 0]
    assert np.array_equal(found[1], model.embed([np.array([], int)])[0])
    assert model.native_users is not None and np.isnan(model.native_users[1]).all(), "nothing is written to"


@pytest.mark.parametrize("scoring", ["dot", "cosine"])
@pytest.mark.parametrize("n_known", [120, 8, 0])
def test_an_invented_viewer_is_recommended_the_block_of_their_items(n_known: int, scoring: str) -> None:
    model = planted(n_known, scoring)
    assert model.config.fold_in == ("ridge" if n_known == 120 else "discriminant")
    histories = [np.array([i]) for i in range(N_ITEMS)]
    top = rank(model.score(model.embed(histories)), 3, histories)
    assert (top // ITEMS_A_BLOCK == np.arange(N_ITEMS)[:, None] // ITEMS_A_BLOCK).mean() > 0.95


def test_known_users_are_folded_in_to_where_they_are() -> None:
    model, (log, _) = planted(120), block_log()
    assert model.native_users is not None
    there, folded = model.native_users, model.embed(log.histories())
    assert ((folded - there) ** 2).mean() < 0.1 * there.var()


def test_without_a_log_the_length_is_that_of_the_known_users() -> None:
    users = np.full((4, 2), 3.0, np.float32)
    model = Precomputed.bring(dataset_of([[], [], [], []], 3), V, B, users, "dot")
    np.testing.assert_allclose(np.linalg.norm(model.embed([np.array([2])]), axis=1), np.sqrt(18), rtol=1e-5)


@pytest.mark.parametrize("n_known", [120, 7, 0])
def test_arrays_restore_it_exactly(n_known: int) -> None:
    model, histories = planted(n_known), block_log()[0].histories()
    again = Precomputed.from_arrays(model.config, model.to_arrays())
    assert np.array_equal(again.embed(histories), model.embed(histories))
    assert np.array_equal(again.score(again.embed(histories)), model.score(model.embed(histories)))
    if n_known == 0:
        assert again.native_users is model.native_users is None
    else:
        assert np.array_equal(again.native_users, model.native_users, equal_nan=True)


def test_rows_do_not_depend_on_the_batch_and_the_torch_twin_agrees() -> None:
    model, histories = planted(), [np.array(h) for h in ([], [3], [0, 11, 39], list(range(N_ITEMS)))]
    together = model.embed(histories)
    np.testing.assert_allclose(together, np.concatenate([model.embed([h]) for h in histories]), atol=1e-6)
    twin = model.torch_scorer()(torch.tensor(together))
    np.testing.assert_allclose(twin.numpy(), model.score(together), atol=1e-5)


def test_items_are_seen_by_their_own_vectors() -> None:
    model = planted()
    assert np.array_equal(model.probe_items(), model.V) and np.array_equal(model.embed_items(), model.V)


def test_it_is_known_and_cannot_be_trained() -> None:
    assert recommender_class("precomputed") is Precomputed and "precomputed" in BROUGHT
    assert "precomputed" not in RECOMMENDERS and entry("elsa") is RECOMMENDERS["elsa"]
    with pytest.raises(TrainingError, match="trained elsewhere") as error:
        Precomputed.fit(LOG, PrecomputedConfig(), seed=0)
    assert "python -m core import" in error.value.fix


def test_inference_imports_no_torch(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", **planted().to_arrays())
    program = f"""
import sys, numpy as np
from core.recommenders.base import rank, recommender_class
kind = recommender_class("precomputed")
with np.load({str(tmp_path / "arrays.npz")!r}) as arrays:
    model = kind.from_arrays(kind.Config(), dict(arrays))
rank(model.score(model.embed([np.array([1, 2])])), 3)
print(sorted({{"torch", "sklearn", "umap", "streamlit"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr
