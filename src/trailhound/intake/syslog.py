"""Syslog over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).

A message is taken as it is, priority and all; what it says is for the sources. On a stream each
message is counted in octets or ends with a line end, told apart by how it begins (RFC 6587, 3.4).
Syslog has no acknowledgements: a stream that comes too fast is read no further, and what arrives
by UDP while the queue is full is lost, and counted.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Sequence
from typing import Any

from trailhound.intake.arrivals import Accept, Arrival, Full
from trailhound.intake.peers import peer_of
from trailhound.model.errors import TrailhoundError

MESSAGE_BYTES = 256 * 1024
"""A longer message comes in pieces; RFC 5424, 6.1, asks for 2,048."""
_DIGITS = 7
_GATHER_SECONDS = 0.05
_GATHER_MESSAGES = 500
_UDP_WAITING = 20_000
_RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Lost:
    """Messages that could not be kept."""

    def __init__(self) -> None:
        self.messages = 0


async def listen_tcp(
    host: str, port: int, accept: Accept, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Listen for streams.

    Raises:
        TrailhoundError: The address cannot be had.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer, "syslog")
        try:
            await _read_stream(reader, peer, accept)
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            _log.info("%s: %s", peer, error)
        except asyncio.CancelledError:  # we end; asyncio would take it for a bug
            _log.info("%s: closed", peer)
        finally:
            writer.close()

    try:
        return await asyncio.start_server(serve, host, port, ssl=tls, limit=MESSAGE_BYTES)
    except OSError as error:
        raise TrailhoundError(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def listen_udp(
    host: str, port: int, accept: Accept, lost: Lost
) -> tuple[asyncio.DatagramTransport, "asyncio.Task[None]"]:
    """Listen for datagrams; what is lost is counted in `lost`.

    Returns:
        The transport, and the task that hands over what it receives.

    Raises:
        TrailhoundError: The address cannot be had.
    """
    datagrams = _Datagrams(lost)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: datagrams, local_addr=(host, port)
        )
    except OSError as error:
        raise TrailhoundError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return transport, asyncio.create_task(datagrams.hand_over(accept))


async def _read_stream(reader: asyncio.StreamReader, peer: str, accept: Accept) -> None:
    messages = _Messages(reader)
    while True:
        gathered = await messages.some()
        if gathered is None:
            return
        now_ns = time.time_ns()
        arrivals = [Arrival(message, peer, now_ns) for message in gathered]
        while True:
            try:
                await accept(arrivals)
                break
            except Full as full:
                # Nothing more is read meanwhile, so the sender is held up, and keeps the rest.
                await asyncio.sleep(min(_RETRY_SECONDS, full.retry_after_s or _RETRY_SECONDS))


class _Messages:
    """Cuts a stream into messages."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = bytearray()
        self._ended = False

    async def some(self) -> list[bytes] | None:
        """Return messages as they come, at least one; None at the end of the stream."""
        while True:
            messages = self._cut()
            if messages:
                return messages
            if self._ended:
                return None
            data = await self._reader.read(64 * 1024)
            if data:
                self._buffer += data
            else:
                self._ended = True

    def _cut(self) -> list[bytes]:
        buffer = self._buffer
        found: list[bytes] = []
        at = 0
        while at < len(buffer) and len(found) < _GATHER_MESSAGES:
            begin, end, behind = self._message(at)
            if behind == at:
                break
            message = bytes(buffer[begin:end]).strip(b"\r\n\0")
            if message:
                found.append(message)
            at = behind
        del buffer[:at]
        return found

    def _message(self, at: int) -> tuple[int, int, int]:
        """Return where a message begins and ends and what is behind it; thrice `at`: not yet."""
        buffer = self._buffer
        if 0x31 <= buffer[at] <= 0x39:  # a digit that is not 0 (RFC 6587, 3.4.1)
            space = buffer.find(b" ", at, at + _DIGITS + 1)
            if space > 0 and buffer[at:space].isdigit():
                begin = space + 1
                end = begin + int(buffer[at:space])
                if end - begin > MESSAGE_BYTES:
                    # Most likely no count at all. A line then, whatever it is.
                    return self._line(at)
                if end <= len(buffer):
                    return begin, end, end
                return (begin, len(buffer), len(buffer)) if self._ended else (at, at, at)
            if space < 0 and len(buffer) - at <= _DIGITS and not self._ended:
                return at, at, at
        return self._line(at)

    def _line(self, at: int) -> tuple[int, int, int]:
        buffer = self._buffer
        end = buffer.find(b"\n", at, at + MESSAGE_BYTES)
        if end >= 0:
            return at, end, end + 1
        if len(buffer) - at >= MESSAGE_BYTES:
            return at, at + MESSAGE_BYTES, at + MESSAGE_BYTES
        return (at, len(buffer), len(buffer)) if self._ended else (at, at, at)


class _Datagrams(asyncio.DatagramProtocol):
    """Gathers datagrams, for they come one by one and a disk syncs many at once."""

    def __init__(self, lost: Lost) -> None:
        self._waiting: list[Arrival] = []
        self._lost = lost
        self._come = asyncio.Event()

    def datagram_received(self, data: bytes, addr: "tuple[str | Any, int]") -> None:
        message = data.strip(b"\r\n\0")
        if not message:
            return
        if len(self._waiting) >= _UDP_WAITING:
            self._lost.messages += 1
            return
        self._waiting.append(Arrival(message, f"syslog/{addr[0]}", time.time_ns()))
        self._come.set()

    async def hand_over(self, accept: Accept) -> None:
        """Hand datagrams over, until cancelled."""
        try:
            while True:
                await self._come.wait()
                await asyncio.sleep(_GATHER_SECONDS)
                await self._hand_over(accept)
        except asyncio.CancelledError:
            with contextlib.suppress(Full):
                await self._hand_over(accept)
            raise

    async def _hand_over(self, accept: Accept) -> None:
        self._come.clear()
        taken: Sequence[Arrival]
        taken, self._waiting = self._waiting, []
        if not taken:
            return
        try:
            await accept(taken)
        except Full as full:
            # They wait for their turn where there is room, and the rest is lost.
            self._waiting = [*taken, *self._waiting]
            over = len(self._waiting) - _UDP_WAITING
            if over > 0:
                del self._waiting[_UDP_WAITING:]
                self._lost.messages += over
            await asyncio.sleep(min(_RETRY_SECONDS, full.retry_after_s or _RETRY_SECONDS))
            self._come.set()
