"""The sweeps that lie in a workspace, read again for a page."""

import json
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from core.sweep.grid import FOLDER, JSON
from core.sweep.points import Point
from core.workspace import Workspace


class StoredSweep(NamedTuple):
    """A sweep as it was written; every text is untrusted."""

    title: str
    why: str
    """Which point is recommended, and why."""
    recommended: int | None
    loss_bound: float
    n_points: int
    """How many there will be."""
    points: list[Point]
    frontier: list[bool]
    run_ids: set[str]
    """The runs that its points are."""


def sweeps_of(workspace: Workspace, recommender: str) -> list[StoredSweep]:
    """Give the sweeps over one recommender, newest first; files that are not ours are left out.

    Args:
        workspace: Where they lie.
        recommender: Id of the artefact.
    """
    found = [_read(workspace.read_text(place, JSON), recommender) for place in workspace.written(FOLDER, JSON)]
    return [sweep for sweep in found if sweep is not None]


def _read(text: str | None, recommender: str) -> StoredSweep | None:
    try:
        values = json.loads(text or "")
        if values["ids"]["recommender"] != recommender:
            return None
        rows, recommended = values["points"], values["recommended"]
        points = [_point(row) for row in rows]
        return StoredSweep(
            str(values["title"]),
            str(values["why"]),
            recommended if recommended in range(len(points)) else None,
            float(values["loss_bound"]),
            int(values["n_points"]),
            points,
            [bool(row["frontier"]) for row in rows],
            {point.run for point in points if point.run},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _point(row: dict[str, Any]) -> Point:
    """Give a point; a number that could not be measured was written as null."""
    numbers = {
        field.name: float(np.nan if row.get(field.name) is None else row[field.name])
        for field in fields(Point)
        if field.name not in ("settings", "problem", "run")
    }
    settings = {str(name): str(value) for name, value in row["settings"].items()}
    return Point(settings, str(row["problem"]), str(row["run"]), **numbers)
