"""Kafka: a member of a consumer group that commits what is on disk, and nothing else.

Through librdkafka (`confluent-kafka`). Offsets are committed by hand, behind records that the
queue has synced; so what a crash cuts off comes again, under the same topic, partition and
offset, by which it is known. While the queue is full the partitions are paused, but polled, so
that the group does not take us for dead.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from typing import Any, Literal

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from trailhound.intake.arrivals import Accept, Arrival
from trailhound.intake.contents import message_arrivals
from trailhound.intake.pulling import (
    BATCH_BYTES,
    BATCH_RECORDS,
    Hand,
    Progress,
    batches,
    in_thread,
    keep_pulling,
)
from trailhound.model.errors import TrailhoundError

_POLL_SECONDS = 0.25
_COMMIT_SECONDS = 1.0
_STATISTICS_MS = 5_000
_ASK_SECONDS = 10.0
_STOP_SECONDS = 3.0
"""How long records in hand may take to get to disk when we are told to end."""
_OURS = frozenset(
    (
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "group.id",
        "group.protocol",
        "partition.assignment.strategy",
        "plugin.library.paths",
    )
)
"""Properties of librdkafka that settings cannot change: without them no promise holds, or others
say the same."""
_TELL_SECONDS = 60.0
"""The same failure is told no more often: librdkafka tries each broker again every second or so."""
_TELL_KEPT = 64
_log = logging.getLogger(__name__)
_library = logging.getLogger(f"{__name__}.librdkafka")
# What fails is told to `error_cb` as well.
_library.addFilter(lambda record: not record.getMessage().startswith("FAIL "))
_Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What to consume, and as whom."""

    brokers: tuple[str, ...]
    topics: tuple[str, ...]
    """Names; a name that begins with `^` is a regular expression."""
    group: str
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin in a partition of which the group has committed nothing."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Properties of librdkafka, for TLS and SASL. They hold passwords: never shown."""


def check(subscription: Subscription) -> None:
    """See that librdkafka takes the settings.

    Raises:
        TrailhoundError: It does not.
    """
    if not subscription.topics or not subscription.group:
        raise TrailhoundError("[kafka] needs topics and a group")
    for name in sorted(_OURS & subscription.options.keys()):
        raise TrailhoundError(f"[kafka.options]: {name} is not for settings to change")
    try:
        Consumer({**_configuration(subscription), "logger": _library}).close()
    except KafkaException as error:
        raise TrailhoundError(f"[kafka.options]: {_said(error)}") from None


async def consume(subscription: Subscription, accept: Accept, progress: Progress) -> None:
    """Hand over what comes on the topics, until cancelled."""

    async def attempt() -> None:
        await in_thread("kafka", _Member(subscription, progress).work, accept)

    await keep_pulling(attempt, progress, (KafkaException,))


def _configuration(subscription: Subscription) -> dict[str, Any]:
    return {
        "client.id": "trailhound",
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.max.bytes": 16 * 1024 * 1024,
        "reconnect.backoff.ms": 1_000,
        "reconnect.backoff.max.ms": 10_000,
        "statistics.interval.ms": _STATISTICS_MS,
        # A topic that is made later is found within so long.
        "topic.metadata.refresh.interval.ms": 30_000,
        **subscription.options,
        "bootstrap.servers": ",".join(subscription.brokers),
        "group.id": subscription.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A gap between what was committed and what there is must not be jumped over unseen.
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
    }


