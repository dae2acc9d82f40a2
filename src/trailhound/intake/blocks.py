"""Streams to blocks of whole lines, in flat memory whatever the lines are."""

from collections.abc import Iterable, Iterator

from trailhound.intake.documents import DocumentSplitter, NotSplit
from trailhound.model.records import Origin, ParseFailure, RawRecord

BLOCK_BYTES = 128 * 1024
LINE_LIMIT = 32 * 1024 * 1024
"""A longer line is split at the elements of the list it holds, or else reported as lost."""


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

    def text(self, index: int) -> bytes:
        """Return the line at an index, without its end."""
        return self.data[self.ends[index - 1] + 1 if index else 0 : self.ends[index]]


def blocks(
    path: str, chunks: Iterable[bytes], line: int = 1, *, resumed: bool = False
) -> Iterator[Block | RawRecord | ParseFailure]:
    """Cut a stream into blocks of at least one line.

    JSON documents that stretch over several lines (written by `jq`, `kubectl` or a person),
    and lines beyond `LINE_LIMIT`, come as one `RawRecord` for each document, or for each
    element of the list that wraps the records.

    Args:
        path: of the file, for origins.
        chunks: its bytes.
        line: 1-based number of the first line.
        resumed: the stream does not begin where the file does, but at a line of it.
    """
    held: list[bytes] = []
    size = 0
    first = line == 1 and not resumed
    source = iter(chunks)
    for chunk in source:
        if first and not held:
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901 - byte order mark
        if first and _is_document(b"".join((*held, chunk))[: 2 * BLOCK_BYTES]):
            yield from _documents(path, line, b"".join((*held, chunk)), source)
            return
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            held.append(chunk)
            size += len(chunk)
            if size > LINE_LIMIT:
                yield from _long_line(path, line, b"".join(held), source)
                return
            continue
        data = b"".join((*held, memoryview(chunk)[:cut]))
        held = [chunk[cut:]] if cut < len(chunk) else []
        size = len(chunk) - cut
        block = Block(data, line)
        yield block
        line += len(block.ends)
        first = False
    if held:
        yield Block(b"".join(held), line)


def _is_document(head: bytes) -> bool:
    """Whether a stream begins with a JSON document whose first line does not end it."""
    text = head.lstrip()
    if text[:1] not in (b"{", b"["):
        return False
    start = text.split(b"\n", 1)
    opening = start[0].strip()
    # A first line that opens more than it closes, followed by indented text.
    if len(start) < 2 or len(opening) > 256:
        return False
    return opening in (b"{", b"[", b"[{") or (
        opening[-1:] in (b"{", b"[", b",") and start[1][:1] in (b" ", b"\t", b"\r", b"\n")
    )


def _documents(
    path: str, line: int, head: bytes, rest: Iterator[bytes]
) -> Iterator[RawRecord | ParseFailure]:
    splitter = DocumentSplitter(path, line)
    chunk: bytes | None = head
    while chunk is not None:
        try:
            yield from splitter.feed(chunk)
            chunk = next(rest, None)
        except NotSplit as error:
            yield ParseFailure(Origin(path, error.line), error.reason, error.detail)
            # The next line that begins a document at its margin is where sense may begin again.
            resumed = _resume(splitter.rest(), rest)
            if resumed is None:
                return
            skipped, chunk = resumed
            splitter = DocumentSplitter(path, splitter.line + skipped)
    yield from splitter.close()


def _resume(held: bytes, rest: Iterator[bytes]) -> tuple[int, bytes] | None:
    skipped = 0
    while True:
        starts = [at for at in (held.find(b"\n{", 1), held.find(b"\n[", 1)) if at >= 0]
        if starts:
            at = min(starts) + 1
            return skipped + held.count(b"\n", 0, at), held[at:]
        skipped += held.count(b"\n", 0, max(len(held) - 1, 0))
        chunk = next(rest, None)
        if chunk is None:
            return None
        held = held[-1:] + chunk


def _long_line(
    path: str, line: int, head: bytes, rest: Iterator[bytes]
) -> Iterator[Block | RawRecord | ParseFailure]:
    splitter = DocumentSplitter(path, line) if head.lstrip()[:1] in (b"{", b"[") else None
    size = 0
    failure = None if splitter else ("line too long", "")
    tail: bytes | None = None
    chunk: bytes | None = head
    while chunk is not None and tail is None:
        end = chunk.find(b"\n")
        if end >= 0:
            chunk, tail = chunk[:end], chunk[end + 1 :]
        size += len(chunk)
        if splitter is not None and failure is None:
            try:
                yield from splitter.feed(chunk)
            except NotSplit as error:
                failure = (error.reason, error.detail)
        if tail is None:
            chunk = next(rest, None)
    if failure is not None:
        detail = failure[1] or _too_long(size)
        yield ParseFailure(Origin(path, line), failure[0], detail)
    elif splitter is not None:
        yield from splitter.close()
    if tail is not None:
        yield from blocks(path, _chain(tail, rest), line + 1)


def _too_long(size_bytes: int) -> str:
    return f"the line has {size_bytes:,} bytes; the limit is {LINE_LIMIT:,}"


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest
