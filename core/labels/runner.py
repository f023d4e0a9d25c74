"""Labels for the neurons of a run by a language model: several at a time, within a cap, stopped and resumed at will.

Every neuron that is asked about ends with a label or with the name of its failure. Whatever stops a run, answers that
had arrived are kept with the calls (`core.labels.calls`): the same run again takes them from there and goes on.
"""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pandas as pd

from core.errors import UserError
from core.labels.calls import Calls, now
from core.labels.costs import Cap, CapReachedError, Tokens
from core.labels.failures import OF_ANSWERS, Failure
from core.labels.llm import Client
from core.labels.namer import Outcome, against, name
from core.labels.pace import Pace
from core.labels.plan import Evidences, Plan
from core.labels.screen import words
from core.labels.stored import (
    COLUMNS,
    LABELLED,
    Labels,
    counts_of,
    read_labels,
    write_heartbeat,
    write_labels,
)
from core.progress import Progress, no_progress
from core.runs import Run

SAVE_EVERY_S, BEAT_EVERY_S = 5.0, 1.0
_NAMELESS = ("mixed", "unclear")


def label_neurons(run: Run, plan: Plan, progress: Progress = no_progress, evidences: Evidences | None = None) -> Labels:
    """Ask a model for the labels of a run's neurons and store them.

    SIGINT or SIGTERM, or a `progress` that raises KeyboardInterrupt, stops it: calls under way end and are kept, then
    KeyboardInterrupt is raised. A second signal does not wait for them.

    Args:
        run: A finished run.
        plan: How.
        progress: Told how far it is, how many neurons failed, and what was spent.
        evidences: Of the run and the preset, where they were made before.

    Raises:
        ModelServerError: No call can succeed; what was labelled before is kept.
        UserError: Something else that a person can mend.
        KeyboardInterrupt: It was stopped; what was finished is kept.
    """
    calls = Calls(run.workspace)
    try:
        with calls.working(run.id):
            made = evidences or Evidences(run, plan.preset)
            return asyncio.run(_Labelling(run, plan, calls, progress, made).run_all())
    except asyncio.CancelledError:  # a second signal
        raise KeyboardInterrupt from None
    finally:
        calls.close()


