"""Streams to blocks of whole lines, in flat memory whatever the lines are."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from trailhound.intake.documents import DocumentSplitter, NotSplit
from trailhound.model.records import Origin, ParseFailure, RawRecord

LINE_LIMIT = 32 * 1024 * 1024
"""A longer line is reported as lost."""
SPLIT_BYTES = 16 * 1024 * 1024
"""A longer line of JSON is split at the elements of the list it holds, or else kept whole."""
BINARY = "binary file"
"""Reason of the one failure that speaks for all lines of such a file."""

_HEAD_BYTES = 64 * 1024
_SCENT_BYTES = 4 * 1024
_READ_AGAIN_BYTES = 8 * 1024 * 1024
"""What is read again behind broken documents of one file, before its lines are taken singly."""
_MARK = b"\xef\xbb\xbf"
_JOURNAL = b"LPKSHHRH"
"""Signature of a file of systemd-journald (systemd, "Journal File Format", Header)."""
# Everything below a space but TAB, CR, ESC and the separator of enriched auditd records.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1a\x1c\x1e\x1f\x7f]")


class Block:
    """Whole lines that follow on each other."""

    __slots__ = ("_ends", "data", "line")

    def __init__(self, data: bytes, line: int) -> None:
        """Make a block.

        Args:
            data: lines, each but perhaps the last of the file with its line end.
            line: 1-based number of the first one.
        """
        self.data = data
        self.line = line
        self._ends: list[int] | None = None

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return len(self.ends)

    @property
    def ends(self) -> list[int]:
        """Where each line ends in `data`; found once."""
        if self._ends is None:
            # For lines of usual length a search for each end beats `bytes.count` and `split`.
            find = self.data.find
            ends = []
            at = find(b"\n")
            while at >= 0:
                ends.append(at)
                at = find(b"\n", at + 1)
            if not self.data.endswith(b"\n"):
                ends.append(len(self.data))
            self._ends = ends
        return self._ends

    def indices(self, places: Sequence[int]) -> set[int]:
        """Return the indices of the lines that places in `data` are in.

        A line end belongs to the line that it ends.
        """
        ends = self.ends
        return {bisect_left(ends, place) for place in places}

    def text(self, index: int) -> bytes:
        """Return the line at an index, without its end."""
        return self.data[self.ends[index - 1] + 1 if index else 0 : self.ends[index]]


class _Stream:
    """Chunks of bytes, of which some can be given back."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._rest = iter(chunks)
        self._held: list[bytes] = []

    def next(self) -> bytes | None:
        """The next chunk, None at the end."""
        return self._held.pop() if self._held else next(self._rest, None)

    def give_back(self, data: bytes) -> None:
        """Let `data` be read once more."""
        if data:
            self._held.append(data)

    def peek(self, size_bytes: int) -> bytes:
        """Return at least so much of what comes next, if there is so much."""
        parts: list[bytes] = []
        size = 0
        while size < size_bytes and (chunk := self.next()) is not None:
            parts.append(chunk)
            size += len(chunk)
        self.give_back(b"".join(parts))
        return self._held[-1] if parts else b""


def blocks(
    path: str, chunks: Iterable[bytes], *, resumed: bool = False
) -> Iterator[Block | RawRecord | ParseFailure]:
    """Cut a stream into blocks of at least one line.

    JSON documents that stretch over several lines (written by `jq`, `kubectl` or a person),
    and very long lines, come as one `RawRecord` for each document, or for each element of the
    list that wraps the records.

    Args:
        path: of the file, for origins.
        chunks: its bytes.
        resumed: the stream does not begin where the file does, but at a line of it.
    """
    stream = _Stream(chunks)
    if resumed:
        yield from _lines(path, 1, stream)
        return
    head = stream.peek(_HEAD_BYTES)
    if head.startswith(_MARK):
        stream.next()
        stream.give_back(head[len(_MARK) :])
    if _is_binary(head):
        detail = "it is no text; what no source knows in it is not counted line by line"
        if head.startswith(_JOURNAL):
            detail = "a journal of systemd: read it with `journalctl -o json | trailhound scan -`"
        yield ParseFailure(Origin(path, 1), BINARY, detail)
    line = 1
    budget = _READ_AGAIN_BYTES
    while budget > 0 and _is_document(stream.peek(_HEAD_BYTES)):
        splitter = DocumentSplitter(path, line)
        while True:
            try:
                yield from _split(splitter, stream)
                return
            except NotSplit as error:
                if error.reason:
                    yield ParseFailure(Origin(path, error.line), error.reason, error.detail)
                line, held = splitter.rest()
                budget -= len(held)
                margin = splitter.margin()
                if not error.skip:
                    stream.give_back(held)
                    break
            found = _resume(held, stream, margin)
            if found is None:
                return
            skipped, in_list = found
            line += skipped
            if not in_list or budget <= 0:
                break
            splitter.skip(line)
    yield from _lines(path, line, stream)


