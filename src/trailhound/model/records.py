"""What arrives, and what is said of it when it cannot be read whole."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Origin(Struct, frozen=True, order=True, gc=False):
    """Where a record stands, so that a person can open it."""

    path: str
    """File path as the user named it, or `-` for standard input."""
    line: int
    """1-based line of the decompressed stream; 0: the file as a whole."""
    element: int = 0
    """1-based position inside a document that holds several records; 0: the whole line."""

    def shifted(self, lines: int) -> "Origin":
        """Return the place so many lines further down."""
        return Origin(self.path, self.line + lines, self.element)

    def __str__(self) -> str:
        if not self.line:
            return self.path
        suffix = f"#{self.element}" if self.element else ""
        return f"{self.path}:{self.line}{suffix}"


class RawRecord(Struct, frozen=True):
    """One record as it arrived: bytes and where they came from."""

    data: bytes
    """The record without its line end."""
    origin: Origin
    modified_ns: int = 0
    """When its file was last written, or when it arrived, UTC nanoseconds since 1970; 0 where
    that is not known."""
    context: Mapping[str, Any] = {}
    """What came beside it and is not in it: `hostname`, `tag`, `timestamp`."""


class Payload(Struct, frozen=True):
    """One record with every wrapping taken off, ready for the source that knows it.

    Exactly one of `document` and `text` is set.
    """

    origin: Origin
    document: dict[str, Any] | None = None
    """The parsed JSON object, as its writer wrote it."""
    text: str | None = None
    """The line, for formats that are not JSON."""
    wrapping: tuple[str, ...] = ()
    """Names of the wrappings that were taken off, outermost first: `cloudwatch`, `cri`."""
    context: Mapping[str, Any] = {}
    """What the wrappings knew and the record does not: `logGroup`, `hostname`, `timestamp`;
    and `modified_ns` of its `RawRecord`, where that is known."""


class ParseFailure(Struct, frozen=True):
    """A record that could not be read, or that was read with something amiss."""

    origin: Origin
    reason: str
    """Short stable words to count by, e.g. `invalid JSON`, `duplicate key`."""
    detail: str
    """One sentence for a person. May quote the log: escape it before showing it."""
    lost: bool = True
    """False: the record was read and judged all the same, and this says what was odd."""
