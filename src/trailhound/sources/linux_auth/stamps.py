"""Times: what RFC 3164 leaves out of a stamp is inferred by fixed rules, and said."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct

from trailhound.sources.mapping import is_time_ns, time_ns_of
from trailhound.sources.syslog_lines import Stamp, frame

DEFAULT_YEAR = 2024
"""Year of a BSD stamp where neither the file's age nor a neighbour tells it. A leap year, so
that 29 February stands."""

YEAR_INFERRED = "year inferred"
ZONE_ASSUMED = "zone assumed UTC"
TIME_TAKEN = "time taken from the record before"
TIME_OF_WRAPPING = "time taken from what the record was wrapped in"

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_JUMP = 334 * _DAY  # about eleven months: a longer way back or ahead is a change of year
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_YEAR = 2262
_PATHS_KEPT = 1024


class Moment(Struct, frozen=True):
    """A time, and what was assumed to get it."""

    time_ns: int
    """UTC nanoseconds since 1970."""
    inferred: bool
    """Whether the stamp as written does not say it."""
    notes: tuple[str, ...] = ()
    odd: str = ""
    """What is wrong with the stamp, in words."""


class Calendar:
    """Completes stamps, file by file.

    The year of a BSD stamp is the first of these that is known:

    1. the latest year that does not put it more than a day after the file was last written
       (`modified_ns` of the payload's context) or after the stamp of its wrapping;
    2. the year of the record before it in the same file, moved by one where the time would
       otherwise jump back or ahead by more than eleven months;
    3. `DEFAULT_YEAR`.

    No clock is read, so the same file gives the same times tomorrow.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._bound: tuple[int, int] = (0, 0)

    def complete(self, stamp: Stamp, path: str, context: Mapping[str, Any]) -> Moment:
        """Return the moment of a stamp in the file at `path`, and remember it."""
        moment = self._complete(stamp, path, context)
        last = self._last
        if path not in last and len(last) >= _PATHS_KEPT:
            del last[next(iter(last))]
        last[path] = moment.time_ns
        return moment

    def _complete(self, stamp: Stamp, path: str, context: Mapping[str, Any]) -> Moment:
        if stamp.time_ns is not None:
            return Moment(stamp.time_ns, inferred=False, notes=() if stamp.zoned else _ZONE)
        wrapped_ns = stamp_in(context)
        anchor_ns = _modified_ns(context) if wrapped_ns is None else wrapped_ns
        if stamp.day:
            time_ns = self._dated(stamp, path, anchor_ns)
            if time_ns is not None:
                notes = _ZONE if stamp.year else _YEAR_AND_ZONE
                return Moment(time_ns, inferred=True, notes=notes)
        if not stamp.text and wrapped_ns is not None:
            return Moment(wrapped_ns, inferred=True, notes=(TIME_OF_WRAPPING,))
        before = self._last.get(path, anchor_ns)
        if before is None:
            before = _at(DEFAULT_YEAR, 1, 1, 0) or 0
        odd = f"the time {stamp.text[:64]!r} does not exist" if stamp.text else ""
        return Moment(before, inferred=True, notes=(TIME_TAKEN,), odd=odd)

    def _dated(self, stamp: Stamp, path: str, anchor_ns: int | None) -> int | None:
        month, day, clock_ns = stamp.month, stamp.day, stamp.clock_ns
        if stamp.year:
            return _at(stamp.year, month, day, clock_ns)
        if anchor_ns is not None:
            if self._bound[0] != anchor_ns:
                self._bound = (anchor_ns, _year_of(anchor_ns + _DAY))
            year = self._bound[1]
            time_ns = _at(year, month, day, clock_ns)
            if time_ns is not None and time_ns <= anchor_ns + _DAY:
                return time_ns
            return _nearest(month, day, clock_ns, (year - back for back in range(1, 9)))
        before = self._last.get(path)
        if before is None:
            return _nearest(month, day, clock_ns, range(DEFAULT_YEAR, DEFAULT_YEAR + 1))
        year = _year_of(before)
        time_ns = _at(year, month, day, clock_ns)
        if time_ns is None:  # 29 February
            return _nearest(month, day, clock_ns, _around(year))
        if time_ns < before - _JUMP:
            return _at(year + 1, month, day, clock_ns) or time_ns
        if time_ns > before + _JUMP:
            return _at(year - 1, month, day, clock_ns) or time_ns
        return time_ns


class Moments:
    """The moments of the plain lines of a file, without what `Calendar` has to remember of them.

    Neighbours share their second.
    """

    def __init__(self, calendar: Calendar, path: str, context: Mapping[str, Any]) -> None:
        """For lines whose year follows from the context, or is written."""
        self._calendar, self._path, self._context = calendar, path, context
        self._stamp = ""
        self._known: tuple[int, str, tuple[str, ...]] = (0, "", ())

    def of(self, stamp: str, line: str) -> tuple[int, str, tuple[str, ...]]:
        """Return UTC nanoseconds, what they are as text where they were inferred, and notes."""
        if stamp[10:11] == "T":
            return zoned_ns(stamp), "", ()
        if stamp != self._stamp:
            found = frame(line)
            assert found is not None  # noqa: S101 - the line is plain
            moment = self._calendar.complete(found.stamp, self._path, self._context)
            self._stamp, self._known = stamp, (moment.time_ns, iso(moment.time_ns), moment.notes)
        return self._known


def zoned_ns(stamp: str) -> int:
    """Read the stamp of a plain line: `2025-03-03T11:06:40.140706+00:00` or with `Z`."""
    zone = "Z" if stamp[-1] == "Z" else stamp[-6:]
    fraction = stamp[20 : -len(zone)]
    start_ns = time_ns_of(stamp[:19] + zone)
    assert start_ns is not None  # noqa: S101 - the line is plain
    return start_ns + int(fraction.ljust(9, "0")) if fraction else start_ns


_ZONE = (ZONE_ASSUMED,)
_YEAR_AND_ZONE = (YEAR_INFERRED, ZONE_ASSUMED)


_STAMPS = ("timestamp", "@timestamp", "time", "date")


def stamp_in(known: Mapping[str, Any]) -> int | None:
    """When a shipper says it took a record, UTC nanoseconds; None where it does not say."""
    for name in _STAMPS:
        value = known.get(name)
        if value is not None and (time_ns := _stamped(value)) is not None:
            return time_ns
    return None


def is_anchored(context: Mapping[str, Any]) -> bool:
    """Whether the year of any stamp in a file follows from when it was last written."""
    modified_ns = _modified_ns(context)
    if modified_ns is None or stamp_in(context) is not None:
        return False
    return 1980 <= _year_of(modified_ns) <= 2200


def _modified_ns(context: Mapping[str, Any]) -> int | None:
    modified = context.get("modified_ns")
    return modified if isinstance(modified, int) and is_time_ns(modified) else None


def _stamped(value: object) -> int | None:
    """Read what a wrapping says: ISO text, or seconds, ms, µs or ns since 1970 by their size."""
    if isinstance(value, str):
        return time_ns_of(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e8 < value < 1e19:
        return None
    scale = next(scale for limit, scale in _SCALES if value < limit)
    if isinstance(value, float):  # which holds no more than microseconds
        value, scale = round(value * (scale / 1000)), 1000
    return value * scale if is_time_ns(value * scale) else None


_SCALES = ((1e11, _SECOND), (1e14, 1_000_000), (1e17, 1000), (1e20, 1))


def _at(year: int, month: int, day: int, clock_ns: int) -> int | None:
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    time_ns = days * _DAY + clock_ns
    return time_ns if is_time_ns(time_ns) else None


def _nearest(month: int, day: int, clock_ns: int, years: Any) -> int | None:
    found = (_at(year, month, day, clock_ns) for year in years)
    return next((time_ns for time_ns in found if time_ns is not None), None)


def _around(year: int) -> list[int]:
    return sorted(range(year - 8, year + 9), key=lambda other: (abs(other - year), other))


def _year_of(time_ns: int) -> int:
    return _year_of_day(time_ns // _DAY)


@lru_cache(maxsize=64)
def _year_of_day(day: int) -> int:
    try:
        return min(date.fromordinal(_EPOCH_DAY + day).year, _LAST_YEAR)
    except (ValueError, OverflowError):
        return DEFAULT_YEAR


def iso(time_ns: int) -> str:
    """Write UTC nanoseconds as an ISO 8601 time, with the fraction only where there is one.

    A time outside the years 1 to 9999 is written as its number.
    """
    seconds, fraction = divmod(time_ns, _SECOND)
    text = _iso_of_second(seconds)
    if not text:
        return str(time_ns)
    digits = f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{text}{digits}Z"


@lru_cache(maxsize=64)
def _iso_of_second(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    except (ValueError, OverflowError, OSError):
        return ""
