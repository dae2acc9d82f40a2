"""What a value begins with in the text of a line, where it is asked for as a number.

In JSON an integer has no leading zero and no sign but a minus, so its length and its first digits
tell how large it is. A time that is compared as a number begins with its year. All other ways to
write such a value are let through.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from trailhound.rules.ir import Compare, Equals, Number

_LARGEST = 10**18
_OTHERWISE = (b'"', rb"-?[0-9]+[.e]")
"""A text, which may be read as a number, and a number that is written as no integer."""


def of_numbers(test: Number) -> tuple[bytes, ...] | None:
    """Return patterns of which one is at the beginning of any value that passes; None: any may.

    The value is a scalar of JSON, and no NaN or infinity, with something behind it.
    """
    if not -_LARGEST < test.value < _LARGEST:  # also not, where it is no number at all
        return None
    match test.op:
        case "gt" | "gte":
            least = math.floor(test.value) + 1 if test.op == "gt" else math.ceil(test.value)
            signed, digits = least <= 0, _from(max(least, 0))
        case "lt" | "lte":
            most = math.ceil(test.value) - 1 if test.op == "lt" else math.floor(test.value)
            signed, digits = True, _up_to(most)
    return (*_OTHERWISE, *((rb"\-",) if signed else ()), *digits)


def _from(least: int) -> Iterator[bytes]:
    """What an integer that is not less begins with, if it has no sign."""
    digits = str(least)
    yield b"[1-9]" + _any(len(digits))
    yield digits.encode()
    for at, digit in enumerate(digits):
        if digit != "9":
            yield b"%s[%d-9]" % (digits[:at].encode(), int(digit) + 1) + _any(len(digits) - at - 1)


def _up_to(most: int) -> Iterator[bytes]:
    """An integer that is not more, if it has no sign, and what stands behind it."""
    if most < 0:
        return
    digits, end = str(most), b"[^0-9]"
    if len(digits) > 1:
        yield b"[0-9]{1,%d}" % (len(digits) - 1) + end
    yield digits.encode() + end
    for at, digit in enumerate(digits):
        if digit != "0":
            rest = _any(len(digits) - at - 1) + end
            yield b"%s[0-%d]" % (digits[:at].encode(), int(digit) - 1) + rest


def _any(count: int) -> bytes:
    return b"[0-9]{%d}" % count if count else b""


def of_times(compare: Compare) -> tuple[bytes, ...] | None:
    """Return the same for a time that is compared as a number; None where it is none, or any may.

    A text may have blanks before the year.
    """
    years = years_of(compare)
    return None if years is None else (b'"[^0-9]', *(b'"%04d' % year for year in years))


def years_of(compare: Compare) -> tuple[int, ...] | None:
    """Return the years of which a time has one in its text, where it is compared as a number.

    Falco's rules write `jevt.rawtime=0` for "never"; without this they would see every event.
    """
    step, test = compare.field.via[0] if compare.field.via else None, compare.test
    if step is None or len(compare.field.via) != 1 or step.name != "time":
        return None
    if step.arguments not in (("ns",), ("s",)) or not isinstance(test, Equals):
        return None
    size = 1_000_000_000 if step.arguments == ("ns",) else 1
    try:
        moment = datetime.fromtimestamp(int(float(test.value)) // size, UTC)
        # It may be written in a zone that is a day off, or with the year of its week.
        return tuple(sorted({(moment + timedelta(days=days)).year for days in (-7, 0, 7)}))
    except (ValueError, OverflowError, OSError):
        return None
