"""How a run is to be labelled, what its neurons are shown by, and what that comes to, before anything is asked."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.errors import ConfigError
from core.labels.costs import Price, Tokens, most_tokens, usd, usual_tokens
from core.labels.endpoint import Endpoint
from core.labels.evidence import Catalogue, evidence_of
from core.labels.llm import BACKOFF_S, TIMEOUT_S
from core.labels.namer import Case
from core.labels.prompts import MAX_TOKENS, Preset, naming
from core.labels.recsae import recsae_evidence, tf_idf
from core.labels.stored import job_of
from core.runs import Run

PRESETS: tuple[Preset, ...] = ("contrast", "recsae")
N_AT_A_TIME = 8


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


class Evidences:
    """The neurons of a run as cases, made when they are needed.

    Args:
        run: A finished run.
        preset: In whose way they are shown.
    """

    def __init__(self, run: Run, preset: Preset) -> None:
        self.catalogue = Catalogue.of(run.dataset)
        self.acts = run.activations("items")
        self._seed, self._frame, self._nearest = run.seed, run.table.frame, run.table.neighbours[:, 0]
        self._weights = tf_idf(self.acts, self.catalogue) if preset == "recsae" else None

    def column(self, neuron: int) -> np.ndarray:
        """Give the (n_items,) activations of a neuron."""
        inside = slice(self.acts.indptr[neuron], self.acts.indptr[neuron + 1])
        out = np.zeros(self.acts.shape[0], np.float32)
        out[self.acts.indices[inside]] = self.acts.data[inside]
        return out

    def case(self, neuron: int) -> Case | None:
        """Give a neuron's case; None where too few items fire it."""
        acts, seed = self.column(neuron), self._seed
        if self._weights is not None:
            chosen = recsae_evidence(neuron, acts, self._weights[:, neuron], self.catalogue, seed)
            return None if chosen is None else Case(*chosen, preset="recsae")
        near = int(self._nearest[neuron])
        evidence = evidence_of(neuron, acts, None if near < 0 else self.column(near), self.catalogue, seed)
        return None if evidence is None else Case(evidence)

    def nearest_of(self, neuron: int, others: list[int]) -> int:
        """Give the one of some neurons that fires most like this one, by the cosine over items."""
        column, theirs = self.column(neuron), self.acts[:, others]
        length = np.sqrt(np.asarray(theirs.multiply(theirs).sum(axis=0)).ravel())
        alike = np.asarray(theirs.T @ column).ravel() / np.maximum(length, 1e-12)
        return others[int(alike.argmax())]

    def neurons(self, limit: int | None) -> list[int]:
        """Give the alive neurons in the order in which they are asked about."""
        frame = self._frame
        order = frame[frame["alive"]].sort_values(["n_users_firing", "neuron"], ascending=[False, True])["neuron"]
        return [int(j) for j in order.iloc[:limit]]


def estimate(evidences: Evidences, plan: Plan) -> Estimate:
    """Say what a plan comes to. Nothing is sent."""
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
