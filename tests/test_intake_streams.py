"""Syslog and the forward protocol, each with clients that others wrote, and by their wire."""

import asyncio
import contextlib
import gzip
import hashlib
import logging
import logging.handlers
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgpack
import msgspec
import orjson
import pytest
from fluent import asyncsender, sender
from hypothesis import example, given
from hypothesis import strategies as st

from trailhound.intake import forward, syslog
from trailhound.intake.arrivals import Arrival, Full


class Taken:
    """An `Accept` that keeps what it gets, and may be full for a while."""

    def __init__(self, full_times: int = 0) -> None:
        self.arrivals: list[Arrival] = []
        self.full_times = full_times

    async def __call__(self, arrivals: Sequence[Arrival]) -> None:
        if self.full_times:
            self.full_times -= 1
            raise Full("not now", 1)
        self.arrivals += arrivals

    async def wait(self, count: int) -> list[Arrival]:
        async with asyncio.timeout(10):
            while len(self.arrivals) < count:
                await asyncio.sleep(0.01)
        return self.arrivals


@contextlib.asynccontextmanager
async def tcp_syslog(taken: Taken) -> AsyncIterator[int]:
    server = await syslog.listen_tcp("127.0.0.1", 0, taken)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def send(port: int, *parts: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.001)
    writer.close()
    await writer.wait_closed()


LINE = b"<38>Nov 12 19:16:31 bastion sshd[811]: Accepted password for deploy from 203.0.113.77"
RFC5424 = b"<165>1 2026-11-12T19:16:31.003Z host app 12 ID47 - two\nlines"


@pytest.mark.parametrize("cut", [1, 3, 50, 10_000])
def test_frames_of_both_kinds_are_told_apart_however_they_are_cut(cut: int) -> None:
    wire = b"%d %s" % (len(RFC5424), RFC5424) + LINE + b"\n" + b"%d %s" % (len(LINE), LINE)
    wire += b"7 doctors said no\n" + LINE + b"\r\n" + b"the end without a line end"

    async def run() -> list[bytes]:
        taken = Taken()
        async with tcp_syslog(taken) as port:
            await send(port, *(wire[at : at + cut] for at in range(0, len(wire), cut)))
            return [arrival.data for arrival in await taken.wait(7)]

    found = asyncio.run(run())
    assert found == [
        RFC5424, LINE, LINE, b"doctors", b" said no", LINE, b"the end without a line end",
    ]  # fmt: skip


@given(wire=st.binary(max_size=300), cut=st.integers(1, 40))
def test_no_bytes_of_a_stream_raise_or_vanish(wire: bytes, cut: int) -> None:
    async def run() -> list[bytes]:
        reader = asyncio.StreamReader()
        for at in range(0, len(wire), cut):
            reader.feed_data(wire[at : at + cut])
        reader.feed_eof()
        messages = syslog._Messages(reader)
        found: list[bytes] = []
        while (some := await messages.some()) is not None:
            found += some
        return found

    found = asyncio.run(run())
    assert sum(map(len, found)) <= len(wire)
    # All but counts, line ends and NUL bytes comes through.
    digits = sum(wire.count(b"%d" % digit) for digit in range(10))
    missing = len(wire) - sum(map(len, found))
    assert missing <= digits + wire.count(b" ") + sum(wire.count(c) for c in (b"\r", b"\n", b"\0"))


