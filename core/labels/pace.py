"""How fast a labelling goes, and so how long and how dear its rest will be."""

import time

from core.labels.stored import Heartbeat


class Pace:
    """One stage of a labelling, from its start.

    Answers that are kept come at once and say nothing of those that have to be asked for: the pace counts from the
    first neuron that the server was asked about.

    Args:
        stage: Its name, for people.
        total: Neurons.
        usd: Spent before it.
        n_calls: That the server answered before it.
    """

    def __init__(self, stage: str, total: int, usd: float = 0.0, n_calls: int = 0) -> None:
        self.stage, self.total, self.done = stage, total, 0
        self._started = self._since = time.time()
        self._usd, self._n_calls = usd, n_calls
        self._n_kept = 0

    def step(self, n_calls: int) -> None:
        """Count a neuron that is done; `n_calls` the server has answered so far."""
        self.done += 1
        if n_calls == self._n_calls:
            self._n_kept, self._since = self.done, time.time()

    def beat(self, model: str, failed: int, tokens: int, usd: float | None, cap_usd: float | None) -> Heartbeat:
        """Give how far it is now.

            left = (now - since) / n * (total - done),   n the neurons done since the first call

        and the cost at the end in the same way.
        """
        now, n, rest = time.time(), self.done - self._n_kept, self.total - self.done
        left = (now - self._since) / n * rest if n else (0.0 if not rest else None)
        dear = None if usd is None or not n else usd + (usd - self._usd) / n * rest
        return Heartbeat(
            model, self.stage, self.done, self.total, failed, self._started, now, left, tokens, usd, dear, cap_usd
        )
