"""Lets records go that are old enough. Their entries stay, and so do the tree and every proof.

Bundles of records go whole: when each record in them is due and none is held. First an entry says
so (`release.py`), then a head is signed over it, then the files are deleted. What is being done
stands in a file beside the ledger, so that a crash in between is made up for.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from trailhound.ledger.journal import sync_folder
from trailhound.ledger.leaf import Sealed, parse_leaf, read_text
from trailhound.ledger.log import Ledger, fetch_from, write_durable
from trailhound.ledger.release import DAY_NS, MARK, RANGES_LIMIT, Release, days_of, is_of
from trailhound.ledger.tiles import ENTRIES, RECORDS, WIDTH, Tile, split_bundle
from trailhound.model.errors import TrailhoundError

_STATE = "released.json"
_HOLDS = "holds.json"
_LOCK = "holds.lock"
_LOOKED_AT = 20_000
"""Bundles looked at in one go, at most: what takes a second or two."""
_LEAF = re.compile(rb"trailhound-leaf/\d\nsource ([!-~]*)\nplace [!-~]*\nreceived ([0-9]{1,20})\n")


class Hold(Struct, frozen=True):
    """What must not be let go, however old."""

    name: str
    source: str
    """Empty: every source. One that ends in `*` stands for all that begin so."""
    since_ns: int | None
    """Received from this on, UTC nanoseconds; None: from the beginning."""
    until_ns: int | None
    """Received up to this; None: to the end."""
    reason: str
    placed_ns: int

    def covers(self, source: str, received_ns: int) -> bool:
        """Whether a record is held."""
        return (
            (not self.source or is_of(self.source, source))
            and (self.since_ns is None or received_ns >= self.since_ns)
            and (self.until_ns is None or received_ns <= self.until_ns)
        )


class State(Struct):
    """What `released.json` holds, so that nobody has to read all entries to know."""

    count: int = 0
    """Entries that let records go."""
    bundles: list[tuple[int, int]] = []
    """First and last bundle of records, both included, that are gone."""
    doing: int | None = None
    """Index of the entry by which records are being let go."""
    entry: str = ""
    """That entry."""

    def has(self, bundle: int) -> bool:
        """Whether a bundle is gone."""
        return any(first <= bundle <= last for first, last in self.bundles)


class Retained(Struct, frozen=True):
    """What `retain` did."""

    records: int = 0
    """Let go."""
    held: int = 0
    """Records that are due, in bundles that a hold keeps."""
    cursor: int = 0
    """The bundle with which the next look begins."""


def released(folder: Path) -> State:
    """Return what a ledger has let go."""
    try:
        return msgspec.json.decode((folder / _STATE).read_bytes(), type=State)
    except FileNotFoundError:
        return State()
    except (OSError, msgspec.MsgspecError) as error:
        raise TrailhoundError(f"{folder / _STATE} cannot be used: {error}") from None


def retain(
    ledger: Ledger, keep_days: Mapping[str, int], now_ns: int, *, cursor: int = 0
) -> Retained:
    """Let records go that are older than their source is kept, but for what a hold covers.

    Args:
        ledger: open for writing.
        keep_days: source → days; `*` at its end stands for all that begin so. A source of which
            nothing is said is kept for ever.
        now_ns: by which records are old, UTC nanoseconds; must not be ahead of the time.
        cursor: what the last look returned. Large ledgers are looked at in parts.

    Raises:
        TrailhoundError: The ledger cannot be read or written.
    """
    finish(ledger, now_ns)
    if not keep_days or not ledger.settings.keep_records or not ledger.size:
        return Retained()
    with _holds_locked(ledger.folder):
        state = released(ledger.folder)
        due, held, cursor = _due(ledger, state, keep_days, now_ns, cursor)
        if not due:
            return Retained(0, held, cursor)
        place = _place_of_last(ledger)
        ranges = tuple((first * WIDTH, (last + 1) * WIDTH - 1) for first, last in due)
        entry = Release(place, now_ns, dict(keep_days), ranges).encode()
        state.doing, state.entry = ledger.size, entry.decode()
        _save(ledger.folder, state)
        ledger.append([Sealed(entry, b"")])
        _finish(ledger, now_ns)
    return Retained(sum(last - first + 1 for first, last in ranges), held, cursor)


def finish(ledger: Ledger, now_ns: int) -> None:
    """Do the rest of what a crash has cut short; nothing where there is none.

    Raises `TrailhoundError` where the ledger cannot be read or written.
    """
    if released(ledger.folder).doing is not None:
        with _holds_locked(ledger.folder):
            _finish(ledger, now_ns)


def _finish(ledger: Ledger, now_ns: int) -> None:
    folder = ledger.folder
    state = released(folder)
    if state.doing is None:
        return
    release = Release.parse(state.entry.encode())
    said = (
        state.doing < ledger.size
        and ledger.reader().bundle(state.doing // WIDTH)[state.doing % WIDTH]
        == state.entry.encode()
    )
    if release is not None and said:
        if ledger.head.size <= state.doing:
            ledger.sign_head(now_ns)
        held_by, fetch = holds(folder), fetch_from(folder)
        gone: list[tuple[int, int]] = []
        folders = set()
        for first, last in release.ranges:
            for bundle in range(first // WIDTH, last // WIDTH + 1):
                path = folder / Tile(RECORDS, bundle).path
                # A hold may have been placed since a crash; what it covers is still there.
                if held_by and path.exists():
                    leaves = _leaves(fetch(Tile(ENTRIES, bundle).path))
                    if not leaves or _is_held(held_by, leaves):
                        continue
                path.unlink(missing_ok=True)
                folders.add(path.parent)
                gone.append((bundle, bundle))
        for parent in folders:
            sync_folder(parent)
        state.bundles = _merged([*state.bundles, *gone])
        state.count += 1
    state.doing, state.entry = None, ""
    _save(folder, state)


def holds(folder: Path) -> list[Hold]:
    """Return the holds on a ledger. Raises `TrailhoundError` where they cannot be read."""
    try:
        return msgspec.json.decode((folder / _HOLDS).read_bytes(), type=list[Hold])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        # Taken for none, it would let go what is held.
        raise TrailhoundError(f"{folder / _HOLDS} cannot be used: {error}") from None


def place_hold(folder: Path, hold: Hold) -> None:
    """Place a hold, also while another process writes to the ledger.

    Raises `TrailhoundError` where one of that name is in place.
    """
    with _holds_locked(folder):
        there = holds(folder)
        if any(one.name == hold.name for one in there):
            raise TrailhoundError(f"there is a hold named {hold.name!r} already")
        _write(folder / _HOLDS, [*there, hold])


def lift_hold(folder: Path, name: str) -> None:
    """Lift a hold. Raises `TrailhoundError` where there is none of that name."""
    with _holds_locked(folder):
        there = holds(folder)
        rest = [one for one in there if one.name != name]
        if len(rest) == len(there):
            raise TrailhoundError(f"there is no hold named {name!r}")
        _write(folder / _HOLDS, rest)


def _due(
    ledger: Ledger, state: State, keep_days: Mapping[str, int], now_ns: int, cursor: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Return ranges of bundles that are due, how many records are held, and where to go on."""
    fetch = fetch_from(ledger.folder)
    held_by = holds(ledger.folder)
    kept: dict[str, int | None] = {}
    youngest_ns = now_ns - min(keep_days.values()) * DAY_NS
    due: list[tuple[int, int]] = []
    held = looked = 0
    # The last bundle is not full, or may be the one that says what is let go.
    bundles = ledger.head.size // WIDTH
    bundle = cursor if cursor < bundles else 0
    while bundle < bundles:
        gone = next((last for first, last in state.bundles if first <= bundle <= last), None)
        if gone is not None:
            bundle = gone + 1
            continue
        looked += 1
        if looked > _LOOKED_AT or len(due) == RANGES_LIMIT:
            return due, held, bundle
        leaves = _leaves(fetch(Tile(ENTRIES, bundle).path))
        if leaves and all(received_ns > youngest_ns for _, received_ns in leaves):
            break  # what follows came later
        if leaves and all(_is_due(kept, keep_days, now_ns, *leaf) for leaf in leaves):
            if _is_held(held_by, leaves):
                held += len(leaves)
            elif due and due[-1][1] == bundle - 1:
                due[-1] = (due[-1][0], bundle)
            else:
                due.append((bundle, bundle))
        bundle += 1
    return due, held, 0


