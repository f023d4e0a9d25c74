"""The official layouts of MovieLens: 100K, 1M (and 10M), and the comma-separated ones since 2014."""

from pathlib import Path

import pandas as pd

from core.data.dataset import Columns
from core.data.layouts.raw import RawLog, items_frame, title_and_year
from core.data.layouts.tables import LARGEST, TIMESTAMP_LIMIT, Format, check_numbers, read_table, split_labels
from core.data.layouts.tagging import most_used_tags

C = Columns()
N_TAGS = 10
"""Most used tags that an item keeps."""
NO_GENRES = {"(no genres listed)", "unknown"}
AGES = (18, 25, 35, 45, 50, 56)
AGE_BANDS = ("Under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")
"""The bands of MovieLens 1M; the ages of 100K are put into the same ones."""
OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman",
    "unemployed", "writer",
)  # fmt: skip
"""Occupations of MovieLens 1M in the order of their codes."""


def read_100k(folder: Path, _: str) -> RawLog:
    """Read MovieLens 100K: `u.data`, `u.item`, `u.genre`, `u.user` (Latin-1)."""
    form = Format("\t", (C.user, C.item, C.rating, C.timestamp), quoted=False, blanks=True)
    log = _ratings(folder / "u.data", form)
    pairs = read_table(folder / "u.genre", ["genre"], form=Format("|", ("genre", "code"), "latin-1", quoted=False))
    genres = list(pairs["genre"])
    form = Format("|", (C.item, C.title, "released", "video", "url", *genres), "latin-1", quoted=False)
    table = read_table(folder / "u.item", [C.item, C.title, *genres], form=form)
    flags = table[genres].to_numpy() == "1"
    labels = [tuple(g for g, flag in zip(genres, row, strict=True) if flag and g not in NO_GENRES) for row in flags]
    users = None
    if (folder / "u.user").is_file():
        form = Format("|", (C.user, "age", "gender", "occupation", "zip"), "latin-1", quoted=False)
        users = read_table(folder / "u.user", [C.user, "age", "gender", "occupation"], form=form)
        users = _people(users, users["occupation"])
    return RawLog(folder.resolve().name, log, _films(table, labels), users)


def read_1m(folder: Path, _: str) -> RawLog:
    """Read MovieLens 1M: `ratings.dat`, `movies.dat`, `users.dat` (`::`, Latin-1); 10M has no `users.dat`."""
    log = _ratings(folder / "ratings.dat", Format("::", (C.user, C.item, C.rating, C.timestamp), quoted=False))
    form = Format("::", (C.item, C.title, C.genres), "latin-1", quoted=False)
    table = read_table(folder / "movies.dat", [C.item, C.title, C.genres], form=form)
    users = None
    if (folder / "users.dat").is_file():
        form = Format("::", (C.user, "gender", "age", "occupation", "zip"), "latin-1", quoted=False)
        users = read_table(folder / "users.dat", [C.user, "gender", "age", "occupation"], form=form)
        names = dict(zip(map(str, range(len(OCCUPATIONS))), OCCUPATIONS, strict=True))
        users = _people(users, users["occupation"].map(lambda code: names.get(code, code)))
    return RawLog(folder.resolve().name, log, _films(table, _genres(table)), users)


def read_csv(folder: Path, _: str) -> RawLog:
    """Read MovieLens latest, 20M, 25M or 32M: `ratings.csv`, `movies.csv` and perhaps `tags.csv`."""
    log = _ratings(folder / "ratings.csv", Format(), ("userId", "movieId", "rating", "timestamp"))
    table = read_table(folder / "movies.csv", ["movieId", C.title, C.genres]).rename(columns={"movieId": C.item})
    tags = None
    if (folder / "tags.csv").is_file():
        best = most_used_tags(read_table(folder / "tags.csv", ["movieId", "tag"]), "movieId", "tag", n=N_TAGS)
        tags = [best.get(i, ()) for i in table[C.item]]
    return RawLog(folder.resolve().name, log, _films(table, _genres(table), tags))


def _ratings(
    path: Path, form: Format, names: tuple[str, str, str, str] = (C.user, C.item, C.rating, C.timestamp)
) -> pd.DataFrame:
    user, item, rating, timestamp = names
    log = read_table(path, names, keys=[user, item], numbers=[rating, timestamp], form=form)
    check_numbers(path, log, rating, low=-LARGEST, high=LARGEST, meaning="a number")
    check_numbers(path, log, timestamp, low=0, high=TIMESTAMP_LIMIT, meaning="seconds since 1970")
    return log.rename(columns={user: C.user, item: C.item, rating: C.rating, timestamp: C.timestamp})


def _genres(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(g for g in row if g not in NO_GENRES) for row in split_labels(table[C.genres])]


def _films(table: pd.DataFrame, genres: list, tags: list | None = None) -> pd.DataFrame:
    parts = [title_and_year(title) for title in table[C.title]]
    titles = pd.Series([title for title, _ in parts], index=table.index)
    years = pd.Series([year for _, year in parts], index=table.index, dtype="Int64")
    return items_frame(table[C.item], titles, years, genres, tags)


def _people(users: pd.DataFrame, occupation: pd.Series) -> pd.DataFrame:
    """Keep gender, age band and occupation; the zip code says more of a person than anything here needs."""
    ages = pd.to_numeric(users["age"], errors="coerce").fillna(-1)
    bands = pd.cut(ages, [-0.5, *[a - 0.5 for a in AGES], 200], labels=list(AGE_BANDS)).astype("str")
    return pd.DataFrame(
        {C.user: users[C.user], "gender": users["gender"], "age": bands, "occupation": occupation.astype("str")}
    )
