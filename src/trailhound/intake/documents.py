"""JSON text to its records, without ever holding the whole text.

Logs also come as one document: `{"Records": [ … ]}` on a single line of many megabytes, or
indented over thousands of lines. This splits such text at the elements of the list that wraps
the records. Each element is given out inside a small copy of its wrapping, so that the rest of
the system need not know.
"""

import re
from collections.abc import Iterator

from trailhound.model.records import Origin, RawRecord

WRAPPING_KEYS = frozenset(
    (b"Records", b"records", b"items", b"logEvents", b"events", b"Events", b"entries", b"results")
)
"""Keys of the lists that wrap records: CloudTrail, Azure, Kubernetes, CloudWatch, gcloud."""

RECORD_LIMIT = 32 * 1024 * 1024
_HEAD_LIMIT = 64 * 1024
# A string, a bracket, or a line end. Strings come whole, so that brackets in them do not count;
# one that has not ended yet takes the rest of the text.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]\n]', re.DOTALL)
_LAST_KEY = re.compile(rb'"([^"\\]{1,32})"\s*:\s*\Z')


class NotSplit(Exception):
    """The text cannot be split into records."""

    def __init__(self, line: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.line = line
        self.reason = reason
        self.detail = detail


class DocumentSplitter:
    """Takes bytes, gives out records: top-level documents, or elements of a wrapping list."""

    def __init__(self, path: str, line: int) -> None:
        self._path = path
        self.line = line
        """1-based line that is being read."""
        self._held = bytearray()
        self._scanned = 0
        self._scanned_to = 0
        self._depth = 0
        self._start = 0
        self._start_line = line
        self._head = b""
        self._list_depth = 0
        self._elements = 0

    def feed(self, data: bytes) -> Iterator[RawRecord]:
        """Take more text; yield the records it completes. Raises `NotSplit`."""
        self._held += data
        text = bytes(self._held)
        self._scanned_to = len(text)
        for token in _TOKEN.finditer(text, self._scanned):
            mark = token[0]
            at = token.end()
            if mark[:1] == b'"' and at == len(text):
                # It may go on in the next chunk, and is scanned again from its beginning.
                self._scanned_to = token.start()
                break
            if mark == b"\n":
                self.line += 1
            elif mark in (b"{", b"["):
                self._open(text, token.start(), mark)
            elif mark in (b"}", b"]"):
                record = self._close(text, at, mark)
                if record is not None:
                    yield record
        self._scanned = self._scanned_to
        self._drop()
        if len(self._held) > RECORD_LIMIT:
            raise NotSplit(
                self._start_line,
                "record too long",
                f"a JSON document of over {RECORD_LIMIT:,} bytes holds no list of records",
            )

    def rest(self) -> bytes:
        """What is held and was not given out: where to look for the next document."""
        return bytes(self._held)

    def close(self) -> Iterator[RawRecord]:
        """The text has ended; what is incomplete is given out as it stands, to be reported."""
        rest = bytes(self._held[self._start :]).strip(b" \t\r\n,")
        if rest and self._depth > self._list_depth:
            yield self._record(rest)
        elif rest and not self._list_depth:
            yield RawRecord(rest, Origin(self._path, self._start_line))

    def _open(self, text: bytes, at: int, mark: bytes) -> None:
        if self._depth == self._list_depth:
            self._start = at
            self._start_line = self.line
        self._depth += 1
        if mark != b"[" or self._list_depth or self._depth > 2:
            return
        if self._depth == 1:
            self._head = b"["
        else:
            key = _LAST_KEY.search(text, max(self._start, at - 64), at)
            if key is None or key[1] not in WRAPPING_KEYS or at - self._start > _HEAD_LIMIT:
                return
            self._head = text[self._start : at + 1]
        self._list_depth = self._depth
        self._elements = 0
        self._start = at + 1

    def _close(self, text: bytes, at: int, mark: bytes) -> RawRecord | None:
        self._depth -= 1
        if self._depth < 0:
            raise NotSplit(self.line, "invalid JSON", f"{mark.decode()!r} closes nothing")
        if self._list_depth and self._depth < self._list_depth:
            # The wrapping list, or the document around it, has ended.
            self._start = at
            if self._depth == 0:
                self._list_depth = 0
                self._head = b""
            return None
        if self._depth == self._list_depth:
            record = self._record(text[self._start : at])
            self._start = at
            return record
        return None

    def _record(self, data: bytes) -> RawRecord:
        self._elements += 1
        origin = Origin(self._path, self._start_line)
        if not self._head:
            return RawRecord(data, origin)
        tail = b"]" if self._list_depth == 1 else b"]}"
        return RawRecord(self._head + data + tail, origin)

    def _drop(self) -> None:
        idle = self._depth == self._list_depth and self._depth > 0
        keep = self._start if not idle else max(self._start, 0)
        if keep:
            del self._held[:keep]
            self._scanned -= keep
            self._start = 0
