"""What every layout gives: the tables of a log as they were written, before anything is filtered."""

import re
from dataclasses import dataclass

import pandas as pd

ARTICLES = "The|A|An|Le|La|Les|L'|Il|Lo|Gli|El|Los|Las|Der|Die|Das|Ein|Eine|Un|Une|Den|Det"
_MOVED_ARTICLE = re.compile(rf"^(?P<rest>[^()]+), (?P<article>{ARTICLES})(?P<other> \(.+)?$", re.DOTALL)
_YEAR = re.compile(r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-–]\d{0,4})?\)\s*$", re.DOTALL)


@dataclass(frozen=True, eq=False)
class RawLog:
    """A log as its files tell it.

    Attributes:
        name: What people call it.
        interactions: Columns `user_id` and `item_id` (pandas categories of text) and, where the log has them,
            `rating` (float64) and `timestamp` (float64 seconds since 1970), in the order of the file.
        items: Columns `item_id` (str), `title` (str), `year` (Int64), `genres` and `tags` (tuples of str).
        users: `user_id` (str) and any columns, or None.
        notes: What the reader changed, a sentence each.
        simulated: The viewers are drawn by a program.
    """

    name: str
    interactions: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    simulated: bool = False


def items_frame(
    ids: pd.Series, titles: pd.Series, years: pd.Series | None, genres: list, tags: list | None = None
) -> pd.DataFrame:
    """Put the item table together with the types that `RawLog` promises."""
    missing = pd.Series(pd.NA, index=ids.index, dtype="Int64")
    return pd.DataFrame(
        {
            "item_id": ids.astype(str),
            "title": titles,
            "year": missing if years is None else years.astype("Int64"),
            "genres": pd.Series(genres, index=ids.index, dtype=object),
            "tags": pd.Series(tags if tags is not None else [()] * len(ids), index=ids.index, dtype=object),
        }
    )


def display_title(title: str) -> str:
    """Give a title with its article where people say it.

    >>> display_title("American President, The")
    'The American President'
    >>> display_title("City of Lost Children, The (Cité des enfants perdus, La)")
    'The City of Lost Children (La Cité des enfants perdus)'
    """
    found = _MOVED_ARTICLE.match(title)
    if not found:
        return title
    article, rest, other = found["article"], found["rest"], found["other"] or ""
    if other.endswith(")"):
        other = f" ({display_title(other[2:-1])})"
    return f"{article}{'' if article.endswith(chr(39)) else ' '}{rest}{other}"


def title_and_year(title: str) -> tuple[str, int | None]:
    """Split a MovieLens title into its display form and its year.

    >>> title_and_year("Toy Story (1995)")
    ('Toy Story', 1995)
    """
    found = _YEAR.match(title)
    text, year = (found["title"], int(found["year"])) if found else (title.strip(), None)
    return display_title(text), year
