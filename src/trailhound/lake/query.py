"""The query language: `actor:alice action:exec* NOT src_ip:10.0.0.0/8 last:7d "free text"`.

    query    = either *( "OR" either )
    either   = 1*( [ "AND" ] term )
    term     = [ "NOT" / "-" ] ( "(" query ")" / name ":" value / value )
    value    = quoted / 1*( any character but blanks, quotes and parentheses )

`docs/hunt.md` says what names and values mean. A query becomes a predicate of the rule IR.
"""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from trailhound.lake.schema import ENVELOPE
from trailhound.lake.select import ENVELOPE_STEP, VIEWS_STEP
from trailhound.model.errors import TrailhoundError
from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    InNetwork,
    Keyword,
    Like,
    Not,
    Number,
    Or,
    PatternPart,
    Predicate,
    Text,
)

NAMES: dict[str, str] = {
    "actor": "actor_name",
    "target": "target_name",
    "type": "target_type",
    "namespace": "target_namespace",
    "session": "session_uid",
    "request": "request_uid",
    "host": "device",
    "ip": "src_ip",
    **{name: name for name, kind in ENVELOPE if kind != "VARCHAR[]"},
}
"""Names of envelope columns in a query → column."""
_OUTCOMES = {"unknown": 0, "success": 1, "failure": 2}
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<bracket>[()])
    | (?P<minus>-)(?=["(\w.@])
    | (?:(?P<name>[^\s"():]+):)?(?P<quoted>"(?:[^"\\]|\\.)*")
    | (?P<bare>[^\s"()]+)
    )""",
    re.VERBOSE,
)
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OPERATORS: dict[str, Literal["lt", "lte", "gt", "gte"]] = {
    ">=": "gte",
    "<=": "lte",
    ">": "gt",
    "<": "lt",
}
_DEPTH = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Query(Struct, frozen=True):
    """A query, read."""

    predicate: Predicate
    """Over the document; its envelope stands at `@`, its views at `@views`."""
    sources: tuple[str, ...] = ()
    """Empty: all."""
    since_ns: int | None = None
    until_ns: int | None = None


class _Token(Struct, frozen=True):
    kind: Literal["(", ")", "-", "word", "end"]
    name: str = ""
    value: str = ""
    quoted: bool = False
    column: int = 0


def parse(text: str, now_ns: int, views: Sequence[str] = ()) -> Query:
    """Read a query.

    Args:
        text: what the user typed.
        now_ns: what `last:7d` counts back from, UTC nanoseconds.
        views: views in which a field is looked for beside the document.

    Raises:
        TrailhoundError: it is no query; the message says where.
    """
    return _Parser(_tokens(text), now_ns, views).query()


def moment_ns(text: str, now_ns: int) -> int:
    """Read a time: ISO 8601 (UTC where it has no zone), or a span before now such as `7d`.

    Raises:
        TrailhoundError: it is neither.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            back = timedelta(**{_UNITS[span[2]]: int(span[1])})
            return now_ns - back // timedelta(microseconds=1) * 1000
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise TrailhoundError(
            f"{text!r} is no time: write 2026-11-12, 2026-11-12T17:20Z, or 7d, 24h, 30m"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise TrailhoundError(f"the query breaks off at column {at + 1}: a quote is not closed")
        column = found.start(found.lastgroup or 0) + 1
        at = found.end()
        if found["bracket"]:
            tokens.append(_Token("(" if found["bracket"] == "(" else ")", column=column))
        elif found["minus"]:
            tokens.append(_Token("-", column=column))
        elif found["quoted"]:
            value = re.sub(r"\\(.)", r"\1", found["quoted"][1:-1], flags=re.DOTALL)
            tokens.append(_Token("word", found["name"] or "", value, quoted=True, column=column))
        else:
            name, colon, value = found["bare"].partition(":")
            named = bool(colon and name)
            tokens.append(
                _Token(
                    "word",
                    name if named else "",
                    value if named else found["bare"],
                    column=column,
                )
            )
    tokens.append(_Token("end", column=end + 1))
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], now_ns: int, views: Sequence[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._now_ns = now_ns
        self._views = views
        self._depth = 0
        self._sources: list[str] = []
        self._since: int | None = None
        self._until: int | None = None

    def query(self) -> Query:
        predicate = self._or(top=True)
        token = self._peek()
        if token.kind != "end":
            raise TrailhoundError(f"a closing bracket too many at column {token.column}")
        return Query(predicate, tuple(self._sources), self._since, self._until)

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is(self, word: str) -> bool:
        token = self._peek()
        return token.kind == "word" and not token.name and not token.quoted and token.value == word

    def _or(self, *, top: bool = False) -> Predicate:
        items = [self._and(top=top)]
        while self._is("OR"):
            if top and (self._sources, self._since, self._until) != ([], None, None):
                raise TrailhoundError(
                    "source:, last:, since: and until: limit the whole query: "
                    "put the alternatives in brackets"
                )
            self._next()
            items.append(self._and(top=False))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _and(self, *, top: bool) -> Predicate:
        items: list[Predicate] = []
        while True:
            token = self._peek()
            if token.kind in ("end", ")") or self._is("OR"):
                break
            if self._is("AND"):
                self._next()
                continue
            found = self._term(top=top)
            if found is not None:
                items.append(found)
        return items[0] if len(items) == 1 else And(tuple(items))

    def _term(self, *, top: bool) -> Predicate | None:
        if self._is("NOT") or self._peek().kind == "-":
            self._next()
            found = self._term(top=False)
            return None if found is None else Not(found)
        token = self._next()
        if token.kind == "(":
            self._depth += 1
            if self._depth > _DEPTH:
                raise TrailhoundError(f"more than {_DEPTH} brackets inside one another")
            inner = self._or()
            if self._next().kind != ")":
                raise TrailhoundError(f"the bracket at column {token.column} is not closed")
            self._depth -= 1
            return inner
        if token.kind != "word":
            raise TrailhoundError(f"something is missing at column {token.column}")
        if token.name in ("source", "last", "since", "until"):
            self._limit(token, top=top)
            return None
        if not token.name:
            return Keyword(Like((AnyRun(), *_parts(token), AnyRun())))
        if not token.value and not token.quoted:
            raise TrailhoundError(f"{token.name}: at column {token.column} has no value")
        return self._compare(token)

    def _limit(self, token: _Token, *, top: bool) -> None:
        if not top:
            raise TrailhoundError(
                f"{token.name}: at column {token.column} limits the whole query: it cannot stand "
                "behind NOT, OR or in brackets"
            )
        if token.name == "source":
            self._sources.extend(token.value.split(","))
        elif token.name == "until":
            self._until = moment_ns(token.value, self._now_ns)
        elif token.name == "last" and _SPAN.fullmatch(token.value) is None:
            raise TrailhoundError(f"last:{token.value} is no span: write 7d, 24h, 30m")
        else:
            self._since = moment_ns(token.value, self._now_ns)

    def _compare(self, token: _Token) -> Predicate:
        at = self._field(token.name)
        value = token.value
        if token.quoted:
            return Compare(at, Equals(value))
        if value == "*":
            return Exists(at)
        if token.name == "outcome" and value.lower() in _OUTCOMES:
            return Compare(at, Equals(_OUTCOMES[value.lower()]))
        for sign, operator in _OPERATORS.items():
            if value.startswith(sign):
                try:
                    return Compare(at, Number(operator, float(value[len(sign) :])))
                except ValueError:
                    raise TrailhoundError(f"{token.name}:{value} compares with no number") from None
        if "/" in value:
            try:
                return Compare(at, InNetwork(str(ipaddress.ip_network(value, strict=False))))
            except ValueError as error:
                if _is_address(value.partition("/")[0]):
                    raise TrailhoundError(f"{token.name}:{value} is no network: {error}") from None
        parts = _parts(token)
        if all(isinstance(part, Text) for part in parts):
            return Compare(at, Equals("".join(p.text for p in parts if isinstance(p, Text))))
        return Compare(at, Like(parts))

    def _field(self, name: str) -> Field:
        column = NAMES.get(name)
        if column is not None:
            return Field(name, ((ENVELOPE_STEP, column),))
        path = tuple(name.removeprefix(".").split("."))
        return Field(name, (path, *((VIEWS_STEP, view, *path) for view in self._views)))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _parts(token: _Token) -> tuple[PatternPart, ...]:
    if token.quoted:
        return (Text(token.value),)
    parts: list[PatternPart] = []
    for piece in re.findall(r"\\.|[*?]|[^*?\\]+|\\", token.value, re.DOTALL):
        if piece == "*":
            parts.append(AnyRun())
        elif piece == "?":
            parts.append(Any1())
        else:
            parts.append(Text(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece))
    return tuple(parts)
