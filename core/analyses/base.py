"""The analyses of a run: which there are, how those that are missing are made, how those that are there are found.

An analysis is an artefact like a stage's, in a folder of its own name, with the whole chain of a run as its parents. A
run is complete without: a page that shows one says what to run where it is missing.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.errors import ConfigError, near
from core.progress import Progress, no_progress
from core.recommenders.base import resolve
from core.runs import Run
from core.workspace import ANALYSES, artefact_id, lives

WORKING = "analysing"
"""The folder with a file for each run that is being analysed now."""


class Analysis(NamedTuple):
    """One kind of analysis."""

    title: str
    """For people, as the end of "is being computed: ..."."""
    make: str
    """Import path of `function(run: Run, progress: Progress) -> Made`, resolved when it is needed."""
    version: int
    """Grows when the same run would give another result: what was saved before is then computed anew."""


class Made(NamedTuple):
    """What an analysis gives."""

    arrays: Mapping[str, np.ndarray]
    tables: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, Any]


KNOWN: dict[str, Analysis] = {
    "associations": Analysis("what each concept goes with", "core.analyses.associations:make", 1),
    "relatives": Analysis(
        "opposite concepts, those that fire together, and what each one moves", "core.analyses.relatives:make", 1
    ),
    "responses": Analysis("what a dose of each concept brings", "core.analyses.responses:make", 2),
    "audit": Analysis("which parts of the catalogue can be steered", "core.analyses.audit:make", 2),
    "trust": Analysis("how far the labels can be trusted", "core.analyses.trust:make", 1),
    "map": Analysis("the map", "core.analyses.map:make", 1),
}
"""In the order in which they are made: one may read those before it with `find`."""


def analyse(run: Run, names: Iterable[str] | None = None, progress: Progress = no_progress) -> list[str]:
    """Make the analyses of a run that are missing, and give the names of those that were made.

    Args:
        run: A finished run.
        names: Which; all by default. Those that they need have to be there, or among them.
        progress: Told how far each one is.

    Raises:
        ConfigError: There is no such analysis.
        UserError: Something that a person can mend; what was finished before stays.
    """
    asked = list(KNOWN) if names is None else list(names)
    for name in asked:
        if name not in KNOWN:
            raise ConfigError(
                f"There is no analysis {name!r}{near(name, list(KNOWN))}.", f"Use one of: {', '.join(KNOWN)}."
            )
    made = []
    place = f"{WORKING}/{run.id}"
    try:
        for name, known in KNOWN.items():
            if name not in asked or find(run, name) is not None:
                continue
            state = {"pid": os.getpid(), "name": name}
            run.workspace.write_text(place, "state.json", json.dumps(state))
            progress(name, 0, 1, {})
            started, cpu = time.perf_counter(), time.process_time()
            found: Made = resolve(known.make)(run, progress)
            run.workspace.save(
                name, id_of(run, name), config=_config(name), seed=run.seed, parents=run.ids, arrays=found.arrays,
                tables=found.tables, metrics={**found.metrics, "cpu_s": round(time.process_time() - cpu, 3)},
                seconds=time.perf_counter() - started,
            )  # fmt: skip
            progress(name, 1, 1, {})
            made.append(name)
    finally:
        run.workspace.remove_files(place)
    return made


def find(run: Run, name: str) -> Made | None:
    """Give an analysis of a run; None where it was not made yet."""
    id_ = id_of(run, name)
    if not run.workspace.has(name, id_):
        return None
    meta = run.workspace.meta(name, id_)
    return Made(run.workspace.arrays(name, id_), run.workspace.tables(name, id_), meta.metrics)


def working_on(run: Run) -> str | None:
    """Give the name of the analysis of this run that some process is making now; None where there is none."""
    try:
        state = json.loads(run.workspace.read_text(f"{WORKING}/{run.id}", "state.json") or "{}")
        pid, name = int(state["pid"]), str(state["name"])
    except (KeyError, TypeError, ValueError):
        return None
    return name if name in KNOWN and lives(pid) else None


def id_of(run: Run, name: str) -> str:
    """Give the id that an analysis of a run has, whether it is there or not."""
    return artefact_id(name, name, _config(name), run.seed, run.ids)


def _config(name: str) -> dict[str, Any]:
    return {"version": KNOWN[name].version}


assert set(KNOWN) <= set(ANALYSES)
