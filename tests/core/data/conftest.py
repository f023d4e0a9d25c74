"""Small logs on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

INTERACTIONS = "user_id,item_id\n1,a\n1,b\n2,b\n2,c\n"
ITEMS = "item_id,title,year,genres,tags\na,Alpha,1990,Drama|War,war\nb,Beta,1991,,\nc,Gamma,,Comedy,fun|odd\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a folder: file names with `__` for the dot, text or bytes; interactions and items have defaults."""

    def write_folder(folder: str = "shop", **files: str | bytes | None) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        for name, text in {"interactions__csv": INTERACTIONS, "items__csv": ITEMS, **files}.items():
            if text is not None:
                data = text.encode() if isinstance(text, str) else text
                (path / name.replace("__", ".")).write_bytes(data)
        return path

    return write_folder
