"""The forward protocol of Fluentd and Fluent Bit, version 1.

https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1: Message, Forward,
PackedForward and CompressedPackedForward mode, EventTime, HELO/PING/PONG with a shared key and
users, and `chunk`, which is answered with `ack` once its records are on disk.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgpack
import orjson

from trailhound.intake.arrivals import RECORDS_AT_ONCE, Accept, Arrival, Full, as_unicode, beside
from trailhound.intake.compression import allowed_bytes
from trailhound.intake.peers import peer_of
from trailhound.model.errors import TrailhoundError

CHUNK_BYTES = 64 * 1024 * 1024
"""A message, and what it decompresses to, at most."""
_LARGE_BYTES = 64 * 1024
_LARGE_ENTRIES = 100
_LARGE_AT_ONCE = 4
"""Large messages of all senders that may be in memory taken apart."""
_HANDSHAKE_SECONDS = 30
_RETRY_SECONDS = 0.5
_EVENT_TIME = 0
# A map may have a map for a key, which Python's cannot have.
_NO_MESSAGE = (ValueError, TypeError, msgpack.UnpackException)
_log = logging.getLogger(__name__)


class Malformed(Exception):
    """What a sender says is not the protocol; the connection ends."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What senders must know."""

    shared_key: str = ""
    """Empty: there is no handshake."""
    users: Mapping[str, str] = field(default_factory=dict)
    """User name → password; empty: the shared key is enough."""
    hostname: str = "trailhound"


