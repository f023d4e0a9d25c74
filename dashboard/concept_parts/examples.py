"""What makes a concept fire: titles out of every part of its range, near misses, and its strongest viewers."""

import numpy as np
import streamlit as st

from core.neurons.examples import Band, Examples
from core.runs import Run
from dashboard import cache
from dashboard.charts import percent
from dashboard.charts_concept import history_html, rests_on_html, values_html
from dashboard.navigation import item_link, viewer_link
from dashboard.panels import show_note, show_title

N_VIEWERS, N_RESTING = 3, 5


def show_examples(shown: Run, j: int) -> None:
    """Draw the tab."""
    found = cache.examples(shown.id, j)
    n, n_items = found.n_firing, shown.dataset.n_items
    show_title("What makes it fire", f"n = {n:,} of {n_items:,} titles, each seen alone; at most 2 of a series")
    if n:
        show_bands(shown, found)
    else:
        show_note("No single title makes it fire: it needs a history of several.")
    show_viewers(shown, j)


def show_bands(shown: Run, found: Examples) -> None:
    """Draw examples of each part of the range side by side."""
    bands = [("Strongest", "its top titles", found.top)]
    bands += [(f"{name} %", f"percentile of those that fire, n = {b.n_all:,}", b) for name, b in found.bands.items()]
    bands += [("Near misses", "alike in genre, tag and decade; do not fire", found.near)]
    strongest = float(found.top.acts.max(initial=0))
    with st.container(horizontal=True, key="bands", gap="medium"):
        for name, note, band in bands:
            if band.items.size:
                with st.container(gap=None, key=f"band-{name.split()[0].lower()}"):
                    show_title(name, note)
                    show_items(shown, band, strongest)


def show_items(shown: Run, band: Band, strongest: float) -> None:
    """Draw links to titles with their year, and how strongly they fire; of near misses, what they are."""
    titles, years, genres = cache.titles(shown.id), cache.years(shown.id), shown.dataset.item_table["genres"]
    ids, fires = shown.dataset.items.ids, bool(band.acts.any())
    with st.container(horizontal=True, gap="small"):
        with st.container(gap=None, key=f"ranked-{int(band.items[0])}"):
            for item in band.items:
                facts = [] if fires else [str(genre) for genre in genres.iloc[item][:2]]
                item_link(ids[item], titles[item], " · ".join([*filter(None, [years[item]]), *facts]))
        if fires:
            st.html(values_html(band.acts.tolist(), strongest), width="content")


def show_viewers(shown: Run, j: int) -> None:
    """Draw the viewers in whom it is strongest, with what of their histories it rests on."""
    data, table = shown.dataset, shown.table
    there = [int(user) for user in table.top_users[j, :N_VIEWERS] if user >= 0]
    n = int(table.frame["n_users_firing"].iloc[j])
    kind = "simulated viewers" if data.simulated else "viewers"
    show_title("Who it fires for most", f"{len(there)} of {n:,} {kind}, with whole histories")
    if not there:
        show_note("It fires for no viewer, only for titles seen alone.")
        return
    alone = cache.item_activations(shown.id, j)
    base = float((alone > 0).mean())
    with st.container(horizontal=True, key="fans"):
        for user, act in zip(there, table.top_user_acts[j], strict=False):
            history = data.history(user)
            fires = int((alone[history] > 0).sum())
            with st.container(border=True, gap="small"):
                viewer_link(data.users.ids[user], f"activation {act:.2f}")
                show_note(
                    f"{fires:,} of {len(history):,} titles of the history fire it alone "
                    f"({percent(fires / max(len(history), 1))}; catalogue: {percent(base)})."
                )
                st.html(rests_on(shown, j, user, alone) + history_html(titles_of(shown, history), alone[history] > 0))


def rests_on(shown: Run, j: int, user: int, alone: np.ndarray) -> str:
    """Give the titles without which the viewer's activation would be least, as safe HTML."""
    found = cache.left_out(shown.id, j, user)
    order = np.argsort(-np.nan_to_num(found.lost), kind="stable")[:N_RESTING]
    chosen = found.items[order]
    return rests_on_html(
        titles_of(shown, chosen), alone[chosen], found.lost[order], len(found.items), len(shown.dataset.history(user))
    )


def titles_of(shown: Run, items: np.ndarray) -> list[str]:
    """Give titles for people."""
    titles = cache.titles(shown.id)
    return [titles[i] for i in items]
