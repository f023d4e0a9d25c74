"""Recommenders as people compare them: what each needs, what it costs on this data, and how good it is."""

from typing import NamedTuple

import numpy as np

from core.pipeline import EASE_LIMIT, REFERENCES
from core.recommenders.base import RECOMMENDERS, Entry
from core.runs import SOURCE, Run
from core.workspace import Meta
from dashboard import cache
from dashboard.charts import measured, number, percent
from dashboard.commands import data_request
from dashboard.escape import command_html, for_html

BROUGHT = Entry("", "Vectors that were trained elsewhere.", "Brought vectors", "From the titles' vectors.")


class Model(NamedTuple):
    """A recommender as its card shows it."""

    entry: Entry
    name: str
    trained: Meta | None
    """The newest one on this split, or None where there is none yet."""
    in_use: bool


def list_models(shown: Run) -> list[Model]:
    """Give every recommender that can be trained here or was brought: the best measured ones first."""
    newest: dict[str, Meta] = {}
    for meta in cache.recommenders(shown.ids["split"]):
        key = meta.id if SOURCE in meta.config else str(meta.config["name"])
        newest.setdefault(key, meta)
    used = shown.ids.get("recommender", "")
    models = []
    for key in [*newest, *(name for name in RECOMMENDERS if name not in newest)]:
        trained = newest.get(key)
        brought = trained is not None and SOURCE in trained.config
        # The one in use stands for its kind, also where a newer one has other settings.
        if used and shown.meta("recommender").config["name"] == key and SOURCE not in shown.meta("recommender").config:
            trained = shown.meta("recommender")
        name = str(trained.config["name"]) if trained else key
        entry = RECOMMENDERS.get(name, BROUGHT)
        if brought and trained is not None:
            kind = str(trained.config[SOURCE].get("kind", "import"))
            entry = entry._replace(title=f"{entry.title}, brought", summary=f"Trained elsewhere and brought: {kind}.")
        models.append(Model(entry, name, trained, trained is not None and trained.id == used))
    return sorted(models, key=lambda m: -np.nan_to_num(value(m, "ndcg_at_20"), nan=-1))


def card(shown: Run, model: Model, models: list[Model]) -> str:
    """Give one card."""
    entry, trained = model.entry, model.trained
    lacks_times = entry.ordered and shown.full.timestamps is None
    state = "in use" if model.in_use else "measured" if trained else "needs times" if lacks_times else "not trained yet"
    facts = [
        ("Needs", needs(entry, lacks_times)),
        ("New viewers", entry.fold_in),
        ("Steering", "Live, in the browser" if entry.live else "The server ranks anew when a slider is released"),
        ("Training", cost(shown, model)),
    ]
    if trained:
        facts += quality(shown, model, models)
    lines = "".join(f"<b>{for_html(name)}</b><span>{for_html(text, 300)}</span>" for name, text in facts)
    command = "" if trained or lacks_times or not shown.full.n_interactions else command_for(shown, model.name)
    code = command_html(command)
    return (
        f"<section class='sl-card{' current' * model.in_use}'>"
        f"<div class='sl-kicker'><span class='sl-chip{' strong' * bool(trained)}'>{state}</span></div>"
        f"<h3>{for_html(entry.title)}</h3><p>{for_html(entry.summary, 300)}</p>"
        f"<div class='facts'>{lines}</div>{code}</section>"
    )


def needs(entry: Entry, lacks_times: bool) -> str:
    """Say what a recommender has to be given."""
    if not entry.ordered:
        return "Who consumed what; no times, no GPU"
    return "The order of each history" + (", and this log has no times" if lacks_times else "; no GPU")


def cost(shown: Run, model: Model) -> str:
    """Say what training takes: measured where it was done here, else estimated."""
    if model.trained is not None and SOURCE in model.trained.config:
        return "Done elsewhere"
    estimated = cache.estimate(model.name, shown.ids["dataset"])
    guess = f"about {seconds(estimated)}" if np.isfinite(estimated) else ""
    measured = value(model, "fit_cpu_s")
    if np.isfinite(measured):
        return f"{seconds(measured)} of one core" + (f" (estimated {guess})" if guess else "")
    return f"{guess[:1].upper()}{guess[1:]} of one core, estimated" if guess else "Not measured yet"


def quality(shown: Run, model: Model, models: list[Model]) -> list[tuple[str, str]]:
    """Say how good a trained recommender is, beside the references, and what folding viewers in costs."""
    low, high = ends(model, "ndcg_at_20_interval")
    value_, recall = value(model, "ndcg_at_20"), value(model, "recall_at_20")
    if not np.isfinite(value_):
        return [("Quality", "Not measured: there are no held-out titles")]
    lines = []
    if model.trained is not None and SOURCE in model.trained.config:
        lines.append(("Held out", "It may have learnt from the held-out titles where it was trained"))
    lines.append(
        ("nDCG@20", f"{number(value_, 4)} [{number(low, 4)}, {number(high, 4)}], recall@20 {number(recall, 4)}")
    )
    for name in REFERENCES:
        other = next((m for m in models if m.name == name and m.trained and SOURCE not in m.trained.config), None)
        if other is None and name == "ease" and shown.full.n_items > EASE_LIMIT:
            lines.append(("vs EASE", f"Not trained: over {EASE_LIMIT:,} titles it takes too much memory"))
        if other is None or other.trained is None or model.trained is None or other.trained.id == model.trained.id:
            continue
        change = cache.comparison(other.trained.id, model.trained.id, shown.seed)
        if np.isfinite(change.mean):
            lines.append((f"vs {other.entry.title}", signed(change.mean, change.low, change.high)))
    loss = value(model, "fold_in_ndcg_loss")
    if np.isfinite(loss):
        low, high = ends(model, "fold_in_ndcg_loss_interval")
        lines.append(("Folding in", f"{signed(-loss, -high, -low)} nDCG@20 for known viewers"))
    coverage = value(model, "coverage_at_10")
    return [*lines, ("Coverage@10", f"{percent(coverage)} of the titles, Gini {number(value(model, 'gini_at_10'), 2)}")]


def command_for(shown: Run, name: str) -> str:
    """Give the command that trains a recommender on the same data and split."""
    request = data_request(shown, name)
    return cache.build_command(request) if request else ""


def signed(mean: float, low: float, high: float) -> str:
    """Write a relative change with its interval."""
    shown = (f"{share * 100 + 0.0:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0") for share in (mean, low, high))
    return "{} % [{}, {}]".format(*shown).replace("-", "−")


def seconds(value: float) -> str:
    """Write a time that a person can plan with.

    >>> seconds(0.3), seconds(8.4), seconds(200)
    ('1 s', '8 s', '3 min')
    """
    return f"{max(1, round(value))} s" if value < 90 else f"{round(value / 60)} min"


def value(model: Model, name: str) -> float:
    """Give a measured number of a recommender; NaN where there is none."""
    return measured(model.trained.metrics if model.trained else {}, name)


def ends(model: Model, name: str) -> tuple[float, float]:
    """Give the ends of an interval; NaN where there is none."""
    found = model.trained.metrics.get(name) if model.trained else None
    low, high = found or (None, None)
    return (float("nan"), float("nan")) if low is None or high is None else (float(low), float(high))
