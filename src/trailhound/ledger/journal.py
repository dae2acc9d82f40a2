"""The journal: what was appended and is not under a signed head yet.

A file of frames behind one line that says which entry is the first. A frame is the length of
its content (32 bits, big-endian), a CRC-32 that is seeded with the number of the entry, and
the content: the length of the entry (16 bits), the entry, the record. What a crash tore at the
end does not pass the CRC, and is cut off.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from trailhound.ledger.leaf import Sealed
from trailhound.model.errors import TrailhoundError

_HEAD = re.compile(rb"trailhound-journal/1 (\d{20})\n")
_HEAD_BYTES = 42
_FRAME = struct.Struct(">IIH")
_CONTENT_LIMIT = 1 << 30


class Journal:
    """Appends frames durably."""

    def __init__(self, path: Path, start: int, stream: BinaryIO) -> None:
        self.path = path
        self.start = start
        self._stream = stream

    @classmethod
    def begin(cls, path: Path, start: int) -> "Journal":
        """Put an empty journal in the place of whatever is there, atomically."""
        fresh = path.with_suffix(".new")
        stream = open(fresh, "wb", buffering=0)  # noqa: SIM115 - held by the journal
        stream.write(b"trailhound-journal/1 %020d\n" % start)
        os.fsync(stream.fileno())
        os.replace(fresh, path)
        sync_folder(path.parent)
        return cls(path, start, stream)

    @classmethod
    def recover(cls, path: Path) -> tuple["Journal", list[Sealed], int]:
        """Open a journal after whatever happened.

        Returns:
            The journal; what it holds; and how many bytes of a torn end were cut off.
        """
        data = path.read_bytes()
        start = journal_start(data)
        if start is None:
            raise TrailhoundError(f"{path} is no journal of a ledger")
        found: list[Sealed] = []
        end = _HEAD_BYTES
        for sealed, after in _frames(data, start):
            found.append(sealed)
            end = after
        torn = len(data) - end
        stream = open(path, "r+b", buffering=0)  # noqa: SIM115 - held by the journal
        if torn:
            stream.truncate(end)
            os.fsync(stream.fileno())
        stream.seek(0, os.SEEK_END)
        return cls(path, start, stream), found, torn

    def append(self, first: int, batch: Sequence[Sealed]) -> None:
        """Write a batch whose first entry has the number `first`; return when it is on disk."""
        before = self._stream.tell()
        parts: list[bytes] = []
        for number, sealed in enumerate(batch, first):
            entry, record = sealed.entry, sealed.record
            check = zlib.crc32(record, zlib.crc32(entry, number & 0xFFFFFFFF))
            parts += (_FRAME.pack(len(entry) + len(record) + 2, check, len(entry)), entry, record)
        try:
            _write_all(self._stream, b"".join(parts))
            os.fsync(self._stream.fileno())
        except OSError:
            # A full disk: what was written of this batch must not be taken for part of the next.
            self._stream.truncate(before)
            self._stream.seek(before)
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def journal_start(data: bytes) -> int | None:
    """Return the number of the first entry of a journal; None where this is none."""
    found = _HEAD.match(data)
    return int(found[1]) if found else None


def _frames(data: bytes, start: int) -> Iterator[tuple[Sealed, int]]:
    at, number = _HEAD_BYTES, start
    while at + _FRAME.size <= len(data):
        length, check, entry_length = _FRAME.unpack_from(data, at)
        end = at + 8 + length
        if not 2 <= length <= _CONTENT_LIMIT or entry_length > length - 2 or end > len(data):
            return
        middle = at + _FRAME.size + entry_length
        entry, record = data[at + _FRAME.size : middle], data[middle:end]
        if zlib.crc32(record, zlib.crc32(entry, number & 0xFFFFFFFF)) != check:
            return
        yield Sealed(entry, record), end
        at, number = end, number + 1


def _write_all(stream: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = stream.write(view)
        view = view[written:]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
