"""Lucene query strings, parsed as Elasticsearch's `query_string` query parses them.

Grammar: Lucene 9, `org.apache.lucene.queryparser.classic.QueryParser`, with what Elasticsearch
adds (Elasticsearch 8 reference, "Query string query", "Query string syntax"). The operators of
Lucene have no precedence: each `AND`, `OR` and `NOT` only says of the clauses at its sides
whether they must, may or must not match, and that is what the tree keeps.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

_DEPTH_LIMIT = 64
_LENGTH_LIMIT = 200_000

Occur = Literal["must", "should", "must_not"]


class Wildcard(Struct, frozen=True):
    """`*` (any run of characters) or `?` (one character), where it is not escaped."""

    many: bool


TermPart = str | Wildcard


class Words(Struct, frozen=True):
    """A bare term or a quoted phrase."""

    field: str | None
    parts: tuple[TermPart, ...]
    """Text with escapes taken off, and wildcards; in a phrase, one text."""
    quoted: bool = False
    at: int = 0
    """0-based place in the query string."""

    @property
    def text(self) -> str | None:
        """The text, where there is no wildcard in it."""
        return "".join(str(p) for p in self.parts) if _plain(self.parts) else None


class Pattern(Struct, frozen=True):
    """A regular expression: `/ab?c/`."""

    field: str | None
    pattern: str
    at: int = 0


class Range(Struct, frozen=True):
    """`[low TO high}`; None is an open end."""

    field: str | None
    low: str | None
    high: str | None
    with_low: bool
    with_high: bool
    at: int = 0


class Clauses(Struct, frozen=True):
    """Clauses, each with whether it must, may or must not match.

    It matches where all that must do and none that must not does; where none must, at least
    one of those that may has to. Where all are "must not", the rest of the documents match
    (Elasticsearch, `Queries.fixNegativeQueryIfNeeded`).
    """

    items: tuple[tuple[Occur, "Query"], ...]


Leaf = Words | Pattern | Range
Query = Leaf | Clauses


class QueryError(ValueError):
    """The text is no query, or asks for what has no meaning here."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at
        """0-based place in the query string."""


def parse(text: str, *, default_operator: Literal["and", "or"] = "or") -> Query | None:
    """Parse a query string; None where it is empty. Raises `QueryError`."""
    if len(text) > _LENGTH_LIMIT:
        raise QueryError(f"a query of more than {_LENGTH_LIMIT:,} characters", 0)
    tokens = _tokens(text)
    if len(tokens) == 1:
        return None
    parser = _Parser(tokens, all_must=default_operator == "and")
    query = parser.clauses(None, 0)
    rest = parser.peek()
    if rest.kind != "end":
        raise QueryError(f"unexpected {rest.text!r}", rest.at)
    return query


# --- tokens --------------------------------------------------------------------------------


class _Token(NamedTuple):
    kind: str
    text: str
    at: int
    parts: tuple[TermPart, ...] = ()


_SPACE = re.compile(r"[ \t\n\r\u3000]*")
_ESCAPED = r"\\[\s\S]"
_START = rf"(?:[^ \t\n\r\u3000+\-!():^\[\]\"{{}}~*?\\/]|{_ESCAPED})"
_TERM = re.compile(rf"(?:{_START}|[*?])(?:{_START}|[-+*?])*")
_QUOTED = re.compile(rf'"(?:[^"\\]|{_ESCAPED})*"')
_REGEX = re.compile(r"/(?:[^/\\]|\\[\s\S])*/")
_BARE_OPERATOR = re.compile(r"[+\-!](?=[ \t\n\r\u3000])")
_FUZZY = re.compile(r"~(?:\d+(?:\.\d+)?)?")
_BOOST = re.compile(r"\^\d+(?:\.\d+)?")
_RANGE = re.compile(
    r"""(?P<open>[\[{])\s*
        (?P<low>"(?:[^"\\]|\\.)*"|[^\s\]}"]+)\s+TO\s+
        (?P<high>"(?:[^"\\]|\\.)*"|[^\s\]}"]+)\s*
        (?P<close>[\]}])""",
    re.VERBOSE,
)
_WORDS = {"AND": "and", "&&": "and", "OR": "or", "||": "or", "NOT": "not"}
_SIGNS = {"+": "+", "-": "-", "!": "not", "(": "(", ")": ")", ":": ":"}


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while True:
        at = _end(_SPACE, text, at)
        if at >= len(text):
            tokens.append(_Token("end", "the end of the query", at))
            return tokens
        token = _token(text, at)
        tokens.append(token)
        at += len(token.text)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _token(text: str, at: int) -> _Token:
    if found := _TERM.match(text, at):
        image = found[0]
        kind = _WORDS.get(image, "term")
        return _Token(kind, image, at, parts_of(image) if kind == "term" else ())
    if found := _BARE_OPERATOR.match(text, at):
        return _Token("term", found[0], at, (found[0],))
    character = text[at]
    if character in _SIGNS:
        return _Token(_SIGNS[character], character, at)
    for kind, pattern, why in (
        ("quoted", _QUOTED, "a quotation mark that is not closed"),
        (
            "regex",
            _REGEX,
            r"a slash that begins a regular expression and is not closed; a plain one is \/",
        ),
        ("range", _RANGE, "a range that is not of the form [low TO high]"),
        ("fuzzy", _FUZZY, "~"),
        ("boost", _BOOST, "a boost without its number"),
    ):
        if character in _BEGINS[kind]:
            if found := pattern.match(text, at):
                return _Token(kind, found[0], at)
            raise QueryError(why, at)
    raise QueryError(f"unexpected {character!r}", at)


