"""Kafka: what is on disk is committed and nothing else, over restarts, rebalances and full queues.

Most run against Apache Kafka itself. What runs every time has the broker that librdkafka carries
for tests, over real connections.
"""

import asyncio
import gzip
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import brokers
import once
from certificates import Authority
from serving import Serving, free_port
from taking import Taken, until
from trailhound.cli.main import main
from trailhound.intake import kafka
from trailhound.intake.arrivals import Arrival
from trailhound.intake.kafka import Subscription
from trailhound.intake.pulling import Progress
from trailhound.model.errors import TrailhoundError


class Broker:
    """What tests ask of a broker, whichever it is."""

    def __init__(self, producer: Producer, address: str, daemon: brokers.Daemon | None) -> None:
        self.producer = producer
        self.address = address
        self.daemon = daemon

    def send(self, topic: str, *values: bytes | None, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(topic, value, partition=partition)
        assert not self.producer.flush(10)

    def make(self, topic: str, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.address})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)

    def committed(self, topic: str, group: str = "g", partition: int = 0) -> int:
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group})
        try:
            return consumer.committed([TopicPartition(topic, partition)], timeout=5)[0].offset
        finally:
            consumer.close()


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with brokers.running(brokers.kafka(tmp_path_factory.mktemp("kafka"))) as daemon:
        options = {"bootstrap.servers": daemon.address, "message.max.bytes": 70_000_000}
        yield Broker(Producer(options), daemon.address, daemon)


@pytest.fixture(scope="module")
def mock() -> Broker:
    # The cluster lives inside the producer, and ends with it.
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1})
    known = producer.list_topics(timeout=5).brokers.values()
    return Broker(producer, next(f"{broker.host}:{broker.port}" for broker in known), None)


class Consuming:
    """A consumer that runs while the block does."""

    def __init__(self, broker: Broker, topic: str, taken: Taken, **more: object) -> None:
        self.progress = Progress("kafka")
        subscription = Subscription((broker.address,), (topic,), "g", **more)  # type: ignore[arg-type]
        kafka.check(subscription)
        self._run = kafka.consume(subscription, taken, self.progress)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


@pytest.mark.slow
def test_what_is_on_disk_is_committed_and_goes_on_from_there(apache: Broker) -> None:
    apache.send("order", *(b'{"n":%d}' % n for n in range(100)))
    taken = Taken()

    async def run(count: int) -> None:
        async with Consuming(apache, "order", taken):
            await until(lambda: len(taken.arrivals) >= count)

    asyncio.run(run(100))
    assert apache.committed("order") == 100
    apache.send("order", b'{"n":100}')
    asyncio.run(run(101))
    assert taken.data == [b'{"n":%d}' % n for n in range(101)]
    last = taken.arrivals[-1]
    assert (last.peer, last.position) == ("kafka/order/0", "kafka:order/0@100:1.0")
    assert last.context == {
        "kafka_topic": "order",
        "kafka_partition": "0",
        "kafka_offset": "100",
    }


@pytest.mark.slow
def test_while_the_queue_is_full_nothing_is_committed_and_the_group_is_kept(
    apache: Broker,
) -> None:
    apache.send("full", b'{"n":0}')
    taken = Taken()
    taken.full = True

    async def run() -> None:
        # A member that does not poll for so long is taken for dead.
        options = {
            "max.poll.interval.ms": "1500",
            "session.timeout.ms": "1500",
            "heartbeat.interval.ms": "400",
        }
        async with Consuming(apache, "full", taken, options=options) as consuming:
            await until(lambda: consuming.progress.waiting)
            await asyncio.to_thread(apache.send, "full", b'{"n":1}')
            await asyncio.sleep(2.5)
            assert taken.data == []
            assert await asyncio.to_thread(apache.committed, "full") < 0
            taken.full = False
            await until(lambda: len(taken.arrivals) == 2)
            assert not consuming.progress.waiting
            assert consuming.progress.errors == 0

    asyncio.run(run())
    assert apache.committed("full") == 2


