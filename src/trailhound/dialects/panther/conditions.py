"""What must be so of an event where something is so of a value that Python reads from it.

A field has more values here than in Python, for lists are entered: a test may let too much through.
Of a field of which it is not known how the log spells it, anything may be so.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trailhound.dialects.panther.logs import path_here, spelled
from trailhound.rules.ir import (
    And,
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    Like,
    Number,
    Or,
    Path,
    Predicate,
    Text,
)

TRUE: Predicate = And(())
FALSE: Predicate = Or(())
_PLAIN_TEXT = re.compile(r"[\w .:/@-]+", re.ASCII)
"""Texts that JSON writes as they are."""
ORDER: Mapping[type[ast.cmpop], Any] = {
    ast.Lt: ("lt", "gte"),
    ast.LtE: ("lte", "gt"),
    ast.Gt: ("gt", "lte"),
    ast.GtE: ("gte", "lt"),
}
"""Comparison → what holds where it is true, and where it is false."""


@dataclass(frozen=True)
class Constant:
    """A value that is known."""

    value: Any


@dataclass(frozen=True)
class Read:
    """A value of the event."""

    path: Path
    """Empty: the event itself."""
    default: Any = None
    """What it is where the field is absent, or null, or what is on the way to it is none."""
    folded: bool = False
    """Whether it was made lower case."""


Value = Constant | Read | None
"""None: not known."""


class Conditions:
    """Conditions on what is read from events of a log type."""

    def __init__(self, log_type: str) -> None:
        self._log_type = log_type

    def field(self, read: Read) -> Field | None:
        """Return the field; None where it is not known how the log spells it."""
        path = spelled(self._log_type, read.path)
        if path is None:
            return None
        return Field(".".join(read.path), (path_here(self._log_type, path),))

    def there(self, read: Read) -> Predicate:
        """Where it is there."""
        field_ = self.field(read)
        return Exists(field_) if field_ is not None else TRUE

    def true(self, value: Value) -> Predicate:
        """Where it is true."""
        if isinstance(value, Constant):
            return TRUE if value.value else FALSE
        if isinstance(value, Read) and not value.default:
            return self.there(value)
        return TRUE

    def is_one_of(self, read: Read, values: list[Any]) -> Predicate:
        """Where it equals one of some constants."""
        field_ = self.field(read)
        if field_ is None or any(_alike(read.default, value) for value in values):
            return TRUE
        found: list[Predicate] = []
        for value in values:
            if isinstance(value, str):
                found.append(Compare(field_, Equals(value, cased=not read.folded)))
            elif isinstance(value, bool | int | float):
                # In Python 1 is True, and so may be what the event has.
                alike: list[Any] = [value, *(other for other in (True, False) if other == value)]
                alike += [int(value)] if value in (0, 1) else []
                found.extend(Compare(field_, Equals(other)) for other in alike)
            else:
                return TRUE
        return either(*found)

    def affixed(self, read: Read, wanted: Any, how: str) -> Predicate:
        """Where it starts (`startswith`) or ends with a text, or one of several."""
        texts = wanted if isinstance(wanted, tuple) else (wanted,)
        field_ = self.field(read)
        if field_ is None or not all(isinstance(text, str) and text for text in texts):
            return TRUE
        default = read.default
        if isinstance(default, str) and any(
            getattr(default.lower(), how)(t.lower()) for t in texts
        ):
            return TRUE
        found: list[Predicate] = []
        for text in texts:
            parts = (Text(text), AnyRun()) if how == "startswith" else (AnyRun(), Text(text))
            found.append(Compare(field_, Like(parts, cased=not read.folded)))
        return either(*found)

    def holding(self, read: Read, wanted: Any) -> Predicate:
        """Return what must be so where something is in a value: a part of a text, or of a list."""
        if not isinstance(wanted, str) or not wanted:
            return TRUE
        default = read.default
        known = default is None or default == ()
        if not known and (not isinstance(default, str) or wanted.lower() in default.lower()):
            return TRUE
        field_ = self.field(read)
        if field_ is None or not _PLAIN_TEXT.fullmatch(wanted):
            return self.there(read)
        # Of a list it may be an element, of an object a key: both stand in their text as well.
        parts = (AnyRun(), Text(wanted), AnyRun())
        return Compare(field_, Like(parts, cased=not read.folded))

    def ordered(self, read: Read, op: str, value: Any) -> Predicate:
        """Where it is greater or less than a number."""
        field_ = self.field(read)
        if field_ is None or isinstance(value, bool) or not isinstance(value, int | float):
            return TRUE
        if isinstance(read.default, int | float):
            return TRUE
        # True and False are numbers in Python, and none here.
        number = Compare(field_, Number(op, value))  # type: ignore[arg-type]
        return Or((number, Compare(field_, Equals(True)), Compare(field_, Equals(False))))  # noqa: FBT003


def _alike(default: Any, value: Any) -> bool:
    if isinstance(default, str) and isinstance(value, str):
        return default.lower() == value.lower()
    return bool(default == value)


def both(*parts: Predicate) -> Predicate:
    """Return what must be so where all parts must."""
    if FALSE in parts:
        return FALSE
    items = _distinct(item for p in parts for item in (p.items if isinstance(p, And) else (p,)))
    return items[0] if len(items) == 1 else And(items)


def either(*parts: Predicate) -> Predicate:
    """Return what must be so where one of the parts must."""
    if TRUE in parts:
        return TRUE
    items = _distinct(item for p in parts for item in (p.items if isinstance(p, Or) else (p,)))
    return items[0] if len(items) == 1 else Or(items)


def _distinct(items: Iterable[Predicate]) -> tuple[Predicate, ...]:
    # By how they are written: to Python, 0 and False are the same.
    return tuple({repr(item): item for item in items}.values())
