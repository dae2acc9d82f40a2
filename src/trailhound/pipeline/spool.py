"""An external sort: feeds in any order, out in event time, in flat memory."""

import heapq
import pickle
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from types import FunctionType, TracebackType
from typing import Any, NamedTuple, Self

from trailhound.engine.windows.chances import Chances
from trailhound.engine.windows.contract import Feed
from trailhound.model.events import Event, Seed, grown, restored
from trailhound.model.records import Origin
from trailhound.pipeline.temporary import room_needed

_RUN_BYTES = 32 * 1024 * 1024
_READ_AHEAD = 64
_LENGTH_BYTES = 8
_FEED_BYTES = 400
"""What a feed takes in memory, without its texts."""
_SEED_BYTES = 600
"""The same of what an event is made of."""
_DESCRIBERS_LIMIT = 64
_EVENTS_AT_HAND = 64
_AT_HAND_LIMIT_BYTES = 65_536
"""A larger event is read again each time."""

_Place = tuple[str, int, int]
"""The first origin of an event: path, line, element."""
_Entry = tuple[int, str, _Place, int | Seed, tuple[Feed, ...]]
"""(event time, event uid, place, where the event is kept or what it is made of, feeds). Sorted by
the first three: of copies, the first place counts; feeds of one event stay in the order of the
plan."""
_ALONE, _IN_RUN, _HELD = range(3)
"""How an event is kept that `Feed.at` leads to: by itself in the file, there among the entries of
a run, in memory. `at` is its number times 3, and this."""
_Numbered = tuple[int, str, _Place, int, Sequence[Any]]
"""An entry with `Feed.at` in place of its event; its feeds may be plain tuples."""
_ORDER = itemgetter(0, 1, 2)


class Fed(NamedTuple):
    """An event, and what it feeds."""

    event: Event
    feeds: tuple[Feed, ...]


