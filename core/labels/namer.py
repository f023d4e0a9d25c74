"""One neuron, from its evidence to a label or the name of its failure: asked, checked, asked again at most twice."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from core.labels.answers import UNCLEAR, Answer, Fault, Label, Verdict, check, read
from core.labels.calls import Reply
from core.labels.costs import Tokens
from core.labels.evidence import Catalogue, Evidence, Shown
from core.labels.failures import CallFailedError, Failure
from core.labels.llm import Client
from core.labels.prompts import MAX_TOKENS, Preset, judging, naming
from core.labels.recsae import UNKNOWN, Confidence, HeldOut, confidence

N_ANSWERS = 3
"""Answers that are asked for before a neuron is left without a label."""
N_RIVAL = 8
MORE_TOKENS = 4
NO_TOKENS = Tokens(0, 0)
"""Times as many tokens after an answer that was cut off."""


class Case(NamedTuple):
    """A neuron to be named."""

    evidence: Evidence
    held_out: HeldOut | None = None
    """For RecSAE's second step."""
    preset: Preset = "contrast"


@dataclass(frozen=True)
class Outcome:
    """What became of a neuron.

    Attributes:
        failure: Why it has no label, or None.
        label: Where it has one.
        detail: Of a failure, for people.
        confidence: Of RecSAE's second step.
        tokens: Of all answers, used or not.
        usd: What they cost.
        n_calls: How many they are.
        at: When the last one came.
    """

    failure: Failure | None = None
    label: Label | None = None
    detail: str = ""
    confidence: Confidence = UNKNOWN
    tokens: Tokens = NO_TOKENS
    usd: float = 0.0
    n_calls: int = 0
    at: str = ""

    def paid(self, replies: Sequence[Reply]) -> "Outcome":
        """Add what some answers cost."""
        tokens = Tokens(
            self.tokens.sent + sum(r.tokens.sent for r in replies),
            self.tokens.answered + sum(r.tokens.answered for r in replies),
        )
        usd, at = self.usd + sum(r.usd for r in replies), max([self.at, *(r.at for r in replies)])
        return replace(self, tokens=tokens, usd=usd, n_calls=self.n_calls + len(replies), at=at)


async def name(
    case: Case, catalogue: Catalogue, client: Client, *, fresh: bool = False, max_tokens: int = MAX_TOKENS
) -> Outcome:
    """Find the label of a neuron.

    Args:
        case: The neuron.
        catalogue: The items.
        client: Of the model.
        fresh: Do not take answers that are kept.
        max_tokens: Of the first answer.

    Raises:
        CapReachedError: The cap would be passed; nothing of this neuron is to be stored.
        ModelServerError: No call can succeed.
    """
    replies: list[Reply] = []
    withheld: Collection[int] = frozenset()
    fault = Fault(Failure.EMPTY)
    try:
        for attempt in range(N_ANSWERS):
            remark = _remark(fault, attempt)
            question = naming(case.evidence, catalogue, withheld, remark, max_tokens, case.preset)
            reply = await client.ask(question, fresh)
            replies.append(reply)
            answer = read(reply, Answer)
            found = answer if isinstance(answer, Fault) else check(answer, case.evidence, catalogue, withheld)
            if isinstance(found, Label):
                outcome = Outcome(label=found).paid(replies)
                return await _verified(outcome, case, catalogue, client, fresh)
            if found.failure is Failure.DECLINED:
                return Outcome(found.failure).paid(replies)
            fault = found
            max_tokens = max_tokens * MORE_TOKENS if found.failure is Failure.TRUNCATED else max_tokens
            shown = [s.item for s in (*case.evidence.active, *case.evidence.silent)]
            last = found.failure is Failure.UNSUPPORTED and attempt == N_ANSWERS - 2
            withheld = frozenset(shown) if last else frozenset({*withheld, *found.withhold})
    except CallFailedError as failed:
        return Outcome(failed.failure, detail=failed.detail).paid(replies)
    return Outcome(fault.failure, detail=fault.remark).paid(replies)


async def _verified(outcome: Outcome, case: Case, catalogue: Catalogue, client: Client, fresh: bool) -> Outcome:
    """Let the model judge held-out items by the name alone (RecSAE); a verdict that cannot be had leaves it unknown."""
    label = outcome.label
    if label is None or case.held_out is None or label.label == UNCLEAR:
        return outcome
    replies: list[Reply] = []
    fault, max_tokens = Fault(Failure.EMPTY), MAX_TOKENS
    try:
        for attempt in range(N_ANSWERS):
            items = case.held_out.items
            question = judging(label.label, label.description, items, catalogue, _remark(fault, attempt), max_tokens)
            replies.append(await client.ask(question, fresh))
            verdict = read(replies[-1], Verdict)
            ids = {f"T{n}": item for n, item in enumerate(case.held_out.items, 1)}
            if isinstance(verdict, Verdict) and set(verdict.fits) <= set(ids):
                fits = {ids[name] for name in verdict.fits}
                return replace(outcome, confidence=confidence(case.held_out, fits)).paid(replies)
            strange = Fault(Failure.WRONG_EVIDENCE, f"Name ids from T1 to T{len(ids)}, nothing else.")
            fault = verdict if isinstance(verdict, Fault) else strange
            max_tokens *= MORE_TOKENS if fault.failure is Failure.TRUNCATED else 1
    except CallFailedError:
        pass
    return outcome.paid(replies)


def _remark(fault: Fault, attempt: int) -> str:
    """Say what was wrong; the last time in other words, because the same question has the same kept answer."""
    return f"{fault.remark} Asked for the last time." if attempt == N_ANSWERS - 1 else fault.remark


def against(case: Case, acts: np.ndarray, theirs: np.ndarray, catalogue: Catalogue) -> Case:
    """Give a neuron's case against another one of the same label: that one's items in the place of the silent ones.

    Of the explaining items those that fire the other most and this one least, by shares of the highest activation.
    """
    apart = theirs / max(float(theirs.max(initial=0)), 1e-12) - acts / max(float(acts.max(initial=0)), 1e-12)
    mine = {shown.item for shown in case.evidence.active}
    items = np.flatnonzero(catalogue.explain & (apart > 0) & (theirs > 0))
    chosen = [int(i) for i in items[np.argsort(-apart[items], kind="stable")] if i not in mine][:N_RIVAL]
    silent = tuple(Shown(f"N{n}", item, 0) for n, item in enumerate(chosen, 1))
    return Case(case.evidence._replace(silent=silent or case.evidence.silent), preset="rival")
