"""What a leaf of the ledger says: the canonical entry of one sealed record.

An entry is ASCII text of a few lines, so that anyone can recompute it with `sha256sum` and
`printf`; `docs/ledger.md` shows how:

    trailhound-leaf/1
    source LOG
    place PLACE
    received NANOSECONDS
    sha256 HEX
    context SIZE HEX
    redacted COUNT VERSION HEX
    path PATH

`sha256` is over the record as it was sealed, without its line end. `context` is there only where
something came beside the record (see `context_text`), and then the first line says `/2`: the ledger
keeps the record with so many bytes of context behind it, and the hash is over both. The last two
kinds of line are there only where something was redacted (see `redaction.py`): how many values, by
which version of the tables, the SHA-256 of the record with a constant in place of each keyed hash,
and the paths of the first `PATHS_LISTED` values. Everything but printable ASCII in LOG, PLACE
and PATH, and the percent sign itself, is percent-encoded UTF-8.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from msgspec import Struct

from trailhound.ledger.redaction import Redacted, Redactor
from trailhound.model.errors import TrailhoundError

VERSION = "trailhound-leaf/1"
_WITH_CONTEXT = "trailhound-leaf/2"
PATHS_LISTED = 32
_TEXT_LIMIT = 256
_PATH_LIMIT = 128
"""Characters of each; what is longer is cut, so that an entry always fits 16 bits of length."""
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PLAIN = re.compile(r"[!-$&-~]*", re.ASCII)
_ENTRY = re.compile(
    r"trailhound-leaf/[12]\n"
    r"source (?P<source>[!-~]*)\n"
    r"place (?P<place>[!-~]*)\n"
    r"received (?P<received>0|[1-9][0-9]{0,19})\n"
    r"sha256 (?P<sha256>[0-9a-f]{64})\n"
    r"(?:context (?P<size>[1-9][0-9]{0,9}) (?P<stored>[0-9a-f]{64})\n)?"
    r"(?:redacted (?P<count>[1-9][0-9]{0,9}) (?P<tables>[0-9]{1,9}) (?P<masked>[0-9a-f]{64})\n"
    r"(?P<paths>(?:path [!-~]*\n)+))?",
    re.ASCII,
)


class Leaf(Struct, frozen=True, kw_only=True):
    """What one entry says."""

    source: str
    """Which log it came from: a path, or the name of a sender."""
    place: str
    """Where in that log: `LINE`, `LINE#ELEMENT`, or a sender's sequence number."""
    received_ns: int
    """When it was sealed or received, UTC nanoseconds."""
    sha256: str
    """Hex SHA-256 of the record as sealed."""
    context_bytes: int = 0
    """Length of what is kept behind it: what came beside it."""
    stored_sha256: str = ""
    """Hex SHA-256 of the record and its context, where there is one."""
    redacted: int = 0
    """Values that were replaced by keyed hashes."""
    tables: int = 0
    """Version of the tables they were found by."""
    masked_sha256: str = ""
    """Hex SHA-256 of the sealed record with its keyed hashes blanked."""
    paths: tuple[str, ...] = ()
    """Where the first `PATHS_LISTED` of them stand."""

    def encode(self) -> bytes:
        """The entry."""
        version = _WITH_CONTEXT if self.context_bytes else VERSION
        text = (
            f"{version}\nsource {written(self.source)}\nplace {written(self.place)}\n"
            f"received {self.received_ns}\nsha256 {self.sha256}\n"
        )
        if self.context_bytes:
            text += f"context {self.context_bytes} {self.stored_sha256}\n"
        if self.redacted:
            text += f"redacted {self.redacted} {self.tables} {self.masked_sha256}\n"
            text += "".join(
                f"path {written(path, _PATH_LIMIT)}\n" for path in self.paths[:PATHS_LISTED]
            )
        return text.encode()

    @property
    def kept_sha256(self) -> str:
        """Hex SHA-256 of what a ledger keeps for it."""
        return self.stored_sha256 or self.sha256

    def split(self, stored: bytes) -> tuple[bytes, bytes]:
        """Return record and context of what a ledger keeps for it."""
        end = max(0, len(stored) - self.context_bytes)
        return stored[:end], stored[end:]


