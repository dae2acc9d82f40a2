"""Needles: what must stand in the bytes of a JSON line if a rule matches it.

A search of whole blocks for a few texts costs a fraction of parsing them. A rule that asks for
`verb: delete` and `objectRef.resource: secrets` can match no line without `"secrets"` in it, and
none without `verb":"delete"`: each is *necessary*, and the rarer one is the one to look for.
Which is rarer, the log itself tells.

Nothing here may be wrong on the side of "cannot match". JSON lets a writer spell one text in
several ways; every way but the plain one holds something of `ODD`, and a line in which that
stands has to be read in any case. What escapes even so (a quote, a line end, a letter outside
ASCII) is cut out of a needle.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from trailhound.engine.beginnings import of_numbers, of_times
from trailhound.engine.tests import needs_backtracking
from trailhound.engine.texts import text_of
from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    IsNull,
    Keyword,
    Like,
    Number,
    Or,
    Path,
    Predicate,
    Regex,
    Some,
    Step,
    Test,
    Text,
)

# Python's own parser of patterns has no public name.
from re import _constants as _re_codes  # type: ignore[attr-defined]  # isort: skip
from re import _parser as _re_parser  # type: ignore[attr-defined]  # isort: skip

Pattern = bytes
"""A regular expression over the bytes of a line, to be searched without regard to case; in the
syntax that `re` and Hyperscan share."""

_PLAIN_CODES = ("0026", "003c", "003e")
"""How Go writes `&`, `<` and `>`, which no needle holds."""


def _other_codes() -> Iterator[bytes]:
    """What all escapes of other characters begin with, no more than tells them apart.

    One text for each: a search that needs not look at what follows one escape in a thousand
    characters takes a tenth less time.
    """
    for start in dict.fromkeys(code[:length] for code in _PLAIN_CODES for length in range(4)):
        for digit in "0123456789abcdef":
            if not any(code.startswith(start + digit) for code in _PLAIN_CODES):
                yield b"\\\\u" + (start + digit).encode()


ODD: tuple[Pattern, ...] = (
    b"|".join(_other_codes()),
    rb"\\/",
    # KELVIN SIGN, LATIN CAPITAL LETTER I WITH DOT ABOVE and LATIN SMALL LETTER LONG S: the
    # characters outside ASCII that are letters of ASCII without regard to case.
    rb"\xe2\x84\xaa",
    rb"\xc4\xb0",
    rb"\xc5\xbf",
)
"""What a line may hide a value with: texts that are not what they look like."""


def example_of(pattern: Pattern) -> bytes:
    """Return a text that a pattern matches whole, a short one that has all parts of it."""
    if is_text(pattern):
        return text_of_pattern(pattern)
    return b"".join(_examples(_re_parser.parse(pattern)))


def _examples(parsed: Iterable[tuple[object, Any]]) -> Iterator[bytes]:
    for code, what in parsed:
        match code:
            case _re_codes.LITERAL:
                yield bytes((what,))
            case _re_codes.NOT_LITERAL:
                yield b"." if what != ord(".") else b","
            case _re_codes.IN:
                negated = what[0][0] is _re_codes.NEGATE
                held = {c for item in what[negated:] for c in _characters(*item)}
                if negated:
                    held = set(range(ord("!"), 256)) - held
                yield bytes((min(held),))
            case _re_codes.MAX_REPEAT:
                least, most, inner = what
                yield b"".join(_examples(inner)) * (least or most is _re_codes.MAXREPEAT)
            case _re_codes.BRANCH:
                yield b"".join(_examples(what[1][0]))
            case _re_codes.SUBPATTERN:
                yield from _examples(what[3])
            case _:
                raise ValueError(f"needles have no {code}")


def _characters(code: object, what: Any) -> Iterable[int]:
    return range(what[0], what[1] + 1) if code is _re_codes.RANGE else (what,)


_SHORTEST = 3
_OPTIONS_LIMIT = 64
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*")
_BREAKS = re.compile(r"""[^ -~]|["\\&<>]""")
"""What may be written in several ways that hold nothing odd."""
_BREAKS_IN_OBJECTS = re.compile(r"""[^ -~]|["\\&<>'{}\[\],]""")
"""The same where a value may be an object, whose text is not as it was written. A colon between
a key and its value stands behind a quote, so only one that begins a piece may be one."""
_TEXT = re.compile(rb'(?:[\w":]|\\\W)+')
_ESCAPE = re.compile(rb"\\(.)")
_NUMBER = re.compile(r"[-+.0-9einfa]*")
_WORDS = "true false null none"
_AS_TEXT = (Step("json"),)
_ESCAPES = {code: f"\\{chr(code)}" for code in range(128) if not chr(code).isalnum()}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these patterns is found in the line."""

    patterns: frozenset[Pattern]


@dataclass(frozen=True, slots=True)
class Each:
    """Each of these needs is met, so it is enough to look for one of them."""

    needs: tuple["Need", ...]


@dataclass(frozen=True, slots=True)
class Enough:
    """So many of these needs are met, so it is enough to look for all but `count - 1` of them."""

    needs: tuple["Need", ...]
    count: int = 1


Need = OneOf | Each | Enough


def need_of(predicate: Predicate) -> Need | None:
    """Return what a JSON line must hold if the predicate is true of it and nothing `ODD` is.

    None where nothing is known.
    """
    match predicate:
        case And():
            known = [need for item in predicate.items if (need := need_of(item)) is not None]
            return Each(tuple(known[:_OPTIONS_LIMIT])) if known else None
        case Or():
            return _enough(predicate.items, 1)
        case AtLeast():
            return _enough(predicate.items, predicate.count)
        case Some() if predicate.field.via:
            # Its elements are computed, so what they are asked need not stand in the line.
            return None
        case Some():
            found = [_key_of(predicate.field), need_of(predicate.item)]
            known = [need for need in found if need is not None]
            return Each(tuple(known)) if known else None
        case Compare():
            return _compare(predicate)
        case Exists():
            return _key_of(predicate.field)
        case Keyword():
            words = list(_anywhere(predicate.test))
            return Each(tuple(words)) if words else None
        case _:
            return None


def choices(need: Need, cost: Callable[[Pattern], int]) -> list[frozenset[Pattern]]:
    """Return sets of patterns; wherever the need is met, one pattern of *each* set is found.

    Args:
        need: what is necessary.
        cost: in how many lines a pattern is found; decides where there are too many choices.
    """
    match need:
        case OneOf():
            return [need.patterns]
        case Each():
            return [found for part in need.needs for found in choices(part, cost)]
        case Enough():

            def total(patterns: frozenset[Pattern]) -> int:
                return sum(map(cost, patterns))

            parts = [min(choices(part, cost), key=total) for part in need.needs]
            parts.sort(key=total)
            return [frozenset().union(*parts[: len(parts) - need.count + 1])]


def patterns_of(need: Need) -> Iterator[Pattern]:
    """Yield every pattern that may be chosen for a need, some more than once."""
    waiting = [need]
    while waiting:
        part = waiting.pop()
        if isinstance(part, OneOf):
            yield from part.patterns
        else:
            waiting.extend(part.needs)


def is_text(pattern: Pattern) -> bool:
    """Whether a pattern is one text, with what is special in it escaped."""
    return _TEXT.fullmatch(pattern) is not None


def text_of_pattern(pattern: Pattern) -> bytes:
    """Return the text that a pattern is, if it is one."""
    return _ESCAPE.sub(rb"\1", pattern)


def beginning_of(pattern: Pattern, length: int) -> Pattern:
    """Return the pattern for so many first characters of a text."""
    return _escaped(text_of_pattern(pattern)[:length].decode())


def together(first: Iterable[Pattern], second: Iterable[Pattern]) -> frozenset[Pattern]:
    """Return patterns, one of which is found wherever a line holds one of each of two sets.

    All of these must be texts. Two that share characters stand together in fewer of them.
    """
    found: set[Pattern] = set()
    for one, other in product(first, second):
        texts = (text_of_pattern(one).lower(), text_of_pattern(other).lower())
        if texts[0] in texts[1]:
            found.add(other)
        elif texts[1] in texts[0]:
            found.add(one)
        else:
            found.update(_one_behind(*texts), _one_behind(*texts[::-1]))
    return frozenset(found)


def _one_behind(first: bytes, second: bytes) -> Iterator[Pattern]:
    """Patterns for two texts in one line, of which the second begins and ends behind the first."""
    yield _escaped(first.decode()) + rb"[^\n]*" + _escaped(second.decode())
    for shared in range(1, min(len(first), len(second))):
        if first.endswith(second[:shared]):
            yield _escaped((first + second[shared:]).decode())


def _enough(items: Sequence[Predicate], count: int) -> Need | None:
    # With `count` of n to be true, of any n - count + 1 one is; unknown ones must be spared.
    if not 1 <= count <= len(items):
        return None
    known = [need for item in items if (need := need_of(item)) is not None]
    spared = len(items) - len(known)
    return Enough(tuple(known), count - spared) if spared < count else None


def _compare(compare: Compare) -> Need | None:
    field, test = compare.field, compare.test
    if isinstance(test, IsNull):
        return None
    if field.via == _AS_TEXT:
        # Of what stands there, as text: the whole of it may be an object, or a list.
        options = [need for literal in _held(test) for need in _pieces(literal)]
        key = _key_of(Field(field.name, field.paths))
        return Each((*options, *((key,) if key is not None else ()))) if options or key else None
    if field.via:
        # What is computed from a field may stand nowhere in the line.
        begun = of_times(compare)
        return _beside(field, begun) if begun else None
    options = list(_anywhere(test))
    if (key := _key_of(field)) is not None:
        options.append(key)
    if (begun := _behind(test)) and (beside := _beside(field, begun)) is not None:
        options.append(beside)
    return Each(tuple(options)) if options else None


# --- the value, wherever it stands ---------------------------------------------------------


def _anywhere(test: Test) -> Iterator[Need]:
    match test:
        case Equals():
            text = (text_of(test.value) or "").lower()
            yield from _quoted(text, start=True, end=True)
        case Like() if not any(isinstance(part, Any1) for part in test.parts):
            last = len(test.parts) - 1
            for number, part in enumerate(test.parts):
                if isinstance(part, Text):
                    yield from _quoted(part.text.lower(), start=number == 0, end=number == last)
        case _:
            for literal in _held(test):
                yield from _pieces(literal)


def _held(test: Test) -> Iterator[str]:
    """Texts that are, in lower case, in every text that passes a test."""
    match test:
        case Equals():
            yield (text_of(test.value) or "").lower()
        case Like():
            yield from (part.text.lower() for part in test.parts if isinstance(part, Text))
        case Regex():
            yield from _literals(test)


def _quoted(text: str, *, start: bool, end: bool) -> Iterator[Need]:
    """Needles for a text at the start or the end of a value, or for the whole of it."""
    if _is_bare(text) or (start and text[:1] in ("{", "[")) or (end and text[-1:] in ("}", "]")):
        yield from _pieces(text)
        return
    if not start and not end:
        yield from _pieces(text)
        return
    # It is a string: no number, no boolean, no object.
    parts = _BREAKS.split(text)
    for number, part in enumerate(parts):
        head = b'"' if start and number == 0 else b""
        tail = b'"' if end and number == len(parts) - 1 else b""
        if len(part) + len(head) + len(tail) >= _SHORTEST:
            yield OneOf(frozenset((head + _escaped(part) + tail,)))


def _pieces(text: str) -> Iterator[Need]:
    """Needles for a text somewhere in a value, which may be an object and its text made anew."""
    for part in _BREAKS_IN_OBJECTS.split(text):
        piece = part.lstrip(" :").rstrip()
        if len(piece) >= _SHORTEST and not _is_bare(piece):
            yield OneOf(frozenset((_escaped(piece),)))


def _is_bare(text: str) -> bool:
    """Whether a text may be, or be a part of, the text of a value that is written otherwise."""
    return _NUMBER.fullmatch(text) is not None or text in _WORDS


def _escaped(text: str) -> Pattern:
    # Beside letters and digits, escape all: both engines take that for the character itself.
    return text.translate(_ESCAPES).encode()


# --- the key, and the value behind it -------------------------------------------------------


@lru_cache(maxsize=4096)  # many rules ask for the same fields
def _key_of(field: Field) -> Need | None:
    """A need that is met wherever the field is there."""
    if field.via:
        return None
    ways = [_path_of(path) for path in field.paths]
    if not ways or not all(ways):
        return None
    if len(ways) == 1:
        return Each(ways[0])
    return Enough(tuple(Each(way) for way in ways))


def _path_of(path: Path) -> tuple[Need, ...]:
    needs = []
    for number, key in enumerate(path):
        if _KEY.fullmatch(key) is None:  # a place in a list, perhaps
            continue
        # Several steps may be one key with dots in it.
        ends = (b'"',) if number == len(path) - 1 else (b'"', b"\\.")
        needs.append(OneOf(frozenset(_escaped(key) + end for end in ends)))
    return tuple(needs)


def repeats_of(path: Path) -> tuple[Pattern, ...]:
    """Return patterns of which one is in any line that has more than one value at a path.

    It holds for lines with nothing `ODD` that have a value there; no patterns where none are known.
    """
    if not all(map(_KEY.fullmatch, path)):
        return ()
    keys = [b'"%s"[ \\t\\r]*:' % _escaped(key) for key in path]
    twice = tuple(key + rb"[^\n]*" + key for key in keys)
    return twice if len(path) == 1 else (*twice, b'"%s"' % _escaped(".".join(path)))


def _beside(field: Field, begun: Sequence[Pattern]) -> Need | None:
    """A field's key with what its value begins with, or with a value that has to be looked into."""
    found: set[Pattern] = set()
    for path in field.paths:
        if not path or _KEY.fullmatch(path[-1]) is None:  # also a number: a place in a list
            return None
        name = _escaped(path[-1]) + b'"'
        found.update((name + b"[ \\t\\r]", name + b":[ \\t\\r]", name + b":\\["))
        found.update(name + b":" + begin for begin in begun)
    return OneOf(frozenset(found)) if found else None


