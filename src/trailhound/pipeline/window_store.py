"""What windows over a stream remember, in one SQLite file.

Groups in use are in memory, the others in the file, so that memory is bounded however many
there are; so is the most part of a group that has very many events. Everything is one
transaction until `save`: after a crash, the file is as it was when last saved, and so is
whatever its user notes in it of what had been read by then.
"""

import heapq
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from trailhound.engine.plan import Plan
from trailhound.engine.windows.clock import Lateness
from trailhound.engine.windows.groups import Group
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.saving import VERSION, Names, pages_of
from trailhound.engine.windows.state import WindowState
from trailhound.engine.windows.streaming import TooLate
from trailhound.engine.windows.timeline import AnyLine
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.pipeline.formats import known_format, opened, stamp
from trailhound.pipeline.kept_events import dump_event, load_event
from trailhound.pipeline.shelf import StoredPages

GROUPS_HELD = 50_000
"""Groups in memory; the least recently used ones beyond go to the file."""

GROUPS_BYTES = 64 * 1024 * 1024
"""What they may take as last written; in memory it is several times that."""

EVIDENCE_NS = 7 * 86_400 * 1_000_000_000
"""Events are kept so long after nothing late can join them any more."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS groups (
    name BLOB PRIMARY KEY, wake INTEGER NOT NULL, held INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS groups_wake ON groups (wake) WHERE NOT held;
CREATE TABLE IF NOT EXISTS events (at INTEGER PRIMARY KEY, time INTEGER NOT NULL, data BLOB);
CREATE INDEX IF NOT EXISTS events_time ON events (time);
CREATE TABLE IF NOT EXISTS late (window TEXT NOT NULL, bound INTEGER NOT NULL, data BLOB);
"""
_FAR = 2**63 - 1


