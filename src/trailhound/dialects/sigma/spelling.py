"""IR tests to Sigma values: the text of each, and the modifiers it needs."""

import math
from collections.abc import Iterable

from sigma.types import SigmaNumber

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

Modifiers = tuple[str, ...]
Value = str | int | float | bool | None
Spelling = tuple[Modifiers, Value]


class Unsayable(Exception):
    """Sigma has no words for a part of a rule."""

    def __init__(self, reason: str, word: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.word = word
        """What that part is called in the rule, to find it by; empty where it has no name."""


def spellings(test: Test) -> list[Spelling]:
    """Return the ways to write a test, the one that people would choose first.

    Modifiers stand in the order in which they are applied (Sigma Modifiers Appendix 2.1.0).
    """
    match test:
        case Equals():
            if isinstance(test.value, str):
                return [(("cased",) if test.cased else (), escaped(test.value))]
            return [((), test.value)]
        case Like():
            return _like(test)
        case Regex():
            flags = (("i", test.ignore_case), ("m", test.multiline), ("s", test.dotall))
            return [(("re", *(name for name, on in flags if on)), test.pattern)]
        case InNetwork():
            return [(("cidr",), test.network)]
        case Number():
            return [((test.op,), test.value)]
        case IsNull():
            return [((), None)]
        case SameAs():
            how = () if test.how == "equals" else (test.how,)
            return [((*(("cased",) if test.cased else ()), "fieldref", *how), test.other.name)]
        case TimePart():
            how = () if test.op == "is" else (test.op,)
            return [((test.part, *how), test.value)]
        case _:
            raise Unsayable(f"Sigma does not compare texts by their order ({test.op})")


def keyword_spellings(test: Equals | Like | Regex) -> list[Spelling]:
    """The same for a condition without a field, which finds its text inside of texts."""
    if not isinstance(test, Like):
        return spellings(test)
    inner = test.parts[1:-1]
    return [(("cased",) if test.cased else (), pattern(inner) if inner else "*")]


def _like(test: Like) -> list[Spelling]:
    parts, cased = test.parts, ("cased",) if test.cased else ()
    whole: Spelling = (cased, pattern(parts))
    first, last = isinstance(parts[0], AnyRun), isinstance(parts[-1], AnyRun)
    if len(parts) == 1 or not (first or last) or (first and last and len(parts) == 2):
        return [whole]
    name = "contains" if first and last else "endswith" if first else "startswith"
    inner = parts[first : len(parts) - last]
    return [((name, *cased), pattern(inner)), whole]


def pattern(parts: Iterable[PatternPart]) -> str:
    """Return literals and wildcards as a Sigma value."""
    return "".join(
        escaped(part.text) if isinstance(part, Text) else "?" if isinstance(part, Any1) else "*"
        for part in parts
    )


def escaped(text: str) -> str:
    r"""Return a text as a Sigma value that means it (Sigma Rules Specification 2.1.0, "Escaping").

    A wildcard gets a backslash before it. A backslash stands for itself, and is doubled only
    where it would take the meaning of what follows; what follows the text may be a wildcard.
    """
    out: list[str] = []
    for at, char in enumerate(text):
        if char in "*?" or (char == "\\" and text[at + 1 : at + 2] in ("", "\\", "*", "?")):
            out.append("\\")
        out.append(char)
    return "".join(out)


def canonical(test: Test) -> Test:
    """Return the test in the form in which Sigma's values are read, with the same verdicts.

    Raises:
        Unsayable: there is none.
    """
    match test:
        case Equals() if isinstance(test.value, str):
            return test
        case Equals():
            return _scalar(test)
        case Like():
            return _pattern(test)
        case Number():
            return Number(test.op, _number(test.value))
        case SameAs() if test.how in ("lt", "lte", "gt", "gte"):
            raise Unsayable("Sigma does not compare two fields as numbers")
        case SameAs():
            # A reference is a Sigma value as well, in which these have a meaning.
            if set(test.other.name) & set("*?\\"):
                raise Unsayable(
                    f"Sigma cannot refer to a field named {test.other.name!r}", test.other.name
                )
            return test
        case _:
            return test


def _scalar(test: Equals) -> Equals:
    value = test.value
    if isinstance(value, bool | str):
        return Equals(value) if not test.cased else Equals("true" if value else "false", cased=True)
    if test.cased:
        if not isinstance(value, int):
            raise Unsayable(f"Sigma does not compare the letters of the number {value}")
        return Equals(str(value), cased=True)
    if isinstance(value, float) and value.is_integer():
        # Sigma reads it as an integer, which is not how a text may write it.
        raise Unsayable(f"Sigma does not tell the number {value} from {int(value)}")
    return Equals(_number(value))


def _number(value: float) -> int | float:
    if not math.isfinite(value):
        raise Unsayable(f"Sigma has no number {value}")
    read = SigmaNumber(value).number
    if read != value:
        raise Unsayable("Sigma does not hold integers of this size exactly")
    return read


def _pattern(test: Like) -> Equals | Like:
    parts: list[PatternPart] = []
    for part in test.parts:
        last = parts[-1] if parts else None
        if isinstance(part, AnyRun) and isinstance(last, AnyRun):
            continue
        if isinstance(part, Text):
            if not part.text:
                continue
            if isinstance(last, Text):
                parts[-1] = Text(last.text + part.text)
                continue
        parts.append(part)
    if parts == [AnyRun()]:
        return Like((AnyRun(),))
    if not parts:
        return Equals("", test.cased)
    if len(parts) == 1 and isinstance(only := parts[0], Text):
        return Equals(only.text, test.cased)
    return Like(tuple(parts), test.cased)


_SAME_LETTERS = {"k": "kK\u212a"}
"""Letters of ASCII whose lower case others share: KELVIN SIGN."""


def whole_text(test: Equals | Like) -> Regex:
    """Return the expression for a whole text, for keywords, which are parts of texts in Sigma.

    Raises:
        Unsayable: case is to be left aside, of letters beyond ASCII.
    """
    if isinstance(test, Equals):
        if not isinstance(test.value, str):
            raise Unsayable("Sigma finds numbers anywhere in an event only as parts of texts")
        parts: tuple[PatternPart, ...] = (Text(test.value),)
    else:
        parts = test.parts
    pieces = (
        "".join(_letter(char, cased=test.cased) for char in part.text)
        if isinstance(part, Text)
        else "."
        if isinstance(part, Any1)
        else ".*"
        for part in parts
    )
    return Regex(rf"\A{''.join(pieces)}\z", dotall=True)


def _letter(char: str, *, cased: bool) -> str:
    if not cased and not char.isascii():
        raise Unsayable("a whole text anywhere in an event, with letters beyond ASCII of any case")
    if cased or not char.isalpha():
        if char.isalnum() or char in " _-/:@" or ord(char) > 126:
            return char
        return f"\\{char}" if char.isprintable() else f"\\x{{{ord(char):x}}}"
    return f"[{_SAME_LETTERS.get(char.lower(), char.lower() + char.upper())}]"
