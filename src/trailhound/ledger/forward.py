"""Sends what a ledger sealed to places that whoever breaks in here cannot change.

Every file that is sent is final: full tiles and bundles never change, and partial ones bear
their width in their name. So a place need only know one thing, to create and never overwrite.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from trailhound.ledger.checkpoints import unverified_head
from trailhound.ledger.log import (
    CHECKPOINT,
    HEADS,
    PUBLIC_KEY,
    SETTINGS,
    fetch_from,
    head_path,
    read_settings,
)
from trailhound.ledger.tiles import Missing, tiles_of
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


def forward(folder: Path, target: Target, progress: Callable[[str], None] = lambda _: None) -> int:
    """Bring a place up to the last head of a ledger; return the number of files sent.

    Files come before the heads that speak of them. Raises `TargetError` where the place fails,
    `TrailhoundError` where the ledger does.
    """
    settings = read_settings(folder)
    note = fetch_from(folder)(CHECKPOINT)
    if note is None:
        raise TrailhoundError(f"{folder} has no signed head yet: there is nothing to forward")
    head = unverified_head(note)
    place = folder / _STATE / f"{target.name}.json"
    state = _read_state(place)
    sent = 0
    for path, data in _due(folder, state, head.size, keeps=settings.keep_records):
        target.put(path, data)
        progress(path)
        sent += 1
    if sent:
        target.finish()
    place.parent.mkdir(exist_ok=True)
    fresh = place.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(State(head.size, head_path(head))))
    fresh.replace(place)
    return sent


def _due(folder: Path, state: State, size: int, *, keeps: bool) -> Iterator[tuple[str, bytes]]:
    fetch = fetch_from(folder)
    if not state.head:
        for path in (SETTINGS, PUBLIC_KEY):
            yield path, fetch(path) or b""
    for tile in tiles_of(size, state.size, records=keeps):
        data = fetch(tile.path)
        if data is None:
            raise Missing(tile, "is missing in the ledger")
        yield tile.path, data
    for file in sorted((folder / HEADS).glob("*/*")):
        path = file.relative_to(folder).as_posix()
        if path > state.head and not path.endswith(".new"):
            yield path, file.read_bytes()


def _read_state(place: Path) -> State:
    try:
        return msgspec.json.decode(place.read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return State()
