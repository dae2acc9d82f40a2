"""JSON text to its records, without ever holding the whole text.

Logs also come as one document: `{"Records": [ … ]}` on a single line of many megabytes, or
indented over thousands of lines. This splits such text at the elements of the list that wraps
the records. Each element is given out inside a small copy of its wrapping, so that the rest of
the system need not know.

A document that breaks off must not swallow the records after it. So the text is checked as far
as that takes: brackets close what they open, strings end on their line, and where a bracket
stands at the margin, a value must be due there.
"""

import re
from collections.abc import Iterator

from trailhound.model.records import Origin, RawRecord

WRAPPING_KEYS = frozenset(
    (b"Records", b"records", b"items", b"logEvents", b"events", b"Events", b"entries", b"results")
)
"""Keys of the lists that wrap records: CloudTrail, Azure, Kubernetes, CloudWatch, gcloud."""

RECORD_LIMIT = 32 * 1024 * 1024
_HEAD_LIMIT = 4 * 1024
_SCALARS_BYTES = 64 * 1024
_BLANKS = b" \t\r\n"
_BETWEEN = b" \t\r\n,\0"
# A string or a bracket. Strings come whole, so that brackets in them do not count. Group 1 is
# there where the text ends before the string does (it holds the backslash of half an escape).
_STRING_END = rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|(\\?)\Z|)'
_TOKEN = re.compile(rb'"' + _STRING_END + rb"|[{}\[\]]")
_REST_OF_STRING = re.compile(_STRING_END)
_LAST_KEY = re.compile(rb'"([^"\\]{1,32})"\s*:\s*\Z')
_QUOTE, _NEWLINE = b'"\n'
_OPENING = {b"}": b"{", b"]": b"["}


class NotSplit(Exception):
    """The text cannot be split into records, or no longer."""

    def __init__(self, line: int, reason: str, detail: str, *, skip: bool = True) -> None:
        """Make one.

        Args:
            line: where the trouble is.
            reason: for a `ParseFailure`; empty where nothing is wrong, but what follows is
                no JSON document.
            detail: for a `ParseFailure`.
            skip: whether the text that is held begins with what is broken.
        """
        super().__init__(detail)
        self.line = line
        self.reason = reason
        self.detail = detail
        self.skip = skip


