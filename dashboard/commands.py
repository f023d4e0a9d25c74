"""The commands that a page offers to copy: what was built, said as it is typed."""

from dataclasses import asdict, replace
from typing import Any

from core.data.assemble import DataConfig
from core.data.split import SplitConfig
from core.pipeline import BuildRequest
from core.presets import PRESETS
from core.recommenders.base import recommender_class
from core.report import EvaluationConfig
from core.runs import EVALUATION, SOURCE, Run


def data_request(shown: Run, recommender: str) -> BuildRequest | None:
    """Give what builds a recommender on the data and the split of a run; None where they came with a model."""
    if "import" in shown.meta("dataset").config["options"]:
        return None
    settings = {
        **_changed("data", shown.meta("dataset").config["options"], asdict(DataConfig())),
        **_changed("split", shown.meta("split").config, asdict(SplitConfig())),
    }
    return BuildRequest(shown.full.name, recommender, None, seed=shown.seed, settings=settings)


def run_request(shown: Run) -> BuildRequest | None:
    """Give what builds a run; None where its model or its SAE was trained elsewhere.

    Settings of the SAE that its preset does not name are left out, but for levels.
    """
    model, sae = shown.meta("recommender").config, shown.meta("sae").config
    recipe = PRESETS.get(sae["preset"])
    data = data_request(shown, model["name"])
    if data is None or recipe is None or SOURCE in sae or SOURCE in model:
        return None
    suggested = recipe.recommender_settings if model["name"] == recipe.recommender else {}
    usual = asdict(recommender_class(model["name"]).Config(**suggested))
    own = {
        **_changed("recommender", {name: model[name] for name in usual if name in model}, usual),
        **_changed("evaluation", model[EVALUATION], asdict(EvaluationConfig())),
        **_changed("sae", {name: sae[name] for name in (*recipe.sae, "levels")}, {"levels": [], **recipe.sae}),
    }
    return replace(data, preset=recipe.name, settings={**data.settings, **own})


def _changed(section: str, values: dict[str, Any], usual: dict[str, Any]) -> dict[str, str]:
    """Give the settings of a section that are not as usual, as they are typed; JSON has lists for tuples."""
    return {
        f"{section}.{name}": _typed(value) for name, value in values.items() if _typed(value) != _typed(usual.get(name))
    }


def _typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
