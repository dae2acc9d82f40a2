"""An external sort: feeds in any order, out in event time, in flat memory."""

import heapq
import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self, cast

from trailhound.engine.windows import Feed

_RUN_BYTES = 32 * 1024 * 1024
_READ_AHEAD = 64
_LENGTH_BYTES = 8

_Key = tuple[int, str]
_Entry = tuple[_Key, bytes]


def _key(feed: Feed) -> _Key:
    # Equal times are put in the order of their places, so that every run comes out the same.
    origin = feed.event.origins[0]
    return feed.time_ns, f"{origin.path}\0{origin.line:012d}\0{origin.element:09d}"


class Spool:
    """Takes feeds and gives them back sorted.

    They are held as bytes, so that their size is known whatever a log writer put into them;
    beyond 32 MB they go to a temporary file, which has no name and goes away with the process.
    """

    def __init__(self) -> None:
        self._held: list[_Entry] = []
        self._held_bytes = 0
        self._file: BinaryIO | None = None
        self._runs: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, feed: Feed) -> None:
        """Take one feed."""
        data = pickle.dumps(feed, protocol=pickle.HIGHEST_PROTOCOL)
        self._held.append((_key(feed), data))
        self._held_bytes += len(data)
        if self._held_bytes >= _RUN_BYTES:
            self._write()

    def sorted(self) -> Iterator[Feed]:
        """Yield every feed, by event time."""
        self._held.sort()
        runs = [self._read(start, end) for start, end in self._runs]
        for _, data in heapq.merge(*runs, self._held):
            yield pickle.loads(data)  # noqa: S301 - written by this very process

    def _write(self) -> None:
        if self._file is None:
            file = tempfile.TemporaryFile(prefix="trailhound-")  # noqa: SIM115 - kept for the run
            self._file = cast("BinaryIO", file)
        self._held.sort()
        start = self._file.seek(0, 2)
        for entry in self._held:
            data = pickle.dumps(entry, protocol=pickle.HIGHEST_PROTOCOL)
            self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
            self._file.write(data)
        self._runs.append((start, self._file.tell()))
        self._held = []
        self._held_bytes = 0

    def _read(self, at: int, end: int) -> Iterator[_Entry]:
        assert self._file is not None  # noqa: S101 - there are runs only where there is a file
        while at < end:
            # Runs take turns on one file handle, so each remembers its own place.
            self._file.seek(at)
            entries: list[_Entry] = []
            while at < end and len(entries) < _READ_AHEAD:
                size = int.from_bytes(self._file.read(_LENGTH_BYTES), "little")
                entries.append(pickle.loads(self._file.read(size)))  # noqa: S301 - as above
                at += _LENGTH_BYTES + size
            yield from entries
