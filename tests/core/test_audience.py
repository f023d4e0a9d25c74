"""Who likes a title: its own weight is taken out, and what is planted is found."""

import numpy as np
import pytest

from core import audience
from core.audience import audience_of
from core.neurons.contrast import contrast
from core.runs import Run
from tests.dashboard.test_pages import changed


def fans_of(run: Run, item: int) -> np.ndarray:
    return np.unique(run.dataset.user_index[run.dataset.item_index == item])


def test_viewers_are_embedded_as_if_they_had_not_watched_it(tiny_run: Run) -> None:
    item = int(np.argmax(tiny_run.dataset.item_counts))
    acts = tiny_run.activations("viewers")
    found = audience_of(tiny_run, item, acts)
    fans = fans_of(tiny_run, item)
    assert found.without_title and found.n_viewers == found.n_compared == len(fans)
    rows = acts.toarray()
    histories = [h[h != item] for h in tiny_run.dataset.histories(fans)]
    rows[fans] = tiny_run.sae.encode(tiny_run.recommender.embed(histories))
    mask = np.isin(np.arange(tiny_run.dataset.n_users), fans)
    naive = contrast(rows, mask, ~mask).frame
    assert np.allclose(found.contrast.frame["d"], naive["d"], equal_nan=True)
    with_title = contrast(acts, mask, ~mask).frame
    assert not np.allclose(found.contrast.frame["d"], with_title["d"], equal_nan=True)


def test_a_popular_title_is_judged_by_drawn_viewers_the_same_each_time(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "MOST_VIEWERS", 5)
    item, acts = int(np.argmax(tiny_run.dataset.item_counts)), tiny_run.activations("viewers")
    first, second = audience_of(tiny_run, item, acts), audience_of(tiny_run, item, acts)
    assert first.n_compared == 5 < first.n_viewers and first.contrast.n_a == 5
    assert first.contrast.frame.equals(second.contrast.frame)


def test_a_title_that_nobody_or_one_viewer_has_is_not_compared(tiny_run: Run) -> None:
    data = tiny_run.dataset
    item = int(np.argmax(data.item_counts))
    keep = data.item_index != item
    acts = tiny_run.activations("viewers")
    one = keep.copy()
    one[np.flatnonzero(~keep)[0]] = True
    for kept, n in ((keep, 0), (one, 1)):
        with changed(tiny_run.split, history=data.with_interactions(kept)):
            found = audience_of(tiny_run, item, acts)
        assert found.contrast is None and found.n_viewers == n


def test_vectors_that_came_with_the_model_are_taken_as_they_are(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    item, acts = int(np.argmax(tiny_run.dataset.item_counts)), tiny_run.activations("viewers")
    monkeypatch.setattr(tiny_run.recommender, "native_users", np.zeros((tiny_run.dataset.n_users, 1)), raising=False)
    found = audience_of(tiny_run, item, acts)
    mask = np.isin(np.arange(tiny_run.dataset.n_users), fans_of(tiny_run, item))
    assert not found.without_title
    assert np.allclose(found.contrast.frame["d"], contrast(acts, mask, ~mask).frame["d"], equal_nan=True)


@pytest.mark.parametrize("genre", ["Horror", "Comedy", "Documentary"])
def test_planted_tastes_come_out_also_with_the_title_taken_out(tiny_run: Run, genre: str) -> None:
    """In the tiny log each viewer watches mostly one genre: viewers of its films differ by concepts of that genre."""
    has = np.array([genre in g for g in tiny_run.dataset.item_table["genres"]])
    acts, right = tiny_run.activations("viewers"), 0
    films = np.flatnonzero(has)[np.argsort(-tiny_run.dataset.item_counts[has])][:10]
    for item in films:
        frame = audience_of(tiny_run, int(item), acts).contrast.frame
        top = tiny_run.table.top_items[int(frame["d"].idxmax()), :5]
        right += has[top[top >= 0]].mean() > 0.5
    assert right >= 9
