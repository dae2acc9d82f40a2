"""Small readers that take any value in any place of a document."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from trailhound.model.records import Origin, ParseFailure
from trailhound.sources.mapping import is_time_ns

_TEXT_LIMIT = 4096
_NOTHING: Mapping[str, Any] = {}


def text(value: object) -> str | None:
    """Return the value if it is text that says something, cut at 4096 characters.

    A whole number of at most 64 bits is taken as text: some shippers make numbers of account
    ids. Everything else is None.
    """
    if isinstance(value, str):
        return value[:_TEXT_LIMIT] or None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return str(value)
    return None


def first_text(
    readers: Iterable[Callable[[Mapping[str, Any]], Any]], document: Mapping[str, Any]
) -> str | None:
    """Return the text of the first reader that yields any."""
    for read in readers:
        if (said := text(read(document))) is not None:
            return said
    return None


def below(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object at `name`; an empty one where something else or nothing stands."""
    value = document.get(name)
    # Asking a class that others may register with takes ten times as long.
    if isinstance(value, dict):
        return value
    return value if value is not None and isinstance(value, Mapping) else _NOTHING


def reach(value: Any, path: str) -> Any:
    """Like `value_at`, and through the first element of every list on the way."""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - as above
            value = value.get(step)
        else:
            return None
    return value[0] if isinstance(value, list) and value else value


def is_ip(written: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    return len(written) <= 64 and _is_ip(written)


@lru_cache(maxsize=4096)  # the same machines call again and again
def _is_ip(written: str) -> bool:
    try:
        ipaddress.ip_address(written)
    except ValueError:
        return False
    return True


def said(*paths: str) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a getter of the first text at one of some paths, lists entered at their first."""
    return lambda document: next(
        (found for path in paths if (found := text(reach(document, path))) is not None), None
    )


def address(*paths: str) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a getter of the first text at one of some paths that is an IP address."""
    return lambda document: next(
        (found for path in paths if (found := text(reach(document, path))) and is_ip(found)), None
    )


def epoch_ms(value: object) -> int | None:
    """Read milliseconds since 1970, to nanoseconds; None where it is no such number.

    Also where the number is written as text, as some shippers do.
    """
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) <= 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    return value * 1_000_000 if is_time_ns(value * 1_000_000) else None


def unreadable_time(origin: Origin, time_ns: int | None, where: str) -> Iterable[ParseFailure]:
    """Say that an event has no time, if it has none.

    Args:
        origin: where the record stands.
        time_ns: what was read.
        where: names the fields that were asked.
    """
    if time_ns is None:
        detail = f"{where} holds no time that can be read; the event counts as of 1970"
        yield ParseFailure(origin, "unreadable time", detail, lost=False)
