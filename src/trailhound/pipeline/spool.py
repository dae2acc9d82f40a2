"""An external sort: feeds in any order, out in event time, in flat memory."""

import heapq
import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self, cast

from trailhound.engine.windows import Feed

_RUN_LENGTH = 20_000


def _order(feed: Feed) -> tuple[int, str]:
    # Equal times are put in the order of their places, so that every run comes out the same.
    origin = feed.event.origins[0]
    return feed.time_ns, f"{origin.path}\0{origin.line:012d}\0{origin.element:09d}"


class Spool:
    """Takes feeds and gives them back sorted. Beyond 20,000 they go to a temporary file.

    The file has no name and is readable by nobody else; it goes away with the process.
    """

    def __init__(self) -> None:
        self._held: list[Feed] = []
        self._file: BinaryIO | None = None
        self._runs: list[int] = []

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
        self._held.append(feed)
        if len(self._held) >= _RUN_LENGTH:
            self._write()

    def sorted(self) -> Iterator[Feed]:
        """Yield every feed, by event time."""
        self._held.sort(key=_order)
        runs = [self._read(start) for start in self._runs]
        yield from heapq.merge(*runs, self._held, key=_order)

    def _write(self) -> None:
        if self._file is None:
            self._file = cast("BinaryIO", tempfile.TemporaryFile(prefix="trailhound-"))  # noqa: SIM115 - lives as long as the spool
        self._held.sort(key=_order)
        self._file.seek(0, 2)
        self._runs.append(self._file.tell())
        for feed in self._held:
            pickle.dump(feed, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        pickle.dump(None, self._file)
        self._held = []

    def _read(self, start: int) -> Iterator[Feed]:
        assert self._file is not None  # noqa: S101 - there are runs only where there is a file
        at = start
        while True:
            # Runs take turns on one file handle, so each remembers its own place.
            self._file.seek(at)
            feeds: list[Feed] = []
            for _ in range(64):
                feed = pickle.load(self._file)  # noqa: S301 - our own unnamed file
                if feed is None:
                    yield from feeds
                    return
                feeds.append(feed)
            at = self._file.tell()
            yield from feeds
