"""NATS JetStream, against nats-server: what is on disk is acknowledged and nothing else."""

import asyncio
import gzip
import signal
import ssl
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Self

import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

import brokers
import nats_accounts
import once
from serving import Serving
from taking import Taken, until
from trailhound.cli.main import main
from trailhound.intake import arrivals, pulling
from trailhound.intake import nats as intake
from trailhound.intake.nats import Consumption
from trailhound.intake.pulling import Progress


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(pulling, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(intake, "_FETCH_SECONDS", 0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Daemon]:
    with brokers.running(brokers.nats(tmp_path_factory.mktemp("nats"))) as daemon:
        yield daemon


async def send(url: str, stream: str, *values: bytes, **connect: Any) -> None:
    """Make a stream, where it is missing, and publish to it."""
    client = await nats.connect(url, **connect)
    context = client.jetstream()
    await context.add_stream(StreamConfig(name=stream, subjects=[f"{stream}.*"]))
    for value in values:
        await context.publish(f"{stream}.audit", value)
    await client.close()


async def unacknowledged(url: str, stream: str, **connect: Any) -> int:
    client = await nats.connect(url, **connect)
    info = await client.jetstream().consumer_info(stream, "trailhound")
    await client.close()
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def all_acknowledged(url: str, stream: str, **connect: Any) -> None:
    # The server works acknowledgements off in its own time.
    async with asyncio.timeout(10):
        while await unacknowledged(url, stream, **connect):
            await asyncio.sleep(0.02)


class Consuming:
    """A consumer that runs while the block does."""

    def __init__(self, url: str, stream: str, taken: Taken, **more: Any) -> None:
        self.progress = Progress("nats")
        self._run: Coroutine[Any, Any, None] = intake.consume(
            Consumption((url,), stream, "trailhound", **more), taken, self.progress
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


def test_what_is_on_disk_is_acknowledged_and_goes_on_from_there(server: brokers.Daemon) -> None:
    url = f"nats://{server.address}"
    taken = Taken()

    async def run() -> None:
        await send(url, "order", *(b'{"n":%d}' % n for n in range(600)))
        async with Consuming(url, "order", taken) as consuming:
            await until(lambda: len(taken.arrivals) == 600)
            assert consuming.progress.connected
        await all_acknowledged(url, "order")
        await send(url, "order", b'{"n":600}')
        async with Consuming(url, "order", taken):
            await until(lambda: len(taken.arrivals) == 601)

    asyncio.run(run())
    assert taken.data == [b'{"n":%d}' % n for n in range(601)]
    last = taken.arrivals[-1]
    assert (last.peer, last.position) == ("nats/order", "nats:order@601:1.0")
    assert last.context == {
        "nats_stream": "order",
        "nats_subject": "order.audit",
        "nats_sequence": "601",
    }


def test_while_the_queue_is_full_nothing_is_acknowledged(server: brokers.Daemon) -> None:
    url = f"nats://{server.address}"
    taken = Taken()
    taken.full = True

    async def run() -> None:
        await send(url, "full", b'{"n":0}', b'{"n":1}')
        async with Consuming(url, "full", taken) as consuming:
            await until(lambda: consuming.progress.waiting)
            assert await unacknowledged(url, "full") == 2
            taken.full = False
            await until(lambda: len(taken.arrivals) == 2)
        await all_acknowledged(url, "full")

    asyncio.run(run())


def test_a_message_is_read_as_a_file_is_and_one_that_cannot_be_holds_nothing_up(
    server: brokers.Daemon,
) -> None:
    url = f"nats://{server.address}"
    taken = Taken()
    odd = (
        b'{"n":1}\n{"n":2}\r\n\n',
        gzip.compress(b'{"n":3}'),
        gzip.compress(b'{"n":4}\n' * 2000)[:-20],
        b"\0\1\2\3\0\0" * 900,
        b"",
        b'{"n":"last"}',
    )

    async def run() -> None:
        await send(url, "odd", *odd)
        async with Consuming(url, "odd", taken):
            await until(lambda: b'{"n":"last"}' in taken.data)
        await all_acknowledged(url, "odd")

    asyncio.run(run())
    assert taken.data[:3] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    failures = [arrival.failure[0] for arrival in taken.arrivals if arrival.failure]
    assert failures == ["damaged compression", "binary file", "empty message"]


def test_what_the_server_dropped_before_it_was_fetched_is_counted(server: brokers.Daemon) -> None:
    url = f"nats://{server.address}"
    taken = Taken()

    async def run(count: int) -> Progress:
        async with Consuming(url, "gone", taken) as consuming:
            await until(lambda: len(taken.arrivals) >= count)
            return consuming.progress

    async def keep(messages: int, *values: bytes) -> None:
        client = await nats.connect(url)
        context = client.jetstream()
        config = StreamConfig(name="gone", subjects=["gone.*"], max_msgs=messages)
        known = [stream.config.name for stream in await context.streams_info()]
        await (context.update_stream if "gone" in known else context.add_stream)(config)
        for value in values:
            await context.publish("gone.audit", value)
        await client.close()

    # What was gone before there was a consumer is no loss of it.
    asyncio.run(keep(8, *(b'{"n":%d}' % n for n in range(10))))
    assert not asyncio.run(run(8)).lost
    asyncio.run(keep(5, *(b'{"n":%d}' % n for n in range(10, 20))))
    assert asyncio.run(run(13)).lost == {"gone": 5}
    assert taken.data[8:] == [b'{"n":%d}' % n for n in range(15, 20)]


def test_what_cannot_work_is_told_and_tried_again(
    server: brokers.Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"nats://user:secret@{server.address}"
    taken = Taken()

    async def run() -> None:
        async with Consuming(url, "later", taken) as consuming:
            await until(lambda: consuming.progress.errors > 0)
            await send(url, "later", b'{"n":1}')
            await until(lambda: bool(taken.arrivals))
        client = await nats.connect(url)
        context = client.jetstream()
        await context.add_stream(StreamConfig(name="unfit", subjects=["unfit.*"]))
        config = ConsumerConfig(durable_name="trailhound", ack_policy=AckPolicy.NONE)
        await context.add_consumer("unfit", config)
        async with Consuming(url, "unfit", taken) as consuming:
            await until(lambda: consuming.progress.errors > 0)
        await client.close()
        async with Consuming("nats://127.0.0.1:1", "none", taken) as consuming:
            await until(lambda: consuming.progress.errors > 0)

    asyncio.run(run())
    assert "there is no stream later" in caplog.text
    assert "no server can be reached: " in caplog.text
    assert "must be one that pulls, with explicit acks" in caplog.text
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


def test_what_a_user_may_not_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    configuration = tmp_path / "nats.conf"
    configuration.write_text(
        "authorization { users = [ { user: all, password: a }, { user: few, password: secret, "
        'permissions: { publish: { deny: "$JS.API.CONSUMER.MSG.NEXT.>" } } } ] }\n'
    )
    daemon = brokers.nats(tmp_path, "-c", str(configuration))
    taken = Taken()

    async def run() -> None:
        await send(f"nats://all:a@{daemon.address}", "kept", b'{"n":1}')
        async with Consuming(f"nats://few:secret@{daemon.address}", "kept", taken) as consuming:
            await until(lambda: consuming.progress.errors > 0)

    with brokers.running(daemon):
        asyncio.run(run())
    assert "ermissions" in caplog.text
    assert "secret" not in caplog.text


def test_credentials_and_tls_are_used_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = nats_accounts.make(tmp_path)
    daemon = brokers.nats(tmp_path, "-c", str(made.configuration))
    url = f"tls://localhost:{daemon.port}"
    tls = ssl.create_default_context(cafile=str(made.authority))
    taken = Taken()

    async def run() -> None:
        creds = str(made.credentials)
        await send(url, "kept", b'{"n":1}', tls=tls, user_credentials=creds)
        async with Consuming(url, "kept", taken, tls=tls, credentials=creds):
            await until(lambda: bool(taken.arrivals))
        await all_acknowledged(url, "kept", tls=tls, user_credentials=creds)
        broken = tmp_path / "broken.creds"
        broken.write_text(made.credentials.read_text().replace("SU", "XX"))
        for other in ("", str(broken)):
            async with Consuming(url, "kept", taken, tls=tls, credentials=other) as consuming:
                await until(lambda: consuming.progress.errors > 0)

    with brokers.running(daemon):
        asyncio.run(run())
    assert "uthorization" in caplog.text
    assert "the credentials cannot be used" in caplog.text
    assert "Traceback" not in caplog.text
    assert not [line for line in made.credentials.read_text().split() if line in caplog.text]


def test_without_the_extra_serve_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'state = "{tmp_path}"\n[nats]\nservers = ["nats://b:1"]\nstream = "s"\n')
    monkeypatch.setitem(sys.modules, "nats", None)
    assert main(["serve", "--config", str(config)]) == 2
    assert "pip install 'trailhound[nats]'" in capsys.readouterr().err


@pytest.mark.parametrize("server", ["nats://u:se/cret@b:1", "secret", "http://secret:1"])
def test_a_server_that_is_no_url_is_told_and_not_shown(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'state = "{tmp_path}"\n[nats]\nservers = ["{server}"]\nstream = "s"\n')
    assert main(["serve", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert "is no URL" in said
    assert "cret" not in said


def _settings(daemon: brokers.Daemon, stream: str, folder: Path, more: str = "") -> str:
    return (
        f'{more}{once.rules(folder)}\n[nats]\nservers = ["nats://{daemon.address}"]\n'
        f'stream = "{stream}"\n'
    )


@pytest.mark.slow
def test_killed_while_it_consumes_it_judges_every_message_once(
    server: brokers.Daemon, tmp_path: Path
) -> None:
    serving = Serving(tmp_path, _settings(server, "killed", tmp_path))
    sent = 0

    def feed() -> None:
        nonlocal sent
        asyncio.run(send(f"nats://{server.address}", "killed", *once.records(1500, sent)))
        sent += 1500

    once.killed_again_and_again(serving, 5, feed, seed=4)
    # What was in hand when it was killed is delivered again after a minute.
    once.wait_for(serving, sent, 180)
    once.each_once([serving], sent)


@pytest.mark.slow
def test_while_the_server_restarts_it_waits_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    folder.mkdir()
    with brokers.running(brokers.nats(folder)) as daemon:
        url = f"nats://{daemon.address}"
        asyncio.run(send(url, "restart", *once.records(500)))
        serving = Serving(tmp_path, _settings(daemon, "restart", tmp_path)).start()
        serving.wait()
        once.wait_found(serving, 500)
        daemon.stop(signal.SIGKILL)
        until_s = time.monotonic() + 30
        while b'trailhound_pull_connected{intake="nats"} 0' not in serving.get("/metrics"):
            assert time.monotonic() < until_s, serving.log
            time.sleep(0.1)
        daemon.start()
        asyncio.run(send(url, "restart", *once.records(500, 500)))
        once.wait_for(serving, 1000)
        once.each_once([serving], 1000)
        assert "Traceback" not in serving.log


@pytest.mark.slow
def test_two_servers_share_a_consumer_over_a_small_queue(
    server: brokers.Daemon, tmp_path: Path
) -> None:
    records = once.records(6_000)
    asyncio.run(send(f"nats://{server.address}", "shared", *records))
    servings = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        more = f"queue_bytes = {1024 * 1024}\n"
        settings = _settings(server, "shared", tmp_path / name, more)
        servings.append(Serving(tmp_path / name, settings).start())
    until_s = time.monotonic() + 300
    while sum(map(once.count, servings)) < len(records):
        assert time.monotonic() < until_s, [serving.log for serving in servings]
        time.sleep(0.2)
    assert [serving.stop() for serving in servings] == [0, 0]
    assert all(map(once.found, servings))
    once.each_once(servings, len(records))
