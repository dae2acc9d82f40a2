"""Puts the records of one event together while others come in between."""

import heapq
import re
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache

from trailhound.model.records import Origin
from trailhound.sources.auditd.fields import Line

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

_ROTATION = re.compile(r"[.-]\d{1,14}(?=\.|$)|\.(?:gz|zst|zstd|bz2|xz)$", re.ASCII)
_When = tuple[int, int, int]
_Key = tuple[str, int, int, int]


@lru_cache(maxsize=256)
def _log_of(path: str) -> str:
    """Name the host of a log that does not: one log is of one host, also when it is rotated."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + _ROTATION.sub("", name)


class Group:
    """The records of one event, so far."""

    __slots__ = ("ended", "host", "lines", "origins", "seen")

    def __init__(self, host: str) -> None:
        self.host = host
        self.lines: dict[tuple[str, str], Line] = {}
        self.origins: list[Origin] = []
        self.ended = False
        self.seen = 0

    def add(self, line: Line, origin: Origin) -> None:
        """Add a record; of two copies (of a log kept in two places) the enriched one stays."""
        self.origins.append(origin)
        if line.type == "EOE":
            self.ended = True
            return
        known = self.lines.get((line.type, line.body))
        if known is None or len(line.enriched) > len(known.enriched):
            self.lines[line.type, line.body] = line

    def fingerprint(self) -> int:
        """What tells two groups of the same name apart: their records."""
        return hash(frozenset(self.lines))


class _Host:
    __slots__ = ("events", "queue", "seen")

    def __init__(self) -> None:
        self.events = 0
        self.queue: list[_When] = []
        self.seen = 0


class Assembler:
    """Groups records by (host, time, serial) and gives out groups in order of event time.

    An event's records may lie apart, come in any order, and end with an EOE record, with
    one that comes early, or with none (user-space records). State is bounded.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[_Key, Group] = OrderedDict()
        self._hosts: dict[str, _Host] = {}
        self._held = 0
        self._given: OrderedDict[_Key, int] = OrderedDict()
        self._settling: dict[_Key, int] = {}

    def add(self, line: Line, origin: Origin) -> list[tuple[Group, bool]]:
        """Take a record in.

        Returns:
            Groups that are complete, and whether they come too late: after another group of
            the same name with other records was given out.
        """
        when = (line.seconds, int(line.fraction.ljust(9, "0")), line.serial)
        name = line.node or _log_of(origin.path)
        key = (name, *when)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
        group = self._open.get(key)
        if group is None:
            group = self._open[key] = Group(name)
            heapq.heappush(host.queue, when)
            host.events += 1
        else:
            self._open.move_to_end(key)
        host.seen += 1
        group.seen = host.seen
        group.add(line, origin)
        self._held += 1
        given = self._complete(host, name, line.seconds)
        # What a wrong clock dated into the future never comes to the head of the queue.
        oldest_key, oldest = next(iter(self._open.items()))
        if oldest.host == name and host.seen - oldest.seen >= STALE:
            given.append(self._give(oldest_key))
        if len(group.origins) >= MAX_EVENT_LINES and key in self._open:
            given.append(self._give(key))
        while len(self._open) > MAX_EVENTS or self._held > MAX_LINES:
            given.append(self._give(next(iter(self._open))))
        return given

    def settle(self) -> Iterator[tuple[Group, bool]]:
        """Give out what has got no record since this was last called, in order of time."""
        before = self._settling
        due = [key for key, group in self._open.items() if before.get(key) == len(group.origins)]
        for key in sorted(due, key=lambda key: (key[1:], key[0])):
            yield self._give(key)
        self._settling = {key: len(group.origins) for key, group in self._open.items()}

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

    def _give(self, key: _Key) -> tuple[Group, bool]:
        group = self._open.pop(key)
        self._held -= len(group.origins)
        host = self._hosts[group.host]
        host.events -= 1
        if len(host.queue) > 2 * host.events + SETTLED:
            host.queue = sorted({key[1:] for key in self._open if key[0] == group.host})
        if not host.events and len(self._hosts) > 1:
            del self._hosts[group.host]
        if not group.lines:
            return group, key in self._given
        prints = group.fingerprint()
        late = self._given.get(key, prints) != prints
        self._given[key] = prints
        self._given.move_to_end(key)
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        return group, late
