"""Random draws and a running clock, the same for the same seed on every Python."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

T = TypeVar("T")

START_S = 1_741_000_000
"""2025-03-03T11:06:40Z: when every made-up log begins."""


class Dice:
    """Cheap draws on top of `random.Random`.

    Only `random()` and `getrandbits()` are used: their sequences are part of Python's
    promise, those of `choice` and `sample` are not.
    """

    __slots__ = ("bits", "roll")

    def __init__(self, seed: int) -> None:
        source = Random(seed)
        self.roll: Callable[[], float] = source.random
        self.bits: Callable[[int], int] = source.getrandbits

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all equally likely."""
        return items[int(self.roll() * len(items))]

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1."""
        return int(self.roll() * bound)

    def hex(self, digits: int) -> str:
        """So many lower-case hex digits."""
        return f"{self.bits(digits * 4):0{digits}x}"

    def uuid(self) -> str:
        """A random UUID in its usual form (RFC 9562, version 4)."""
        digits = f"{self.bits(128):032x}"
        head, tail = digits[:8], digits[20:]
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{head}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{tail}"

    def letters(self, count: int, alphabet: str = "bcdfghjklmnpqrstvwxz2456789") -> str:
        """So many characters; the default alphabet is that of Kubernetes' generated names."""
        size = len(alphabet)
        number = self.bits(count * 8)
        out = []
        for _ in range(count):
            out.append(alphabet[number % size])
            number //= size
        return "".join(out)

    def public_ip(self) -> str:
        """An address in the ranges kept for documentation and benchmarks (RFC 5737, 2544)."""
        number = self.bits(16)
        return f"198.{18 + (number & 1)}.{number >> 8}.{(number >> 1) & 127}"


class Clock:
    """Event time that runs on by itself, in microseconds since 1970."""

    __slots__ = ("_dice", "_mean_us", "_prefix", "_second", "now_us")

    def __init__(self, dice: Dice, events_per_s: float) -> None:
        self._dice = dice
        self._mean_us = 2_000_000 / events_per_s
        self._second = -1
        self._prefix = ""
        self.now_us = START_S * 1_000_000

    def tick(self) -> int:
        """Move on by a random step; returns the new time."""
        self.now_us += 1 + int(self._dice.roll() * self._mean_us)
        return self.now_us

    def seconds(self, at_us: int) -> str:
        """ISO 8601 to the second, without a zone."""
        second = at_us // 1_000_000
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return self._prefix

    def micros(self, at_us: int) -> str:
        """RFC 3339 with six fraction digits, in UTC."""
        return f"{self.seconds(at_us)}.{at_us % 1_000_000:06d}Z"


def slots(weights: Iterable[tuple[float, T]], size: int = 20_000) -> tuple[T, ...]:
    """Spread items over a table by weight, so that one index draws one of them.

    Args:
        weights: (percent of all draws, item); the percentages must add up to 100.
        size: number of entries; the finest step is 100 / size percent.
    """
    table: list[T] = []
    total = 0.0
    for percent, item in weights:
        total += percent
        table.extend([item] * (round(total / 100 * size) - len(table)))
    if len(table) != size:
        raise ValueError(f"weights add up to {total} percent")
    return tuple(table)
