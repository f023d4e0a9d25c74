"""Rules of facts: what they say, how they are read, and that the best one is found."""

from itertools import permutations

import numpy as np
import pytest

from core.labels.facts import Fact, facts_known, like, short_title
from core.labels.judges import facts_named, rule_judge, rule_of
from core.labels.rules import PRICE, Rule, fit_rules
from core.neurons.concepts import concepts_of
from tests.core.catalogues import catalogue

N = 200
INDEX = np.arange(N)


def fact(name, mask, kind="genre"):
    return Fact(name, kind, np.asarray(mask, bool))


HORROR, THRILLER = fact("Horror", INDEX < 60), fact("Thriller", (INDEX >= 50) & (INDEX < 100))
EIGHTIES, NICHE = fact("1980s", INDEX % 2 == 0, "era"), fact("niche", INDEX % 5 == 0, "popularity")
ALIEN, ALIENS = fact("like Alien", INDEX < 20, "like"), fact("like Aliens", INDEX > 180, "like")


def test_a_rule_joins_from_the_left():
    both_then_or = Rule((HORROR, EIGHTIES, NICHE), ("and", "or"))
    assert (both_then_or.holds() == ((INDEX < 60) & (INDEX % 2 == 0)) | (INDEX % 5 == 0)).all()


@pytest.mark.parametrize(
    ("facts", "joins", "name"),
    [
        ((HORROR,), (), "Horror"),
        ((EIGHTIES, HORROR), ("and",), "Horror · 1980s"),
        ((NICHE, EIGHTIES, HORROR), ("and", "and"), "Horror · 1980s · niche"),
        ((HORROR, THRILLER, EIGHTIES), ("or", "and"), "Horror or Thriller · 1980s"),
        ((EIGHTIES, NICHE, HORROR), ("or", "and"), "Horror · 1980s or niche"),
        ((HORROR, EIGHTIES, THRILLER), ("and", "or"), "Horror · 1980s, or Thriller"),
        ((ALIEN, HORROR), ("or",), "Horror or like Alien"),
        ((ALIEN, ALIENS), ("or",), "Like Alien or Aliens"),
        ((fact("space", INDEX < 9, "word"),), (), "“space” titles"),
    ],
)
def test_a_rule_reads_as_a_name(facts, joins, name):
    assert Rule(facts, joins).name == name


def best_by_hand(facts, positives, negatives):
    """Try every rule of up to three facts."""
    found = -1.0
    for size, joinings in (
        (1, [()]),
        (2, [("and",), ("or",)]),
        (3, [(a, b) for a in ("and", "or") for b in ("and", "or")]),
    ):
        for chosen in permutations(facts, size):
            for joins in joinings:
                says = Rule(chosen, joins).holds()
                hits, alarms = says[positives].sum(), says[negatives].sum()
                score = ((hits + 0.5) / (len(positives) + 1) + 1 - (alarms + 0.5) / (len(negatives) + 1)) / 2
                found = max(found, score - sum(PRICE[f.kind] for f in chosen))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_best_rule_is_the_one_that_trying_all_finds(seed):
    draw = np.random.default_rng(seed)
    facts = [fact(f"F{i}", draw.random(N) < draw.uniform(0.2, 0.6)) for i in range(5)]
    wanted = Rule(tuple(facts[:3]), ("or", "and")).holds() ^ (draw.random(N) < 0.05)
    positives, negatives = np.flatnonzero(wanted), np.flatnonzero(~wanted)
    every = np.ones(5, bool)
    masks = np.array([f.mask for f in facts], np.float32)
    parts = [(masks[:, some], np.ones(len(some))) for some in (positives, negatives)]
    found = fit_rules(facts, every, every, *parts)
    assert found[0].score == pytest.approx(best_by_hand(facts, positives, negatives), abs=1e-6)
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert len({f.rule.name for f in found}) == len(found)


