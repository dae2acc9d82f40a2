"""Sigma values to IR tests."""

import fnmatch
import re
from collections.abc import Iterator
from typing import TypeVar

from msgspec.structs import replace
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)

from trailhound.dialects.contract import Placeholders
from trailhound.dialects.sigma.taxonomy import Taxonomy
from trailhound.rules.ir import (
    Any1,
    AnyRun,
    Equals,
    InNetwork,
    IsNull,
    Like,
    Number,
    PatternPart,
    Regex,
    SameAs,
    Test,
    Text,
    TimePart,
)

_OPERATORS = {
    CompareOperators.LT: "lt",
    CompareOperators.LTE: "lte",
    CompareOperators.GT: "gt",
    CompareOperators.GTE: "gte",
}
_EXPANSIONS_LIMIT = 10_000
_T = TypeVar("_T")


class Unsupported(Exception):
    """A part of a rule that cannot be given its meaning; says which."""


def tests_of(value: SigmaType, placeholders: Placeholders, taxonomy: Taxonomy) -> list[Test]:
    """Return the alternatives that one Sigma value stands for; usually one.

    Several where the value expands: `windash`, `base64offset`, placeholders.

    Raises:
        Unsupported: for a placeholder without values, or a type that is not known.
    """
    if isinstance(value, SigmaExpansion):
        return [test for v in value.values for test in tests_of(v, placeholders, taxonomy)]
    if isinstance(value, SigmaString):
        return [_string_test(s) for s in _filled(value, placeholders)]
    if isinstance(value, SigmaRegularExpression):
        return [_regex_test(r) for r in _filled_regex(value, placeholders)]
    return [_plain_test(value, taxonomy)]


def keyword_test(test: Test) -> Equals | Like | Regex:
    """Return the test that looks for a keyword anywhere inside a text.

    Sigma Rules Specification 2.1.0, "Lists": an unbound value is searched for in the whole
    log message, so it gets a wildcard on either side.
    """
    if isinstance(test, Regex):
        return test
    if isinstance(test, Equals):
        value = test.value
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return Like((AnyRun(), Text(text), AnyRun()), test.cased)
    if isinstance(test, Like):
        parts = test.parts
        if not isinstance(parts[0], AnyRun):
            parts = (AnyRun(), *parts)
        if not isinstance(parts[-1], AnyRun):
            parts = (*parts, AnyRun())
        return Like(parts, test.cased)
    raise Unsupported(f"a condition without a field cannot be of kind {type(test).__name__}")


def with_regard_to_case(test: Test) -> Test:
    """Return the test with regard to case, where it compares texts."""
    return replace(test, cased=True) if isinstance(test, Equals | Like | SameAs) else test


def _plain_test(value: SigmaType, taxonomy: Taxonomy) -> Test:
    if isinstance(value, SigmaTimestampPart):
        return _time_part(value)
    if isinstance(value, SigmaNumber):
        return Equals(value.number)
    if isinstance(value, SigmaBool):
        return Equals(value.boolean)
    if isinstance(value, SigmaNull):
        return IsNull()
    if isinstance(value, SigmaCIDRExpression):
        return InNetwork(str(value.network))
    if isinstance(value, SigmaCompareExpression):
        if value.op not in _OPERATORS:
            raise Unsupported(f"comparison {value.op.name.lower()}")
        if isinstance(value.number, SigmaTimestampPart):
            return _time_part(value.number, _OPERATORS[value.op])
        return Number(_OPERATORS[value.op], value.number.number)  # type: ignore[arg-type]
    if isinstance(value, SigmaFieldReference):
        how = {
            (True, True): "contains",
            (True, False): "startswith",
            (False, True): "endswith",
            (False, False): "equals",
        }[value.starts_with, value.ends_with]
        return SameAs(taxonomy.field(value.field), how)  # type: ignore[arg-type]
    raise Unsupported(f"a value of type {type(value).__name__}")


def _time_part(value: SigmaTimestampPart, op: str = "is") -> TimePart:
    return TimePart(value.timestamp_part.name.lower(), value.number, op)  # type: ignore[arg-type]


def _string_test(value: SigmaString) -> Equals | Like:
    cased = isinstance(value, SigmaCasedString)
    parts: list[PatternPart] = []
    for part in value.s:
        if part is SpecialChars.WILDCARD_MULTI:
            if not (parts and isinstance(parts[-1], AnyRun)):
                parts.append(AnyRun())
        elif part is SpecialChars.WILDCARD_SINGLE:
            parts.append(Any1())
        elif isinstance(part, Placeholder):
            # Without the modifier `expand`, `%name%` never becomes a placeholder object.
            raise Unsupported(f"placeholder %{part.name}% has no values")
        elif parts and isinstance(last := parts[-1], Text):
            parts[-1] = Text(last.text + str(part))
        else:
            parts.append(Text(str(part)))
    if not parts:
        return Equals("", cased)
    if len(parts) == 1 and isinstance(only := parts[0], Text):
        return Equals(only.text, cased)
    return Like(tuple(parts), cased)


def _regex_test(value: SigmaRegularExpression) -> Regex:
    return Regex(
        # `contains` and its kin put wildcards *inside* the pattern; all tests search anyway.
        str(value.regexp),
        ignore_case=SigmaRegularExpressionFlag.IGNORECASE in value.flags,
        multiline=SigmaRegularExpressionFlag.MULTILINE in value.flags,
        dotall=SigmaRegularExpressionFlag.DOTALL in value.flags,
    )


def _filled(value: SigmaString, placeholders: Placeholders) -> list[SigmaString]:
    if not value.contains_placeholder():
        return [value]
    cased = isinstance(value, SigmaCasedString)
    filled = value.replace_placeholders(lambda p: _values(p, placeholders))
    return [SigmaCasedString.from_sigma_string(s) if cased else s for s in _bounded(filled)]


def _filled_regex(
    value: SigmaRegularExpression, placeholders: Placeholders
) -> list[SigmaRegularExpression]:
    if not value.contains_placeholder():
        return [value]
    return _bounded(
        value.replace_placeholders(lambda p: (re.escape(v) for v in _texts(p, placeholders)))
    )


def _values(placeholder: Placeholder, placeholders: Placeholders) -> Iterator[SigmaString]:
    for text in _texts(placeholder, placeholders):
        yield SigmaString(text)


def _texts(placeholder: Placeholder, placeholders: Placeholders) -> tuple[str, ...]:
    values = placeholders.get(placeholder.name)
    if values is None:
        near = fnmatch.filter(placeholders, f"*{placeholder.name[:4]}*")
        hint = f" (given: {', '.join(sorted(near))})" if near else ""
        raise Unsupported(
            f"placeholder %{placeholder.name}% has no values; give them with --placeholders{hint}"
        )
    return values


def _bounded(values: list[_T]) -> list[_T]:
    if len(values) > _EXPANSIONS_LIMIT:
        raise Unsupported(f"placeholders expand to {len(values)} values, over {_EXPANSIONS_LIMIT}")
    return values
