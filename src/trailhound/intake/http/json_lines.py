"""Plain JSON over HTTP: one document, an array of them, or one to a line (NDJSON)."""

import hashlib

import msgspec
from aiohttp import web

from trailhound.intake.arrivals import Accept
from trailhound.intake.http.body import lines_of, read_file, work_on
from trailhound.intake.http.contract import HttpRoute, arrivals_of

_array = msgspec.json.Decoder(list[msgspec.Raw])


def records_of(body: bytes) -> list[bytes]:
    """Return the records in a body: the elements of an array, or its lines.

    A document over several lines is one record. What is no JSON is a record too: the reader
    behind the queue says what is wrong with it. Raises `Full` where there are too many.
    """
    bare = body.strip()
    if bare[:1] == b"[":
        try:
            return [bytes(item) for item in _array.decode(bare)]
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return [bare]
    first, several, _ = bare.partition(b"\n")
    if several and (first.rstrip() in (b"{", b"[") or not _ends(first.rstrip())):
        return [bare]
    return [line for raw in lines_of(bare) if (line := raw.strip())]


def _ends(line: bytes) -> bool:
    return line[:1] != b"{" or line[-1:] == b"}"


def digest_of(body: bytes) -> str:
    """Return where records of a body stand for a sender that has no better name: its hash.

    A sender that hears no answer sends the same body again.
    """
    return "body:" + hashlib.blake2b(body, digest_size=16).hexdigest()


async def _take(request: web.Request, accept: Accept) -> web.Response:
    body = await read_file(request)
    records = await work_on(body, records_of)
    if records:
        await accept(arrivals_of(request, "http", records, digest_of(body)))
    return web.json_response({"taken": len(records)})


ROUTES = (
    HttpRoute(
        "POST",
        "/ingest",
        _take,
        "Records as JSON, a JSON array, NDJSON or lines of text; a file of them, compressed or not",
    ),
)
