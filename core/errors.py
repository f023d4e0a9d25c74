"""What a person can act on: every error here says what is wrong and the one thing to do about it.

    UserError
    ├── DataError              a dataset, a file, an id
    ├── ConfigError            a setting that cannot work
    ├── MissingStageError      a stage of the workspace that was not built yet
    ├── StaleArtefactError     a saved artefact that is damaged, foreign or of another format
    ├── TrainingError          a training that diverged or found nothing to learn
    └── MissingDependencyError an optional package that is not installed

A mistake of the programmer is a ``ValueError`` or a ``TypeError``, never one of these.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the person at the keyboard can mend.

    Args:
        problem: What is wrong, where, the value seen and the value expected. One line.
        fix: One action. One line.
    """

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = one_line(problem)
        self.fix = one_line(fix)
        super().__init__(f"{self.problem}\n{self.fix}")


class DataError(UserError):
    """A dataset, a file or an id is not what it should be."""


class ConfigError(UserError):
    """A setting is out of range, unknown or does not fit the others."""


class MissingStageError(UserError):
    """A stage that is needed was not built yet."""


class StaleArtefactError(UserError):
    """A saved artefact is damaged, of another program or of another format version."""


class TrainingError(UserError):
    """A training diverged or had nothing to learn from."""


class MissingDependencyError(UserError):
    """An optional package is needed and not installed."""


def one_line(text: str, limit: int = 400) -> str:
    r"""Fold white space and control characters of untrusted text and cut it at `limit` characters.

    >>> one_line("a\n  b")
    'a b'
    """
    folded = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def near(name: str, known: Iterable[object]) -> str:
    """A half-sentence that names the closest known names, or nothing when none is close.

    >>> near("moveiId", ["movieId", "rating"])
    " (did you mean 'movieId'?)"
    """
    close = get_close_matches(name, [str(k) for k in known], n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""
