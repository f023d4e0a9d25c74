import numpy as np
import pytest

from core.neurons.concepts import auc, concepts_of, evidence, paper_concepts, purity, top_firing
from tests.core.catalogues import catalogue


def names(dataset, min_items=1):
    return {c.name: (c.kind, np.flatnonzero(c.mask).tolist()) for c in concepts_of(dataset, min_items)}


def test_genres_tags_and_decades_become_concepts_with_their_items():
    dataset = catalogue([["Horror"], ["Horror", "Comedy"], []], [1979, 1980, None], [["heist"], [], ["heist"]])
    assert names(dataset) == {
        "Comedy": ("genre", [1]),
        "Horror": ("genre", [0, 1]),
        "heist": ("tag", [0, 2]),
        "1970s": ("decade", [0]),
        "1980s": ("decade", [1]),
    }


def test_a_concept_needs_at_least_min_items_and_ten_by_default():
    dataset = catalogue([["Horror"]] * 10 + [["Comedy"]] * 9)
    assert [c.name for c in concepts_of(dataset)] == ["Horror"]
    assert "Comedy" in names(dataset, 9)


def test_a_genre_and_a_tag_of_the_same_name_in_any_case_are_one_concept():
    dataset = catalogue([["Horror"], ["Horror"], []], tags=[[], ["horror"], ["HORROR "]])
    assert names(dataset) == {"Horror": ("genre", [0, 1, 2])}


def test_a_tag_with_the_name_of_a_decade_is_told_apart():
    dataset = catalogue([[], [], []], [1985, 1991, None], [[], ["1980s"], []])
    assert names(dataset)["1980s"] == ("decade", [0])
    assert names(dataset)["1980s (tag)"] == ("tag", [1])


def test_names_of_concepts_are_one_line_and_empty_ones_are_left_out():
    assert set(names(catalogue([["Hor\nror", " "]]))) == {"Hor ror"}


def test_a_year_of_all_items_missing_gives_no_decade():
    assert names(catalogue([["Horror"]], [None])) == {"Horror": ("genre", [0])}


PAPER_GENRES = [
    "Children's",
    "Drama",
    "Action",
    "Adventure",
    "Animation",
    "Comedy",
    "Horror",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "Crime",
]


def test_the_papers_concepts_are_fifteen_for_mf_and_fourteen_for_ncf():
    years = [1960] * 10 + [1985] * 10 + [1995] * 10
    dataset = catalogue([PAPER_GENRES] * 30, years)
    mf, ncf = paper_concepts(dataset), paper_concepts(dataset, "ncf")
    assert (len(mf), len(ncf)) == (15, 14)
    assert set(mf) - set(ncf) == {"Action", "Adventure"}
    assert set(ncf) - set(mf) == {"80's Comedy"}
    np.testing.assert_array_equal(np.flatnonzero(mf["Golden-Age"]), range(10))
    np.testing.assert_array_equal(np.flatnonzero(ncf["80's Comedy"]), range(10, 20))
    np.testing.assert_array_equal(np.flatnonzero(mf["90's Drama"]), range(20, 30))


def test_the_golden_age_ends_before_1970_and_does_not_hold_items_without_a_year():
    dataset = catalogue([["Drama"]] * 30, [1969] * 10 + [1970] * 10 + [None] * 10)
    np.testing.assert_array_equal(np.flatnonzero(paper_concepts(dataset)["Golden-Age"]), range(10))


def test_the_papers_concepts_that_a_dataset_lacks_are_left_out_and_children_counts_as_childrens():
    found = paper_concepts(catalogue([["Children"]] * 10 + [["Rock"]] * 10))
    assert list(found) == ["Children's"]
    assert found["Children's"].sum() == 10


def test_an_unknown_model_of_the_paper_is_a_mistake_of_the_programmer():
    with pytest.raises(ValueError, match="expected one of mf, ncf"):
        paper_concepts(catalogue([["Drama"]]), "sasrec")


def test_top_firing_holds_firing_items_only_and_breaks_ties_by_index():
    acts = np.array([[1.0, 0.0], [3.0, -1.0], [3.0, 2.0], [0.0, 0.0]])
    assert top_firing(acts, 3).tolist() == [[1, 2, 0], [2, -1, -1]]
    assert top_firing(acts, 1).tolist() == [[1], [2]]


