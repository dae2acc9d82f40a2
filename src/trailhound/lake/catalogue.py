"""What files belong to the lake: a small SQLite database, changed in transactions.

Readers trust it and not the listing of the folder: a file that is not in it does not exist,
whatever a killed writer left behind. SQLite's journal makes each change whole or undone, on
disk before it is answered ("Atomic Commit In SQLite").
"""

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from trailhound.model.errors import TrailhoundError

FILE = "catalogue.sqlite"
_FORMAT = 1
_BATCHES_KEPT = 1_000_000
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  day TEXT NOT NULL,
  events INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL,
  strange INTEGER NOT NULL,
  schema INTEGER NOT NULL,
  retired_ns INTEGER
);
CREATE INDEX IF NOT EXISTS files_by_time ON files (source, first_ns) WHERE retired_ns IS NULL;
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS retention (source TEXT PRIMARY KEY, keep_days INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS holds (
  name TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  first_ns INTEGER,
  last_ns INTEGER,
  reason TEXT NOT NULL,
  placed_ns INTEGER NOT NULL
);
"""


class StoredFile(Struct, frozen=True):
    """One Parquet file of the lake."""

    path: str
    """Relative to the lake: `events/source=…/day=…/….parquet`."""
    source: str
    day: str
    events: int
    size_bytes: int
    first_ns: int
    last_ns: int
    """Event times of its first and last event, UTC nanoseconds, both included."""
    strange: int
    """Events that SQL cannot judge by the document and its columns alone."""
    schema: int


class Hold(Struct, frozen=True):
    """A legal hold: what must not be deleted, however old."""

    name: str
    source: str
    """Empty: every source."""
    first_ns: int | None
    last_ns: int | None
    """None: without an end on that side."""
    reason: str
    placed_ns: int

    def covers(self, file: StoredFile) -> bool:
        """Whether a file has, or may have, an event that is held."""
        return (
            (not self.source or self.source == file.source)
            and (self.first_ns is None or file.last_ns >= self.first_ns)
            and (self.last_ns is None or file.first_ns <= self.last_ns)
        )


_COLUMNS = ", ".join(StoredFile.__struct_fields__)


class Catalogue:
    """The catalogue of a lake; a connection of its own for each."""

    def __init__(self, folder: Path, *, writing: bool) -> None:
        """Open it.

        Raises:
            TrailhoundError: there is no lake, or it is of a newer format.
        """
        path = folder / FILE
        if not writing and not path.exists():
            raise TrailhoundError(f"{folder} is no lake: it has no {FILE}")
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            # Who only reads a lake has nothing to end: its connection goes with it.
            self._closing = weakref.finalize(self, self._db.close)
            if writing:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_TABLES)
                if not self._format():
                    self._db.execute(f"PRAGMA user_version={_FORMAT}")
            if self._format() > _FORMAT:
                raise TrailhoundError(
                    f"{folder} was written by a later Trailhound (format {self._format()}; this "
                    f"one knows formats up to {_FORMAT})"
                )
        except sqlite3.Error as error:
            raise TrailhoundError(f"cannot open {path}: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._closing()

    def _format(self) -> int:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        return int(found)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make what is done inside one change: all of it, or, after any error, nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- files ---------------------------------------------------------------------------

    def files(
        self,
        sources: Sequence[str] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> list[StoredFile]:
        """Return the files that may hold events of these sources and times, by time."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM files WHERE retired_ns IS NULL "  # noqa: S608 - our own names
            "AND (? IS NULL OR last_ns >= ?) AND (? IS NULL OR first_ns < ?) "
            "ORDER BY source, day, first_ns, id",
            (since_ns, since_ns, until_ns, until_ns),
        )
        found = [StoredFile(*row) for row in rows]
        return found if sources is None else [f for f in found if f.source in sources]

    def add(self, files: Iterable[StoredFile]) -> None:
        """Take files in."""
        self._db.executemany(
            f"INSERT INTO files ({_COLUMNS}) "  # noqa: S608 - our own names
            f"VALUES ({', '.join('?' * len(StoredFile.__struct_fields__))})",
            [tuple(getattr(file, name) for name in StoredFile.__struct_fields__) for file in files],
        )

    def retire(self, files: Iterable[StoredFile], now_ns: int) -> None:
        """Take files out. They stay on disk for a while, for readers that have begun."""
        self._db.executemany(
            "UPDATE files SET retired_ns = ? WHERE path = ?", [(now_ns, f.path) for f in files]
        )

    def retired(self, before_ns: int) -> list[str]:
        """Return the paths of files that were taken out before a time."""
        rows = self._db.execute("SELECT path FROM files WHERE retired_ns < ?", (before_ns,))
        return [path for (path,) in rows]

    def forget(self, paths: Iterable[str]) -> None:
        """Forget files that are gone from disk."""
        self._db.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])

    def paths(self) -> set[str]:
        """Return the path of every file that is known, retired ones included."""
        return {path for (path,) in self._db.execute("SELECT path FROM files")}

    # --- batches -------------------------------------------------------------------------

    def has_batch(self, batch: str) -> bool:
        """Whether a batch was stored before."""
        found = self._db.execute("SELECT 1 FROM batches WHERE id = ?", (batch,)).fetchone()
        return found is not None

    def add_batch(self, batch: str) -> None:
        """Remember a batch; the last million are."""
        number = self._db.execute("INSERT INTO batches (id) VALUES (?)", (batch,)).lastrowid or 0
        self._db.execute("DELETE FROM batches WHERE number <= ?", (number - _BATCHES_KEPT,))

    # --- retention and holds -------------------------------------------------------------

    def retention(self) -> dict[str, int]:
        """Source → days its events are kept; `*` stands for sources not named."""
        return dict(self._db.execute("SELECT source, keep_days FROM retention ORDER BY source"))

    def set_retention(self, source: str, keep_days: int | None) -> None:
        """Say how long a source is kept; None: for ever."""
        self._db.execute("DELETE FROM retention WHERE source = ?", (source,))
        if keep_days is not None:
            self._db.execute("INSERT INTO retention VALUES (?, ?)", (source, keep_days))

    def holds(self) -> list[Hold]:
        """Return the legal holds."""
        names = ", ".join(Hold.__struct_fields__)
        rows = self._db.execute(f"SELECT {names} FROM holds ORDER BY name")  # noqa: S608 - our own
        return [Hold(*row) for row in rows]

    def place(self, hold: Hold) -> None:
        """Place a hold. Raises `TrailhoundError` where one of that name is in place."""
        row = tuple(getattr(hold, name) for name in Hold.__struct_fields__)
        try:
            self._db.execute(
                f"INSERT INTO holds VALUES ({', '.join('?' * len(row))})",  # noqa: S608 - our own
                row,
            )
        except sqlite3.IntegrityError:
            raise TrailhoundError(f"there is a hold named {hold.name!r} already") from None

    def release(self, name: str) -> None:
        """Release a hold. Raises `TrailhoundError` where there is none of that name."""
        if not self._db.execute("DELETE FROM holds WHERE name = ?", (name,)).rowcount:
            raise TrailhoundError(f"there is no hold named {name!r}")