class _Member:
    """One member of the group, from its joining to its leaving or a fatal error."""

    def __init__(self, subscription: Subscription, progress: Progress) -> None:
        self._subscription = subscription
        self._progress = progress
        self._start = OFFSET_BEGINNING if subscription.start == "earliest" else OFFSET_END
        self._assigned: set[_Place] = set()
        self._durable: dict[_Place, int] = {}
        """Offset behind what is on disk, of partitions where that is not committed."""
        self._behind: dict[_Place, int] = {}
        """The same of all partitions, for lag."""
        self._gathered: list[Message] = []
        self._paused = False
        self._committed_s = 0.0
        self._told_s: dict[str, float] = {}
        """Failure → when it was told last."""
        self._consumer: Consumer

    def work(self, hand: Hand) -> None:
        """Consume until told to stop. Raises `KafkaException` for what a new member may mend."""
        self._consumer = Consumer(
            {
                **_configuration(self._subscription),
                "error_cb": self._failed,
                "stats_cb": self._measured,
                "on_commit": self._committed,
                "logger": _library,
            }
        )
        try:
            self._consumer.subscribe(
                list(self._subscription.topics),
                on_assign=self._assign,
                on_revoke=self._revoke,
                on_lost=self._lose,
            )
            while not hand.stopping.is_set():
                self._gather(_POLL_SECONDS)
                taken, self._gathered = self._gathered, []
                if taken:
                    self._hand_over(taken, hand)
                self._commit_now_and_then()
        finally:
            try:
                self._commit(self._durable, asynchronous=False)
            finally:
                self._consumer.close()

    def _gather(self, wait_s: float) -> None:
        """Take messages until there are enough for a batch, or no more."""
        size = 0
        message = self._consumer.poll(wait_s)
        while message is not None:
            if message.error() is not None:
                self._trouble(message)
            else:
                self._gathered.append(message)
                size += len(message.value() or b"")
                if size >= BATCH_BYTES or len(self._gathered) >= BATCH_RECORDS:
                    return
            message = self._consumer.poll(0)

    def _hand_over(self, messages: Sequence[Message], hand: Hand) -> None:
        self._progress.connected = True
        for part in batches(_arrivals(messages, time.time_ns())):
            if not self._wait(hand.give(part), hand):
                return
        for message in messages:
            place = _place_of(message)
            # What another member has now is committed there.
            if place in self._assigned:
                self._durable[place] = self._behind[place] = (message.offset() or 0) + 1

    def _wait(self, given: "Future[None]", hand: Hand) -> bool:
        """Wait until records are on disk, as a living member; return whether they are."""
        stop_s = float("inf")
        while True:
            try:
                given.result(_POLL_SECONDS)
            except NotYet:
                pass
            else:
                self._pause(paused=False)
                return True
            self._pause(paused=True)
            if hand.stopping.is_set():
                stop_s = min(stop_s, time.monotonic() + _STOP_SECONDS)
                if time.monotonic() >= stop_s:
                    given.cancel()
                    return False
            # Paused partitions give nothing; what comes all the same is kept.
            self._gather(0)

    def _pause(self, *, paused: bool) -> None:
        if paused == self._paused:
            return
        self._paused = self._progress.waiting = paused
        partitions = [TopicPartition(*place) for place in self._assigned]
        if paused:
            self._consumer.pause(partitions)
        else:
            self._consumer.resume(partitions)

    def _commit_now_and_then(self) -> None:
        if self._durable and time.monotonic() - self._committed_s >= _COMMIT_SECONDS:
            self._committed_s = time.monotonic()
            self._commit(self._durable, asynchronous=True)
            self._durable = {}

    def _commit(self, offsets: Mapping[_Place, int], *, asynchronous: bool) -> None:
        if not offsets:
            return
        partitions = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        try:
            if asynchronous:
                self._consumer.commit(offsets=partitions, asynchronous=True)
            else:
                self._consumer.commit(offsets=partitions, asynchronous=False)
        except KafkaException as error:
            # They come again, and are known.
            _log.warning("kafka: offsets could not be committed: %s", _said(error))

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition] | None) -> None:
        for partition in partitions or ():
            place = partition.topic, partition.partition
            if (error or partition.error) and place in self._assigned:
                self._durable.setdefault(place, partition.offset)
        if error is not None:
            _log.warning("kafka: offsets could not be committed: %s", error.str())

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned |= {(partition.topic, partition.partition) for partition in partitions}
        try:
            known = consumer.committed(partitions, timeout=_ASK_SECONDS)
        except KafkaException as error:
            # Each partition asks again, and says where nothing is committed.
            _log.warning("kafka: committed offsets could not be asked for: %s", _said(error))
            known = []
        fresh = {(p.topic, p.partition) for p in known if p.error is None and p.offset < 0}
        for partition in partitions:
            if (partition.topic, partition.partition) in fresh:
                partition.offset = self._start
        consumer.incremental_assign(partitions)
        if self._paused:
            consumer.pause(partitions)

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(partition.topic, partition.partition) for partition in partitions}
        self._commit(
            {place: offset for place, offset in self._durable.items() if place in places},
            asynchronous=False,
        )
        self._lose(consumer, partitions)

    def _lose(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(partition.topic, partition.partition) for partition in partitions}
        self._assigned -= gone
        for place in gone:
            self._durable.pop(place, None)
            self._behind.pop(place, None)
        self._gathered = [held for held in self._gathered if _place_of(held) not in gone]
        consumer.incremental_unassign(partitions)

    def _trouble(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the name it has
            self._begin(_place_of(message))
        elif error.fatal():
            raise KafkaException(error)
        elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._failed(error)

    def _begin(self, place: _Place) -> None:
        """Begin in a partition where nothing was committed, or what was is no longer there."""
        partition = TopicPartition(*place)
        committed = self._consumer.committed([partition], timeout=_ASK_SECONDS)[0].offset
        wanted = max(committed, self._behind.get(place, -1))
        if wanted >= 0:
            low, _ = self._consumer.get_watermark_offsets(partition, timeout=_ASK_SECONDS)
            missing = max(0, low - wanted)
            partition.offset = low
            if missing:
                self._progress.lose(f"{place[0]}/{place[1]}", missing)
            _log.error(
                "kafka: %s/%d has no offset %d any more; %d messages were dropped by the broker, "
                "reading goes on at %d",
                *(*place, wanted, missing, low),
            )
        else:
            partition.offset = self._start
        self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.incremental_assign([partition])
        if self._paused:
            self._consumer.pause([TopicPartition(*place)])

    def _failed(self, error: KafkaError) -> None:
        # How long the attempt took is no other failure.
        what = error.str().partition(" (after ")[0]
        now_s = time.monotonic()
        tell = now_s - self._told_s.get(what, -_TELL_SECONDS) >= _TELL_SECONDS
        if tell:
            if len(self._told_s) >= _TELL_KEPT:
                self._told_s.clear()
            self._told_s[what] = now_s
        self._progress.failed(what, tell=tell)

    def _measured(self, statistics: str) -> None:
        seen = json.loads(statistics)
        brokers = [b for b in seen["brokers"].values() if b.get("nodeid", -1) >= 0]
        self._progress.connected = any(broker["state"] == "UP" for broker in brokers)
        lag: dict[str, int] = {}
        for place in self._assigned:
            known = seen["topics"].get(place[0], {}).get("partitions", {}).get(str(place[1]), {})
            end = known.get("ls_offset", -1)
            done = self._behind.get(place, known.get("committed_offset", -1))
            if end >= 0:
                lag[f"{place[0]}/{place[1]}"] = max(
                    0, end - max(done, known.get("lo_offset", 0), 0)
                )
        self._progress.lag = lag


def _arrivals(messages: Iterable[Message], now_ns: int) -> Iterator[Arrival]:
    for message in messages:
        topic, partition = _place_of(message)
        context = {
            "kafka_topic": topic,
            "kafka_partition": str(partition),
            "kafka_offset": str(message.offset()),
        }
        peer = f"kafka/{topic}/{partition}"
        place = f"kafka:{topic}/{partition}@{message.offset()}"
        yield from message_arrivals(message.value() or b"", peer, place, context, now_ns)


def _place_of(message: Message) -> _Place:
    return message.topic() or "", message.partition() or 0


def _said(error: KafkaException) -> str:
    inner = error.args[0]
    return inner.str() if isinstance(inner, KafkaError) else str(inner)
