"""Comparisons of Falco: operator and values to tests of the IR, and to verdicts on constants.

Semantics: `flt_compare` and `sinsp_filter_check::compare_rhs` of falcosecurity/libs 0.20. Texts are
compared with their case; order is that of `strcmp`; a regular expression must match the whole
value; `in` over a list asks it of every element, `intersects` of one.
"""

import re
from collections.abc import Callable

import re2

from trailhound.rules.ir import (
    Any1,
    AnyRun,
    Equals,
    Like,
    Number,
    Order,
    PatternPart,
    Regex,
    Test,
    Text,
)

_ORDERS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_NUMERIC = ("=", "==", "<", "<=", ">", ">=", "in", "intersects")
_GLOB = re.compile(r"[*?\[\]\\]")


class NotComparable(ValueError):
    """The operator does not work on such a field or value; says why."""


def tests_for(operator: str, values: tuple[str, ...], *, number: bool) -> tuple[Test, ...]:
    """Return tests of which one must pass. Raises `NotComparable`.

    Args:
        operator: any but `!=` and `exists`.
        values: one, or for `in`, `intersects` and `pmatch` any number.
        number: whether the field is a number.
    """
    if number:
        if operator not in _NUMERIC:
            raise NotComparable(f"`{operator}` does not work on a number")
        if operator in _ORDERS:
            return (Number(_ORDERS[operator], _number(values[0])),)  # type: ignore[arg-type]
        return tuple(Equals(_number(value)) for value in values)
    match operator:
        case "=" | "==" | "in" | "intersects":
            return tuple(Equals(value, cased=True) for value in values)
        case "<" | "<=" | ">" | ">=":
            return (Order(_ORDERS[operator], values[0]),)  # type: ignore[arg-type]
        case "contains":
            return (Like((AnyRun(), Text(values[0]), AnyRun()), cased=True),)
        case "icontains":
            return (Like((AnyRun(), Text(values[0]), AnyRun())),)
        case "startswith":
            return (Like((Text(values[0]), AnyRun()), cased=True),)
        case "endswith":
            return (Like((AnyRun(), Text(values[0])), cased=True),)
        case "glob":
            return (_glob(values[0], cased=True),)
        case "iglob":
            return (_glob(values[0], cased=False),)
        case "regex":
            return (_expression(values[0]),)
        case "pmatch":
            return tuple(test for value in values for test in _path(value))
        case _:
            raise NotComparable(f"`{operator}` works on bytes, and no field here has bytes")


def _expression(pattern: str) -> Regex:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise NotComparable(f"regular expression {pattern!r}: {said}") from None
    return Regex(rf"\A(?:{pattern})\z")


def _number(text: str) -> int | float:
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise NotComparable(f"{text!r} is not a number") from None


def _glob(pattern: str, *, cased: bool) -> Test:
    """A pattern of `fnmatch(3)` without flags: `*`, `?`, `[…]` and backslashes."""
    if "[" not in pattern:
        return Like(tuple(_wildcards(pattern)), cased)
    out: list[str] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "\\" and index < len(pattern):
            out.append(re.escape(pattern[index]))
            index += 1
        elif char == "[" and (end := _bracket_end(pattern, index)) > 0:
            out.append(_bracket(pattern[index:end]))
            index = end + 1
        else:
            out.append(re.escape(char))
    return Regex(rf"\A(?:{''.join(out)})\z", ignore_case=not cased, dotall=True)


def _wildcards(pattern: str) -> list[PatternPart]:
    parts: list[PatternPart] = []
    literal = ""
    escaped = False
    for char in pattern:
        if escaped or char not in "*?\\":
            literal += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            if literal:
                parts.append(Text(literal))
            literal = ""
            parts.append(AnyRun() if char == "*" else Any1())
    if literal or not parts:
        parts.append(Text(literal))
    return parts


def _bracket_end(pattern: str, start: int) -> int:
    # A closing bracket that comes first, also after the sign of negation, is a member.
    index = start + 1 if pattern[start : start + 1] in ("!", "^") else start
    return pattern.find("]", index + 1)


def _bracket(members: str) -> str:
    negation = "^" if members[:1] in ("!", "^") else ""
    inner = members[1:] if negation else members
    kept = "".join(char if char.isalnum() or char in "-:[]" else "\\" + char for char in inner)
    if not re.fullmatch(r"(?:\[:[a-z]+:\]|[^\[\]])*", inner):
        kept = kept.replace("[", "\\[").replace("]", "\\]")
    return f"[{negation}{kept}]"


def _path(prefix: str) -> tuple[Test, ...]:
    """A path, and everything below it."""
    bare = prefix.rstrip("/")
    if not bare:
        return (Like((AnyRun(),)),)
    if _GLOB.search(bare) is not None:
        pattern = "/".join(_component(part) for part in bare.split("/"))
        return (Regex(rf"\A{pattern}(?:/.*)?\z", dotall=True),)
    return (
        Equals(bare, cased=True),
        Like((Text(bare + "/"), AnyRun()), cased=True),
    )


def _component(part: str) -> str:
    test = _glob(part, cased=True)
    if isinstance(test, Regex):
        return test.pattern.removeprefix(r"\A").removesuffix(r"\z").replace(".*", "[^/]*")
    if not isinstance(test, Like):
        return re.escape(part)
    return "".join(
        re.escape(piece.text)
        if isinstance(piece, Text)
        else ("[^/]*" if isinstance(piece, AnyRun) else "[^/]")
        for piece in test.parts
    )


def holds(operator: str, values: tuple[str, ...], found: str, *, number: bool) -> bool:
    """Judge a comparison with a constant. Raises `NotComparable`."""
    return any(_passes(test, found) for test in tests_for(operator, values, number=number))


def _passes(test: Test, found: str) -> bool:
    match test:
        case Equals():
            if isinstance(test.value, str):
                return test.value == found
            return float(test.value) == float(found)
        case Number():
            return _COMPARE[test.op](float(found), float(test.value))
        case Order():
            return _COMPARE[test.op](found, test.value)
        case Like():
            pattern = "".join(
                re.escape(part.text)
                if isinstance(part, Text)
                else (".*" if isinstance(part, AnyRun) else ".")
                for part in test.parts
            )
            flags = re.DOTALL | (0 if test.cased else re.IGNORECASE)
            return re.fullmatch(pattern, found, flags) is not None
        case Regex():
            try:
                return re.search(test.pattern.replace(r"\z", r"\Z"), found) is not None
            except re.error as error:
                raise NotComparable(f"regular expression: {error}") from None
        case _:
            raise TypeError(f"no comparison makes {type(test).__name__}")


_COMPARE: dict[str, Callable[..., bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}
