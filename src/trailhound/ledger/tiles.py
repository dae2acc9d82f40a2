"""The layout of c2sp.org/tlog-tiles: hashes in tiles of 256, entries in bundles of 256.

Beside `tile/` stands `records/`, laid out like entry bundles: the sealed records themselves,
where a ledger keeps them.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from trailhound.ledger.merkle import HASH_BYTES, fold, node_hash
from trailhound.model.errors import TrailhoundError

WIDTH = 256
"""Hashes of a full tile; entries of a full bundle."""
_HEIGHT = 8
_LENGTH = struct.Struct(">H")
_TILES_HELD = 64
ENTRIES = "tile/entries"
RECORDS = "records"


class Tile(Struct, frozen=True, order=True):
    """The name of one file: a tile of hashes, a bundle of entries, or one of records."""

    kind: str
    """`tile/0` to `tile/63`, `tile/entries`, or `records`."""
    index: int
    """Which one of its kind, from 0."""
    width: int = WIDTH
    """Hashes or entries in it; less than 256: a partial one."""

    @property
    def path(self) -> str:
        """Its path below the ledger, as tlog-tiles encodes it: `tile/0/x001/x234/067.p/5`."""
        rest, last = divmod(self.index, 1000)
        parts = [f"{last:03d}"]
        while rest:
            rest, part = divmod(rest, 1000)
            parts.insert(0, f"x{part:03d}")
        suffix = f".p/{self.width}" if self.width < WIDTH else ""
        return f"{self.kind}/{'/'.join(parts)}{suffix}"


def tiles_of(size: int, old_size: int = 0, *, records: bool = False) -> Iterator[Tile]:
    """Name every file that a tree of `size` has and one of `old_size` has not.

    Bundles come before the hashes over them.
    """
    for kind in (*((RECORDS,) if records else ()), ENTRIES):
        yield from _row(kind, size, old_size)
    level = 0
    while size:
        yield from _row(f"tile/{level}", size, old_size)
        level, size, old_size = level + 1, size // WIDTH, old_size // WIDTH


def _row(kind: str, size: int, old_size: int) -> Iterator[Tile]:
    for index in range(old_size // WIDTH, size // WIDTH):
        yield Tile(kind, index)
    if size % WIDTH and size != old_size:
        yield Tile(kind, size // WIDTH, size % WIDTH)


class Missing(TrailhoundError):
    """A tile or bundle that has to be there is not, or has another length than it must have."""

    def __init__(self, tile: Tile, reason: str) -> None:
        super().__init__(f"{tile.path}: {reason}")
        self.tile = tile
        self.reason = reason


Fetch = Callable[[str], bytes | None]
"""From a path below the ledger to what stands there; None where nothing does."""


class TileReader:
    """Reads a tree of a given size from its tiles."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        """Make a reader.

        Args:
            fetch: gives the content of a file of the ledger.
            size: leaves of the tree, as a checkpoint gives it.
        """
        self._fetch = fetch
        self.size = size
        self._tile = lru_cache(_TILES_HELD)(self._read_tile)

    def hashes(self, level: int, index: int) -> bytes:
        """Return the hashes of a tile, one after the other. Raises `Missing`."""
        return self._tile(level, index)

    def hash_of(self, start: int, end: int) -> bytes:
        """Return the hash of a perfect subtree: `merkle.Hashes`. Raises `Missing`."""
        power = (end - start).bit_length() - 1
        level, below = divmod(power, _HEIGHT)
        first = start >> (level * _HEIGHT)
        index, offset = divmod(first, WIDTH)
        tile = self.hashes(level, index)
        width = 1 << below
        row = [
            tile[at : at + HASH_BYTES]
            for at in range(offset * HASH_BYTES, (offset + width) * HASH_BYTES, HASH_BYTES)
        ]
        return _row_root(row)

    def bundle(self, index: int) -> list[bytes]:
        """Return the entries of a bundle. Raises `Missing`."""
        tile, data = self._read(ENTRIES, index, self.size)
        entries = split_bundle(data)
        if entries is None or len(entries) < tile.width:
            raise Missing(tile, "is no bundle of entries of that length")
        return entries[: tile.width]

    def record_bundle(self, index: int) -> bytes | None:
        """Return a bundle of records as it lies there; None where there is none."""
        try:
            return self._read(RECORDS, index, self.size)[1]
        except Missing:
            return None

    def _read_tile(self, level: int, index: int) -> bytes:
        tile, data = self._read(f"tile/{level}", index, self.size >> (level * _HEIGHT))
        wanted = tile.width * HASH_BYTES
        if len(data) < wanted or len(data) % HASH_BYTES:
            raise Missing(tile, f"has {len(data)} bytes where there must be {wanted}")
        return data[:wanted]

    def _read(self, kind: str, index: int, count: int) -> tuple[Tile, bytes]:
        width = min(WIDTH, count - index * WIDTH)
        tile = Tile(kind, index, width)
        data = self._fetch(tile.path) if width > 0 else None
        if data is None and 0 < width < WIDTH:
            # A partial tile may be gone once there is a fuller one.
            data = self._fetch(Tile(kind, index).path)
        if data is None:
            raise Missing(tile, "is missing")
        return tile, data


def join_bundle(entries: Iterable[bytes]) -> bytes:
    """Write entries as a bundle: each behind its length, 16 bits, big-endian."""
    return b"".join([part for entry in entries for part in (_LENGTH.pack(len(entry)), entry)])


def split_bundle(data: bytes) -> list[bytes] | None:
    """Read the entries of a bundle; None where it breaks off."""
    entries = []
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            return None
        length = (data[at] << 8) | data[at + 1]
        at += 2
        if at + length > len(data):
            return None
        entries.append(data[at : at + length])
        at += length
    return entries


class Frontier:
    """The tiles at the right edge of a growing tree, which are not full yet."""

    def __init__(self, levels: Iterable[bytes] = ()) -> None:
        """Make one; `levels` are the hashes of the partial tile of each level, from 0."""
        self.levels = [bytearray(level) for level in levels] or [bytearray()]

    def room(self) -> int:
        """Return how many leaves fill the lowest tile."""
        return WIDTH - len(self.levels[0]) // HASH_BYTES

    def add(self, leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Add leaf hashes, as many as there is `room` for at most.

        Returns:
            The tiles that they filled, as (level, hashes), from the lowest.
        """
        full: list[tuple[int, bytes]] = []
        level = 0
        found = b"".join(leaves)
        while True:
            if level == len(self.levels):
                self.levels.append(bytearray())
            row = self.levels[level]
            row += found
            if len(row) < WIDTH * HASH_BYTES:
                return full
            tile = bytes(row)
            full.append((level, tile))
            row.clear()
            found = tile_root(tile)
            level += 1

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        return fold(part for level in reversed(self.levels) for part in _peaks(bytes(level)))


def tile_root(tile: bytes) -> bytes:
    """Return the hash over a full tile."""
    return _row_root([tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)])


def _row_root(row: list[bytes]) -> bytes:
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def _peaks(level: bytes) -> Iterator[bytes]:
    row = [level[at : at + HASH_BYTES] for at in range(0, len(level), HASH_BYTES)]
    at = 0
    while at < len(row):
        size = 1 << ((len(row) - at).bit_length() - 1)
        yield _row_root(row[at : at + size])
        at += size
