"""Read the folder of a dataset, whatever its layout."""

from collections.abc import Callable
from pathlib import Path

from core.data.assemble import DEFAULTS, DataConfig, assemble
from core.data.dataset import Dataset
from core.data.layouts import generic
from core.data.layouts.raw import RawLog
from core.errors import DataError, near

__all__ = ["LAYOUTS", "DataConfig", "read_dataset"]

LAYOUTS: dict[str, Callable[[Path, str], RawLog]] = {
    "interactions.csv": generic.read,
    "interactions.parquet": generic.read,
}
"""The file that gives a layout away, and its reader; the first that is there wins."""


def read_dataset(path: Path, *, options: DataConfig = DEFAULTS) -> Dataset:
    """Read a dataset from its folder, in the generic layout or in that of a known dataset.

    Args:
        path: The folder. A generic folder (`interactions.csv`) wins over official files that lie beside it.
        options: What of the log is used.

    Raises:
        DataError: The folder, a file or a column is missing, or what is in it cannot be used.
    """
    if not path.is_dir():
        what = "is a file, expected a folder" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}.", "Give the folder that holds interactions.csv and items.csv.")
    for mark, read in LAYOUTS.items():
        if (path / mark).is_file():
            return assemble(read(path, options.encoding), options)
    there = sorted(p.name for p in path.iterdir())
    hint = next((f"{near(mark, there)} in place of {mark}" for mark in LAYOUTS if near(mark, there)), "")
    raise DataError(
        f"{path} holds none of {', '.join(LAYOUTS)}{hint}.",
        "Put interactions.csv (user_id,item_id) and items.csv (item_id,title) into it, or an official dataset's files.",
    )
