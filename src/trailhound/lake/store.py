"""The writer: batches of events in, Parquet files out, each batch whole or not at all.

The order of a commit: the files are written beside their place, synced and renamed into it, the
folders are synced, and then one transaction of the catalogue makes them count. Killed before
that, the files are litter that the next writer clears away; killed after it, all is there.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
from msgspec import Struct

from trailhound.lake.arrow import Columns
from trailhound.lake.catalogue import Catalogue, StoredFile
from trailhound.lake.quoting import literal
from trailhound.lake.schema import COLUMNS, VERSION, Arrival, Rows, promoted_columns, rows_of
from trailhound.model.errors import TrailhoundError

LOCK = "writer.lock"
FOLDER = "events"
GRACE_S = 900
"""How long files that were replaced or deleted stay on disk, for readers that have begun."""
LARGE_BYTES = 128 * 1024 * 1024
"""Files from this size on are left as they are by `compact`."""
_COMPACTED_BYTES = 512 * 1024 * 1024
"""How much `compact` merges at once."""
_DAY_NS = 86_400 * 10**9


class Appended(Struct, frozen=True):
    """What became of a batch."""

    stored: int
    repeated: int
    """Events that were there before."""
    replayed: bool = False
    """The whole batch was there before."""


class Compacted(Struct, frozen=True):
    """What `compact` did."""

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


class Retained(Struct, frozen=True):
    """What `retain` did."""

    files_deleted: int
    events_deleted: int
    bytes_deleted: int
    files_held: int
    """Files that are due, and that a hold keeps."""


class Writer:
    """The one writer of a lake."""

    def __init__(self, folder: Path) -> None:
        """Open a lake for writing; make it where there is none.

        Raises:
            TrailhoundError: another process writes to it, or the folder cannot be used.
        """
        self.folder = folder
        try:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock = open(folder / LOCK, "w", encoding="ascii")  # noqa: SIM115 - held open
        except OSError as error:
            raise TrailhoundError(f"cannot write to {folder}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise TrailhoundError(f"another process is writing to {folder}") from None
        try:
            self.catalogue = Catalogue(folder, writing=True)
        except TrailhoundError:
            self._lock.close()
            raise
        self._db = duckdb.connect(config={"preserve_insertion_order": "true"})
        spill = folder / "spill"
        self._db.execute(f"SET temp_directory = {literal(str(spill))}")
        self._sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write."""
        self._db.close()
        self.catalogue.close()
        self._lock.close()

    # --- batches -------------------------------------------------------------------------

    def append(
        self, arrivals: Sequence[Arrival], batch: str = "", rows: Sequence[Rows] = ()
    ) -> Appended:
        """Store a batch; when this returns, it is on disk.

        An event that is there already is not stored again: the same content, and the same
        request by the sender's own id, or else the same `Arrival.copy`.

        Args:
            arrivals: the events, in any order, of any sources and days.
            batch: the caller's id of the batch. One that was stored before is skipped whole,
                so a queue may be replayed after a crash.
            rows: more of it that is in columns already; rows given here are taken over.

        Raises:
            TrailhoundError: the disk is full, or fails. Nothing of the batch is stored.
        """
        if batch and self.catalogue.has_batch(batch):
            return Appended(0, 0, replayed=True)
        given = len(arrivals) + sum(len(part.columns[0]) for part in rows)
        sources = rows_of(arrivals)
        for part in rows:
            if part.source in sources:
                sources[part.source].add(part)
            else:
                sources[part.source] = part
        parts = [
            (source, day, part)
            for source, found in sources.items()
            for day, part in found.by_day().items()
        ]
        files: list[StoredFile] = []
        try:
            for source, day, part in parts:
                fresh = self._without_repeats(day, part)
                if fresh.columns[0]:
                    files.append(self._write_rows(fresh, source, day))
        except (OSError, duckdb.Error) as error:
            raise TrailhoundError(f"cannot write to {self.folder}: {error}") from None
        if files or batch:
            with self.catalogue.changing():
                self.catalogue.add(files)
                if batch:
                    self.catalogue.add_batch(batch)
        stored = sum(file.events for file in files)
        return Appended(stored, given - stored)

    def _without_repeats(self, day: str, rows: Rows) -> Rows:
        """Return the rows of a day that neither stand before in them nor are there already."""
        times, uids, copies = rows.columns[:3]
        keys: dict[tuple[int, str, str], int] = {}
        for number, key in enumerate(zip(times, uids, copies, strict=True)):
            keys.setdefault(key, number)
        kept = set(keys.values()) if len(keys) < len(times) else None
        first, last = min(times), max(times)
        files = self.catalogue.files([rows.source], first, last + 1)
        if near := [file for file in files if file.day == day]:
            numbers = ("number", "BIGINT", range(len(times)))
            named = zip(COLUMNS[:3], rows.columns[:3], strict=True)
            arrived = Columns([numbers, *((name, kind, held) for (name, kind), held in named)])
            # The same event has the same time: only rows of these times can be it.
            found = self._ask(
                arrived,
                f"SELECT number FROM (SELECT {arrived.selected} FROM arrived) WHERE "  # noqa: S608 - quoted
                f"(time, uid, copy) IN (SELECT (time, uid, copy) FROM {self._parquet(near)} WHERE "
                f"time BETWEEN make_timestamp_ns({first}) AND make_timestamp_ns({last}))",
            )
            if found:
                kept = set(range(len(times)) if kept is None else kept)
                kept.difference_update(number for (number,) in found)
        if kept is None:
            return rows
        order = sorted(kept)
        return Rows(rows.source, [[column[i] for i in order] for column in rows.columns])

    def _write_rows(self, rows: Rows, source: str, day: str) -> StoredFile:
        named = zip((*COLUMNS, *promoted_columns(source)), rows.columns, strict=True)
        arrived = Columns([(name, kind, values) for (name, kind), values in named])
        query = f"SELECT * FROM (SELECT {arrived.selected} FROM arrived) ORDER BY time"  # noqa: S608 - quoted
        with self._registered(arrived):
            file = self._write(query, source, day)
        assert file is not None  # noqa: S101 - there are rows
        return file

    def _ask(self, arrived: Columns, query: str) -> list[tuple[Any, ...]]:
        with self._registered(arrived):
            return self._db.execute(query).fetchall()

    @contextmanager
    def _registered(self, arrived: Columns) -> Iterator[None]:
        """Columns that queries can read as `arrived`."""
        self._db.register("arrived", arrived.array)
        try:
            yield
        finally:
            self._db.unregister("arrived")

    def _parquet(self, files: Iterable[StoredFile]) -> str:
        paths = ", ".join(literal(str(self.folder / file.path)) for file in files)
        return f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"

    def _write(self, query: str, source: str, day: str) -> StoredFile | None:
        """Write what a query gives to a file that nobody knows of yet."""
        folder = self.folder / FOLDER / f"source={source}" / f"day={day}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"
        written = folder / f".{name}.part"
        self._db.execute(
            f"COPY ({query}) TO {literal(str(written))} (FORMAT parquet, COMPRESSION zstd, "
            f"KV_METADATA {{schema: {literal(str(VERSION))}}})"
        )
        (facts,) = self._db.execute(
            "SELECT count(*), epoch_ns(min(time)), epoch_ns(max(time)), "  # noqa: S608 - quoted
            f"count(*) FILTER (plain IS NOT true) FROM read_parquet({literal(str(written))})"
        ).fetchall()
        events, first_ns, last_ns, strange = facts
        if not events:
            written.unlink()
            return None
        _sync(written)
        os.replace(written, folder / name)
        for each in (folder, folder.parent, folder.parent.parent):
            _sync(each)
        return StoredFile(
            path=str((folder / name).relative_to(self.folder)),
            source=source,
            day=day,
            events=events,
            size_bytes=(folder / name).stat().st_size,
            first_ns=first_ns,
            last_ns=last_ns,
            strange=strange,
            schema=VERSION,
        )

    # --- housekeeping --------------------------------------------------------------------

    def compact(self, now_ns: int | None = None) -> Compacted:
        """Merge the small files of each source and day into large ones, sorted by time."""
        now_ns = time.time_ns() if now_ns is None else now_ns
        before = self.catalogue.files()
        parts: dict[tuple[str, str], list[StoredFile]] = {}
        for file in before:
            if file.size_bytes < LARGE_BYTES:
                parts.setdefault((file.source, file.day), []).append(file)
        for (source, day), files in parts.items():
            for group in _groups(files):
                query = f"SELECT * FROM {self._parquet(group)} ORDER BY time"  # noqa: S608 - quoted
                try:
                    merged = self._write(query, source, day)
                except (OSError, duckdb.Error) as error:
                    raise TrailhoundError(f"cannot write to {self.folder}: {error}") from None
                with self.catalogue.changing():
                    self.catalogue.add([merged] if merged else [])
                    self.catalogue.retire(group, now_ns)
        after = self.catalogue.files()
        self._sweep(now_ns)
        return Compacted(len(before), len(after), _size(before), _size(after))

    def retain(self, now_ns: int | None = None) -> Retained:
        """Delete what is older than its source is kept, but for what a hold covers.

        A file goes when its last event is due; what a hold covers a part of stays whole.
        """
        now_ns = time.time_ns() if now_ns is None else now_ns
        kept_days = self.catalogue.retention()
        # Others may place a hold at any moment: before this, or when it is too late.
        with self.catalogue.changing():
            holds = self.catalogue.holds()
            due = [
                file
                for file in self.catalogue.files()
                if (days := kept_days.get(file.source, kept_days.get("*"))) is not None
                and file.last_ns < now_ns - days * _DAY_NS
            ]
            deleted = [file for file in due if not any(hold.covers(file) for hold in holds)]
            self.catalogue.retire(deleted, now_ns)
        self._sweep(now_ns)
        events = sum(file.events for file in deleted)
        return Retained(len(deleted), events, _size(deleted), len(due) - len(deleted))

    def keep(self, source: str, days: int | None) -> None:
        """Say for how many days a source is kept (`*`: every other source); None: for ever."""
        with self.catalogue.changing():
            self.catalogue.set_retention(source, days)

    def _sweep(self, now_ns: int | None = None) -> None:
        """Delete retired files that no reader needs any more, and what a killed writer left."""
        now_ns = time.time_ns() if now_ns is None else now_ns
        gone = self.catalogue.retired(now_ns - GRACE_S * 10**9)
        for path in gone:
            (self.folder / path).unlink(missing_ok=True)
        with self.catalogue.changing():
            self.catalogue.forget(gone)
        known = self.catalogue.paths()
        for file in (self.folder / FOLDER).rglob("*.parquet*"):
            if str(file.relative_to(self.folder)) not in known:
                file.unlink(missing_ok=True)


def _groups(files: Sequence[StoredFile]) -> Iterable[list[StoredFile]]:
    group: list[StoredFile] = []
    for file in files:
        if group and _size(group) + file.size_bytes > _COMPACTED_BYTES:
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def _size(files: Iterable[StoredFile]) -> int:
    return sum(file.size_bytes for file in files)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
