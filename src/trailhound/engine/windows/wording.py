"""Words that the reasons of windows share."""

from collections.abc import Iterable
from datetime import UTC, datetime

from trailhound.rules.ir import Condition

_SIGNS = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "eq": "=", "neq": "≠"}


def condition_text(conditions: Iterable[Condition]) -> str:
    """Return bounds in words: `≥ 10`, `> 2 and ≤ 4`."""
    return " and ".join(f"{_SIGNS[bound.op]} {bound.value:g}" for bound in conditions)


def duration(span_ns: int) -> str:
    """Return a span of time as a person says it: `90 s`, `2.5 min`, `3 d`."""
    seconds = span_ns / 1e9
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def moment(time_ns: int) -> str:
    """Return an event time as a person says it: `2026-05-01 12:03:11 UTC`."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
