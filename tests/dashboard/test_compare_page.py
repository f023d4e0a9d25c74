"""Compare: two concepts, and two SAEs, side by side."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.neurons.pair import cosine
from core.pipeline import build
from core.runs import Run
from core.workspace import Workspace
from dashboard.sae_pairs import pairs_csv
from tests.conftest import tiny_request, write_tiny
from tests.dashboard.test_pages import OUR_ATTRIBUTES, OUR_TAGS, Markup, metric, open_page, query, shown


@pytest.fixture(scope="module")
def several(tiny_run: Run, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs in one workspace: the tiny one, another SAE on its recommender, another seed, other data."""
    path = tmp_path_factory.mktemp("workspaces") / "several"
    shutil.copytree(tiny_run.workspace.path, path)
    workspace = Workspace(path)
    other = write_tiny(tmp_path_factory.mktemp("data") / "other", seed=1)
    made = {
        "other data": build(tiny_request(other), workspace),
        "seed": build(tiny_request(tiny_folder, seed=1), workspace),
        "sae": build(tiny_request(tiny_folder, 0, **{"sae.d_sae": "16"}), workspace),
    }
    return {"tiny": Run(workspace, tiny_run.ids), **made}


@pytest.fixture
def runs(several: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """The pages show that workspace."""
    monkeypatch.setenv("STEERLENS_WORKSPACE", str(several["tiny"].workspace.path))
    return several


def pick(app: AppTest, key: str) -> Any:
    return next(w for w in app.selectbox if w.key == f"{key}_widget")


def alive(run: Run) -> list[int]:
    return [int(j) for j in np.flatnonzero(run.table.frame["alive"])]


def test_two_concepts_of_the_address_are_compared_by_their_numbers(full: Run) -> None:
    a, b = alive(full)[:2]
    app = open_page("compare", a=str(a), b=str(b))
    html = shown(app)
    assert metric(app, "Same direction") == f"{cosine(full.sae.W_dec[a], full.sae.W_dec[b]):.2f}".replace(
        "-0.00", "0.00"
    )
    acts = full.activations("viewers").toarray() > 0
    both, either = (acts[:, a] & acts[:, b]).sum(), (acts[:, a] | acts[:, b]).sum()
    assert f"{both} of {either} with either" in [m.delta.replace("\\", "") for m in app.metric]
    assert metric(app, "Shared viewers") in (f"{100 * both / either:.0f} %", "< 1 %")
    top = [set(full.table.top_items[j, :20]) - {-1} for j in (a, b)]
    assert f"Both · {len(top[0] & top[1])}" in html and f"Only A · {len(top[0] - top[1])}" in html


def test_a_page_without_a_choice_compares_concepts_at_once(full: Run) -> None:
    app = open_page("compare")
    shown(app)
    a, b = int(query(app, "a") or -1), int(query(app, "b") or -1)
    assert a != b and full.table.frame["alive"].iloc[[a, b]].all()
    acts = full.activations("viewers").toarray()
    with np.errstate(invalid="ignore"):
        alike = np.nan_to_num(np.corrcoef(acts.T)[a], nan=-1.0)
    assert alike[b] == pytest.approx(max(v for j, v in enumerate(alike) if j != a))


def test_swapping_and_choosing_change_the_address(full: Run) -> None:
    a, b, c = alive(full)[:3]
    app = open_page("compare", a=str(a), b=str(b))
    next(w for w in app.button if w.label == "Swap").click().run()
    assert (query(app, "a"), query(app, "b")) == (str(b), str(a))
    pick(app, "a").select(str(c)).run()
    assert (query(app, "a"), query(app, "b")) == (str(c), str(a))
    next(w for w in app.button if w.label == "Steer with both").click().run()
    assert [text.split(":")[0] for text in app.query_params["edit"]] == [str(c), str(a)]


def test_what_both_push_is_what_each_pushes_alone(full: Run) -> None:
    a, b = alive(full)[:2]
    html = shown(open_page("compare", a=str(a), b=str(b)))
    strong = full.table.frame["strong_activation"].to_numpy()
    assert full.recommender.linear is not None
    push = [strong[j] * (full.recommender.linear.V @ full.sae.W_dec[j]) for j in (a, b)]
    differ = push[0] - push[1]
    part = html.split("A more than B")[1]
    assert part.index(full.dataset.titles()[int(np.argmax(differ))]) < part.index("B more than A")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"a": "3", "b": "3"}, "The same concept twice"),
        ({"a": "99"}, "There is no concept #99"),
        ({"a": "three"}, "There is no concept #three"),
        ({"compare": "apples"}, "compare=apples in the address"),
        ({"compare": "saes"}, "Only one run here"),
    ],
)
def test_what_cannot_be_compared_is_said(full: Run, address: dict[str, str], said: str) -> None:
    assert said in shown(open_page("compare", **address))