class StoredGroups:
    """Groups of windows: some in memory, the rest in the file. See `engine.windows.groups`."""

    def __init__(self, file: sqlite3.Connection, names: Names, limit: int = GROUPS_HELD) -> None:
        self._file = file
        self._names = names
        self._limit = limit
        self._held: OrderedDict[Group, AnyLine] = OrderedDict()
        self._sizes: dict[Group, int] = {}
        """Of groups held: how many bytes each was when last written or read."""
        self._bytes = 0
        self._changed: set[Group] = set()
        self._queue: list[tuple[int, int, Group]] = []
        self._turn = 0
        file.execute("UPDATE groups SET held = 0 WHERE held")
        self._next_ns = self._next_stored()

    def get(self, group: Group) -> AnyLine | None:
        """Return the timeline of a group."""
        line = self._held.get(group)
        if line is not None:
            self._held.move_to_end(group)
            return line
        name = self._names.group_name(group)
        row = self._file.execute("SELECT data FROM groups WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        line = self._names.load_group(group, row[0])
        self._weigh(group, len(row[0]))
        self._file.execute("UPDATE groups SET held = 1 WHERE name = ?", (name,))
        self._hold(group, line)
        return line

    def put(self, group: Group, line: AnyLine) -> None:
        """Hold a timeline, and queue its group for `wake_ns`."""
        self._changed.add(group)
        self._hold(group, line)

    def drop(self, group: Group) -> None:
        """Forget a group."""
        self._held.pop(group, None)
        self._weigh(group, 0)
        self._changed.discard(group)
        name = self._names.group_name(group)
        self._file.execute("DELETE FROM groups WHERE name = ?", (name,))

    def due(self, now_ns: int) -> Iterator[Group]:
        """Yield groups that want to be woken by now, the earliest first."""
        while True:
            held_ns = self._queue[0][0] if self._queue else _FAR
            if min(held_ns, self._next_ns) > now_ns:
                return
            if self._next_ns <= held_ns:
                fetched = self._fetch_next()
                if fetched is not None:
                    yield fetched
                continue
            wake_ns, _, group = heapq.heappop(self._queue)
            line = self._held.get(group)
            if line is not None and line.queued_ns == wake_ns:
                line.queued_ns = -1
                yield group

    def names(self) -> Iterator[Group]:
        """Yield every group."""
        self.flush()
        for (name,) in self._file.execute("SELECT name FROM groups").fetchall():
            group = self._names.group(name)
            if group is not None:
                yield group

    def flush(self) -> None:
        """Write down what changed."""
        self._write(self._changed, held=True)
        self._changed.clear()
        self._make_room()

    def _hold(self, group: Group, line: AnyLine) -> None:
        self._held[group] = line
        self._held.move_to_end(group)
        if line.wake_ns != line.queued_ns:
            line.queued_ns = line.wake_ns
            self._turn += 1
            heapq.heappush(self._queue, (line.wake_ns, self._turn, group))
        if len(self._queue) > 4 * max(self._limit, 1000):
            self._clean_queue()
        self._make_room()

    def _make_room(self) -> None:
        while len(self._held) > self._limit or (self._bytes > GROUPS_BYTES and len(self._held) > 1):
            oldest, old = self._held.popitem(last=False)
            # One that `due` has given, and that was not put back, must not be given again.
            wake_ns = old.wake_ns if old.queued_ns != -1 else _FAR
            if oldest in self._changed:
                self._changed.discard(oldest)
                self._write_one(oldest, old, held=False)
            row = (wake_ns, self._names.group_name(oldest))
            self._file.execute("UPDATE groups SET held = 0, wake = ? WHERE name = ?", row)
            self._weigh(oldest, 0)
            self._next_ns = min(self._next_ns, wake_ns)

    def _weigh(self, group: Group, size: int) -> None:
        self._bytes += size - self._sizes.pop(group, 0)
        if size:
            self._sizes[group] = size

    def _clean_queue(self) -> None:
        # Entries of groups that have left memory stay in the queue until their time.
        self._queue = [
            entry
            for entry in self._queue
            if (line := self._held.get(entry[2])) is not None and line.queued_ns == entry[0]
        ]
        heapq.heapify(self._queue)

    def _write(self, groups: set[Group], *, held: bool) -> None:
        for group in groups:
            self._write_one(group, self._held[group], held=held)

    def _write_one(self, group: Group, line: AnyLine, *, held: bool) -> None:
        data = self._names.save_group(line)
        self._weigh(group, len(data))
        row = (self._names.group_name(group), line.wake_ns, held, data)
        self._file.execute("INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?)", row)

    def _next_stored(self) -> int:
        (wake_ns,) = self._file.execute("SELECT min(wake) FROM groups WHERE NOT held").fetchone()
        return _FAR if wake_ns is None else int(wake_ns)

    def _fetch_next(self) -> Group | None:
        """Bring the group of the file that wants to be woken first into memory."""
        row = self._file.execute(
            "SELECT name FROM groups WHERE NOT held ORDER BY wake LIMIT 1"
        ).fetchone()
        group = None if row is None else self._names.group(row[0])
        if group is not None:
            line = self.get(group)
            assert line is not None  # noqa: S101 - its row has just been read
            line.queued_ns = -1
        elif row is not None:  # its window is gone from the rules
            self._file.execute("DELETE FROM groups WHERE name = ?", row)
        self._next_ns = self._next_stored()
        return group


class WindowStore:
    """A file that holds the state of the windows, the events they refer to, and the late ones."""

    def __init__(
        self, path: Path, plan: Plan, lateness: Lateness, groups_held: int = GROUPS_HELD
    ) -> None:
        """Open or make the file.

        Raises:
            TrailhoundError: it is something else, cannot be opened, or is of a later Trailhound.
        """
        self._plan = plan
        self._names = Names(plan)
        try:
            self._file = opened(self, path)
            found = known_format(self._file, VERSION, path)
            self._file.executescript(f"PRAGMA journal_mode = WAL; {_SCHEMA}")
            self._file.execute("BEGIN")
            self._shelf = Shelf(StoredPages(self._file))
            self.begun_anew = found < VERSION and self._forget_older()
            """Whether an earlier Trailhound had remembered something in a form that is no more."""
            rest = self._meta("windows")
            if rest is not None:
                self._move_groups(rest)
            groups = StoredGroups(self._file, self._names, groups_held)
            self.state = (
                WindowState(groups=groups, shelf=self._shelf, lateness=lateness)
                if rest is None
                else self._names.load_rest(rest, groups, self._shelf, lateness)
            )
            (last,) = self._file.execute("SELECT max(at) FROM events").fetchone()
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise TrailhoundError(f"{path}: not a usable window state: {error}") from None
        self._groups = groups
        self._last: int = last or 0

    def keep(self, event: Event) -> int:
        """Keep an event; return `Feed.at`, by which `event` gives it back."""
        self._last += 1
        row = (self._last, event.envelope.time_ns, dump_event(event))
        self._file.execute("INSERT INTO events VALUES (?, ?, ?)", row)
        return self._last

    def event(self, at: int) -> Event | None:
        """Return a kept event; None where it was so old that it was let go."""
        row = self._file.execute("SELECT data FROM events WHERE at = ?", (at,)).fetchone()
        return None if row is None else load_event(row[0])

    def keep_late(self, late: TooLate) -> None:
        """Keep an event that came too late for a window, for a hunt through the past."""
        event = self.event(late.feed.at)
        if event is not None:
            rule = self._plan.rules[late.feed.window].info.uid
            row = (rule, late.bound, dump_event(event))
            self._file.execute("INSERT INTO late VALUES (?, ?, ?)", row)

    def take_late(self) -> list[tuple[str, Event]]:
        """Hand over what came too late, as (uid of the window rule, event); keep it no longer."""
        rows = self._file.execute("SELECT window, data FROM late ORDER BY rowid").fetchall()
        self._file.execute("DELETE FROM late")
        return [(window, load_event(data)) for window, data in rows]

    def note(self, name: str, data: bytes) -> None:
        """Note something in the same transaction: how far the input was read."""
        self._file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"note:{name}", data))

    def noted(self, name: str) -> bytes | None:
        """Return what was noted last."""
        return self._meta(f"note:{name}")

    def save(self) -> None:
        """Make all of it durable at once."""
        self._groups.flush()
        horizons = [time.horizon_ns for time in self.state.times.values()]
        if horizons:
            before_ns = min(horizons) - EVIDENCE_NS
            self._file.execute("DELETE FROM events WHERE time < ?", (before_ns,))
        data = self._names.save_rest(self.state)
        self._file.execute("INSERT OR REPLACE INTO meta VALUES ('windows', ?)", (data,))
        self._file.execute("COMMIT")
        self._file.execute("BEGIN")

    def close(self) -> None:
        """Close the file; what was not saved is as if it had not been."""
        self._file.execute("ROLLBACK")
        self._file.close()

    def _forget_older(self) -> bool:
        """Forget what is in a form of before; return whether there was anything."""
        gone = self._file.execute("DELETE FROM meta WHERE name = 'windows'").rowcount
        self._file.execute("DELETE FROM groups")
        self._file.execute("DELETE FROM pages")
        stamp(self._file, VERSION)
        return gone > 0

    def _move_groups(self, rest: bytes) -> None:
        """Fit what was saved to the rules of today, where they are not those of then."""
        moves = self._names.moves(rest)
        if moves is None:
            return
        for name, data in self._file.execute("SELECT name, data FROM groups").fetchall():
            group = self._names.group(name)
            if group is None:
                self._shelf.free(pages_of(data))
                self._file.execute("DELETE FROM groups WHERE name = ?", (name,))
                continue
            line = self._names.load_group(group, data)
            self._names.move(group, line, moves, self._shelf)
            row = (self._names.save_group(line), name)
            self._file.execute("UPDATE groups SET data = ? WHERE name = ?", row)

    def _meta(self, name: str) -> bytes | None:
        row = self._file.execute("SELECT data FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])
