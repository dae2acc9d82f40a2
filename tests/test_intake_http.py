"""What arrives over HTTP, sent by clients that others wrote, and by published examples."""

import asyncio
import base64
import bz2
import contextlib
import gzip
import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import aiohttp
import elasticsearch
import elasticsearch.helpers
import msgspec
import pytest
import zstandard
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from trailhound.intake.arrivals import Arrival, Full, beside
from trailhound.intake.http import body, hooks, json_lines, kubernetes, otlp, server, splunk
from trailhound.intake.http import elasticsearch as elasticsearch_route
from trailhound.intake.http.access import Access, Grant, load_access, new_token
from trailhound.intake.queue import QueueWriter
from trailhound.model.errors import TrailhoundError

EVENT = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","verb":"get"}'
LIST_HEAD = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['


class Taken:
    def __init__(self, full: Full | None = None) -> None:
        self.arrivals: list[Arrival] = []
        self.full = full

    async def __call__(self, arrivals: Sequence[Arrival]) -> None:
        if self.full is not None:
            raise self.full
        self.arrivals += arrivals

    @property
    def data(self) -> list[bytes]:
        return [arrival.data for arrival in self.arrivals]


@contextlib.asynccontextmanager
async def serving(taken: Taken, access: Access = Access(())) -> AsyncIterator[str]:  # noqa: B008
    routes = (*server.INTAKE_ROUTES, *hooks.okta("hush"), *hooks.github("hush"))
    runner = await server.start(server.application(taken, access, routes), "127.0.0.1", 0, None)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def exchange(
    path: str,
    data: bytes = b"",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    taken: Taken | None = None,
    access: Access | None = None,
) -> tuple[int, bytes, Taken, dict[str, str]]:
    held = taken or Taken()

    async def run() -> tuple[int, bytes, dict[str, str]]:
        async with (
            serving(held, access or Access(())) as url,
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(method, url + path, data=data, headers=headers) as answer,
        ):
            return answer.status, await answer.read(), dict(answer.headers)

    status, said, answered = asyncio.run(run())
    return status, said, held, answered


def in_thread(call: Callable[[str], Any], taken: Taken | None = None) -> Taken:
    """Run a client that blocks against a server."""
    held = taken or Taken()

    async def run() -> None:
        async with serving(held) as url:
            await asyncio.to_thread(call, url)

    asyncio.run(run())
    return held


# --- bodies ------------------------------------------------------------------------------

PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("encoding", PACK)
def test_bodies_may_be_compressed(encoding: str) -> None:
    packed = PACK[encoding](EVENT)
    status, _, taken, _ = exchange("/ingest", packed, {"Content-Encoding": encoding})
    assert (status, taken.data) == (200, [EVENT])


def test_deflate_without_a_header_and_gzip_in_members() -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = raw.compress(EVENT) + raw.flush()
    assert exchange("/ingest", packed, {"Content-Encoding": "deflate"})[2].data == [EVENT]
    packed = gzip.compress(EVENT[:20]) + gzip.compress(EVENT[20:])
    assert exchange("/ingest", packed, {"Content-Encoding": "gzip"})[2].data == [EVENT]


def test_a_file_may_be_sent_as_it_lies_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for pack in (gzip.compress, PACK["zstd"], bz2.compress):
        status, _, taken, _ = exchange("/ingest", pack(EVENT + b"\n" + EVENT))
        assert (status, taken.data) == (200, [EVENT, EVENT])
    assert exchange("/ingest", gzip.compress(EVENT * 50)[:-20])[0] == 400
    monkeypatch.setattr(body, "PLAIN_BYTES", 3_000_000)
    assert exchange("/ingest", gzip.compress(b"\0" * 30_000_000))[0] == 413


@pytest.mark.parametrize("encoding", PACK)
def test_what_swells_is_refused(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PLAIN_BYTES", 3_000_000)
    packed = PACK[encoding](b"\0" * 30_000_000)
    status, _, taken, _ = exchange("/ingest", packed, {"Content-Encoding": encoding})
    assert (status, taken.data) == (413, [])


def test_a_bomb_is_refused_long_before_the_limit() -> None:
    whole = (EVENT + b"\n") * 100_000  # what repeats itself is no bomb below 8 MB
    few = whole[: 4_000_000 // (len(EVENT) + 1) * (len(EVENT) + 1)]
    headers = {"Content-Encoding": "gzip"}
    status, _, taken, _ = exchange("/ingest", gzip.compress(few), headers)
    assert (status, set(taken.data)) == (200, {EVENT})
    bomb = gzip.compress(b"\0" * 60_000_000)
    assert len(bomb) < 100_000
    status, said, taken, _ = exchange("/ingest", bomb, headers)
    assert (status, taken.data) == (413, [])
    assert b"60000000" not in said


LOG = b'{"body":{"stringValue":"x"}}'


@pytest.mark.parametrize(
    ("path", "head", "record", "between", "end"),
    [
        ("/ingest", b"", b"1", b"\n", b""),
        ("/ingest", b"[", b"1", b",", b"]"),
        ("/kubernetes/audit", LIST_HEAD, EVENT, b",", b"]}"),
        ("/_bulk", b"", b'{"index":{}}\n{}', b"\n", b"\n"),
        ("/services/collector/event", b"", b'{"event":1}', b"", b""),
        ("/services/collector/raw", b"", b"1", b"\n", b""),
        ("/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[', LOG, b",", b"]}]}]}"),
    ],
)
def test_a_request_has_so_many_records_at_most(
    path: str, head: bytes, record: bytes, between: bytes, end: bytes, monkeypatch
) -> None:
    monkeypatch.setattr(body, "RECORDS_AT_ONCE", 20)
    status, _, taken, _ = exchange(path, head + between.join([record] * 10) + end)
    assert (status, len(taken.data)) == (200, 10)
    status, said, taken, _ = exchange(path, head + between.join([record] * 22) + end)
    assert (status, taken.data) == (413, [])
    assert b"more than 20 records" in said