class DocumentSplitter:
    """Takes bytes, gives out records: top-level documents, or elements of a wrapping list."""

    def __init__(self, path: str, line: int) -> None:
        self._path = path
        self._text = b""
        self._scanned = 0
        self._in_string = False
        self._line = line
        self._counted = 0
        # The brackets that are open, and where the record, or the gap before it, begins.
        self._stack: list[bytes] = []
        self._start = 0
        self._start_line = line
        self._before = b""
        # The wrapping list: its depth (0: none), the text before its elements, whether it has
        # ended, and how many elements were given out.
        self._list_depth = 0
        self._head = b""
        self._ended = False
        self._elements = 0

    def feed(self, data: bytes) -> Iterator[RawRecord]:
        """Take more text; yield the records it completes. Raises `NotSplit`."""
        text = self._text = self._text + data
        last = until = self._finish_string(text)
        if not self._in_string:
            self._scanned = until = len(text)
            for token in _TOKEN.finditer(text, last):
                start, end = token.span()
                mark = text[start : start + 1]
                if mark == b'"':
                    if not self._stack:
                        self._check_gap(text, end)
                    if token.lastindex:
                        self._in_string = True
                        self._scanned = end - len(token[1])
                        until = start
                        break
                    if text[end - 1] != _QUOTE or end - start == 1:
                        raise self._broken(end, "a string does not end on its line")
                elif mark in _OPENING:
                    yield from self._close(text, end, mark)
                else:
                    yield from self._open(text, start, mark)
                last = end
        yield from self._scalars(text, last, until)
        self._drop(text)

    def rest(self) -> tuple[int, bytes]:
        """Return what is held and was not given out, after the line on which it begins."""
        return self._line_of(self._start), self._text[self._start :]

    def margin(self) -> bytes | None:
        """Return what stands before the elements of the wrapping list on their lines.

        None outside such a list, and where they do not begin lines.
        """
        if not self._list_depth or self._ended or len(self._stack) <= self._list_depth:
            return None
        return self._before if not self._before.strip(b" \t") else None

    def skip(self, line: int) -> None:
        """Leave the element that is broken; what is fed next begins the one after it."""
        del self._stack[self._list_depth :]
        self._text = b","
        self._scanned = self._start = self._counted = 0
        self._in_string = False
        self._line = self._start_line = line

    def close(self) -> Iterator[RawRecord]:
        """The text has ended. Raises `NotSplit` where a document has not."""
        if self._stack or self._in_string:
            raise NotSplit(
                self._start_line, "invalid JSON", "the document does not end before the file does"
            )
        self._check_gap(self._text, len(self._text))
        return iter(())

    def _open(self, text: bytes, at: int, mark: bytes) -> Iterator[RawRecord]:
        depth = len(self._stack)
        if depth == self._list_depth and not self._ended:
            if depth:
                yield from self._gap(text, at)
            else:
                self._check_gap(text, at)
            self._start = at
            self._start_line = self._line_of(at)
            self._before = text[max(text.rfind(b"\n", max(0, at - 64), at) + 1, at - 64) : at]
        elif text[at - 1 : at] == b"\n" and not self._is_due(text, at):
            raise self._broken(at, "a new document begins inside this one")
        self._stack.append(mark)
        if mark == b"[" and not self._list_depth and depth < 2:
            self._begin_list(text, at, depth)

    def _begin_list(self, text: bytes, at: int, depth: int) -> None:
        head = b"["
        if depth:
            key = _LAST_KEY.search(text, max(self._start, at - 64), at)
            if key is None or key[1] not in WRAPPING_KEYS or at - self._start > _HEAD_LIMIT:
                return
            head = text[self._start : at + 1]
        self._list_depth = depth + 1
        self._head = head
        self._elements = 0
        self._start = at + 1

    def _close(self, text: bytes, at: int, mark: bytes) -> Iterator[RawRecord]:
        if not self._stack:
            self._check_gap(text, at - 1)
        if not self._stack or self._stack[-1] != _OPENING[mark]:
            raise self._broken(at, f"{mark.decode()!r} closes nothing")
        self._stack.pop()
        depth = len(self._stack)
        if self._list_depth and not self._ended:
            if depth >= self._list_depth:
                if depth == self._list_depth:
                    yield self._element(text[self._start : at])
                    self._start = at
                return
            yield from self._gap(text, at - 1)
            self._ended = True
            self._start = at - 1
        if depth:
            return
        if not self._list_depth:
            yield RawRecord(text[self._start : at], Origin(self._path, self._start_line))
        elif self._list_depth > 1 and text[self._start + 1 : at].strip(_BLANKS) != b"}":
            # What stands beside the list: nothing, as a rule; else the document without it.
            origin = Origin(self._path, self._start_line)
            yield RawRecord(self._head + text[self._start : at], origin)
        self._list_depth = 0
        self._ended = False
        self._start = at

    def _gap(self, text: bytes, at: int) -> Iterator[RawRecord]:
        """What stands between two elements: a comma, or elements that are no containers."""
        gap = text[self._start : at]
        bare = gap.strip(_BLANKS)
        if bare in (b",", b""):
            if not bare and self._elements and text[at : at + 1] != b"]":
                raise NotSplit(
                    self._line_of(at),
                    "invalid JSON",
                    "a comma is missing in the list before this line",
                    skip=False,
                )
            return
        self._start_line = self._line_of(self._start + len(gap) - len(gap.lstrip(_BETWEEN)))
        yield self._element(gap.strip(_BETWEEN))

    def _check_gap(self, text: bytes, at: int) -> None:
        """Raise `NotSplit` where something else than a document stands between documents."""
        gap = text[self._start : at]
        bare = gap.lstrip(_BETWEEN)
        if bare:
            self._start = at - len(bare)
            raise NotSplit(self._line_of(self._start), "", "", skip=False)

    def _scalars(self, text: bytes, last: int, until: int) -> Iterator[RawRecord]:
        """Give out long runs of elements that are no containers, which nothing else ends.

        Args:
            text: what is held.
            last: where its last whole string or bracket ends.
            until: up to where there is no string after that.
        """
        if not self._stack:
            self._check_gap(text, until)
            return
        in_list = len(self._stack) == self._list_depth and not self._ended
        if not in_list or until - self._start < _SCALARS_BYTES:
            return
        begin = max(last, self._start)
        cut = max(text.rfind(b",", begin, until), begin)
        if bare := text[self._start : cut].strip(_BETWEEN):
            yield self._element(bare)
            self._start = cut

    def _is_due(self, text: bytes, at: int) -> bool:
        """Whether a value may begin here, by what stands before it."""
        before = text[max(self._start, at - 256) : at].rstrip(_BLANKS)
        if not before:
            before = text[self._start : at].rstrip(_BLANKS)
        return before[-1:] == b":" if self._stack[-1] == b"{" else before[-1:] in (b"[", b",")

    def _finish_string(self, text: bytes) -> int:
        """Go on in a string that had not ended; return where to go on after it."""
        at = self._scanned
        if not self._in_string:
            return at
        rest = _REST_OF_STRING.match(text, at)
        if rest is None or rest.lastindex:
            self._scanned = len(text) - len(rest[1] if rest else b"")
            return at
        if text[rest.end() - 1] != _QUOTE or rest.end() == at:
            raise self._broken(rest.end(), "a string does not end on its line")
        self._in_string = False
        return rest.end()

    def _element(self, data: bytes) -> RawRecord:
        self._elements += 1
        tail = b"]" if self._list_depth == 1 else b"]}"
        origin = Origin(self._path, self._start_line, self._elements)
        return RawRecord(self._head + data + tail, origin)

    def _line_of(self, at: int) -> int:
        """1-based line of a position; positions must not go back beyond the last newline."""
        if at >= self._counted:
            self._line += self._text.count(b"\n", self._counted, at)
        else:
            self._line -= self._text.count(b"\n", at, self._counted)
        self._counted = at
        return self._line

    def _broken(self, at: int, what: str) -> NotSplit:
        return NotSplit(self._start_line, "invalid JSON", f"line {self._line_of(at)}: {what}")

    def _drop(self, text: bytes) -> None:
        keep = self._start
        if keep:
            self._line_of(keep)
            self._text = text[keep:]
            self._scanned -= keep
            self._start = self._counted = 0
        if len(self._text) > RECORD_LIMIT:
            raise NotSplit(
                self._start_line,
                "record too long",
                f"a JSON document of over {RECORD_LIMIT:,} bytes holds no list of records",
            )
