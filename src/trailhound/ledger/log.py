"""The ledger on disk: appends records, signs heads, survives crashes.

    ledger.json          name of the ledger, and whether it keeps the records
    key.pub              its verifier key
    checkpoint           the last signed head
    heads/DAY/…          the heads it signed
    tile/…               hashes and entries, as tlog-tiles lays them out
    records/…            the sealed records, if it keeps them
    journal              what is not under a signed head yet

An append is durable when it returns, through the journal alone. Full tiles are written as they
fill; only `sign_head` waits until they are on disk, and only then does a head speak of them.
"""

import fcntl
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import zstandard
from msgspec import Struct

from trailhound.ledger.checkpoints import Head, open_head, sign_head
from trailhound.ledger.journal import Journal, sync_folder
from trailhound.ledger.leaf import Sealed
from trailhound.ledger.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash
from trailhound.ledger.notes import Signer
from trailhound.ledger.tiles import (
    ENTRIES,
    RECORDS,
    WIDTH,
    Fetch,
    Frontier,
    Missing,
    Tile,
    TileReader,
    join_bundle,
    tiles_of,
)
from trailhound.model.errors import TrailhoundError

SETTINGS = "ledger.json"
PUBLIC_KEY = "key.pub"
CHECKPOINT = "checkpoint"
HEADS = "heads"
_JOURNAL = "journal"
_FORMAT = 1
_SYNCED_SINGLY = 32
_BATCH_LIMIT = 4096


class Settings(Struct, frozen=True):
    """What `ledger.json` holds."""

    version: int
    """Of the format of the folder."""
    name: str
    keep_records: bool


