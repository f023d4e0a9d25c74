"""The folder in which everything that was built lies: `<workspace>/<stage>/<id>/`, written once and never changed.

An artefact is a folder of arrays (`arrays.safetensors`), tables (`NAME.parquet`) and `meta.json`. Its id is a readable
word and 8 hex digits of the hash of (stage, config, seed, parents' ids), so a stage runs again only when that is new.
It is written beside its place, flushed to the disk and renamed: a half-written artefact is never seen.
"""

import errno
import hashlib
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialise

from core.errors import MissingStageError, StaleArtefactError, UserError, near

FORMAT = 1
"""Version of the folder format. A folder of another version is refused, never guessed at."""

STAGES = ("dataset", "split", "recommender", "sae", "neurons")
ANALYSES = ("associations", "relatives", "responses", "audit", "map", "trust")
"""What may be known of a finished run on top; no stage depends on one."""
FOLDERS = (*STAGES, *ANALYSES)
META = "meta.json"
ARRAYS = "arrays.safetensors"
WRITING = ".writing-"
PACKAGES = ("numpy", "pandas", "pyarrow", "safetensors", "scipy", "torch")
KEYS = {"format", "stage", "id", "config", "seed", "parents", "metrics", "versions", "seconds", "created", "files"}


@dataclass(frozen=True)
class Meta:
    """What `meta.json` says of an artefact."""

    stage: str
    id: str
    config: dict[str, Any]
    seed: int | None
    parents: dict[str, str]
    """Stage -> id of everything this artefact was made from."""
    metrics: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    """Wall-clock time of making it."""
    created: str
    """UTC, ISO 8601."""
    files: dict[str, dict[str, Any]]
    """File name -> {"bytes", "sha256"}."""


