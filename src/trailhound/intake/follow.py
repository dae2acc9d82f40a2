"""Files that grow, and are rotated: renamed, copied and truncated, compressed, removed.

A file is known by how it begins, not by its name or inode: `audit.log` that was renamed, copied
or compressed to `audit.log.1.gz` begins as before, and is read on from where reading stood. What
is at hand is held open, so that a file removed meanwhile is read to its end. Positions are saved
after records are on disk; what a crash makes us read twice is known by its position.
"""

import asyncio
import glob
import gzip
import hashlib
import logging
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from trailhound.intake.arrivals import Accept, Arrival, hand_over
from trailhound.model.errors import TrailhoundError

BEGINNING_BYTES = 1024
"""How much of a file tells it from others."""
LINE_BYTES = 16 * 1024 * 1024
"""A longer line comes in pieces."""
_READ_BYTES = 1024 * 1024
_POLL_SECONDS = 0.5
_GONE_SECONDS = 5.0
"""How long what stands behind the last line end of a file without a name may go on growing."""
_STILL_SECONDS = 30.0
"""The same of a file that has its name: some are written without a line end at their end."""
_FORGET_SECONDS = 30 * 24 * 3600
_log = logging.getLogger(__name__)


class Known(msgspec.Struct):
    """A file of which something was read."""

    uid: str
    """Names it in positions; given once."""
    path: str
    """Where it was last seen."""
    beginning_bytes: int
    """How many of its first bytes `beginning` is the hash of."""
    beginning: str
    offset: int
    """So many bytes of it are on disk here, decompressed."""
    seen_s: int = 0
    """When it was last there, seconds since 1970."""


class _State(msgspec.Struct):
    files: list[Known] = []


class Chunk(msgspec.Struct, frozen=True):
    """Whole lines that were read from a file."""

    known: Known
    offset: int
    """Where the first one begins."""
    lines: list[bytes]
    """As they stand there, with their ends."""


