"""Needles in text: what must stand in the bytes of a log line if a rule matches what it says.

The counterpart of `needles` for formats that are not JSON. There a value is a stretch of the
line, or is made of it in ways that its source declares (`Spelling`). Nothing here may be wrong
on the side of "cannot match"; what a source does not declare is not known.

Needles here are plain texts in lower case, no patterns: they are many, and of so many patterns
together Hyperscan was seen to miss some.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from trailhound.engine.needles import Each, Enough, Need, OneOf
from trailhound.engine.tests import check_of, needs_backtracking
from trailhound.model.spelling import Spelling
from trailhound.rules.ir import (
    And,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    Keyword,
    Like,
    Or,
    Predicate,
    Regex,
    Test,
    Text,
)

# Python's own parser of patterns has no public name.
from re import _constants as _re_codes  # type: ignore[attr-defined]  # isort: skip
from re import _parser as _re_parser  # type: ignore[attr-defined]  # isort: skip

Spell = Callable[[str], Spelling | None]
"""From the name of a field (empty: of any) to how its values are spelt; None: not known."""

_SHORTEST = 3
_ALTERNATIVES_LIMIT = 64
_NEEDS_LIMIT = 64
_BREAK = "\0"
_BLANKS = tuple(bytes((code,)) for code in (*range(0x09, 0x0E), *range(0x1C, 0x21)))
_BLANKS += (b"\xc2", b"\xe1", b"\xe2", b"\xe3")
"""How the blanks begin that `str.strip` takes off; those outside ASCII with the first byte."""


def need_in_text(predicate: Predicate, spell: Spell) -> Need | None:
    """Return what a record must hold if the predicate is true of it; None where nothing is known.

    It does not hold of records with letters outside ASCII that are letters of ASCII in another
    case (`needles.ODD`).
    """
    match predicate:
        case And():
            return _each(need_in_text(item, spell) for item in predicate.items)
        case Or():
            return _enough([need_in_text(item, spell) for item in predicate.items], 1)
        case AtLeast():
            needs = [need_in_text(item, spell) for item in predicate.items]
            return _enough(needs, predicate.count)
        case Compare():
            return _enough([_at(name, predicate.test, spell) for name in _names(predicate)], 1)
        case Exists():
            return _enough([_name_of(name, spell) for name in _names(predicate)], 1)
        case Keyword():
            spelling = spell("")
            return None if spelling is None else _value(predicate.test, spelling)
        case _:
            return None


def _each(found: Iterable[Need | None]) -> Need | None:
    known = [need for need in found if need is not None]
    return Each(tuple(known[:_NEEDS_LIMIT])) if known else None


def _enough(found: Sequence[Need | None], count: int) -> Need | None:
    # With `count` of n to be true, of any n - count + 1 one is; unknown ones must be spared.
    if not 1 <= count <= len(found):
        return None
    known = tuple(need for need in found if need is not None)
    spared = len(found) - len(known)
    if spared >= count:
        return None
    # One alone may have several needles; among others it has to be content with one of them.
    return known[0] if len(known) == 1 else Enough(known, count - spared)


def _names(node: Compare | Exists) -> Iterator[str | None]:
    """Yield the names that a field may be read at; None for what no source declares."""
    field: Field = node.field
    for path in field.paths:
        yield path[0] if len(path) == 1 and not field.via else None


def _name_of(name: str | None, spell: Spell) -> Need | None:
    spelling = spell(name) if name else None
    if spelling is None or not spelling.before:
        return None
    return OneOf(frozenset(spelling.before))


def _at(name: str | None, test: Test, spell: Spell) -> Need | None:
    spelling = spell(name) if name else None
    return None if spelling is None else _value(test, spelling)


def _value(test: Test, spelling: Spelling) -> Need | None:
    if not isinstance(test, Equals | Like | Regex):
        return None
    if isinstance(test, Regex) and needs_backtracking(test):
        return None
    written = _verbatim(test, spelling) if spelling.verbatim else None
    if spelling.verbatim and written is None:
        return None
    passes = check_of(test)
    named = frozenset(
        pattern for text, ways in spelling.named.items() if passes(text) for pattern in ways
    )
    if not named:
        return written
    ways = [written, OneOf(named)] if written is not None else [OneOf(named)]
    return _enough(ways, 1)


# --- the value as it stands in the record ----------------------------------------------------


def _verbatim(test: Equals | Like | Regex, spelling: Spelling) -> Need | None:
    match test:
        case Equals():
            if isinstance(test.value, str):
                return _each(_literal(test.value, spelling, start=True))
            if isinstance(test.value, int) and not isinstance(test.value, bool):
                return _each(_whole_number(test.value, spelling))
            return None  # such values have several forms
        case Like():
            return _each(
                need
                for number, part in enumerate(test.parts)
                if isinstance(part, Text)
                for need in _literal(part.text, spelling, start=number == 0)
            )
        case Regex():
            ways = [_each(_literal(text, spelling, start=False)) for text in _runs_in(test)]
            return _enough(ways, 1)


def _literal(written: str, spelling: Spelling, *, start: bool) -> Iterator[Need]:
    """Needles for a text in a value, or at its start."""
    for at, piece in _pieces(written.lower(), spelling):
        text = piece.encode()
        if start and at == 0 and spelling.before:
            yield _needle(before + text for before in spelling.before)
        elif _may_be_made(piece, spelling):
            continue
        elif piece[0] in spelling.heads:
            if len(piece) > 1:
                yield _needle((text, *(head + text[1:] for head in spelling.heads[piece[0]])))
        elif len(piece) >= _SHORTEST:
            yield _needle((text,))


def _pieces(text: str, spelling: Spelling) -> Iterator[tuple[int, str]]:
    """Yield the parts of a text that stand in one place, and where each begins in it."""
    start = 0
    for at, character in enumerate(text):
        lost = not " " <= character <= "~" or character in spelling.joints
        if (lost or character in spelling.heads) and start < at:
            yield start, text[start:at]
            start = at
        if lost:
            start = at + 1
    if start < len(text):
        yield start, text[start:]


def _whole_number(number: int, spelling: Spelling) -> Iterator[Need]:
    """Needles for a whole number: its digits may stand behind blanks, or zeros."""
    if not spelling.before:
        yield from _literal(str(number), spelling, start=False)
    else:
        starts = (str(number).encode(), *_BLANKS)
        yield _needle(before + start for before in spelling.before for start in starts)


def _may_be_made(piece: str, spelling: Spelling) -> bool:
    """Whether a piece may be part of a value that stands nowhere."""
    return piece in spelling.made_up or (
        bool(spelling.made_of) and all(character in spelling.made_of for character in piece)
    )


def _needle(texts: Iterable[bytes]) -> Need:
    return OneOf(frozenset(texts))


# --- regular expressions ---------------------------------------------------------------------


def _runs_in(test: Regex) -> list[str]:
    """Return texts of which one stands in whatever a pattern matches, but for its breaks.

    Breaks are characters that nothing is known of. An empty list says nothing is known at all.
    """
    # RE2 knows classes in brackets (`[[:alpha:]]`), which Python reads as something else; and
    # takes `{,3}` for what it looks like, which Python reads as a number of times.
    if "[:" in test.pattern or "{," in test.pattern:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return _expanded(_re_parser.parse(test.pattern))
    except (re.error, RecursionError, OverflowError, Warning):
        return []


def _expanded(parsed: Iterable[tuple[object, object]]) -> list[str]:
    texts = [""]
    for code, value in parsed:
        options = [_BREAK]
        if code is _re_codes.LITERAL and isinstance(value, int):
            options = [chr(value)]
        elif code is _re_codes.SUBPATTERN and isinstance(value, tuple):
            options = _expanded(value[3])
        elif code is _re_codes.BRANCH and isinstance(value, tuple):
            options = [text for branch in value[1] for text in _expanded(branch)]
        elif code in (_re_codes.MAX_REPEAT, _re_codes.MIN_REPEAT) and isinstance(value, tuple):
            least, most, inner = value
            if most == 1:
                options = _expanded(inner) + [""] * (least == 0)
            elif least >= 1:
                options = [text + _BREAK for text in _expanded(inner)]
        if len(texts) * len(options) > _ALTERNATIVES_LIMIT:
            options = [_BREAK]
        texts = [text + option for text in texts for option in options]
    return texts
