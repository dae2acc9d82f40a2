"""Records of the queue into the ledger, each once.

The place of a leaf is the number of its record in the queue. Numbers only grow, so the last leaf
says how far the ledger has come: what a crash has read again below it is there already.
"""

import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from trailhound.ledger.keys import new_redaction_key, read_redactor, read_signer, write_secret
from trailhound.ledger.leaf import EntryError, Sealed, leaf_entry, parse_leaf
from trailhound.ledger.log import SETTINGS, Ledger, create
from trailhound.ledger.merkle import prove_inclusion
from trailhound.ledger.notes import Signer
from trailhound.ledger.redaction import Redacted
from trailhound.ledger.release import Release
from trailhound.ledger.retention import finish, released, retain
from trailhound.ledger.tiles import WIDTH, TileReader
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.findings import Proofs, RecordProof
from trailhound.pipeline.serve.settings import Settings
from trailhound.sinks.evidence import DOCUMENT_LIMIT_BYTES, DOCUMENTS_SHOWN

Redact = Callable[[Sequence[bytes]], list[Redacted]]
_RETAIN_S = 600.0
_PROVEN_LIMIT = 256
"""Records of one finding that are proven at most."""
_UNSIGNED_LIMIT = 65_536
"""Entries that wait for a head at most: the ledger reads as many again when it is opened."""
_log = logging.getLogger(__name__)


class Numbered(Struct, frozen=True, gc=False):
    """A record on its way into the ledger."""

    number: int
    """In the queue."""
    peer: str
    received_ns: int
    safe: Redacted
    context: bytes = b""
    """What came beside it, redacted, as it is sealed."""

    def sealed(self) -> Sealed:
        """Return its leaf, and the record."""
        entry = leaf_entry(
            self.safe,
            source=self.peer,
            place=str(self.number),
            received_ns=self.received_ns,
            context=self.context,
        )
        return Sealed(entry, self.safe.data + self.context)


def open_redaction(settings: Settings) -> Redact:
    """Return what redacts records; makes the key where there is none.

    Raises:
        TrailhoundError: The key cannot be made or read.
    """
    if not settings.redaction.enabled:
        return _unredacted
    path = _key_path(settings, settings.redaction.key_file, "redaction-key")
    if not path.exists():
        _make_secret(path, new_redaction_key())
    return read_redactor(path).redact_many


