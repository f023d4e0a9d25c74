"""The associations of a run, made from its items and its viewers."""

from core.analyses import associations
from core.analyses.base import analyse, find
from core.neurons.associations import Associations
from core.neurons.facts import first_half
from core.progress import no_progress
from core.runs import Run

FIGURES = ("neurons", "random_directions", "raw_dimensions", "permuted_facts")


def test_a_run_gets_its_associations_with_the_baselines_beside_them(tiny_run: Run) -> None:
    analyse(tiny_run, ["associations"])
    found = find(tiny_run, "associations")
    assert found is not None
    made = Associations.from_saved(found.arrays, found.tables)
    assert set(made.facts["of"]) == {"items", "viewers"}
    assert {"Horror", "Comedy", "Documentary"} <= set(made.facts["fact"])
    assert len(made.best) == 2 * tiny_run.sae.config.d_sae
    assert found.metrics["items"]["rows"] == tiny_run.dataset.n_items
    for of in ("items", "viewers"):
        assert {"median_auc", "significant_share"} <= set.intersection(*(set(found.metrics[of][k]) for k in FIGURES))
        assert found.metrics[of]["permuted_facts"]["significant_share"] <= 0.05
    held = ~first_half(tiny_run.dataset.items.ids)
    assert set(made.facts.query("of == 'items'")["n_rows"]) == {held.sum()}


def test_the_same_run_gives_the_same_associations(tiny_run: Run) -> None:
    one, other = (associations.make(tiny_run, no_progress) for _ in range(2))
    assert one.metrics == other.metrics
    assert all((one.arrays[name].tobytes() == other.arrays[name].tobytes()) for name in one.arrays)
