"""SAELens itself and this program say the same of the same embeddings, where SAELens is installed."""

import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sae_lens", reason="sae-lens is not installed: docs/exchange.md says what this test found")
    from tests.benchmarks.saelens import N, from_here, from_there


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("compare", [from_here, from_there])
def test_saelens_says_the_same(compare, tmp_path: Path):
    for name, found in compare(tmp_path):
        is_exact = "sample" not in name and "layer_norm" not in name
        assert max(found.acts, found.rebuilt) < (2e-6 if is_exact else 1e-4), name
        assert found.n_others <= (0 if is_exact else N // 100), name
