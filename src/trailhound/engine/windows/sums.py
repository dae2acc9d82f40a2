"""Sums that numbers can be added to and taken from again, exactly.

A sum of floats depends on their order, and adding all of them anew for each event would cost as
much as there are events. Every finite float is a whole number of 2 to the power of -1074 (IEEE
754, binary64), so their sum is kept as one integer; as bytes, since a state is saved as msgpack,
whose integers have 64 bits.
"""

import math

Sum = bytes
"""A signed integer, big-endian, in units of 2 to the power of -1074; empty: 0."""

_UNIT_BITS = 1074


def plus(total: Sum, number: float) -> Sum:
    """Add a number; what is not finite adds nothing."""
    if not math.isfinite(number):
        return total
    numerator, denominator = number.as_integer_ratio()
    units = numerator << (_UNIT_BITS + 1 - denominator.bit_length())
    new = int.from_bytes(total, "big", signed=True) + units
    return new.to_bytes(new.bit_length() // 8 + 1, "big", signed=True)


def as_float(total: Sum) -> float:
    """Return the float next to a sum; infinite where it is beyond all of them."""
    units = int.from_bytes(total, "big", signed=True)
    try:
        return units / (1 << _UNIT_BITS)
    except OverflowError:
        return math.inf if units > 0 else -math.inf
