"""A process that writes into a store: `python -m tests.core.store.writer WORKSPACE NAME WHAT`."""

import sys

from core.store import Store, open_store
from tests.core.store.conftest import RUN, SAE

N_ROUNDS, N_AT_ONCE = 20, 2000


def write(workspace: str, name: str, what: str) -> None:
    """Join a shared list, write notes and give labels; or save long lists until somebody ends it."""
    store = open_store(workspace)
    print("ready", flush=True)
    sys.stdin.readline()
    if what == "forever":
        for i in range(100_000):
            store.save_list(RUN, "items", f"{name} {i}", [f"{i}-{j}" for j in range(N_AT_ONCE)])
            print(i, flush=True)
    write_rounds(store, name)


def write_rounds(store: Store, name: str) -> None:
    """Join the list that is there, write notes and give labels, again and again."""
    shared = store.lists(RUN)[0].id
    for i in range(N_ROUNDS):
        store.add_to_list(shared, [f"{name} {i}", f"both {i}"])
        store.add_note(SAE, "neurons", "1", f"{name} {i}")
        store.set_label(RUN, 1, f"{name} {i}")


if __name__ == "__main__":
    write(*sys.argv[1:])
