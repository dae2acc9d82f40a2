"""The watch over senders, wired to what arrives, and kept in a file of its own.

The file says behind which record it was saved. What a crash has judged again is not seen twice:
a number that is read again is no repeat, and a batch that is read again no flood.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from trailhound.engine.watch.contract import SECOND_NS, Key, Sighting
from trailhound.engine.watch.senders import Scope
from trailhound.engine.watch.watching import Watch
from trailhound.model.errors import TrailhoundError
from trailhound.model.findings import Finding
from trailhound.pipeline.formats import known_format, opened, stamp

FILE = "watch.sqlite"
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scope (key TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_BEHIND_NS = 10 * SECOND_NS
"""A record arrives at most so long before it can be read."""
_SAVE_NS = 60 * SECOND_NS
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Scope).decode
_key = msgspec.json.Decoder(Key).decode

Stat = tuple[str, tuple[tuple[str, str], ...], float]


class Watcher:
    """Watches senders while events come, and while none does."""

    def __init__(self, path: Path, next_number: int) -> None:
        """Open the file, or make it.

        Args:
            path: the file.
            next_number: of the record that will be read first.

        Raises:
            TrailhoundError: It cannot be made or read.
        """
        try:
            self._db = opened(self, path)
            known_format(self._db, _FORMAT, path)
            self._db.execute("PRAGMA journal_mode = WAL")
            # Losing the last of it to a power cut is seen below, and costs little.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            stamp(self._db, _FORMAT)
            marks, scopes = _load(self._db)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise TrailhoundError(
                f"{path}: {error}; without this file, all senders are new"
            ) from None
        behind = marks.get("behind", 0)
        self.seen_below = behind if behind > next_number else 0
        """Number behind the last record that was seen already, and will be read again."""
        self._watch = Watch(marks.get("minute", 0), scopes)
        if behind < next_number:
            self._watch.skip()
        self._saved_ns = 0

    def take(self, sightings: Iterable[Sighting], behind: int) -> list[Finding]:
        """See events; return what is amiss.

        Args:
            sightings: in the order they were read.
            behind: number behind the last record that was read for them.
        """
        if behind <= self.seen_below:
            return []
        self.seen_below = 0
        return list(self._watch.observe_all(sightings))

    def tick(self, now_ns: int) -> list[Finding]:
        """Say what time it is while nothing waits to be read; return what is amiss by then."""
        return list(self._watch.advance(now_ns - _BEHIND_NS))

    def save(self, behind: int) -> None:
        """Keep what is known behind a record."""
        senders = self._watch.senders
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "DELETE FROM scope WHERE key = ?", [(_name(key),) for key in senders.gone]
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO scope VALUES (?, ?)",
                [(_name(key), _encode(senders.scopes[key])) for key in senders.changed],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO mark VALUES (?, ?)",
                [("minute", self._watch.minute), ("behind", behind)],
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        senders.gone.clear()
        senders.changed.clear()

    def save_if_due(self, behind: int, now_ns: int) -> None:
        """Keep what is known, once a minute while nothing comes."""
        if now_ns >= self._saved_ns + _SAVE_NS:
            self._saved_ns = now_ns
            self.save(behind)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def stats(self) -> list[Stat]:
        """Return counters and gauges for `/metrics`, by source."""
        counts: Counter[tuple[str, str]] = Counter()
        for (source, sender, kind), scope in self._watch.senders.scopes.items():
            if sender and not kind:
                counts["senders", source] += 1
                counts["senders_silent", source] += "silence" in scope.open
                counts["senders_amiss", source] += bool(scope.open)
                if scope.serials is not None:
                    counts["events_missing_total", source] += scope.serials.missing
                if scope.stages is not None:
                    counts["requests_unended_total", source] += scope.stages.unended
        stats: list[Stat] = [
            (name, (("source", source),), count) for (name, source), count in counts.items()
        ]
        for what, count in zip(
            ("sources", "senders", "kinds"), self._watch.senders.turned_away[1:], strict=True
        ):
            stats.append(("watch_full_total", (("of", what),), count))
        return stats


def load_watch(path: Path) -> tuple[int, list[tuple[Key, Scope]]]:
    """Read the file of a watch, also while it is at work.

    Returns:
        The minute up to which it judged, and everybody who is watched.

    Raises:
        TrailhoundError: It is not there, or cannot be read.
    """
    if not path.exists():
        raise TrailhoundError(f"{path} is not there: has `trailhound serve` run in this folder?")
    try:
        db = sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)
        try:
            marks, scopes = _load(db)
        finally:
            db.close()
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise TrailhoundError(f"{path}: {error}") from None
    return marks.get("minute", 0), scopes


def _load(db: sqlite3.Connection) -> tuple[dict[str, int], list[tuple[Key, Scope]]]:
    marks = dict(db.execute("SELECT name, value FROM mark").fetchall())
    rows = db.execute("SELECT key, data FROM scope").fetchall()
    return marks, [(_key(name), _decode(data)) for name, data in rows]


def _name(key: Key) -> str:
    return msgspec.json.encode(key).decode()
