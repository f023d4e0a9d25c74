"""What calls cost: the price table, what a call can cost at most, and the cap from which each call reserves first."""

import asyncio
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import ConfigError

PRICES = Path(__file__).with_name("prices.toml")
OVERHEAD = 64
"""Tokens that a server may add around the messages: roles, separators."""
BYTES_A_TOKEN = 4.0
"""Of English text; for estimates only, never for the cap."""
TYPICAL_OUT = 120
"""Tokens of a usual answer; for estimates only."""


class Price(NamedTuple):
    """US dollars for a million tokens."""

    tokens_in: float
    tokens_out: float


class Tokens(NamedTuple):
    """Of one call or several."""

    sent: int
    answered: int


class Usage(NamedTuple):
    """What was used, or reserved."""

    tokens: int
    usd: float
    """0 where no price is known."""

    def __add__(self, other: tuple) -> "Usage":
        return Usage(self.tokens + other[0], self.usd + other[1])

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.tokens - other.tokens, self.usd - other.usd)


NOTHING = Usage(0, 0.0)


class CapReachedError(Exception):
    """The next call could pass the cap; it was not made."""


def price_of(model: str, given: str | None = None) -> Price | None:
    """Give the price of a model: the given one, else the table's; None where it is not known.

    Args:
        model: As the server calls it.
        given: "IN,OUT" in US dollars for a million tokens.

    Raises:
        ConfigError: The given price, or the table, cannot be read.
    """
    if given is not None:
        try:
            numbers = [float(part) for part in given.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 2 or not all(math.isfinite(n) and n >= 0 for n in numbers):
            raise ConfigError(
                f"--price {given[:40]!r} is no price.",
                "Write --price IN,OUT in US dollars for a million tokens, for example --price 0.15,0.60.",
            )
        return Price(*numbers)
    try:
        table = tomllib.loads(PRICES.read_text(encoding="utf-8"))["models"]
        row = table.get(model)
        return None if row is None else Price(float(row["in"]), float(row["out"]))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError(
            f"The price table {PRICES} cannot be read.", 'Write rows like "model" = { in = 0.15, out = 0.60 }.'
        ) from None


def usd(tokens: Tokens, price: Price | None) -> float:
    """Give what some tokens cost; 0 where no price is known."""
    return 0.0 if price is None else (tokens.sent * price.tokens_in + tokens.answered * price.tokens_out) / 1e6


def most_tokens(texts: Sequence[str], max_answer: int) -> Tokens:
    """Give the most tokens that a call can take: one for each byte that is sent, as no tokeniser makes more of it."""
    return Tokens(sum(len(text.encode()) for text in texts) + OVERHEAD, max_answer)


def usual_tokens(texts: Sequence[str]) -> Tokens:
    """Give about how many tokens a call takes."""
    return Tokens(math.ceil(sum(len(text.encode()) for text in texts) / BYTES_A_TOKEN), TYPICAL_OUT)


@dataclass
class Cap:
    """A cap on tokens and money. Every call reserves the most it can cost before it is made.

    Attributes:
        price: Of the model, or None.
        most_usd: Or None for no cap.
        most_tokens: Or None for no cap.
        spent: What calls have cost, those before this process too.
    """

    price: Price | None
    most_usd: float | None
    most_tokens: int | None
    spent: Usage = NOTHING

    def __post_init__(self) -> None:
        self._open = NOTHING
        self._changed = asyncio.Condition()
        self._worst = 1.0

    def usage(self, tokens: Tokens) -> Usage:
        """Give tokens with their price."""
        return Usage(sum(tokens), usd(tokens, self.price))

    async def reserve(self, most: Tokens) -> Usage:
        """Reserve what a call can cost; waits while calls in flight may still leave room for it.

        Raises:
            CapReachedError: There is not enough left.
        """
        asked = self.usage(most)
        asked = Usage(math.ceil(asked.tokens * self._worst), asked.usd * self._worst)
        async with self._changed:
            while not self._fits(self.spent + self._open + asked):
                if self._open.tokens == 0 or not self._fits(self.spent + asked):
                    raise CapReachedError
                await self._changed.wait()
            self._open = self._open + asked
        return asked

    async def settle(self, reserved: Usage, used: Usage) -> None:
        """Give a reservation back, and count what the call cost.

        A server may use more than any tokeniser should, for text that it adds itself; from then on every reservation
        is larger by the same factor.
        """
        async with self._changed:
            self._open = self._open - reserved if self._open.tokens > reserved.tokens else NOTHING
            self.spent = self.spent + used
            if used.tokens > reserved.tokens:
                self._worst *= used.tokens / reserved.tokens
            self._changed.notify_all()

    def _fits(self, total: Usage) -> bool:
        money = self.most_usd is None or total.usd <= self.most_usd
        return money and (self.most_tokens is None or total.tokens <= self.most_tokens)
