"""The durable queue between senders and the rest: what was acknowledged is on disk.

A folder of segment files, named by the number of their first record. A segment is a run of
frames; a frame is what was synced together:

    4 bytes  length of the body, little endian
    4 bytes  CRC-32 of the body and the number
    8 bytes  number of its first record
    body     MessagePack: an array of `Arrival`

Beside them, `format` holds the number of this format.

Whoever writes numbers the records from 1, without a gap. A number is never given twice to what
was read: readers see only what has been synced.
"""

import contextlib
import itertools
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import msgspec

from trailhound.intake.arrivals import Arrival, Full
from trailhound.model.errors import TrailhoundError

SEGMENT_BYTES = 64 * 1024 * 1024
FRAME_BYTES = 64 * 1024 * 1024
"""No frame is larger; what claims to be is damage."""
_SYNC_BYTES = 8 * 1024 * 1024
"""What is synced together at most, so that no sender waits for a long queue of others."""
_HEAD = struct.Struct("<IIQ")
_SUFFIX = ".queue"
_FORMAT = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Arrival]).decode


class Frame(NamedTuple):
    """Records that were synced together."""

    first: int
    """Number of its first record."""
    arrivals: list[Arrival]


class Damage(NamedTuple):
    """A stretch of a segment that cannot be read; what stood in it is lost."""

    path: str
    offset: int
    detail: str


class Mark(NamedTuple):
    """How far the queue is synced: readers may go so far and no further."""

    segment: int
    offset: int


class _Offer(NamedTuple):
    body: bytes
    checksum: int
    records: int
    size: int
    future: "Future[int]"


