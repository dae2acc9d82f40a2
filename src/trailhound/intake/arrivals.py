"""What senders hand over while Trailhound runs, and what taking it in promises."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class Arrival(Struct, frozen=True, array_like=True):
    """One record as a sender handed it over."""

    data: bytes
    """The record: a JSON document or a line of text, without its line end."""
    peer: str
    """The intake and who sent it, for a person: `kubernetes/10.0.0.7`. Stands as the path of
    the record wherever its place is shown."""
    received_ns: int
    """When it arrived by our clock, UTC nanoseconds since 1970."""
    position: str = ""
    """Where it stands for its sender (chunk and index, topic and offset, file and byte), so that
    the same record sent again is known. Empty where the sender has no such thing."""
    context: Mapping[str, str] = {}
    """What came beside the record and is not in it: `hostname`, `tag`, `timestamp`."""


class Full(Exception):
    """There is no room for more now; nothing of what was offered was taken."""

    def __init__(self, reason: str, retry_after_s: int = 5) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Accept(Protocol):
    """Takes records in. When it returns they are on disk, all of them; else it raises `Full`."""

    async def __call__(self, arrivals: Sequence[Arrival]) -> None:
        """Take records in."""
