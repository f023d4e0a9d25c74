import numpy as np
import pytest

from core.labels.keywords import keyword_labels, term_scores
from core.labels.split import explaining
from core.neurons.concepts import top_firing
from tests.core.catalogues import catalogue

N = 400
INDEX = np.arange(N)
HORROR, EIGHTIES = INDEX < 60, INDEX % 4 == 0


@pytest.fixture
def dataset():
    """60 of 400 films are horror, a quarter of the films of the 1980s; twenty viewers watch the last ten films."""
    genres = [["Horror"] if h else ["Drama"] if i % 3 else ["Comedy", "Drama"] for i, h in enumerate(HORROR)]
    years = [1985 if e else 1995 for e in EIGHTIES]
    histories = [list(range(N - 10, N))] * 20 + [list(range(N))] * 2
    return catalogue(genres, years, histories=histories, titles=[f"Film {i}" for i in range(N)])


def label(dataset, *masks, values=None):
    acts = np.stack([np.where(m, 1.0 if values is None else values, 0.0) for m in masks], axis=1)
    top = top_firing(acts, 50)
    return keyword_labels(top, np.where(top >= 0, acts[top, np.arange(acts.shape[1])[:, None]], np.nan), dataset)


def test_a_neuron_is_named_by_what_its_items_have_and_others_have_not(dataset):
    assert label(dataset, HORROR) == ["Horror"]
    assert label(dataset, EIGHTIES) == ["1980s"]


def test_genre_and_decade_stand_together_the_decade_last(dataset):
    assert label(dataset, HORROR & EIGHTIES) == ["Horror · 1980s"]


def test_popularity_names_a_neuron_whose_signal_it_is(dataset):
    assert label(dataset, INDEX >= N - 10)[0].split(" · ")[0] == "Mainstream hits"


def test_nothing_in_common_is_mixed_with_the_number_and_no_firing_is_never_fires(dataset):
    spread = np.random.default_rng(2).random(N) < 0.1
    assert label(dataset, INDEX < 0, spread) == ["Never fires", "Mixed · #1"]


def test_all_items_alike_are_mixed(dataset):
    assert label(dataset, INDEX >= 0, values=1.0 + 0.001 * np.random.default_rng(0).random(N)) == ["Mixed · #0"]


def test_two_neurons_of_the_same_kind_get_names_of_their_own(dataset):
    first, second, third = label(dataset, HORROR, INDEX < 59, (INDEX < 59) & (INDEX > 0))
    assert len({first, second, third}) == 3
    assert all(name.startswith("Horror") for name in (first, second, third))
    assert first == "Horror" and "e.g. Film" in second and "e.g. Film" in third


def test_neurons_that_are_copies_get_names_of_their_own_when_titles_run_out(dataset):
    names = label(dataset, *[INDEX == 3] * 4, *[HORROR & (INDEX < 8)] * 20)
    assert len(set(names)) == 24


def test_no_name_has_more_than_three_parts_and_a_title_cannot_break_the_line():
    genres = [["A", "B", "C", "D", "E"]] * 20 + [["Other"]] * 200
    dataset = catalogue(genres, titles=["two\nlines " + "x" * 100] * 220, histories=[[0], [1]])
    names = label(dataset, *[np.arange(220) < n for n in (20, 19, 18, 17, 16)])
    assert len(set(names)) == 5
    assert all(len(name.split(" · ")) <= 3 and "\n" not in name and len(name) < 80 for name in names)


def test_alive_neurons_with_next_to_no_items_are_unclear_and_dead_ones_never_fire(dataset):
    top = np.full((2, 50), -1)
    assert keyword_labels(top, np.full((2, 50), np.nan), dataset, alive=np.array([True, False])) == [
        "Unclear · #0",
        "Never fires",
    ]


def test_names_by_audience_say_so_and_never_speak_of_popularity(dataset):
    acts = np.stack([HORROR, INDEX >= N - 10], axis=1).astype(float)
    top = top_firing(acts, 50)
    names = keyword_labels(top, np.where(top >= 0, 1.0, np.nan), dataset, audience=np.array([True, True]))
    assert names[0] == "Fans of Horror"
    assert "Mainstream hits" not in names[1]


def test_held_out_titles_have_no_part_in_a_name(dataset):
    explain = explaining(dataset.items.ids)
    fired = INDEX < 120
    genres = [["Horror"] if f and e else ["Comedy"] if f else ["Drama"] for f, e in zip(fired, explain, strict=True)]
    assert label(catalogue(genres, histories=[list(range(N))] * 2), fired) == ["Horror"]


def test_shuffled_facts_lose_the_name(dataset):
    shuffled = np.random.default_rng(0).permutation(HORROR & (INDEX < 40))
    assert not label(dataset, shuffled)[0].startswith("Horror")


def test_the_z_score_of_a_hand_made_table():
    masks = np.zeros((1, 100), bool)
    masks[0, :20] = True
    top, acts = np.array([[0, 1, 2, 50]]), np.ones((1, 4))
    z, share = term_scores(top, acts, masks)
    prior = 10 * 20.5 / 101
    a, b, c, d = 3 + prior, 1 + 10 - prior, 20 + prior, 80 + 10 - prior
    assert share[0, 0] == 0.75
    assert z[0, 0] == pytest.approx((np.log(a / b) - np.log(c / d)) / np.sqrt(1 / a + 1 / b + 1 / c + 1 / d))


def test_items_count_by_their_activation():
    masks = np.array([[True, True, False, False]])
    top = np.array([[0, 2, -1]])
    z, share = term_scores(top, np.array([[3.0, 1.0, np.nan]]), masks)
    assert share[0, 0] == 0.75
    even = term_scores(top, np.array([[1.0, 1.0, np.nan]]), masks)
    assert even[1][0, 0] == 0.5 and even[0][0, 0] == pytest.approx(0)
    assert z[0, 0] > 0


def test_a_silent_neuron_and_a_concept_of_all_items_score_nothing_or_finite():
    z, share = term_scores(np.array([[-1], [0]]), np.array([[np.nan], [1.0]]), np.array([[True, True], [False, False]]))
    assert z[:, 0].tolist() == [0, 0] and share[:, 0].tolist() == [0, 0]
    assert np.isfinite(z).all()


def test_the_decade_stands_last_also_where_it_tells_more():
    masks = (
        INDEX < 40,
        (INDEX < 20) | (INDEX >= 370),
    )  # forty musicals; fifty films of the 1930s, twenty of them musicals
    genres = [["Musical"] if m else ["Drama"] for m in masks[0]]
    dataset = catalogue(genres, [1935 if m else 1995 for m in masks[1]], histories=[list(range(N))] * 2)
    assert label(dataset, masks[0] & masks[1]) == ["Musical · 1930s"]


def test_a_rare_fact_of_few_of_the_items_is_no_name():
    rare = INDEX < 10
    fired = INDEX % 8 == 0
    fired[:10] = True  # 10 of the top 50: far above the catalogue's share, and yet no description
    dataset = catalogue([["Rare"] if r else ["Drama"] for r in rare], histories=[list(range(N))] * 2)
    top = top_firing(fired[:, None].astype(float), 50)
    assert term_scores(top, np.ones((1, 50)), rare[None])[0][0, 0] > 2.58
    assert label(dataset, fired) == ["Mixed · #0"]


def test_of_two_neurons_the_one_with_clearer_evidence_keeps_the_plain_name(dataset):
    weaker = HORROR & (INDEX < 20)
    first, second = label(dataset, weaker, HORROR)
    assert first.startswith("Horror · e.g. Film") and second == "Horror"
