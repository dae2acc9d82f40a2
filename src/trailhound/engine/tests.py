"""Tests on one value, compiled to Python functions."""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import re2

from trailhound.engine.texts import text_of
from trailhound.rules.ir import (
    Any1,
    AnyRun,
    Equals,
    InNetwork,
    IsNull,
    Like,
    Number,
    Order,
    Regex,
    SameAs,
    Test,
    Text,
    TimePart,
)

T = TypeVar("T")
Check = Callable[[Any], bool]
ValueTest = Equals | Like | Regex | InNetwork | Number | Order | TimePart
"""Tests that need nothing but the value (all but `IsNull` and `SameAs`)."""

_LITERAL_LENGTH = 2
_ADDRESS_LENGTH = 64
"""Of an address that is remembered, blanks and a zone with it."""

BACKTRACK_SECONDS = 0.25
"""How long a pattern that RE2 cannot run may take on one value."""
GIVE_UPS_LIMIT = 20
"""After so many values that took too long, a pattern is not tried again: a hostile log could
make it take that long on every line."""


class GaveUp(Exception):
    """A pattern took too long on a value: whether it matches is not known."""


class BadPattern(ValueError):
    """A pattern that no engine here compiles."""


def any_surely(check: Callable[[T], bool], values: Iterable[T]) -> bool:
    """Whether a check passes on one of the values, whatever gives up on others.

    Raises `GaveUp` where it passes on none and gave up on one: else a value on which a pattern
    takes too long would hide the value beside it.
    """
    gave_up: GaveUp | None = None
    for value in values:
        try:
            if check(value):
                return True
        except GaveUp as error:
            gave_up = error
    if gave_up is not None:
        raise gave_up
    return False


def check_of(test: ValueTest) -> Check:
    """Compile a test. `BadPattern` where it holds a regular expression that is none.

    A check may raise `GaveUp`, only for patterns with look-around or back-references.
    """
    match test:
        case Equals():
            return _equals(test)
        case Like():
            return _like(test)
        case Regex():
            return _regex(test)
        case InNetwork():
            return _in_network(test.network)
        case Number():
            return _number(test)
        case Order():
            return _order(test)
        case TimePart():
            return _time_part(test)


def any_of(tests: Sequence[Test]) -> Check:
    """Compile tests of which one must pass, literals of a kind looked up together."""
    exact: set[str] = set()
    cased: set[str] = set()
    prefixes: list[str] = []
    suffixes: list[str] = []
    infixes: list[str] = []
    checks: list[Check] = []
    careful = False
    for test in tests:
        if isinstance(test, Equals) and isinstance(test.value, str) and not test.cased:
            exact.add(test.value.lower())
            continue
        if isinstance(test, Equals) and isinstance(test.value, str):
            cased.add(test.value)
            continue
        if isinstance(test, Like) and not test.cased:
            shape = _shape(test)
            if shape is not None:
                kind, literal = shape
                {"prefix": prefixes, "suffix": suffixes, "infix": infixes}[kind].append(literal)
                continue
        if isinstance(test, IsNull | SameAs):
            raise TypeError(f"{type(test).__name__} is not a test on a value alone")
        checks.append(check_of(test))
        careful = careful or (isinstance(test, Regex) and needs_backtracking(test))
    if careful:
        rest = list(checks)
        checks = [lambda value: any_surely(lambda check: check(value), rest)]
    if cased:
        among = _on_text(cased.__contains__, fold=False)
        if not checks and len(exact) + len(prefixes) + len(suffixes) + len(infixes) == 0:
            return among
        checks.insert(0, among)
    if len(exact) + len(prefixes) + len(suffixes) + len(infixes) == 0:
        return checks[0] if len(checks) == 1 else lambda value: any(c(value) for c in checks)
    starts, ends = tuple(prefixes), tuple(suffixes)

    def check(value: Any) -> bool:
        text = value if isinstance(value, str) else text_of(value)
        if text is not None:
            text = text.lower()
            if text in exact or text.startswith(starts) or text.endswith(ends):
                return True
            for infix in infixes:
                if infix in text:
                    return True
        return any(c(value) for c in checks) if checks else False

    return check


