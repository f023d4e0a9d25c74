"""What an untouched Steer page starts with."""

import numpy as np
import pytest

from core.runs import Run
from dashboard import cache, viewers
from dashboard.listing import list_concepts


def test_a_page_starts_with_concepts_whose_labels_claim_something(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    concepts = list_concepts(full.table, full.dataset.titles())
    viewer = viewers.build_viewer(full, None, 0)
    named = int(concepts["neuron"].iloc[3])
    concepts["label"] = [
        "Horror" if j == named else f"{('Mixed', 'Unclear')[i % 2]} · #{j}" for i, j in enumerate(concepts["neuron"])
    ]
    monkeypatch.setattr(cache, "concepts", lambda _: concepts)
    assert viewers.starting_concepts(full, viewer) == [named]
    concepts["label"] = [f"Mixed · #{j}" for j in concepts["neuron"]]
    assert len(viewers.starting_concepts(full, viewer)) > 1  # where nothing has a name, what there is
    assert np.isfinite(viewer.scores).all()