class Sealed(Struct, frozen=True, gc=False):
    """A record ready for the ledger."""

    entry: bytes
    record: bytes
    """As it may be stored: with keyed hashes in place of secrets, and its context behind it."""


def seal(record: bytes, *, source: str, place: str, received_ns: int, redactor: Redactor) -> Sealed:
    """Redact a record and make its entry.

    Args:
        record: as it arrived, without its line end.
        source: which log.
        place: where in it.
        received_ns: UTC nanoseconds.
        redactor: finds secrets and replaces them.
    """
    safe = redactor.redact(record)
    return Sealed(leaf_entry(safe, source=source, place=place, received_ns=received_ns), safe.data)


def context_text(context: Mapping[str, str]) -> bytes:
    """Return what came beside a record as it is sealed: JSON in ASCII, without blanks, sorted."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def read_context(text: bytes) -> dict[str, str]:
    """Read what `context_text` wrote. Raises `ValueError` for anything else."""
    found = json.loads(text) if text else {}
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ValueError("no context of a record")
    return found


def leaf_entry(
    record: Redacted, *, source: str, place: str, received_ns: int, context: bytes = b""
) -> bytes:
    """Return the entry of a record that was redacted.

    Args:
        record: the record.
        source: which log.
        place: where in it.
        received_ns: UTC nanoseconds.
        context: what came beside it, redacted: `context_text`.
    """
    digest = hashlib.sha256(record.data).hexdigest()
    if not record.paths and not context:  # the many: written without the detour through a Leaf
        return (
            f"{VERSION}\nsource {written(source)}\nplace {written(place)}\n"
            f"received {received_ns}\nsha256 {digest}\n"
        ).encode()
    return Leaf(
        source=source,
        place=place,
        received_ns=received_ns,
        sha256=digest,
        context_bytes=len(context),
        stored_sha256=hashlib.sha256(record.data + context).hexdigest() if context else "",
        redacted=len(record.paths),
        tables=Redactor.TABLES_VERSION if record.paths else 0,
        masked_sha256=hashlib.sha256(record.masked).hexdigest() if record.paths else "",
        paths=record.paths[:PATHS_LISTED],
    ).encode()


class EntryError(TrailhoundError):
    """An entry of a ledger that is no leaf of ours."""


def parse_leaf(entry: bytes) -> Leaf:
    """Read an entry. Raises `EntryError` for anything that `Leaf.encode` would not write."""
    try:
        found = _ENTRY.fullmatch(entry.decode("ascii"))
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise EntryError(f"no entry of the form {VERSION}: it begins {entry[:40]!r}")
    paths = tuple(read_text(line[5:]) for line in (found["paths"] or "").splitlines())
    leaf = Leaf(
        source=read_text(found["source"]),
        place=read_text(found["place"]),
        received_ns=int(found["received"]),
        sha256=found["sha256"],
        context_bytes=int(found["size"] or 0),
        stored_sha256=found["stored"] or "",
        redacted=int(found["count"] or 0),
        tables=int(found["tables"] or 0),
        masked_sha256=found["masked"] or "",
        paths=paths,
    )
    if leaf.encode() != entry:
        raise EntryError("an entry that is not written in the canonical way")
    return leaf


def written(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return text as an entry has it: cut, and all but printable ASCII percent-encoded."""
    if len(text) <= limit and _PLAIN.fullmatch(text):
        return text
    try:
        data = text[:limit].encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half an escape in a key of JSON
        data = text[:limit].encode("utf-8", "replace")
    return quote(data, safe=_SAFE)


def read_text(text: str) -> str:
    """Return the text that `written` made this of."""
    return unquote(text, errors="surrogateescape")