def _is_held(held_by: list[Hold], leaves: list[tuple[str, int]]) -> bool:
    return any(hold.covers(*leaf) for hold in held_by for leaf in leaves)


def _is_due(
    kept: dict[str, int | None],
    keep_days: Mapping[str, int],
    now_ns: int,
    source: str,
    received_ns: int,
) -> bool:
    if source not in kept:
        kept[source] = days_of(keep_days, source)
    days = kept[source]
    return days is not None and received_ns < now_ns - days * DAY_NS


def _leaves(data: bytes | None) -> list[tuple[str, int]]:
    """Return source and time of each record of a full bundle; none where it is damaged."""
    entries = split_bundle(data or b"") or []
    found = [_LEAF.match(entry) for entry in entries if not entry.startswith(MARK)]
    leaves = [(read_text(leaf[1].decode()), int(leaf[2])) for leaf in found if leaf is not None]
    return leaves if len(leaves) == len(found) and len(entries) == WIDTH else []


def _place_of_last(ledger: Ledger) -> str:
    index = ledger.size - 1
    entry = ledger.reader().bundle(index // WIDTH)[index % WIDTH]
    release = Release.parse(entry)
    return release.place if release is not None else parse_leaf(entry).place


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _save(folder: Path, state: State) -> None:
    _write(folder / _STATE, state)


def _write(path: Path, value: State | list[Hold]) -> None:
    try:
        write_durable(path, msgspec.json.encode(value) + b"\n")
        sync_folder(path.parent)
    except OSError as error:
        raise TrailhoundError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def _holds_locked(folder: Path) -> Iterator[None]:
    """A hold is placed before records are let go, or when it is too late; never in between."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise TrailhoundError(f"cannot lock {folder / _LOCK}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