def _is_binary(head: bytes) -> bool:
    """Whether a stream holds NUL bytes and not one line of text where it begins."""
    scent = head.lstrip(b"\0")[:_SCENT_BYTES]
    if b"\0" not in scent or scent.lstrip()[:1] in (b"{", b"["):
        return False
    return not any(map(_is_text, scent.split(b"\n")[:-1]))


def _is_text(line: bytes) -> bool:
    bare = line.strip(b"\0\r \t")
    if len(bare) < 8 or _CONTROL.search(bare):
        return False
    try:
        bare.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_document(head: bytes) -> bool:
    """Whether text begins with JSON that goes on after the end of its line."""
    text = head.lstrip()
    if text[:1] not in (b"{", b"["):
        return False
    end = text.find(b"\n")
    return end >= 0 and text[:end].rstrip()[-1:] in (b"{", b"[", b",")


def _split(splitter: DocumentSplitter, stream: _Stream) -> Iterator[RawRecord]:
    while (chunk := stream.next()) is not None:
        yield from splitter.feed(chunk)
    yield from splitter.close()


def _resume(held: bytes, stream: _Stream, margin: bytes | None) -> tuple[int, bool] | None:
    """Skip to where sense may begin again: a bracket at the margin, or where elements begin.

    Returns:
        How many lines were skipped, and whether an element of the list begins there, whose
        elements stand behind `margin`; None at the end of the stream.
    """
    marks = [(b"\n{", margin == b""), (b"\n[", False)]
    if margin:
        marks.append((b"\n" + margin + b"{", True))
    longest = max(len(mark) for mark, _ in marks)
    skipped = 0
    at = 1
    while True:
        found = [(held.find(mark, at), in_list) for mark, in_list in marks]
        first = min((hit for hit in found if hit[0] >= 0), default=None)
        if first is not None:
            place, in_list = first
            stream.give_back(held[place + 1 :])
            return skipped + held.count(b"\n", 0, place + 1), in_list
        keep = max(0, len(held) - longest + 1)
        skipped += held.count(b"\n", 0, keep)
        chunk = stream.next()
        if chunk is None:
            return None
        held = held[keep:] + chunk
        at = 0


def _lines(path: str, line: int, stream: _Stream) -> Iterator[Block | RawRecord | ParseFailure]:
    held: list[bytes] = []
    size = 0
    while (chunk := stream.next()) is not None:
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            held.append(chunk)
            size += len(chunk)
            if size > SPLIT_BYTES:
                is_json = held[0].lstrip()[:1] in (b"{", b"[")
                if is_json or size > LINE_LIMIT:
                    stream.give_back(b"".join(held))
                    yield from _long_line(path, line, stream, is_json=is_json)
                    line += 1
                    held, size = [], 0
            continue
        whole = cut == len(chunk) and not held
        block = Block(chunk if whole else b"".join((*held, memoryview(chunk)[:cut])), line)
        held = [chunk[cut:]] if cut < len(chunk) else []
        size = len(chunk) - cut
        yield block
        line += block.lines
    if held:
        yield Block(b"".join(held), line)


def _long_line(
    path: str, line: int, stream: _Stream, *, is_json: bool
) -> Iterator[RawRecord | ParseFailure]:
    splitter = DocumentSplitter(path, line) if is_json else None
    failure: NotSplit | None = None
    size = 0
    ended = False
    while not ended and (chunk := stream.next()) is not None:
        end = chunk.find(b"\n")
        if end >= 0:
            stream.give_back(chunk[end + 1 :])
            chunk, ended = chunk[:end], True
        size += len(chunk)
        if splitter is not None and failure is None:
            try:
                yield from splitter.feed(chunk)
            except NotSplit as error:
                failure = error
    if splitter is None:
        detail = f"the line has {size:,} bytes; the limit is {LINE_LIMIT:,}"
        yield ParseFailure(Origin(path, line), "line too long", detail)
        return
    if failure is None:
        try:
            yield from splitter.close()
        except NotSplit as error:
            failure = error
    if failure is not None:
        reason = failure.reason or "invalid JSON"
        detail = failure.detail or "something else follows the document on its line"
        yield ParseFailure(Origin(path, line), reason, detail)
