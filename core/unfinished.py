"""Trainings that were stopped: their state lies in `<workspace>/unfinished/<id>/` until the artefact is there."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from core.workspace import Workspace

EVERY_S = 30.0
"""Seconds between two savings; a training that is interrupted saves once more."""


class Unfinished:
    """Where the training of one artefact is kept while it lasts (see `core.sae.checkpoint.Checkpoint`).

    Args:
        workspace: Of the artefact.
        id_: Its id, which holds everything that the training depends on.
    """

    every_steps = 0
    every_s = EVERY_S

    def __init__(self, workspace: Workspace, id_: str) -> None:
        self._workspace, self._folder = workspace, f"unfinished/{id_}"

    def load(self) -> dict[str, np.ndarray] | None:
        """Give what was saved last; None where there is nothing, or nothing that can be read."""
        data = self._workspace.read_bytes(self._folder, "state.safetensors")
        try:
            return None if data is None else dict(load(data))
        except (SafetensorError, ValueError):
            return None

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state, whole or not at all, in the place of the one before.

        Raises:
            UserError: The disk is full, or the folder cannot be written.
        """
        self._workspace.write_bytes(self._folder, "state.safetensors", save(dict(state)))

    def remove(self) -> None:
        """Forget it: the artefact is there."""
        self._workspace.remove_files(self._folder)