def on_text(tests: Sequence[Test]) -> Callable[[str], bool] | None:
    """Compile tests of which one must pass, for values that are text; None where `any_of` will do.

    Most rules compare a few fields with a few words.
    """
    cased = {test.value for test in tests if isinstance(test, Equals) and test.cased}
    if len(cased) == len(tests) and all(isinstance(value, str) for value in cased):
        return cased.__contains__
    return None


def _shape(test: Like) -> tuple[str, str] | None:
    match test.parts:
        case (Text(text), AnyRun()):
            return "prefix", text.lower()
        case (AnyRun(), Text(text)):
            return "suffix", text.lower()
        case (AnyRun(), Text(text), AnyRun()):
            return "infix", text.lower()
    return None


def _equals(test: Equals) -> Check:
    value = test.value
    wanted = text_of(value) or ""
    if test.cased:
        return lambda found: text_of(found) == wanted
    wanted = wanted.lower()
    if isinstance(value, int | float) and not isinstance(value, bool):

        def number(found: Any) -> bool:
            if isinstance(found, int | float) and not isinstance(found, bool):
                return found == value
            text = text_of(found)
            return text is not None and text.strip() == wanted

        return number

    def text(found: Any) -> bool:
        found_text = found if isinstance(found, str) else text_of(found)
        return found_text is not None and found_text.lower() == wanted

    return text


def _like(test: Like) -> Check:
    fold = not test.cased
    parts = [
        Text(part.text.lower()) if fold and isinstance(part, Text) else part for part in test.parts
    ]
    if all(isinstance(part, AnyRun) for part in parts):
        return lambda value: value is not None
    if any(isinstance(part, Any1) for part in parts):
        pattern = "".join(
            re2.escape(part.text)
            if isinstance(part, Text)
            else ("." if isinstance(part, Any1) else ".*")
            for part in parts
        )
        compiled = _compile_re2(f"(?s)^(?:{pattern})$")
        return _on_text(lambda text: compiled.search(utf8(text)) is not None, fold=fold)
    literals = [part.text for part in parts if isinstance(part, Text)]
    head = literals.pop(0) if isinstance(parts[0], Text) else ""
    tail = literals.pop() if literals and isinstance(parts[-1], Text) else ""

    def fits(text: str) -> bool:
        # The leftmost place for each literal in turn is always right for `*` alone.
        if (
            len(text) < len(head) + len(tail)
            or not text.startswith(head)
            or not text.endswith(tail)
        ):
            return False
        at = len(head)
        end = len(text) - len(tail)
        for literal in literals:
            at = text.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return True

    return _on_text(fits, fold=fold)


def _regex(test: Regex) -> Check:
    flags = (
        ("i" if test.ignore_case else "")
        + ("m" if test.multiline else "")
        + ("s" if test.dotall else "")
    )
    source = f"(?{flags}){test.pattern}" if flags else test.pattern
    try:
        compiled = _compile_re2(source)
    except BadPattern:
        return _on_text(_backtracking(source), fold=False)

    def search(text: str) -> bool:
        if compiled.search(utf8(text)) is not None:
            return True
        # In PCRE `$` also stands before a line end at the very end; in RE2 it does not.
        return text.endswith("\n") and compiled.search(utf8(text[:-1])) is not None

    return _on_text(search, fold=False)


def needs_backtracking(test: Regex) -> bool:
    """Whether a pattern is beyond RE2, so that its time on a value has to be limited."""
    try:
        _compile_re2(test.pattern)
    except BadPattern:
        return True
    return False