@pytest.mark.parametrize(
    ("path", "head", "end"),
    [
        ("/ingest", b"[", b"]"),
        ("/kubernetes/audit", LIST_HEAD, b"]}"),
        ("/ingest", b'{"kind":"EventList","items":[', b"]}"),
    ],
)
def test_values_that_say_nothing_are_not_taken_apart(path: str, head: bytes, end: bytes) -> None:
    packed = gzip.compress(head + b"1," * 2_000_000 + b"1" + end)
    tracemalloc.start()
    status, _, taken, _ = exchange(path, packed, {"Content-Encoding": "gzip"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (status, taken.data) == (413, [])
    assert peak < 40_000_000


@pytest.mark.parametrize(
    ("path", "packed", "headers"),
    [
        ("/ingest", gzip.compress(EVENT), {"Content-Encoding": "gzip"}),
        ("/ingest", gzip.compress(EVENT), {}),
        ("/v1/logs", gzip.compress(b'{"resourceLogs":[]}'), {"Content-Encoding": "gzip"}),
        ("/services/collector/raw", zlib.compress(EVENT), {"Content-Encoding": "deflate"}),
    ],
    ids=["gzip", "gzip, not said", "OTLP", "deflate"],  # bytes of gzip have the time in them
)
def test_others_are_answered_while_a_body_is_decompressed(
    path: str, packed: bytes, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, answered = threading.Event(), threading.Event()
    waited: list[bool] = []

    def slow(parts: Any, limit: int) -> bytes:
        begun.set()
        waited.append(answered.wait(20))
        return plain(parts, limit)

    plain = body._plain
    monkeypatch.setattr(body, "_plain", slow)

    def ask(url: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(
                lambda: urlopen(Request(url + path, packed, headers), timeout=30).status
            )
            assert begun.wait(20)
            assert urlopen(url + "/openapi.json", timeout=20).status == 200
            answered.set()
            assert sending.result() in (200, 201)

    in_thread(ask)
    assert waited == [True]


def test_few_bodies_are_decompressed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = [0]
    most: list[int] = [0]
    lock = threading.Lock()

    def counted(parts: Any, limit: int) -> bytes:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        result = plain(parts, limit)
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return result

    plain = body._plain
    monkeypatch.setattr(body, "_plain", counted)
    packed = gzip.compress(EVENT)

    def ask(url: str) -> None:
        with ThreadPoolExecutor(20) as pool:
            asked = [
                pool.submit(urlopen, Request(f"{url}/ingest", packed, {"Content-Encoding": "gzip"}))
                for _ in range(40)
            ]
            assert {one.result().status for one in asked} == {200}

    taken = in_thread(ask)
    assert len(taken.data) == 40
    assert 0 < most[0] <= body.BODIES_AT_ONCE


@pytest.mark.parametrize("encoding", [*PACK, "br"])
def test_what_is_not_what_it_says_is_refused(encoding: str) -> None:
    for packed in (b"no such thing", PACK.get(encoding, gzip.compress)(EVENT * 50)[:-20]):
        status, said, taken, _ = exchange("/ingest", packed, {"Content-Encoding": encoding})
        assert status in (400, 415), said
        assert taken.data == []


# --- who may -----------------------------------------------------------------------------


def test_only_those_with_a_token_may(tmp_path: Path) -> None:
    token, digest = new_token()
    file = tmp_path / "access.toml"
    file.write_text(
        f'[[grant]]\nname = "cluster"\nroles = ["ingest"]\nsha256 = "{digest}"\n'
        f'[[grant]]\nname = "eyes"\nroles = ["read"]\nsha256 = "{"0" * 64}"\n'
    )
    access = load_access(file)
    for headers, wanted in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {token}"}, 200),
        ({"Authorization": f"Splunk {token}"}, 200),
        ({"Authorization": "Basic " + base64.b64encode(f"any:{token}".encode()).decode()}, 200),
        ({"Authorization": "Basic !!"}, 401),
    ):
        assert exchange("/ingest", EVENT, headers, access=access)[0] == wanted, headers
    reader = Access((Grant("eyes", ("read",), digest),))
    bearer = {"Authorization": f"Bearer {token}"}
    assert exchange("/ingest", EVENT, bearer, access=reader)[0] == 403


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[grant]]\nname="x"\nroles=["ingest"]\n', "either sha256 or certificate"),
        ('[[grant]]\nname="x"\nroles=["root"]\nsha256="1"\n', "roles"),
        ('[[grant]]\nname="x"\ntypo=1\n', "typo"),
        ("nonsense", "access file"),
    ],
)
def test_access_files_with_mistakes_are_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "access.toml"
    file.write_text(text)
    with pytest.raises(TrailhoundError, match=said):
        load_access(file)


