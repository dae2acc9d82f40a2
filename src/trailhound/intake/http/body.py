"""Bodies of requests: whole, decompressed, and never larger than allowed.

What takes long is done in a thread, so that nobody has to wait for the body of another: other
senders, and whoever asks whether the service is alive.
"""

import asyncio
import io
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Concatenate, Literal, ParamSpec, TypeVar

from aiohttp import web

from trailhound.intake.arrivals import RECORDS_AT_ONCE, Full
from trailhound.intake.compression import Damaged, allowed_bytes, plain_chunks, unpacked

BODY_BYTES = 32 * 1024 * 1024
"""A body as sent, at most."""
PLAIN_BYTES = 128 * 1024 * 1024
"""A body decompressed, at most."""
ROOM = web.AppKey("room", asyncio.Semaphore)
"""How many bodies that were decompressed may be in memory at once."""
CLOSING = web.RequestKey("closing", AsyncExitStack)
"""Under which a request has what is to be done when it is answered."""
BODIES_AT_ONCE = 4
_ROOM_SECONDS = 10
_LARGE_BYTES = 64 * 1024
_BYTES_A_VALUE = 16
"""Where more than `RECORDS_AT_ONCE` values are shorter than this on average, the body says nothing:
events take twice as much. Taken apart, each value costs a hundred bytes."""
_P = ParamSpec("_P")
_T = TypeVar("_T")
_ENCODINGS: dict[str, Literal["gzip", "deflate", "zstd"]] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zstd": "zstd",
}


async def read_body(request: web.Request) -> bytes:
    """Return the body of a request, decompressed.

    Raises:
        web.HTTPRequestEntityTooLarge: It is larger than allowed, as sent or decompressed.
        web.HTTPUnsupportedMediaType: `Content-Encoding` is none of gzip, deflate, zstd.
        web.HTTPBadRequest: It cannot be decompressed.
    """
    if (request.content_length or 0) > BODY_BYTES:  # without waiting for it
        raise web.HTTPRequestEntityTooLarge(BODY_BYTES, request.content_length or 0)
    data = await request.read()
    named = request.headers.get("Content-Encoding", "").lower().replace(" ", "").split(",")
    for name in reversed([name for name in named if name not in ("", "identity")]):
        encoding = _ENCODINGS.get(name)
        if encoding is None:
            raise web.HTTPUnsupportedMediaType(
                text=f"Content-Encoding {name!r} is not read here: gzip, deflate or zstd\n"
            )
        await _have_room(request)
        limit = allowed_bytes(len(data), PLAIN_BYTES)
        data = await asyncio.to_thread(_plain, unpacked(encoding, data), limit)
    return data


async def read_file(request: web.Request) -> bytes:
    """Return the body of a request that may be a file as it lies on disk: `audit.log.gz`.

    As `read_body`, and decompressed where its first bytes say that it is compressed.
    """
    data = await read_body(request)
    if data[:1] in (b"{", b"[") and data[1:2] != b"\0":
        return data  # neither compressed nor UTF-16
    await _have_room(request)
    limit = max(len(data), allowed_bytes(len(data), PLAIN_BYTES))
    return await asyncio.to_thread(_plain, plain_chunks(io.BytesIO(data)), limit)


async def work_on(
    body: bytes,
    work: Callable[Concatenate[bytes, _P], list[_T]],
    *more: _P.args,
    **named: _P.kwargs,
) -> list[_T]:
    """Return `work(body, …)`, the records of a body, done in a thread where the body is large.

    Raises `Full` where they are more than `RECORDS_AT_ONCE`, or values are that many and empty.
    """
    values = body.count(b",")
    if values * _BYTES_A_VALUE > len(body):
        _few_enough(values)
    if len(body) < _LARGE_BYTES:
        found = work(body, *more, **named)
    else:
        found = await asyncio.to_thread(work, body, *more, **named)
    _few_enough(len(found))
    return found


def lines_of(body: bytes) -> list[bytes]:
    """Return the lines of a body. Raises `Full` where they are more than `RECORDS_AT_ONCE`."""
    _few_enough(body.count(b"\n"))
    return body.split(b"\n")


def _few_enough(count: int) -> None:
    if count > RECORDS_AT_ONCE:
        raise Full(f"more than {RECORDS_AT_ONCE:,} records in one request", retry_after_s=0)


async def _have_room(request: web.Request) -> None:
    """Wait until few enough other bodies are in memory; this one counts until it is answered."""
    if CLOSING not in request:
        return
    closing = request[CLOSING]
    del request[CLOSING]
    try:
        async with asyncio.timeout(_ROOM_SECONDS):
            room: asyncio.Semaphore = request.app[ROOM]
            await closing.enter_async_context(room)
    except TimeoutError:
        raise Full("too many compressed bodies at once") from None


def _plain(parts: Iterable[bytes], limit: int) -> bytes:
    plain = bytearray()
    try:
        for part in parts:
            plain += part
            if len(plain) > limit:
                raise web.HTTPRequestEntityTooLarge(limit, len(plain))
    except Damaged as error:
        raise web.HTTPBadRequest(text=f"the body: {error}\n") from None
    return bytes(plain)
