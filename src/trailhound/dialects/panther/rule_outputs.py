"""What a test of a correlation rule says its signals matched (`RuleOutputs`).

Panther documentation, "Correlation Rule Reference", and the tests in panther-analysis: for each
signal the fields it is matched on, for each field its values, for each value the minutes of its
matches, counted from any moment on. A signal without `Matches` matches once, at minute 0.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from msgspec import Struct

_MATCHES_LIMIT = 10_000


class Signalled(Struct, frozen=True):
    """One match of one signal."""

    signal: str
    minute: float
    values: dict[str, str]
    """Field → value."""


def signalled(outputs: Any) -> list[Signalled]:
    """Read `RuleOutputs`.

    Raises:
        ValueError: It is not of that form, with the reason.
    """
    if not isinstance(outputs, list):
        raise ValueError("RuleOutputs must be a list")
    found: list[Signalled] = []
    for output in outputs:
        if not isinstance(output, dict) or not isinstance(output.get("ID"), str):
            raise ValueError("each of RuleOutputs needs an ID")
        for match in _matches(output["ID"], output.get("Matches")):
            found.append(match)
            if len(found) > _MATCHES_LIMIT:
                raise ValueError(f"RuleOutputs holds more than {_MATCHES_LIMIT:,} matches")
    return found


def _matches(signal: str, matches: Any) -> Iterator[Signalled]:
    if matches is None:
        yield Signalled(signal, 0.0, {})
        return
    if not isinstance(matches, dict):
        raise ValueError(f"Matches of {signal!r} must be a mapping")
    by_minute: dict[float, dict[str, list[str]]] = {}
    for field, values in matches.items():
        if not isinstance(values, dict):
            raise ValueError(f"Matches of {signal!r}: {field!r} must be a mapping of values")
        for value, minutes in values.items():
            for minute in minutes if isinstance(minutes, list) else [minutes]:
                if isinstance(minute, bool) or not isinstance(minute, int | float):
                    raise ValueError(f"Matches of {signal!r}: {minute!r} is no minute")
                fields = by_minute.setdefault(float(minute), {})
                fields.setdefault(str(field), []).append(str(value))
    for minute, fields in by_minute.items():
        for chosen in product(*fields.values()):
            yield Signalled(signal, minute, dict(zip(fields, chosen, strict=True)))