# --- Kubernetes --------------------------------------------------------------------------


def test_a_list_of_events_comes_apart_as_it_was_written() -> None:
    wire = LIST_HEAD + EVENT + b"," + EVENT.replace(b'"1"', b'"2"') + b"]}\n"
    status, said, taken, _ = exchange("/kubernetes/audit", wire)
    assert (status, said) == (200, b"")
    assert taken.data == [EVENT, EVENT.replace(b'"1"', b'"2"')]
    assert taken.arrivals[0].peer == "kubernetes/127.0.0.1"


@pytest.mark.parametrize(
    "wire",
    [
        b'{"items":[' + EVENT + b'],"items":[]}',
        LIST_HEAD + EVENT + b'],"items":[]}',
        LIST_HEAD + EVENT,
        LIST_HEAD + b" " + EVENT + b"]}",
        b"no json",
    ],
)
def test_a_list_in_another_spelling_is_left_whole(wire: bytes) -> None:
    assert exchange("/kubernetes/audit", wire)[2].data == [wire]


@given(st.lists(st.sampled_from([EVENT, b"{}", b'{"a":"]}"}', b'{"items":[1]}']), max_size=4))
def test_events_and_commas_are_all_there_is(events: list[bytes]) -> None:
    assert kubernetes.events_of(LIST_HEAD + b",".join(events) + b"]}") == events


def test_a_full_queue_is_a_429_with_the_time_to_wait() -> None:
    status, said, _, headers = exchange(
        "/kubernetes/audit", LIST_HEAD + EVENT + b"]}", taken=Taken(Full("no room", 7))
    )
    assert (status, headers["Retry-After"]) == (429, "7")
    assert b"no room" in said


# --- JSON --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "records"),
    [
        (b'{"a":1}', [b'{"a":1}']),
        (b'{"a":1}\n\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'[{"a": 1}, {"b":2}]', [b'{"a": 1}', b'{"b":2}']),
        (b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}']),
        (b"Nov 12 sshd\nNov 13 sshd\n", [b"Nov 12 sshd", b"Nov 13 sshd"]),
        (b"[broken", [b"[broken"]),
        (b"  \n", []),
    ],
)
def test_json_in_every_arrangement(wire: bytes, records: list[bytes]) -> None:
    assert json_lines.records_of(wire) == records


