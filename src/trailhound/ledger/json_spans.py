"""Where the scalars of JSON text stand, so that one can be replaced and no other byte changed.

It is total: text that breaks off, or is no JSON at all, gives the scalars that can be made out.
Keys that stand twice are seen twice.
"""

import json
import re
from collections.abc import Iterator

from msgspec import Struct

_DEPTH_LIMIT = 64
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[{}\[\],:]|[^\s"{}\[\],:]++', re.DOTALL)
_QUOTE = ord('"')


class Frame(Struct, eq=False):
    """An object or array that is open while the text is read."""

    is_object: bool
    key: str = ""
    """The key, or the index, of what is read in it now."""
    above: tuple[tuple["Frame", str], ...] = ()
    """The containers around it, each with the key or index it is under."""
    index: int = 0
    awaits_key: bool = True


class Scalar(Struct, frozen=True, eq=False):
    """A string, number or word, and where it stands."""

    start: int
    end: int
    """Bytes of it in the text, quotes included."""
    holder: Frame | None
    """The container it is in; None outside all."""
    key: str
    """The key, or the index, it is under there."""
    is_string: bool

    @property
    def path(self) -> tuple[tuple[Frame, str], ...]:
        """The containers it is in, from the outermost, each with the key or index it is under."""
        return () if self.holder is None else (*self.holder.above, (self.holder, self.key))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the objects it is in; indexes of arrays are left out."""
        return tuple(key for frame, key in self.path if frame.is_object)

    @property
    def place(self) -> str:
        """Its path for people: `requestObject.data.password`, `items[3].data.token`."""
        text = ""
        for frame, key in self.path:
            text += (f".{key}" if text else key) if frame.is_object else f"[{key}]"
        return text


def scalars(text: bytes) -> Iterator[Scalar]:
    """Yield the scalars of JSON text in order; keys are not among them."""
    stack: list[Frame] = []
    beyond = 0
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        mark = text[start]
        top = stack[-1] if stack else None
        if mark in b"{[":
            if len(stack) < _DEPTH_LIMIT:
                above = (*top.above, (top, top.key)) if top is not None else ()
                stack.append(Frame(mark == 0x7B, "" if mark == 0x7B else "0", above))
            else:
                beyond += 1
        elif mark in b"}]":
            if beyond:
                beyond -= 1
            elif stack:
                stack.pop()
        elif mark == 0x2C:
            if top is not None and not beyond:
                top.awaits_key = True
                top.index += 1
                if not top.is_object:
                    top.key = str(top.index)
        elif mark == 0x3A:
            if top is not None:
                top.awaits_key = False
        elif top is not None and top.is_object and top.awaits_key and mark == _QUOTE:
            if not beyond:
                top.key = string_value(text[start:end])
            top.awaits_key = False
        else:
            yield Scalar(start, end, top, "" if top is None else top.key, mark == _QUOTE)


def string_value(token: bytes) -> str:
    """Return what a JSON string says; bytes that are not UTF-8 become lone surrogates."""
    text = token.decode("utf-8", "surrogateescape")
    if "\\" not in text:
        return text[1:-1] if text.endswith('"') and len(text) > 1 else text[1:]
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return text.strip('"')
    return value if isinstance(value, str) else text


def string_token(value: str) -> bytes:
    """Return a JSON string that says `value`: the inverse of `string_value`."""
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return json.dumps(value).encode()
