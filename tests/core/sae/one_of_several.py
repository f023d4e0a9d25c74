"""A process of a training by several: `python -m tests.core.sae.one_of_several OUT`."""

import sys
from contextlib import suppress

import numpy as np

from core.errors import ConfigError
from core.sae.parallel import joined
from core.sae.trainer import train
from tests.core.sae.test_parallel import CONFIG, PROBES, X

if __name__ == "__main__":
    with joined() as peers:
        with suppress(ConfigError):
            train(X, CONFIG, seed=peers.rank)
            raise SystemExit("Two seeds made one model.")
        sae, history = train(X, CONFIG, seed=0, X_items=PROBES)
        np.savez(f"{sys.argv[1]}.{peers.rank}.npz", loss=history.loss, dead=history.dead_share, **sae.to_arrays())