def test_with_one_run_the_page_says_how_to_build_another(full: Run) -> None:
    html = shown(open_page("compare", compare="saes"))
    assert "--seed 1" in html and "python -m core build" in html


def test_an_sae_of_the_same_recommender_is_matched_by_direction_and_viewers(runs: dict[str, Run]) -> None:
    app = open_page("compare", compare="saes", run=runs["tiny"].id, **{"with": runs["sae"].id})
    html = shown(app)
    rows = app.dataframe[0].value
    assert "Direction" in rows and "cosine of what they push and the correlation over viewers" in html
    W = [run.sae.W_dec for run in (runs["tiny"], runs["sae"])]
    first = rows.iloc[0]
    assert first["Direction"] == pytest.approx(cosine(W[0][first["#A"]], W[1][first["#B"]]), abs=1e-6)
    assert np.allclose(rows["Likeness"], (rows["Direction"] + rows["Viewers"]) / 2)
    assert "<td class='num'>24</td><td class='num'>16</td>" in html  # neurons


def test_another_seed_has_another_recommender_and_is_matched_without_directions(runs: dict[str, Run]) -> None:
    app = open_page("compare", compare="saes", run=runs["tiny"].id, **{"with": runs["seed"].id})
    assert "different recommenders" in shown(app)
    rows = app.dataframe[0].value
    assert "Direction" not in rows and np.allclose(rows["Likeness"], (rows["Viewers"] + rows["Titles"]) / 2)


def test_other_data_is_refused_with_a_sentence_and_its_numbers(runs: dict[str, Run]) -> None:
    app = open_page("compare", compare="saes", run=runs["tiny"].id, **{"with": runs["other data"].id})
    html = shown(app)
    assert "Of different datasets" in html and "Side by side" in html and not app.dataframe


def test_concepts_of_the_other_run_are_linked_in_the_other_run(runs: dict[str, Run]) -> None:
    app = open_page("compare", compare="saes", run=runs["tiny"].id, **{"with": runs["seed"].id})
    shown(app)
    asked = [element.proto.query_string for element in app.get("page_link") if "neuron=" in element.proto.query_string]
    assert any(runs["seed"].id in text for text in asked) and any(runs["seed"].id not in text for text in asked)


def test_a_run_of_the_address_that_is_not_there_is_told(runs: dict[str, Run]) -> None:
    assert "with=nothing in the address" in shown(open_page("compare", compare="saes", **{"with": "nothing"}))


def test_the_csv_holds_no_formula() -> None:
    view = pd.DataFrame({"#A": [1], "Concept in A": ["=1+1"], "#B": [2], "Concept in B": ["ok"], "Likeness": [0.5]})
    read = pd.read_csv(io.BytesIO(pairs_csv(view)))
    assert read["Concept in A"].iloc[0] == "'=1+1" and read["Likeness"].iloc[0] == 0.5


def test_hostile_titles_stay_text(hostile: Run) -> None:
    seen = Markup()
    seen.feed(shown(open_page("compare")))
    assert seen.tags <= OUR_TAGS and seen.attributes <= OUR_ATTRIBUTES
