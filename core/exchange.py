"""SAEs in the files of others: a folder of SAELens, or one .npz, in and out of a run."""

import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from safetensors.numpy import save as serialise

from core.errors import DataError, UserError, near, one_line
from core.recommenders.array_file import Array, arrays_of, shape_text
from core.recommenders.base import embed_users
from core.runs import Run
from core.sae.exchange import (
    array_shapes,
    check_scales,
    from_arrays,
    from_saelens,
    read_layout,
    to_arrays,
    to_saelens,
)
from core.sae.model import SAE

CFG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
"""The files of SAELens."""
CFG_LIMIT = 2**20
"""Bytes of a cfg.json; SAELens' own have about a thousand."""
WORDS = ("gate", "normalisation")
"""Arrays of an .npz that are text."""
LONGEST = 1e6
"""A number of a rebuilt embedding is no larger than so many times the largest one of the embeddings."""
CHUNK = 4096
"""Embeddings that are rebuilt at a time."""


Format = Literal["saelens", "npz"]


class BroughtSAE(NamedTuple):
    """An SAE that was trained elsewhere."""

    sae: SAE
    source: Mapping[str, Any]
    """Where it comes from, as plain values: the format, and the checksums of the files. A part of its id."""


def bring_sae(path: Path) -> BroughtSAE:
    """Read an SAE: a folder that SAELens saved, or an .npz file with the names of `core.sae.exchange.to_arrays`.

    Raises:
        DataError: A file is missing, damaged, too large, or of an SAE that cannot be one here.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".npz" and path.is_file():
        return _read_npz(path)
    there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(
        f"{path} is neither a folder nor an .npz file{near(path.name, there)}.",
        f"Give the folder with {CFG} and {WEIGHTS} that sae.save_model of SAELens wrote, or an .npz file.",
    )


def export_sae(run: Run, out: Path, format_: Format) -> None:
    """Write the SAE of a run, whole or not at all: a folder for SAELens' `SAE.load_from_disk`, or an .npz file.

    Raises:
        MissingStageError: The run has no SAE.
        DataError: SAELens would make something else of some embeddings of the run.
        UserError: There is something at this place, or it cannot be written.
    """
    check_place(out, format_)
    if format_ == "saelens":
        check_fits(run, run.sae, "written")
    write_sae(run.sae, out, format_)


def check_place(out: Path, format_: Format) -> None:
    """Raise where nothing can be written: before anything long.

    Raises:
        UserError: There is something already, the name does not fit the format, or the folder cannot be written to.
    """
    if out.exists():
        raise UserError(f"{out} is already there.", "Give another place, or delete it.")
    if format_ == "npz" and out.suffix != ".npz":
        raise UserError(f"{out.name} does not end in .npz.", f"Give {out.name}.npz.")
    with _beside(out) as beside:
        beside.touch()


def write_sae(sae: SAE, out: Path, format_: Format) -> None:
    """Write an SAE, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    if format_ == "saelens":
        cfg, tensors = to_saelens(sae)
        files = {CFG: (json.dumps(cfg, indent=1) + "\n").encode(), WEIGHTS: serialise(tensors)}
    else:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **to_arrays(sae))
        files = {"": buffer.getvalue()}
    with _beside(out) as beside:
        if format_ == "saelens":
            beside.mkdir()
        for name, content in files.items():
            (beside / name if name else beside).write_bytes(content)
        beside.rename(out.resolve())


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give a free place in the folder of `out`, which is made; what is left there in the end is deleted.

    Raises:
        UserError: Something cannot be written.
    """
    place = out.resolve()
    beside = place.with_name(f".{secrets.token_hex(4)}.writing")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.", "Give another place.") from error


def read_vectors(files: Sequence[Path]) -> list[np.ndarray]:
    """Open embeddings in .npy files without reading them: (n, d_in) each, of one width.

    Raises:
        DataError: A file is missing, damaged, of another kind or of another width than the first.
    """
    opened: list[np.ndarray] = []
    for path in files:
        if path.suffix != ".npy" or not path.is_file():
            raise DataError(f"{path} is no .npy file.", "Give files that np.save wrote.")
        array = arrays_of(path)[""].load()
        width = opened[0].shape[1] if opened else None
        is_matrix = array.ndim == 2 and array.shape[1] > 0 and array.dtype.kind in "fiu"
        if not is_matrix or width not in (None, array.shape[1]):
            raise DataError(
                f"{path.name} holds {array.dtype} of shape {shape_text(array.shape)}, expected numbers, "
                f"{'a row an embedding' if width is None else f'{width:,} a row'}.",
                "Save the embeddings as a matrix of float32, all files of one width.",
            )
        opened.append(array)
    return opened


def check_fits(run: Run, sae: SAE, doing: Literal["written", "read"] = "read") -> None:
    """Raise where an SAE is of another width than the embeddings of a run, or they are too short for its format.

    Raises:
        DataError: See `core.sae.exchange.check_scales`; or what it rebuilds is no embedding of this run.
    """
    model, dataset = run.recommender, run.dataset
    if sae.config.d_in != model.d_in:
        raise DataError(
            f"The SAE is for embeddings of {sae.config.d_in:,} numbers, and those of this run have {model.d_in:,}.",
            "Bring an SAE that was trained on embeddings of this recommender.",
        )
    X = np.concatenate([model.probe_items(), embed_users(model, dataset, np.arange(dataset.n_users))])
    check_scales(sae, X, doing)
    with np.errstate(all="ignore"):
        rebuilt = np.max([np.abs(sae.reconstruct(X[i : i + CHUNK])).max() for i in range(0, len(X), CHUNK)])
    if not rebuilt <= LONGEST * np.abs(X).max():
        raise DataError(
            f"The SAE makes numbers up to {rebuilt:.3g} of embeddings with numbers up to {np.abs(X).max():.3g}.",
            "Bring an SAE that was trained on embeddings of this recommender.",
        )


def _read_folder(path: Path) -> BroughtSAE:
    missing = [name for name in (CFG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        raise DataError(
            f"{path} has no {' and no '.join(missing)}.",
            f"Give the folder that sae.save_model of SAELens wrote: {CFG} and {WEIGHTS}.",
        )
    file = path / CFG
    try:
        if file.stat().st_size > CFG_LIMIT:
            raise ValueError(f"it has {file.stat().st_size:,} bytes")
        cfg = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(cfg, dict):
            raise ValueError("it holds no object")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file} is no configuration of SAELens: {one_line(str(error), 120)}.",
            "Save the SAE again: sae.save_model.",
        ) from None
    arrays = arrays_of(path / WEIGHTS)
    sae = from_saelens(cfg, _load(WEIGHTS, arrays, read_layout(cfg).shapes))
    return BroughtSAE(sae, _source("saelens", [file, path / WEIGHTS]))


def _read_npz(path: Path) -> BroughtSAE:
    arrays = arrays_of(path)
    expected = array_shapes({name: array.shape for name, array in arrays.items()})
    return BroughtSAE(from_arrays(_load(path.name, arrays, expected)), _source("npz", [path]))


def _load(file: str, arrays: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Load the arrays of an SAE once their shapes are known to be right."""
    for name in sorted(expected.keys() ^ arrays.keys()):
        what = "no array" if name in expected else "an array too many,"
        raise DataError(
            f"{file} has {what} {one_line(name, 60)!r}; expected are {', '.join(sorted(expected))}.",
            "Save the finished SAE again; a training of SAELens with sae.save_inference_model(folder).",
        )
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise DataError(
                f"{name} of {file} has the shape {shape_text(arrays[name].shape)}, expected {shape_text(shape)}.",
                "Save W_enc as (d_in, d_sae) and W_dec as (d_sae, d_in).",
            )
    loaded = {name: arrays[name].load() for name in expected}
    for name, array in loaded.items():
        kinds = "U" if name in WORDS else "fiub"
        known, n_bad = array.dtype.kind in kinds, 0
        if known and name not in WORDS:
            with np.errstate(over="ignore"):
                n_bad = int((~np.isfinite(array.astype(np.float32))).sum())
        if not known or n_bad:
            what = f"{n_bad:,} numbers that are not finite" if n_bad else f"{array.dtype} in it"
            raise DataError(
                f"{name} of {file} has {what}.",
                "Train the SAE again with a lower learning rate, or save it as float32.",
            )
    return loaded


def _source(kind: str, files: Sequence[Path]) -> dict[str, Any]:
    """Say where an SAE comes from: the format, and the checksum of each file."""
    sums = {}
    for path in files:
        with path.open("rb") as file:
            sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {"kind": kind, "files": sums}