def create(folder: Path, signer: Signer, *, keep_records: bool) -> None:
    """Make an empty ledger. Raises `TrailhoundError` where there is something already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise TrailhoundError(f"{folder} is not empty")
        settings = Settings(_FORMAT, signer.verifier.name, keep_records)
        write_durable(folder / PUBLIC_KEY, f"{signer.verifier}\n".encode())
        Journal.begin(folder / _JOURNAL, 0).close()
        write_durable(folder / SETTINGS, msgspec.json.encode(settings) + b"\n")
        sync_folder(folder)
    except OSError as error:
        raise TrailhoundError(f"cannot make a ledger in {folder}: {error.strerror}") from None


def read_settings(folder: Path) -> Settings:
    """Return the settings of a ledger.

    Raises:
        TrailhoundError: there is none, or a later Trailhound wrote it.
    """
    try:
        settings = msgspec.json.decode((folder / SETTINGS).read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError):
        hint = "make one with `trailhound ledger init`"
        raise TrailhoundError(f"{folder} is no ledger; {hint}") from None
    if settings.version > _FORMAT:
        raise TrailhoundError(
            f"{folder} was written by a later Trailhound (format {settings.version}; this one "
            f"knows formats up to {_FORMAT})"
        )
    return settings


class Ledger:
    """A ledger open for writing; one process at a time."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        """Open a ledger and recover what a crash left.

        Raises `TrailhoundError` where it is locked, damaged, or of another key.
        """
        self.folder = folder
        self.settings = read_settings(folder)
        self._signer = signer
        self._failed = False
        self._lock = _locked(folder)
        try:
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise

    def _recover(self) -> None:
        folder, verifier = self.folder, self._signer.verifier
        if self.settings.name != verifier.name:
            raise TrailhoundError(
                f"{folder} is the ledger of {self.settings.name}, the key is of {verifier.name}"
            )
        note = fetch_from(folder)(CHECKPOINT)
        self.head = open_head(note, verifier) if note else Head(verifier.name, 0, EMPTY_ROOT)
        self.size = self.head.size
        self._frontier = self._read_frontier()
        if self._frontier.root() != self.head.root:
            raise TrailhoundError(
                f"{folder} is damaged: its tiles do not give the head it signed; "
                "`trailhound verify ledger` says where"
            )
        self._entries, self._records = self._read_partial_bundles()
        self._fresh: list[Path] = []
        self._journal, found, self.torn_bytes = Journal.recover(folder / _JOURNAL)
        if self._journal.start > self.size:
            self._journal.close()
            raise TrailhoundError(f"{folder} is damaged: its last head is older than its journal")
        # A crash between a head and the journal after it leaves entries that the head has.
        self._grow(found[self.size - self._journal.start :])

    def append(self, batch: Sequence[Sealed]) -> int:
        """Append records; return the index of the first when all of them are on disk."""
        first = self.size
        with self._guarded():
            for at in range(0, len(batch), _BATCH_LIMIT):
                part = batch[at : at + _BATCH_LIMIT]
                if not self.settings.keep_records:
                    part = [Sealed(sealed.entry, b"") for sealed in part]
                self._journal.append(self.size, part)
                self._grow(part)
        return first

    def sign_head(self, now_ns: int) -> Head:
        """Put everything appended so far under a signed head, and return it.

        Where nothing was appended since the last one, this says that nothing was taken away
        either. Of such heads a day keeps the first and the newest.

        Args:
            now_ns: the time that the head bears, UTC nanoseconds.
        """
        with self._guarded():
            if self.size > self.head.size:
                self._write_partials()
            self._sync()
            head = Head(self.settings.name, self.size, self._frontier.root(), now_ns)
            note = sign_head(head, self._signer)
            kept = self.folder / head_path(head)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_durable(kept, note)
            for folder in (kept.parent, self.folder / HEADS, self.folder):
                sync_folder(folder)
            write_durable(self.folder / CHECKPOINT, note)
            sync_folder(self.folder)
            before, self.head = self.head, head
            if before.size == head.size:
                _drop_between(kept)
            if self.size > self._journal.start:
                self._journal.close()
                self._journal = Journal.begin(self.folder / _JOURNAL, self.size)
            self._drop_partials(before.size)
        return head

    def note(self, now_ns: int) -> bytes:
        """Sign a head over everything appended so far that is kept nowhere, for proofs.

        The next head of `sign_head` extends it.
        """
        head = Head(self.settings.name, self.size, self._frontier.root(), now_ns)
        return sign_head(head, self._signer)

    def reader(self) -> TileReader:
        """Return a reader of everything appended so far, under a head or not."""
        fresh = {tile.path: data for tile, data in self._partial_tiles()}
        if self._entries:
            tile = Tile(ENTRIES, self.size // WIDTH, len(self._entries))
            fresh[tile.path] = join_bundle(self._entries)
        stored = fetch_from(self.folder)
        return TileReader(lambda path: fresh.get(path) or stored(path), self.size)

    def record(self, index: int) -> bytes | None:
        """Return a record and its context as sealed; None where it is not kept, or was let go.

        Raises `TrailhoundError` where it cannot be read.
        """
        at = index - (self.size - len(self._records))
        if at >= 0 and self.settings.keep_records:
            return self._records[at]
        return kept_record(self.folder, self.size, index)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """After a failed write nobody knows what is on disk: only opening it anew tells."""
        if self._failed:
            raise TrailhoundError(f"{self.folder} failed before; open it anew to recover")
        try:
            yield
        except OSError as error:
            self._failed = True
            reason = error.strerror or str(error)
            raise TrailhoundError(f"cannot write to {self.folder}: {reason}") from error

    def close(self) -> None:
        """Close the ledger. What was appended since the last head stays in the journal."""
        self._journal.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _grow(self, batch: Sequence[Sealed]) -> None:
        at = 0
        while at < len(batch):
            part = batch[at : at + self._frontier.room()]
            at += len(part)
            entries = [sealed.entry for sealed in part]
            self._entries += entries
            if self.settings.keep_records:
                self._records += [sealed.record for sealed in part]
            self.size += len(part)
            index = (self.size - 1) // WIDTH
            for level, tile in self._frontier.add([leaf_hash(entry) for entry in entries]):
                self._write(Tile(f"tile/{level}", index >> (8 * level)), tile)
            if self.size % WIDTH == 0:
                self._write_bundles(WIDTH)
                self._entries, self._records = [], []

    def _write_bundles(self, width: int) -> None:
        index = (self.size - 1) // WIDTH
        self._write(Tile(ENTRIES, index, width), join_bundle(self._entries))
        if self.settings.keep_records:
            self._write(Tile(RECORDS, index, width), pack_records(self._records))

    def _write_partials(self) -> None:
        if self._entries:
            self._write_bundles(len(self._entries))
        for tile, data in self._partial_tiles():
            self._write(tile, data)

    def _partial_tiles(self) -> Iterator[tuple[Tile, bytes]]:
        for level, hashes in enumerate(self._frontier.levels):
            if hashes:
                width = len(hashes) // HASH_BYTES
                index = self.size >> (8 * (level + 1))
                yield Tile(f"tile/{level}", index, width), bytes(hashes)

    def _write(self, tile: Tile, data: bytes) -> None:
        path = self.folder / tile.path
        try:
            _create(path, data)
        except FileExistsError:
            # Partial tiles of higher levels stay the same for many heads. The last head needs
            # them, so they must not be empty even for as long as writing takes.
            if path.read_bytes() != data:
                path.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path, data)
        self._fresh.append(path)

    def _sync(self) -> None:
        if len(self._fresh) > _SYNCED_SINGLY:
            os.sync()  # one wait for all of them; a wait for each would take minutes
        else:
            for path in self._fresh:
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
            folders = {parent for path in self._fresh for parent in path.parents}
            for folder in folders:
                if folder == self.folder or self.folder in folder.parents:
                    sync_folder(folder)
        self._fresh.clear()

    def _drop_partials(self, before: int) -> None:
        """Remove partial tiles that a full one has replaced."""
        records = self.settings.keep_records
        for tile in tiles_of(self.size, before, records=records):
            if tile.width == WIDTH:
                shutil.rmtree(self.folder / f"{tile.path}.p", ignore_errors=True)

    def _read_frontier(self) -> Frontier:
        reader = TileReader(fetch_from(self.folder), self.size)
        levels: list[bytes] = []
        count = self.size
        while count:
            full = count % WIDTH == 0
            levels.append(b"" if full else reader.hashes(len(levels), count // WIDTH))
            count //= WIDTH
        return Frontier(levels)

    def _read_partial_bundles(self) -> tuple[list[bytes], list[bytes]]:
        index, width = divmod(self.size, WIDTH)
        if not width:
            return [], []
        reader = TileReader(fetch_from(self.folder), self.size)
        entries = reader.bundle(index)
        if not self.settings.keep_records:
            return entries, []
        data = reader.record_bundle(index)
        records = None if data is None else unpack_records(data)
        if records is None or len(records) < width:
            raise Missing(Tile(RECORDS, index, width), "is damaged or missing")
        return entries, records[:width]


def head_path(head: Head) -> str:
    """Return where a head is kept below the ledger: `heads/2026-11-25/211454.123456789-70000`."""
    second, rest = divmod(head.signed_ns or 0, 1_000_000_000)
    moment = datetime.fromtimestamp(second, UTC)
    return f"{HEADS}/{moment:%Y-%m-%d}/{moment:%H%M%S}.{rest:09d}-{head.size}"


def _drop_between(newest: Path) -> None:
    """Remove heads over as many entries as the newest, of the same day, but for the first."""
    size = newest.name.rpartition("-")[2]
    alike = sorted(newest.parent.glob(f"*-{size}"))
    for path in alike[1:]:
        if path != newest:
            path.unlink()


def pack_records(records: Sequence[bytes]) -> bytes:
    """Write records as a bundle: zstd over each record behind its length, 32 bits."""
    data = b"".join(p for record in records for p in (struct.pack(">I", len(record)), record))
    return zstandard.ZstdCompressor(level=3).compress(data)


_BUNDLE_LIMIT_BYTES = 1 << 31


def unpack_records(data: bytes) -> list[bytes] | None:
    """Read the records of a bundle; None where it is damaged."""
    try:
        if not 0 <= zstandard.frame_content_size(data) <= _BUNDLE_LIMIT_BYTES:
            return None
        plain = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        return None
    records = []
    at = 0
    while at < len(plain):
        if at + 4 > len(plain):
            return None
        end = at + 4 + int.from_bytes(plain[at : at + 4], "big")
        if end > len(plain):
            return None
        records.append(plain[at + 4 : end])
        at = end
    return records


def kept_record(folder: Path, size: int, index: int) -> bytes | None:
    """Return a sealed record and its context from the files of a ledger; None where there is none.

    `Leaf.split` takes them apart.

    Args:
        folder: of the ledger, or of what was forwarded of it.
        size: its entries, under a head.
        index: of the record's entry.
    """
    data = TileReader(fetch_from(folder), size).record_bundle(index // WIDTH)
    records = None if data is None else unpack_records(data)
    at = index % WIDTH
    return records[at] if records is not None and at < len(records) else None


def fetch_from(folder: Path) -> Fetch:
    """Return what reads files below a folder: a ledger, or what was forwarded of one."""

    def fetch(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise TrailhoundError(f"cannot read {folder / path}: {error.strerror}") from None

    return fetch


def _create(path: Path, data: bytes) -> None:
    with open(path, "xb", buffering=0) as stream:
        written = 0
        while written < len(data):
            written += stream.write(data[written:])


def write_durable(path: Path, data: bytes) -> None:
    """Write a file so that after a crash the old content is there or the new one, whole."""
    fresh = path.with_name(f"{path.name}.new")
    with open(fresh, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, path)


def _locked(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise TrailhoundError(f"{folder} is in use by another process") from None
    return descriptor
