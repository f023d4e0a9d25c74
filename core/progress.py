"""How long work tells what it is doing."""

from collections.abc import Callable, Mapping

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""`progress(stage, done, total, numbers)`, called now and then by long work; numbers are for people: {"loss": 0.3}.
It may raise KeyboardInterrupt: the work stops and leaves nothing half-done."""


def no_progress(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """Ignore progress."""