def test_a_stream_waits_while_the_queue_is_full() -> None:
    async def run() -> int:
        taken = Taken(full_times=2)
        async with tcp_syslog(taken) as port:
            await send(port, LINE + b"\n")
            return len(await taken.wait(1))

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_the_handler_of_python_is_understood(kind: int) -> None:
    async def run() -> list[Arrival]:
        taken = Taken()
        async with contextlib.AsyncExitStack() as closing:
            if kind == socket.SOCK_STREAM:
                port = await closing.enter_async_context(tcp_syslog(taken))
            else:
                transport, task = await syslog.listen_udp("127.0.0.1", 0, taken, syslog.Lost())
                closing.callback(task.cancel)
                closing.callback(transport.close)
                port = transport.get_extra_info("sockname")[1]
            await asyncio.to_thread(log, port)
            return list(await taken.wait(1))

    def log(port: int) -> None:
        handler = logging.handlers.SysLogHandler(
            ("127.0.0.1", port), facility="auth", socktype=kind
        )
        handler.append_nul = kind == socket.SOCK_DGRAM
        record = logging.LogRecord("x", logging.INFO, "", 0, "sshd[1]: hello\n", None, None)
        handler.emit(record)
        handler.close()

    (arrival,) = asyncio.run(run())
    assert arrival.data == b"<38>sshd[1]: hello"
    assert arrival.peer == "syslog/127.0.0.1"


def test_datagrams_beyond_what_can_wait_are_counted() -> None:
    lost = syslog.Lost()
    datagrams = syslog._Datagrams(lost)
    for _ in range(syslog._UDP_WAITING + 3):
        datagrams.datagram_received(b"x", ("192.0.2.1", 1))
    assert lost.messages == 3


# --- the forward protocol ----------------------------------------------------------------


OPEN = forward.Secrets()


@contextlib.asynccontextmanager
async def forwarding(taken: Taken, secret: forward.Secrets = OPEN) -> AsyncIterator[int]:
    server = await forward.listen("127.0.0.1", 0, taken, secret)
    async with server:
        yield server.sockets[0].getsockname()[1]


RECORDS = [{"message": "one", "n": 1}, {"message": "zwei ä", "deep": {"list": [1, None, 2.5]}}]
TIMES = [1763000000, msgpack.ExtType(0, (1763000001).to_bytes(4, "big") + (5).to_bytes(4, "big"))]
ENTRIES = [[moment, record] for moment, record in zip(TIMES, RECORDS, strict=True)]
PACKED = b"".join(map(msgpack.packb, ENTRIES))
OPTIONS = {"chunk": "p8n9gmxTQVC8/nh2wlKKeQ==", "size": 2}


@pytest.mark.parametrize(
    "wire",
    [
        [*(msgpack.packb(["k.audit", *entry, OPTIONS]) for entry in ENTRIES)],
        [msgpack.packb(["k.audit", ENTRIES, OPTIONS])],
        [msgpack.packb(["k.audit", PACKED, OPTIONS])],
        [msgpack.packb(["k.audit", PACKED, {**OPTIONS, "compressed": "gzip"}])],
    ],
    ids=["message", "forward", "packed", "compressed"],
)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_every_mode_says_the_same_and_is_acknowledged(wire: list[bytes], cut: int) -> None:
    messages = [_compressed(part) for part in wire]

    async def run() -> tuple[list[Arrival], list[Any]]:
        taken = Taken()
        async with forwarding(taken) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = b"".join(messages)
            for at in range(0, len(data), cut):
                writer.write(data[at : at + cut])
            answers = msgpack.Unpacker()
            said: list[Any] = []
            while len(said) < len(messages):
                answers.feed(await asyncio.wait_for(reader.read(1000), 5))
                said += answers
            writer.close()
            return taken.arrivals, said

    arrivals, said = asyncio.run(run())
    assert said == [{"ack": OPTIONS["chunk"]}] * len(messages)
    assert [orjson.loads(arrival.data) for arrival in arrivals] == RECORDS
    assert [arrival.context for arrival in arrivals] == [
        {"tag": "k.audit", "timestamp": "2025-11-13T02:13:20.000000000Z"},
        {"tag": "k.audit", "timestamp": "2025-11-13T02:13:21.000000005Z"},
    ]
    assert all(arrival.position.startswith("chunk:p8n9") for arrival in arrivals)


