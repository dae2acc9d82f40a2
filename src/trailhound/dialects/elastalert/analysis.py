"""What Elasticsearch does with text before it compares it, as tests on the text as written.

A field is a `keyword` (compared whole, by its letters) or analysed `text`: its standard
analyzer cuts it into words in lower case, and conditions are asked of those words
(Elasticsearch 8 reference, "Standard analyzer"; Unicode Standard Annex #29, "Word Boundaries",
which it implements). There is no index here, so a condition on words becomes a regular
expression with the word boundaries in it.
"""

import itertools
import re
from collections.abc import Sequence

from trailhound.dialects.elastalert.lucene import TermPart, Wildcard
from trailhound.rules.ir import Any1, AnyRun, Equals, Like, PatternPart, Regex, Test, Text

# UAX #29: what stands between two letters (MidLetter, MidNumLet, Single_Quote), or between two
# digits (MidNum, MidNumLet, Single_Quote), does not end a word.
_IN_LETTERS = ".:'’·"
_IN_DIGITS = ".,;'’"
_TOKEN = re.compile(
    rf"(?:\w|(?<=[^\W\d_])[{_IN_LETTERS}](?=[^\W\d_])|(?<=\d)[{_IN_DIGITS}](?=\d))+"
)
_WORD = r"\p{L}\p{N}\p{M}_"
_INSIDE = rf"[{_WORD}{_IN_LETTERS},;]*"
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&~<>@\"-]")


def words_of(text: str) -> list[str]:
    """Return the words that the standard analyzer makes of a text, in lower case."""
    return [found[0].lower() for found in _TOKEN.finditer(text)]


def word_test(words: Sequence[str], *, open_end: bool = False) -> Regex:
    """Return the test that a text has these words, one after the other.

    With `open_end`, the last one may be the beginning of a word.
    """
    inner = _escaped(words[0])
    for before, after in itertools.pairwise(words):
        inner += _between(before[-1], after[0]) + _escaped(after)
    end = "" if open_end else _after(words[-1][-1])
    return Regex(_before(words[0][0]) + inner + end, ignore_case=True)


def word_pattern_test(parts: Sequence[TermPart]) -> Regex | None:
    """Return the test that one word of a text is like a pattern; None where no word can be."""
    literals = [part for part in parts if isinstance(part, str)]
    # What never stands inside a word: then no word is like this.
    if any(re.search(rf"[^\w{_IN_LETTERS},;]", literal) for literal in literals):
        return None
    inner = "".join(
        _escaped(part) if isinstance(part, str) else (_INSIDE if part.many else f"[{_WORD}]")
        for part in parts
    )
    first, last = parts[0], parts[-1]
    start = _before(first[0]) if isinstance(first, str) else f"(?:^|[^{_WORD}])"
    end = _after(last[-1]) if isinstance(last, str) else f"(?:$|[^{_WORD}])"
    if isinstance(first, Wildcard) and first.many:
        start, inner = "", inner.removeprefix(_INSIDE)
    if isinstance(last, Wildcard) and last.many:
        end, inner = "", inner.removesuffix(_INSIDE)
    return Regex(start + inner + end, ignore_case=True)


def word_regex_test(pattern: str) -> Regex:
    """Return the test that one whole word of a text matches an expression."""
    return Regex(f"(?:^|[^{_WORD}])(?:{pattern})(?:$|[^{_WORD}])", ignore_case=True)


def whole_test(parts: Sequence[TermPart], *, cased: bool) -> Test:
    """Return the test that a value, whole, is like a pattern or, without wildcards, is a text."""
    if all(isinstance(part, str) for part in parts):
        return Equals("".join(map(str, parts)), cased=cased)
    listed: list[PatternPart] = []
    for part in parts:
        if isinstance(part, str):
            listed.append(Text(part))
        elif not part.many:
            listed.append(Any1())
        elif not listed or not isinstance(listed[-1], AnyRun):
            listed.append(AnyRun())
    return Like(tuple(listed), cased=cased)


def _before(first: str) -> str:
    joints = _IN_DIGITS if first.isdigit() else _IN_LETTERS
    kind = r"\p{N}" if first.isdigit() else r"\p{L}"
    if first == "_":
        return f"(?:^|[^{_WORD}])"
    return f"(?:^|[^{_WORD}{joints}]|(?:^|[^{kind}])[{joints}])"


def _after(last: str) -> str:
    joints = _IN_DIGITS if last.isdigit() else _IN_LETTERS
    kind = r"\p{N}" if last.isdigit() else r"\p{L}"
    if last == "_":
        return f"(?:$|[^{_WORD}])"
    return f"(?:$|[^{_WORD}{joints}]|[{joints}](?:$|[^{kind}]))"


def _between(last: str, first: str) -> str:
    if last.isdigit() != first.isdigit() or "_" in (last, first):
        return f"[^{_WORD}]+"
    joints = _IN_DIGITS if last.isdigit() else _IN_LETTERS
    return f"(?:[^{_WORD}]{{2,}}|[^{_WORD}{joints}])"


def _escaped(literal: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], literal)


class UnknownExpression(ValueError):
    """A regular expression that Lucene knows and this engine does not, or that is none."""


_LUCENE_ONLY = {
    "&": "intersection (&)",
    "~": "complement (~)",
    "<": "a numeric interval (<1-9>)",
    "@": "any string (@)",
    "#": "the empty language (#)",
}


def expression(pattern: str) -> str:
    """Translate a Lucene regular expression to RE2's syntax, without the anchors it implies.

    Elasticsearch 8 reference, "Regular expression syntax". `^` and `$` are plain characters
    there. Raises `UnknownExpression` for its own operators.
    """
    made: list[str] = []
    at = 0
    in_class = False
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern):
            escaped = pattern[at + 1]
            made.append("\\" + escaped if escaped in "dDwWsS" else _escaped(escaped))
            at += 2
            continue
        if in_class:
            in_class = character != "]"
            made.append("\\[" if character == "[" else character)
        elif character == "[":
            in_class = True
            made.append("[")
            if pattern[at + 1 : at + 2] == "^":
                made.append("^")
                at += 1
        elif character == '"':
            end = pattern.find('"', at + 1)
            if end < 0:
                raise UnknownExpression("a quotation mark that is not closed")
            made.append(_escaped(pattern[at + 1 : end]))
            at = end
        elif character in _LUCENE_ONLY:
            raise UnknownExpression(f"{_LUCENE_ONLY[character]} of Lucene's regular expressions")
        elif character in "^$":
            made.append("\\" + character)
        else:
            made.append(character)
        at += 1
    return "".join(made)
