"""Labels by language models as they lie in a workspace: `<workspace>/labels/<run>/<job>/`, a table and what it is.

A job is one way to label one run: a model on a server, and a preset. Its table grows while the job runs; what people
decide about labels lies elsewhere and is never touched.
"""

import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import pyarrow

from core.labels.failures import Failure
from core.workspace import Workspace, artefact_id, to_plain

LABELLED = "labelled"
"""The status of a neuron that has a label; every other status is a `Failure`."""
FOLDER, TABLE, ABOUT, BEAT = "labels", "labels.parquet", "about.json", "now.json"
VERSION = 1
"""Grows when the same answers would give other labels."""
COLUMNS: dict[str, str] = {
    "neuron": "int64", "status": "str", "label": "str", "description": "str", "kind": "str", "evidence": "object",
    "model": "str", "at": "str", "tokens_in": "int64", "tokens_out": "int64", "usd": "float64", "n_calls": "int64",
    "twin": "int64", "precision": "float64", "recall": "float64", "f1": "float64", "detail": "str",
}  # fmt: skip
"""`evidence`: ids of items. `usd`: NaN where no price is known. `twin`: another neuron with the same label, else -1.
`precision`, `recall`, `f1`: of RecSAE's second step, else NaN. `detail`: of a failure."""


class Labels(NamedTuple):
    """The labels of one job."""

    job: str
    frame: pd.DataFrame
    """A row for each neuron that was asked about, by neuron; see `COLUMNS`. `label` is "" unless it is labelled."""
    about: dict[str, Any]
    """`model`, `host`, `preset`, `started`, `updated`, `finished`, `stopped` (why, or ""), `spent_usd`, `spent_tokens`,
    `cap_usd`, `cap_tokens`, `counts` (status to number)."""

    @property
    def named(self) -> dict[int, str]:
        """Neuron to label, of those that have one. Untrusted text."""
        rows = self.frame[self.frame["status"] == LABELLED]
        return dict(zip(rows["neuron"].tolist(), rows["label"].tolist(), strict=True))

    @property
    def failed(self) -> dict[str, list[int]]:
        """Why to which neurons, of those that have no label."""
        rows = self.frame[self.frame["status"] != LABELLED]
        return {str(why): part["neuron"].tolist() for why, part in rows.groupby("status")}


class Heartbeat(NamedTuple):
    """How far a running labelling is. The model's name is untrusted text."""

    model: str
    stage: str
    done: int
    total: int
    """Of this stage."""
    failed: int
    started: float
    """Seconds since 1970, of the stage."""
    at: float
    """When this was written."""
    left_s: float | None
    """Seconds that the rest of the stage will take at the pace so far, kept answers aside; None before any came."""
    tokens: int
    usd: float | None
    """What all calls of the job have cost; None where no price is known."""
    usd_at_end: float | None
    """The same at the end of the stage, at the cost of those so far."""
    cap_usd: float | None


def write_heartbeat(workspace: Workspace, run_id: str, beat: Heartbeat) -> None:
    """Write how far the labelling of a run is.

    Raises:
        UserError: The folder cannot be written.
    """
    workspace.write_text(f"{FOLDER}/{run_id}", BEAT, json.dumps(beat._asdict(), allow_nan=False))


def read_heartbeat(workspace: Workspace, run_id: str) -> Heartbeat | None:
    """Give the last sign of life of the labelling of a run, which may have ended since; None where there is none."""
    try:
        return Heartbeat(**json.loads(workspace.read_text(f"{FOLDER}/{run_id}", BEAT) or ""))
    except (ValueError, TypeError):
        return None


def job_of(model: str, base_url: str, preset: str) -> str:
    """Give the id of a job: readable, and another one for another server."""
    config = {"model": model, "base_url": base_url, "preset": preset, "version": VERSION}
    return artefact_id(model, FOLDER, config, None, {})


def write_labels(workspace: Workspace, run_id: str, job: str, frame: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Write a job's table and what it is, each whole or not at all.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    workspace.write_bytes(f"{FOLDER}/{run_id}/{job}", TABLE, buffer.getvalue())
    text = json.dumps(to_plain(about), indent=1, ensure_ascii=False, allow_nan=False)
    workspace.write_text(f"{FOLDER}/{run_id}/{job}", ABOUT, text)


def read_labels(workspace: Workspace, run_id: str, job: str | None = None) -> Labels | None:
    """Give the labels of a job, of the one that was written last by default; None where there are none to be read."""
    places = workspace.written(f"{FOLDER}/{run_id}", TABLE) if job is None else [f"{FOLDER}/{run_id}/{job}"]
    for place in places:
        data, text = workspace.read_bytes(place, TABLE), workspace.read_text(place, ABOUT)
        try:
            frame = pd.read_parquet(io.BytesIO(data or b""))
            about = json.loads(text or "")
        except (ValueError, OSError, pyarrow.ArrowException):
            continue
        if set(COLUMNS) <= set(frame) and isinstance(about, dict):
            return Labels(place.rsplit("/", 1)[1], frame.astype({"status": "str", "label": "str"}), about)
    return None


def jobs(workspace: Workspace, run_id: str) -> list[str]:
    """Give the jobs of a run that have labels, newest first."""
    return [place.rsplit("/", 1)[1] for place in workspace.written(f"{FOLDER}/{run_id}", TABLE)]


def counts_of(frame: pd.DataFrame) -> dict[str, int]:
    """Give how many neurons have each status, the labelled first, then failures in their own order."""
    found = frame["status"].value_counts().to_dict()
    return {name: int(found[name]) for name in (LABELLED, *Failure) if name in found}