class Spool:
    """Takes feeds and gives them back sorted; keeps their events.

    Feeds beyond 32 MB, whatever a log writer put into them, go to a temporary file, which has no
    name and goes away with the process. Events go there too, and come back only where they are
    evidence. Feeds of groups that have too few of them to say anything are not given back.
    """

    def __init__(self, chances: Chances) -> None:
        """Make an empty spool; `chances` counts the feeds that it takes."""
        self.last_ns = 0
        """The latest event time of all feeds; 0: there are none, or none after 1970."""
        self._chances = chances
        self._held: list[_Entry] = []
        self._held_bytes = 0
        self._file = tempfile.SpooledTemporaryFile(_RUN_BYTES, prefix="trailhound-")  # noqa: SIM115
        self._end = 0
        self._is_elsewhere = False
        self._runs: list[tuple[int, int]] = []
        self._last: Event | None = None
        self._at_hand: OrderedDict[int, Event] = OrderedDict()
        self._describers: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What is still to be written is not needed any more, and a full disk was told before.
        with suppress(OSError):
            self._file.close()

    def add(self, fed: Fed) -> None:
        """Take an event and its feeds."""
        event, feeds = fed.event, fed.feeds
        self._chances.add(feeds)
        self._held_bytes += _size_of(feeds)
        if event is self._last:  # another rule that it matches
            entry = self._held[-1]
            self._held[-1] = (*entry[:4], entry[4] + feeds)
            return
        if self._held_bytes >= _RUN_BYTES:
            self._write()
        kept: int | Seed
        if event.seed is None or len(event.origins) > 1:
            kept = self._append(self._written(event))
        else:
            kept = event.seed
            self._held_bytes += _seed_size(kept)
        self._last = event
        time_ns, origin = event.time_ns, event.origins[0]
        self.last_ns = max(self.last_ns, time_ns)
        place = origin.path, origin.line, origin.element
        self._held.append((time_ns, event.uid, place, kept, feeds))

    def event(self, at: int) -> Event:
        """Return the event that a feed came from, by `Feed.at`."""
        found = self._at_hand.get(at)
        if found is not None:
            return found
        number, how = divmod(at, 3)
        if how == _ALONE:
            data = self._at(number)
            size, event = len(data), self._restored(data)
        else:
            start, nth = divmod(number, _READ_AHEAD)
            entry = self._held[number] if how == _HELD else self._entries_at(start)[0][nth]
            assert not isinstance(entry[3], int)  # noqa: S101 - such are alone
            size, event = _seed_size(entry[3]), grown((Origin(*entry[2]),), entry[3])
        if size <= _AT_HAND_LIMIT_BYTES:
            self._at_hand[at] = event
            if len(self._at_hand) > _EVENTS_AT_HAND:
                self._at_hand.popitem(last=False)
        return event

    def sorted(self) -> Iterator[Feed]:
        """Yield the feeds of all groups that may say something, by event time and uid."""
        possible = self._chances.possible
        self._held.sort(key=_ORDER)
        entries = _numbered(self._held, 0, _HELD)
        if self._runs:
            runs = [self._read(start, end) for start, end in self._runs]
            entries = heapq.merge(*runs, entries, key=_ORDER)
        for _, _, _, at, feeds in entries:
            for plain in feeds:
                feed = _feed((*plain[:7], at, *plain[8:]))
                if possible(feed):
                    yield feed

    def _written(self, event: Event) -> bytes:
        # To name classes and functions takes longer than to write down what an event says.
        describe, known = event.described_by, self._describers
        if describe not in known:
            if not isinstance(describe, FunctionType) or len(known) == _DESCRIBERS_LIMIT:
                return pickle.dumps(event, pickle.HIGHEST_PROTOCOL)
            known.append(describe)
        kept = known.index(describe), event.plain()
        return pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)

    def _restored(self, data: bytes) -> Event:
        kept = pickle.loads(data)  # noqa: S301 - written by this very process
        return kept if isinstance(kept, Event) else restored(kept[1], self._describers[kept[0]])

    def _write(self) -> None:
        self._held.sort(key=_ORDER)
        start = self._end
        # Together, for what many of them name is then written once.
        for at in range(0, len(self._held), _READ_AHEAD):
            some = self._held[at : at + _READ_AHEAD]
            plain = [(*entry[:4], list(map(_plain, entry[4]))) for entry in some]
            self._append(pickle.dumps(plain, pickle.HIGHEST_PROTOCOL))
        self._runs.append((start, self._end))
        self._held = []
        self._held_bytes = 0

    def _append(self, data: bytes) -> int:
        if self._is_elsewhere:
            self._file.seek(self._end)
            self._is_elsewhere = False
        start = self._end
        with room_needed():
            self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
        self._end += _LENGTH_BYTES + len(data)
        return start

    def _at(self, at: int) -> bytes:
        self._is_elsewhere = True
        with room_needed():  # to go elsewhere writes what waits to be written
            self._file.seek(at)
        return self._file.read(int.from_bytes(self._file.read(_LENGTH_BYTES), "little"))

    def _read(self, start: int, end: int) -> Iterator[_Numbered]:
        while start < end:
            entries, size = self._entries_at(start)
            yield from _numbered(entries, start * _READ_AHEAD, _IN_RUN)
            start += size

    def _entries_at(self, start: int) -> tuple[list[Any], int]:
        """Return entries that were written together, and how many bytes they are."""
        data = self._at(start)
        return pickle.loads(data), _LENGTH_BYTES + len(data)  # noqa: S301 - as above


def _numbered(entries: Iterable[_Entry], first: int, how: int) -> Iterator[_Numbered]:
    for number, (time_ns, uid, place, kept, feeds) in enumerate(entries, first):
        at = kept * 3 + _ALONE if isinstance(kept, int) else number * 3 + how
        yield time_ns, uid, place, at, feeds


def _plain(feed: Feed) -> tuple[Any, ...]:
    """Return a feed as a tuple without a name, which takes a third of the time to write down."""
    onward = feed.onward
    return (*feed[:8], tuple(map(_plain, onward)), feed.said) if onward else tuple(feed)


def _feed(plain: tuple[Any, ...]) -> Feed:
    if plain[8] and not isinstance(plain[8][0], Feed):
        plain = (*plain[:8], tuple(map(_feed, plain[8])), plain[9])
    return tuple.__new__(Feed, plain)  # in a third of the time that the class takes


def _seed_size(seed: Seed) -> int:
    """Return about how many bytes what an event is made of takes in memory."""
    return _SEED_BYTES + sum(map(sys.getsizeof, seed[1]))


def _size_of(feeds: Iterable[Feed]) -> int:
    """Return about how many bytes feeds take in memory."""
    total = 0
    for feed in feeds:
        total += _FEED_BYTES + sum(map(sys.getsizeof, feed.key))
        for texts in feed.values:
            total += sum(map(sys.getsizeof, texts))
        if feed.onward:
            total += _size_of(feed.onward)
        if feed.said is not None:
            total += sys.getsizeof(feed.said.message)
            total += sum(map(sys.getsizeof, (text for pair in feed.said.values for text in pair)))
    return total
