"""Documents as the JSON text that is stored, and whether SQL reads it as the engine does."""

import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import orjson
import re2

_LATIN = re2.Options()
_LATIN.encoding = re2.Options.Encoding.LATIN1  # it reads bytes as they are
# Not by `re`, which takes a hundred times as long: it is asked of every event.
_ODD = re2.compile(
    rb"\\u[0-9a-fA-F]{4}"  # control characters
    rb"|[\[,]\["  # a list as an element of a list
    # Numbers that are written in more ways than one: behind a key, or in a list. Digests of
    # images (`sha256:4e…`) stand in strings, where no quote comes before a colon.
    rb'|":-?[0-9][0-9.]*[eE]'
    rb"|[\[,]-?[0-9][0-9.]*[eE][-+0-9]+[,\]]",
    _LATIN,
)
_ODD_LETTERS = re.compile(r"[İΣ]|(?![0-9])\d")
_INTEGER_BITS = 13_000
"""Below what Python writes in decimal (4,300 digits)."""


def encode(document: Any) -> tuple[str, bool]:
    """Return a document as JSON text, and whether SQL gives it the engine's verdict.

    False where DuckDB and Python differ, or may: control characters, lists inside lists,
    integers beyond 64 bits, floats with an exponent, lone surrogates, `İ` and `Σ` (whose lower
    case depends on what stands around), digits that are not ASCII. Such documents are rare, and
    the engine judges them whole. A text that merely looks like one of these may be among them.
    Half of a surrogate pair, which no Unicode text can hold, becomes U+FFFD.
    """
    try:
        data = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits and lone surrogates
        return _in_full(document), False
    text = data.decode()
    exact = _ODD.search(data) is None
    if exact and len(text) != len(data):
        exact = _ODD_LETTERS.search(text) is None
    return text, exact


def inexact(texts: Sequence[bytes]) -> set[int]:
    """Return the indices of the texts of which `encode` says that they are not exact.

    Args:
        texts: documents as `encode` wrote them, from JSON that holds nothing but what it says.
    """
    joined = b"\n".join(texts)
    ends = list(accumulate(len(text) + 1 for text in texts))
    odd = {bisect_left(ends, found.start() + 1) for found in _ODD.finditer(joined)}
    if not joined.isascii():
        odd.update(
            index
            for index, text in enumerate(texts)
            if not text.isascii() and _ODD_LETTERS.search(text.decode()) is not None
        )
    return odd


def _in_full(document: Any) -> str:
    plain = _writable(document)
    return json.dumps(plain, default=str, separators=(",", ":"), ensure_ascii=False)


def _writable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_writable(str(key)): _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        return hex(value)
    return value
