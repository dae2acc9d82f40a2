"""Sends what a ledger sealed to places that whoever breaks in here cannot change.

Every file that is sent is final: full tiles and bundles never change, and partial ones bear
their width in their name. So a place need only know one thing, to create and never overwrite.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from trailhound.ledger.checkpoints import Head, unverified_head
from trailhound.ledger.log import (
    CHECKPOINT,
    HEADS,
    PUBLIC_KEY,
    SETTINGS,
    fetch_from,
    head_path,
    read_settings,
)
from trailhound.ledger.retention import released
from trailhound.ledger.tiles import RECORDS, Missing, tiles_of
from trailhound.model.errors import TrailhoundError

_STATE = "forwarding"


class TargetError(TrailhoundError):
    """A place did not take a file; nothing is lost, the next attempt sends it again."""


class Target(Protocol):
    """A place that takes files and never gives up or changes one."""

    name: str
    """Names the place in the state that is kept of it; the same for the same place."""

    def put(self, path: str, data: bytes) -> None:
        """Create a file. Succeeds where the very same file is there already.

        Raises `TargetError`, also where another file has that path: somebody changed it.
        """
        ...

    def finish(self) -> None:
        """Make durable what was put. Raises `TargetError`."""
        ...


class State(Struct):
    """How far a place has followed."""

    size: int = 0
    """Entries of the last head it has."""
    head: str = ""
    """Path of that head; empty at first."""
    days: dict[str, int] = {}
    """Folders of heads of which it has all, and when each was last changed, so long as that
    holds. Names do not tell: a clock may have been set back."""


def forward(folder: Path, target: Target, progress: Callable[[str], None] = lambda _: None) -> int:
    """Bring a place up to the last head of a ledger; return the number of files sent.

    Files come before the heads that speak of them. Raises `TargetError` where the place fails,
    `TrailhoundError` where the ledger does.
    """
    settings = read_settings(folder)
    place = _state_path(folder, target)
    while True:
        head = _last_head(folder)
        state = _read_state(place)
        try:
            sent = _send(folder, target, state, head, settings.keep_records, progress)
        except Missing:
            # Partial tiles go when a head has put full ones in their place.
            if _last_head(folder) == head:
                raise
            continue
        state.size, state.head = head.size, head_path(head)
        place.parent.mkdir(exist_ok=True)
        fresh = place.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(state))
        fresh.replace(place)
        return sent


def followed(folder: Path, target: Target) -> int:
    """Return how many records a place has, under a head."""
    return _read_state(_state_path(folder, target)).size


def _send(
    folder: Path,
    target: Target,
    state: State,
    head: Head,
    keeps: bool,  # noqa: FBT001 - a fact of the ledger
    progress: Callable[[str], None],
) -> int:
    sent = 0
    for path, data in _due(folder, state, head, keeps=keeps):
        target.put(path, data)
        progress(path)
        sent += 1
    if sent:
        target.finish()
    return sent


def _due(folder: Path, state: State, head: Head, *, keeps: bool) -> Iterator[tuple[str, bytes]]:
    fetch = fetch_from(folder)
    gone = released(folder)
    if not state.head:
        for path in (SETTINGS, PUBLIC_KEY):
            yield path, fetch(path) or b""
    for tile in tiles_of(head.size, state.size, records=keeps):
        data = fetch(tile.path)
        if data is None and tile.kind == RECORDS and gone.has(tile.index):
            continue
        if data is None:
            raise Missing(tile, "is missing in the ledger")
        yield tile.path, data
    yield from _due_heads(folder, state, head)


def _due_heads(folder: Path, state: State, head: Head) -> Iterator[tuple[str, bytes]]:
    size, newest = head.size, head_path(head)
    for day in sorted((folder / HEADS).iterdir()):
        changed_ns = day.stat().st_mtime_ns
        if state.days.get(day.name) == changed_ns:
            continue
        newer = False
        for file in sorted(day.iterdir()):
            signed = file.name.rpartition("-")[2]
            path = file.relative_to(folder).as_posix()
            if not signed.isdecimal():
                continue  # being written
            newer = newer or int(signed) > size
            # A clock that was set back gives the newest head a name before those it follows.
            if state.size < int(signed) <= size or (
                int(signed) == state.size and (path > state.head or path == newest)
            ):
                data = fetch_from(folder)(path)
                # It may be gone by now: a newer one over as many entries took its place.
                if data is not None:
                    yield path, data
        if not newer:
            state.days[day.name] = changed_ns


def _last_head(folder: Path) -> Head:
    note = fetch_from(folder)(CHECKPOINT)
    if note is None:
        raise TrailhoundError(f"{folder} has no signed head yet: there is nothing to forward")
    return unverified_head(note)


def _state_path(folder: Path, target: Target) -> Path:
    return folder / _STATE / f"{target.name}.json"


def _read_state(place: Path) -> State:
    try:
        return msgspec.json.decode(place.read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return State()
