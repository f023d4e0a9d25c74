"""Labels for the neurons of a run by a language model: several at a time, within a cap, stopped and resumed at will.

Every neuron that is asked about ends with a label or with the name of its failure. Whatever stops a run, answers that
had arrived are kept with the calls (`core.labels.calls`): the same run again takes them from there and goes on.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from core.errors import ConfigError, UserError
from core.labels.calls import Calls, now
from core.labels.costs import Cap, CapReachedError, Price, Tokens, most_tokens, usd, usual_tokens
from core.labels.endpoint import Endpoint
from core.labels.evidence import Catalogue, evidence_of
from core.labels.failures import Failure
from core.labels.llm import BACKOFF_S, TIMEOUT_S, Client
from core.labels.namer import Case, Outcome, against, name
from core.labels.prompts import MAX_TOKENS, Preset, naming
from core.labels.recsae import recsae_evidence, tf_idf
from core.labels.screen import words
from core.labels.stored import COLUMNS, LABELLED, Labels, counts_of, job_of, read_labels, write_labels
from core.progress import Progress, no_progress
from core.runs import Run

PRESETS: tuple[Preset, ...] = ("contrast", "recsae")
N_AT_A_TIME = 8
SAVE_EVERY_S = 5.0
_NAMELESS = ("mixed", "unclear")


@dataclass(frozen=True)
class Plan:
    """How a run is to be labelled.

    Attributes:
        endpoint: The model.
        price: Of its tokens, or None where it is not known.
        preset: `contrast`, or RecSAE's two steps.
        limit: At most so many neurons, those that fire in most viewers first; all by default.
        most_usd: The cap on what all calls of this job may cost, those of earlier processes too.
        most_tokens: The same in tokens.
        again: Ask anew about neurons whose answers were not usable before.
        n_at_a_time: Calls in flight.
        max_tokens: Of an answer; more for a model that thinks aloud.
        timeout_s: For one call.
        backoff_s: The first wait after a failure.
    """

    endpoint: Endpoint
    price: Price | None = None
    preset: Preset = "contrast"
    limit: int | None = None
    most_usd: float | None = None
    most_tokens: int | None = None
    again: bool = False
    n_at_a_time: int = N_AT_A_TIME
    max_tokens: int = MAX_TOKENS
    timeout_s: float = TIMEOUT_S
    backoff_s: float = BACKOFF_S

    def __post_init__(self) -> None:
        for option, value in (("--budget", self.most_usd), ("--token-cap", self.most_tokens)):
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"{option} {value} allows no call.", f"Give {option} more than 0, or leave it out.")
        if self.most_usd is not None and self.price is None:
            raise ConfigError(
                f"The price of {self.endpoint.model!r} is not known, so --budget cannot be kept.",
                "Give --price IN,OUT in US dollars for a million tokens, add it to core/labels/prices.toml, or give "
                "--token-cap in the place of --budget.",
            )

    @property
    def job(self) -> str:
        """Give the id under which labels and costs are kept."""
        return job_of(self.endpoint.model, self.endpoint.base_url, self.preset)


class Estimate(NamedTuple):
    """What a plan comes to, before anything is asked; answers that are kept cost nothing and are not looked up here."""

    n_neurons: int
    """That will be asked about."""
    n_too_few: int
    usual: Tokens
    """One usual answer for each neuron (two with RecSAE), about."""
    usual_usd: float | None
    most_a_call: Tokens
    example: str
    """The first prompt, or ""."""


@dataclass
class Evidences:
    """The neurons of a run as cases, made when they are needed."""

    run: Run
    preset: Preset
    catalogue: Catalogue = field(init=False)
    acts: sparse.csc_matrix = field(init=False)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue.of(self.run.dataset)
        self.acts = self.run.activations("items")
        self._nearest = self.run.table.neighbours[:, 0]
        self._weights = tf_idf(self.acts, self.catalogue) if self.preset == "recsae" else None

    def column(self, neuron: int) -> np.ndarray:
        """Give the (n_items,) activations of a neuron."""
        return np.asarray(self.acts[:, [neuron]].toarray()).ravel()

    def case(self, neuron: int) -> Case | None:
        """Give a neuron's case; None where too few items fire it."""
        acts, seed = self.column(neuron), self.run.seed
        if self._weights is not None:
            chosen = recsae_evidence(neuron, acts, self._weights[:, neuron], self.catalogue, seed)
            return None if chosen is None else Case(*chosen, preset="recsae")
        near = int(self._nearest[neuron])
        evidence = evidence_of(neuron, acts, None if near < 0 else self.column(near), self.catalogue, seed)
        return None if evidence is None else Case(evidence)

    def neurons(self, limit: int | None) -> list[int]:
        """Give the alive neurons in the order in which they are asked about."""
        frame = self.run.table.frame
        order = frame[frame["alive"]].sort_values(["n_users_firing", "neuron"], ascending=[False, True])["neuron"]
        return [int(j) for j in order.iloc[:limit]]


