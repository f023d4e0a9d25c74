"""`python -m core import ...`: open a model that was trained elsewhere."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from core.commands.analyse import say_analysed
from core.commands.terminal import (
    DEFAULT_WORKSPACE,
    JsonOption,
    PresetOption,
    SeedOption,
    SetOption,
    WorkspaceOption,
    bars,
    read_settings,
    say_built,
    write_json,
)
from core.configs import check
from core.data.brought import Tables
from core.errors import one_line
from core.exchange import bring_sae, check_fits
from core.imports import (
    EmbeddingsRequest,
    ImplicitRequest,
    RecBoleRequest,
    bring_embeddings,
    bring_implicit,
    bring_recbole,
)
from core.pipeline import Brought, adopt, adopt_sae, plan_adoption
from core.progress import Progress
from core.runs import open_recommender
from core.workspace import Workspace

import_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Open a model that was trained elsewhere.")

ItemTableOption = Annotated[
    Path, typer.Option("--item-table", help="What the items are: item_id,title[,year][,genres][,tags], CSV or Parquet.")
]
InteractionsOption = Annotated[
    Path | None, typer.Option(help="Who consumed what: user_id,item_id[,timestamp], CSV or Parquet.")
]
UserTableOption = Annotated[Path | None, typer.Option("--user-table", help="user_id and any columns.")]
ItemIdsOption = Annotated[
    Path | None, typer.Option("--item-ids", help="The ids of the items' vectors: .txt, .csv or .npy, one a row.")
]
UserIdsOption = Annotated[Path | None, typer.Option("--user-ids", help="The same for the users' vectors.")]
NameOption = Annotated[str, typer.Option(help="What the dataset is called.")]
UnknownItemsOption = Annotated[
    Literal["error", "drop", "keep"],
    typer.Option("--unknown-items", help="What becomes of vectors that the item table lacks."),
]


@import_app.command("embeddings")
def import_embeddings(
    items: Annotated[Path, typer.Option(help="The items' vectors: .npy, .npz, .safetensors or .parquet.")],
    item_table: ItemTableOption,
    name: NameOption,
    users: Annotated[Path | None, typer.Option(help="The users' vectors; else histories are folded in.")] = None,
    interactions: InteractionsOption = None,
    user_table: UserTableOption = None,
    item_bias: Annotated[Path | None, typer.Option("--item-bias", help="A bias for each item vector.")] = None,
    scoring: Annotated[Literal["dot", "cosine"], typer.Option(help="How a user's vector meets an item's.")] = "dot",
    item_ids: ItemIdsOption = None,
    user_ids: UserIdsOption = None,
    item_array: Annotated[str | None, typer.Option("--item-array", help="Which array or column of --items.")] = None,
    user_array: Annotated[str | None, typer.Option("--user-array", help="Which array or column of --users.")] = None,
    bias_array: Annotated[str | None, typer.Option("--bias-array", help="Which array of --item-bias.")] = None,
    unknown_items: UnknownItemsOption = "error",
    preset: PresetOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    seed: SeedOption = 0,
    set_: SetOption = None,
    json_: JsonOption = None,
) -> None:
    """Open the embeddings of any model: no training but that of the SAE, if a preset is given."""
    request = EmbeddingsRequest(
        name=name,
        tables=Tables(item_table, interactions, user_table),
        items=items,
        users=users,
        item_bias=item_bias,
        item_ids=item_ids,
        user_ids=user_ids,
        item_array=item_array,
        user_array=user_array,
        bias_array=bias_array,
        scoring=scoring,
        unknown_items=unknown_items,
    )
    _adopt(partial(bring_embeddings, request), _Choices(preset, workspace, seed, read_settings(set_), json_))


@import_app.command("recbole")
def import_recbole(
    checkpoint: Annotated[Path, typer.Argument(help="The file that RecBole saved: saved/MODEL-DATE.pth.")],
    item_table: ItemTableOption,
    name: NameOption,
    interactions: InteractionsOption = None,
    user_table: UserTableOption = None,
    item_ids: Annotated[
        Path | None, typer.Option("--item-ids", help="RecBole's list of item ids; else the tables have its numbers.")
    ] = None,
    user_ids: Annotated[Path | None, typer.Option("--user-ids", help="RecBole's list of user ids.")] = None,
    order: Annotated[
        Literal["timestamps", "as-given"], typer.Option(help="What orders the histories of a sequence model.")
    ] = "timestamps",
    unknown_items: UnknownItemsOption = "error",
    preset: PresetOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    seed: SeedOption = 0,
    set_: SetOption = None,
    json_: JsonOption = None,
) -> None:
    """Open a SASRec, BPR, LightGCN or NeuMF that RecBole trained (see docs/recbole.md)."""
    tables = Tables(item_table, interactions, user_table)
    request = RecBoleRequest(name, tables, checkpoint, item_ids, user_ids, order, unknown_items)
    _adopt(partial(bring_recbole, request), _Choices(preset, workspace, seed, read_settings(set_), json_))


@import_app.command("implicit")
def import_implicit(
    model: Annotated[Path, typer.Argument(help="The file that model.save of implicit wrote: MODEL.npz.")],
    item_table: ItemTableOption,
    name: NameOption,
    interactions: InteractionsOption = None,
    user_table: UserTableOption = None,
    item_ids: ItemIdsOption = None,
    user_ids: UserIdsOption = None,
    unknown_items: UnknownItemsOption = "error",
    preset: PresetOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    seed: SeedOption = 0,
    set_: SetOption = None,
    json_: JsonOption = None,
) -> None:
    """Open an ALS, BPR or logistic matrix factorisation that implicit trained."""
    tables = Tables(item_table, interactions, user_table)
    request = ImplicitRequest(name, tables, model, item_ids, user_ids, unknown_items)
    _adopt(partial(bring_implicit, request), _Choices(preset, workspace, seed, read_settings(set_), json_))


@import_app.command("sae")
def import_sae(
    path: Annotated[Path, typer.Argument(help="A folder that SAELens saved, or an .npz file (see docs/exchange.md).")],
    run: Annotated[
        str | None, typer.Option(help="The run, or the recommender, that it belongs to; else the newest run.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called; else as the folder or file is.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_: JsonOption = None,
) -> None:
    """Open a sparse autoencoder that SAELens or your own program trained on the embeddings of a recommender here."""
    called = one_line(path.resolve().stem if name is None else name, 80)
    check(bool(called), "The name of the SAE is empty.", "Give a short --name, for example mine.")
    base = open_recommender(workspace, run)
    brought = bring_sae(path)
    check_fits(base, brought.sae)
    with bars() as progress:
        done = adopt_sae(brought.sae, base, name=called, source=brought.source, progress=progress)
    write_json(done.report, json_)
    say_built(done)
    say_analysed(done)


class _Choices(NamedTuple):
    """What every import asks beside the model."""

    preset: str | None
    workspace: Path
    seed: int
    settings: dict[str, str]
    json: Path | None


def _adopt(bring: Callable[[Progress], Brought], chosen: _Choices) -> None:
    plan_adoption(chosen.preset, chosen.seed, chosen.settings)  # before any file is read
    with bars() as progress:
        run = adopt(
            bring(progress), Workspace(chosen.workspace),
            preset_name=chosen.preset, seed=chosen.seed, settings=chosen.settings, progress=progress,
        )  # fmt: skip
    write_json(run.report, chosen.json)
    for note in run.full.notes:
        typer.echo(f"  {one_line(note)}")
    say_built(run)
    say_analysed(run)
