"""Declarative mapping from a document to the OCSF envelope."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from trailhound.model.events import Envelope, Outcome

Getter = str | Callable[[Mapping[str, Any]], Any]
"""Dotted path into the document, or a function of it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_LIMIT = 4096
_FRACTION = re.compile(r"[.,]([0-9]+)")


EnvelopeFields = Mapping[str, tuple[Getter, ...]]
"""Envelope field → getters; the first that yields something other than None and "" wins."""


_NOTHING: Mapping[str, Any] = {}


class EnvelopeMap:
    """A table that fills envelopes, ready to be asked often."""

    def __init__(self, fields: EnvelopeFields) -> None:
        self._readers = tuple(
            (name, name not in _TYPED, tuple(map(reader, getters)))
            for name, getters in fields.items()
        )

    def __call__(
        self, document: Mapping[str, Any], known: Mapping[str, Any] = _NOTHING
    ) -> Envelope:
        """Return the envelope of a document.

        Total: a value of an odd type becomes text, an unreadable time becomes 0, and text is
        cut at 4096 characters. Nothing a log writer puts there raises.

        Args:
            document: the document.
            known: fields of the envelope whose values were found otherwise; None and "" are
                none.
        """
        filled: dict[str, Any] = {"time_ns": 0}
        for name, is_text, readers in self._readers:
            for read in readers:
                value = read(document)
                if value is not None and value != "":
                    # Most are short text, which needs nothing.
                    if is_text and value.__class__ is str and len(value) <= _TEXT_LIMIT:
                        filled[name] = value
                    else:
                        filled[name] = _typed(name, value)
                    break
        for name, value in known.items():
            if value is not None and value != "":
                short = value.__class__ is str and len(value) <= _TEXT_LIMIT
                filled[name] = value if short and name not in _TYPED else _typed(name, value)
        return Envelope(**filled)


def reader(getter: Getter) -> Callable[[Mapping[str, Any]], Any]:
    """Return a getter as a function of the document."""
    if not isinstance(getter, str):
        return getter
    first, *rest = getter.split(".")
    if not rest:
        return lambda document: document.get(first)
    *between, last = rest

    def read(document: Mapping[str, Any]) -> Any:
        inner = document.get(first)
        for step in between:
            inner = inner.get(step) if isinstance(inner, dict) else None
        return inner.get(last) if isinstance(inner, dict) else None

    return read


_TYPED = frozenset(("time_ns", "class_uid", "activity_id", "outcome", "actor_groups"))


def _typed(name: str, value: Any) -> Any:
    if name == "time_ns":
        if isinstance(value, int) and not isinstance(value, bool):
            return value if is_time_ns(value) else 0
        return time_ns_of(value) or 0
    if name in ("class_uid", "activity_id"):
        return value if isinstance(value, int) else 0
    if name == "outcome":
        return value if isinstance(value, Outcome) else Outcome.UNKNOWN
    if name == "actor_groups":
        return as_texts(value)
    return _text(value)


def value_at(document: Any, path: str) -> Any:
    """Return what stands at a dotted path of nested objects, None where nothing does."""
    here = document
    for step in _steps(path):
        if not isinstance(here, dict):
            return None
        here = here.get(step)
    return here


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def time_ns_of(value: object) -> int | None:
    """Read an ISO 8601 / RFC 3339 time, to nanoseconds since 1970 UTC; None if it is none.

    RFC 3339 section 5.6, with `T` or a space, any number of fraction digits (cut at nine),
    and `Z`, `+hh:mm`, `+hhmm` or no offset, which is read as UTC. A leap second (section 5.7)
    counts as the second before. None, too, for a time outside the years 1677 to 2262, which
    64 bits do not hold.
    """
    return _time_ns(value) if isinstance(value, str) and 10 <= len(value) <= 64 else None


@lru_cache(maxsize=64)  # a record is asked for its time more than once
def _time_ns(value: str) -> int | None:
    if len(value) == 27 and value[19] == "." and value[26] == "Z" and value.isascii():
        micros = value[20:26]  # as most are written
        if micros.isdecimal() and (start_ns := _second_ns(f"{value[:19]}Z")) is not None:
            at_ns = start_ns - start_ns % 1_000_000_000 + int(micros) * 1000
            return at_ns if is_time_ns(at_ns) else None
    text = value.strip()
    fraction_ns = 0
    if (found := _FRACTION.search(text, 19)) is not None:
        fraction_ns = int(found[1][:9].ljust(9, "0"))
        text = text[: found.start()] + text[found.end() :]
    elif text[19:20] in (".", ","):
        return None
    start_ns = _second_ns(text)
    if start_ns is None:
        return None
    if found is not None:
        start_ns += fraction_ns - start_ns % 1_000_000_000
    return start_ns if is_time_ns(start_ns) else None


@lru_cache(maxsize=1024)  # neighbours in a log share their second
def _second_ns(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        if text[17:19] != "60":
            return None
        try:
            moment = datetime.fromisoformat(f"{text[:17]}59{text[19:]}")
        except ValueError:
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        delta = moment - _EPOCH
    except OverflowError:
        return None
    # Times without dashes and colons may still hold a fraction.
    return (delta.days * 86400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


def is_time_ns(value: int) -> bool:
    """Whether nanoseconds since 1970 fit 64 bits: the years 1677 to 2262."""
    return -(1 << 63) <= value < 1 << 63


def as_text(value: Any) -> str:
    """Return a value as a text of an envelope, cut at 4096 characters; of none, the empty one."""
    if value.__class__ is str and len(value) <= _TEXT_LIMIT:
        return value
    return "" if value is None else _text(value)


def as_texts(value: Any) -> tuple[str, ...]:
    """Return a list, or a value by itself, as texts of an envelope."""
    if value is None or value == "":
        return ()
    return tuple(map(_text, value if isinstance(value, list | tuple) else (value,)))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value[:_TEXT_LIMIT]
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value)[:_TEXT_LIMIT]
    except (RecursionError, ValueError):  # nested too deep; more digits than Python converts
        return f"<{type(value).__name__}>"
