"""A log with a planted truth: viewers consume the items of their own block only."""

import numpy as np
import pandas as pd

from core.data.dataset import Dataset, IdMap

N_BLOCKS, ITEMS_A_BLOCK, USERS_A_BLOCK = 4, 10, 30
N_ITEMS = N_BLOCKS * ITEMS_A_BLOCK


def dataset_of(histories: list[list[int]], n_items: int) -> Dataset:
    """Give a dataset with these histories, oldest first."""
    lengths = [len(h) for h in histories]
    return Dataset(
        name="blocks",
        users=IdMap(range(len(histories)), "user"),
        items=IdMap(range(n_items), "item"),
        user_index=np.repeat(np.arange(len(histories)), lengths).astype(np.int32),
        item_index=np.array([i for h in histories for i in h], np.int32),
        timestamps=np.arange(sum(lengths)),
        item_table=pd.DataFrame({"title": [f"Item {i}" for i in range(n_items)]}),
    )


def block_log() -> tuple[Dataset, np.ndarray]:
    """Give the log and the item of their block that each viewer has not consumed yet."""
    random = np.random.default_rng(0)
    histories, held_out = [], []
    for user in range(N_BLOCKS * USERS_A_BLOCK):
        items = random.permutation(ITEMS_A_BLOCK)[:7] + ITEMS_A_BLOCK * (user % N_BLOCKS)
        held_out.append(items[0])
        histories.append(items[1:].tolist())
    return dataset_of(histories, N_ITEMS), np.array(held_out)
