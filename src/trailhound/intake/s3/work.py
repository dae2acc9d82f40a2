"""What is to be read, how far it is read, and what was: one SQLite file.

An object is known by bucket, key and ETag: written anew, it is another. What was read is kept
as a hash for as long as listings still show it, and a month longer.
"""

import hashlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from trailhound.model.errors import TrailhoundError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
    bucket TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, version TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL, line INTEGER NOT NULL DEFAULT 0,
    element INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    due_s INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (bucket, key, etag, version)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending_by_time ON pending (modified_ns);
CREATE TABLE IF NOT EXISTS read (
    object BLOB PRIMARY KEY, seen_day INTEGER NOT NULL) WITHOUT ROWID;
"""
_DAY_SECONDS = 24 * 3600
_REFRESH_DAYS = 7
_FORGET_DAYS = 37
_LOOK_AHEAD = 32


class Found(NamedTuple):
    """An object as a listing or a notice names it."""

    bucket: str
    key: str
    etag: str = ""
    """Without quotes; empty where it is not said."""
    version: str = ""
    """Version of a bucket that has them; empty: the newest."""
    size_bytes: int = -1
    """-1: not said."""
    modified_ns: int = 0
    """UTC nanoseconds since 1970; 0: not said."""


class Pending(NamedTuple):
    """An object that is to be read, and how far it is."""

    found: Found
    line: int
    """Records up to this line and element are on disk."""
    element: int
    tries: int
    """How often reading it has failed."""


class Work:
    """What is to be read. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            TrailhoundError: It cannot be used.
        """
        self._lock = threading.Condition()
        self._reading: set[Found] = set()
        self._forgot_s = time.monotonic()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            # A notice is deleted from its queue when it stands here.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            rows = self._db.execute("SELECT bucket, count(*) FROM pending GROUP BY bucket")
            self._waiting: Counter[str] = Counter(dict(rows.fetchall()))
        except sqlite3.Error as error:
            raise TrailhoundError(f"{path} cannot be used: {error}") from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @property
    def waiting(self) -> dict[str, int]:
        """How many objects wait, by bucket."""
        with self._lock:
            return dict(self._waiting)

    def add(self, objects: Iterable[Found], skipped: Iterable[Found] = ()) -> tuple[int, int]:
        """Note objects for reading, and others as not to be read.

        Returns:
            How many of each were not known before.
        """
        today = int(time.time()) // _DAY_SECONDS
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                fresh = [found for found in objects if not self._known(found, today)]
                added = [found for found in fresh if self._insert(found)]
                passed = [found for found in skipped if not self._known(found, today)]
                self._note(passed, today)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._waiting.update(found.bucket for found in added)
            if added:
                self._lock.notify(len(added))
        return len(added), len(passed)

    def take(self, wait_s: float = 0.0) -> Pending | None:
        """Return the oldest object that is due and that nobody reads; it is then being read.

        Args:
            wait_s: how long to wait for one where there is none.
        """
        with self._lock:
            found = self._oldest()
            if found is None and wait_s and self._lock.wait(wait_s):
                found = self._oldest()
        return found

    def _oldest(self) -> Pending | None:
        rows = self._db.execute(
            "SELECT bucket, key, etag, version, size_bytes, modified_ns, line, element, tries "
            "FROM pending WHERE due_s <= ? ORDER BY modified_ns, bucket, key LIMIT ?",
            (int(time.time()), _LOOK_AHEAD + len(self._reading)),
        ).fetchall()
        for row in rows:
            found = Found(*row[:6])
            if found not in self._reading:
                self._reading.add(found)
                return Pending(found, *row[6:])
        return None

    def reached(self, found: Found, line: int, element: int) -> None:
        """Note how far an object is read, and on disk."""
        with self._lock:
            self._db.execute(
                f"UPDATE pending SET line = ?, element = ? {_WHERE}",  # noqa: S608 - a constant
                (line, element, *found[:4]),
            )

    def is_read(self, found: Found) -> bool:
        """Whether an object was read before."""
        with self._lock:
            return self._known(found, int(time.time()) // _DAY_SECONDS)

    def finish(self, found: Found, etag: str) -> None:
        """Note that an object is read, or never can be; `etag` is what it turned out to have."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"DELETE FROM pending {_WHERE}", found[:4])  # noqa: S608
            self._note({found, found._replace(etag=etag)}, int(time.time()) // _DAY_SECONDS)
            self._db.execute("COMMIT")
            self._reading.discard(found)
            self._waiting[found.bucket] -= 1

    def give_back(self, found: Found, after_s: float = 0.0) -> None:
        """Let an object be taken again, after a failure not before so long."""
        with self._lock:
            self._reading.discard(found)
            if after_s:
                self._db.execute(
                    f"UPDATE pending SET tries = tries + 1, due_s = ? {_WHERE}",  # noqa: S608
                    (int(time.time() + after_s), *found[:4]),
                )

    def forget(self) -> None:
        """Forget objects that have been in no listing for a month; once a day.

        Not on the first day: what a listing has not yet shown again is known still.
        """
        before = int(time.time()) // _DAY_SECONDS - _FORGET_DAYS
        with self._lock:
            if time.monotonic() - self._forgot_s < _DAY_SECONDS:
                return
            self._forgot_s = time.monotonic()
            self._db.execute("DELETE FROM read WHERE seen_day < ?", (before,))

    def _known(self, found: Found, today: int) -> bool:
        if not found.etag and not found.version:
            return False  # nobody can tell before it is read
        digest = _digest(found)
        row = self._db.execute("SELECT seen_day FROM read WHERE object = ?", (digest,)).fetchone()
        if row is not None and row[0] < today - _REFRESH_DAYS:
            self._note((found,), today)
        return row is not None

    def _insert(self, found: Found) -> bool:
        # Listings name no version, notices may: the same object waits once.
        if found.etag:
            select = "SELECT 1 FROM pending WHERE bucket = ? AND key = ? AND etag = ? LIMIT 1"
            if self._db.execute(select, found[:3]).fetchone() is not None:
                return False
        return bool(
            self._db.execute(
                "INSERT OR IGNORE INTO pending (bucket, key, etag, version, size_bytes, "
                "modified_ns) VALUES (?, ?, ?, ?, ?, ?)",
                found,
            ).rowcount
        )

    def _note(self, objects: Iterable[Found], today: int) -> None:
        rows = [(_digest(found), today) for found in objects if found.etag or found.version]
        self._db.executemany("INSERT OR REPLACE INTO read VALUES (?, ?)", rows)


_WHERE = "WHERE bucket = ? AND key = ? AND etag = ? AND version = ?"


def _digest(found: Found) -> bytes:
    told = found.etag or f"version {found.version}"
    text = "\0".join((found.bucket, found.key, told))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