# --- Splunk ------------------------------------------------------------------------------


def test_events_one_after_another_with_what_comes_beside() -> None:
    wire = (
        b'{"event": {"a" : 1e2}, "host":"h", "fields":{"k":"v"}, "time": 1763000000.123}'
        b'{"event": "Accepted password for root", "sourcetype":"linux_secure"}\n'
    )
    headers = {"X-Splunk-Request-Channel": "11111111-1111-1111-1111-111111111111"}
    status, said, taken, _ = exchange("/services/collector/event", wire, headers)
    assert status == 200
    assert json.loads(said) | {"ackId": 0} == {"text": "Success", "code": 0, "ackId": 0}
    assert taken.data == [b'{"a" : 1e2}', b"Accepted password for root"]
    assert taken.arrivals[0].context == {
        "hostname": "h", "fields.k": "v", "time": "1763000000.123",
    }  # fmt: skip
    assert taken.arrivals[0].position != taken.arrivals[1].position


def test_raw_lines_and_acknowledgments() -> None:
    query = "?channel=c1&host=web1&sourcetype=linux_secure"
    status, said, taken, _ = exchange("/services/collector/raw" + query, b"one\r\ntwo\n")
    assert (status, taken.data) == (200, [b"one", b"two"])
    assert taken.arrivals[0].context == {"hostname": "web1", "sourcetype": "linux_secure"}
    number = json.loads(said)["ackId"]
    wire = json.dumps({"acks": [number, number + 1]}).encode()
    _, said, _, _ = exchange("/services/collector/ack?channel=c1", wire)
    assert json.loads(said) == {"acks": {str(number): True, str(number + 1): False}}
    assert exchange("/services/collector/ack", wire)[0] == 400


@pytest.mark.parametrize(
    ("wire", "code", "number"),
    [
        (b"", 5, None),
        (b'{"event":"a"}{"event":', 6, 1),
        (b'{"host":"x"}', 12, 0),
        (b'{"event":"a"}{"event":""}', 13, 1),
        (b"\xff", 6, 0),
        (b'{"event":' + b"[" * 100_000, 6, 0),
    ],
)
def test_a_body_with_a_mistake_is_refused_whole(wire: bytes, code: int, number: Any) -> None:
    status, said, taken, _ = exchange("/services/collector", wire)
    answer = json.loads(said)
    assert (status, answer["code"], answer.get("invalid-event-number")) == (400, code, number)
    assert taken.data == []


def test_a_full_queue_is_busy_for_splunk_senders() -> None:
    wire = b'{"event":"a"}'
    status, said, _, _ = exchange("/services/collector", wire, taken=Taken(Full("x")))
    assert (status, json.loads(said)["code"]) == (503, 9)


