"""Trainings that stop in the middle of a build go on where they were."""

from pathlib import Path

import numpy as np
import pytest

from core.pipeline import build
from core.unfinished import Unfinished
from core.workspace import Workspace
from tests.core.test_pipeline import tiny_request


class Stop:
    """Progress that interrupts the SAE's training once, as Ctrl-C does, and notes its first step."""

    def __init__(self, after: int | None) -> None:
        self.after, self.steps = after, list[int]()

    def __call__(self, stage: str, done: int, total: int, numbers: dict[str, float]) -> None:
        if stage != "sae":
            return
        self.steps.append(done)
        if self.after is not None and done >= self.after:
            raise KeyboardInterrupt


def test_a_build_that_is_interrupted_goes_on_in_the_middle_of_its_training_and_ends_as_if_it_were_not(
    tiny_folder: Path, tmp_path: Path
) -> None:
    workspace, first, second = Workspace(tmp_path / "w"), Stop(after=20), Stop(after=None)
    with pytest.raises(KeyboardInterrupt):
        build(tiny_request(tiny_folder), workspace, first)
    assert len(list(workspace.path.glob("unfinished/*/state.safetensors"))) == 1
    run = build(tiny_request(tiny_folder), workspace, second)
    assert second.steps[0] > first.steps[-1] >= 20, "not from the beginning"
    assert not list(workspace.path.glob("unfinished/*")), "what is built needs no state any more"
    whole = build(tiny_request(tiny_folder), Workspace(tmp_path / "reference"))
    assert run.ids == whole.ids
    for name, array in whole.sae.to_arrays().items():
        np.testing.assert_array_equal(run.sae.to_arrays()[name], array)
    steps, steady = (r.workspace.tables("sae", r.ids["sae"])["history"]["step"] for r in (run, whole))
    assert steps.is_monotonic_increasing and steps.equals(steady)


def test_a_state_that_cannot_be_read_is_not_used(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    kept = Unfinished(workspace, "knots-01234567")
    assert kept.load() is None
    kept.save({"n_done": np.array([3])})
    state = kept.load()
    assert state is not None and state["n_done"].tolist() == [3]
    (tmp_path / "unfinished" / "knots-01234567" / "state.safetensors").write_bytes(b"not a state")
    assert kept.load() is None
    kept.remove()
    assert not (tmp_path / "unfinished" / "knots-01234567").exists()
