"""The options of a rule: read by name and type, with the place of what is wrong."""

import math
from collections.abc import Sequence
from typing import Any

from trailhound.dialects.yaml_text import Document

# In the order of a week; `datetime.timedelta` takes the same words.
_UNITS_NS = {
    "weeks": 604_800_000_000_000,
    "days": 86_400_000_000_000,
    "hours": 3_600_000_000_000,
    "minutes": 60_000_000_000,
    "seconds": 1_000_000_000,
    "milliseconds": 1_000_000,
}
_LONGEST_NS = 36_500 * _UNITS_NS["days"]


class Rejected(Exception):
    """This file gives no rule; says why and where."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


class Place:
    """Finds lines and columns in the text of a rule file."""

    def __init__(self, text: str, document: Document) -> None:
        self._lines = text.splitlines()
        self._document = document

    def of(self, *keys: str) -> tuple[int, int]:
        """Return line and column, both 1-based, of the deepest known part of a key path."""
        return self._document.place_of(*keys)

    def inside(self, text: str, at: int, *keys: str) -> tuple[int, int]:
        """Return the place of a character of a text that stands below a key path."""
        line, column = self._document.values.get(text, self._document.place_of(*keys))
        before = text[:at].rsplit("\n", 1)
        rows = text[:at].count("\n")
        row = text.splitlines()[rows] if rows < len(text.splitlines()) else ""
        # A block text begins on the line after its key.
        for candidate in (line + rows, line + rows + 1):
            if candidate <= len(self._lines) and row:
                start = self._lines[candidate - 1].find(row)
                if start >= 0:
                    return candidate, start + len(before[-1]) + 1
        return line, column


class Options:
    """The keys of one rule, imports included."""

    def __init__(self, content: dict[str, Any], place: Place) -> None:
        self.content = content
        self.place = place

    def __contains__(self, key: str) -> bool:
        return self.content.get(key) is not None

    def reject(self, reason: str, *keys: str) -> Rejected:
        """Return the error of a key."""
        return Rejected(reason, *self.place.of(*keys))

    def need(self, *keys: str) -> None:
        """Raise where one of the keys is missing."""
        missing = [key for key in keys if key not in self]
        if missing:
            kind = self.content.get("type")
            raise self.reject(f"type {kind} needs {', '.join(missing)}", "type")

    def text(self, key: str, default: str = "") -> str:
        """Return a text; numbers as written."""
        value = self.content.get(key)
        if value is None:
            return default
        if not isinstance(value, str | int | float):
            raise self.reject(f"{key} must be a text", key)
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, or a text as a list of one."""
        value = self.content.get(key)
        listed = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int | float) for item in listed):
            raise self.reject(f"{key} must be a text or a list of texts", key)
        return tuple(map(str, listed))

    def flag(self, key: str) -> bool:
        """Return a boolean; false where it is absent."""
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise self.reject(f"{key} must be true or false", key)
        return value

    def number(self, key: str) -> float | None:
        """Return a number; None where it is absent."""
        value = self.content.get(key)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self.reject(f"{key} must be a number", key)
        return value

    def whole(self, key: str, least: int = 0) -> int | None:
        """Return a whole number of at least `least`; None where it is absent."""
        value = self.number(key)
        if value is None:
            return None
        if value != int(value) or value < least:
            raise self.reject(f"{key} must be a whole number of at least {least}", key)
        return int(value)

    def one_of(self, key: str, known: Sequence[str]) -> str:
        """Return a word that is one of those known."""
        value = self.text(key)
        if value not in known:
            raise self.reject(f"{key} must be one of {', '.join(known)}", key)
        return value

    def span_ns(self, key: str) -> int | None:
        """Return a span of time (`minutes: 5`) in nanoseconds; None where it is absent."""
        value = self.content.get(key)
        if value is None:
            return None
        if not isinstance(value, dict) or not value:
            raise self.reject(f"{key} must be a mapping like `minutes: 5`", key)
        total = 0.0
        for unit, number in value.items():
            if unit not in _UNITS_NS:
                raise self.reject(f"{key}: {unit!r} is no unit of time", key, str(unit))
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise self.reject(f"{key}: {unit} must be a number", key, str(unit))
            total += number * _UNITS_NS[unit]
        if not 0 <= total <= _LONGEST_NS:
            raise self.reject(f"{key} must be between nothing and a hundred years", key)
        return int(total)

    def frame_ns(self, key: str) -> int:
        """Return a span of time that must be there and longer than nothing."""
        span = self.span_ns(key)
        if not span:
            raise self.reject(f"{key} must be longer than nothing", key)
        return span
