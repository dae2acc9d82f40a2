"""Schedules as cron writes them, in UTC: minute, hour, day of month, month, day of week.

crontab(5): lists, ranges, steps, names of months and days; where both days are restricted, either
counts. Also `@hourly` and the like. What else some programs know (seconds, `L`, `#`) is refused.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "may": 5,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_ANY = ("*", "?")
_DAYS_LOOKED_AT = 8 * 366
"""From one 29 February to the next there may be eight years."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS = 1_000_000_000


class BadSchedule(ValueError):
    """A text is no schedule, or one that never comes; says why."""


class Schedule(Struct, frozen=True):
    """The minutes of a schedule."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either: bool
    """Whether one of the day of month and the day of week is enough."""

    def after(self, time_ns: int) -> int:
        """Return the next time after one, UTC nanoseconds; within 8 years there is one."""
        moment = _EPOCH + timedelta(seconds=time_ns // _SECOND_NS)
        day = moment.date()
        first: tuple[int, int] | None = moment.hour, moment.minute
        for _ in range(_DAYS_LOOKED_AT):
            if self._fits(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        if first is None or (hour, minute) > first:
                            found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                            return int((found - _EPOCH).total_seconds()) * _SECOND_NS
            day, first = day + timedelta(days=1), None
        raise BadSchedule("it never comes")

    def _fits(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either else by_month and by_week


def schedule_of(text: str) -> Schedule:
    """Read a schedule. Raises `BadSchedule`."""
    words = _NAMED.get(text.strip().lower(), text).lower().split()
    if len(words) != len(_FIELDS):
        raise BadSchedule("a schedule has five fields: minute, hour, day, month, day of week")
    found = [_field(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = found
    schedule = Schedule(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either=words[2] not in _ANY and words[4] not in _ANY,
    )
    schedule.after(0)
    return schedule


def _field(word: str, what: str, low: int, high: int, names: Mapping[str, int]) -> frozenset[int]:
    numbers: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        begin, dash, end = span.partition("-")
        if span in _ANY:
            first, last = low, high
        else:
            first = _number(begin, what, names)
            last = _number(end, what, names) if dash else high if slash else first
        size = _number(step, what, {}) if slash else 1
        if not low <= first <= last <= high or not size:
            raise BadSchedule(f"{part!r} is no {what}: {low} to {high}")
        numbers.update(range(first, last + 1, size))
    return frozenset(numbers)


def _number(text: str, what: str, names: Mapping[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdecimal() or len(text) > 3:
        raise BadSchedule(f"{text!r} is no {what}")
    return int(text)