def artefact_id(word: str, stage: str, config: Mapping[str, Any], seed: int | None, parents: Mapping[str, str]) -> str:
    """Give the id of an artefact: a word of its config and 8 hex digits of the hash of all it depends on."""
    text = json.dumps([stage, config, seed, parents], sort_keys=True, ensure_ascii=True, allow_nan=False)
    slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:40] or stage
    return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Workspace:
    """The artefacts under one folder.

    Args:
        path: The folder; made when the first artefact is saved.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def artefacts(self, stage: str) -> list[Meta]:
        """Give the artefacts of a stage, newest first. Damaged ones are left out: `check` names them."""
        found = []
        for folder in self._folders(stage):
            try:
                found.append(self.meta(stage, folder.name))
            except StaleArtefactError:
                continue
        return sorted(found, key=lambda m: (m.created, m.id), reverse=True)

    def has(self, stage: str, id_: str) -> bool:
        """Say whether an artefact is there, whole and of this format."""
        try:
            self.meta(stage, id_)
        except (MissingStageError, StaleArtefactError):
            return False
        return True

    def meta(self, stage: str, id_: str) -> Meta:
        """Give what is known of an artefact, after a check that its files have their sizes.

        Raises:
            MissingStageError: It is not there.
            StaleArtefactError: It is damaged, foreign or of another format version.
        """
        folder = self._folder(stage, id_)
        if not folder.is_dir():
            known = [f.name for f in self._folders(stage)]
            raise MissingStageError(
                f"There is no {stage} {id_!r} in {self.path}{near(id_, known)}.",
                "Build it: python -m core build --help shows how.",
            )
        try:
            values = json.loads((folder / META).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise self._stale(folder, f"{META} cannot be read ({type(error).__name__})") from None
        if not isinstance(values, dict) or set(values) != KEYS:
            keys = set(values) if isinstance(values, dict) else set()
            raise self._stale(folder, f"{META} has missing or unknown keys: {', '.join(sorted(keys ^ KEYS))[:120]}")
        if values["format"] != FORMAT:
            raise self._stale(folder, f"it has format {values['format']!r}, this program reads format {FORMAT}")
        if (values["stage"], values["id"]) != (stage, id_):
            raise self._stale(folder, f"{META} speaks of {values['stage']} {values['id']}")
        if not _well_formed(values):
            raise self._stale(folder, f"{META} holds values of another kind than expected")
        for name, facts in values["files"].items():
            file = folder / name
            size = file.stat().st_size if file.is_file() else None
            if size != facts["bytes"]:
                raise self._stale(folder, f"{name} has {size} bytes, expected {facts['bytes']}")
        return Meta(**{key: values[key] for key in KEYS - {"format"}})

    def arrays(self, stage: str, id_: str) -> dict[str, np.ndarray]:
        """Give the arrays of an artefact.

        Raises:
            MissingStageError: It is not there.
            StaleArtefactError: It is damaged.
        """
        self.meta(stage, id_)
        folder = self._folder(stage, id_)
        try:
            return dict(load_file(folder / ARRAYS)) if (folder / ARRAYS).exists() else {}
        except (SafetensorError, OSError, ValueError) as error:
            raise self._stale(folder, f"{ARRAYS} cannot be read ({type(error).__name__})") from None

    def tables(self, stage: str, id_: str) -> dict[str, pd.DataFrame]:
        """Give the tables of an artefact.

        Raises:
            MissingStageError: It is not there.
            StaleArtefactError: It is damaged.
        """
        meta = self.meta(stage, id_)
        folder = self._folder(stage, id_)
        names = [name for name in meta.files if name.endswith(".parquet")]
        try:
            return {name.removesuffix(".parquet"): pd.read_parquet(folder / name) for name in names}
        except (OSError, ValueError) as error:  # pyarrow's own errors are among these two
            raise self._stale(folder, f"a table cannot be read ({type(error).__name__})") from None

    def save(
        self,
        stage: str,
        id_: str,
        *,
        config: Mapping[str, Any],
        seed: int | None,
        parents: Mapping[str, str],
        arrays: Mapping[str, np.ndarray],
        tables: Mapping[str, pd.DataFrame],
        metrics: Mapping[str, Any],
        seconds: float,
    ) -> Meta:
        """Write an artefact, whole or not at all. One that is already there stays as it is.

        Raises:
            UserError: The disk is full, or the folder cannot be written.
        """
        folder = self._folder(stage, id_)
        with self._for_people(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._sweep(folder.parent)
            beside = folder.parent / f"{WRITING}{os.getpid()}-{secrets.token_hex(4)}"
            beside.mkdir()
            try:
                if arrays:
                    # As bytes, so that a full disk is an OSError of ours and not one of the library's own kind.
                    data = serialise({k: np.ascontiguousarray(v) for k, v in arrays.items()})
                    (beside / ARRAYS).write_bytes(data)
                for name, table in tables.items():
                    table.to_parquet(beside / f"{name}.parquet", index=False)
                files = {f.name: {"bytes": f.stat().st_size, "sha256": _sha256(f)} for f in sorted(beside.iterdir())}
                values = {
                    "format": FORMAT,
                    "stage": stage,
                    "id": id_,
                    "config": dict(config),
                    "seed": seed,
                    "parents": dict(parents),
                    "metrics": dict(metrics),
                    "versions": _versions(),
                    "seconds": round(seconds, 3),
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "files": files,
                }
                text = json.dumps(to_plain(values), indent=1, ensure_ascii=False, allow_nan=False)
                (beside / META).write_text(text, encoding="utf-8")
                for file in [*beside.iterdir(), beside]:
                    _flush(file)
                self._put(beside, folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        return self.meta(stage, id_)

    def write_text(self, folder: str, name: str, text: str) -> Path:
        """Write a file that is no artefact, such as a table that grows: as `write_bytes`, in UTF-8."""
        return self.write_bytes(folder, name, text.encode("utf-8"))

    def write_bytes(self, folder: str, name: str, data: bytes) -> Path:
        """Write a file that is no artefact, whole or not at all, over an older one.

        Args:
            folder: Below the workspace, made where it is not there; plain words between slashes.
            name: Of the file.
            data: What is in it.

        Raises:
            UserError: The disk is full, or the folder cannot be written.
        """
        file = self._file(folder, name)
        with self._for_people(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_name(f"{WRITING}{os.getpid()}-{secrets.token_hex(4)}")
            try:
                beside.write_bytes(data)
                _flush(beside)
                beside.replace(file)
                _flush(file.parent)
            finally:
                beside.unlink(missing_ok=True)
        return file

    def read_text(self, folder: str, name: str) -> str | None:
        """Give what `write_text` wrote; None where it is not there or no text."""
        data = self.read_bytes(folder, name)
        try:
            return None if data is None else data.decode("utf-8")
        except UnicodeDecodeError:
            return None

    def read_bytes(self, folder: str, name: str) -> bytes | None:
        """Give what `write_bytes` wrote; None where it is not there."""
        try:
            return self._file(folder, name).read_bytes()
        except OSError:
            return None

    def written(self, folder: str, name: str) -> list[str]:
        """Give the folders right below `folder` in which `write_bytes` wrote a file of this name, newest first."""
        found = []
        for file in self._file(folder, name).parent.glob(f"*/{name}"):
            try:
                found.append((file.stat().st_mtime, f"{folder}/{file.parent.name}"))
            except OSError:  # gone since
                continue
        return [place for _, place in sorted(found, reverse=True)]

    def remove_files(self, folder: str) -> None:
        """Remove what was written into a folder that holds no artefacts, where there is one."""
        shutil.rmtree(self._file(folder, "any.file").parent, ignore_errors=True)

    def check(self) -> list[str]:
        """Read every artefact with its checksums and give a sentence for each that is not whole."""
        faults = []
        for stage in FOLDERS:
            for folder in self._folders(stage):
                try:
                    meta = self.meta(stage, folder.name)
                    for name, facts in meta.files.items():
                        if _sha256(folder / name) != facts["sha256"]:
                            raise self._stale(folder, f"{name} was changed after it was written")
                    for parent_stage, parent in meta.parents.items():
                        if not self.has(parent_stage, parent):
                            raise self._stale(folder, f"its {parent_stage} {parent} is missing or damaged")
                except StaleArtefactError as error:
                    faults.append(error.problem)
        return faults

    def _file(self, folder: str, name: str) -> Path:
        words = folder.split("/")
        if words[0] in FOLDERS or not all(re.fullmatch(r"[a-z0-9-]{1,60}", w) for w in words):
            raise ValueError(f"{folder!r} is no folder for files beside the artefacts")
        if not re.fullmatch(r"[a-z0-9_-]+\.[a-z]+", name):
            raise ValueError(f"{name!r} is no name of a file")
        return self.path.joinpath(*words, name)

    def _folder(self, stage: str, id_: str) -> Path:
        if stage not in FOLDERS or not re.fullmatch(r"[a-z0-9-]{1,60}", id_):
            raise MissingStageError(f"{stage}/{id_[:60]!r} is no artefact.", "Use an id as the program shows it.")
        return self.path / stage / id_

    def _folders(self, stage: str) -> list[Path]:
        root = self.path / stage
        try:
            return sorted(f for f in root.iterdir() if f.is_dir() and re.fullmatch(r"[a-z0-9-]{1,60}", f.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _put(self, beside: Path, folder: Path) -> None:
        """Rename into place; a damaged artefact that is in the way goes, a whole one stays."""
        if folder.exists() and not self.has(folder.parent.name, folder.name):
            folder.rename(beside.with_name(beside.name + "-old"))
        try:
            beside.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        shutil.rmtree(beside.with_name(beside.name + "-old"), ignore_errors=True)
        _flush(folder.parent)

    def _sweep(self, stage_folder: Path) -> None:
        """Remove what killed builds left behind: folders whose writer is gone."""
        for left in stage_folder.glob(f"{WRITING}*"):
            pid = left.name.removeprefix(WRITING).partition("-")[0]
            if pid.isdigit() and int(pid) != os.getpid() and not lives(int(pid)):
                shutil.rmtree(left, ignore_errors=True)

    def _stale(self, folder: Path, why: str) -> StaleArtefactError:
        return StaleArtefactError(
            f"The artefact {folder.parent.name}/{folder.name} cannot be used: {why}.",
            f"Delete the folder {folder} and run the build again.",
        )

    @contextmanager
    def _for_people(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = {
                errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
                errno.EFBIG: "the file would be larger than allowed", errno.EROFS: "the disk is read-only",
                errno.EACCES: "it may not be written", errno.EPERM: "it may not be written",
                errno.ENOTDIR: "a file is in the way", errno.EEXIST: "a file is in the way",
            }.get(error.errno or 0, error.strerror or type(error).__name__)  # fmt: skip
            raise UserError(
                f"Nothing was saved in {folder.parent}: {reason}.",
                "Free some space, or give another folder with --workspace, and run the same command again.",
            ) from error


def to_plain(value: Any) -> Any:
    """Turn NumPy numbers, tuples and NaN (as None) into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def _well_formed(values: Mapping[str, Any]) -> bool:
    """Say whether the values of a `meta.json` are of their kinds, and no file name leads out of the folder."""
    dicts = ("config", "parents", "metrics", "versions", "files")
    if not all(isinstance(values[name], dict) for name in dicts) or not isinstance(values["created"], str):
        return False
    files = values["files"].items()
    names = all(re.fullmatch(r"[A-Za-z0-9_-]+\.(parquet|safetensors)", name) for name, _ in files)
    facts = all(isinstance(f, dict) and set(f) == {"bytes", "sha256"} for _, f in files)
    parents = all(s in STAGES and isinstance(p, str) for s, p in values["parents"].items())
    return names and facts and parents and isinstance(values["seconds"], int | float)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lives(pid: int) -> bool:
    """Say whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
