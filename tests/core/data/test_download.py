"""Finding and downloading, against a real server on this machine: with and without ranges, cut, wrong and hostile."""

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.data import download as module
from core.data.catalogue import CATALOGUE, Known
from core.data.demo import DEMO_FOLDER
from core.data.download import available, data_folder, extract, fetch, find, install
from core.data.loaders import read_dataset
from core.errors import ConfigError, DataError
from tests.core.data.conftest import INTERACTIONS, ITEMS, Write

PADDING = bytes(range(256)) * 4000  # a megabyte, so that a download takes several reads


def zip_of(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return buffer.getvalue()


GOOD = zip_of({"tiny/interactions.csv": INTERACTIONS, "tiny/items.csv": ITEMS, "tiny/padding.bin": PADDING})
MD5 = hashlib.md5(GOOD).hexdigest()


class Home:
    """A server with one archive and its checksum; tells what was asked of it."""

    def __init__(self) -> None:
        self.archive = GOOD
        self.md5: str | None = f"{MD5}  tiny.zip\n"
        self.ranges = True
        self.cut_after: list[int] = []
        self.asked: list[str | None] = []
        home = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".md5"):
                    self.send_response(200 if home.md5 is not None else 404)
                    self.end_headers()
                    self.wfile.write((home.md5 or "").encode())
                    return
                wanted = self.headers.get("Range")
                home.asked.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and home.ranges else 0
                if start >= len(home.archive):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(home.archive)}")
                    self.end_headers()
                    return
                body = home.archive[start:]
                self.send_response(206 if wanted and home.ranges else 200)
                if wanted and home.ranges:
                    self.send_header("Content-Range", f"bytes {start}-{len(home.archive) - 1}/{len(home.archive)}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: home.cut_after.pop(0)] if home.cut_after else body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/tiny.zip"

    def known(self, md5: str = "", url: str = "", unpacked_megabytes: float = 2) -> Known:
        return Known("tiny", "Tiny", url or self.url, md5, "Anything goes.", 2, 3, 4, 1, unpacked_megabytes)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def home() -> Iterator[Home]:
    server = Home()
    yield server
    server.close()


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_download_is_checked_unpacked_without_its_top_folder_and_can_be_read(home: Home, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = install(home.known(), tmp_path / "raw", lambda stage, done, total, _: seen.append((stage, done, total)))
    assert folder == tmp_path / "raw" / "tiny"
    assert names(folder) == ["interactions.csv", "items.csv", "padding.bin"]
    assert names(tmp_path / "raw") == ["tiny"]
    assert read_dataset(folder).n_interactions == 4
    assert seen[-1] == ("download tiny", len(GOOD), len(GOOD))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_cut_connection_is_taken_up_where_it_stopped(home: Home, tmp_path: Path) -> None:
    home.cut_after = [300_000, 100_000]
    install(home.known(MD5), tmp_path)
    assert home.asked == [None, "bytes=300000-", "bytes=400000-"]
    assert (tmp_path / "tiny" / "padding.bin").read_bytes() == PADDING


def test_a_server_without_ranges_sends_everything_again(home: Home, tmp_path: Path) -> None:
    home.ranges, home.cut_after = False, [300_000]
    install(home.known(MD5), tmp_path)
    assert home.asked == [None, "bytes=300000-"]
    assert (tmp_path / "tiny" / "padding.bin").read_bytes() == PADDING


def test_a_download_that_stopped_yesterday_goes_on_today(home: Home, tmp_path: Path) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(GOOD[:5000])
    install(home.known(MD5), tmp_path)
    assert home.asked == ["bytes=5000-"]
    assert available_here(tmp_path)


def test_a_whole_part_is_not_downloaded_again(home: Home, tmp_path: Path) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(GOOD)
    install(home.known(MD5), tmp_path)
    assert available_here(tmp_path)


def test_a_part_that_is_longer_than_the_file_is_thrown_away(home: Home, tmp_path: Path) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(GOOD + b"more")
    install(home.known(MD5), tmp_path)
    assert home.asked == [f"bytes={len(GOOD) + 4}-", None]
    assert available_here(tmp_path)


def available_here(root: Path) -> bool:
    return read_dataset(root / "tiny").n_interactions == 4


def test_a_connection_that_is_always_cut_keeps_what_came_and_says_so(home: Home, tmp_path: Path) -> None:
    home.cut_after = [1000] * 99
    with pytest.raises(DataError, match="connection ended after 4,000 of") as caught:
        install(home.known(MD5), tmp_path)
    assert str(tmp_path / "tiny") in caught.value.fix
    assert names(tmp_path) == ["tiny.zip.part"]


@pytest.mark.parametrize("given", [True, False], ids=["known", "published beside it"])
def test_a_wrong_checksum_leaves_nothing(home: Home, tmp_path: Path, given: bool) -> None:
    home.md5 = "MD5 (tiny.zip) = " + "0" * 32
    with pytest.raises(DataError, match="damaged: its MD5"):
        install(home.known("f" * 32 if given else ""), tmp_path)
    assert names(tmp_path) == []


def test_an_archive_without_a_published_checksum_is_still_unpacked(home: Home, tmp_path: Path) -> None:
    home.md5 = None
    install(home.known(), tmp_path)
    assert available_here(tmp_path)


def test_an_archive_whose_files_lie_at_the_top_is_unpacked_as_it_is(home: Home, tmp_path: Path) -> None:
    home.archive = zip_of({"interactions.csv": INTERACTIONS, "items.csv": ITEMS})
    home.md5 = None
    install(home.known(), tmp_path)
    assert available_here(tmp_path)


def test_an_archive_of_something_else_is_refused_and_nothing_appears(home: Home, tmp_path: Path) -> None:
    home.archive, home.md5 = zip_of({"tiny/readme.txt": "hello"}), None
    with pytest.raises(DataError, match="none of the files expected"):
        install(home.known(), tmp_path)
    assert "tiny" not in names(tmp_path)


def test_no_network_says_where_to_put_the_files(home: Home, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        install(home.known(url="http://127.0.0.1:9/tiny.zip"), tmp_path)
    assert str(caught.value).count("\n") == 1
    assert str(tmp_path / "tiny") in caught.value.fix


def test_a_file_that_is_gone_is_not_asked_for_again_and_again(tmp_path: Path, home: Home) -> None:
    home.archive = b""  # answers 416 to everything, without a range asked for
    with pytest.raises(DataError, match="cannot be downloaded"):
        install(home.known(), tmp_path)
    assert len(home.asked) == 1


def link_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        link = zipfile.ZipInfo("tiny/items.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("tiny/interactions.csv", bytes(5_000_000))
    return buffer.getvalue()


def damaged() -> bytes:
    data = bytearray(GOOD)
    data[600_000] ^= 0xFF  # within the padding: its checksum no longer fits
    return bytes(data)


HOSTILE = {
    "up": (zip_of({"tiny/../../evil.txt": "x"}), "outside of its folder"),
    "root": (zip_of({"/evil.txt": "x"}), "outside of its folder"),
    "windows": (zip_of({"tiny\\..\\..\\evil.txt": "x"}), "outside of its folder"),
    "drive": (zip_of({"C:/evil.txt": "x"}), "outside of its folder"),
    "link": (link_zip(), "holds a link"),
    "bomb": (bomb(), "unpacks to more than 1 MB"),
    "many": (zip_of({f"tiny/{i}": "" for i in range(1001)}), "1,001 files"),
    "no zip": (b"<html>404</html>", "not a whole zip file"),
    "cut": (GOOD[:-500], "not a whole zip file"),
    "damaged": (damaged(), "not a whole zip file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_broken_archive_leaves_nothing_anywhere(tmp_path: Path, case: str) -> None:
    data, problem = HOSTILE[case]
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    archive = root / "tiny.zip.part"
    archive.write_bytes(data)
    with pytest.raises(DataError, match=problem):
        extract(archive, root / "files", max_bytes=1_200_000)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert not (root / "files").exists()


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    data = bomb().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "z").write_bytes(data)
    with pytest.raises(DataError):
        extract(tmp_path / "z", tmp_path / "files", max_bytes=1_200_000)
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_download_never_becomes_a_dataset(home: Home, tmp_path: Path) -> None:
    home.archive, home.md5 = bomb(), None
    with pytest.raises(DataError, match="unpacks to more than"):
        install(home.known(unpacked_megabytes=0.1), tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot take the files"):
        install(home.known(), tmp_path / "file" / "raw")


def test_fetch_asks_for_the_licence_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Harper and Konstan"):
        fetch("ml-1m", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fetch_downloads_once(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.CATALOGUE, "tiny", home.known())
    assert not available("tiny", tmp_path)
    assert fetch("tiny", tmp_path, accept_licence=True) == tmp_path / "tiny"
    assert fetch("tiny", tmp_path) == tmp_path / "tiny"
    assert len(home.asked) == 1
    assert available("tiny", tmp_path)


def test_fetch_does_not_touch_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not in a known layout"):
        fetch("ml-1m", tmp_path, accept_licence=True)


def test_fetch_of_the_demo_needs_nothing_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    assert fetch("demo", tmp_path) == DEMO_FOLDER
    with pytest.raises(ConfigError, match="did you mean 'ml-1m'"):
        fetch("ml-1n", tmp_path)


def test_find_looks_in_the_data_folder_then_takes_a_path(write: Write, tmp_path: Path) -> None:
    folder = write("ml-1m")
    assert find("ml-1m", tmp_path) == folder
    assert find(folder, tmp_path / "elsewhere") == folder
    assert find("demo", tmp_path) == DEMO_FOLDER
    with pytest.raises(DataError, match=r"MovieLens 100K is not in") as caught:
        find("ml-100k", tmp_path)
    assert "--download ml-100k" in caught.value.fix
    assert str(tmp_path / "ml-100k") in caught.value.fix
    with pytest.raises(DataError, match="did you mean"):
        find("ml-1mm", tmp_path)


def test_the_data_folder_is_the_option_then_the_variable_then_data_raw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASETS_DIR", str(tmp_path / "variable"))
    assert data_folder(tmp_path / "option") == tmp_path / "option"
    assert data_folder() == tmp_path / "variable"
    monkeypatch.setenv("DATASETS_DIR", "")
    assert data_folder().parts[-2:] == ("data", "raw")


def test_the_catalogue_names_its_entries_by_their_names_and_https_homes() -> None:
    for name, known in CATALOGUE.items():
        assert known.name == name
        assert known.licence
        assert name == "demo" or known.url.startswith("https://files.grouplens.org/")
        assert known.md5 == "" or len(known.md5) == 32