def estimate(run: Run, plan: Plan) -> Estimate:
    """Say what a plan comes to. Nothing is sent."""
    evidences = Evidences(run, plan.preset)
    usual, most, example, n, n_few = Tokens(0, 0), Tokens(0, 0), "", 0, 0
    for neuron in evidences.neurons(plan.limit):
        case = evidences.case(neuron)
        if case is None:
            n_few += 1
            continue
        question = naming(case.evidence, evidences.catalogue, max_tokens=plan.max_tokens, preset=plan.preset)
        texts, twice = [question.system, question.user], 2 if case.held_out is not None else 1
        one, limit = usual_tokens(texts), most_tokens([*texts, str(question.schema)], plan.max_tokens)
        usual = Tokens(usual.sent + twice * one.sent, usual.answered + twice * one.answered)
        most, n, example = max(most, limit), n + 1, example or f"{question.system}\n\n{question.user}"
    money = None if plan.price is None else usd(usual, plan.price)
    return Estimate(n, n_few, usual, money, most, example)


def label_neurons(run: Run, plan: Plan, progress: Progress = no_progress) -> Labels:
    """Ask a model for the labels of a run's neurons and store them.

    SIGINT or SIGTERM, or a `progress` that raises KeyboardInterrupt, stops it: calls under way end and are kept, then
    KeyboardInterrupt is raised. A second signal does not wait for them.

    Raises:
        ModelServerError: No call can succeed; what was labelled before is kept.
        UserError: Something else that a person can mend.
        KeyboardInterrupt: It was stopped; what was finished is kept.
    """
    calls = Calls(run.workspace)
    try:
        with calls.working(run.id):
            return asyncio.run(_Labelling(run, plan, calls, progress).run_all())
    finally:
        calls.close()


class _Labelling:
    """One process that labels a run."""

    def __init__(self, run: Run, plan: Plan, calls: Calls, progress: Progress) -> None:
        self._run, self._plan, self._calls, self._progress = run, plan, calls, progress
        self._before = read_labels(run.workspace, run.id, plan.job)
        self._evidences = Evidences(run, plan.preset)
        self._asked = self._evidences.neurons(plan.limit)
        self._outcomes: dict[int, Outcome] = {}
        self._started, self._saved_at = now(), time.monotonic()
        self._stopped: Failure | None = None
        self._error: BaseException | None = None

    async def run_all(self) -> Labels:
        """Label what is asked for, then tell apart neurons of the same label, and store it all."""
        plan = self._plan
        self._cap = Cap(plan.price, plan.most_usd, plan.most_tokens, self._calls.spent(plan.job))
        self._client = Client(plan.endpoint, self._calls, self._cap, plan.job, plan.timeout_s, plan.backoff_s)
        try:
            with self._signals():
                await self._each("labels", self._asked, self._first)
                if self._stopped is None and plan.preset == "contrast":
                    await self._each("same labels", self._same(), self._second)
        finally:
            await self._client.close()
            labels = self._save()
        if self._error is not None:
            raise self._error
        return labels

    async def _each(self, stage: str, neurons: list[int], work: Callable[[int], Awaitable[None]]) -> None:
        """Work on neurons, several at a time, until all are done or something stops the run."""
        queue = iter(neurons)
        done = 0

        async def worker() -> None:
            nonlocal done
            for neuron in queue:
                if self._client.stopping.is_set():
                    return
                try:
                    await work(neuron)
                    done += 1
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

    async def _second(self, neuron: int) -> None:
        """Ask again about a neuron whose label another one has too, against that one; a failure leaves the label."""
        case, mine = self._evidences.case(neuron), self._evidences.column(neuron)
        if case is None:
            return
        rivals = [other for other in self._groups[neuron] if other != neuron]
        columns = {other: self._evidences.column(other) for other in rivals}
        rival = max(rivals, key=lambda other: (_cosine(mine, columns[other]), -other))
        against_it = against(case, mine, columns[rival], self._evidences.catalogue)
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
        return self._before is not None and neuron in {j for part in self._before.failed.values() for j in part}

    def _tell(self, stage: str, done: int, total: int) -> None:
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            self._save()
        n_failed = sum(outcome.failure is not None for outcome in self._outcomes.values())
        spent = self._cap.spent
        numbers: dict[str, float] = {"failed": n_failed, "tokens": spent.tokens}
        self._progress(stage, done, total, numbers if self._plan.price is None else {**numbers, "USD": spent.usd})

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
    groups: Iterable[list[int]] = _groups(dict(zip(named["neuron"], named["label"], strict=True)))
    twin = {j: next(k for k in group if k != j) for group in groups if len(group) > 1 for j in group}
    return [twin.get(int(neuron), -1) for neuron in frame["neuron"]]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0
