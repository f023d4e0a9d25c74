"""Read the folder of a dataset, whatever its layout."""

from collections.abc import Callable
from pathlib import Path

from core.data.assemble import DEFAULTS, DataConfig, assemble
from core.data.catalogue import CATALOGUE
from core.data.dataset import Dataset
from core.data.demo import DEMO_FOLDER, demo_log
from core.data.layouts import generic, lastfm, movielens
from core.data.layouts.raw import RawLog
from core.errors import DataError, near

__all__ = ["LAYOUTS", "DataConfig", "has_layout", "read_dataset"]

LAYOUTS: dict[tuple[str, ...], Callable[[Path, str], RawLog]] = {
    ("interactions.csv",): generic.read,
    ("interactions.parquet",): generic.read,
    ("u.data", "u.item"): movielens.read_100k,
    ("ratings.dat", "movies.dat"): movielens.read_1m,
    ("ratings.csv", "movies.csv"): movielens.read_csv,
    ("user_artists.dat", "artists.dat"): lastfm.read,
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
    raise _unknown_layout(path)


def _unknown_layout(path: Path) -> DataError:
    there = sorted(p.name for p in path.iterdir() if p.is_file())
    close = [name for name in there if near(name, [mark for marks in LAYOUTS for mark in marks])]
    lacking = [
        f"{', '.join(m for m in marks if m not in there)} beside {', '.join(m for m in marks if m in there)}"
        for marks in LAYOUTS
        if any(m in there for m in marks)
    ]
    said = f"lacks {lacking[0]}" if lacking else "holds no interactions.csv and no files of a known dataset"
    almost = f" ({close[0]!r} is there)" if close and not lacking else ""
    return DataError(
        f"{path} {said}{almost}.",
        "Put interactions.csv (user_id,item_id) and items.csv (item_id,title) into it, or an official dataset's files.",
    )