def _compressed(wire: bytes) -> bytes:
    message = msgpack.unpackb(wire, ext_hook=msgpack.ExtType)
    if isinstance(message[-1], dict) and message[-1].get("compressed"):
        half = len(PACKED) // 2
        message[1] = gzip.compress(PACKED[:half]) + gzip.compress(PACKED[half:])
    return msgpack.packb(message)


def test_others_are_answered_while_a_message_is_decompressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, answered = threading.Event(), threading.Event()
    waited: list[bool] = []

    def slow(data: bytes) -> bytes:
        begun.set()
        waited.append(answered.wait(20))
        return inflated(data)

    inflated = forward._inflated
    monkeypatch.setattr(forward, "_inflated", slow)

    async def run() -> list[bytes]:
        taken = Taken()
        async with forwarding(taken) as port:
            packed = [gzip.compress(PACKED), {"chunk": "a", "compressed": "gzip"}]
            first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            first[1].write(msgpack.packb(["t", *packed]))
            assert await asyncio.to_thread(begun.wait, 20)
            second[1].write(msgpack.packb(["t", PACKED, {"chunk": "b"}]))
            said = [await asyncio.wait_for(second[0].read(100), 20)]
            answered.set()
            said.append(await asyncio.wait_for(first[0].read(100), 20))
            for _, writer in (first, second):
                writer.close()
        return said

    said = asyncio.run(run())
    assert [msgpack.unpackb(one) for one in said] == [{"ack": "b"}, {"ack": "a"}]
    assert waited == [True]


def test_a_packed_bomb_is_refused_long_before_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 60_000_000)
    with pytest.raises(forward.Malformed, match=r"more than 1\d,"):
        forward.read_message(["t", bomb, {"compressed": "gzip"}], "forward/x", 0)


def test_a_chunk_that_is_no_text_can_be_queued() -> None:
    wire = b"\x93\xa2t\xff\x91\x92\x01\x81\xa2\xffa\x01\x81\xa5chunk\xa3a\xffb"
    unpacker = forward._unpacker()
    unpacker.feed(wire)
    (record,), chunk = forward.read_message(unpacker.unpack(), "forward/x", 0)
    assert (record.position, record.context["tag"], chunk) == ("chunk:a?b#0", "t?", "a?b")
    assert record.data == rb'{"\udcffa": 1}'
    msgspec.msgpack.encode(record)


def test_a_message_has_so_many_entries_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "RECORDS_AT_ONCE", 20)
    few, many = ([[1, {}]] * count for count in (20, 21))
    assert len(forward.read_message(["t", few], "forward/x", 0)[0]) == 20
    packed = gzip.compress(b"".join(map(msgpack.packb, many)))
    for message in (["t", many], ["t", packed, {"compressed": "gzip"}]):
        with pytest.raises(forward.Malformed, match="more than 20 entries"):
            forward.read_message(message, "forward/x", 0)


def test_few_large_messages_are_in_memory_at_once() -> None:
    held: list[int] = [0]

    class Slow(Taken):
        async def __call__(self, arrivals: Sequence[Arrival]) -> None:
            held.append(held[-1] + 1)
            await asyncio.sleep(0.02)
            held.append(held[-1] - 1)

    async def run() -> None:
        wire = msgpack.packb(["t", gzip.compress(PACKED), {"chunk": "a", "compressed": "gzip"}])
        async with forwarding(Slow()) as port:
            senders = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
            for _, writer in senders:
                writer.write(wire)
            for reader, writer in senders:
                assert await asyncio.wait_for(reader.read(100), 20)
                writer.close()

    asyncio.run(run())
    assert (max(held), held[-1], len(held)) == (4, 0, 25)


