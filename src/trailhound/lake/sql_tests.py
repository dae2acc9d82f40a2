"""Tests on one value, lowered to SQL. Their meaning is that of `engine.tests`."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import re2

from trailhound.lake.quoting import Unquotable, in_like, literal
from trailhound.rules.ir import (
    Any1,
    AnyRun,
    Equals,
    InNetwork,
    Like,
    Number,
    Regex,
    Text,
    TimePart,
)

_EXACT_BELOW = 2**53
"""Doubles hold every integer below it."""


class Beyond(Exception):
    """SQL cannot say this; the text says why."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value in SQL, as two expressions over the same row."""

    text: str
    """Its text; NULL for null."""
    kind: str
    """What `json_type` calls it."""


def lower_tests(tests: Sequence[Any], value: Value) -> str:
    """Return a condition that holds where one of the tests passes; never NULL.

    Raises:
        Beyond: one of them cannot be said in SQL.
    """
    exact: list[str] = []
    conditions: list[str] = []
    try:
        for test in tests:
            if isinstance(test, Equals) and isinstance(test.value, str) and not test.cased:
                exact.append(literal(test.value.lower()))
            else:
                conditions.append(_lowered(test, value))
        if exact:
            conditions.insert(0, f"lower({value.text}) IN ({', '.join(exact)})")
    except Unquotable as error:
        raise Beyond(f"it holds {error}") from None
    return f"coalesce({' OR '.join(conditions)}, false)"


def _lowered(test: Any, value: Value) -> str:
    match test:
        case Equals():
            return _equals(test, value)
        case Like():
            return _like(test, value)
        case Regex():
            return _regex(test, value)
        case InNetwork():
            return _in_network(test, value)
        case Number():
            return _number(test, value)
        case TimePart():
            raise Beyond("parts of a time are not read in SQL")
        case _:
            raise Beyond(f"SQL does not know the test {type(test).__name__}")


def _equals(test: Equals, value: Value) -> str:
    wanted = test.value
    if isinstance(wanted, bool):
        text = "true" if wanted else "false"
    elif isinstance(wanted, str):
        text = wanted
    else:
        return _equals_number(test, wanted, value)
    if test.cased:
        return f"{value.text} = {literal(text)}"
    return f"lower({value.text}) = {literal(text.lower())}"


def _equals_number(test: Equals, wanted: float, value: Value) -> str:
    try:
        text = str(wanted)
    except ValueError:
        raise Beyond("an integer too long to write") from None
    if "e" in text or "n" in text:  # with an exponent; inf and nan
        raise Beyond("numbers with an exponent are not compared in SQL")
    if test.cased:
        return f"{value.text} = {literal(text)}"
    same = {text, f"{wanted}.0"} if isinstance(wanted, int) else {text}
    if isinstance(wanted, float) and wanted.is_integer():
        same.add(str(int(wanted)))
    if wanted == 0:
        same |= {"0", "0.0", "-0.0"}
    listed = ", ".join(map(literal, sorted(same)))
    return (
        f"CASE WHEN {value.kind} IN ('UBIGINT', 'BIGINT', 'DOUBLE') "
        f"THEN {value.text} IN ({listed}) "
        f"ELSE th_strip({value.text}) = {literal(text.lower())} END"
    )


def _like(test: Like, value: Value) -> str:
    parts = test.parts
    if all(isinstance(part, AnyRun) for part in parts):
        return f"{value.text} IS NOT NULL"
    found = value.text if test.cased else f"lower({value.text})"
    texts = [
        (part.text if test.cased else part.text.lower()) if isinstance(part, Text) else part
        for part in parts
    ]
    if any(isinstance(part, Any1) for part in parts):
        pattern = "".join(
            re2.escape(part) if isinstance(part, str) else ("." if isinstance(part, Any1) else ".*")
            for part in texts
        )
        return f"regexp_full_match({found}, {literal('(?s)' + pattern)})"
    pattern = "".join(in_like(part) if isinstance(part, str) else "%" for part in texts)
    return rf"{found} LIKE {literal(pattern)} ESCAPE '\'"


def _regex(test: Regex, value: Value) -> str:
    flags = (
        ("i" if test.ignore_case else "")
        + ("m" if test.multiline else "")
        + ("s" if test.dotall else "")
    )
    source = f"(?{flags}){test.pattern}" if flags else test.pattern
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(source, options)
    except re2.error:
        raise Beyond("its pattern needs backtracking, which RE2 does not do") from None
    pattern = literal(source)
    # In PCRE `$` also stands before a line end at the very end; in RE2 it does not.
    return (
        f"regexp_matches({value.text}, {pattern}) OR ends_with({value.text}, chr(10)) AND "
        f"regexp_matches(left({value.text}, -1), {pattern})"
    )


def _in_network(test: InNetwork, value: Value) -> str:
    try:
        network = ipaddress.ip_network(test.network, strict=False)
    except ValueError as error:
        raise Beyond(str(error)) from None
    digits = f"{int(network.network_address):0{network.max_prefixlen // 4}x}"
    whole, rest = divmod(network.prefixlen, 4)
    conditions = [f"length(a) = {len(digits)}", f"starts_with(a, {literal(digits[:whole])})"]
    if rest:
        first = int(digits[whole], 16) >> (4 - rest) << (4 - rest)
        allowed = [literal(f"{digit:x}") for digit in range(first, first + (1 << (4 - rest)))]
        conditions.append(f"substr(a, {whole + 1}, 1) IN ({', '.join(allowed)})")
    return (
        f"CASE WHEN {value.kind} = 'VARCHAR' AND ({_address_scent(network, value.text)}) "
        f"THEN list_transform([th_address({value.text})], "
        f"lambda a: {' AND '.join(conditions)})[1] ELSE false END"
    )


def _address_scent(network: ipaddress.IPv4Network | ipaddress.IPv6Network, text: str) -> str:
    """Return what holds of every text that is an address of a network, and is quickly asked."""
    if network.version == 6:
        return f"contains({text}, ':')"
    octets = str(network.network_address).split(".")[: network.prefixlen // 8]
    # What begins with a digit is an address as people write it; else there may be blanks or a
    # bracket before it, and IPv6 can hold an IPv4 address.
    begins = literal(
        "".join(f"{octet}." for octet in octets).removesuffix("." * (len(octets) == 4))
    )
    return (
        f"starts_with({text}, {begins}) OR NOT left({text}, 1) BETWEEN '0' AND '9' "
        f"OR contains({text}, ':')"
    )


_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def _number(test: Number, value: Value) -> str:
    bound = test.value
    if not abs(bound) < _EXACT_BELOW or "e" in str(bound):  # nan compares with nothing
        raise Beyond("the bound is beyond the numbers that SQL compares exactly")
    number = (
        f"CASE WHEN {value.kind} IN ('UBIGINT', 'BIGINT', 'DOUBLE') "
        f"THEN TRY_CAST({value.text} AS DOUBLE) "
        f"WHEN {value.kind} = 'VARCHAR' THEN th_number_in(th_strip({value.text})) END"
    )
    # A literal with a point would be a DECIMAL, and the comparison one of decimals.
    return f"{number} {_OPERATORS[test.op]} CAST({literal(str(bound))} AS DOUBLE)"
