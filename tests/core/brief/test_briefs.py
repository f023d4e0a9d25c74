"""A brief says what was measured, names what it was made from, and holds nothing that a browser would run or fetch."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from core.brief.briefs import Remark, audit_brief, comparison_brief, concept_brief, groups_brief
from core.brief.evidence import clean_sentence, concept_limits
from core.brief.page import MAX_BYTES, N_SHOWN, Brief, Fact, Section, Table, page, table_html
from core.brief.pictures import HEIGHT, LEFT, WIDTH, Bar, Interval, bars, dose, forest
from core.errors import DataError
from core.neurons.contrast import contrast
from core.runs import Run
from core.steering.responses import STRENGTHS, Response
from core.written import number, percent

HOSTILE = "</title><script>window.__pwn=1</script><img src=http://evil.test/x onerror='window.__pwn=1'>"
WRITTEN = "2026-11-21 · Ada"


class Document(HTMLParser):
    """What a browser would see: tags, attributes, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def response(flat: bool = False) -> Response:
    """A curve whose places on the picture can be worked out by hand."""
    share = np.linspace(0.0, 0.5, len(STRENGTHS))
    return Response(
        neuron=3, concept="Horror", kind="genre", base_rate=0.25, strengths=np.array(STRENGTHS), share=share,
        low=share - 0.01, high=share + 0.01, fitted=share, placebo=np.full(len(STRENGTHS), 0.2), slope=0.12,
        slope_low=0.1, slope_high=0.14, placebo_slope=0.0, placebo_spread=0.01, rise=0.3, saturation=2.5, flat=flat,
        n_viewers=80, unseen=True,
    )  # fmt: skip


def alive(run: Run) -> int:
    """Give the neuron with the most evidence."""
    return int(run.table.frame["evidence"].idxmax())


def test_a_concept_brief_says_what_was_measured_with_n_and_base_rate(tiny_run: Run) -> None:
    j = alive(tiny_run)
    facts = tiny_run.table.frame.iloc[j]
    seen = Document(concept_brief(tiny_run, j, WRITTEN, [Remark("looks\nclean", "Bob · 2026-11-20")]))
    assert clean_sentence(facts, min(int(facts["n_items_firing"]), 20)) in seen.text
    titles = tiny_run.dataset.titles()
    for item in tiny_run.table.top_items[j, :20]:
        assert item < 0 or titles[item] in seen.text
    for said in (f"#{j}", f"{int(facts['n_users_firing'])} of 90", f"base rate {percent(facts['base_rate'], 1)}"):
        assert said in seen.text
    assert "looksclean" in seen.text and "Bob · 2026-11-20" in seen.text
    assert "Offline, on logged data" in seen.text and WRITTEN in seen.text


def test_a_brief_names_every_artefact_with_its_checksums_and_is_the_same_each_time(tiny_run: Run) -> None:
    made = concept_brief(tiny_run, alive(tiny_run), WRITTEN)
    for stage, id_ in tiny_run.ids.items():
        meta = tiny_run.workspace.meta(stage, id_)
        assert id_ in made
        for name, facts in meta.files.items():
            assert name in made and facts["sha256"] in made
    assert "<td class='' dir='auto'>seed</td><td class='' dir='auto'>0</td>" in made
    assert concept_brief(tiny_run, alive(tiny_run), WRITTEN) == made


def test_a_brief_holds_nothing_that_runs_or_is_fetched(tiny_run: Run) -> None:
    frame = tiny_run.table.frame.assign(label=HOSTILE, best_concept=HOSTILE)
    items = tiny_run.dataset.item_table.assign(title=HOSTILE)
    run = Run(tiny_run.workspace, tiny_run.ids)
    run.table = replace(tiny_run.table, frame=frame)
    before = run.dataset.item_table
    object.__setattr__(run.dataset, "item_table", items)
    try:
        acts = run.activations("items")
        mask = np.arange(60) % 3 == 0
        j = alive(run)
        fact, table = Fact(HOSTILE, HOSTILE, HOSTILE), Table([HOSTILE], [[HOSTILE]])
        effect = Interval(HOSTILE, HOSTILE, 1.0, 0.5, 1.5, HOSTILE)
        briefs = [
            concept_brief(run, j, HOSTILE, [Remark(HOSTILE, HOSTILE)]),
            comparison_brief(run, j, (j + 1) % 24, [fact], HOSTILE, [effect]),
            audit_brief(run, [fact], table, HOSTILE, [HOSTILE], HOSTILE),
            groups_brief(run, contrast(acts, mask, ~mask), (HOSTILE, HOSTILE), "titles", HOSTILE),
        ]
    finally:
        object.__setattr__(run.dataset, "item_table", before)
    for made in briefs:
        seen = Document(made)
        assert not seen.tags & {"script", "img", "a", "iframe", "object", "embed", "link", "base", "form"}
        assert not {a for a in seen.attributes if a.startswith("on")} | (seen.attributes & {"src", "href", "style"})
        assert "default-src 'none'" in made and "@import" not in made and "url(" not in made
        assert "<script" not in made and "&lt;script&gt;" in made
        assert len(made) < MAX_BYTES


