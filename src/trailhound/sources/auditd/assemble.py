"""Puts the records of one event together while others come in between."""

import heapq
import re
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from trailhound.model.records import Origin, Payload
from trailhound.sources.auditd.fields import Line, read_line

SETTLED = 128
"""Records of its host after which an event is taken as complete, if its end was seen or its
host's clock has moved on. Records may be out of order by as much without consequence."""
STALE = 4096
"""Records of its host after which an event is given out whatever its state."""
CLOCK_S = 2
"""Seconds an event may last (auparse's `end_of_event_timeout`)."""
MAX_EVENTS = 4096
MAX_LINES = 65_536
"""Bounds on what is held back; past them the event that was silent longest goes first."""
MAX_EVENT_LINES = 8192
_REMEMBERED = 8192
_REMEMBERED_RAW_BYTES = 2048
EVERY_MARK = -1
"""Marks of a group of which it is not known what a search would have found."""

_ROTATION = re.compile(r"[.-]\d{1,14}(?=\.|$)|\.(?:gz|zst|zstd|bz2|xz)$", re.ASCII)
When = tuple[int, int, int]
"""Seconds, nanoseconds and serial of an event."""
Key = tuple[str, int, int, int]
"""Host, and when."""


@lru_cache(maxsize=256)
def _log_of(path: str) -> str:
    """Name the host of a log that does not: one log is of one host, also when it is rotated."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + _ROTATION.sub("", name)


class Raw(NamedTuple):
    """Records that follow on each other and have not been read yet."""

    line: int
    """Number of the first line."""
    kinds: tuple[bytes, ...]
    """The types of the records."""
    data: bytes
    """The lines."""

    def lines(self) -> list[bytes]:
        """Return the lines one by one."""
        return self.data.split(b"\n")


_Prints = int | tuple[Raw, ...]
"""What tells two groups of the same name apart: a number made of their records, or the records
that it can be made of."""


class Group:
    """The records of one event, so far."""

    __slots__ = ("count", "ended", "lines", "marks", "name", "origins", "path", "raw", "seen")

    def __init__(self, name: Key) -> None:
        self.name = name
        self.lines: dict[tuple[str, str], Line] = {}
        self.origins: list[Origin] = []
        self.raw: list[Raw] = []
        """Records not yet read, the mark of the end left in; all of the file at `path`."""
        self.path = ""
        self.count = 0
        self.marks = 0
        """What a search found in the records together."""
        self.ended = False
        self.seen = 0

    @property
    def host(self) -> str:
        """What tells the host from others."""
        return self.name[0]

    def add(self, line: Line, origin: Origin) -> None:
        """Add a record; of two copies (of a log kept in two places) the enriched one stays."""
        self.read()
        self.count += 1
        self.marks = EVERY_MARK
        self._put(line, origin)

    def add_raw(self, path: str, raw: Raw, marks: int) -> None:
        """Add records that may never have to be read."""
        if path != self.path:
            self.read()
            self.path = path
        self.count += len(raw.kinds)
        self.marks |= marks
        self.raw.append(raw)
        self.ended = self.ended or _END in raw.kinds

    def read(self) -> None:
        """Read what has not been read."""
        for raw in self.raw:
            for number, data in enumerate(raw.lines(), raw.line):
                origin = Origin(self.path, number)
                line = read_line(Payload(origin=origin, text=data.decode()))
                if line is not None:
                    self._put(line, origin)
        self.raw.clear()

    def _put(self, line: Line, origin: Origin) -> None:
        self.origins.append(origin)
        if line.type == "EOE":
            self.ended = True
            return
        known = self.lines.get((line.type, line.body))
        if known is None or len(line.enriched) > len(known.enriched):
            self.lines[line.type, line.body] = line

    def holds_records(self) -> bool:
        """Whether there is any but the mark of the end."""
        if self.lines or not self.ended:
            return True
        return any(raw.kinds.count(_END) < len(raw.kinds) for raw in self.raw)

    def prints(self) -> _Prints:
        """What tells two groups of the same name apart: their records."""
        if not self.lines and sum([len(raw.data) for raw in self.raw]) <= _REMEMBERED_RAW_BYTES:
            return tuple(self.raw)
        self.read()
        return hash(frozenset(self.lines))


def _fingerprint(prints: _Prints) -> int:
    if isinstance(prints, int):
        return prints
    held = [data.decode() for raw in prints for data in raw.lines()]
    read = [read_line(Payload(origin=_NOWHERE, text=text)) for text in held]
    return hash(frozenset((each.type, each.body) for each in read if each and each.type != "EOE"))


_END = b"EOE"
_NOWHERE = Origin("-", 0)


class _Host:
    __slots__ = ("events", "queue", "seen")

    def __init__(self) -> None:
        self.events = 0
        self.queue: list[When] = []
        self.seen = 0


class Assembler:
    """Groups records by (host, time, serial) and gives out groups in order of event time.

    An event's records may lie apart, come in any order, and end with an EOE record, with
    one that comes early, or with none (user-space records). State is bounded.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Key, Group] = OrderedDict()
        self._hosts: dict[str, _Host] = {}
        self._held = 0
        self._given: OrderedDict[Key, _Prints] = OrderedDict()
        self._settling: dict[Key, int] = {}

    def add(self, line: Line, origin: Origin) -> list[tuple[Group, bool]]:
        """Take a record in.

        Returns:
            Groups that are complete, and whether they come too late: after another group of
            the same name with other records was given out.
        """
        name = line.node or _log_of(origin.path)
        key = (name, line.seconds, int(line.fraction.ljust(9, "0")), line.serial)
        group = self._group(key)
        group.add(line, origin)
        return self._taken(key, group, 1)

    def add_raw(
        self, node: str, when: When, path: str, raw: Raw, marks: int
    ) -> list[tuple[Group, bool]]:
        """Take in records of one event that follow on each other and need not be read yet.

        Args:
            node: host that they name, or empty.
            when: of the event.
            path: of their file.
            raw: the records.
            marks: what a search found in them.
        """
        key = (node or _log_of(path), *when)
        count = len(raw.kinds)
        if count > 1 and not self._has_room(key, count):
            numbered = zip(raw.kinds, raw.lines(), strict=True)
            single = [Raw(n, (kind,), data) for n, (kind, data) in enumerate(numbered, raw.line)]
            return [
                given for each in single for given in self.add_raw(node, when, path, each, marks)
            ]
        group = self._group(key)
        group.add_raw(path, raw, marks)
        return self._taken(key, group, count)

    def _has_room(self, key: Key, count: int) -> bool:
        """Whether it is the same if records are taken in one by one or at once."""
        group, host = self._open.get(key), self._hosts.get(key[0])
        if self._held + count > MAX_LINES or len(self._open) >= MAX_EVENTS:
            return False
        if (group.count if group else 0) + count >= MAX_EVENT_LINES:
            return False
        oldest = next(iter(self._open.values()), None)
        if host is None or oldest is None or oldest.host != key[0]:
            return True
        return host.seen + count - oldest.seen < STALE

    def _group(self, key: Key) -> Group:
        name, *_ = key
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
        group = self._open.get(key)
        if group is None:
            group = self._open[key] = Group(key)
            heapq.heappush(host.queue, key[1:])
            host.events += 1
        else:
            self._open.move_to_end(key)
        return group

    def _taken(self, key: Key, group: Group, count: int) -> list[tuple[Group, bool]]:
        name, now_s, *_ = key
        host = self._hosts[name]
        host.seen += count
        group.seen = host.seen
        self._held += count
        given = self._complete(host, name, now_s)
        # What a wrong clock dated into the future never comes to the head of the queue.
        oldest_key, oldest = next(iter(self._open.items()))
        if oldest.host == name and host.seen - oldest.seen >= STALE:
            given.append(self._give(oldest_key))
        if group.count >= MAX_EVENT_LINES and key in self._open:
            given.append(self._give(key))
        while len(self._open) > MAX_EVENTS or self._held > MAX_LINES:
            given.append(self._give(next(iter(self._open))))
        return given

    def settle(self) -> Iterator[tuple[Group, bool]]:
        """Give out what has got no record since this was last called, in order of time."""
        before = self._settling
        due = [key for key, group in self._open.items() if before.get(key) == group.count]
        for key in sorted(due, key=lambda key: (key[1:], key[0])):
            yield self._give(key)
        self._settling = {key: group.count for key, group in self._open.items()}

    def flush(self) -> Iterator[tuple[Group, bool]]:
        """Give out all that is held, in order of time."""
        for key in sorted(self._open, key=lambda key: (key[1:], key[0])):
            yield self._give(key)
        self._hosts.clear()

    def _complete(self, host: _Host, name: str, now_s: int) -> list[tuple[Group, bool]]:
        given = []
        while host.queue:
            when = host.queue[0]
            group = self._open.get((name, *when))
            if group is not None:
                silent = host.seen - group.seen
                if silent < SETTLED:
                    break
                if not group.ended and when[0] + CLOCK_S >= now_s and silent < STALE:
                    break
            heapq.heappop(host.queue)
            if group is not None:
                given.append(self._give((name, *when)))
        return given

    def _give(self, key: Key) -> tuple[Group, bool]:
        group = self._open.pop(key)
        self._held -= group.count
        host = self._hosts[group.host]
        host.events -= 1
        if len(host.queue) > 2 * host.events + SETTLED:
            host.queue = sorted({key[1:] for key in self._open if key[0] == group.host})
        if not host.events and len(self._hosts) > 1:
            del self._hosts[group.host]
        if not group.holds_records():
            return group, key in self._given
        prints, before = group.prints(), self._given.get(key)
        late = before is not None and _fingerprint(before) != _fingerprint(prints)
        self._given[key] = prints
        self._given.move_to_end(key)
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        return group, late
