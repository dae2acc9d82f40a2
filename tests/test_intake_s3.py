"""S3: what lies in a bucket, or is named by a notice, is read once; over restarts, in flat memory.

The buckets are Versity's S3 gateway where it is installed, else moto; queues are moto's SQS.
"""

import asyncio
import contextlib
import gzip
import io
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

import brokers
import once
import taking
from serving import Serving
from taking import until
from trailhound.cli.main import main
from trailhound.intake import arrivals
from trailhound.intake.arrivals import Arrival, Full
from trailhound.intake.pulling import Progress, in_thread
from trailhound.intake.s3 import asking, bucket
from trailhound.intake.s3.layout import day_of, is_digest, starts
from trailhound.intake.s3.listing import write_down
from trailhound.intake.s3.notices import Unknown, read_notice
from trailhound.intake.s3.places import Buckets, places_of
from trailhound.intake.s3.reading import Reader
from trailhound.intake.s3.work import Found, Work
from trailhound.model.errors import TrailhoundError

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest"}


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(asking, "_NOTICE_SECONDS", 1)
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    try:
        daemon = brokers.s3(tmp_path_factory.mktemp("s3"))
    except pytest.skip.Exception:
        yield request.getfixturevalue("moto")
        return
    with brokers.running(daemon):
        yield f"http://{daemon.address}"


def client(endpoint: str, service: str = "s3") -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="testtest",
    )


def fill(endpoint: str, name: str, objects: dict[str, bytes], *, versions: bool = False) -> Any:
    s3 = client(endpoint)
    s3.create_bucket(Bucket=name)
    if versions:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key, body in objects.items():
        s3.put_object(Bucket=name, Key=key, Body=body)
    return s3


class Taken(taking.Taken):
    """Records and failures apart, in whatever order objects were read."""

    @property
    def data(self) -> list[bytes]:
        return sorted(arrival.data for arrival in self.arrivals if not arrival.failure)

    @property
    def failures(self) -> list[str]:
        return sorted(arrival.failure[0] for arrival in self.arrivals if arrival.failure)


class Pulling:
    """An intake that runs while the block does."""

    def __init__(self, state: Path, buckets: Buckets, taken: Any) -> None:
        self.progress, self.notices = Progress("s3"), Progress("sqs")
        bucket.check(buckets)
        self.work = Work(state / "s3.sqlite")
        self._run = bucket.pull(buckets, self.work, taken, self.progress, self.notices)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


ODD = (
    "a b.json",
    "ü+%25&?#.json",
    "line\nend.json",
    "日本/<script>.json",
    "x" * 240,
    "quote'\".json",
)


def test_objects_are_read_once_over_restarts_whatever_their_keys_are(
    endpoint: str, tmp_path: Path
) -> None:
    # moto, where there is no gateway, knows no key with a line end in it.
    odd = [key for key in ODD if "\n" not in key or brokers.has("versitygw")]
    s3 = fill(endpoint, "odd", {f"in/{key}": json.dumps({"k": key}).encode() for key in odd})
    s3.put_object(Bucket="odd", Key="other/x.json", Body=b'{"k":"outside"}')
    buckets = Buckets(places_of(["s3://odd/in/"]), list_seconds=0.2, endpoint=endpoint)
    taken = Taken()

    async def run(count: int) -> None:
        async with Pulling(tmp_path, buckets, taken) as pulling:
            await until(
                lambda: len(taken.arrivals) >= count and not any(pulling.work.waiting.values())
            )
            await asyncio.sleep(0.3)

    asyncio.run(run(len(odd)))
    assert taken.data == sorted(json.dumps({"k": key}).encode() for key in odd)
    s3.put_object(Bucket="odd", Key="in/new.json", Body=b'{"k":1}\n{"k":2}\n')
    asyncio.run(run(len(odd) + 2))
    s3.put_object(Bucket="odd", Key="in/new.json", Body=b'{"k":3}')
    asyncio.run(run(len(odd) + 3))
    assert len(taken.arrivals) == len(odd) + 3
    second = next(arrival for arrival in taken.arrivals if arrival.data == b'{"k":2}')
    assert second.peer == "s3/odd/in/new.json"
    assert second.position.startswith("s3:odd/in/new.json@")
    assert second.position.endswith(":2.0")
    assert second.context == {"s3_bucket": "odd", "s3_key": "in/new.json", "s3_line": "2"}


TRAIL = "p/AWSLogs/o-abc123/111122223333/{}/eu-west-1/2026/11/12/111122223333_{}"


