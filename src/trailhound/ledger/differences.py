"""Two sequences that should be the same: where they part, and what happened there."""

from collections import Counter
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct


class Change(Enum):
    """What was done to a record."""

    ALTERED = "altered"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"


class Difference(Struct, frozen=True):
    """The first place where a log is not what was sealed."""

    change: Change
    index: int
    """Position of it, from 0: in what was sealed, or for an inserted one in what was found."""
    count: int = 1
    """How many records in a row."""


def first_difference(sealed: Sequence[bytes], found: Sequence[bytes]) -> Difference | None:
    """Name the first difference between digests of records; None where `found` begins so.

    What `found` has beyond the end of `sealed` is no difference: logs grow.
    """
    common = min(len(sealed), len(found))
    at = next((i for i in range(common) if sealed[i] != found[i]), common)
    if at == len(sealed):
        return None
    if at == len(found):
        return Difference(Change.DELETED, at, len(sealed) - at)
    missing = Counter(sealed[at:])
    missing.subtract(found[at:])
    # Of a digest: more among what was sealed, or more among what was found.
    gone, new = missing[sealed[at]] > 0, missing[found[at]] < 0
    if gone and new:
        return Difference(Change.ALTERED, at)
    if gone:
        return Difference(Change.DELETED, at, _run(sealed, at, found[at]))
    if new:
        return Difference(Change.INSERTED, at, _run(found, at, sealed[at]))
    return Difference(Change.REORDERED, at)


def _run(longer: Sequence[bytes], at: int, end: bytes) -> int:
    """Records from `at` to where the other one goes on."""
    return next((i - at for i in range(at + 1, len(longer)) if longer[i] == end), 1)


def what_changed(sealed: bytes, found: bytes) -> str:
    """Say where two records part, with a little of both."""
    at = next(
        (i for i, (a, b) in enumerate(zip(sealed, found, strict=False)) if a != b),
        min(len(sealed), len(found)),
    )
    start = max(0, at - 12)
    before, after = (part[start : at + 28].decode("utf-8", "replace") for part in (sealed, found))
    return f"from byte {at + 1} on: sealed …{before}…, found …{after}…"
