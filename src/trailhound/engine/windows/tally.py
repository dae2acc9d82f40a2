"""The hits that are in a window, and what is asked of their values: as they come and go."""

import hashlib
import math
from typing import Literal, NamedTuple

from msgspec import Struct

from trailhound.engine.tests import number_of
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.paged import Paged, Shelf
from trailhound.engine.windows.sums import Sum, as_float, plus

_TEXT_LIMIT = 40
_FEW_VALUES = 16
_VALUE_BYTES = 100

Asked = Literal["", "sum", "rank", "distinct"]
"""What is asked of values: nothing but how many they are; sum and average; the number at some
rank; how many different ones."""


class Held(NamedTuple):
    """What a group remembers of a feed."""

    time_ns: int
    uid: str
    rule: int
    at: int
    values: tuple[str | float, ...] = ()


class Hits(Paged[Held]):
    """Hits in the order of their feeds."""

    @classmethod
    def weight(cls, entry: Held) -> int:
        """See `Paged`; values are short, but there may be many."""
        many = len(entry.values)
        return many * _VALUE_BYTES if many > _FEW_VALUES else 0


class Ranked(Paged[tuple[float, int, int]]):
    """Numbers; each with the turn of its hit, and its place among the values of that."""


class Distinct(Paged[tuple[str, int]]):
    """Values, and how often each is there."""


class Tally(Struct):
    """What is known of the values of the hits in a window."""

    values: int = 0
    """How many they are; where numbers are asked for, how many numbers."""
    above: int = 0
    """How many of them are infinite."""
    below: int = 0
    """How many are infinite and negative."""
    total: Sum = b""
    """The sum of the others."""
    ranked: Ranked | None = None
    distinct: Distinct | None = None

    def enter(self, asked: Asked, held: Held, turn: int, shelf: Shelf) -> None:
        """Take the values of a hit in; `turn` tells it from other hits of the group."""
        self._count(asked, held, 1)
        if asked == "rank":
            ranked = self.ranked = self.ranked or Ranked()
            for place, value in enumerate(held.values):
                ranked.add((float(value), turn, place), shelf)
        elif asked == "distinct":
            distinct = self.distinct = self.distinct or Distinct()
            for value in held.values:
                text = str(value)
                known = distinct.discard((text,), shelf)
                distinct.add((text, known[1] + 1 if known else 1), shelf)

    def leave(self, asked: Asked, held: Held, turn: int, shelf: Shelf) -> None:
        """Take the values of a hit out again."""
        self._count(asked, held, -1)
        if self.ranked is not None:
            for place, value in enumerate(held.values):
                self.ranked.discard((float(value), turn, place), shelf)
        elif self.distinct is not None:
            for value in held.values:
                text, count = self.distinct.discard((str(value),), shelf) or ("", 1)
                if count > 1:
                    self.distinct.add((text, count - 1), shelf)

    def sum(self) -> float:
        """Return the sum: whatever the order of the numbers, the same."""
        if self.above and self.below:
            return math.nan
        if self.above or self.below:
            return math.inf if self.above else -math.inf
        return as_float(self.total)

    def number_at(self, percentile: float, shelf: Shelf) -> float:
        """Return a percentile of the numbers; there must be one, and ranks be asked for.

        Linear interpolation between closest ranks (NIST, "Percentiles", method R-7).
        """
        ranked = self.ranked or Ranked()
        rank = (len(ranked) - 1) * percentile / 100
        low, high = int(rank), min(int(rank) + 1, len(ranked) - 1)
        below, above = ranked.at(low, shelf)[0], ranked.at(high, shelf)[0]
        return below + (above - below) * (rank - low)

    def _count(self, asked: Asked, held: Held, by: int) -> None:
        self.values += by * len(held.values)
        if asked != "sum":
            return
        for value in held.values:
            number = float(value)
            if math.isfinite(number):
                self.total = plus(self.total, by * number)
            elif number > 0:
                self.above += by
            else:
                self.below += by


def held_of(feed: Feed, asked: Asked) -> Held:
    """Return what is kept of a feed; of the first of its value fields, as it is asked for."""
    texts = feed.values[0] if asked and feed.values else ()
    if not texts:
        # In a third of the time that the class takes for it.
        return tuple.__new__(Held, (feed.time_ns, feed.uid, feed.rule, feed.at, ()))
    values = tuple(_numbers(texts)) if asked in ("sum", "rank") else tuple(map(short, texts))
    return Held(feed.time_ns, feed.uid, feed.rule, feed.at, values)


def short(text: str) -> str:
    """Return a text, or where it is long what tells it from all others."""
    if len(text) <= _TEXT_LIMIT:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{text[:8]}\0{digest.hexdigest()}"


def _numbers(texts: tuple[str, ...]) -> list[float]:
    numbers = (number_of(text) for text in texts)
    return [_float(n) for n in numbers if n is not None and n == n]  # noqa: PLR0124 - drops NaN


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond all floats
        return math.inf if number > 0 else -math.inf
