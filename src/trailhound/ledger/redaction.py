"""Secrets out of records before they are stored: each replaced by a keyed hash of itself.

Only the bytes of the secret change. Equal secrets give equal hashes (under one key), so that a
stolen token can still be followed from log to log; without the key nobody can try guesses.
What is replaced, by which table, is in `secret_fields.py` and `secret_text.py`.
"""

import base64
import binascii
import hashlib
import hmac
import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
import orjson
import re2
from msgspec import Struct

from trailhound.ledger import audit_text
from trailhound.ledger.json_spans import Scalar, scalars, string_token, string_value
from trailhound.ledger.secret_fields import (
    FIELDS,
    HINTS,
    JSON_HINTS,
    NAME_KEYS,
    NAMED_HINTS,
    PLACEHOLDERS,
    SecretField,
    When,
    is_secret_key,
    is_secret_name,
)
from trailhound.ledger.secret_text import RULES, is_token, redact_arguments, redact_text

_NESTING_LIMIT = 8
_LONG = 4096
_BROKEN_ROUNDS = 4
_UNPACKED_LIMIT = 16 * 1024 * 1024
_LENGTHS = (8, 16, 32, 64, 256, 4096)
_ENCODED = ("eyJ", "ewo", "ewk", "ew0", "eyA", "W3s", "WyJ", "H4sI", "IyEv", "I2Ns")
"""How base64 begins of what may hold secrets: JSON, gzip, scripts, cloud-config."""
_NAME_KEYS = tuple(key.lower() for key in NAME_KEYS)
_TELLING = frozenset(("kind", "resource", "type", *_NAME_KEYS))
"""Keys whose values say that others are secret."""

_LATIN = re2.Options()
_LATIN.encoding = re2.Options.Encoding.LATIN1  # bytes that are not UTF-8 must hide nothing
_IN_TEXT = (
    *(rule.hint for rule in RULES),
    # Letters, digits and signs that nobody has to write as escapes.
    r"\\u00(?:2[0-57-9a-fA-F]|3[0-9abdABDfF]|[4-7])",
    # Command lines in audit records, in hexadecimal.
    r"(?:proctitle|cmd|data|a\d+(?:\[\d+\])?)=[0-9A-F]{4}",
    "|".join(_ENCODED),
)


def _any_of(hints: Iterable[str]) -> "re2._Regexp":
    return re2.compile("|".join(f"(?:{hint})" for hint in hints).encode(), _LATIN)


_TEXT_HINT = _any_of(_IN_TEXT)
"""True for every record with a secret that is not a field of the tables."""
_HINT = _any_of((*_IN_TEXT, *HINTS))
"""True for every record in which anything is replaced; few others should pass."""
_JSON_HINT = _any_of((*_IN_TEXT, *JSON_HINTS))
_NAMED, _VALUED = (_any_of((hint,)) for hint in NAMED_HINTS)
"""Together the same, for JSON without JSON in its strings; see `_holds_nothing`."""
_JSON_INSIDE = re2.compile(rb'"(?:[\x00-\x20\x7f-\xff]|\\[bfnrt]|\\u[0-9a-fA-F]{4})*[{\[]', _LATIN)
_VALUE_KEYS = frozenset(
    field.path.rpartition(".")[2].lower() for field in FIELDS if field.when is When.SECRET_NAME
)


@cache
def _block_hint() -> Callable[[bytes], list[int]] | None:
    """Return what finds where hints end in a block of lines; None without Hyperscan."""
    try:
        import hyperscan  # noqa: PLC0415 - only on some machines
    except ImportError:
        return None
    # What RE2 takes for a blank is less than what Hyperscan does.
    patterns = [
        hint.replace(r"[^\s", r"[^\t\n\f\r ").replace("(?s:.*)", ".*").encode()
        for hint in (*_IN_TEXT, *HINTS)
    ]
    database = hyperscan.Database()
    database.compile(
        expressions=patterns,
        ids=list(range(len(patterns))),
        elements=len(patterns),
        flags=[hyperscan.HS_FLAG_MULTILINE] * len(patterns),
    )

    def search(block: bytes) -> list[int]:
        ends: list[int] = []
        database.scan(block, match_event_handler=lambda _id, _from, to, *_: ends.append(to))
        return ends

    return search