def test_a_brief_that_would_be_too_large_is_refused() -> None:
    section = Section("x", "x", "x" * MAX_BYTES)
    with pytest.raises(DataError, match="at most 5"):
        page(Brief("Kind", "title", "", [], [section], [], Table([], []), WRITTEN))


def test_a_long_table_says_how_many_rows_it_leaves_out() -> None:
    made = table_html(Table(["n"], [[str(i)] for i in range(N_SHOWN + 7)]))
    assert made.count("<tr>") == N_SHOWN + 1 and "and 7 more rows" in made
    assert "more rows" not in table_html(Table(["n"], [["1"]]))


def test_bars_and_their_marks_stand_where_the_shares_are() -> None:
    drawn = bars([Bar("Horror", 0.75, 0.2, "75 %"), Bar("None", float("nan"), float("nan"), "–")])
    assert re.findall(r"class='up' y='2' width='([\d.]+)'", drawn) == ["75.00", "0.00"]
    assert re.findall(r"class='mark' x='([\d.]+)'", drawn) == ["19.70"]


def test_a_forest_has_one_scale_around_zero() -> None:
    drawn = forest([Interval("a", "", 1.0, 0.5, 2.0, "+1"), Interval("b", "", -0.5, -1.0, 0.0, "−0.5")])
    reach = 2.0 * 1.05
    middles = [50 + 50 * v / reach - 0.5 for v in (1.0, -0.5)]
    assert re.findall(r"class='(?:up|down)' x='([\d.]+)'", drawn) == [f"{m:.2f}" for m in middles]
    first = (50 + 50 * 0.5 / reach, 50 * 1.5 / reach)
    assert f"class='up range' x='{first[0]:.2f}' y='4' height='6' width='{first[1]:.2f}'" in drawn
    assert "class='down'" in drawn and forest([Interval("a", "", 0.0, 0.0, 0.0, "0")])


def test_a_dose_response_curve_goes_through_its_points() -> None:
    r = response()
    drawn = dose(r)
    points = re.search(r"class='line' points='([^']+)'", drawn)
    assert points is not None
    top = 0.51 * 1.06
    for (x, y), strength, share in zip(
        (map(float, p.split(",")) for p in points[1].split(" ")), STRENGTHS, r.fitted, strict=True
    ):
        assert x == pytest.approx(LEFT + (WIDTH - LEFT - 12) * (strength + 3) / 6, abs=0.06)
        assert y == pytest.approx((HEIGHT - 34) - (HEIGHT - 34 - 12) * share / top, abs=0.06)
    assert "base rate 25.0 %" in drawn and drawn.count(">+2<") == 1 and drawn.count(">0<") == 1


def test_the_limits_say_what_the_evidence_lacks() -> None:
    few = pd.Series({"label_source": "keyword"})
    said = " ".join(concept_limits(few, None, 7))
    assert "7 titles only" in said and "made by a program" in said and "was not measured" in said
    person = pd.Series({"label_source": "human"})
    assert concept_limits(person, response(), 20) == []
    assert "more than random directions" in concept_limits(person, response(flat=True), 20)[0]
    assert "whom the SAE saw" in concept_limits(person, response()._replace(unseen=False), 20)[0]


def test_purity_is_said_with_its_n() -> None:
    facts = {"best_concept": "Horror", "lift": 2.7, "base_rate": 1 / 3, "purity_at_20": 0.9, "purity_at_10": 1.0}
    assert clean_sentence(facts, 20) == (
        "90 % of the 20 strongest have “Horror”, against 33.3 % of the catalogue (2.7 times)."
    )
    assert "100 % of the 10 strongest" in clean_sentence(facts | {"purity_at_20": float("nan")}, 12)
    assert "Nothing that the catalogue knows" in clean_sentence(facts | {"best_concept": ""}, 20)


def test_numbers_are_never_minus_zero_in_ascii_or_nan() -> None:
    assert (number(float("nan")), percent(float("nan")), number(-1.5)) == ("–", "–", "−1.50")
