"""JSON nested deeper than recursive parsers take."""

import json
import re
from collections.abc import Callable
from typing import Any

LEVELS_KEPT = 200
"""Nesting that is kept. No log field lies nearly as deep."""

DEEP_MARKER = f"[nesting beyond {LEVELS_KEPT} levels]"
"""Stands for what lay deeper."""

STRUCTURE = r'"(?:[^"\\]++|\\.)*+"?|[\[{]++|[\]}]++'
"""Strings, which may hold brackets, and runs of brackets: what a depth is counted by."""

Members = Callable[[list[tuple[str, Any]]], Any]

_STRUCTURE = re.compile(STRUCTURE, re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*+")


def is_deep(text: str) -> bool:
    """Whether arrays and objects nest beyond `LEVELS_KEPT`."""
    if text.count("{") + text.count("[") <= LEVELS_KEPT:
        return False
    depth = 0
    for token in _STRUCTURE.finditer(text):
        kind = text[token.start()]
        if kind in "{[":
            depth += token.end() - token.start()
            if depth > LEVELS_KEPT:
                return True
        elif kind in "}]":
            depth -= token.end() - token.start()
    return False


def parse_deep(text: str, decoder: json.JSONDecoder, members: Members) -> Any:
    """Parse without recursion; what lies deeper than `LEVELS_KEPT` becomes `DEEP_MARKER`.

    Args:
        text: the JSON text; blanks around it are allowed.
        decoder: reads keys and everything that is no container.
        members: makes an object of its members, in order, repeated keys included.

    Raises:
        json.JSONDecodeError: it is not JSON.
    """
    stack: list[tuple[list[Any], list[str] | None]] = []  # values, keys (None: an array)
    position = _skip_blanks(text, 0)
    while True:
        opening = text[position : position + 1]
        if opening not in ("{", "["):
            value, position = decoder.raw_decode(text, position)
        elif len(stack) == LEVELS_KEPT:
            value, position = DEEP_MARKER, _end_of_container(text, position)
        else:
            keys: list[str] | None = [] if opening == "{" else None
            position = _skip_blanks(text, position + 1)
            if text[position : position + 1] != ("]" if keys is None else "}"):
                if keys is not None:
                    position = _read_key(text, position, decoder, keys)
                stack.append(([], keys))
                continue
            value, position = ([] if keys is None else {}), position + 1
        while stack:
            values, keys = stack[-1]
            values.append(value)
            position = _skip_blanks(text, position)
            following = text[position : position + 1]
            if following == ",":
                position = _skip_blanks(text, position + 1)
                if keys is not None:
                    position = _read_key(text, position, decoder, keys)
                break
            if following != ("]" if keys is None else "}"):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
            position += 1
            stack.pop()
            value = values if keys is None else members(list(zip(keys, values, strict=True)))
        else:
            position = _skip_blanks(text, position)
            if position < len(text):
                raise json.JSONDecodeError("Extra data", text, position)
            return value


def _read_key(text: str, position: int, decoder: json.JSONDecoder, keys: list[str]) -> int:
    if text[position : position + 1] != '"':
        raise json.JSONDecodeError("Expecting property name in double quotes", text, position)
    key, position = decoder.raw_decode(text, position)
    keys.append(key)
    position = _skip_blanks(text, position)
    if text[position : position + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, position)
    return _skip_blanks(text, position + 1)


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return position if blanks is None else blanks.end()


def _end_of_container(text: str, start: int) -> int:
    depth = 0
    for token in _STRUCTURE.finditer(text, start):
        run = token.end() - token.start()
        kind = text[token.start()]
        if kind in "{[":
            depth += run
        elif kind in "}]":
            if run >= depth:
                return token.start() + depth
            depth -= run
    raise json.JSONDecodeError("Unclosed brackets", text, start)