_BEGINS = {"quoted": '"', "regex": "/", "range": "[{", "fuzzy": "~", "boost": "^"}


def parts_of(image: str) -> tuple[TermPart, ...]:
    """Cut a text at its wildcards, and take escapes off."""
    parts: list[TermPart] = []
    for found in re.finditer(r"\\([\s\S])|([*?])|([^\\*?]+)", image):
        escaped, wildcard, literal = found.groups()
        if wildcard:
            parts.append(Wildcard(many=wildcard == "*"))
        elif parts and isinstance(parts[-1], str):
            parts[-1] += escaped or literal
        else:
            parts.append(escaped or literal)
    return tuple(parts)


def _unescaped(image: str) -> str:
    return re.sub(r"\\([\s\S])", r"\1", image)


def _plain(parts: Sequence[TermPart]) -> bool:
    return all(isinstance(part, str) for part in parts)


# --- clauses -------------------------------------------------------------------------------


class _Parser:
    def __init__(self, tokens: list[_Token], *, all_must: bool) -> None:
        self._tokens = tokens
        self._at = 0
        self._all_must = all_must

    def peek(self, ahead: int = 0) -> _Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self) -> _Token:
        token = self.peek()
        self._at += 1
        return token

    def clauses(self, field: str | None, depth: int) -> Query:
        """Read clauses up to a closing parenthesis or the end."""
        if depth > _DEPTH_LIMIT:
            raise QueryError("too deeply nested", self.peek().at)
        items: list[tuple[Occur, Query]] = []
        while self.peek().kind not in (")", "end"):
            joint = ""
            if items and self.peek().kind in ("and", "or"):
                joint = self._take().kind
            sign = ""
            if self.peek().kind in ("+", "-", "not"):
                sign = self._take().kind
            self._add(items, joint, sign, self._clause(field, depth))
        if not items:
            raise QueryError(f"a clause is missing before {self.peek().text!r}", self.peek().at)
        if len(items) == 1 and items[0][0] != "must_not":
            return items[0][1]
        return Clauses(tuple(items))

    def _add(self, items: list[tuple[Occur, Query]], joint: str, sign: str, query: Query) -> None:
        # `QueryParserBase.addClause`: an operator also changes the clause before it.
        if items and items[-1][0] != "must_not":
            if joint == "and":
                items[-1] = ("must", items[-1][1])
            elif joint == "or" and self._all_must:
                items[-1] = ("should", items[-1][1])
        occur: Occur
        if sign in ("-", "not"):
            occur = "must_not"
        elif sign == "+" or joint == "and" or (self._all_must and joint != "or"):
            occur = "must"
        else:
            occur = "should"
        items.append((occur, query))

    def _clause(self, field: str | None, depth: int) -> Query:
        token = self.peek()
        if token.kind == "term" and self.peek(1).kind == ":":
            if not _plain(token.parts) and token.parts != (Wildcard(many=True),):
                raise QueryError("a wildcard in the name of a field", token.at)
            field = _unescaped(token.text)
            self._at += 2
            token = self.peek()
        if token.kind == "(":
            self._at += 1
            query = self.clauses(field, depth + 1)
            if self.peek().kind != ")":
                raise QueryError("a parenthesis that is not closed", token.at)
            self._at += 1
        else:
            query = self._term(field)
        self._suffixes()
        return query

    def _term(self, field: str | None) -> Query:
        token = self._take()
        if token.kind == "term":
            comparison = re.match(r"(>=|<=|>|<)(?=.)", token.text)
            if comparison and _plain(token.parts):
                sign = comparison[0]
                bound = _unescaped(token.text[len(sign) :])
                low, high = (bound, None) if sign[0] == ">" else (None, bound)
                return Range(field, low, high, sign == ">=", sign == "<=", token.at)
            return Words(field, token.parts, at=token.at)
        if token.kind == "quoted":
            return Words(field, (_unescaped(token.text[1:-1]),), quoted=True, at=token.at)
        if token.kind == "regex":
            return Pattern(field, token.text[1:-1].replace(r"\/", "/"), token.at)
        if token.kind == "range":
            return _range(field, token)
        raise QueryError(f"a word or a value is missing before {token.text!r}", token.at)

    def _suffixes(self) -> None:
        while self.peek().kind in ("fuzzy", "boost"):
            token = self._take()
            # A boost changes the order of results, of which there is none here.
            if token.kind == "fuzzy" and token.text != "~0":
                raise QueryError("fuzziness and phrase slop (~) are not supported", token.at)


def _range(field: str | None, token: _Token) -> Range:
    found = _RANGE.fullmatch(token.text)
    if found is None:
        raise QueryError("a range that is not of the form [low TO high]", token.at)

    def bound(image: str) -> str | None:
        if image == "*":
            return None
        return _unescaped(image[1:-1] if image.startswith('"') else image)

    return Range(
        field,
        bound(found["low"]),
        bound(found["high"]),
        found["open"] == "[",
        found["close"] == "]",
        token.at,
    )
