"""Files, folders, patterns and standard input."""

import glob
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from msgspec import Struct

from trailhound.intake.blocks import Block, blocks
from trailhound.intake.compression import READ_BYTES, Damaged, plain_chunks
from trailhound.model.errors import TrailhoundError
from trailhound.model.records import Origin, ParseFailure, RawRecord

STDIN = "-"
_AHEAD_BYTES = 4096


class InputFile(Struct, frozen=True):
    """One file to read."""

    path: str
    """As the user named it, or found below a folder that the user named; `-`: stdin."""
    size_bytes: int
    """Size on disk, 0 where it is not known (a pipe)."""
    modified_ns: int = 0
    start: int = 0
    """Byte at which to begin: with the first line that starts there or later."""
    end: int = 0
    """Byte at which to end: lines that start there or later are not read; 0: none."""
    unread: str = ""
    """Why it is not read, if it is not."""


def find_inputs(paths: Sequence[str]) -> list[InputFile]:
    """Resolve what a user named to files, each once, in a stable order.

    Folders are read whole, in order of name; of pipes, sockets and devices in them, reading says
    that they are not read. Patterns (`*`, `?`, `**`) are expanded where no file has that very
    name. A link to a folder outside of them is not followed: it is given as a
    file, and reading it says so. Raises `TrailhoundError` for what does not exist.
    """
    named: list[str | None] = []  # None: standard input
    for path in paths:
        if path == STDIN:
            named.append(None)
        elif not os.path.lexists(path) and glob.has_magic(path):
            fitting = sorted(glob.glob(path, recursive=True))
            if not fitting:
                raise TrailhoundError(f"nothing fits the pattern {path!r}")
            named += fitting
        else:
            named.append(path)
    roots = [Path(name).resolve() for name in named if name and os.path.isdir(name)]
    found: dict[str, InputFile] = {}
    for name in named:
        if name is None:
            found.setdefault(STDIN, InputFile(STDIN, 0))
            continue
        for file in _below(name, roots):
            found.setdefault(os.path.realpath(file.path), file)
    return list(found.values())


def pieces_of(file: InputFile, count: int, size_bytes: int) -> list[Block]:
    """Return lines from places all over a file, to learn what is in it; their numbers are 1.

    Nothing of a file that is small or cannot be entered in the middle; of a compressed one,
    what comes is no text.

    Args:
        file: the file.
        count: how many pieces at most.
        size_bytes: of each piece, with the half lines at its ends that are left out.
    """
    pieces: list[Block] = []
    if file.path == STDIN or file.size_bytes < 8 * count * size_bytes:
        return pieces
    try:
        with open(file.path, "rb") as stream:
            for number in range(1, count + 1):
                stream.seek((file.size_bytes - size_bytes) * number // count)
                _, _, data = stream.read(size_bytes).partition(b"\n")
                if (end := data.rfind(b"\n")) >= 0:
                    pieces.append(Block(data[: end + 1], 1))
    except OSError:  # told where it is read
        return []
    return pieces


def read_blocks(
    file: InputFile, progress: Callable[[int], None] = lambda _: None
) -> Iterator[Block | RawRecord | ParseFailure]:
    """Read a file, compressed or not, to blocks of lines.

    Args:
        file: what to read.
        progress: called with the number of bytes just read from disk.

    Yields:
        Blocks and records; a `ParseFailure` for what is damaged or unreadable. Never raises
        for anything that a file holds.
    """
    if file.unread:
        yield ParseFailure(Origin(file.path, 0), "unreadable file", file.unread)
        return
    if file.path == STDIN and sys.stdin is None:
        yield ParseFailure(Origin(STDIN, 0), "unreadable file", "standard input is closed")
        return
    try:
        stream = (
            cast("BinaryIO", sys.stdin.buffer)
            if file.path == STDIN
            # A pipe gives what it has, and is not waited for until there is more.
            else open(file.path, "rb", buffering=-1 if file.size_bytes or file.end else 0)  # noqa: SIM115
        )
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error, IsADirectoryError) and os.path.islink(file.path):
            reason = "a link to a folder, which is not followed: name the folder itself"
        yield ParseFailure(Origin(file.path, 0), "unreadable file", reason)
        return
    damage: list[str] = []
    lines = 0
    try:
        with stream:
            counted = cast("BinaryIO", _Counted(stream, progress))
            chunks = _part(counted, file) if file.end else _tolerant(counted, damage)
            for item in blocks(file.path, chunks, resumed=file.start > 0):
                if isinstance(item, Block):
                    lines = item.line + item.lines - 1
                elif isinstance(item, RawRecord):
                    lines = item.origin.line
                yield item
    except OSError as error:
        reason = error.strerror or str(error)
        yield ParseFailure(Origin(file.path, lines + 1), "unreadable file", reason)
    for detail in damage:
        yield ParseFailure(Origin(file.path, max(lines, 1)), "damaged compression", detail)