class Follower:
    """Reads what is new in the files that patterns name."""

    def __init__(self, patterns: Sequence[str], state: Path) -> None:
        """Take up what was saved.

        Args:
            patterns: files, or patterns of them (`/var/log/audit/audit.log*`): one should also
                fit the names that rotation gives.
            state: file in which positions are saved.

        Raises:
            TrailhoundError: The state cannot be read.
        """
        self._patterns = tuple(patterns)
        self._place = state
        try:
            data = state.read_bytes()
            self._files = msgspec.json.decode(data, type=_State).files
        except FileNotFoundError:
            self._files = []
        except (OSError, msgspec.MsgspecError) as error:
            raise TrailhoundError(f"positions in {state} cannot be read: {error}") from None
        self._open: dict[str, tuple[BinaryIO, int]] = {}
        """Files at hand by uid, each with its inode."""
        self._finished: dict[tuple[str, int, int, int], str] = {}
        """Compressed files that were read whole: (path, inode, size, time) → uid."""
        self._still: dict[str, tuple[int, float]] = {}
        """Files with a rest behind the last line end: uid → (size, since when)."""
        self._told: set[str] = set()

    def poll(self, now_s: float) -> Iterator[Chunk]:
        """Yield what is new; `done` must be called for each chunk before the next is asked for.

        A file that cannot be read is told in the log, and tried again.
        """
        current: set[str] = set()
        for path in self._paths():
            try:
                yield from self._read_path(path, current, now_s)
            except (OSError, EOFError, zlib.error) as error:
                if path not in self._told:
                    _log.warning("%s cannot be read now: %s", path, error)
                    self._told.add(path)
            else:
                self._told.discard(path)
        for uid in [uid for uid in self._open if uid not in current]:
            yield from self._read_gone(uid, now_s)

    def done(self, chunk: Chunk) -> None:
        """Note that a chunk is on disk."""
        chunk.known.offset = chunk.offset + sum(map(len, chunk.lines))

    def save(self) -> None:
        """Save positions."""
        newest = max((known.seen_s for known in self._files), default=0)
        self._files = [known for known in self._files if newest - known.seen_s < _FORGET_SECONDS]
        beside = self._place.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(_State(self._files)))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._place)

    def close(self) -> None:
        """Close what is open."""
        for file, _ in self._open.values():
            file.close()
        self._open.clear()

    def _paths(self) -> list[str]:
        found: dict[str, float] = {}
        for pattern in self._patterns:
            for path in glob.glob(pattern, recursive=True):
                try:
                    if os.path.isfile(path):
                        found[path] = os.stat(path).st_mtime
                except OSError:
                    continue
        # Oldest first: what was rotated comes before what follows on it.
        return sorted(found, key=lambda path: (found[path], path))

    def _read_path(self, path: str, current: set[str], now_s: float) -> Iterator[Chunk]:
        status = os.stat(path)
        mark = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        if mark in self._finished:
            current.add(self._finished[mark])
            return
        if path.endswith(".gz"):
            with gzip.open(path, "rb") as packed:
                known = self._known(cast("BinaryIO", packed), path, status, now_s)
                if known is not None:
                    current.add(known.uid)
                    yield from self._rest(cast("BinaryIO", packed), known, now_s, 0)
                    self._finished = {m: u for m, u in self._finished.items() if m[0] != path}
                    self._finished[mark] = known.uid
            return
        file: BinaryIO = open(path, "rb")  # noqa: SIM115 - it stays open, see above
        known = self._known(file, path, status, now_s)
        # A copy of what another name holds (copytruncate copies first) is read there.
        if known is None or known.uid in current:
            file.close()
            return
        current.add(known.uid)
        held = self._open.get(known.uid)
        if held is not None and held[1] == status.st_ino:
            file.close()
            file = held[0]
        elif held is not None:
            held[0].close()
        self._open[known.uid] = (file, status.st_ino)
        yield from self._rest(file, known, now_s, _STILL_SECONDS)

    def _read_gone(self, uid: str, now_s: float) -> Iterator[Chunk]:
        """Read the end of a file that has no name here any more."""
        file, _ = self._open[uid]
        known = next((known for known in self._files if known.uid == uid), None)
        file.seek(0)
        # Truncated and written anew, it is another file.
        if known is not None and _hash(file.read(known.beginning_bytes)) == known.beginning:
            before = known.offset
            yield from self._rest(file, known, now_s, _GONE_SECONDS)
            size = os.fstat(file.fileno()).st_size
            if known.offset != before or known.offset < size:
                return
        self._still.pop(uid, None)
        file.close()
        del self._open[uid]

    def _known(
        self, file: BinaryIO, path: str, status: os.stat_result, now_s: float
    ) -> Known | None:
        """Return what is known of a file; None where it has no whole line yet."""
        beginning = file.read(BEGINNING_BYTES)
        # A name that is no UTF-8 can neither be saved nor queued, and must not end the reading.
        path = os.fsencode(path).decode("utf-8", "backslashreplace")
        best: Known | None = None
        for known in self._files:
            length = known.beginning_bytes
            fits = len(beginning) >= length and known.beginning == _hash(beginning[:length])
            if fits and (best is None or length > best.beginning_bytes):
                best = known
        if best is None:
            end = beginning.rfind(b"\n") + 1
            whole = len(beginning) == BEGINNING_BYTES or now_s - status.st_mtime > _STILL_SECONDS
            if not end and whole:
                end = len(beginning)
            if not end:
                return None
            best = Known(uuid.uuid4().hex, path, end, _hash(beginning[:end]), 0, int(now_s))
            self._files.append(best)
            self.save()  # before anything of it is handed on, so that its positions stay its own
        elif best.beginning_bytes < len(beginning) and best.offset > best.beginning_bytes:
            # The more of it is known, the better it is told from others.
            length = min(best.offset, len(beginning))
            best.beginning_bytes, best.beginning = length, _hash(beginning[:length])
        best.path, best.seen_s = path, int(now_s)
        return best

    def _rest(
        self, file: BinaryIO, known: Known, now_s: float, patience_s: float
    ) -> Iterator[Chunk]:
        """Yield what is new in a file; what lacks its line end, once it has not grown so long."""
        file.seek(0, os.SEEK_END)
        if file.tell() < known.offset:
            return  # truncated under us; the next look finds another beginning
        file.seek(known.offset)
        held = b""
        offset = known.offset
        while data := file.read(_READ_BYTES):
            held += data
            end = held.rfind(b"\n") + 1
            if not end and len(held) >= LINE_BYTES:
                end = LINE_BYTES
            if end:
                yield Chunk(known, offset, _lines(held[:end]))
                offset += end
                held = held[end:]
        if not held:
            self._still.pop(known.uid, None)
            return
        size, since = self._still.setdefault(known.uid, (offset + len(held), now_s))
        if size != offset + len(held):
            self._still[known.uid] = (offset + len(held), now_s)
        elif now_s - since >= patience_s:
            del self._still[known.uid]
            yield Chunk(known, offset, [held])


def _lines(data: bytes) -> list[bytes]:
    # Only a line feed ends a line; `splitlines` also ends it at a carriage return alone.
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


async def follow(follower: Follower, accept: Accept) -> None:
    """Hand over what is new in files, until cancelled."""
    unsaved = told = False
    try:
        while True:
            for chunk in follower.poll(time.time()):
                await _hand_over(chunk, accept)
                follower.done(chunk)
                unsaved = True
            if unsaved:
                try:
                    follower.save()
                    unsaved = told = False
                except OSError as error:  # a full disk, as a rule: there will be room again
                    if not told:
                        _log.warning("positions in files cannot be saved now: %s", error)
                    told = True
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        follower.close()


async def _hand_over(chunk: Chunk, accept: Accept) -> None:
    peer = f"files/{chunk.known.path}"
    now_ns = time.time_ns()
    arrivals = []
    offset = chunk.offset
    for line in chunk.lines:
        bare = line.rstrip(b"\r\n")
        if bare:
            arrivals.append(Arrival(bare, peer, now_ns, f"file:{chunk.known.uid}@{offset}"))
        offset += len(line)
    await hand_over(arrivals, accept)