def test_the_layout_of_cloudtrail_is_known(endpoint: str, tmp_path: Path) -> None:
    record = {"eventVersion": "1.11", "eventSource": "s3.amazonaws.com", "eventName": "GetObject"}
    log = json.dumps({"Records": [record, record]}).encode()
    objects = {
        TRAIL.format("CloudTrail", "CloudTrail_eu-west-1_1.json.gz"): gzip.compress(log),
        TRAIL.format("CloudTrail-Digest", "CloudTrail-Digest_1.json.gz"): gzip.compress(b"{}"),
        "p/AWSLogs/o-abc123/": b"",
        "p/AWSLogs/o-abc123/111122223333/CloudTrail/": b"",
    }
    s3 = fill(endpoint, "trail", objects, versions=True)
    buckets = Buckets(places_of(["s3://trail/p/AWSLogs/"]), list_seconds=0.2, endpoint=endpoint)
    taken = Taken()

    async def run() -> Progress:
        async with Pulling(tmp_path, buckets, taken) as pulling:
            await until(lambda: bool(taken.arrivals) and len(pulling.progress.skipped) == 2)
            return pulling.progress

    assert asyncio.run(run()).skipped == {"digest": 1, "empty": 2}
    assert taken.data == [log]
    key = TRAIL.format("CloudTrail", "CloudTrail_eu-west-1_1.json.gz")
    version = s3.head_object(Bucket="trail", Key=key).get("VersionId")
    assert version is not None
    assert taken.arrivals[0].context["s3_version"] == version


def test_what_cannot_be_read_is_kept_as_a_failure_and_holds_nothing_up(
    endpoint: str, tmp_path: Path
) -> None:
    objects = {
        "cut.gz": gzip.compress(b'{"n":1}\n' * 2000)[:-20],
        "picture.png": b"\x89PNG\0\0\1\2\0\0" * 2000,
        "fine.json": b'{"n":2}',
    }
    fill(endpoint, "poison", objects)
    buckets = Buckets(places_of(["s3://poison"]), list_seconds=30, endpoint=endpoint)
    taken = Taken()

    async def run() -> None:
        work = Work(tmp_path / "s3.sqlite")
        work.add([Found("poison", "never.json", "0" * 32), Found("poison", "fine.json", "1" * 32)])
        work.close()
        async with Pulling(tmp_path, buckets, taken) as pulling:
            await until(lambda: len(taken.failures) == 4 and not any(pulling.work.waiting.values()))

    asyncio.run(run())
    assert taken.failures == ["binary file", "damaged compression", "object gone", "object gone"]
    assert b'{"n":2}' in taken.data


def test_while_the_queue_is_full_it_waits_and_a_restart_goes_on_inside_an_object(
    endpoint: str, tmp_path: Path
) -> None:
    lines = [b'{"n":%d,"pad":"%s"}' % (n, b"x" * 1000) for n in range(12_000)]
    fill(endpoint, "full", {"large.json.gz": gzip.compress(b"\n".join(lines), 1)})
    buckets = Buckets(places_of(["s3://full"]), list_seconds=30, endpoint=endpoint)
    taken = Taken()

    async def accept(arrivals: Sequence[Arrival]) -> None:
        if len(taken.arrivals) > 4000:
            raise Full("not now", 1)
        await taken(arrivals)

    async def first() -> None:
        async with Pulling(tmp_path, buckets, accept) as pulling:
            await until(lambda: pulling.progress.waiting)

    async def second() -> None:
        async with Pulling(tmp_path, buckets, taken) as pulling:
            await until(lambda: len(taken.arrivals) >= 12_000)
            await until(lambda: not any(pulling.work.waiting.values()))

    asyncio.run(first())
    assert 4000 < len(taken.arrivals) < 12_000
    asyncio.run(second())
    assert [arrival.data for arrival in taken.arrivals] == lines


def s3_notice(name: str, key: str, event: str = "ObjectCreated:Put", **more: str) -> str:
    thing = {"key": key, "size": 10, **more}
    record = {"eventSource": "aws:s3", "eventName": event, "eventTime": "2026-11-12T19:00:00.000Z"}
    return json.dumps({"Records": [{**record, "s3": {"bucket": {"name": name}, "object": thing}}]})


