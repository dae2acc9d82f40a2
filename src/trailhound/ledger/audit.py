"""Checks a ledger, or what was forwarded of one, with nothing but its public key.

The entries give the leaf hashes, those give every tile and the root of every head. Where all
agree, no entry was altered, deleted, inserted or moved since the first head over it was signed.
Where they do not, this says which entry is the first that cannot be trusted.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from trailhound.ledger.checkpoints import Head, ProofError, open_head
from trailhound.ledger.differences import Change, first_difference
from trailhound.ledger.leaf import Leaf, parse_leaf
from trailhound.ledger.log import CHECKPOINT, HEADS, fetch_from, read_settings, unpack_records
from trailhound.ledger.merkle import HASH_BYTES, leaf_hash
from trailhound.ledger.notes import NoteError, Verifier
from trailhound.ledger.release import MARK, Release
from trailhound.ledger.tiles import RECORDS, WIDTH, Frontier, Missing, Tile, TileReader
from trailhound.model.errors import TrailhoundError

_PROBLEMS_KEPT = 1000
_EMPTY = hashlib.sha256(b"").digest()
"""Of the record that stands for an entry which is no record."""


class Problem(Struct, frozen=True):
    """Something that is not as it was signed."""

    what: str
    """`altered`, `deleted`, `inserted`, `reordered`, `missing`, `unsigned` or `forked`."""
    where: str
    """The file, or the record, for people."""
    detail: str
    """One sentence. May quote the log: escape it before showing it."""
    index: int | None = None
    """Of the first entry that is concerned, where it is known."""


class Audit(Struct, frozen=True, kw_only=True):
    """What was checked, and what is wrong."""

    name: str
    size: int
    """Entries under the newest head."""
    heads: tuple[Head, ...]
    """Of each size the newest head whose signature is right."""
    records_checked: int
    """Kept records that were held against their entries."""
    released: tuple[Release, ...] = ()
    """Entries that let records go which are not there; whose they are, and that they were due, is
    checked."""
    problems: tuple[Problem, ...]
    problem_count: int
    """All of them; of many only the first are kept."""

    @property
    def head(self) -> Head | None:
        """The newest head."""
        return self.heads[-1] if self.heads else None


class _Findings:
    def __init__(self) -> None:
        self.kept: list[Problem] = []
        self.count = 0

    def add(self, what: str, where: str, detail: str, index: int | None = None) -> None:
        self.count += 1
        if len(self.kept) < _PROBLEMS_KEPT:
            self.kept.append(Problem(what, where, detail, index))


def audit(folder: Path, verifier: Verifier) -> Audit:
    """Check everything in a ledger. Raises `TrailhoundError` where there is no head at all."""
    findings = _Findings()
    heads = _heads(folder, verifier, findings)
    size = heads[-1].size if heads else 0
    walk = _Walk(folder, size, heads, findings)
    checked = walk.run()
    return Audit(
        name=verifier.name,
        size=size,
        heads=tuple(heads),
        records_checked=checked,
        released=tuple(walk.released.values()),
        problems=tuple(findings.kept),
        problem_count=findings.count,
    )


def newest_head(folder: Path, verifier: Verifier) -> tuple[Head, bytes]:
    """Return the newest head of a ledger and its note. Raises `TrailhoundError`."""
    best: tuple[Head, bytes] | None = None
    for path in _head_files(folder):
        note = path.read_bytes()
        try:
            head = open_head(note, verifier)
        except (NoteError, ProofError):
            continue
        if best is None or (head.size, head.signed_ns or 0) >= (
            best[0].size,
            best[0].signed_ns or 0,
        ):
            best = head, note
    if best is None:
        raise TrailhoundError(f"{folder} holds no head that {verifier.name} signed")
    return best


def last_signed(folder: Path, verifier: Verifier, until_ns: int | None = None) -> Head:
    """Return the head that was signed last, by its own time; nothing else is read.

    Args:
        folder: of the ledger, or of what was forwarded of it.
        verifier: its public key.
        until_ns: heads of later times count only where there are no others, UTC nanoseconds: a
            clock that was ahead for a while must not hide the heads that came since.

    Raises:
        TrailhoundError: there is none that says when it was signed.
    """
    later: Head | None = None
    for path in reversed(_head_files(folder)):
        try:
            head = open_head(path.read_bytes(), verifier)
        except (NoteError, ProofError):
            continue
        if head.signed_ns is not None and path.name != CHECKPOINT:
            if until_ns is None or head.signed_ns <= until_ns:
                return head
            later = later or head
    if later is not None:
        return later
    raise TrailhoundError(f"{folder} holds no head that {verifier.name} signed")


def leaves(folder: Path, size: int) -> Iterator[tuple[int, Leaf]]:
    """Yield the leaves of a ledger that was audited, each with its index.

    Raises `TrailhoundError`.
    """
    reader = TileReader(fetch_from(folder), size)
    for index in range(-(-size // WIDTH)):
        for at, entry in enumerate(reader.bundle(index), index * WIDTH):
            if not entry.startswith(MARK):
                yield at, parse_leaf(entry)


def _head_files(folder: Path) -> list[Path]:
    files = sorted((folder / HEADS).glob("*/*")) if (folder / HEADS).is_dir() else []
    if (folder / CHECKPOINT).is_file():
        files.append(folder / CHECKPOINT)
    files = [path for path in files if not path.name.endswith(".new")]
    if not files:
        raise TrailhoundError(
            f"{folder} holds no signed head: it is no ledger, or nothing is sealed"
        )
    return files


def _heads(folder: Path, verifier: Verifier, findings: _Findings) -> list[Head]:
    found: dict[int, Head] = {}
    for path in _head_files(folder):
        where = path.relative_to(folder).as_posix()
        try:
            head = open_head(path.read_bytes(), verifier)
        except (NoteError, ProofError) as error:
            findings.add("unsigned", where, str(error))
            continue
        except OSError as error:
            findings.add("missing", where, error.strerror or str(error))
            continue
        if head.origin != verifier.name:
            findings.add("unsigned", where, f"a head of another ledger, {head.origin}")
            continue
        before = found.setdefault(head.size, head)
        if before.root != head.root:
            detail = "two heads over as many entries differ: the ledger showed two histories"
            findings.add("forked", where, detail, None)
        elif (head.signed_ns or 0) > (before.signed_ns or 0):
            found[head.size] = head
    return [found[size] for size in sorted(found)]


def _is_record(leaf: Leaf, stored: bytes) -> bool:
    """Whether a record is what was sealed, whatever stands behind it."""
    return hashlib.sha256(leaf.split(stored)[0]).hexdigest() == leaf.sha256


def _keeps_records(folder: Path) -> bool:
    try:
        return read_settings(folder).keep_records
    except TrailhoundError:
        return False


class _Walk:
    """One walk over all entries."""

    def __init__(self, folder: Path, size: int, heads: list[Head], findings: _Findings) -> None:
        self._fetch = fetch_from(folder)
        self._reader = TileReader(self._fetch, size)
        self._size = size
        self._heads = iter(heads)
        self._due = next(self._heads, None)
        self._findings = findings
        # Where it says that it keeps them, it is no excuse that all of them are gone.
        self._keeps = (folder / RECORDS).is_dir() or _keeps_records(folder)
        self._releases: list[tuple[int, Release]] | None = None
        self.released: dict[int, Release] = {}
        """Index of an entry → what it says, of those by which records are not there."""
        # Two trees: as the entries have it, and as the tiles of leaf hashes have it.
        self._entries = Frontier()
        self._tiles = Frontier()
        self._fitted = 0
        self._first: int | None = None
        self._blamed = False

    def run(self) -> int:
        checked = 0
        self._heads_at(0)
        for index in range(-(-self._size // WIDTH)):
            width = min(WIDTH, self._size - index * WIDTH)
            entries = self._bundle(index, width)
            hashes = self._level_0(index, width)
            own = hashes if entries is None else [leaf_hash(entry) for entry in entries]
            for at in range(width):
                number = index * WIDTH + at
                mine = own[at] if own else b"\0" * HASH_BYTES
                theirs = hashes[at] if hashes else mine
                if entries is not None and mine != theirs and self._first is None:
                    self._first = number
                self._grow(number, mine, theirs)
                self._heads_at(number + 1)
            if entries is not None and self._keeps:
                checked += self._records(index, width, entries)
        self._partials()
        return checked

    def _bundle(self, index: int, width: int) -> list[bytes] | None:
        try:
            return self._reader.bundle(index)
        except Missing as error:
            first = index * WIDTH
            detail = f"{error.reason}: entries {first} to {first + width - 1}"
            self._findings.add("missing", error.tile.path, detail, first)
            return None

    def _level_0(self, index: int, width: int) -> list[bytes] | None:
        try:
            tile = self._reader.hashes(0, index)
        except Missing as error:
            self._findings.add("missing", error.tile.path, error.reason, index * WIDTH)
            return None
        return [tile[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(width)]

    def _grow(self, number: int, mine: bytes, theirs: bytes) -> None:
        self._entries.add([mine])
        for level, tile in self._tiles.add([theirs]):
            if level:
                self._compare(Tile(f"tile/{level}", number >> (8 * (level + 1))), tile)

    def _partials(self) -> None:
        for level, hashes in enumerate(self._tiles.levels):
            if level and hashes:
                index = self._size >> (8 * (level + 1))
                width = len(hashes) // HASH_BYTES
                self._compare(Tile(f"tile/{level}", index, width), bytes(hashes))

    def _compare(self, tile: Tile, right: bytes) -> None:
        level = int(tile.kind.removeprefix("tile/"))
        span = WIDTH**level
        first = tile.index * WIDTH * span
        try:
            stored = self._reader.hashes(level, tile.index)
        except Missing as error:
            self._findings.add("missing", tile.path, error.reason, first)
            return
        if stored != right:
            at = next(i for i in range(len(right)) if stored[i : i + 1] != right[i : i + 1])
            low = first + at // HASH_BYTES * span
            detail = f"does not fit the hashes of entries {low} to {low + span - 1} below it"
            self._findings.add("altered", tile.path, detail, low)

    def _heads_at(self, size: int) -> None:
        while self._due is not None and self._due.size == size:
            self._check(self._due)
            self._due = next(self._heads, None)

    def _check(self, head: Head) -> None:
        right = self._entries.root() == head.root
        if right and self._first is None:
            self._fitted = head.size
            return
        if self._blamed:
            return
        if right:
            path = Tile("tile/0", (self._first or 0) // WIDTH).path
            detail = "a hash in it is not that of its entry, which is what the head was signed over"
            self._findings.add("altered", path, detail, self._first)
        elif self._tiles.root() == head.root and self._first is not None:
            self._findings.add(
                "altered",
                f"entry {self._first}",
                f"is not what the head over {head.size} entries was signed over",
                self._first,
            )
        else:
            low = self._fitted if self._first is None else min(self._fitted, self._first)
            detail = (
                f"the head over {head.size} entries was signed over others: the first that was "
                f"altered, deleted, inserted or moved is one of {low} to {head.size - 1}"
            )
            self._findings.add("altered", f"entries {low} to {head.size - 1}", detail, low)
        self._blamed = True

    def _records(self, index: int, width: int, entries: list[bytes]) -> int:
        path = Tile(RECORDS, index, width).path
        first = index * WIDTH
        data = self._reader.record_bundle(index)
        if data is None and width == WIDTH and self._was_let_go(first, entries):
            return 0
        records = None if data is None else unpack_records(data)
        if records is None:
            state = "is missing" if data is None else "is damaged"
            detail = f"{state}: records {first} to {first + width - 1}"
            self._findings.add("missing", path, detail, first)
            return 0
        known = self._parsed(first, entries)
        if known is None:
            return 0
        wanted = [bytes.fromhex(leaf.kept_sha256) if leaf else _EMPTY for leaf in known]
        found = [hashlib.sha256(record).digest() for record in records]
        difference = first_difference(wanted, found)
        if difference is not None:
            at = min(difference.index, width - 1)
            leaf = known[at]
            where = f"record {first + at}" + (f" ({leaf.source}:{leaf.place})" if leaf else "")
            detail = f"in {path}, by the hash in its entry"
            if leaf and difference.change is Change.ALTERED and _is_record(leaf, records[at]):
                detail = f"in {path}: what came beside the record, by the hash in its entry"
            self._findings.add(difference.change.value, where, detail, first + at)
        return width

    def _parsed(self, first: int, entries: list[bytes]) -> list[Leaf | None] | None:
        """Return the leaves of a bundle, None for what lets records go; None where one is none."""
        known: list[Leaf | None] = []
        for entry in entries:
            try:
                release = Release.parse(entry) if entry.startswith(MARK) else None
                known.append(None if release else parse_leaf(entry))
            except TrailhoundError as error:
                at = first + len(known)
                self._findings.add("altered", f"entry {at}", str(error), at)
                return None
        return known

    def _was_let_go(self, first: int, entries: list[bytes]) -> bool:
        """Whether an entry let these records go; says so where they were not due."""
        if self._releases is None:
            self._releases = self._read_releases(first // WIDTH)
        covering = [
            (at, release)
            for at, release in self._releases
            if release.covers(first, first + WIDTH - 1)
        ]
        known = self._parsed(first, entries) if covering else None
        if known is None:
            return False
        for at, release in covering:
            early = [
                number
                for number, leaf in enumerate(known, first)
                if leaf is not None and not release.was_due(leaf.source, leaf.received_ns)
            ]
            if not early:
                self.released[at] = release
                return True
        detail = (
            f"entry {at} let records {first} to {first + WIDTH - 1} go, of which {early[0]} was "
            "not older than it says that they are kept"
        )
        self._findings.add("deleted", f"record {early[0]}", detail, early[0])
        return True

    def _read_releases(self, bundle: int) -> list[tuple[int, Release]]:
        """Return what lets records go; it stands behind them. The walk comes by and checks it."""
        found = []
        for index in range(bundle, -(-self._size // WIDTH)):
            try:
                entries = self._reader.bundle(index)
            except Missing:
                continue
            for at, entry in enumerate(entries, index * WIDTH):
                if entry.startswith(MARK) and (release := Release.parse(entry)) is not None:
                    found.append((at, release))
        return found
