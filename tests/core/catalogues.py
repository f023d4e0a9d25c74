"""Small datasets made by hand for the tests of what is found in a catalogue."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.data.dataset import Dataset, IdMap


def catalogue(
    genres: Sequence[Sequence[str]],
    years: Sequence[int | None] | None = None,
    tags: Sequence[Sequence[str]] | None = None,
    histories: Sequence[Sequence[int]] = (),
    titles: Sequence[str] | None = None,
) -> Dataset:
    """Give a dataset with these facts of items, and viewers with these histories."""
    n_items = len(genres)
    table = pd.DataFrame(
        {
            "title": list(titles or [f"Film {i}" for i in range(n_items)]),
            "year": pd.array(list(years or [None] * n_items), dtype="Int64"),
            "genres": pd.Series([tuple(g) for g in genres], dtype=object),
            "tags": pd.Series([tuple(t) for t in (tags or [()] * n_items)], dtype=object),
        }
    )
    return Dataset(
        name="by hand",
        users=IdMap([f"u{u}" for u in range(len(histories))], "user"),
        items=IdMap([f"i{i}" for i in range(n_items)], "item"),
        user_index=np.repeat(np.arange(len(histories)), [len(h) for h in histories]).astype(np.int32),
        item_index=np.array([i for h in histories for i in h], np.int32),
        timestamps=None,
        item_table=table,
    )