class QueueWriter:
    """Takes records in; the one writer of a queue."""

    def __init__(self, folder: Path, limit_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open a queue, or make one.

        What was being written when the last writer ended, and was never acknowledged, is cut
        off. Everything before it is synced anew.

        Args:
            folder: where the segments lie.
            limit_bytes: room for records that nobody has read yet. One batch may go beyond.
            segment_bytes: size at which a new segment is begun.

        Raises:
            TrailhoundError: The folder cannot be made or written, or a later Trailhound wrote it.
        """
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._waiting: deque[_Offer] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._torn = False
        self._done_below = 0
        self.salvaged: list[Damage] = []
        """What could not be read at the end of the last segment; it was never acknowledged,
        unless the disk lost it, and is kept beside the queue for a person to look at."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _stamp(folder)
            self._sizes = {first: _path(folder, first).stat().st_size for first in _firsts(folder)}
            self._next = self._recover()
        except OSError as error:
            raise TrailhoundError(
                f"the queue {folder} cannot be opened: {error.strerror}"
            ) from None
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._thread.start()

    @property
    def mark(self) -> Mark:
        """How far readers may go."""
        with self._changed:
            return self._mark

    @property
    def next_number(self) -> int:
        """The number that the next record will have."""
        with self._changed:
            return self._next

    @property
    def held_bytes(self) -> int:
        """Bytes on disk and on the way there."""
        with self._changed:
            return sum(self._sizes.values()) + self._waiting_bytes

    def put(self, arrivals: Sequence[Arrival]) -> "Future[int]":
        """Offer records.

        Returns:
            A future that ends when they are on disk, with the number of the first one; or with
            `Full`, where the disk would not take them.

        Raises:
            Full: There is no room.
        """
        body = _encode(arrivals)
        size = _HEAD.size + len(body)
        if size > FRAME_BYTES:
            raise Full(f"more than {FRAME_BYTES:,} bytes at once", retry_after_s=0)
        future: Future[int] = Future()
        with self._changed:
            if self._closing:
                raise Full("shutting down")
            held = sum(self._sizes.values()) + self._waiting_bytes
            # What is larger than half the queue, or all of it, is taken while half of it is free: a
            # sender that cuts no batch in two would otherwise come again for ever.
            if held + size > self._limit_bytes and held > self._limit_bytes // 2:
                raise Full("the queue is full: records come faster than they are read")
            self._waiting.append(_Offer(body, zlib.crc32(body), len(arrivals), size, future))
            self._waiting_bytes += size
            self._changed.notify()
        return future

    def forget(self, before: int) -> None:
        """Remove segments in which every record has a number below `before`.

        Where that is all there is, the last one goes as well: it holds what senders sent, with
        every secret in it.
        """
        with self._changed:
            firsts = sorted(self._sizes)
            for first, following in itertools.pairwise(firsts):
                if following > before:
                    break
                with contextlib.suppress(FileNotFoundError):
                    _path(self._folder, first).unlink()
                del self._sizes[first]
            self._done_below = before
            self._changed.notify()

    def close(self) -> None:
        """Write what was taken, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        os.close(self._file)

    def _recover(self) -> int:
        firsts = sorted(self._sizes)
        if not firsts:
            self._begin(1)
            return 1
        last = firsts[-1]
        path = _path(self._folder, last)
        number, end = last, 0
        for item in _frames(path, 0, None):
            if isinstance(item, Damage):
                self._salvage(item)
                break
            frame, end = item
            number = frame.first + len(frame.arrivals)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.ftruncate(self._file, end)
        os.fsync(self._file)
        _sync_folder(self._folder)
        self._sizes[last] = end
        self._mark = Mark(last, end)
        return number

    def _salvage(self, damage: Damage) -> None:
        path = Path(damage.path)
        kept = path.with_suffix(f".{damage.offset}.damaged")
        with path.open("rb") as file:
            file.seek(damage.offset)
            kept.write_bytes(file.read())
        self.salvaged.append(damage)

    def _begin(self, first: int) -> None:
        path = _path(self._folder, first)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        _sync_folder(self._folder)
        self._sizes[first] = 0
        self._mark = Mark(first, 0)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    if self._done_below >= self._next and self._mark.offset and not self._torn:
                        self._renew()
                    self._changed.wait()
                if not self._waiting:
                    return
                taken: list[_Offer] = []
                size = 0
                while self._waiting and (not taken or size + self._waiting[0].size <= _SYNC_BYTES):
                    taken.append(self._waiting.popleft())
                    size += taken[-1].size
            self._store(taken, size)

    def _store(self, taken: "Sequence[_Offer]", size: int) -> None:
        number = self._next
        data = bytearray()
        firsts = []
        for offer in taken:
            checksum = zlib.crc32(number.to_bytes(8, "little"), offer.checksum)
            data += _HEAD.pack(len(offer.body), checksum, number)
            data += offer.body
            firsts.append(number)
            number += offer.records
        segment, end = self._mark
        failed: Full | None = None
        try:
            if self._torn:
                os.ftruncate(self._file, end)
            # Until it is synced, what stands behind the mark is nobody's: a write may come half
            # through, and a sync that failed may have dropped any page of it.
            self._torn = True
            _write_all(self._file, data)
            os.fdatasync(self._file)
            self._torn = False
        except OSError as error:
            failed = Full(f"the disk does not take it: {error.strerror}", retry_after_s=30)
        with self._changed:
            self._waiting_bytes -= size
            if failed is None:
                self._next = number
                self._mark = Mark(segment, end + len(data))
                self._sizes[segment] = end + len(data)
                if end + len(data) >= self._segment_bytes:
                    self._roll(number)
        for offer, first in zip(taken, firsts, strict=True):
            if failed is None:
                offer.future.set_result(first)
            else:
                offer.future.set_exception(failed)

    def _renew(self) -> None:
        last = self._mark.segment
        self._roll(self._next)
        if self._mark.segment != last:
            with contextlib.suppress(OSError):
                _path(self._folder, last).unlink()
            del self._sizes[last]

    def _roll(self, first: int) -> None:
        old = self._file
        try:
            self._begin(first)
        except OSError:
            return  # the old segment goes on, and this is tried again after the next frame
        os.close(old)


class QueueReader:
    """Reads a queue in order, from a number on."""

    def __init__(self, folder: Path, start: int = 1) -> None:
        """Read the queue in `folder` from record number `start` on."""
        self._folder = folder
        self._segment = 0
        self._offset = 0
        self.next_number = start
        """The number of the record that comes next."""

    def read(self, mark: Mark) -> Iterator[Frame | Damage]:
        """Yield what has come since the last call, up to a writer's mark.

        A frame that reaches back before `next_number` is cut. Damage inside what was synced is
        yielded, and reading goes on with the next segment.
        """
        firsts = _firsts(self._folder)
        if not self._segment:
            at = [first for first in firsts if first <= self.next_number]
            self._segment = at[-1] if at else (firsts[0] if firsts else 0)
        for first in firsts:
            if first < self._segment or first > mark.segment:
                continue
            if first > self._segment:
                self._segment, self._offset = first, 0
            limit = mark.offset if first == mark.segment else None
            for item in _frames(_path(self._folder, first), self._offset, limit):
                if isinstance(item, Damage):
                    # What stood between here and the mark cannot be found again.
                    self._offset = mark.offset
                    yield item
                    break
                frame, self._offset = item
                end = frame.first + len(frame.arrivals)
                if end <= self.next_number:
                    continue
                skipped = max(0, self.next_number - frame.first)
                self.next_number = end
                yield Frame(frame.first + skipped, frame.arrivals[skipped:])


def _frames(path: Path, offset: int, limit: int | None) -> Iterator[tuple[Frame, int] | Damage]:
    """Yield the frames of a segment with the offset behind each; at most one damage, at the end."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # just forgotten: all that was in it has been read
    with file:
        file.seek(offset)
        size = limit if limit is not None else os.fstat(file.fileno()).st_size
        while offset < size:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                yield Damage(str(path), offset, "a frame without its whole head")
                return
            length, checksum, first = _HEAD.unpack(head)
            if length > FRAME_BYTES or offset + _HEAD.size + length > size:
                yield Damage(
                    str(path), offset, f"a frame of {length:,} bytes that is not all there"
                )
                return
            body = file.read(length)
            if zlib.crc32(head[8:], zlib.crc32(body)) != checksum:
                yield Damage(str(path), offset, "a frame whose checksum does not fit")
                return
            try:
                arrivals = _decode(body)
            except msgspec.MsgspecError as error:
                yield Damage(str(path), offset, f"a frame that cannot be decoded: {error}")
                return
            offset += _HEAD.size + length
            yield Frame(first, arrivals), offset


def _write_all(file: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _stamp(folder: Path) -> None:
    """Note which format the queue has. Those from before there was a stamp have 1."""
    path = folder / "format"
    found = path.read_bytes().strip() if path.exists() else b""
    if not found:
        path.write_bytes(b"%d\n" % _FORMAT)
    elif found != b"%d" % _FORMAT:
        raise TrailhoundError(
            f"the queue {folder} was written by a later Trailhound (format "
            f"{found[:20].decode(errors='replace')}; this one knows formats up to {_FORMAT}): "
            "let that one read it empty, or use another state folder"
        )


def _firsts(folder: Path) -> list[int]:
    names = [name[: -len(_SUFFIX)] for name in os.listdir(folder) if name.endswith(_SUFFIX)]
    return sorted(int(name) for name in names if name.isdecimal())


def _path(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}{_SUFFIX}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