@pytest.mark.slow
def test_told_to_end_while_the_queue_is_full_it_ends_and_commits_nothing(apache: Broker) -> None:
    apache.send("ending", b'{"n":0}')
    taken = Taken()
    taken.full = True

    async def run() -> None:
        async with Consuming(apache, "ending", taken) as consuming:
            await until(lambda: consuming.progress.waiting)

    asyncio.run(run())
    assert apache.committed("ending") < 0


def test_a_message_is_read_as_a_file_is_and_one_that_cannot_be_holds_nothing_up(
    mock: Broker,
) -> None:
    mock.send(
        "odd",
        b'{"n":1}\n{"n":2}\r\n\n',
        gzip.compress(b'{"n":3}'),
        gzip.compress(b'{"n":4}\n' * 2000)[:-20],
        b"\0\1\2\3\0\0" * 900,
        None,
        b"",
        b'{"Records":[\n{"n":5},\n{"n":6}\n]}',
        b'{"n":"last"}',
    )
    taken = Taken()

    async def run() -> None:
        async with Consuming(mock, "odd", taken):
            await until(lambda: b'{"n":"last"}' in taken.data)

    asyncio.run(run())
    assert mock.committed("odd") == 8
    assert taken.data[:3] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert taken.data[-3:-1] == [b'{"Records":[{"n":5}]}', b'{"Records":[{"n":6}]}']
    failures = [arrival.failure[0] for arrival in taken.arrivals if arrival.failure]
    assert failures == ["damaged compression", "binary file", "empty message", "empty message"]
    positions = [arrival.position for arrival in taken.arrivals if not arrival.failure]
    assert len(set(positions)) == len(positions)


@pytest.mark.slow
def test_two_members_share_and_what_one_leaves_the_other_takes(apache: Broker) -> None:
    admin_topic = "^shared-.*"
    for n in range(4):
        apache.send(f"shared-{n}", b'{"n":%d}' % n)
    first, second = Taken(), Taken()

    async def run() -> None:
        async with Consuming(apache, admin_topic, first):
            await until(lambda: len(first.arrivals) == 4)
            async with Consuming(apache, admin_topic, second) as other:
                await until(lambda: bool(other.progress.lag), 20)
                for n in range(4):
                    await asyncio.to_thread(apache.send, f"shared-{n}", b'{"m":%d}' % n)
                await until(lambda: len(first.arrivals) + len(second.arrivals) == 8)
                assert second.arrivals
            for n in range(4):
                await asyncio.to_thread(apache.send, f"shared-{n}", b'{"l":%d}' % n)
            await until(lambda: len(first.arrivals) + len(second.arrivals) == 12, 20)

    asyncio.run(run())
    everything = sorted(first.data + second.data)
    assert everything == sorted(
        b'{"%s":%d}' % (name, n) for name in (b"n", b"m", b"l") for n in range(4)
    )


def test_without_the_extra_serve_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'state = "{tmp_path}"\n[kafka]\nbrokers = ["b:1"]\ntopics = ["t"]\n')
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    assert main(["serve", "--config", str(config)]) == 2
    assert "pip install 'trailhound[kafka]'" in capsys.readouterr().err


def test_settings_that_would_break_the_promises_are_refused() -> None:
    with pytest.raises(TrailhoundError, match=r"enable.auto.commit is not for settings"):
        kafka.check(Subscription(("b:1",), ("t",), "g", options={"enable.auto.commit": "true"}))
    with pytest.raises(TrailhoundError, match=r"No such configuration property"):
        kafka.check(Subscription(("b:1",), ("t",), "g", options={"sasl.pasword": "secret"}))
    with pytest.raises(TrailhoundError, match=r"topics"):
        kafka.check(Subscription(("b:1",), (), "g"))


def test_a_broker_that_is_not_there_is_told_once_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    progress = Progress("kafka")

    async def accept(arrivals: Sequence[Arrival]) -> None:
        raise AssertionError(arrivals)

    async def scene() -> None:
        consuming = asyncio.create_task(
            kafka.consume(Subscription(("127.0.0.1:1",), ("t",), "g"), accept, progress)
        )
        await until(lambda: progress.errors >= 5)
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)

    begun_s = time.monotonic()
    asyncio.run(scene())
    # At once, and then no more often than about once a second.
    assert time.monotonic() - begun_s > 1
    told = Counter(record.getMessage() for record in caplog.records)
    assert any("127.0.0.1:1" in text for text in told)
    assert set(told.values()) == {1}, told