def test_notices_of_every_kind_lead_to_objects_and_leave_the_queue(
    endpoint: str, moto: str, tmp_path: Path
) -> None:
    names = ["a b.json", "b+ü.json", "c.json", "d.json", "e.json"]
    s3 = fill(endpoint, "noticed", {name: json.dumps({"k": name}).encode() for name in names})
    etag = s3.head_object(Bucket="noticed", Key="c.json")["ETag"].strip('"')
    sqs = client(moto, "sqs")
    queue = sqs.create_queue(QueueName="notices")["QueueUrl"]
    queue = f"{moto}/{queue.split('/', 3)[3]}"
    bridge = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-12T19:00:00Z",
        "detail": {"bucket": {"name": "noticed"}, "object": {"key": "c.json", "etag": etag}},
    }
    sns = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:x",
        "Message": s3_notice("noticed", "d.json"),
    }
    trail = {"s3Bucket": "noticed", "s3ObjectKey": ["e.json"]}
    bodies = [
        s3_notice("noticed", "a+b.json"),
        s3_notice("noticed", "b%2B%C3%BC.json"),
        json.dumps(bridge),
        json.dumps(bridge),
        json.dumps(sns),
        json.dumps({**sns, "Message": json.dumps(trail)}),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
        s3_notice("noticed", "gone.json", "ObjectRemoved:Delete"),
        s3_notice("secrets", "passwords.json"),
        "not json",
    ]
    for body in bodies:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    buckets = Buckets(places_of(["s3://noticed"]), (queue,), list_seconds=0, endpoint=endpoint)
    taken = Taken()

    def left() -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    async def run() -> None:
        async with Pulling(tmp_path, buckets, taken) as pulling:
            await until(lambda: len(taken.data) == 5 and len(taken.failures) == 2)
            await until(lambda: left() == 0)
            await until(lambda: not any(pulling.work.waiting.values()))
            # The same again, in another kind, is known.
            sqs.send_message(QueueUrl=queue, MessageBody=s3_notice("noticed", "c.json"))
            await until(lambda: left() == 0)
            await until(lambda: not any(pulling.work.waiting.values()))

    asyncio.run(run())
    assert taken.data == sorted(json.dumps({"k": name}).encode() for name in names)
    details = " ".join(arrival.failure[1] for arrival in taken.arrivals if arrival.failure)
    assert "no bucket of the settings has what it names: s3://secrets/passwords.json" in details
    assert "no JSON" in details


