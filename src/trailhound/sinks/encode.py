"""Any value a log or a rule may hold → JSON that every reader accepts (RFC 8259)."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

_DEPTH_LIMIT = 100
_INTEGER_BITS_LIMIT = 4096
# Legal in JSON, and yet able to drive a terminal or to reorder a line when the JSON is shown.
_UNPRINTED = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def json_text(value: Any) -> str:
    r"""Return `value` as JSON on one line; total over anything a parser may have produced.

    What JSON cannot say is said differently rather than refused: a lone surrogate becomes its
    escape as text (`\udc80`), NaN and infinities null, whatever is nested more than 100 deep
    or an integer of more than 4096 bits a note in its place. Unprintable characters beyond
    the C0 controls are escaped too, which every JSON reader undoes.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:
        data = orjson.dumps(_clean(value, _DEPTH_LIMIT))
    return printable(data)


def printable(data: bytes) -> str:
    """Return JSON as `json_text` does that `orjson.dumps` wrote."""
    text = data.decode()
    return text if text.isascii() and "\x7f" not in text else _UNPRINTED.sub(_escape, text)


def fragment(text: str | bytes) -> Any:
    """Return JSON text to be set into another value as it is, for `json_text`."""
    return orjson.Fragment(text.encode() if isinstance(text, str) else text)


def _clean(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | float | orjson.Fragment):
        return value
    if isinstance(value, str):
        return _SURROGATE.sub(_escape_surrogate, value)
    if isinstance(value, int):
        return _integer(int(value))
    if depth == 0:
        return "… nested too deep to show"
    if isinstance(value, Mapping):
        return {_key(key): _clean(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth - 1) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return _SURROGATE.sub(_escape_surrogate, str(value))


def _integer(value: int) -> Any:
    if -(2**63) <= value < 2**64:
        return value
    if value.bit_length() > _INTEGER_BITS_LIMIT:
        return f"… an integer of {value.bit_length():,} bits"
    return orjson.Fragment(str(value).encode())


def _key(key: Any) -> str:
    return _SURROGATE.sub(_escape_surrogate, key if isinstance(key, str) else str(key))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _escape_surrogate(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
