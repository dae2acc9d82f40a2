"""What the detector must not forget between two runs: one SQLite file, changed in transactions.

A batch is begun before anything of it is kept elsewhere, and done when all of it is. What a crash
leaves begun is read again with the same bounds, so that ledger and lake see the same batch with
the same number, and know it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trailhound.pipeline.formats import known_format, opened, stamp

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS begun (first INTEGER PRIMARY KEY, behind INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
    record BLOB PRIMARY KEY, received_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_by_time ON seen (received_ns);
CREATE TABLE IF NOT EXISTS told (
    finding TEXT PRIMARY KEY, revision INTEGER NOT NULL, said BLOB NOT NULL,
    number INTEGER NOT NULL, until_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS told_by_number ON told (number, until_ns);
CREATE TABLE IF NOT EXISTS late (
    rule TEXT PRIMARY KEY, events INTEGER NOT NULL, first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (file TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL);
"""


class Batch(NamedTuple):
    """Records of the queue that are kept together."""

    first: int
    """Number of its first record; also the number of the batch."""
    behind: int
    """Number behind its last record."""


class Late(NamedTuple):
    """What came too late for a rule over several events."""

    rule: str
    """Its uid."""
    events: int
    first_ns: int
    last_ns: int
    """Event times of the first and the last of them."""


class Journal:
    """The detector's memory."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            sqlite3.Error: that cannot be done.
            LaterFormat: a later Trailhound wrote it.
        """
        self._db = opened(self, path)
        known_format(self._db, _FORMAT, path)
        self._db.execute("PRAGMA journal_mode = WAL")
        # What a power cut may take must have been taken from nowhere else yet.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        stamp(self._db, _FORMAT)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def value(self, name: str) -> bytes | None:
        """Return what was last saved under a name."""
        row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    @property
    def next_number(self) -> int:
        """Number of the first record that is not yet kept."""
        return int(self.value("next") or b"1")

    def begin(self, batch: Batch) -> None:
        """Note that a batch is about to be kept."""
        self._db.execute("INSERT OR REPLACE INTO begun VALUES (?, ?)", batch)

    def begun(self) -> Batch | None:
        """Return the batch that was begun and not done."""
        row = self._db.execute(
            "SELECT first, behind FROM begun WHERE first = ?", (self.next_number,)
        ).fetchone()
        return None if row is None else Batch(*row)

    def done(
        self,
        batch: Batch,
        values: Mapping[str, bytes],
        seen: Iterable[tuple[bytes, int]],
        late: Iterable[Late],
        now_ns: int,
    ) -> None:
        """Note that a batch is kept, and what the detector knows behind it.

        Args:
            batch: the batch.
            values: what to save, by name.
            seen: what tells its records from others, each with the time it arrived.
            late: what of it came too late.
            now_ns: when the last of them arrived.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            values = {**values, "next": b"%d" % batch.behind}
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values.items())
            self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", seen)
            self._db.executemany(
                "INSERT INTO late VALUES (?, ?, ?, ?) ON CONFLICT (rule) DO UPDATE SET "
                "events = events + excluded.events, first_ns = min(first_ns, excluded.first_ns), "
                "last_ns = max(last_ns, excluded.last_ns)",
                late,
            )
            self._db.execute("DELETE FROM begun WHERE first <= ?", (batch.first,))
            # Findings of records below it cannot be made again, nor those of windows changed
            # that are long over.
            self._db.execute(
                "DELETE FROM told WHERE number < ? AND until_ns < ?", (batch.behind, now_ns)
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def late(self) -> list[Late]:
        """Return what came too late so far, for each rule."""
        return [Late(*row) for row in self._db.execute("SELECT * FROM late ORDER BY rule")]

    def known(self, records: Sequence[bytes]) -> set[bytes]:
        """Return those that were seen before."""
        found: set[bytes] = set()
        for start in range(0, len(records), 500):
            part = records[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(f"SELECT record FROM seen WHERE record IN ({marks})", part)  # noqa: S608 - only question marks are put in
            found.update(bytes(row[0]) for row in rows)
        return found

    def forget_seen(self, before_ns: int) -> int:
        """Forget records that arrived before a time; return how many."""
        return self._db.execute("DELETE FROM seen WHERE received_ns < ?", (before_ns,)).rowcount

    def last_told(self, finding: str) -> tuple[int, bytes] | None:
        """Return the revision of a finding that was told last, and what tells it from others."""
        row = self._db.execute(
            "SELECT revision, said FROM told WHERE finding = ?", (finding,)
        ).fetchone()
        return None if row is None else (row[0], bytes(row[1]))

    def told(
        self,
        findings: Iterable[tuple[str, int, bytes, int]],
        number: int,
        sizes: Mapping[str, int],
    ) -> None:
        """Note findings as told.

        Args:
            findings: uid, revision, what tells the revision from others, and the time until
                which another may follow, of each.
            number: number behind the last record that was read for them.
            sizes: how large the files are that tell of them, by name.
        """
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)",
            [(uid, revision, said, number, until) for uid, revision, said, until in findings],
        )
        self._db.executemany("INSERT OR REPLACE INTO log VALUES (?, ?)", sizes.items())
        self._db.execute("COMMIT")

    def log_sizes(self) -> dict[str, int]:
        """Return how large the files of findings are, so far as they count as told."""
        return dict(self._db.execute("SELECT file, size_bytes FROM log").fetchall())
