"""Read the folder of a dataset, whatever its layout."""

from collections.abc import Callable
from pathlib import Path

from core.data.assemble import DEFAULTS, DataConfig, assemble
from core.data.catalogue import CATALOGUE
from core.data.dataset import Dataset
from core.data.demo import DEMO_FOLDER, demo_log
from core.data.layouts import generic
from core.data.layouts.raw import RawLog
from core.errors import DataError, near

__all__ = ["LAYOUTS", "DataConfig", "has_layout", "read_dataset"]

LAYOUTS: dict[tuple[str, ...], Callable[[Path, str], RawLog]] = {
    ("interactions.csv",): generic.read,
    ("interactions.parquet",): generic.read,
}
"""The files that give a layout away, and its reader; the first whose files are there wins."""


def has_layout(path: Path) -> bool:
    """Tell whether a folder holds a dataset in a known layout."""
    return any(all((path / mark).is_file() for mark in marks) for marks in LAYOUTS)


def read_dataset(path: Path, *, options: DataConfig = DEFAULTS) -> Dataset:
    """Read a dataset from its folder, in the generic layout or in that of a known dataset.

    Args:
        path: The folder. A generic folder (`interactions.csv`) wins over official files that lie beside it. The
            folder of the demo draws the demo's viewers.
        options: What of the log is used.

    Raises:
        DataError: The folder, a file or a column is missing, or what is in it cannot be used.
    """
    if not path.is_dir():
        what = "is a file, expected a folder" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}.", "Give the folder that holds interactions.csv and items.csv.")
    known = CATALOGUE.get(path.resolve().name)
    licence = known.licence if known else ""
    for marks, read in LAYOUTS.items():
        if all((path / mark).is_file() for mark in marks):
            return assemble(read(path, options.encoding), options, licence)
    if path.resolve() == DEMO_FOLDER:
        return assemble(demo_log(path), options, licence)
    there = sorted(p.name for p in path.iterdir())
    hint = next(
        (
            f"; {name!r} is there{near(name, ['interactions.csv'])}"
            for name in there
            if near(name, ["interactions.csv"])
        ),
        "",
    )
    raise DataError(
        f"{path} holds no interactions.csv and is not in the layout of a known dataset{hint}.",
        "Put interactions.csv (user_id,item_id) and items.csv (item_id,title) into it, or an official dataset's files.",
    )
