"""An external sort: feeds in any order, out in event time, in flat memory."""

import heapq
import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from trailhound.engine.windows.contract import Feed
from trailhound.model.events import Event

_RUN_BYTES = 32 * 1024 * 1024
_READ_AHEAD = 64
_LENGTH_BYTES = 8

_Entry = tuple[int, str, str, bytes]
"""(event time, event uid, place, feeds): what is sorted. Of copies, the first place counts."""


class Fed(NamedTuple):
    """An event, and what it feeds."""

    event: Event
    feeds: tuple[Feed, ...]


class Spool:
    """Takes feeds and gives them back sorted; keeps their events.

    Feeds are held as bytes, so that their size is known whatever a log writer put into them;
    beyond 32 MB they go to a temporary file, which has no name and goes away with the process.
    Events go there too, and come back only where they are evidence.
    """

    def __init__(self) -> None:
        self._held: list[_Entry] = []
        self._held_bytes = 0
        self._file = tempfile.SpooledTemporaryFile(_RUN_BYTES, prefix="trailhound-")  # noqa: SIM115
        self._end = 0
        self._runs: list[tuple[int, int]] = []
        self._last: tuple[Event, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, fed: Fed) -> None:
        """Take an event and its feeds."""
        event = fed.event
        if self._last is None or self._last[0] is not event:
            self._last = event, self._append(pickle.dumps(event, pickle.HIGHEST_PROTOCOL))
        at = self._last[1]
        data = pickle.dumps([feed._replace(at=at) for feed in fed.feeds], pickle.HIGHEST_PROTOCOL)
        origin = event.origins[0]
        place = f"{origin.path}\0{origin.line:012d}\0{origin.element:09d}"
        self._held.append((event.envelope.time_ns, event.uid, place, data))
        self._held_bytes += len(data)
        if self._held_bytes >= _RUN_BYTES:
            self._write()

    def event(self, at: int) -> Event:
        """Return the event that a feed came from, by `Feed.at`."""
        event: Event = pickle.loads(self._at(at))  # noqa: S301 - written by this very process
        return event

    def sorted(self) -> Iterator[Feed]:
        """Yield every feed, by event time and uid."""
        self._held.sort()
        runs = [self._read(start, end) for start, end in self._runs]
        for *_, data in heapq.merge(*runs, self._held):
            yield from pickle.loads(data)  # noqa: S301 - as above

    def _write(self) -> None:
        self._held.sort()
        start = self._end
        for entry in self._held:
            self._append(pickle.dumps(entry, pickle.HIGHEST_PROTOCOL))
        self._runs.append((start, self._end))
        self._held = []
        self._held_bytes = 0

    def _append(self, data: bytes) -> int:
        start = self._end
        self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
        self._end += _LENGTH_BYTES + len(data)
        return start

    def _at(self, at: int) -> bytes:
        self._file.seek(at)
        return self._file.read(int.from_bytes(self._file.read(_LENGTH_BYTES), "little"))

    def _read(self, at: int, end: int) -> Iterator[_Entry]:
        while at < end:
            # Runs take turns on one file handle, so each remembers its own place.
            self._file.seek(at)
            entries: list[_Entry] = []
            while at < end and len(entries) < _READ_AHEAD:
                size = int.from_bytes(self._file.read(_LENGTH_BYTES), "little")
                entries.append(pickle.loads(self._file.read(size)))  # noqa: S301 - as above
                at += _LENGTH_BYTES + size
            yield from entries