def test_a_fact_that_is_not_clear_never_stands_first_and_one_that_does_not_tell_follows_no_or():
    facts = [HORROR, EIGHTIES]
    masks = np.array([f.mask for f in facts], np.float32)
    wanted = (INDEX < 60) | (INDEX % 2 == 0)
    parts = [(masks[:, some], np.ones(some.sum())) for some in (wanted, ~wanted)]
    horror, both = np.array([True, False]), np.array([True, True])
    assert fit_rules(facts, both, both, *parts)[0].rule.name == "Horror or 1980s"
    assert all(f.rule.facts[0] is HORROR for f in fit_rules(facts, horror, both, *parts))
    after_horror = [f.rule for f in fit_rules(facts, both, horror, *parts) if f.rule.facts[0] is HORROR]
    assert after_horror and all(rule.name != "Horror or 1980s" for rule in after_horror)
    assert fit_rules(facts, ~both, both, *parts) == []


def test_eras_popularity_and_words_are_made_of_the_catalogue():
    years = [1950 + i // 4 for i in range(N)]  # forty a decade, 1950s to 1990s
    titles = [f"Star {i}" if i < 15 else "The Film" for i in range(N)]
    counts = [[i for i in range(N) if i < 20 or u == 0] for u in range(5)]
    dataset = catalogue([["Drama"]] * N, years, titles=titles, histories=counts)
    found = {f.name: f for f in facts_known(dataset, concepts_of(dataset))}
    assert found["before 1970"].mask.sum() == 80 and found["since 1980"].mask.sum() == 80
    assert found["1960s to 1970s"].mask.sum() == 80 and "1950s to 1990s" not in found
    assert found["mainstream hits"].mask.tolist() == [i < 20 for i in range(N)]
    assert found["star"].kind == "word" and found["star"].mask.sum() == 15
    assert "the" not in found and "Drama" not in found  # of all titles: it tells nothing


def test_titles_that_the_same_viewers_watch_are_like_each_other():
    together = [[*range(0, 10)]] * 6 + [[*range(10, 100)]] * 6
    dataset = catalogue([["Drama"]] * 100, histories=together, titles=[f"Film {i} (aside)" for i in range(100)])
    histories = dataset.matrix().tocsc()
    found = like([3], histories, dataset.titles())
    assert found[0].name == "like Film 3" and found[0].kind == "like"
    assert np.flatnonzero(found[0].mask).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert like([], histories, dataset.titles()) == []


def test_where_all_are_equally_close_nothing_is_like_a_title():
    dataset = catalogue([["Drama"]] * 50, histories=[list(range(50))] * 3)
    assert not like([0], dataset.matrix().tocsc(), dataset.titles())[0].mask.any()


def test_a_title_in_brackets_alone_is_kept():
    assert short_title("[REC] (2007)") == "[REC] (2007)"


def test_a_text_is_read_for_the_facts_that_it_names():
    noir = fact("Film-Noir", INDEX < 20)
    film = fact("Film", INDEX < 150, "tag")
    facts = [HORROR, THRILLER, EIGHTIES, NICHE, noir, film, ALIEN]
    assert [facts[i].name for i in facts_named("Film-Noir of the 1980s", facts)] == ["1980s", "Film-Noir"]
    assert rule_of("Niche horror or thrillers", facts).name == "Horror or Thriller · niche"
    assert rule_of("like Alien", facts) is None and rule_of("", facts) is None
    assert rule_of("horrors!", facts).facts == (HORROR,)


def test_two_eras_are_alternatives_also_beside_a_genre():
    nineties = fact("1990s", INDEX % 2 == 1, "era")
    rule = rule_of("horror of the 1980s and 1990s", [HORROR, EIGHTIES, nineties])
    assert (rule.holds() == (INDEX < 60)).all()


def test_the_judge_of_a_rule_answers_for_the_items_it_is_asked_about():
    assert rule_judge(Rule((HORROR,), ()))("whatever", np.array([0, 59, 60])).tolist() == [True, True, False]