def hinting(records: Sequence[bytes]) -> list[int]:
    """Return the indices of records that may hold a secret, in order; few others.

    One search over all of them costs less than one for each.
    """
    search = _block_hint() if len(records) > 1 else None
    if search is None:
        return [index for index, record in enumerate(records) if _HINT.search(record)]
    block = b"\n".join(records) + b"\n"
    ends = list(accumulate([len(record) + 1 for record in records]))
    # A match never goes beyond the line end behind its record; records of several lines are
    # looked at by themselves.
    found = {bisect_left(ends, to) for to in search(block)}
    if block.count(b"\n") > len(records):
        found.update(index for index, record in enumerate(records) if b"\n" in record)
    return sorted(found)


class Redacted(Struct, frozen=True, gc=False):
    """A record as it may be stored."""

    data: bytes
    paths: tuple[str, ...] = ()
    """Where secrets stood, in order; `text` where a record is no JSON."""
    masked: bytes = b""
    """The record with constants in place of the keyed hashes; empty where nothing was found."""


class Redactor:
    """Replaces secrets in records. Holds the key; never shows it."""

    TABLES_VERSION = 1
    """Raised with every change of the tables that changes what is found."""

    def __init__(self, key: bytes | None) -> None:
        """Make one.

        Args:
            key: of the keyed hashes, at least 16 bytes; None: constants in their place, for
                whoever compares logs and does not have the key.
        """
        if key is not None and len(key) < 16:
            raise ValueError("a redaction key has at least 16 bytes")
        self._key = key

    def redact_many(self, records: Sequence[bytes]) -> list[Redacted]:
        """Return what `redact` does for each of many records."""
        found = [Redacted(record) for record in records]
        for index in hinting(records):
            found[index] = self.redact(records[index])
        return found

    def redact(self, record: bytes) -> Redacted:
        """Return a record without its secrets; unchanged, byte for byte, where it has none."""
        if not _HINT.search(record) or _holds_nothing(record):
            return Redacted(record)
        found = _Pass(self._key)
        data = found.record(record)
        if not found.paths:
            return Redacted(record)
        if self._key is None:
            masked = data
        elif found.encoded or _MARK in record:
            masked = _Pass(None).record(record)
        else:
            masked = blanked(data)
        return Redacted(data, tuple(found.paths), masked)


class _Place(NamedTuple):
    """Where a scalar stands; put into words only where a secret is found."""

    above: str
    scalar: Scalar

    def __str__(self) -> str:
        return f"{self.above}{self.scalar.place}"


_Where = str | _Place