def test_nothing_is_acknowledged_before_it_is_taken() -> None:
    async def run() -> None:
        taken = Taken(full_times=10**6)
        async with forwarding(taken) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(msgpack.packb(["t", ENTRIES, OPTIONS]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(10), 0.3)
            taken.full_times = 0
            assert await asyncio.wait_for(reader.read(100), 5)
            writer.close()

    asyncio.run(run())


def _hash(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


@pytest.mark.parametrize(
    ("key", "password", "answer"),
    [
        (b"secret", b"pw", True),
        (b"wrong", b"pw", "shared_key mismatch"),
        (b"secret", b"wrong", "username/password mismatch"),
    ],
)
def test_the_handshake_proves_both_sides(key: bytes, password: bytes, answer: Any) -> None:
    async def run() -> None:
        taken = Taken()
        secret = forward.Secrets("secret", {"user": "pw"}, "hound")
        async with forwarding(taken, secret) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            helo = msgpack.unpackb(await reader.read(1000))
            assert helo[0] == "HELO"
            nonce, salt = helo[1]["nonce"], helo[1]["auth"]
            ping = [
                "PING", "client", b"salt", _hash(b"salt", b"client", nonce, key),
                "user", _hash(salt, b"user", password),
            ]  # fmt: skip
            writer.write(msgpack.packb(ping) + msgpack.packb(["t", ENTRIES, OPTIONS]))
            unpacker = msgpack.Unpacker()
            said: list[Any] = []
            while data := await asyncio.wait_for(reader.read(1000), 5):
                unpacker.feed(data)
                said += unpacker
                if len(said) > 1:
                    break
            writer.close()
            if answer is True:
                pong = ["PONG", True, "", "hound", _hash(b"salt", b"hound", nonce, b"secret")]
                assert said == [pong, {"ack": OPTIONS["chunk"]}]
                assert len(taken.arrivals) == 2
            else:
                assert said == [["PONG", False, answer, "", ""]]
                assert taken.arrivals == []

    asyncio.run(run())


@pytest.mark.parametrize("make", [sender.FluentSender, asyncsender.FluentSender])
def test_the_official_python_client_is_understood(make: Callable[..., Any]) -> None:
    async def run() -> list[Arrival]:
        taken = Taken()
        async with forwarding(taken) as port:
            await asyncio.to_thread(log, port)
            return list(await taken.wait(2))

    def log(port: int) -> None:
        client = make("app", host="127.0.0.1", port=port, nanosecond_precision=True)
        assert client.emit_with_time("follow", 1763000000.5, RECORDS[0])
        assert client.emit_with_time("follow", 1763000001, RECORDS[1])
        client.close()

    arrivals = asyncio.run(run())
    assert [orjson.loads(arrival.data) for arrival in arrivals] == RECORDS
    assert arrivals[0].context["tag"] == "app.follow"
    assert arrivals[0].context["timestamp"].startswith("2025-11-13T02:13:20")


class Written:
    """The side of a connection on which we answer."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


KEYS = (
    st.text(max_size=4).filter(str.isprintable)
    | st.binary(max_size=4)
    | st.integers(-(2**63), 2**64 - 1)
    | st.none()
    | st.booleans()
    | st.builds(msgpack.ExtType, st.just(0), st.binary(min_size=8, max_size=8))
)
EXTENSIONS = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
            | st.binary(max_size=9) | st.text(max_size=9).filter(lambda t: t.isprintable())
            | EXTENSIONS,
            lambda inner: st.lists(inner, max_size=4)
            | st.dictionaries(KEYS, inner, max_size=3),
            max_leaves=12,
        ).map(msgpack.packb),
    )
)  # fmt: skip
@example(wire=b"\x81\x81\x01\x02\x03")  # a map that has a map for a key
@example(wire=b"\x92\xa1t\xc4\x05\x81\x81\x01\x02\x03")
def test_no_message_raises_anything_but_malformed(wire: bytes) -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(wire)
        reader.feed_eof()
        taken = Taken()
        writer = Written()
        secrets, room = forward.Secrets("", {}), asyncio.Semaphore(1)
        connection = forward._Connection(reader, writer, "x", taken, secrets, room)
        with contextlib.suppress(forward.Malformed):
            await connection.run()
        assert all(isinstance(arrival.data, bytes) for arrival in taken.arrivals)

    asyncio.run(run())
