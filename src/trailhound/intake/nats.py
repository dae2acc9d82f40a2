"""NATS JetStream: a durable pull consumer that acknowledges what is on disk, and nothing else.

What was not acknowledged the server delivers again, under the same number in its stream, by
which it is known. While the queue is full nothing is fetched, and the server is told that what
is in hand is still being worked on.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, NoServersError
from nats.errors import TimeoutError as NothingCame
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

from trailhound.intake.arrivals import Accept, Arrival, hand_over
from trailhound.intake.contents import message_arrivals
from trailhound.intake.pulling import Progress, batches, keep_pulling

_FETCH_MESSAGES = 256
_FETCH_BYTES = 64 * 1024 * 1024
"""What is fetched at once is not more than this, however large messages may be."""
_FETCH_SECONDS = 0.5
_ACK_SECONDS = 60.0
"""After so long without a sign of us the server delivers a message again."""
_SIGN_SECONDS = 15.0
_MEASURE_SECONDS = 5.0
_STOP_SECONDS = 3.0
"""How long records in hand may take to get to disk when we are told to end."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """What to consume, and as whom."""

    servers: tuple[str, ...]
    """URLs. They may hold passwords: never shown."""
    stream: str
    consumer: str
    """Durable name; made where it is missing."""
    subjects: tuple[str, ...] = ()
    """What a consumer that is made is given; empty: all of the stream."""
    start: Literal["all", "new"] = "all"
    """Where a consumer that is made begins."""
    credentials: str = ""
    """Credentials file (`.creds`): a JWT and its seed."""
    tls: ssl.SSLContext | None = None


class Unfit(Exception):
    """Servers, stream or consumer are not there, or cannot be used as they are."""


async def consume(consumption: Consumption, accept: Accept, progress: Progress) -> None:
    """Hand over what is in the stream, until cancelled."""

    async def attempt() -> None:
        stopping = asyncio.Event()
        pulling = asyncio.create_task(_pull(consumption, accept, progress, stopping))
        try:
            await asyncio.shield(pulling)
        except asyncio.CancelledError:
            # What is in hand may still get to disk, and be acknowledged.
            stopping.set()
            _, late = await asyncio.wait([pulling], timeout=2 * _STOP_SECONDS)
            if late:
                pulling.cancel()
            raise

    await keep_pulling(attempt, progress, (Error, Unfit, OSError))


async def _pull(
    consumption: Consumption, accept: Accept, progress: Progress, stopping: asyncio.Event
) -> None:
    client = Client()
    try:
        reasons = await _connect(client, consumption)
        await _Puller(client, consumption, accept, progress, stopping).run(reasons)
    finally:
        await client.close()  # where it could not connect it may still hold a socket


async def _connect(client: Client, consumption: Consumption) -> list[Exception]:
    """Connect; return where errors will stand that belong to no call, as what is not allowed."""
    reasons: list[Exception] = []

    async def note(error: Exception) -> None:
        # By itself the client would log it with its trace.
        reasons.append(error)

    try:
        await client.connect(
            list(consumption.servers),
            name="trailhound",
            error_cb=note,
            # One place tries again: `keep_pulling`. Here each server is tried, and no more.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            user_credentials=consumption.credentials or None,
            tls=consumption.tls,
            connect_timeout=10,
        )
    except NoServersError:
        raise Unfit(
            f"no server can be reached: {reasons[-1]}" if reasons else "no server"
        ) from None
    except (Error, OSError):
        raise
    except Exception as error:  # of many kinds, for what a file of credentials may hold
        raise Unfit(f"the credentials cannot be used ({type(error).__name__})") from None
    reasons.clear()
    return reasons


async def _consumer(context: JetStreamContext, consumption: Consumption) -> ConsumerInfo:
    """Return what there is to know of the consumer; make it where it is missing."""
    stream, name = consumption.stream, consumption.consumer
    try:
        info: ConsumerInfo = await context.consumer_info(stream, name)
    except NotFoundError:
        try:
            await context.stream_info(stream)
        except NotFoundError:
            raise Unfit(f"there is no stream {stream}") from None
        config = ConsumerConfig(
            durable_name=name,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_SECONDS,
            deliver_policy=DeliverPolicy.ALL if consumption.start == "all" else DeliverPolicy.NEW,
            filter_subjects=list(consumption.subjects) or None,
        )
        made: ConsumerInfo = await context.add_consumer(stream, config)
        return made
    if info.config.deliver_subject or info.config.ack_policy != AckPolicy.EXPLICIT:
        raise Unfit(f"the consumer {name} of {stream} must be one that pulls, with explicit acks")
    return info


class _Puller:
    """Fetches over one connection, hands over, and acknowledges."""

    def __init__(
        self,
        client: Client,
        consumption: Consumption,
        accept: Accept,
        progress: Progress,
        stopping: asyncio.Event,
    ) -> None:
        self._client = client
        self._context = client.jetstream()
        self._consumption = consumption
        self._accept = accept
        self._progress = progress
        self._stopping = stopping
        self._missing = 0, 0
        """Number of the last message that was delivered, and how many behind it are gone."""

    async def run(self, reasons: list[Exception]) -> None:
        """Fetch until told to stop; raise what comes to stand among `reasons`."""
        consumption = self._consumption
        await self._measure(await _consumer(self._context, consumption))
        # Where more comes than that, the client drops it, and it is delivered again.
        subscription = await self._context.pull_subscribe_bind(
            consumption.consumer, consumption.stream, pending_bytes_limit=2 * _FETCH_BYTES
        )
        count = max(1, min(_FETCH_MESSAGES, _FETCH_BYTES // max(1, self._client.max_payload)))
        measured_s = time.monotonic()
        while not self._stopping.is_set():
            if reasons:
                raise Unfit(str(reasons[-1]))
            if time.monotonic() - measured_s >= _MEASURE_SECONDS:
                measured_s = time.monotonic()
                await self._measure(await subscription.consumer_info())
            try:
                messages = await subscription.fetch(count, _FETCH_SECONDS)
            except NothingCame:
                continue
            await self._take(messages)

    async def _measure(self, info: ConsumerInfo) -> None:
        """Note what waits, and what the server dropped before it was delivered."""
        progress, stream = self._progress, self._consumption.stream
        progress.connected = True
        progress.lag = {stream: (info.num_pending or 0) + (info.num_ack_pending or 0)}
        config = info.config
        if info.delivered is None or config.filter_subject or config.filter_subjects:
            return  # what is missing may be of other subjects
        delivered = info.delivered.stream_seq
        first = (await self._context.stream_info(stream)).state.first_seq
        known_at, known = self._missing
        missing = max(0, first - 1 - delivered)
        self._missing = delivered, missing
        if lost := max(0, missing - (known if known_at == delivered else 0)):
            progress.lose(stream, lost)

    async def _take(self, messages: Sequence[Msg]) -> None:
        """Hand messages over; acknowledge them when they are on disk."""
        now_ns = time.time_ns()
        arrivals = (arrival for message in messages for arrival in _arrivals(message, now_ns))
        for part in batches(arrivals):
            if not await self._hand_over(part, messages):
                return
        for message in messages:
            await message.ack()
        await self._client.flush()

    async def _hand_over(self, part: Sequence[Arrival], messages: Sequence[Msg]) -> bool:
        handing = asyncio.ensure_future(hand_over(part, self._accept))
        told_s = begun_s = time.monotonic()
        while True:
            done, _ = await asyncio.wait([handing], timeout=0.5)
            now_s = time.monotonic()
            self._progress.waiting = not done
            if done:
                handing.result()
                return True
            if not self._stopping.is_set():
                begun_s = now_s
            elif now_s - begun_s >= _STOP_SECONDS:
                handing.cancel()
                return False
            if now_s - told_s >= _SIGN_SECONDS:
                told_s = now_s
                for message in messages:
                    await message.in_progress()


def _arrivals(message: Msg, now_ns: int) -> list[Arrival]:
    known = message.metadata
    sequence = known.sequence.stream
    context = {
        "nats_stream": known.stream,
        "nats_subject": message.subject,
        "nats_sequence": str(sequence),
    }
    place = f"nats:{known.stream}@{sequence}"
    peer = f"nats/{known.stream}"
    return list(message_arrivals(message.data, peer, place, context, now_ns))
