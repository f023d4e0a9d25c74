"""Why a neuron has no label from a model. A failure is stored as what it is, never as a label."""

from enum import StrEnum

from core.errors import UserError


class Failure(StrEnum):
    """One reason each; the words are what people read."""

    TOO_FEW = "too few items"
    DECLINED = "the model declined"
    TRUNCATED = "the answer was cut off"
    EMPTY = "the answer was empty"
    UNREADABLE = "the answer was no JSON of the asked form"
    INVALID = "the answer broke the rules for labels"
    WRONG_EVIDENCE = "the answer named evidence that it was not given"
    UNSUPPORTED = "the label repeats the words of single titles"
    RATE_LIMITED = "the server asked to wait for too long"
    SERVER = "the server failed"
    CONNECTION = "the connection was cut"
    TIMEOUT = "the server took too long"
    REJECTED = "the server took no form of the request"
    CAP = "the cap on money or tokens was reached"
    NOT_REACHED = "the run was stopped before"


OF_ANSWERS = frozenset(
    {
        Failure.DECLINED, Failure.TRUNCATED, Failure.EMPTY, Failure.UNREADABLE, Failure.INVALID,
        Failure.WRONG_EVIDENCE, Failure.UNSUPPORTED,
    }
)  # fmt: skip
"""Failures of answers that are kept: without being told to, nobody asks again."""


class CallFailedError(Exception):
    """A call gave no answer; the next one may.

    Args:
        failure: Why.
        detail: For people, in our own words: nothing that a server wrote.
    """

    def __init__(self, failure: Failure, detail: str = "") -> None:
        self.failure, self.detail = failure, detail
        super().__init__(failure)


class ModelServerError(UserError):
    """No call can succeed: the server is away, does not know the model, or does not take the key."""
