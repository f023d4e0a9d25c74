"""From who tagged what to the few tags that say what an item is."""

import pandas as pd

VAGUE_TAGS = frozenset(
    """
    <3|albums i own|all|amazing|awesome|bd-r|beautiful|best|best of|best song ever|betamax|brilliant|can't remember|
    check out|clv|cool|cute|dvd|dvd-ram|dvd-video|erlend's dvds|fav|favorite|favorite artist|favorite artists|
    favorite songs|favorites|favourite|favourite artist|favourite artists|favourites|favs|fucking awesome|genius|good|
    good music|great|guilty pleasure|guilty pleasures|hot|i love|imdb top 250|in netflix queue|legend|
    less than 300 ratings|library|listen|live|love|love at first listen|love it|loved|lovely|memories|my dvds|
    my favorites|my movies|my music|netflix|nice|overrated|own|owned|perfect|seen|seen at the cinema|seen live|
    seen more than once|sexy|spotify|sweet|the best|to see|to watch|tumey's dvds|ultimate favorite|underrated|
    under 2000 listeners|unseen|vhs|want|want to see|want to see again|want to see live|watched
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)
"""Tags that say something about the person who gave them, or praise, and not what the item is."""


def most_used_tags(taggings: pd.DataFrame, item: str, tag: str, *, n: int) -> dict[str, tuple[str, ...]]:
    """Give the `n` tags that were given most often to each item, most used first; vague ones are left out.

    Tags are compared in lower case without outer blanks. Of equally used tags of an item the one that is used more in
    the whole table comes first, then the alphabet decides.

    Args:
        taggings: One row for each time that somebody gave a tag.
        item: Name of the column of item ids.
        tag: Name of the column of tags.
        n: Tags an item keeps.
    """
    tags = taggings[tag].astype("str").str.strip().str.lower()
    used = pd.DataFrame({"item": taggings[item].astype("str"), "tag": tags})[(tags != "") & ~tags.isin(VAGUE_TAGS)]
    used = used[used["tag"].notna()]
    counts = used.groupby(["item", "tag"], sort=False).size().rename("n").reset_index()
    counts["overall"] = counts.groupby("tag")["n"].transform("sum")
    counts = counts.sort_values(["n", "overall", "tag"], ascending=[False, False, True], kind="stable")
    best = counts.groupby("item", sort=False).head(n)
    return {str(name): tuple(group) for name, group in best.groupby("item", sort=False)["tag"]}