class _Labelling:
    """One process that labels a run."""

    def __init__(self, run: Run, plan: Plan, calls: Calls, progress: Progress, evidences: Evidences) -> None:
        self._run, self._plan, self._calls, self._progress = run, plan, calls, progress
        self._before = read_labels(run.workspace, run.id, plan.job)
        self._evidences = evidences
        self._asked = self._evidences.neurons(plan.limit)
        self._outcomes: dict[int, Outcome] = {}
        self._started, self._saved_at = now(), time.monotonic()
        self._n_failed = 0
        self._stopped: Failure | None = None
        self._error: BaseException | None = None

    async def run_all(self) -> Labels:
        """Label what is asked for, then tell apart neurons of the same label, and store it all."""
        plan = self._plan
        self._cap = Cap(plan.price, plan.most_usd, plan.most_tokens, self._calls.spent(plan.job))
        self._client = Client(plan.endpoint, self._calls, self._cap, plan.job, plan.timeout_s, plan.backoff_s)
        self._pace = Pace("labels", len(self._asked), self._cap.spent.usd)
        beating = asyncio.create_task(self._beat())
        try:
            with self._signals():
                await self._each("labels", self._asked, self._first)
                if self._stopped is None and plan.preset == "contrast":
                    await self._each("same labels", self._same(), self._second)
        finally:
            beating.cancel()
            await self._client.close()
            labels = self._save()
        if self._error is not None:
            raise self._error
        return labels

    async def _each(self, stage: str, neurons: list[int], work: Callable[[int], Awaitable[None]]) -> None:
        """Work on neurons, several at a time, until all are done or something stops the run."""
        queue = iter(neurons)
        done = 0
        self._pace = Pace(stage, len(neurons), self._cap.spent.usd, self._client.n_calls)

        async def worker() -> None:
            nonlocal done
            for neuron in queue:
                if self._client.stopping.is_set():
                    return
                try:
                    await work(neuron)
                    done += 1
                    self._pace.step(self._client.n_calls)
                    self._tell(stage, done, len(neurons))
                except CapReachedError:
                    self._stop(Failure.CAP)
                except (UserError, KeyboardInterrupt) as error:
                    self._error = self._error or error
                    self._stop(Failure.NOT_REACHED)

        await asyncio.gather(*(worker() for _ in range(min(self._plan.n_at_a_time, len(neurons)))))

    async def _first(self, neuron: int) -> None:
        case = self._evidences.case(neuron)
        if case is None:
            self._outcomes[neuron] = Outcome(Failure.TOO_FEW)
            return
        fresh = self._plan.again and self._failed_before(neuron)
        outcome = await name(
            case, self._evidences.catalogue, self._client, fresh=fresh, max_tokens=self._plan.max_tokens
        )
        if outcome.failure is not Failure.NOT_REACHED:
            self._outcomes[neuron] = outcome
            self._n_failed += outcome.failure is not None

    async def _second(self, neuron: int) -> None:
        """Ask again about a neuron whose label another one has too, against that one; a failure leaves the label."""
        case, mine = self._evidences.case(neuron), self._evidences.column(neuron)
        if case is None:
            return
        rivals = [other for other in self._groups[neuron] if other != neuron]
        theirs = self._evidences.column(self._evidences.nearest_of(neuron, rivals))
        against_it = against(case, mine, theirs, self._evidences.catalogue)
        found = await name(against_it, self._evidences.catalogue, self._client, max_tokens=self._plan.max_tokens)
        before = self._outcomes[neuron]
        label = before.label if found.label is None or found.label.kind in _NAMELESS else found.label
        self._outcomes[neuron] = Outcome(
            None, label, "", before.confidence,
            Tokens(before.tokens.sent + found.tokens.sent, before.tokens.answered + found.tokens.answered),
            before.usd + found.usd, before.n_calls + found.n_calls, max(before.at, found.at),
        )  # fmt: skip

    def _same(self) -> list[int]:
        """Give the neurons that share a label, in their order; what they share it with is kept for the second pass."""
        groups = _groups(
            {j: o.label.label for j, o in self._outcomes.items() if o.label and o.label.kind not in _NAMELESS}
        )
        self._groups = {neuron: group for group in groups for neuron in group if len(group) > 1}
        return sorted(self._groups)

    def _failed_before(self, neuron: int) -> bool:
        """Say whether answers about a neuron are kept and none could be used."""
        return self._before is not None and any(neuron in self._before.failed.get(why, ()) for why in OF_ANSWERS)

    def _tell(self, stage: str, done: int, total: int) -> None:
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            self._save()
        spent = self._cap.spent
        numbers: dict[str, float] = {"failed": self._n_failed, "tokens": spent.tokens}
        self._progress(stage, done, total, numbers if self._plan.price is None else {**numbers, "USD": spent.usd})

    async def _beat(self) -> None:
        """Give a sign of life every second, also while calls wait; a full disk is told by what saves the labels."""
        while True:
            spent = self._cap.spent
            usd = None if self._plan.price is None else spent.usd
            beat = self._pace.beat(self._plan.endpoint.model, self._n_failed, spent.tokens, usd, self._plan.most_usd)
            with contextlib.suppress(UserError):
                write_heartbeat(self._run.workspace, self._run.id, beat)
            await asyncio.sleep(BEAT_EVERY_S)

    def _stop(self, why: Failure) -> None:
        self._stopped = self._stopped or why
        self._client.stopping.set()

    def _signals(self) -> "_Signals":
        task = asyncio.current_task()

        def asked() -> None:
            if self._client.stopping.is_set() and task is not None:
                task.cancel()
            self._error = self._error or KeyboardInterrupt()
            self._stop(Failure.NOT_REACHED)

        return _Signals(asked)

    def _save(self) -> Labels:
        """Write the table as far as it is; rows of neurons that were not asked about this time stay."""
        why = self._stopped or Failure.NOT_REACHED
        rows = [self._row(neuron, self._outcomes.get(neuron, Outcome(why))) for neuron in self._asked]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        if self._before is not None:
            fresh = frame[~frame["status"].isin([Failure.NOT_REACHED, Failure.CAP])]["neuron"]
            old = self._before.frame[~self._before.frame["neuron"].isin(fresh)]
            frame = pd.concat([old, frame[~frame["neuron"].isin(old["neuron"])]], ignore_index=True)
        frame = frame.sort_values("neuron", ignore_index=True).astype(COLUMNS)
        frame["twin"] = _twins(frame)
        endpoint, spent = self._plan.endpoint, self._cap.spent
        about: dict[str, Any] = {
            "job": self._plan.job, "run": self._run.id, "model": endpoint.model, "host": endpoint.host,
            "preset": self._plan.preset, "started": self._started, "updated": now(),
            "finished": self._stopped is None and len(self._outcomes) == len(self._asked),
            "stopped": "" if self._stopped is None else str(self._stopped),
            "spent_usd": None if self._plan.price is None else spent.usd, "spent_tokens": spent.tokens,
            "cap_usd": self._plan.most_usd, "cap_tokens": self._plan.most_tokens, "counts": counts_of(frame),
            "n_calls": self._client.n_calls,
        }  # fmt: skip
        write_labels(self._run.workspace, self._run.id, self._plan.job, frame, about)
        self._saved_at = time.monotonic()
        return Labels(self._plan.job, frame, about)

    def _row(self, neuron: int, outcome: Outcome) -> list[Any]:
        label, ids = outcome.label, self._evidences.catalogue.ids
        text = ("", "", "", []) if label is None else (
            label.label, label.description, label.kind, [ids[item] for item in label.evidence]
        )  # fmt: skip
        return [
            neuron, LABELLED if outcome.failure is None else str(outcome.failure), *text, self._plan.endpoint.model,
            outcome.at, *outcome.tokens, outcome.usd if self._plan.price else np.nan, outcome.n_calls, -1,
            *outcome.confidence, outcome.detail,
        ]  # fmt: skip


class _Signals:
    """While it lasts, SIGINT and SIGTERM stop the run in its own way; in a thread of a page there are none."""

    def __init__(self, asked: Callable[[], None]) -> None:
        self._asked = asked
        self._here = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM) if self._here else ():
            asyncio.get_running_loop().add_signal_handler(number, self._asked)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM) if self._here else ():
            asyncio.get_running_loop().remove_signal_handler(number)


def _groups(labels: dict[int, str]) -> list[list[int]]:
    """Give the neurons of each label; labels of the same words in any order and number are one."""
    found: dict[tuple[str, ...], list[int]] = {}
    for neuron, label in sorted(labels.items()):
        found.setdefault(tuple(sorted(set(words(label)))), []).append(neuron)
    return list(found.values())


def _twins(frame: pd.DataFrame) -> list[int]:
    """Give for each row another neuron with the same label, -1 where there is none."""
    named = frame[(frame["status"] == LABELLED) & ~frame["kind"].isin(_NAMELESS)]
    groups = _groups(dict(zip(named["neuron"], named["label"], strict=True)))
    twin = {j: next(k for k in group if k != j) for group in groups if len(group) > 1 for j in group}
    return [twin.get(int(neuron), -1) for neuron in frame["neuron"]]
