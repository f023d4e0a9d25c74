"""Where the evidence goes: the address of a model's server, checked, and the key to it, which is never shown.

The key comes from the environment alone: STEERLENS_LLM_KEY for any server, OPENAI_API_KEY for OpenAI's own host only,
so that a wrong address cannot be sent a key that was not meant for it.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from core.errors import ConfigError, one_line

OPENAI = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
KEY_VARIABLE, OPENAI_VARIABLE = "STEERLENS_LLM_KEY", "OPENAI_API_KEY"
HOSTED, ALLOWED = "STEERLENS_HOSTED", "STEERLENS_LLM_HOSTS"
_SECRET, _PIECE = 16, 10
"""Characters from which a key is one, not a stand-in such as "EMPTY"; those in a row that count as a leak of it."""


@dataclass(frozen=True)
class Secret:
    """A key that no text of the program shows: `str` and `repr` hide it.

    >>> Secret("sk-very-secret")
    Secret(hidden)
    """

    value: str = field(repr=False)

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def leaks(self, text: str) -> bool:
        """Say whether a text holds the key or ten characters of it in a row."""
        key, where = self.value.casefold(), text.casefold()
        pieces = (key[i : i + _PIECE] for i in range(len(key) - _PIECE + 1))
        return len(key) >= _SECRET and any(piece in where for piece in pieces)


@dataclass(frozen=True)
class Endpoint:
    """A model on a server.

    Attributes:
        model: As the server calls it.
        base_url: As given, without a slash at the end.
        host: Where the data goes, with the port where one is named.
        key: Or None for a server that wants none.
    """

    model: str
    base_url: str
    host: str
    key: Secret | None

    @property
    def notice(self) -> str:
        """Say where the data goes, in one line."""
        text = (
            f"What is sent: titles, years, genres, tags and how widely known items are. Nothing of any viewer. "
            f"It goes to {self.host}, model {one_line(self.model, 80)}."
        )
        plain = urlsplit(self.base_url).scheme == "http" and not _loopback(self.host)
        return text + (" The way there is not encrypted (http)." if plain else "")


def endpoint_of(model: str, base_url: str | None, environment: Mapping[str, str] | None = None) -> Endpoint:
    """Check an address and find its key.

    Args:
        model: As the server calls it.
        base_url: Up to and including the version, such as `http://localhost:11434/v1`; OpenAI's by default.
        environment: The process's by default.

    Raises:
        ConfigError: No model, an address that is not http(s), carries credentials, or is not allowed here; no key for
            OpenAI.
    """
    environment = os.environ if environment is None else environment
    if not model.strip() or len(model) > 200 or not model.isprintable():
        raise ConfigError("No model is named.", "Give --llm MODEL, as its server calls it.")
    url = (base_url or OPENAI).strip()
    host = _host(url)
    if environment.get(HOSTED, "") not in ("", "0"):
        allowed = {name.strip().casefold() for name in environment.get(ALLOWED, "").split(",") if name.strip()}
        if host not in allowed:
            raise ConfigError(
                f"This server may not send data to {host}.",
                f"Use one of: {', '.join(sorted(allowed)) or 'none is allowed'} ({ALLOWED}, set by who runs it).",
            )
    names = (KEY_VARIABLE, OPENAI_VARIABLE) if host == OPENAI_HOST else (KEY_VARIABLE,)
    key = next((environment[name].strip() for name in names if environment.get(name, "").strip()), None)
    if key is None and host == OPENAI_HOST:
        raise ConfigError(
            f"There is no key for {host}.",
            f"Set {OPENAI_VARIABLE} in the environment, or give --base-url of a server of your own.",
        )
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError("The key holds characters that no key has.", f"Set {KEY_VARIABLE} again, without quotes.")
    return Endpoint(model.strip(), url.rstrip("/"), host, None if key is None else Secret(key))


def _host(url: str) -> str:
    """Give host, or host:port, of an address that may be called; one reading only, no room for two."""
    fix = "Give --base-url like http://localhost:11434/v1."
    if not url.isascii() or not url.isprintable() or re.search(r"[\s\\]", url):
        raise ConfigError("The address of the server holds characters that no address has.", fix)
    if "@" in url:
        raise ConfigError("The address of the server carries credentials.", f"Leave them out; set {KEY_VARIABLE}.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("The address of the server cannot be read.", fix) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("The address of the server does not begin with http:// or https://.", fix)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigError("The address of the server has a part after ? or #.", fix)
    name = parts.hostname.casefold().rstrip(".")
    if not re.fullmatch(r"[a-z0-9.-]+", name) and not _address(name):
        raise ConfigError("The host in the address of the server is no host.", fix)
    name = f"[{name}]" if ":" in name else name
    default = {"http": 80, "https": 443}[parts.scheme]
    return name if port in (None, default) else f"{name}:{port}"


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    return name == "localhost" or (_address(name) and ipaddress.ip_address(name).is_loopback)
