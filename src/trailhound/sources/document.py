"""Bytes to a JSON document: exact, and proof against what a hostile writer puts there.

JSON is RFC 8259. Readers of JSON differ where that text leaves them free (section 4,
repeated names; section 6, range of numbers; section 8.2, lone surrogates). An attacker who
can make two readers differ can hide a value from one of them. So a line is either proven
free of all that, or read exactly, with each oddity named.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from msgspec import Struct

from trailhound.sources.deep_json import LEVELS_KEPT, STRUCTURE, is_deep, parse_deep

READINGS_KEPT = 16
"""Readings of one document that repeats keys."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_DIGITS_READ = 4300
"""CPython reads no longer integer from text (`sys.int_info.default_max_str_digits`)."""
_READINGS_BUDGET_BYTES = 1 << 24
_GO_ESCAPES = {b"\\u0026": b"&", b"\\u003c": b"<", b"\\u003e": b">"}
_GO_ESCAPE = re.compile(rb"\\u00(?:26|3c|3e)")
_CONTROL = re.compile(r"[\x00-\x1f]")
_STRUCTURE = re.compile(STRUCTURE.encode(), re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class Anomaly(Struct, frozen=True):
    """Something odd in a document that was read all the same."""

    reason: str
    """Short stable words: `duplicate key`."""
    detail: str
    """One sentence for a person. Quotes the log in `repr` form."""


class Reading(Struct, frozen=True):
    """What a JSON text says."""

    readings: tuple[Any, ...]
    """The document; where it repeats keys, first as the last of them says (RFC 8259 section
    4: what most readers do), then by the first, the second and so on. At most
    `READINGS_KEPT`; if that is too few, the last one lists all values of each such key."""
    anomalies: tuple[Anomaly, ...] = ()


class JsonFailure(ValueError):
    """Nothing could be read."""

    def __init__(self, reason: str, detail: str, *, has_more: bool = False) -> None:
        """Make a failure.

        Args:
            reason: short stable words.
            detail: one sentence, with the position.
            has_more: a whole document was read, and something follows it.
        """
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.has_more = has_more


def read_json(data: bytes) -> Reading:
    """Read one JSON text.

    Numbers that no float or 64-bit integer holds (`1e999`, integers of more than 4300
    digits, NaN and Infinity) stay as text, as written; shorter integers are exact.

    Raises:
        JsonFailure: it is not JSON.
    """
    clean = read_clean(data)
    return read_exactly(data) if clean is None else Reading((clean[0],))


def read_clean(data: bytes) -> tuple[Any, bytes] | None:
    """Read one JSON text that can be read in one way only; None for all others.

    Returns:
        The document, and its text as `orjson.dumps` writes it.
    """
    data = data.removeprefix(_BOM)
    try:
        document = orjson.loads(data)
        written = orjson.dumps(document)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return (document, written) if _is_clean(data, written) else None


def documents_in(data: bytes) -> Iterator[bytes]:
    """Cut a line on which JSON objects follow one another, with or without a space.

    Amazon Data Firehose joins records so when it writes them to S3. What follows the last
    whole document comes out as it is.
    """
    start = depth = position = 0
    while token := _STRUCTURE.search(data, position):
        position = token.end()
        run = position - token.start()
        kind = data[token.start()]
        if kind in b"{[":
            depth += run
        elif kind in b"}]":
            if depth == 0:
                break
            if run < depth:
                depth -= run
                continue
            position = token.start() + depth
            depth = 0
            yield data[start:position]
            start = position
    if rest := data[start:].strip(_BLANKS):
        yield rest


def _is_clean(data: bytes, written: bytes) -> bool:
    """Whether `data` says just what `written` says, which is its document written anew.

    The two are compared after blanks are deleted from both, inside strings too. If they are
    then equal, they have the same tokens, so every key of the one is in the other and no
    number changed; and what stands inside strings was read from `data`.
    """
    if data == written:
        return True
    data = without_go_escapes(data)
    if data == written:
        return True
    return data.translate(None, _BLANKS) == written.translate(None, _BLANKS)


def without_go_escapes(data: bytes) -> bytes:
    r"""Return JSON text with `&`, `<` and `>` as they are, which Go's `encoding/json` escapes.

    A wrong replacement (of `\\u0026`, a backslash and five characters) leaves an escape that no
    writer emits, so it can only fail to compare with what one wrote.
    """
    if b"\\u00" not in data:
        return data
    return _GO_ESCAPE.sub(lambda found: _GO_ESCAPES[found[0]], data)


def read_exactly(data: bytes) -> Reading:
    """Read one JSON text as `read_json` does, whatever is odd about it."""
    data = data.removeprefix(_BOM)
    found: dict[str, str] = {}
    bare = data.strip(_BLANKS + b"\0")
    if len(bare) < len(data.strip(_BLANKS)):
        found["control character"] = "NUL bytes stand around the document"
    try:
        text = bare.decode()
    except UnicodeDecodeError as error:
        text = bare.decode(errors="replace")
        found["invalid UTF-8"] = f"{error.reason} at byte {error.start + 1}"
    if "\\ud" in text or "\\uD" in text:
        text, count = _without_lone_surrogates(text)
        if count:
            found["lone surrogate"] = f"{count} escaped half characters became U+FFFD"
    deep = is_deep(text)
    if deep:
        found[f"nesting beyond {LEVELS_KEPT}"] = f"what lies deeper than {LEVELS_KEPT} is left out"
    oddities = _Oddities(found)
    try:
        document = _parse(text, oddities, deep=deep, strict=True)
    except json.JSONDecodeError as error:
        if _CONTROL.search(text) is None:
            raise _failure(error) from None
        found["control character"] = "a control character stands unescaped in a string"
        oddities = _Oddities(found)
        try:
            document = _parse(text, oddities, deep=deep, strict=False)
        except json.JSONDecodeError as again:
            raise _failure(again) from None
    anomalies = tuple(Anomaly(reason, detail) for reason, detail in oddities.found.items())
    return Reading(_readings(document, oddities.most_repeated, len(data)), anomalies)


def _failure(error: json.JSONDecodeError) -> JsonFailure:
    what = error.msg.removesuffix(" at")
    detail = f"{what} after character {error.pos} of {len(error.doc)}"
    return JsonFailure("invalid JSON", detail, has_more=error.msg == "Extra data")


def _without_lone_surrogates(text: str) -> tuple[str, int]:
    count = 0

    def whole(escape: re.Match[str]) -> str:
        nonlocal count
        if escape["lone"] is None:
            return escape[0]
        count += 1
        return "\\ufffd"

    return _ESCAPE.sub(whole, text), count


class _Repeated:
    """A JSON object that repeats keys: every value of each, in order."""

    __slots__ = ("values",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.values: dict[str, list[Any]] = {}
        for key, value in pairs:
            self.values.setdefault(key, []).append(value)


class _Oddities:
    """The hooks of one parse, and what they saw."""

    def __init__(self, found: dict[str, str]) -> None:
        self.found = dict(found)
        self.most_repeated = 1

    def members(self, pairs: list[tuple[str, Any]]) -> Any:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        repeated = _Repeated(pairs)
        key, values = max(repeated.values.items(), key=lambda item: len(item[1]))
        self.most_repeated = max(self.most_repeated, len(values))
        self.found.setdefault(
            "duplicate key", f"{_short(key)} stands {len(values)} times in one object"
        )
        return repeated

    def integer(self, digits: str) -> int | str:
        if len(digits) < 19:
            return int(digits)
        if len(digits) > _DIGITS_READ:
            self._beyond(digits)
            return digits
        value = int(digits)
        if not -(1 << 63) <= value < 1 << 64:
            self._beyond(digits)
        return value

    def real(self, digits: str) -> float | str:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            self._beyond(digits)
            return digits
        return value

    def constant(self, name: str) -> str:
        self.found.setdefault("NaN or Infinity", f"{name} stands for a number, which JSON has not")
        return name

    def _beyond(self, digits: str) -> None:
        self.found.setdefault("number beyond 64 bits", f"the number {_short(digits)}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _parse(text: str, oddities: _Oddities, *, deep: bool, strict: bool) -> Any:
    decoder = json.JSONDecoder(
        object_pairs_hook=oddities.members,
        parse_int=oddities.integer,
        parse_float=oddities.real,
        parse_constant=oddities.constant,
        strict=strict,
    )
    if deep:
        return parse_deep(text, decoder, oddities.members)
    return decoder.decode(text)


def _readings(document: Any, most_repeated: int, size_bytes: int) -> tuple[Any, ...]:
    if most_repeated == 1:
        return (document,)
    kept = max(2, min(READINGS_KEPT, _READINGS_BUDGET_BYTES // max(1, size_bytes)))
    chosen = [_resolved(document, lambda values: values[-1])]
    nth = most_repeated - 1 if most_repeated <= kept else kept - 2
    chosen.extend(_resolved(document, _choose_nth(index)) for index in range(nth))
    if most_repeated > kept:
        chosen.append(_resolved(document, lambda values: values if values[1:] else values[0]))
    return tuple(chosen)


def _choose_nth(index: int) -> Callable[[list[Any]], Any]:
    return lambda values: values[min(index, len(values) - 1)]


def _resolved(node: Any, choose: Callable[[list[Any]], Any]) -> Any:
    if type(node) is dict:
        return {key: _resolved(value, choose) for key, value in node.items()}
    if type(node) is list:
        return [_resolved(value, choose) for value in node]
    if type(node) is _Repeated:
        return {key: _resolved(choose(values), choose) for key, values in node.values.items()}
    return node
