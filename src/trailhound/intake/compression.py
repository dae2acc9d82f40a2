"""Compressed streams to bytes, in bounded memory, with damage told and not raised."""

import bz2
import codecs
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal

import zstandard

READ_BYTES = 192 * 1024
_RATIO = 256
_FREE_BYTES = 8 * 1024 * 1024
# One kilobyte of hostile zstd may become 32 MB (blocks of four bytes that stand for 128 kB).
_ZSTD_SLICE = 1024
_SCENT_BYTES = 256
_XZ_MEMORY_BYTES = 256 * 1024 * 1024


def allowed_bytes(packed: int, limit: int) -> int:
    """Return how much so many compressed bytes of a message may become.

    Logs shrink to a tenth, or a hundredth where they repeat themselves; what becomes far more was
    made to.

    Args:
        packed: bytes as sent.
        limit: bytes that are allowed in any case at most.
    """
    return min(limit, max(_FREE_BYTES, packed * _RATIO))


class Damaged(Exception):
    """The stream ends early or is broken; everything before it was given out."""


def plain_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a stream, decompressed if its first bytes say that it is compressed.

    gzip (RFC 1952, all members), zstd (RFC 8878, all frames), bzip2, xz; UTF-16 with a byte
    order mark becomes UTF-8. Raises `Damaged` after the last good byte.
    """
    head = _at_least(stream, _SCENT_BYTES)
    for magic, decompress in _FORMATS:
        if head.startswith(magic):
            yield from decompress(head, stream)
            return
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            yield from _transcoded(head, stream, encoding)
            return
    if (unmarked := _utf16_of(head)) is not None:
        yield from _transcoded(head, stream, unmarked)
        return
    while head:
        yield head
        head = stream.read(READ_BYTES)


def unpacked(encoding: Literal["gzip", "deflate", "zstd"], data: bytes) -> Iterator[bytes]:
    """Yield what compressed data holds, piece by piece: a caller may stop at any size.

    `deflate` is what HTTP calls so: the zlib format (RFC 9110, 8.4.1.2), or, as some senders have
    it, without zlib's two bytes of header. Raises `Damaged` as `plain_chunks` does.
    """
    nothing = io.BytesIO()
    match encoding:
        case "gzip":
            yield from _gzip(data, nothing)
        case "zstd":
            yield from _zstd(data, nothing)
        case "deflate":
            head = int.from_bytes(data[:2], "big")
            has_header = head >> 8 & 0x0F == zlib.DEFLATED and head % 31 == 0  # RFC 1950, 2.2
            yield from _deflate(data, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


def _deflate(data: bytes, wbits: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits)
    while not inflater.eof:
        try:
            plain = inflater.decompress(data, READ_BYTES)
        except zlib.error as error:
            raise Damaged(f"deflate data is broken: {error}") from None
        data = inflater.unconsumed_tail
        if plain:
            yield plain
        elif not data and not inflater.eof:
            raise Damaged("deflate data ends before its end mark")


def _at_least(stream: BinaryIO, size_bytes: int, head: bytes = b"") -> bytes:
    """Read until there are so many bytes or no more; a pipe may give few at a time."""
    parts = [head]
    size = len(head)
    while size < size_bytes and (data := stream.read(READ_BYTES)):
        parts.append(data)
        size += len(data)
    return b"".join(parts)


def _utf16_of(head: bytes) -> str | None:
    """Return the encoding of UTF-16 without a byte order mark, known by the zeros in it."""
    scent = head[: _SCENT_BYTES & ~1]
    if len(scent) < 16:
        return None
    for encoding, letters, zeros in (
        ("utf-16-le", scent[0::2], scent[1::2]),
        ("utf-16-be", scent[1::2], scent[0::2]),
    ):
        if 4 * zeros.count(0) >= 3 * len(zeros) and 8 * letters.count(0) <= len(letters):
            return encoding
    return None


def _gzip(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    started = False
    while head:
        started = True
        try:
            data = member.decompress(head, READ_BYTES)
        except zlib.error as error:
            raise Damaged(f"gzip data is broken: {error}") from None
        if data:
            yield data
        if member.eof:
            # The two bytes of the next mark may come in two reads.
            head = _at_least(stream, 2, member.unused_data)
            if not head.strip(b"\0"):  # tar-style padding after the last member
                return
            if not head.startswith(b"\x1f\x8b"):
                raise Damaged(f"{len(head):,} or more bytes that are not gzip follow the data")
            member = zlib.decompressobj(wbits=31)
            started = False
        else:
            head = member.unconsumed_tail or stream.read(READ_BYTES)
    if started:
        # The decompressor may hold output back when its input has just run dry.
        rest = member.flush()
        if rest:
            yield rest
        raise Damaged("gzip data ends before its end mark: the file is cut off")


def _zstd(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    started = False
    while head:
        rest = b""
        for at in range(0, len(head), _ZSTD_SLICE):
            started = True
            try:
                data = frame.decompress(head[at : at + _ZSTD_SLICE])
            except zstandard.ZstdError as error:
                raise Damaged(f"zstd data is broken: {error}") from None
            for cut in range(0, len(data), READ_BYTES):
                yield data[cut : cut + READ_BYTES]
            if frame.eof:
                rest = frame.unused_data + head[at + _ZSTD_SLICE :]
                frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
                started = False
                break
        head = rest or stream.read(READ_BYTES)
    if started:
        raise Damaged("zstd data ends before its end mark: the file is cut off")


def _stdlib(
    name: str, make: Callable[[], "bz2.BZ2Decompressor | lzma.LZMADecompressor"]
) -> Callable[[bytes, BinaryIO], Iterator[bytes]]:
    def decompress(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
        part = make()
        while True:
            try:
                data = part.decompress(head, READ_BYTES)
            except (OSError, lzma.LZMAError, EOFError) as error:
                raise Damaged(f"{name} data is broken: {error}") from None
            if data:
                yield data
            if part.eof:
                head = part.unused_data or stream.read(READ_BYTES)
                if not head.strip(b"\0"):
                    return
                part = make()
            elif part.needs_input:
                head = stream.read(READ_BYTES)
                if not head:
                    raise Damaged(f"{name} data ends before its end mark: the file is cut off")
            else:
                head = b""

    return decompress


def _transcoded(head: bytes, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    text = decoder.decode(head).removeprefix("\ufeff")
    while head:
        yield text.encode("utf-8", "replace")
        head = stream.read(READ_BYTES)
        text = decoder.decode(head, final=not head)
    yield text.encode("utf-8", "replace")


_FORMATS: tuple[tuple[bytes, Callable[[bytes, BinaryIO], Iterator[bytes]]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"\x28\xb5\x2f\xfd", _zstd),
    (b"BZh", _stdlib("bzip2", bz2.BZ2Decompressor)),
    (b"\xfd7zXZ\x00", _stdlib("xz", lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES))),
)
