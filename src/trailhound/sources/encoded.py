"""Records that travel as base64, and often compressed, inside JSON."""

import base64
import binascii
import zlib
from collections.abc import Iterator

from trailhound.sources.contents import Aside

UNPACKED_BYTES = 16 << 20
"""What one compressed record may unpack to. A Kinesis record has at most 10 MiB."""

_GZIP = b"\x1f\x8b"


def decoded(data: str, what: str) -> Iterator[str | Aside]:
    """Undo base64, and gzip where that is inside.

    Args:
        data: the base64 text.
        what: names the message in what is said of it: `Pub/Sub message`.

    Yields:
        The records: a whole JSON text, or else each line; and what was wrong.
    """
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        yield Aside("invalid base64", f"{what}: {error}")
        return
    if raw.startswith(_GZIP):
        unpacked, damage = _unpack(raw)
        if damage:
            yield Aside("damaged compression", f"{what}: {damage}", lost=not unpacked)
        raw = unpacked
    text = raw.decode(errors="replace")
    if "\ufffd" in text and "\ufffd".encode() not in raw:
        yield Aside("invalid UTF-8", f"in a {what}", lost=False)
    if text.lstrip(" \t\r\n\ufeff")[:1] in ("{", "["):
        yield text
    else:
        yield from (line for line in text.split("\n") if line.strip())


def _unpack(raw: bytes) -> tuple[bytes, str]:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(raw, UNPACKED_BYTES)
    except zlib.error as error:
        return b"", str(error)
    if unpacker.unconsumed_tail:
        return b"", f"it unpacks to more than {UNPACKED_BYTES >> 20} MiB"
    return unpacked, "" if unpacker.eof else "it ends before its end"
