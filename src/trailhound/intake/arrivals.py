"""What senders hand over while Trailhound runs, and what taking it in promises."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

RECORDS_AT_ONCE = 1_000_000
"""Records of a request or a message at most: as many say next to nothing each, and take a hundred
times the memory of what was sent."""
_RETRY_SECONDS = 1.0
_CONTEXT_LIMIT = 64
_CONTEXT_CHARACTERS = 1024
_KEPT_BYTES = 64 * 1024
"""How much is kept of a record that is too large to be kept whole."""


class Arrival(Struct, frozen=True, array_like=True, gc=False):
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
    failure: tuple[str, str] | None = None
    """Reason and detail (see `ParseFailure`) where the intake itself found that this cannot be
    read; `data` is then as much of it as is kept."""


def beside(context: Mapping[str, str]) -> dict[str, str]:
    """Return what came beside records, cut to what each of them may carry along.

    It is kept with every record, so that a small request must not make it many times its size. What
    is cut ends in `…`; how many are left out stands under `left_out`. See `as_unicode` for the
    rest.
    """
    found = {
        as_unicode(key[:_CONTEXT_CHARACTERS]): as_unicode(value)
        if len(value) <= _CONTEXT_CHARACTERS
        else f"{as_unicode(value[:_CONTEXT_CHARACTERS])}…"
        for key, value in islice(context.items(), _CONTEXT_LIMIT)
    }
    if len(context) > len(found):
        found["left_out"] = str(len(context) - len(found))
    return found


def as_unicode(text: str) -> str:
    """Return text with `?` for each half of a surrogate pair, which no queue can hold.

    JSON can name one, in a single record of a batch that would then be refused for ever.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


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


async def hand_over(arrivals: Sequence[Arrival], accept: Accept) -> None:
    """Have records taken in; wait for room as long as it takes.

    What is too large for the queue by itself goes in as a failure that says so.
    """
    waiting = [arrivals]
    while waiting:
        part = waiting.pop()
        if not part:
            continue
        try:
            await accept(part)
        except Full as full:
            if full.retry_after_s:
                await asyncio.sleep(min(full.retry_after_s, _RETRY_SECONDS))
                waiting.append(part)
            elif len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                size = len(part[0].data)
                failure = "record too long", f"{size:,} bytes do not fit the queue"
                waiting.append([replace(part[0], data=part[0].data[:_KEPT_BYTES], failure=failure)])
