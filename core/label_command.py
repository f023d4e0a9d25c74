"""`python -m core label`: names for neurons by a language model on any OpenAI-compatible server."""

from typing import Annotated

import typer

from core.errors import ConfigError, near, one_line
from core.labels.costs import price_of
from core.labels.endpoint import endpoint_of
from core.labels.plan import PRESETS, Estimate, Evidences, Plan, estimate
from core.labels.prompts import MAX_TOKENS
from core.labels.runner import label_neurons
from core.labels.stored import LABELLED, Labels
from core.runs import open_run
from core.terminal import DEFAULT_WORKSPACE, WorkspaceOption, bars

_SHOWN = 10


def label_command(
    run: Annotated[str | None, typer.Option(help="The id of a run; the newest by default.")] = None,
    llm: Annotated[str | None, typer.Option(help="The model, as its server calls it.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Its server, for example http://localhost:11434/v1; OpenAI's by default.")
    ] = None,
    preset: Annotated[str, typer.Option(help=f"One of: {', '.join(PRESETS)}.")] = PRESETS[0],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many neurons, the most active first.")] = None,
    budget: Annotated[float | None, typer.Option(help="US dollars that all calls for these labels may cost.")] = None,
    token_cap: Annotated[int | None, typer.Option(help="Tokens that all calls for these labels may take.")] = None,
    price: Annotated[str | None, typer.Option(help="IN,OUT: US dollars for a million tokens of this model.")] = None,
    max_tokens: Annotated[
        int, typer.Option(min=50, max=100_000, help="Of an answer; more for a model that thinks aloud.")
    ] = MAX_TOKENS,
    again: Annotated[bool, typer.Option("--again", help="Ask anew where the answers were not usable.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it comes to, and send nothing.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Ask a language model for names of the neurons, from facts of the catalogue alone; keys come from the environment.

    STEERLENS_LLM_KEY is the key for any server; OPENAI_API_KEY is used for OpenAI only.
    """
    if llm is None:
        raise ConfigError(
            "No model is named. Names in the catalogue's own words are part of every build.",
            "Give --llm MODEL, and --base-url for a server of your own.",
        )
    if preset not in PRESETS:
        raise ConfigError(
            f"There is no preset {preset!r}{near(preset, PRESETS)}.", f"Use one of: {', '.join(PRESETS)}."
        )
    environment = None if not dry_run else {"STEERLENS_LLM_KEY": "none"}
    endpoint = endpoint_of(llm, base_url, environment)
    chosen = next(known for known in PRESETS if known == preset)
    plan = Plan(endpoint, price_of(llm, price), chosen, limit, budget, token_cap, again=again, max_tokens=max_tokens)
    opened = open_run(workspace, run)
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
