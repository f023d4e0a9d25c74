"""Find datasets on this machine, and get the known ones from their homes."""

import hashlib
import os
import shutil
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath

from core.data.catalogue import CATALOGUE, Known
from core.data.demo import DEMO_FOLDER
from core.data.loaders import has_layout
from core.errors import ConfigError, DataError, near
from core.progress import Progress, no_progress

__all__ = ["CATALOGUE", "Known", "available", "data_folder", "fetch", "find"]

RAW = Path(__file__).resolve().parents[2] / "data" / "raw"
CHUNK = 1 << 18
TIMEOUT_S = 30.0
ATTEMPTS = 4
"""How often a cut connection is taken up again."""
MAX_FILES = 1_000
"""Files that an archive may hold."""
MAX_GROWTH = 4.0
"""How many times larger than expected an archive may unpack before it is refused."""


def data_folder(data_dir: Path | None = None) -> Path:
    """Give the folder of raw datasets: `data_dir`, else `$DATASETS_DIR`, else data/raw of the checkout."""
    if data_dir is not None:
        return data_dir
    return Path(os.environ["DATASETS_DIR"]) if os.environ.get("DATASETS_DIR") else RAW


def find(name_or_folder: str | Path, data_dir: Path | None = None) -> Path:
    """Give the folder of a dataset: a known name or one in the folder of raw datasets, else a path.

    Raises:
        DataError: It is not here; says where it would be looked for and how to get it.
    """
    name = str(name_or_folder)
    root = data_folder(data_dir)
    if name == "demo":
        return DEMO_FOLDER
    plain = name not in ("", ".", "..") and len(Path(name).parts) == 1
    if plain and has_layout(root / name):
        return root / name
    # Not Path.expanduser, which raises for a user that is not known.
    folder = Path(os.path.expanduser(name))
    if name and folder.is_dir() and name not in CATALOGUE:
        return folder
    if name in CATALOGUE:
        raise DataError(
            f"{CATALOGUE[name].title} is not in {root}.",
            f"Run `python -m core datasets --download {name}`, or unpack its files into {root / name}.",
        )
    if plain and (root / name).is_dir():
        return root / name  # the reader says what its files lack
    there = [p.name for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    raise DataError(
        f"There is no dataset {name!r} in {root}, and no such folder{near(name, {*CATALOGUE, *there})}.",
        f"Use one of {', '.join(CATALOGUE)}, or give the path of a folder with interactions.csv and items.csv.",
    )


def available(name: str, data_dir: Path | None = None) -> bool:
    """Tell whether a known dataset is on this machine."""
    return name == "demo" or has_layout(data_folder(data_dir) / name)


def fetch(
    name: str, data_dir: Path | None = None, *, accept_licence: bool = False, progress: Progress = no_progress
) -> Path:
    """Download a known dataset into the folder of raw datasets, unless it is there, and give its folder.

    A cut download is taken up where it stopped, now or at the next call; the folder appears only when all is well.

    Raises:
        ConfigError: The name is not known, or its licence was not accepted.
        DataError: Its home cannot be reached, or what came is not what its home published.
    """
    if name not in CATALOGUE:
        raise ConfigError(
            f"There is no known dataset {name!r}{near(name, CATALOGUE)}.", f"Use one of: {', '.join(CATALOGUE)}."
        )
    known, root = CATALOGUE[name], data_folder(data_dir)
    if available(name, data_dir):
        return find(name, data_dir)
    if not accept_licence:
        raise ConfigError(
            f"The licence of {known.title} was not accepted: {known.licence}",
            "Read it, and give --accept-licence if you accept it.",
        )
    if (root / name).exists():
        raise DataError(f"{root / name} is there, but not in a known layout.", "Move it away, then download again.")
    return install(known, root, progress)


def install(known: Known, root: Path, progress: Progress = no_progress) -> Path:
    """Download, check and unpack an archive into `root / known.name`; nothing is left half-done but a `.part`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        archive = root / f"{known.name}.zip.part"
        with _reach(known, root):
            download(known.url, archive, progress, f"download {known.name}")
            expected = known.md5 or published_md5(known.url)
        check_md5(archive, expected, known.url)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{known.name}-") as temporary:
            unpacked = Path(temporary) / "files"
            extract(archive, unpacked, max_bytes=int(MAX_GROWTH * known.unpacked_megabytes * 1e6))
            if not has_layout(unpacked):
                raise DataError(
                    f"The archive of {known.title} holds none of the files expected.",
                    f"Unpack its files into {root / known.name} yourself.",
                )
            unpacked.rename(root / known.name)
        archive.unlink()
    except OSError as error:
        raise DataError(
            f"{root} cannot take the files: {error.strerror or error}.", "Give another folder with --data-dir."
        ) from None
    return root / known.name


@contextmanager
def _reach(known: Known, root: Path) -> Iterator[None]:
    """Turn every failure of the network into two lines that say where the files may be put by hand."""
    try:
        yield
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise DataError(
            f"{known.url} cannot be downloaded: {reason}.",
            f"Try again, or get it elsewhere and unpack its files into {root / known.name}.",
        ) from None


def download(url: str, path: Path, progress: Progress = no_progress, stage: str = "download") -> None:
    """Append to `path` what is missing of a file; a cut connection is taken up again where it stopped."""
    for attempt in range(ATTEMPTS):
        try:
            _download_rest(url, path, progress, stage)
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError):
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def _download_rest(url: str, path: Path, progress: Progress, stage: str) -> None:
    have = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: all is there already, or what is there is not of this file
            raise
        with error:
            total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if total == str(have):
            return
        path.unlink()
        _download_rest(url, path, progress, stage)
        return
    with response:
        resumed = response.status == 206 and _starts_at(response) == have
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total_bytes = have + int(length) if length else 0
        with path.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                progress(stage, have, max(total_bytes, have), {})
        if total_bytes and have < total_bytes:
            raise ConnectionError(f"the connection ended after {have:,} of {total_bytes:,} bytes")


def _starts_at(response: HTTPResponse) -> int:
    start = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else -1


def published_md5(url: str) -> str:
    """Give the checksum that the home publishes beside an archive as `URL.md5`; empty where it publishes none."""
    try:
        with urllib.request.urlopen(f"{url}.md5", timeout=TIMEOUT_S) as response:
            text = response.read(4096).decode("ascii", errors="replace")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (403, 404, 410):
            return ""
        raise
    words = text.lower().replace("=", " ").split()
    return next((w for w in words if len(w) == 32 and set(w) <= set("0123456789abcdef")), "")


def check_md5(path: Path, expected: str, url: str) -> None:
    """Raise, and remove the file, unless its MD5 is the expected one (an empty one is not checked)."""
    if not expected:
        return
    with path.open("rb") as file:
        seen = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if seen != expected:
        path.unlink()
        raise DataError(
            f"The download of {url} is damaged: its MD5 is {seen}, its home says {expected}.",
            "Download it again; what came was removed.",
        )


def extract(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """Unpack a zip into a new folder, leaving out a top folder that holds everything.

    Raises:
        DataError: It is no zip, is damaged, unpacks to more than `max_bytes` or too many files, holds a link, or names
            a path outside of the folder. Nothing is left of it then.
    """

    def refuse(why: str) -> DataError:
        archive.unlink(missing_ok=True)
        return DataError(f"The archive {archive.name} {why}.", "Download it again from its home, or unpack it by hand.")

    try:
        with zipfile.ZipFile(archive) as zipped:
            files = [m for m in zipped.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            if len(files) > MAX_FILES:
                raise refuse(f"holds {len(files):,} files, expected at most {MAX_FILES:,}")
            paths = [PurePosixPath(m.filename.replace("\\", "/")) for m in files]
            for member, path in zip(files, paths, strict=True):
                if path.is_absolute() or ".." in path.parts or ":" in member.filename:
                    raise refuse(f"holds a file outside of its folder, {member.filename!r}")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise refuse(f"holds a link, {member.filename!r}")
            top = {p.parts[0] for p in paths}
            strip = 1 if len(top) == 1 and all(len(p.parts) > 1 for p in paths) else 0
            left = max_bytes
            for member, path in zip(files, paths, strict=True):
                target = folder.joinpath(*path.parts[strip:])
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(member) as source, target.open("wb") as file:
                    while chunk := source.read(CHUNK):
                        left -= len(chunk)
                        if left < 0:  # counted while unpacking: what a zip says of its sizes may be false
                            raise refuse(f"unpacks to more than {max_bytes / 1e6:,.0f} MB")
                        file.write(chunk)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise refuse(f"is not a whole zip file ({error})") from None
    except DataError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