def _compile_re2(source: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except re2.error as error:
        raise BadPattern(f"regular expression {source!r}: {error}") from None


def _backtracking(source: str) -> Callable[[str], bool]:
    import regex  # noqa: PLC0415 - few rules need it, and every start would pay for it

    try:
        compiled = regex.compile(source)
    except (regex.error, ValueError, RecursionError) as error:
        raise BadPattern(f"regular expression {source!r}: {error}") from None

    left = GIVE_UPS_LIMIT

    def search(text: str) -> bool:
        nonlocal left
        if not left:
            raise GaveUp(source)
        try:
            return compiled.search(text, timeout=BACKTRACK_SECONDS) is not None
        except TimeoutError:
            left -= 1
            raise GaveUp(source) from None

    return search


def _on_text(fits: Callable[[str], bool], *, fold: bool) -> Check:
    if fold:

        def folded(value: Any) -> bool:
            text = value if isinstance(value, str) else text_of(value)
            return text is not None and fits(text.lower())

        return folded

    def as_is(value: Any) -> bool:
        text = value if isinstance(value, str) else text_of(value)
        return text is not None and fits(text)

    return as_is


def utf8(text: str) -> str:
    """Return a text that RE2 can read: without lone surrogates."""
    # RE2 reads UTF-8, in which a lone surrogate cannot be written.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _in_network(network: str) -> Check:
    wanted = ipaddress.ip_network(network, strict=False)

    def check(value: Any) -> bool:
        address = _address(value) if isinstance(value, str) else None
        return address is not None and address.version == wanted.version and address in wanted

    return check


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # What is longer than any address is read, and not remembered: it could be megabytes.
    return (_known_address if len(text) <= _ADDRESS_LENGTH else _read_address)(text)


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


_known_address = lru_cache(maxsize=65536)(_read_address)


def number_of(value: Any) -> int | float | None:
    """Read a value as a number: one already, or text that writes one in decimal."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and len(value) <= 400:
        try:
            return int(value)
        except ValueError:
            pass
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _number(test: Number) -> Check:
    holds = _comparison(test.op, test.value)

    def check(value: Any) -> bool:
        number = number_of(value)
        return number is not None and holds(number)

    return check


def _comparison(op: str, bound: float) -> Callable[[int | float], bool]:
    compare: dict[str, Callable[[int | float], bool]] = {
        "is": lambda n: n == bound,
        "lt": lambda n: n < bound,
        "lte": lambda n: n <= bound,
        "gt": lambda n: n > bound,
        "gte": lambda n: n >= bound,
    }
    return compare[op]


def _order(test: Order) -> Check:
    bound = test.value
    compare: dict[str, Callable[[str], bool]] = {
        "lt": lambda text: text < bound,
        "lte": lambda text: text <= bound,
        "gt": lambda text: text > bound,
        "gte": lambda text: text >= bound,
    }
    return _on_text(compare[test.op], fold=False)


def _time_part(test: TimePart) -> Check:
    holds = _comparison(test.op, test.value)

    def part(moment: datetime) -> int:
        if test.part == "week":
            return moment.isocalendar().week
        return int(getattr(moment, test.part))

    def check(value: Any) -> bool:
        if not isinstance(value, str) or len(value) > 64:
            return False
        try:
            return holds(part(datetime.fromisoformat(value.strip())))
        except ValueError:
            return False

    return check


def literals_of(tests: Sequence[Test]) -> frozenset[str] | None:
    """Return texts of which one, in lower case, is in every value that passes one of the tests.

    None where no such texts are known, or they are too short to tell anything.
    """
    found: set[str] = set()
    for test in tests:
        if isinstance(test, Equals):
            literal = text_of(test.value) or ""
        elif isinstance(test, Like):
            literal = max((p.text for p in test.parts if isinstance(p, Text)), key=len, default="")
        else:
            return None
        literal = literal.lower()
        if len(literal) < _LITERAL_LENGTH or "\n" in literal:
            return None
        found.add(literal)
    return frozenset(found)
