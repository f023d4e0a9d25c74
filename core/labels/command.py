"""What `python -m core label` does once its words are read: check, estimate, ask, say."""

import os
from pathlib import Path

import typer

from core.commands.terminal import bars
from core.errors import ConfigError, near, one_line
from core.labels.costs import price_of
from core.labels.endpoint import KEY_VARIABLE, endpoint_of
from core.labels.plan import PRESETS, Estimate, Evidences, Plan, estimate
from core.labels.runner import label_neurons
from core.labels.stored import LABELLED, Labels
from core.runs import open_run

_SHOWN = 10


def ask(
    workspace: Path, run_id: str | None, model: str | None, base_url: str | None, *, preset: str, limit: int | None,
    budget: float | None, token_cap: int | None, price: str | None, max_tokens: int, again: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Label a run's neurons and say what came of it; with `dry_run` only what it comes to.

    Raises:
        UserError: Something that a person can mend.
    """
    if model is None:
        raise ConfigError(
            "No model is named. Names in the catalogue's own words are part of every build.",
            "Give --llm MODEL, and --base-url for a server of your own.",
        )
    if preset not in PRESETS:
        raise ConfigError(
            f"There is no preset {preset!r}{near(preset, PRESETS)}.", f"Use one of: {', '.join(PRESETS)}."
        )
    environment = os.environ | {KEY_VARIABLE: "none"} if dry_run else None  # nothing is sent: no key is needed
    endpoint = endpoint_of(model, base_url, environment)
    chosen = next(known for known in PRESETS if known == preset)
    plan = Plan(endpoint, price_of(model, price), chosen, limit, budget, token_cap, again=again, max_tokens=max_tokens)
    opened = open_run(workspace, run_id)
    typer.echo(endpoint.notice)
    evidences = Evidences(opened, chosen)
    _say_estimate(estimate(evidences, plan), plan, dry_run)
    if dry_run:
        return
    with bars() as progress:
        labels = label_neurons(opened, plan, progress, evidences)
    _say_labels(labels)


def _say_estimate(found: Estimate, plan: Plan, example: bool) -> None:
    """Say what it comes to, before anything is sent."""
    money = "its price is not known" if found.usual_usd is None else f"about {_money(found.usual_usd)}"
    typer.echo(
        f"  {found.n_neurons:,} neurons to ask about, {found.n_too_few:,} with too few items; usually "
        f"{found.usual.sent:,} tokens out and {found.usual.answered:,} back, {money}"
    )
    caps = [_money(plan.most_usd)] if plan.most_usd is not None else []
    caps += [f"{plan.most_tokens:,} tokens"] if plan.most_tokens is not None else []
    typer.echo(f"  never more than {' or '.join(caps)}" if caps else "  no cap: --budget USD or --token-cap N sets one")
    if example and found.example:
        typer.echo(f"\n{found.example}\n\nNothing was sent.")


def _say_labels(labels: Labels) -> None:
    """Say what was labelled, what was not and why, and what it cost."""
    about, counts = labels.about, labels.about["counts"]
    cost = f"{about['spent_tokens']:,} tokens"
    cost += "" if about["spent_usd"] is None else f", {_money(about['spent_usd'])}"
    done = f"{counts.get(LABELLED, 0):,} of {len(labels.frame):,} neurons labelled"
    typer.echo(f"{done} by {one_line(about['model'], 80)}; {cost}")
    for neuron, label in list(labels.named.items())[:_SHOWN]:
        typer.echo(f"  #{neuron:<5} {one_line(label, 80)}")
    for why, n in counts.items():
        if why != LABELLED:
            typer.echo(f"  {n:,} without: {why}")
    if about["stopped"]:
        typer.echo("  Run the same command again to go on; with a larger cap, if that was reached.")


def _money(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:,.4f}"