@pytest.mark.slow
def test_serve_consumes_and_tells_how_far_it_is(apache: Broker, tmp_path: Path) -> None:
    line = Path(__file__).parents[1] / "examples/demo/kubernetes/audit.log"
    lines = line.read_bytes().splitlines()[:50]
    apache.send("audit", *lines, b"\0\1\2\3\0\0" * 900)
    serving = Serving(
        tmp_path, f'[kafka]\nbrokers = ["{apache.address}"]\ntopics = ["audit"]\ngroup = "serve"'
    ).start()
    serving.wait()
    until_s = time.monotonic() + 30
    wanted = (
        b'trailhound_events_total{source="k8s_audit"} 50',
        b'trailhound_failures_total{reason="binary file"} 1',
        b'trailhound_accepted_total{intake="kafka"} 51',
        b'trailhound_pull_lag{intake="kafka",place="audit/0"} 0',
        b'trailhound_pull_connected{intake="kafka"} 1',
    )
    while not all(line in serving.get("/metrics") for line in wanted):
        assert time.monotonic() < until_s, serving.get("/metrics").decode() + serving.log
        time.sleep(0.1)
    fetching = json.loads(serving.get("/status"))["fetching"]
    assert fetching == [
        {
            "intake": "kafka",
            "connected": True,
            "waiting": False,
            "errors": 0,
            "lag": {"audit/0": 0},
            "lost": {},
            "skipped": {},
        }
    ]
    assert serving.stop() == 0
    assert apache.committed("audit", "serve") == 51
    assert "rror" not in serving.log


def _settings(apache: Broker, topic: str, folder: Path, more: str = "") -> str:
    return (
        f'{more}{once.rules(folder)}\n[kafka]\nbrokers = ["{apache.address}"]\n'
        f'topics = ["{topic}"]\n[kafka.options]\n"session.timeout.ms" = "2000"\n'
        '"heartbeat.interval.ms" = "500"\n"topic.metadata.refresh.interval.ms" = "1000"\n'
    )


@pytest.mark.slow
def test_killed_while_it_consumes_it_judges_every_message_once(
    apache: Broker, tmp_path: Path
) -> None:
    apache.make("killed", 3)
    serving = Serving(tmp_path, _settings(apache, "killed", tmp_path))
    sent = 0

    def feed() -> None:
        nonlocal sent
        for record in once.records(2000, sent):
            apache.producer.produce("killed", record)
        assert not apache.producer.flush(20)
        sent += 2000

    once.killed_again_and_again(serving, 6, feed, seed=3)
    once.wait_for(serving, sent)
    once.each_once([serving], sent)


@pytest.mark.slow
def test_two_servers_share_a_topic_and_one_that_dies_is_replaced(
    apache: Broker, tmp_path: Path
) -> None:
    apache.make("two", 4)
    servings = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        settings = _settings(apache, "two", tmp_path / name)
        servings.append(Serving(tmp_path / name, settings).start())
    sent = 0

    def feed(count: int) -> None:
        nonlocal sent
        for number, record in enumerate(once.records(count, sent)):
            # Left to itself, the producer may stay with the partitions of one of the two.
            apache.producer.produce("two", record, partition=number % 4)
        assert not apache.producer.flush(20)
        sent += count

    def wait(seconds: float = 60) -> None:
        until_s = time.monotonic() + seconds
        while sum(map(once.count, servings)) < sent:
            assert time.monotonic() < until_s, [s.log for s in servings]
            time.sleep(0.1)

    feed(2000)
    wait()
    until_s = time.monotonic() + 30
    while not all(b'intake="kafka",place="two/' in s.get("/metrics") for s in servings):
        assert time.monotonic() < until_s
        time.sleep(0.2)
    feed(2000)
    wait()
    assert all(map(once.found, servings))
    assert servings[0].stop() == 0
    feed(2000)
    wait()
    once.each_once(servings, sent)
    assert servings[1].stop() == 0