def _behind(test: Test) -> tuple[Pattern, ...] | None:
    if isinstance(test, Number):
        return of_numbers(test)
    if isinstance(test, Equals):
        text = (text_of(test.value) or "").lower()
        if text.isascii() and text.isdecimal():
            # As a text it may have blanks around it, written in whatever way.
            digits = _escaped(text)
            return b"-?" + digits, b'"' + digits, b'"[^0-9]', b"-?[0-9]+[.e]"
        if text in ("true", "false"):
            return _escaped(text), b'"' + _escaped(text) + b'"'
        whole = True
    elif isinstance(test, Like) and len(test.parts) == 2:
        first, rest = test.parts
        if not isinstance(first, Text) or not isinstance(rest, AnyRun):
            return None
        text, whole = first.text.lower(), False
    else:
        return None
    if _is_bare(text) or text[:1] in ("{", "[") or _BREAKS.search(text):
        return None
    return (b'"' + _escaped(text) + (b'"' if whole else b""),)


# --- regular expressions --------------------------------------------------------------------


def _literals(test: Regex) -> Iterable[str]:
    """Texts that stand in whatever a pattern matches, in lower case."""
    # RE2 knows classes in brackets (`[[:alpha:]]`), which Python reads as something else.
    if "[:" in test.pattern or needs_backtracking(test):
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = _re_parser.parse(test.pattern)
    except (re.error, RecursionError, OverflowError, Warning):
        return ()
    found: list[str] = []
    found.append(_runs(parsed, found))
    return [text.lower() for text in found if text]


def _runs(parsed: Collection[tuple[object, object]], found: list[str]) -> str:
    """Collect the literal runs of a concatenation into `found`; return the one still open."""
    run = ""
    for code, value in parsed:
        if code is _re_codes.LITERAL and isinstance(value, int):
            run += chr(value)
            continue
        found.append(run)
        run = ""
        if code is _re_codes.SUBPATTERN and isinstance(value, tuple):
            found.append(_runs(value[3], found))
        elif code in (_re_codes.MAX_REPEAT, _re_codes.MIN_REPEAT) and isinstance(value, tuple):
            least, _, inner = value
            if least >= 1:
                found.append(_runs(inner, found))
    return run
