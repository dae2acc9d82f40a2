"""An entry that says which records were let go, when, and by what rule.

It stands in the tree like any other, so that whoever lets records go leaves a signed word of it
that cannot be taken back or dated back:

    trailhound-release/1
    place PLACE
    released NANOSECONDS
    keep DAYS SOURCE
    records FIRST-LAST

`place` is that of the entry before it. `keep` and `records` may stand there many times: sources
and for how many days their records are kept, and the entries, both included, whose records are
gone. SOURCE is percent-encoded as in a leaf.
"""

import re
from collections.abc import Mapping
from typing import Self

from msgspec import Struct

from trailhound.ledger.leaf import read_text, written
from trailhound.model.errors import TrailhoundError

_VERSION = "trailhound-release/1"
MARK = _VERSION.encode()
"""How such an entry begins, and no other."""
RANGES_LIMIT = 900
_SOURCES_LIMIT = 20
_ENTRY_BYTES = 65_535
DAY_NS = 86_400 * 10**9
_ENTRY = re.compile(
    r"trailhound-release/1\n"
    r"place (?P<place>[!-~]*)\n"
    r"released (?P<released>0|[1-9][0-9]{0,19})\n"
    r"(?P<keep>(?:keep [1-9][0-9]{0,5} [!-~]+\n){1,20})"
    r"(?P<records>(?:records [0-9]{1,19}-[0-9]{1,19}\n){1,900})",
    re.ASCII,
)


class Release(Struct, frozen=True):
    """What one such entry says."""

    place: str
    released_ns: int
    """When, by the clock of the ledger, UTC nanoseconds."""
    keep_days: dict[str, int]
    """Source → days. A source that ends in `*` stands for all that begin so."""
    ranges: tuple[tuple[int, int], ...]
    """First and last entry, both included."""

    def __post_init__(self) -> None:
        if not 0 < len(self.keep_days) <= _SOURCES_LIMIT:
            raise TrailhoundError(f"at most {_SOURCES_LIMIT} sources can be named in keep_days")

    def encode(self) -> bytes:
        """The entry. Raises `TrailhoundError` where names are such that it is none."""
        if not all(name and read_text(written(name)) == name for name in self.keep_days):
            raise TrailhoundError("a source in keep_days is empty, too long, or no text")
        lines = [_VERSION, f"place {written(self.place)}", f"released {self.released_ns}"]
        lines += [f"keep {days} {written(name)}" for name, days in sorted(self.keep_days.items())]
        lines += [f"records {first}-{last}" for first, last in self.ranges]
        entry = ("\n".join(lines) + "\n").encode()
        if len(entry) > _ENTRY_BYTES:
            raise TrailhoundError("the sources in keep_days are too long together")
        return entry

    @classmethod
    def parse(cls, entry: bytes) -> Self | None:
        """Read an entry; None where it is no such entry as `encode` writes."""
        found = _ENTRY.fullmatch(entry.decode("ascii", "replace"))
        if found is None:
            return None
        keep = [line.split(" ") for line in found["keep"].splitlines()]
        ranges = [line.removeprefix("records ") for line in found["records"].splitlines()]
        release = cls(
            read_text(found["place"]),
            int(found["released"]),
            {read_text(name): int(days) for _, days, name in keep},
            tuple((int(r.partition("-")[0]), int(r.partition("-")[2])) for r in ranges),
        )
        try:
            return release if release.encode() == entry else None
        except TrailhoundError:
            return None

    def covers(self, first: int, last: int) -> bool:
        """Whether the records of these entries are all among those it lets go."""
        return any(low <= first and last <= high for low, high in self.ranges)

    def was_due(self, source: str, received_ns: int) -> bool:
        """Whether a record of that source and time was older than it is kept."""
        days = days_of(self.keep_days, source)
        return days is not None and received_ns < self.released_ns - days * DAY_NS


def days_of(keep_days: Mapping[str, int], source: str) -> int | None:
    """Return for how many days records of a source are kept; None: for ever.

    What names it whole counts before what it begins with, the longer before the shorter.
    """
    best, days = -1, None
    for pattern, kept in keep_days.items():
        weight = len(pattern) if is_of(pattern, source) else -1
        if pattern == source:
            return kept
        if weight > best:
            best, days = weight, kept
    return days


def is_of(pattern: str, source: str) -> bool:
    """Whether a source is one of those that a pattern names: `forward/*`, or the whole name."""
    return source == pattern or (pattern.endswith("*") and source.startswith(pattern[:-1]))