@pytest.mark.slow
def test_while_the_broker_restarts_it_waits_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    with brokers.running(brokers.kafka(folder)) as daemon:
        broker = Broker(Producer({"bootstrap.servers": daemon.address}), daemon.address, daemon)
        broker.make("restart", 2)
        serving = Serving(tmp_path, _settings(broker, "restart", tmp_path)).start()
        broker.send("restart", *once.records(500))
        serving.wait()
        once.wait_found(serving, 500)
        daemon.stop(signal.SIGKILL)
        until_s = time.monotonic() + 30
        while b'trailhound_pull_connected{intake="kafka"} 0' not in serving.get("/metrics"):
            assert time.monotonic() < until_s, serving.log
            time.sleep(0.1)
        daemon.start()
        broker.send("restart", *once.records(500, 500))
        once.wait_for(serving, 1000)
        once.each_once([serving], 1000)
        assert "Traceback" not in serving.log


@pytest.mark.slow
def test_a_small_queue_holds_a_large_topic_up_and_loses_nothing(
    apache: Broker, tmp_path: Path
) -> None:
    apache.make("narrow", 2)
    records = once.records(6_000)
    for record in records:
        apache.producer.produce("narrow", record)
        apache.producer.poll(0)
    assert not apache.producer.flush(20)
    more = f"queue_bytes = {1024 * 1024}\n"
    serving = Serving(tmp_path, _settings(apache, "narrow", tmp_path, more)).start()
    once.wait_for(serving, len(records))
    once.each_once([serving], len(records))


@pytest.mark.slow
def test_what_the_broker_dropped_before_it_was_read_is_counted(apache: Broker) -> None:
    apache.make("gone", 1)
    apache.send("gone", *(b'{"n":%d}' % n for n in range(10)))
    taken = Taken()

    async def run(count: int) -> Progress:
        async with Consuming(apache, "gone", taken) as consuming:
            await until(lambda: len(taken.arrivals) >= count)
            return consuming.progress

    assert not asyncio.run(run(10)).lost
    apache.send("gone", *(b'{"n":%d}' % n for n in range(10, 20)))
    admin = AdminClient({"bootstrap.servers": apache.address})
    admin.delete_records([TopicPartition("gone", 0, 15)])[TopicPartition("gone", 0)].result(20)
    assert asyncio.run(run(15)).lost == {"gone/0": 5}
    assert taken.data[10:] == [b'{"n":%d}' % n for n in range(15, 20)]


@pytest.mark.slow
def test_a_message_of_sixty_megabytes_comes_in_and_does_not_stay_in_memory(
    apache: Broker,
) -> None:
    apache.make("large", 1)
    record = b'{"kind":"x","pad":"%s"}' % (b"y" * 1000)
    apache.send("large", b'{"items":[' + b",".join([record] * 60_000) + b"]}", b"behind")
    taken = Taken()

    async def run() -> None:
        async with Consuming(apache, "large", taken):
            await until(lambda: b"behind" in taken.data, 60)

    asyncio.run(run())
    assert len(taken.arrivals) == 60_001
    assert apache.committed("large") == 2


@pytest.mark.slow
def test_tls_and_a_password_are_used_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    authority = Authority(folder, "ca")
    login = brokers.Login(free_port(), "correct-horse-battery", authority)
    taken = Taken()
    options = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "trailhound",
        "sasl.password": login.password,
        "ssl.ca.location": authority.file,
    }
    with brokers.running(brokers.kafka(folder, login)) as daemon:
        broker = Broker(Producer({"bootstrap.servers": daemon.address}), daemon.address, daemon)
        broker.send("kept", b'{"n":1}')
        secure = Broker(broker.producer, f"localhost:{login.port}", daemon)

        async def run() -> None:
            async with Consuming(secure, "kept", taken, options=options):
                await until(lambda: bool(taken.arrivals))
            wrong = {**options, "sasl.password": "wrong-horse-battery"}
            async with Consuming(secure, "kept", Taken(), options=wrong) as consuming:
                await until(lambda: consuming.progress.errors > 0)
                assert not consuming.progress.connected

        asyncio.run(run())
        assert broker.committed("kept") == 1
    assert "Authentication failed" in caplog.text
    assert "horse" not in caplog.text