async def listen(
    host: str,
    port: int,
    accept: Accept,
    secret: Secrets,
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Listen for senders.

    Raises:
        TrailhoundError: The address cannot be had.
    """
    room = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer, "forward")
        try:
            await _Connection(reader, writer, peer, accept, secret, room).run()
        except (Malformed, TimeoutError) as error:
            _log.warning("%s: %s", peer, error or "no handshake in time")
        except (OSError, ssl.SSLError) as error:
            _log.info("%s: %s", peer, error)
        except asyncio.CancelledError:  # we end; asyncio would take it for a bug
            _log.info("%s: closed", peer)
        finally:
            writer.close()

    try:
        return await asyncio.start_server(serve, host, port, ssl=tls)
    except OSError as error:
        raise TrailhoundError(f"cannot listen on {host}:{port}: {error.strerror}") from None


class _Connection:
    """One sender."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: str,
        accept: Accept,
        secret: Secrets,
        room: asyncio.Semaphore,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._accept = accept
        self._secret = secret
        self._room = room
        self._unpacker = _unpacker()

    async def run(self) -> None:
        if self._secret.shared_key:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await self._shake_hands()
        while True:
            message = await self._message()
            if message is None:
                return
            if _is_large(message):
                # Decompressed and taken apart in a thread: other senders need not wait for it.
                async with self._room:
                    records, chunk = await asyncio.to_thread(
                        read_message, message, self._peer, time.time_ns()
                    )
                    await self._take(records)
            else:
                records, chunk = read_message(message, self._peer, time.time_ns())
                await self._take(records)
            if chunk:
                # Only now: what is acknowledged is on disk.
                await self._say({"ack": chunk})

    async def _take(self, records: list[Arrival]) -> None:
        while records:
            try:
                await self._accept(records)
            except Full as full:
                if not full.retry_after_s:
                    raise Malformed(full.reason) from None
                # Nothing more is read meanwhile: the sender holds on to the rest.
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _message(self) -> Any:
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                pass
            except _NO_MESSAGE as error:
                raise Malformed(f"no MessagePack: {error}") from None
            data = await self._reader.read(256 * 1024)
            if not data:
                return None
            try:
                self._unpacker.feed(data)
            except msgpack.BufferFull:
                raise Malformed(f"a message of more than {CHUNK_BYTES:,} bytes") from None

    async def _say(self, message: object) -> None:
        self._writer.write(msgpack.packb(message))
        await self._writer.drain()

    async def _shake_hands(self) -> None:
        secret = self._secret
        nonce = secrets.token_bytes(16)
        salt = secrets.token_bytes(16) if secret.users else b""
        await self._say(["HELO", {"nonce": nonce, "auth": salt, "keepalive": True}])
        ping = await self._message()
        if not (isinstance(ping, list) and len(ping) == 6 and ping[0] == "PING"):
            raise Malformed("no PING, although a shared key is asked for")
        _, hostname, key_salt, digest, user, password = map(_as_bytes, ping)
        key = secret.shared_key.encode()
        reason = ""
        if not hmac.compare_digest(digest, _digest(key_salt, hostname, nonce, key)):
            reason = "shared_key mismatch"
        elif secret.users:
            known = secret.users.get(user.decode(errors="replace"), None)
            # A user that is not there takes as long as a wrong password.
            wanted = _digest(salt, user, (known or secrets.token_hex(16)).encode())
            if not hmac.compare_digest(password, wanted) or known is None:
                reason = "username/password mismatch"
        if reason:
            await self._say(["PONG", False, reason, "", ""])
            raise Malformed(reason)
        mine = secret.hostname.encode()
        await self._say(
            ["PONG", True, "", secret.hostname, _digest(key_salt, mine, nonce, key).decode()]
        )


def _is_large(message: Any) -> bool:
    content = message[1] if isinstance(message, list) and len(message) > 1 else None
    if isinstance(content, bytes | str):
        options = message[2] if len(message) > 2 else None
        packed = isinstance(options, dict) and "compressed" in options
        return packed or len(content) > _LARGE_BYTES
    return isinstance(content, list) and len(content) > _LARGE_ENTRIES


def read_message(message: Any, peer: str, now_ns: int) -> tuple[list[Arrival], str]:
    """Return the records of a message, and the chunk to acknowledge; empty where none is.

    Raises:
        Malformed: It is no message of the protocol.
    """
    if message is None:
        return [], ""  # a heartbeat
    if not isinstance(message, list) or len(message) < 2:
        raise Malformed("neither array nor nil")
    tag, content = _as_text(message[0]), message[1]
    if isinstance(content, list):
        entries: Iterator[Any] = iter(content)
        options = message[2] if len(message) > 2 else None
    elif isinstance(content, bytes | str):
        options = message[2] if len(message) > 2 else None
        entries = _packed(_as_bytes(content), options)
    else:
        if len(message) < 3:
            raise Malformed("a time without a record")
        entries = iter([[content, message[2]]])
        options = message[3] if len(message) > 3 else None
    named = options.get("chunk", "") if isinstance(options, dict) else ""
    chunk = as_unicode(_as_text(named))
    records = []
    for index, entry in enumerate(entries):
        if index >= RECORDS_AT_ONCE:
            raise Malformed(f"more than {RECORDS_AT_ONCE:,} entries")
        if not (isinstance(entry, list) and len(entry) >= 2 and isinstance(entry[1], dict)):
            raise Malformed("an entry that is not a time and a record")
        moment = _moment(entry[0])
        context = beside({"tag": tag, "timestamp": moment} if moment else {"tag": tag})
        position = f"chunk:{chunk}#{index}" if chunk else ""
        records.append(Arrival(_json(entry[1]), peer, now_ns, position, context))
    return records, chunk


def _packed(data: bytes, options: Any) -> Iterator[Any]:
    if isinstance(options, dict) and options.get("compressed") == "gzip":
        data = _inflated(data)
    unpacker = _unpacker()
    unpacker.feed(data)
    try:
        yield from unpacker
        if unpacker.tell() != len(data):
            raise Malformed("a packed entry that breaks off")
    except _NO_MESSAGE as error:
        raise Malformed(f"packed entries: {error}") from None


def _inflated(data: bytes) -> bytes:
    out = bytearray()
    limit = allowed_bytes(len(data), CHUNK_BYTES)
    while data:
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            out += inflater.decompress(data, limit - len(out) + 1)
        except zlib.error as error:
            raise Malformed(f"packed entries are no gzip: {error}") from None
        if len(out) > limit:
            raise Malformed(f"packed entries of more than {limit:,} bytes")
        if not inflater.eof:
            raise Malformed("packed entries that break off")
        data = inflater.unused_data
    return bytes(out)


def _unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(
        raw=False,
        # What is not UTF-8 is kept, and told by the reader behind the queue.
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_buffer_size=CHUNK_BYTES,
        ext_hook=_extension,
    )


@dataclass(frozen=True, slots=True)
class _EventTime:
    seconds: int
    nanoseconds: int


def _extension(code: int, data: bytes) -> Any:
    if code == _EVENT_TIME and len(data) == 8:
        return _EventTime(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big"))
    return data


def _moment(value: Any) -> str:
    if isinstance(value, list) and value:  # Fluent Bit: [time, metadata]
        value = value[0]
    if isinstance(value, _EventTime):
        seconds, nanoseconds = value.seconds, value.nanoseconds
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**33:
        seconds, nanoseconds = int(value), int(value % 1 * 1e9)
    else:
        return ""
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{min(nanoseconds, 999_999_999):09d}Z"


def _json(record: Mapping[Any, Any]) -> bytes:
    try:
        return orjson.dumps(record, default=_odd, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, RecursionError):
        # Lone surrogates, large integers, deep nesting.
        try:
            plain = {_as_text(key): value for key, value in record.items()}
            return json.dumps(plain, default=_odd).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise Malformed(f"a record that is no JSON: {error}") from None


def _odd(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode(errors="backslashreplace")
        case _EventTime():
            return _moment(value)
        case _:
            return str(value)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode(errors="surrogateescape")


def _as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