def _unredacted(records: Sequence[bytes]) -> list[Redacted]:
    return [Redacted(record) for record in records]


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger of a service, made where there is none.

    Raises:
        TrailhoundError: It cannot be made or opened.
    """
    folder = settings.ledger_folder
    key = _key_path(settings, settings.ledger.key_file, "key")
    if not key.exists():
        if (folder / SETTINGS).exists():
            raise TrailhoundError(f"{folder} has no private key: {key} is missing")
        _make_secret(key, Signer.generate(_name(settings)).secret_text())
    signer = read_signer(key)
    if not (folder / SETTINGS).exists():
        # Made beside its place, so that a crash leaves a ledger or none.
        fresh = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        create(fresh, signer, keep_records=settings.ledger.keep_records)
        try:
            os.rename(fresh, folder)
        except OSError as error:
            raise TrailhoundError(f"cannot make a ledger in {folder}: {error.strerror}") from None
    return Ledger(folder, signer)


class Sealer:
    """Appends records of the queue to a ledger, and signs its heads."""

    def __init__(self, ledger: Ledger, head_s: int) -> None:
        """Take up where the ledger is.

        Args:
            ledger: of this queue alone.
            head_s: how long a record waits for a signed head, and a head for the next one, seconds.

        Raises:
            TrailhoundError: The ledger holds something else than records of a queue.
        """
        self._ledger = ledger
        self._head_s = head_s
        self._signed_s: float | None = None
        self._read: tuple[TileReader, str] | None = None
        self._last = _number(ledger.reader(), ledger.size - 1) if ledger.size else 0
        self._retained_s: float | None = None
        self._cursor = 0
        finish(ledger, time.time_ns())
        self._releases = released(ledger.folder).count

    @property
    def folder(self) -> Path:
        """Where the ledger lies."""
        return self._ledger.folder

    @property
    def size(self) -> int:
        """Records in the ledger."""
        return self._ledger.size

    @property
    def signed(self) -> int:
        """Records under its last head."""
        return self._ledger.head.size

    def seal(self, records: Sequence[Numbered]) -> int:
        """Append records that are not there yet, in the order of their numbers.

        Args:
            records: numbers only grow from call to call, but for what a crash has read again.

        Returns:
            How many were appended. All of them are on disk.

        Raises:
            TrailhoundError: The disk does not take them; or the ledger has other records under
                these numbers, so that it is not of this queue.
        """
        again = [record for record in records if record.number <= self._last]
        if again:
            self._compare(again)
        fresh = records[len(again) :]
        if fresh:
            self._ledger.append([record.sealed() for record in fresh])
            self._last = fresh[-1].number
        return len(fresh)

    def sign_if_due(self, now_s: float, now_ns: int) -> bool:
        """Sign a head if the last one is old enough, or was of another run; return whether it did.

        Also where nothing came: whoever has the heads can tell a quiet log from one that was
        stopped or cut off.

        Args:
            now_s: a clock that only goes forward, seconds.
            now_ns: the time that the head bears, UTC nanoseconds.
        """
        since_s = self._signed_s
        waiting = self._ledger.size - self._ledger.head.size
        if since_s is not None and now_s - since_s < self._head_s and waiting < _UNSIGNED_LIMIT:
            return False
        self._ledger.sign_head(now_ns)
        self._signed_s = now_s
        return True

    def sign(self, now_ns: int) -> None:
        """Sign a head over everything, where there is something that is under none."""
        if self._ledger.size > self._ledger.head.size:
            self._ledger.sign_head(now_ns)

    def retain_if_due(self, keep_days: Mapping[str, int], now_s: float, now_ns: int) -> int:
        """Let records go that are older than they are kept, if it is time to; return how many.

        Args:
            keep_days: source → days; see `retain`.
            now_s: a clock that only goes forward, seconds.
            now_ns: by which records are old, UTC nanoseconds; must not be ahead of the time.
        """
        if self._retained_s is not None and now_s - self._retained_s < _RETAIN_S:
            return 0
        self._retained_s = now_s
        done = retain(self._ledger, keep_days, now_ns, cursor=self._cursor)
        self._cursor = done.cursor
        self._releases = released(self.folder).count
        if done.records or done.held:
            _log.info(
                "ledger: %d records were older than they are kept, and are let go; %d are held",
                done.records,
                done.held,
            )
        return done.records

    def index_of(self, reader: TileReader, number: int) -> int | None:
        """Return the index of the leaf of a record; None where it was left out, or came before.

        Raises `TrailhoundError` where the ledger cannot be read.
        """
        if not 0 < number <= self._last:
            return None
        # Between two leaves lie at least as many numbers as leaves. An entry that lets records go
        # has the number of the one before it.
        size = reader.size
        high = min(number - 1 + self._releases, size - 1)
        low = max(0, number - 1 - (self._last - (size - self._releases)))
        while low < high:
            middle = (low + high) // 2
            if _number(reader, middle) < number:
                low = middle + 1
            else:
                high = middle
        return low if low == high and _number(reader, low) == number else None

    def proofs(self, events: Sequence[Event], now_ns: int) -> Proofs:
        """Return proofs of the records of events, as far as they are sealed.

        Args:
            events: of one finding.
            now_ns: the time that a head bears which is signed for it, UTC nanoseconds.

        Raises:
            TrailhoundError: The ledger cannot be read.
        """
        reader, head = self._snapshot(now_ns)
        carried = dict.fromkeys(
            (origin.path, origin.line)
            for event in events[:DOCUMENTS_SHOWN]
            for origin in event.origins
        )
        places = dict.fromkeys(
            (origin.path, origin.line) for event in events for origin in event.origins
        )
        found: list[RecordProof] = []
        for path, number in list(places)[:_PROVEN_LIMIT]:
            index = self.index_of(reader, number)
            if index is None:
                continue
            entry = reader.bundle(index // WIDTH)[index % WIDTH]
            hashes = tuple(prove_inclusion(index, reader.size, reader.hash_of))
            record = self._ledger.record(index) if (path, number) in carried else None
            if record is not None and len(record) > DOCUMENT_LIMIT_BYTES:
                record = None
            found.append(RecordProof(path, number, index, entry.decode(), hashes, record))
        return Proofs(head, tuple(found), len(places) - len(found))

    def _snapshot(self, now_ns: int) -> tuple[TileReader, str]:
        if self._read is None or self._read[0].size != self._ledger.size:
            self._read = self._ledger.reader(), self._ledger.note(now_ns).decode()
        return self._read

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _compare(self, records: Sequence[Numbered]) -> None:
        reader = self._ledger.reader()
        for record in records:
            index = self.index_of(reader, record.number)
            if index is None:
                continue  # known as sent again when it was first read
            there = parse_leaf(reader.bundle(index // WIDTH)[index % WIDTH])
            here = parse_leaf(record.sealed().entry)
            # Hashes may differ: another version may know other secrets.
            if (there.source, there.received_ns) != (here.source, here.received_ns):
                raise TrailhoundError(
                    f"{self.folder} holds another record {record.number} than the queue: it is the "
                    "ledger of another queue, or one of them was put back from a copy"
                )


def _number(reader: TileReader, index: int) -> int:
    entry = reader.bundle(index // WIDTH)[index % WIDTH]
    try:
        return int((Release.parse(entry) or parse_leaf(entry)).place)
    except (EntryError, ValueError):
        raise TrailhoundError(
            f"entry {index} of the ledger is no record of a queue: `serve` needs one of its own"
        ) from None


def _name(settings: Settings) -> str:
    return settings.ledger.name or socket.gethostname() or "trailhound"


def _key_path(settings: Settings, given: str, suffix: str) -> Path:
    folder = settings.ledger_folder
    return Path(given) if given else folder.with_name(f"{folder.name}.{suffix}")


def _make_secret(path: Path, text: str) -> None:
    # Made beside its place, so that a crash leaves a whole key or none.
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_secret(fresh, text)
    os.rename(fresh, path)