class _Pass:
    """One walk over one record."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._where: _Where = "text"
        self.paths: list[str] = []
        self.encoded = False
        """Whether a hash went into base64 or hexadecimal, where `blanked` does not see it."""

    def record(self, data: bytes) -> bytes:
        head = data.lstrip()[:1]
        if head in (b"{", b"["):
            if len(data) > _LONG and (listed := _elements(data)) is not None:
                return self._list(*listed)
            return self._json(data, "", 0, secret=False)
        # Behind the header of a container runtime or of syslog may stand JSON.
        at = data.find(b"{")
        if at >= 0 and _is_json(data[at:]):
            return self._text_bytes(data[:at]) + self._json(data[at:], "", 0, secret=False)
        return self._text_bytes(data)

    def _list(self, key: str, elements: list[bytes]) -> bytes:
        """Redact `{"key":[…]}` element by element, and only those that a hint is in."""
        changed = [
            self._json(element, f"{key}[{index}].", 0, secret=False)
            if _HINT.search(element)
            else element
            for index, element in enumerate(elements)
        ]
        return b'{"%s":[%s]}' % (key.encode(), b",".join(changed))

    def _text_bytes(self, data: bytes) -> bytes:
        text = data.decode("utf-8", "surrogateescape")
        changed = self._text(text, "text")
        return data if changed == text else changed.encode("utf-8", "surrogateescape")

    def _replace(self, secret: str) -> str:
        self.paths.append(str(self._where))
        return keyed_hash(self._key, secret)

    # --- JSON ---------------------------------------------------------------------------

    def _json(self, data: bytes, above: str, depth: int, *, secret: bool) -> bytes:
        found = list(scalars(data))
        facts = _Facts(found, data, secret=secret)
        changes: dict[int, bytes] = {}
        wordy = _TEXT_HINT.search(data) is not None
        for index, scalar in enumerate(found):
            field = facts.field_of(scalar)
            token = data[scalar.start : scalar.end]
            if field is not None:
                changed = self._secret_token(token, scalar, field, _Place(above, scalar))
            elif scalar.is_string and (wordy or b'\\"' in token):
                value = string_value(token)
                inner = facts.is_secret_event(scalar)
                new = self._value(value, _Place(above, scalar), depth, secret=inner)
                changed = token if new == value else string_token(new)
            else:
                changed = token
            if changed is not token:
                changes[index] = changed
        if wordy:
            self._arguments(found, data, changes, above)
        if changes:
            parts: list[bytes] = []
            at = 0
            for index, scalar in enumerate(found):
                if index in changes:
                    parts += (data[at : scalar.start], changes[index])
                    at = scalar.end
            data = b"".join((*parts, data[at:]))
        if not _is_json(data):
            # Broken: what cannot be made out as a value may still be a secret, and what was
            # replaced may change how the rest reads.
            for _ in range(_BROKEN_ROUNDS):
                before, data = data, self._text_bytes(data)
                if data == before:
                    break
        return data

    def _secret_token(
        self, token: bytes, scalar: Scalar, field: SecretField, where: _Where
    ) -> bytes:
        value = string_value(token) if scalar.is_string else token.decode("utf-8", "replace")
        if not scalar.is_string and value in ("true", "false", "null"):
            return token
        if not value or _is_placeholder(value):
            return token
        if field.base64 and scalar.is_string:
            value = _from_base64(value) or value
        self._where = where
        return string_token(self._replace(value))

    def _value(self, value: str, where: _Where, depth: int, *, secret: bool) -> str:
        """Redact a string that is no secret itself."""
        bare = value.lstrip()
        if depth < _NESTING_LIMIT:
            if bare[:1] in ("{", "["):
                data = value.encode("utf-8", "surrogatepass")
                if not secret and not _HINT.search(data):
                    return value
                changed = self._json(data, f"{where}.", depth + 1, secret=secret)
                return value if changed == data else changed.decode("utf-8", "surrogatepass")
            if bare.startswith(_ENCODED) and (unpacked := _unpacked(bare)) is not None:
                return self._encoded(value, *unpacked, where, depth)
        return self._text(value, where)

    def _encoded(self, value: str, plain: bytes, zipped: bool, where: _Where, depth: int) -> str:  # noqa: FBT001
        if plain.lstrip()[:1] in (b"{", b"["):
            changed = self._json(plain, f"{where}.", depth + 1, secret=False)
        else:
            text = plain.decode("utf-8", "surrogateescape")
            changed = self._text(text, where).encode("utf-8", "surrogateescape")
        if changed == plain:
            return value
        self.encoded = True
        if zipped:
            packer = zlib.compressobj(6, zlib.DEFLATED, 31)
            changed = packer.compress(changed) + packer.flush()
        return base64.b64encode(changed).decode()

    def _arguments(
        self, found: list[Scalar], data: bytes, changes: dict[int, bytes], above: str
    ) -> None:
        """Redact arrays of strings as the arguments of one command."""
        for group in _arrays(found):
            if len(group) < 2 or any(index in changes for index in group):
                continue
            values = [string_value(data[found[i].start : found[i].end]) for i in group]
            self._where = f"{above}{found[group[0]].place}".rpartition("[")[0]
            for index, old, new in zip(
                group, values, redact_arguments(values, self._replace), strict=True
            ):
                if new != old:
                    changes[index] = string_token(new)

    # --- text ---------------------------------------------------------------------------

    def _text(self, text: str, where: _Where) -> str:
        self._where = where
        if "msg=audit(" in text:
            before, text = text, audit_text.redact_record(text, self._replace)
            self.encoded = self.encoded or text != before
        if "command=" in text and "?" in text:
            text = self._uri(text)
        return redact_text(text, self._replace)

    def _uri(self, text: str) -> str:
        """Redact the command of an exec request: each argument is a parameter of the URL."""
        spans = [found.span(1) for found in _COMMAND.finditer(text)]
        if not spans:
            return text
        old = [unquote(text[a:b].replace("+", " "), errors="surrogateescape") for a, b in spans]
        new = redact_arguments(old, self._replace)
        for (start, end), before, after in reversed(list(zip(spans, old, new, strict=True))):
            if before != after:
                written = quote(after.encode("utf-8", "surrogatepass"), safe=":/-_.~")
                text = text[:start] + written + text[end:]
        return text


_COMMAND = re.compile(r"[?&]command=([^&\s\"']*)")


class _Facts:
    """What the scalars of a document say about each other."""

    def __init__(self, found: list[Scalar], data: bytes, *, secret: bool) -> None:
        self._secret = secret
        self._secret_objects: set[int] = set()
        self._secret_events: set[int] = set()
        self._secret_names: set[int] = set()
        self._secure: set[int] = set()
        for scalar in found:
            holder = scalar.holder
            if not scalar.is_string or holder is None:
                continue
            key = scalar.key.lower()
            if key not in _TELLING:
                continue
            container = id(holder)
            if key == "kind":
                if _of(scalar, data) in ("Secret", "SecretList"):
                    self._secret_objects.add(container)
            elif key == "resource":
                above = holder.above[-1:]
                if not above or above[0][1] != "objectRef":
                    continue
                if _of(scalar, data) == "secrets":
                    self._secret_events.add(id(above[0][0]))
            elif key == "type":
                if _of(scalar, data) == "SecureString":
                    self._secure.add(container)
            elif key in _NAME_KEYS and is_secret_name(_of(scalar, data)):
                self._secret_names.add(container)
        self._about_secrets = bool(secret or self._secret_objects or self._secret_events)

    def is_secret_event(self, scalar: Scalar) -> bool:
        """Whether a scalar belongs to an event about secrets."""
        return self._secret or any(id(f) in self._secret_events for f, _ in scalar.path)

    def field_of(self, scalar: Scalar) -> SecretField | None:
        """Return the entry of the tables by which a scalar is secret; None where it is not."""
        holder = scalar.holder
        if holder is None:
            return None
        if holder.is_object and not self._about_secrets and not _may_be_secret(scalar.key):
            return None
        keys = scalar.keys
        for field, wanted in _BY_LAST.get(keys[-1].lower(), ()) if keys else ():
            if _fits(wanted, keys) and self._holds(field.when, scalar, wanted):
                return field
        for field, wanted in _DEEP if self._about_secrets else ():
            if _fits(wanted, keys) and self._holds(field.when, scalar, wanted):
                return field
        return _BY_KEY if keys and is_secret_key(keys[-1]) else None

    def _holds(self, when: When, scalar: Scalar, wanted: tuple[str, ...]) -> bool:
        if when is When.ALWAYS:
            return True
        if when is When.SECRET_REQUEST:
            return any(id(frame) in self._secret_events for frame, _ in scalar.path)
        if when is When.SECRET_OBJECT:
            for depth, (frame, key) in enumerate(scalar.path):
                if key == wanted[0] and frame.is_object:
                    if self._secret and depth == 0:
                        return True
                    if any(id(f) in self._secret_objects for f, _ in scalar.path[: depth + 1]):
                        return True
            return False
        container = id(scalar.holder)
        return container in (self._secure if when is When.SECURE_TYPE else self._secret_names)


_BY_KEY = SecretField("any", "", "keys named like secrets")
_SPLIT = [(field, tuple(field.path.split("."))) for field in FIELDS]
_DEEP = tuple((field, wanted) for field, wanted in _SPLIT if wanted[-1] == "**")
_BY_LAST: dict[str, list[tuple[SecretField, tuple[str, ...]]]] = {}
for _field, _wanted in _SPLIT:
    if _wanted[-1] != "**":
        _BY_LAST.setdefault(_wanted[-1].lower(), []).append((_field, _wanted))


@lru_cache(4096)
def _may_be_secret(key: str) -> bool:
    """Whether a field of this name can be secret in a document that is not about Secrets."""
    return key.lower() in _BY_LAST or is_secret_key(key)


def _fits(wanted: tuple[str, ...], keys: tuple[str, ...]) -> bool:
    """Whether a path of the tables fits keys; it may begin anywhere in them."""
    if wanted[-1] != "**":
        return len(keys) >= len(wanted) and all(
            want.lower() == key.lower()
            for want, key in zip(wanted, keys[-len(wanted) :], strict=True)
        )
    at = -1
    for want in wanted[:-1]:
        if want == "**":
            continue
        try:
            at = keys.index(want, at + 1)
        except ValueError:
            return False
    return True


def _elements(data: bytes) -> tuple[str, list[bytes]] | None:
    """Return the key and the elements of `{"key":[…]}` without blanks; None for all else.

    Files of CloudTrail are such: thousands of records on one line.
    """
    try:
        ((key, listed),) = msgspec.json.decode(data, type=dict[str, list[msgspec.Raw]]).items()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    elements = [bytes(element) for element in listed]
    head = b'{"%s":[' % key.encode()
    # A second list under the same key, or a key written with escapes, takes more bytes.
    size = len(head) + sum(map(len, elements)) + max(0, len(elements) - 1) + 2
    if size != len(data) or not data.startswith(head):
        return None
    return (key, elements) if all(element[:1] == b"{" for element in elements) else None


def _arrays(found: list[Scalar]) -> Iterator[list[int]]:
    groups: dict[int, list[int]] = {}
    for index, scalar in enumerate(found):
        holder = scalar.holder
        if scalar.is_string and holder is not None and not holder.is_object:
            groups.setdefault(id(holder), []).append(index)
    yield from groups.values()


def keyed_hash(key: bytes | None, secret: str) -> str:
    """Return what stands in place of a secret: `redacted:hmac-sha256:<32 hex>:le16`.

    The last part is the class of its length: at most so many characters, or `more`.
    """
    length = next((f"le{limit}" for limit in _LENGTHS if len(secret) <= limit), "more")
    if key is None:
        return f"redacted:hmac-sha256:-:{length}"
    data = secret.encode("utf-8", "surrogatepass")
    return f"redacted:hmac-sha256:{hmac.new(key, data, hashlib.sha256).hexdigest()[:32]}:{length}"


def blanked(record: bytes) -> bytes:
    """Return a sealed record with its keyed hashes blanked, as far as they stand in the open."""
    return _KEYED.sub(rb"\1-\2", record)


_MARK = b"redacted:hmac-sha256:"
_KEYED = re.compile(rb"(redacted:hmac-sha256:)[0-9a-f]{32}(:(?:le[0-9]+|more))")


def _of(scalar: Scalar, data: bytes) -> str:
    return string_value(data[scalar.start : scalar.end])


def _is_placeholder(value: str) -> bool:
    return value in PLACEHOLDERS or not value.strip("*") or is_token(value)


def _holds_nothing(record: bytes) -> bool:
    """Whether a record with a hint is shown to hold no secret, at a tenth of a walk through it.

    What hints is most often the *value* `token` of a request, or the name of a Secret.
    """
    if _JSON_HINT.search(record) or (b'\\"' in record and _JSON_INSIDE.search(record)):
        return False
    try:
        document = orjson.loads(record)
        written = orjson.dumps(document)
    except ValueError:
        return False
    # Repeated keys hide values from whoever parses.
    if record != written and _unescaped(record) != written:
        return False
    return not (_NAMED.search(record) and _VALUED.search(record) and _is_named(document))


def _unescaped(record: bytes) -> bytes:
    """Return JSON with the escapes of Go's encoder written out."""
    for escape, character in ((b"\\u0026", b"&"), (b"\\u003c", b"<"), (b"\\u003e", b">")):
        record = record.replace(escape, character)
    return record


def _is_named(document: Any) -> bool:
    """Whether some object gives a value the name of a secret."""
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            keys = {key.lower() for key in node}
            if not keys.isdisjoint(_VALUE_KEYS) and any(
                isinstance(value, str) and is_secret_name(value)
                for key, value in node.items()
                if key.lower() in _NAME_KEYS
            ):
                return True
    return False


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except ValueError:
        return False
    return True


def _from_base64(value: str) -> str | None:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return None


def _unpacked(text: str) -> tuple[bytes, bool] | None:
    """Return what base64 says, and whether it was compressed; None where it says nothing."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    if data[:2] != b"\x1f\x8b":
        return data, False
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(data, _UNPACKED_LIMIT)
    except zlib.error:
        return None
    return (plain, True) if unpacker.eof and not unpacker.unused_data else None