@given(st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
def test_no_collector_body_raises(wire: bytes) -> None:
    with contextlib.suppress(splunk._Refused):
        splunk.events_of(wire)


# --- Elasticsearch -----------------------------------------------------------------------


def test_the_official_elasticsearch_client_is_understood() -> None:
    documents = [{"n": n, "deep": {"text": "ä\n"}} for n in range(250)]

    def send(url: str) -> None:
        with elasticsearch.Elasticsearch(url) as client:
            assert client.info()["version"]["number"].startswith("8.")
            actions = [{"_index": "logs-audit", "_id": d["n"], **d} for d in documents]
            assert elasticsearch.helpers.bulk(client, actions, chunk_size=100) == (250, [])
            assert client.index(index="logs-audit", document={"n": -1})["result"] == "created"

    taken = in_thread(send)
    found = [json.loads(data) for data in taken.data]
    assert found == [*documents, {"n": -1}]
    assert taken.arrivals[3].position == "es:logs-audit/3#0"
    assert taken.arrivals[3].context == {"index": "logs-audit"}


def test_what_filebeat_sends_is_understood() -> None:
    # As libbeat's elasticsearch output writes it: create, into a data stream, no id.
    wire = b'{"create":{"_index":"filebeat-8.17.0"}}\n' + EVENT + b"\n"
    wire += b'{"create":{"_index":"filebeat-8.17.0"}}\n{"broken\n'
    wire += b'{"delete":{"_index":"x","_id":"1"}}\n'
    status, said, taken, headers = exchange("/_bulk", wire)
    answer = json.loads(said)
    assert status == 200
    assert headers["X-Elastic-Product"] == "Elasticsearch"
    assert answer["errors"] is True
    kinds = [next(iter(item.values()))["status"] for item in answer["items"]]
    assert kinds == [201, 400, 400]
    assert taken.data == [EVENT]


LINES = st.sampled_from(
    [b'{"index":{"_index":"a","_id":"1"}}', b'{"create":{}}', b'{"delete":{"_id":2}}', b"{}", b"",
     b'{"update":{"_index":{"a":1}}}', b'{"index":1}', b'{"index":{},"create":{}}', b"[]", EVENT]
) | st.binary(max_size=20)  # fmt: skip


@given(st.lists(LINES, max_size=8).map(b"\n".join))
def test_no_bulk_body_raises_or_loses_a_document(wire: bytes) -> None:
    with contextlib.suppress(web.HTTPBadRequest):
        items = elasticsearch_route.items_of(wire, "i")
        documents = [document for *_, document in items if document is not None]
        actions = len(items)
        assert actions + len(documents) == len(
            [line for line in wire.split(b"\n") if line.strip(b"\r")]
        )
        for action, _, _, document in items:
            elasticsearch_route._refused(action, document)


def _holding(key: str, items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=3).map(lambda values: {key: {"values": values}})


VALUES = st.recursive(
    st.sampled_from([{"stringValue": "a"}, {"intValue": "7"}, {"intValue": 1.5}, {"boolValue": 1},
                     {"doubleValue": "x"}, {"bytesValue": "YQ"}, {"intValue": "9" * 5000},
                     {"doubleValue": 1e308}, {}, None, 3, "text", []]),
    lambda inner: _holding("arrayValue", inner)
    | _holding("kvlistValue", inner.map(lambda value: {"key": "k", "value": value})),
    max_leaves=6,
)  # fmt: skip


@given(
    st.binary(max_size=80),
    VALUES,
    st.sampled_from([0, "1778000000000000000", -1, "x", None, 1e19, True, "9" * 5000]),
)
def test_no_export_raises_anything_but_malformed(wire: bytes, value: Any, moment: Any) -> None:
    record = {"timeUnixNano": moment, "body": value, "attributes": [{"key": "k", "value": value}]}
    export = {"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": [record]}]}]}
    for sent, protobuf in ((wire, True), (wire, False), (json.dumps(export).encode(), False)):
        with contextlib.suppress(otlp._Malformed):
            for data, beside in otlp.records_of(sent, protobuf=protobuf):
                assert isinstance(data, bytes)
                assert all(isinstance(text, str) for text in beside.values())


def test_a_bulk_body_without_actions_is_refused() -> None:
    status, said, taken, _ = exchange("/logs/_bulk", EVENT + b"\n")
    assert (status, taken.data) == (400, [])
    assert b"Malformed action/metadata line [1]" in said


# --- OpenTelemetry -----------------------------------------------------------------------


def test_the_official_opentelemetry_exporter_is_understood() -> None:
    logs = pytest.importorskip("opentelemetry.sdk._logs")
    export = pytest.importorskip("opentelemetry.sdk._logs.export")
    exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.http._log_exporter")
    resources = pytest.importorskip("opentelemetry.sdk.resources")
    api = pytest.importorskip("opentelemetry._logs")
    bodies: list[Any] = ["a line", {"verb": "get", "objectRef": {"name": "x"}, "list": [1, 2.5]}]

    def send(url: str) -> None:
        resource = resources.Resource.create({"host.name": "node-1"})
        provider = logs.LoggerProvider(resource=resource)
        exporter = exporters.OTLPLogExporter(endpoint=f"{url}/v1/logs")
        provider.add_log_record_processor(export.SimpleLogRecordProcessor(exporter))
        for said in bodies:
            record = api.LogRecord(timestamp=1763000000_000000005, body=said, attributes={"k": "v"})
            provider.get_logger("test").emit(record)
        provider.shutdown()

    taken = in_thread(send)
    assert taken.data[0] == b"a line"
    assert json.loads(taken.data[1]) == bodies[1]
    beside = taken.arrivals[0].context
    assert beside["hostname"] == "node-1"
    assert beside["attributes.k"] == "v"
    assert beside["timestamp"] == "2025-11-13T02:13:20.000000005Z"