@given(
    st.text()
    | st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.sampled_from(["s3:ObjectCreated:Put", "aws.s3", "Object Created", "x"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Records",
                        "s3",
                        "bucket",
                        "object",
                        "key",
                        "name",
                        "eventName",
                        "eTag",
                        "Message",
                        "TopicArn",
                        "source",
                        "detail",
                        "detail-type",
                        "s3ObjectKey",
                        "s3Bucket",
                        "size",
                        "eventTime",
                        "time",
                        "versionId",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
    ).map(json.dumps)
)
def test_any_text_is_a_notice_or_said_to_be_none(body: str) -> None:
    found: list[Found] = []
    with contextlib.suppress(Unknown):
        found = read_notice(body)
    assert all(item.bucket and item.key for item in found)


def test_short_listings_begin_two_days_before_the_newest() -> None:
    key = "AWSLogs/o-1/1/CloudTrail/eu-west-1/2026/03/01/x.json.gz"
    assert day_of(key) == ("AWSLogs/o-1/1/CloudTrail/eu-west-1/", "2026/03/01")
    assert day_of("2026/03/01/x") == ("", "2026/03/01")
    assert day_of("a/b.json") is None
    assert list(starts({"p/": "2026/03/01", "q/": "9999/99/99"})) == [
        ("p/", "p/2026/02/27"),
        ("q/", "q/"),
    ]
    assert is_digest("AWSLogs/1/CloudTrail-Digest/eu-west-1/2026/03/01/x.json.gz")
    assert not is_digest("AWSLogs/1/CloudTrail/x/CloudTrail-Digest.json.gz")


def test_a_large_bucket_with_days_is_listed_shortly(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "AWSLogs/1/CloudTrail/eu-west-1"
    s3 = fill(
        endpoint, "days", {f"{place}/2026/11/{day:02}/x.json": b'{"d":1}' for day in range(1, 9)}
    )
    asked: list[str] = []

    class Counting:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def get_paginator(self, name: str) -> Any:
            paginator = self._inner.get_paginator(name)

            class Pages:
                def paginate(self, **arguments: Any) -> Any:
                    asked.append(arguments.get("StartAfter", ""))
                    return paginator.paginate(**arguments, PaginationConfig={"PageSize": 3})

            return Pages()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    inner = bucket._client
    monkeypatch.setattr(bucket, "_client", lambda buckets: Counting(inner(buckets)))
    buckets = Buckets(places_of(["s3://days"]), list_seconds=0.1, endpoint=endpoint)
    taken = Taken()

    async def run() -> None:
        async with Pulling(tmp_path, buckets, taken):
            await until(lambda: len(taken.arrivals) == 8 and len(asked) > 2)
            s3.put_object(Bucket="days", Key=f"{place}/2026/11/07/late.json", Body=b'{"late":1}')
            await until(lambda: len(taken.arrivals) == 9)

    asyncio.run(run())
    assert asked[:2] == ["", f"{place}/2026/11/06"]


def test_work_is_each_object_once_and_the_oldest_first(tmp_path: Path) -> None:
    work = Work(tmp_path / "w")
    one, two = Found("b", "one", "e1", "", 1, 20), Found("b", "two", "e2", "", 1, 10)
    assert work.add([one, two, one, one._replace(version="v")]) == (2, 0)
    first = work.take()
    assert first is not None
    assert first.found == two
    second = work.take()
    assert second is not None
    assert work.take() is None
    work.reached(two, 5, 1)
    work.give_back(two)
    again = work.take()
    assert again is not None
    assert (again.found, again.line, again.element) == (two, 5, 1)
    work.give_back(two, 100)
    assert work.take() is None
    work.finish(one, "e1")
    assert work.waiting == {"b": 1}
    work.close()
    work = Work(tmp_path / "w")
    assert work.add([one, two]) == (0, 0)
    assert work.add((), [one, Found("b", "digest", "e3")]) == (0, 1)
    work.close()


def test_what_is_not_in_listings_any_more_is_forgotten_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path / "w")
    shown, gone = Found("b", "shown", "e1"), Found("b", "gone", "e2")
    for found in (shown, gone):
        work.add([found])
        work.finish(found, found.etag)
    start_s, start = time.time(), time.monotonic()
    for day in range(1, 60):
        passed = day * 24 * 3600.0
        monkeypatch.setattr(time, "time", lambda passed=passed: start_s + passed)
        monkeypatch.setattr(time, "monotonic", lambda passed=passed: start + passed)
        assert work.add([shown]) == (0, 0)
        work.forget()
    monkeypatch.undo()
    assert work.is_read(shown)
    assert not work.is_read(gone)
    work.close()


def test_settings_that_are_mistakes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(settings: str) -> str:
        config = tmp_path / "settings.toml"
        config.write_text(f'state = "{tmp_path}"\n[s3]\n{settings}\n')
        assert main(["serve", "--config", str(config)]) == 2
        return capsys.readouterr().err

    assert "'logs' is no address of a bucket" in said('buckets = ["logs"]')
    assert "is no day, as 2026-11-01" in said('buckets = ["s3://b"]\nsince = "yesterday"')
    assert "needs queues where" in said('buckets = ["s3://b"]\nlist_seconds = 0')
    assert "needs the buckets" in said('queues = ["https://sqs.x"]')
    assert "no URL of a queue" in said('buckets = ["s3://b"]\nqueues = ["arn:aws:sqs:x"]')
    with pytest.raises(TrailhoundError, match=r"no address"):
        places_of(["s3:///x"])
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert "pip install 'trailhound[s3]'" in said('buckets = ["s3://b"]')


def _settings(endpoint: str, name: str, folder: Path, more: str = "", s3: str = "") -> str:
    return (
        f'{more}{once.rules(folder)}\n[s3]\nbuckets = ["s3://{name}/"]\nendpoint = "{endpoint}"\n'
        f"list_seconds = 0.5\n{s3}\n"
    )


def test_what_was_written_before_the_day_is_left_until_another_day_is_set(tmp_path: Path) -> None:
    work, progress = Work(tmp_path / "w"), Progress("s3")
    old = Found("b", "old.json", "e", "", 2, 5)
    write_down([old], Buckets((("b", ""),), since_ns=6), work, progress)
    assert work.take() is None
    write_down([old], Buckets((("b", ""),), since_ns=5), work, progress)
    assert work.take() is not None
    work.close()


def test_what_may_not_be_read_waits_and_holds_nothing_up(endpoint: str, tmp_path: Path) -> None:
    fill(endpoint, "refused", {"a.json": b"{}", "b.json": b'{"n":1}'})
    real = client(endpoint)

    class Refusing:
        """A store that refuses one object, as where its key of KMS is not ours."""

        def get_object(self, **arguments: str) -> Any:
            if arguments["Key"] == "a.json":
                answer = {"Error": {"Code": "AccessDenied", "Message": "no kms:Decrypt"}}
                raise ClientError(answer, "GetObject")  # type: ignore[arg-type]
            return real.get_object(**arguments)

    taken, progress = Taken(), Progress("s3")
    work = Work(tmp_path / "s3.sqlite")
    work.add([Found("refused", "a.json", modified_ns=1), Found("refused", "b.json", modified_ns=2)])

    async def run() -> None:
        reader = Reader(Refusing(), work, progress)
        task = asyncio.create_task(in_thread("reader", reader.run, taken))
        await until(lambda: work.waiting["refused"] == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert taken.data == [b'{"n":1}']
    assert progress.errors == 1
    assert work.take() is None  # not before half a minute
    work.close()


@pytest.mark.slow
def test_killed_while_it_reads_it_judges_every_record_once(
    endpoint: str, moto: str, tmp_path: Path
) -> None:
    s3 = fill(endpoint, "killed", {})
    sqs = client(moto, "sqs")
    queue = sqs.create_queue(QueueName="killed")["QueueUrl"]
    queue = f"{moto}/{queue.split('/', 3)[3]}"
    chance = random.Random(5)
    # Half is listed, half is noticed, some is both.
    serving = Serving(
        tmp_path, _settings(endpoint, "killed", tmp_path, "", f'queues = ["{queue}"]')
    )
    sent = 0

    def feed() -> None:
        nonlocal sent
        for number in range(20):
            count = chance.choice((1, 20, 300))
            body = b"\n".join(once.records(count, sent))
            key = f"AWSLogs/1/x/2026/11/{1 + number:02}/{sent}.log.gz"
            s3.put_object(Bucket="killed", Key=key, Body=gzip.compress(body))
            sqs.send_message(QueueUrl=queue, MessageBody=s3_notice("killed", key))
            sent += count

    once.killed_again_and_again(serving, 6, feed, seed=6)
    once.wait_for(serving, sent)
    once.each_once([serving], sent)


@pytest.mark.slow
def test_while_the_store_restarts_it_waits_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    with brokers.running(brokers.s3(folder)) as daemon:
        endpoint = f"http://{daemon.address}"
        s3 = fill(endpoint, "restart", {"1.log": b"\n".join(once.records(500))})
        serving = Serving(tmp_path, _settings(endpoint, "restart", tmp_path)).start()
        serving.wait()
        once.wait_found(serving, 500)
        daemon.stop(9)
        until_s = time.monotonic() + 60
        while b'trailhound_pull_connected{intake="s3"} 0' not in serving.get("/metrics"):
            assert time.monotonic() < until_s, serving.log
            time.sleep(0.1)
        daemon.start()
        s3.put_object(Bucket="restart", Key="2.log", Body=b"\n".join(once.records(500, 500)))
        once.wait_for(serving, 1000)
        once.each_once([serving], 1000)
        assert "Traceback" not in serving.log
        assert "testtest" not in serving.log


@pytest.mark.slow
def test_a_small_queue_holds_a_bucket_up_and_loses_nothing(endpoint: str, tmp_path: Path) -> None:
    records = once.records(6_000)
    parts = {f"{at}.log": b"\n".join(records[at : at + 2000]) for at in range(0, 6_000, 2000)}
    fill(endpoint, "narrow", parts)
    more = f"queue_bytes = {1024 * 1024}\n"
    serving = Serving(tmp_path, _settings(endpoint, "narrow", tmp_path, more)).start()
    once.wait_for(serving, len(records))
    once.each_once([serving], len(records))


@pytest.mark.slow
def test_an_object_of_a_gigabyte_is_streamed(endpoint: str, tmp_path: Path) -> None:
    line = b'{"n":1,"pad":"%s"}\n' % (b"y" * 9_980)

    class Gigabyte(io.RawIOBase):
        left = 110_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.left:
                return 0
            count = min(self.left, len(buffer) // len(line))
            data = line * count
            buffer[: len(data)] = data
            self.left -= count
            return len(data)

    s3 = fill(endpoint, "large", {})
    s3.upload_fileobj(io.BufferedReader(Gigabyte(), 1 << 20), "large", "large.json")
    assert s3.head_object(Bucket="large", Key="large.json")["ContentLength"] > 1024**3
    buckets = Buckets(places_of(["s3://large"]), list_seconds=30, endpoint=endpoint)
    count = 0

    async def accept(arrivals: Sequence[Arrival]) -> None:
        nonlocal count
        count += len(arrivals)

    async def run() -> None:
        async with Pulling(tmp_path, buckets, accept):
            await until(lambda: count == 110_000, 120)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asyncio.run(run())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert os.path.getsize(tmp_path / "s3.sqlite") < 1_000_000