def _part(stream: BinaryIO, file: InputFile) -> Iterator[bytes]:
    """Yield the lines that start in a part of an uncompressed file."""
    at = file.start
    if at:
        # The line that holds the byte before the start is the part before's.
        at -= 1
        stream.seek(at)
        while skipped := stream.readline(READ_BYTES):
            at += len(skipped)
            if skipped.endswith(b"\n"):
                break
    chunk = b""
    while at < file.end and (chunk := stream.read(min(READ_BYTES, file.end - at))):
        at += len(chunk)
        yield chunk
    # The last line of the part goes on.
    while chunk and not chunk.endswith(b"\n"):
        chunk = stream.readline(READ_BYTES)
        yield chunk


def _tolerant(stream: BinaryIO, damage: list[str]) -> Iterator[bytes]:
    try:
        yield from plain_chunks(stream)
    except Damaged as error:
        damage.append(str(error))


def _below(path: str, roots: Sequence[Path]) -> Iterator[InputFile]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise TrailhoundError(f"no such file or folder: {path}") from None
    except OSError as error:
        raise TrailhoundError(f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        yield InputFile(path, size, status.st_mtime_ns)
        return
    unread: list[str] = []
    walk = os.walk(path, onerror=lambda error: unread.append(str(error.filename)))
    for folder, folders, names in walk:
        folders.sort()
        unread += [
            link
            for link in (os.path.join(folder, name) for name in folders)
            if os.path.islink(link) and not _within(link, roots)
        ]
        for name in sorted(names):
            file = Path(folder, name)
            try:
                status = file.stat()
            except OSError:
                # A dangling link: reading it later says so.
                yield InputFile(str(file), 0)
                continue
            if stat.S_ISREG(status.st_mode):
                yield InputFile(str(file), status.st_size, status.st_mtime_ns)
            else:
                yield InputFile(str(file), 0, unread=_why_not(status.st_mode))
    for name in unread:
        # A folder that may not be listed, or a link to one: reading it later says so.
        yield InputFile(name, 0)


def _why_not(mode: int) -> str:
    """Why something found in a folder is not read, which is no file."""
    if stat.S_ISSOCK(mode):
        return "a socket holds no log"
    kind = "pipe" if stat.S_ISFIFO(mode) else "device"
    return f"a {kind} in a folder is not read: name the {kind} itself"


def _within(path: str, roots: Sequence[Path]) -> bool:
    real = Path(path).resolve()
    return any(real.is_relative_to(root) for root in roots)


class _Counted(io.RawIOBase):
    """A stream that tells how much was read from it.

    Of a file it reads on to the end of a line, so that blocks need not be put together.
    """

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        super().__init__()
        self._stream = stream
        self._progress = progress
        self._whole = isinstance(stream, io.BufferedReader)
        self._file = stream.fileno() if self._whole and stream.seekable() else None

    def read(self, size: int = -1) -> bytes:
        if self._file is not None and size > 0:
            # To look ahead where the line ends spares a copy of what would be read in two parts.
            ahead = os.pread(self._file, _AHEAD_BYTES, self._stream.tell() + size - 1)
            size += ahead.find(b"\n") if b"\n" in ahead else 0
        data = self._stream.read(size)
        if self._whole and data and not data.endswith(b"\n"):
            data += self._stream.readline(size)
        self._progress(len(data))
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = self._stream.readline(-1 if size is None else size)
        self._progress(len(data))
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)
