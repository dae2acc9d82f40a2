"""Falco's condition language: text to tree.

The grammar is that of the class `parser` in `userspace/libsinsp/filter/parser.h` of
falcosecurity/libs (0.20): `not` binds closer than `and`, `and` closer than `or`; strings are bare
or quoted with escapes; the right side of a comparison may be a field in `val(...)` or in another
transformer. Positions are offsets into the text.
"""

import re
from collections.abc import Callable

from trailhound.dialects.falco.condition import (
    ARGUMENT,
    LIST_OPERATORS,
    NUMBER_OPERATORS,
    OPERATORS,
    SIGN_OPERATORS,
    TRANSFORMERS,
    WORD_OPERATORS,
    Call,
    Check,
    FieldRef,
    Junction,
    Named,
    Negation,
    Node,
    Operand,
    Value,
)

_UNKNOWN_TRANSFORMERS = ("join", "concat", "getopt")
DEPTH_LIMIT = 48
_BLANK = re.compile(r"[ \t\b\r\n]*")
_NOT = re.compile(r"not[ \t\n\v\f\r]+")
_IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_FIELD = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)+")
_NUMBER = re.compile(r"0[xX][0-9a-zA-Z]+|[+\-]?[0-9]+\.?[0-9]*(?:[eE][+\-][0-9]+)?")
_BARE = re.compile(r"""[^()"' \t\n\v\f\r=,]+""")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "/": "/"}


class ConditionError(ValueError):
    """The text is no condition; says why and at which offset."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def parse(text: str) -> Node:
    """Parse a condition. Raises `ConditionError`."""
    parser = _Parser(text)
    node = parser.either()
    if parser.at < len(text):
        raise parser.error("expected `and`, `or` or the end of the condition")
    return node


def parse_operand(text: str) -> Operand:
    """Parse a field, with its argument, or a transformer over one. Raises `ConditionError`."""
    parser = _Parser(text)
    parser.blank()
    operand = parser.operand()
    parser.blank()
    if operand is None or parser.at < len(text):
        raise ConditionError(f"{text!r} is not a field", 0)
    return operand


def unquoted(text: str) -> Value:
    """Read an item of a list or an exception: quotes around it are those of the condition."""
    if len(text) > 1 and text[0] in "\"'":
        parser = _Parser(text)
        value = parser.quoted()
        if value is not None and parser.at == len(text):
            return Value(value, quoted=True)
    return Value(text)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._depth = 0

    def error(self, reason: str, at: int | None = None) -> ConditionError:
        return ConditionError(reason, self.at if at is None else at)

    # --- conditions ----------------------------------------------------------------------

    def either(self) -> Node:
        return self._joined("or", self._both)

    def _both(self) -> Node:
        return self._joined("and", self._negated)

    def _joined(self, word: str, parse_inner: Callable[[], Node]) -> Node:
        self.blank()
        items = [parse_inner()]
        self.blank()
        while self._literal(word):
            if self.blank():
                items.append(parse_inner())
            elif self._literal("("):
                items.append(self._embedded())
            else:
                raise self.error(f"expected a blank or `(` after `{word}`")
            self.blank()
        return items[0] if len(items) == 1 else Junction(word, tuple(items))

    def _negated(self) -> Node:
        negated = False
        self.blank()
        while self._match(_NOT) is not None:
            negated = not negated
        if self._literal("not("):
            negated = not negated
            node = self._embedded()
        else:
            node = self._check()
        return Negation(node) if negated else node

    def _embedded(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self.error(f"nested deeper than {DEPTH_LIMIT} parentheses")
        node = self.either()
        self.blank()
        if not self._literal(")"):
            raise self.error("expected `)`")
        self._depth -= 1
        return node

    def _check(self) -> Node:
        self.blank()
        start = self.at
        if self._literal("("):
            return self._embedded()
        left = self.operand()
        if left is not None:
            return self._comparison(left, start)
        name = self._match(_IDENTIFIER)
        if name is None:
            raise self.error("expected `(`, a field, or the name of a macro")
        return Named(name, start)

    def _comparison(self, left: Operand, start: int) -> Check:
        self.blank()
        at = self.at
        if self._literal("exists"):
            return Check(left, "exists", (), start)
        for operator in NUMBER_OPERATORS:
            if self._literal(operator):
                return Check(left, operator, self._number(), start)
        for operator in SIGN_OPERATORS:
            if self._literal(operator):
                return Check(left, operator, self._string(), start)
        for operator in WORD_OPERATORS:
            if self._literal(operator):
                if not self.blank():
                    raise self.error(f"expected a blank after `{operator}`")
                return Check(left, operator, self._string(), start)
        for operator in LIST_OPERATORS:
            if self._literal(operator):
                return Check(left, operator, self._list(), start)
        raise self.error(f"expected an operator: one of {', '.join(OPERATORS)}", at)

    # --- operands ------------------------------------------------------------------------

    def operand(self, *, val: bool = False) -> Operand | None:
        start = self.at
        # On the right side a bare word is a text, whatever it looks like.
        name = None if val else self._match(_FIELD)
        if name is not None:
            return self._field(name, start)
        for transformer in (*TRANSFORMERS, *(("val",) if val else ())):
            if self._literal(transformer + "("):
                return self._call(transformer, start)
        for transformer in _UNKNOWN_TRANSFORMERS:
            if self._literal(transformer + "("):
                raise self.error(f"transformer `{transformer}` is not supported here", start)
        return None

    def _call(self, name: str, start: int) -> Operand:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self.error(f"nested deeper than {DEPTH_LIMIT} parentheses")
        self.blank()
        inner = self.operand()
        if inner is None:
            raise self.error(f"expected a field in `{name}(...)`")
        self.blank()
        if not self._literal(")"):
            raise self.error(f"expected `)` to close `{name}(`")
        self._depth -= 1
        return inner if name == "val" else Call(name, inner, start)

    def _field(self, name: str, start: int) -> FieldRef:
        if not self._literal("["):
            return FieldRef(name, None, start)
        argument = self.quoted()
        if argument is None:
            argument = self._match(ARGUMENT)
        if argument is None:
            raise self.error("expected the argument of the field: a bare or quoted text")
        if not self._literal("]"):
            raise self.error("expected `]`")
        return FieldRef(name, argument, start)

    def _number(self) -> tuple[Value, ...] | Operand:
        self.blank()
        at = self.at
        other = self.operand(val=True)
        if other is not None:
            return other
        number = self._match(_NUMBER)
        if number is None:
            raise self.error("expected a number, or a field in `val(...)`")
        return (Value(number, quoted=True, at=at),)

    def _string(self) -> tuple[Value, ...] | Operand:
        self.blank()
        other = self.operand(val=True)
        return other if other is not None else (self._value(),)

    def _list(self) -> tuple[Value, ...] | Operand:
        self.blank()
        at = self.at
        if self._literal("("):
            values: list[Value] = []
            self.blank()
            while not self._literal(")"):
                if values and not self._literal(","):
                    raise self.error("expected `,` or `)`")
                self.blank()
                values.append(self._value())
                self.blank()
            return tuple(values)
        other = self.operand(val=True)
        if other is not None:
            return other
        name = self._match(_IDENTIFIER)
        if name is None:
            raise self.error("expected a list in parentheses, or the name of one")
        return (Value(name, at=at),)

    def _value(self) -> Value:
        at = self.at
        text = self.quoted()
        if text is not None:
            return Value(text, quoted=True, at=at)
        text = self._match(_BARE)
        if text is None:
            raise self.error("expected a text, bare or in quotes")
        return Value(text, at=at)

    def quoted(self) -> str | None:
        if self.text[self.at : self.at + 1] not in ("'", '"'):
            return None
        quote = self.text[self.at]
        parts: list[str] = []
        index = self.at + 1
        while index < len(self.text):
            char = self.text[index]
            if char == quote:
                self.at = index + 1
                return "".join(parts)
            if char == "\\":
                index += 1
                parts.append(self._escape(index, quote))
            else:
                parts.append(char)
            index += 1
        raise self.error("a quoted text is not closed")

    def _escape(self, index: int, quote: str) -> str:
        char = self.text[index : index + 1]
        if char == quote:
            return quote
        if char == " ":  # as in Falco, for rules that escape what needs no escape
            return "\\"
        known = _ESCAPES.get(char)
        if known is None:
            raise self.error(f"unknown escape \\{char} in a quoted text", index - 1)
        return known

    # --- tokens --------------------------------------------------------------------------

    def blank(self) -> bool:
        found = _BLANK.match(self.text, self.at)
        end = found.end() if found else self.at
        moved = end > self.at
        self.at = end
        return moved

    def _literal(self, word: str) -> bool:
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]