def test_top_firing_is_padded_where_there_are_fewer_items_than_asked():
    assert top_firing(np.array([[1.0]]), 3).tolist() == [[0, -1, -1]]
    assert top_firing(np.zeros((0, 2)), 2).tolist() == [[-1, -1], [-1, -1]]


def test_purity_is_the_share_of_the_concept_among_the_top_firing_items():
    acts = np.array([[5.0, 1.0], [4.0, 2.0], [3.0, 3.0], [2.0, 0.0]])
    masks = np.array([[True, False, True, True], [False, True, False, False]])
    np.testing.assert_allclose(purity(acts, masks, 2), [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(purity(acts, masks, 3), [[2 / 3, 2 / 3], [1 / 3, 1 / 3]])
    np.testing.assert_allclose(purity(acts, masks, 4), [[0.75, np.nan], [0.25, np.nan]])


def test_purity_takes_a_list_of_masks_and_none_at_all():
    acts = np.ones((3, 2))
    assert purity(acts, [np.array([True, False, True])], 2).tolist() == [[0.5, 0.5]]
    assert purity(acts, [], 2).shape == (0, 2)
    assert auc(acts, []).shape == (0, 2)


def test_auc_of_hand_made_ranks():
    masks = np.array([[True, True, False, False, False]])
    order = np.array([5.0, 1.0, 3.0, 2.0, 0.5])  # with: beats 3 of 3, and 1 of 3
    assert auc(order[:, None], masks)[0, 0] == pytest.approx(4 / 6)
    ties = np.array([1.0, 0.0, 1.0, 0.0, 0.0])  # 0.5 + 1 + 1, and 0 + 0.5 + 0.5
    assert auc(ties[:, None], masks)[0, 0] == pytest.approx(3.5 / 6)


def test_auc_equals_the_count_over_all_pairs():
    rng = np.random.default_rng(1)
    acts, masks = np.maximum(rng.integers(-2, 4, (40, 300)), 0), rng.random((3, 40)) < 0.3
    found = auc(acts, masks)
    for c, j in ((0, 0), (1, 150), (2, 299)):
        a, b = acts[masks[c], j][:, None], acts[~masks[c], j][None]
        assert found[c, j] == pytest.approx(((a > b) + 0.5 * (a == b)).mean())


def test_auc_has_no_value_for_a_silent_neuron_and_for_a_concept_of_all_items():
    acts = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, -1.0]])
    found = auc(acts, np.array([[True, False, False], [True, True, True], [False, False, False]]))
    np.testing.assert_allclose(found, [[0.0, np.nan], [np.nan, np.nan], [np.nan, np.nan]])


def test_evidence_is_the_log_likelihood_ratio_in_nats():
    masks = np.zeros((1, 100), bool)
    masks[0, :40] = True  # base rate 0.4
    top = np.r_[np.arange(14), np.arange(90, 96)][None]  # 14 of 20
    expected = 20 * (0.7 * np.log(0.7 / 0.4) + 0.3 * np.log(0.3 / 0.6))
    assert evidence(top, masks, (20,))[0, 0] == pytest.approx(expected)
    assert expected == pytest.approx(3.7, abs=0.05)
    assert evidence(np.arange(80, 100)[None], masks, (20,))[0, 0] == pytest.approx(20 * np.log(0.6))


def test_evidence_prefers_a_rarer_concept_at_lower_purity_and_not_two_lucky_hits():
    masks = np.zeros((3, 1000), bool)
    masks[0, :400] = True  # a common concept: 15 of 20
    masks[1, 390:490] = True  # one tenth of the catalogue: 12 of 20
    masks[2, [399, 400, 999]] = True  # three items: 2 of 20
    top = np.r_[np.arange(385, 405)][None]
    assert purity_counts(masks, top) == [15, 15, 2]
    found = evidence(top, masks, (20,))[:, 0]
    assert found.argmax() == 1
    assert found[0] > 0 and found[2] < found[1]


def purity_counts(masks, top):
    return masks[:, top[0]].sum(axis=1).tolist()


def test_evidence_is_nothing_for_a_silent_neuron_and_a_concept_of_all_items():
    masks = np.array([[True, False, False], [True, True, True]])
    assert evidence(np.array([[-1, -1, -1]]), masks).tolist() == [[0], [0]]
    assert evidence(np.array([[0, 1, 2]]), masks)[1, 0] == 0
