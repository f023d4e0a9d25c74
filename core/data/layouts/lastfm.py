"""The official layout of HetRec 2011 Last.fm 2K: artists that people listened to, with their tags."""

from pathlib import Path

import pandas as pd

from core.data.dataset import Columns
from core.data.layouts.raw import RawLog, items_frame
from core.data.layouts.tables import LARGEST, Format, check_numbers, read_table
from core.data.layouts.tagging import most_used_tags

C = Columns()
N_GENRES = 4
"""Most used tags of an artist that count as its genres."""
TAB = Format("\t", quoted=False)


def read(folder: Path, _: str) -> RawLog:
    """Read `user_artists.dat`, `artists.dat`, `tags.dat` (Latin-1) and `user_taggedartists.dat`.

    A play count is an interaction, whatever its size; it stands as the rating, so that `data.min_rating` can ask for
    a least number of plays. There are no times. An artist's genres are its four most used tags that are not vague.
    """
    path = folder / "user_artists.dat"
    log = read_table(
        path, ["userID", "artistID", "weight"], keys=["userID", "artistID"], numbers=["weight"], form=TAB
    ).rename(columns={"userID": C.user, "artistID": C.item, "weight": C.rating})
    check_numbers(path, log, C.rating, low=0, high=LARGEST, meaning="a number of plays")
    artists = read_table(folder / "artists.dat", ["id", "name"], form=TAB)
    return RawLog(
        name=folder.resolve().name,
        interactions=log,
        items=items_frame(artists["id"], artists["name"], None, _genres(folder, artists["id"])),
        notes=(
            f"The genres of an artist are its {N_GENRES} most used tags; vague ones such as 'seen live' are left out.",
        ),
    )


def _genres(folder: Path, artists: pd.Series) -> list[tuple[str, ...]]:
    names = read_table(folder / "tags.dat", ["tagID", "tagValue"], form=Format("\t", encoding="latin-1", quoted=False))
    taggings = read_table(folder / "user_taggedartists.dat", ["artistID", "tagID"], form=TAB)
    taggings["tag"] = taggings["tagID"].map(dict(zip(names["tagID"], names["tagValue"], strict=True)))
    best = most_used_tags(taggings.dropna(subset="tag"), "artistID", "tag", n=N_GENRES)
    return [best.get(artist, ()) for artist in artists]
