"""Bodies of requests: whole, decompressed, and never larger than allowed."""

import io
from collections.abc import Iterable
from typing import Literal

from aiohttp import web

from trailhound.intake.compression import Damaged, plain_chunks, unpacked

BODY_BYTES = 32 * 1024 * 1024
"""A body as sent, at most."""
PLAIN_BYTES = 128 * 1024 * 1024
"""A body decompressed, at most."""
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
        data = _plain(unpacked(encoding, data))
    return data


async def read_file(request: web.Request) -> bytes:
    """Return the body of a request that may be a file as it lies on disk: `audit.log.gz`.

    As `read_body`, and decompressed where its first bytes say that it is compressed.
    """
    return _plain(plain_chunks(io.BytesIO(await read_body(request))))


def _plain(parts: Iterable[bytes]) -> bytes:
    plain = bytearray()
    try:
        for part in parts:
            plain += part
            if len(plain) > PLAIN_BYTES:
                raise web.HTTPRequestEntityTooLarge(PLAIN_BYTES, len(plain))
    except Damaged as error:
        raise web.HTTPBadRequest(text=f"the body: {error}\n") from None
    return bytes(plain)
