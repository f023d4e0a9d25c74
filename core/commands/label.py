"""`python -m core label`: names for neurons by a language model on any OpenAI-compatible server."""

from typing import Annotated

import typer

from core.commands.terminal import DEFAULT_WORKSPACE, WorkspaceOption
from core.recommenders.base import resolve

_ASK = "core.labels.command:ask"
"""Resolved when it is needed: the SDK behind it takes half a second to import."""


def label_command(
    run: Annotated[str | None, typer.Option(help="The id of a run; the newest by default.")] = None,
    llm: Annotated[str | None, typer.Option(help="The model, as its server calls it.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Its server, for example http://localhost:11434/v1; OpenAI's by default.")
    ] = None,
    preset: Annotated[str, typer.Option(help="`contrast`, or `recsae`: RecSAE's two steps.")] = "contrast",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many neurons, the most active first.")] = None,
    budget: Annotated[float | None, typer.Option(help="US dollars that all calls for these labels may cost.")] = None,
    token_cap: Annotated[int | None, typer.Option(help="Tokens that all calls for these labels may take.")] = None,
    price: Annotated[str | None, typer.Option(help="IN,OUT: US dollars for a million tokens of this model.")] = None,
    max_tokens: Annotated[
        int, typer.Option(min=50, max=100_000, help="Of an answer; more for a model that thinks aloud.")
    ] = 400,
    again: Annotated[bool, typer.Option("--again", help="Ask anew where the answers were not usable.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it comes to, and send nothing.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Ask a language model for names of the neurons, from facts of the catalogue alone; keys come from the environment.

    STEERLENS_LLM_KEY is the key for any server; OPENAI_API_KEY is used for OpenAI only.
    """
    resolve(_ASK)(
        workspace, run, llm, base_url, preset=preset, limit=limit, budget=budget, token_cap=token_cap, price=price,
        max_tokens=max_tokens, again=again, dry_run=dry_run,
    )  # fmt: skip
