"""The datasets that are known by name: where they live, what they hold, and on what terms."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A known dataset.

    Attributes:
        name: What people type, and the name of its folder.
        title: Its full name.
        url: The archive at its home; empty where nothing needs to be downloaded.
        md5: Of the archive, as its home publishes it; empty where the archive changes or none is published, and then
            the `.md5` file beside the archive is asked for.
        licence: On what terms it may be used, one paragraph.
        n_users: Users, as its description says.
        n_items: Items, likewise.
        n_interactions: Interactions, likewise.
        megabytes: Size of the archive.
        unpacked_megabytes: About the size of its files.
    """

    name: str
    title: str
    url: str
    md5: str
    licence: str
    n_users: int
    n_items: int
    n_interactions: int
    megabytes: float
    unpacked_megabytes: float


MOVIELENS_OLD = (
    "MovieLens data of GroupLens, University of Minnesota: for research use. You may not imply endorsement, must cite "
    "Harper and Konstan, The MovieLens Datasets: History and Context (ACM TiiS 5(4), 2015), may not redistribute the "
    "data without separate permission, and may not use it for commercial purposes without permission."
)
MOVIELENS = (
    "MovieLens data of GroupLens, University of Minnesota: for research use. You may not imply endorsement, must cite "
    "Harper and Konstan, The MovieLens Datasets: History and Context (ACM TiiS 5(4), 2015), may redistribute the data "
    "under these same terms, and may not use it for commercial purposes without permission."
)
LASTFM = (
    "HetRec 2011 Last.fm data, published by GroupLens with the permission of Last.fm: for non-commercial use. Cite "
    "Cantador, Brusilovsky and Kuflik, 2nd Workshop on Information Heterogeneity and Fusion in Recommender Systems "
    "(RecSys 2011), and name http://www.last.fm as the source."
)
DEMO = "The film facts are common knowledge; the viewers are simulated. Part of this project, under its licence."
HOME = "https://files.grouplens.org/datasets"

CATALOGUE: dict[str, Known] = {
    known.name: known
    for known in (
        Known("demo", "Embedded demo (simulated viewers)", "", "", DEMO, 2_400, 690, 152_731, 0, 0.1),
        Known(
            "ml-100k", "MovieLens 100K", f"{HOME}/movielens/ml-100k.zip", "0e33842e24a9c977be4e0107933c0723",
            MOVIELENS_OLD, 943, 1_682, 100_000, 4.9, 16,
        ),
        Known(
            "ml-1m", "MovieLens 1M", f"{HOME}/movielens/ml-1m.zip", "c4d9eecfca2ab87c1945afe126590906",
            MOVIELENS_OLD, 6_040, 3_706, 1_000_209, 5.9, 25,
        ),
        Known(
            "ml-latest-small", "MovieLens latest, small", f"{HOME}/movielens/ml-latest-small.zip", "",
            MOVIELENS, 610, 9_742, 100_836, 1.0, 4,
        ),
        Known(
            "ml-20m", "MovieLens 20M", f"{HOME}/movielens/ml-20m.zip", "cd245b17a1ae2cc31bb14903e1204af3",
            MOVIELENS, 138_493, 27_278, 20_000_263, 199, 880,
        ),
        Known(
            "ml-25m", "MovieLens 25M", f"{HOME}/movielens/ml-25m.zip", "6b51fb2759a8657d3bfcbfc42b592ada",
            MOVIELENS, 162_541, 62_423, 25_000_095, 262, 1_200,
        ),
        Known(
            "ml-32m", "MovieLens 32M", f"{HOME}/movielens/ml-32m.zip", "",
            MOVIELENS, 200_948, 87_585, 32_000_204, 239, 950,
        ),
        Known(
            "lastfm-2k", "Last.fm 2K (HetRec 2011)", f"{HOME}/hetrec2011/hetrec2011-lastfm-2k.zip", "",
            LASTFM, 1_892, 17_632, 92_834, 2.5, 8,
        ),
    )
}  # fmt: skip
"""Every known dataset by name."""