def test_otlp_as_json_is_understood_and_mistakes_are_told() -> None:
    record = {"timeUnixNano": "1763000000000000000", "body": {"stringValue": "hello"}}
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record, {}]}]}]}
    status, said, taken, _ = exchange("/v1/logs", json.dumps(request).encode())
    assert (status, said, taken.data) == (200, b"{}", [b"hello", b"{}"])
    for wire in (b"[]", b"{", b'{"resourceLogs":5}', b'{"resourceLogs":[{"scopeLogs":[1]}]}'):
        assert exchange("/v1/logs", wire)[0] == 400
    headers = {"Content-Type": otlp.PROTOBUF}
    assert exchange("/v1/logs", b"\xff\xff\xff", headers)[0] == 400


# --- hooks -------------------------------------------------------------------------------


def test_okta_verifies_once_and_then_shows_its_secret() -> None:
    headers = {"X-Okta-Verification-Challenge": "abc"}
    _, said, _, _ = exchange("/hooks/okta", headers=headers, method="GET")
    assert json.loads(said) == {"verification": "abc"}
    wire = b'{"eventType":"com.okta.event_hook","data":{"events":[{"uuid":"1"},{"uuid":"2"}]}}'
    assert exchange("/hooks/okta", wire)[0] == 401
    status, _, taken, _ = exchange("/hooks/okta", wire, {"Authorization": "hush"})
    assert (status, taken.data) == (204, [b'{"uuid":"1"}', b'{"uuid":"2"}'])


def test_github_signs_what_it_delivers() -> None:
    wire = b'{"action":"created"}'
    # The example of GitHub's documentation, "Testing the webhook payload validation".
    example = hmac.new(b"It's a Secret to Everybody", b"Hello, World!", hashlib.sha256).hexdigest()
    assert example == "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    signature = "sha256=" + hmac.new(b"hush", wire, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Event": "member",
               "X-GitHub-Delivery": "d1"}  # fmt: skip
    status, _, taken, _ = exchange("/hooks/github", wire, headers)
    assert (status, taken.data) == (204, [wire])
    assert taken.arrivals[0].context["github_event"] == "member"
    assert taken.arrivals[0].position == "delivery:d1#0"
    assert exchange("/hooks/github", wire + b" ", headers)[0] == 401


def test_falco_posts_alerts() -> None:
    assert exchange("/falco", b'{"rule":"x"}')[2].data == [b'{"rule":"x"}']


# --- the whole ---------------------------------------------------------------------------


def test_every_route_is_described() -> None:
    _, said, _, _ = exchange("/openapi.json", method="GET")
    described = json.loads(said)["paths"]
    for route in server.INTAKE_ROUTES:
        assert route.method.lower() in described[route.path]
        assert described[route.path][route.method.lower()]["summary"]


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_is_not_described(tmp_path: Path) -> None:
    def run(url: str) -> None:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json",
            "--checks", "not_a_server_error,status_code_conformance", "--max-examples", "25",
            "--suppress-health-check", "all", "--seed", "1",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

    in_thread(run)


def test_half_a_character_beside_an_event_does_not_keep_a_batch_out(tmp_path: Path) -> None:
    batch = (
        rb'{"event":"a","host":"\ud800","fields":{"\udc00x":"\udfff"}}{"event":"b","host":"\u00e9"}'
    )
    status, _, taken, _ = exchange("/services/collector/event", batch)
    assert (status, taken.data) == (200, [b"a", b"b"])
    assert taken.arrivals[0].context == {"hostname": "?", "fields.?x": "?"}
    assert taken.arrivals[1].context == {"hostname": "é"}
    queue = QueueWriter(tmp_path, 1 << 20, 1 << 17)
    try:
        queue.put(taken.arrivals).result(20)
    finally:
        queue.close()


@given(
    st.dictionaries(
        st.text(max_size=9), st.text(st.characters(codec=None), max_size=9), max_size=70
    )
)
def test_what_comes_beside_can_be_queued(context: dict[str, str]) -> None:
    msgspec.msgpack.encode(beside(context))


def test_what_comes_beside_records_does_not_make_each_of_them_large() -> None:
    many = {str(number): "x" * 5000 for number in range(100)}
    found = beside(many)
    assert len(found) == 65
    assert found["left_out"] == "36"
    assert found["0"] == "x" * 1024 + "…"
    assert beside({"hostname": "a"}) == {"hostname": "a"}
