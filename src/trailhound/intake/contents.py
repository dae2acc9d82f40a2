"""What a message or an object holds: its records, in bounded memory, whatever was put there."""

import io
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from trailhound.intake.arrivals import Arrival
from trailhound.intake.blocks import BINARY, SPLIT_BYTES, Block, blocks
from trailhound.intake.compression import Damaged, plain_chunks
from trailhound.model.records import Origin, ParseFailure, RawRecord

_KEPT_BYTES = 1024 * 1024
"""How much is kept of a message that cannot be read."""
MESSAGE_BYTES = 128 * 1024 * 1024
"""What a message decompresses to, at most."""


def records_in(path: str, stream: BinaryIO, limit_bytes: int) -> Iterator[RawRecord | ParseFailure]:
    """Read a stream as a file is read: compressed or not, lines or JSON documents.

    Args:
        path: for origins.
        stream: its bytes; what it raises goes through.
        limit_bytes: size, decompressed, after which the rest is told as lost.

    Yields:
        Records that are not blank. Where something is amiss, a failure; after `binary file`
        nothing follows. The order and the origins are the same each time the same is read.
    """
    trouble: list[tuple[str, str]] = []
    line = 1
    for item in blocks(path, _bounded(stream, limit_bytes, trouble)):
        match item:
            case Block():
                line = item.line + len(item.ends) - 1
                for index in range(len(item.ends)):
                    if text := item.text(index).rstrip(b"\r"):
                        yield RawRecord(bytes(text), Origin(path, item.line + index))
            case RawRecord():
                line = item.origin.line
                yield item
            case ParseFailure():
                yield item
                if item.reason == BINARY:
                    return
    for reason, detail in trouble:
        yield ParseFailure(Origin(path, line), reason, detail)


def records_of(path: str, data: bytes) -> Iterator[RawRecord | ParseFailure]:
    """Read a message: `records_in` for what is there whole already."""
    if data[:1] == b"{" and b"\n" not in data and len(data) <= SPLIT_BYTES:
        return iter((RawRecord(data, Origin(path, 1)),))  # as nearly all are
    return records_in(path, io.BytesIO(data), MESSAGE_BYTES)


def message_arrivals(
    data: bytes, peer: str, place: str, context: Mapping[str, str], now_ns: int
) -> Iterator[Arrival]:
    """Yield what a message holds; a failure where it holds nothing.

    Args:
        data: what was sent.
        peer: see `Arrival`.
        place: where the message stands for its sender.
        context: see `Arrival`.
        now_ns: when it arrived, UTC nanoseconds.
    """
    blank = True
    for item in records_of(peer, data):
        blank = False
        position = f"{place}:{item.origin.line}.{item.origin.element}"
        if isinstance(item, ParseFailure):
            failure = item.reason, f"{item.detail} ({place})"
            yield Arrival(data[:_KEPT_BYTES], peer, now_ns, position, context, failure)
        else:
            yield Arrival(item.data, peer, now_ns, position, context)
    if blank:
        failure = "empty message", f"there is nothing in it ({place})"
        yield Arrival(b"", peer, now_ns, place, context, failure)


def _bounded(stream: BinaryIO, limit_bytes: int, trouble: list[tuple[str, str]]) -> Iterator[bytes]:
    size = 0
    try:
        for chunk in plain_chunks(stream):
            size += len(chunk)
            if size > limit_bytes:
                detail = f"it decompresses to more than {limit_bytes:,} bytes; the rest is not read"
                trouble.append(("too large", detail))
                return
            yield chunk
    except Damaged as error:
        trouble.append(("damaged compression", str(error)))
