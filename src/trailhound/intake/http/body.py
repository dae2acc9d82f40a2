"""Bodies of requests: whole, decompressed, and never larger than allowed."""

from typing import Literal

from aiohttp import web

from trailhound.intake.compression import Damaged, unpacked

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
        plain = bytearray()
        try:
            for part in unpacked(encoding, data):
                plain += part
                if len(plain) > PLAIN_BYTES:
                    raise web.HTTPRequestEntityTooLarge(PLAIN_BYTES, len(plain))
        except Damaged as error:
            raise web.HTTPBadRequest(text=f"the body: {error}\n") from None
        data = bytes(plain)
    return data
