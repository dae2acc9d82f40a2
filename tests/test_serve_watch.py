"""The watch in a running `serve`: what arrived over days, read by the real detector."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from serving import Serving
from trailhound.engine.watch.contract import MINUTE_NS, SECOND_NS, Stage
from trailhound.intake.arrivals import Arrival
from trailhound.intake.queue import QueueWriter
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline.serve.sightings import sighting
from trailhound.pipeline.serve.watcher import Watcher, load_watch
from trailhound.sources.decode import Decoder

START = int(datetime(2026, 5, 4, tzinfo=UTC).timestamp())
DAY = 24 * 60


def audit_line(node: str, second: int, serial: int) -> bytes:
    return (
        f"node={node} type=USER_ACCT msg=audit({second}.000:{serial}): pid=7 uid=0 auid=1000 ses=1 "
        f'msg=\'op=PAM:accounting acct="root" exe="/usr/sbin/cron" hostname=? addr=? '
        f"terminal=cron res=success'"
    ).encode()


def request(second: int, number: int, resource: str) -> bytes:
    stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return json.dumps(
        {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": f"00000000-0000-4000-8000-{number:012d}",
            "stage": "ResponseComplete",
            "requestURI": f"/api/v1/{resource}",
            "verb": "list",
            "user": {"username": "system:kube-controller-manager"},
            "objectRef": {"resource": resource, "apiVersion": "v1"},
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": stamp,
            "stageTimestamp": stamp,
        }
    ).encode()


def story() -> Iterator[Arrival]:
    """Two nodes and a cluster for a day and more. Then node-2's auditd is stopped for an hour
    while its kernel goes on, and the audit policy of the cluster forgets secrets."""
    for minute in range(DAY + 90):
        second = START + 60 * minute
        now_ns = second * SECOND_NS
        for node in ("node-1", "node-2"):
            if node == "node-1" or not DAY + 10 <= minute < DAY + 70:
                yield Arrival(audit_line(node, second, minute + 7), "forward/10.0.0.9", now_ns)
        for number, resource in enumerate(("pods", "secrets")):
            if resource == "pods" or minute < DAY + 10:
                body = request(second, 2 * minute + number, resource)
                yield Arrival(body, "kubernetes/10.0.0.2", now_ns)


def test_what_went_amiss_over_days_is_found_once(tmp_path: Path) -> None:
    arrivals = list(story())
    queue = QueueWriter(tmp_path / "state" / "queue", 1 << 30)
    for _, minute in groupby(arrivals, lambda arrival: arrival.received_ns):
        future = queue.put(list(minute))
    future.result(30)
    queue.close()
    serving = Serving(tmp_path, "builtin = false").start()
    for _ in range(2):  # killed in the middle, it goes on where it was
        serving.wait_ready()
        time.sleep(0.5)
        serving.kill_detector()
    serving.wait_ready()
    assert serving.stop() == 0, serving.log
    found = [f for f in serving.findings() if f["rule"]["uid"].startswith("trailhound-watch")]
    told = [(f["rule"]["uid"].removeprefix("trailhound-watch-"), f["status"]) for f in found]
    assert sorted(told) == [
        ("kinds", "new"),
        ("serials", "new"),
        ("silence", "amended"),
        ("silence", "new"),
    ]
    by_rule = {f["rule"]["uid"].removeprefix("trailhound-watch-"): f for f in found}
    assert by_rule["silence"]["group"] == {"source": "auditd", "sender": "node-2"}
    assert by_rule["silence"]["device"] == "node-2"
    assert by_rule["serials"]["values"]["missing"] == "60"
    assert by_rule["kinds"]["values"] == {"missing": "secrets"}
    listed = json.loads(ran("senders", "--state", tmp_path / "state", "--kinds", "--json"))
    assert [(row["sender"], row["amiss"]) for row in listed if not row["kind"]] == [
        ("node-1", []),
        ("node-2", []),
        ("kubernetes/10.0.0.2", ["kinds"]),
    ]
    assert [row["amiss"] for row in listed if row["kind"] == "secrets"] == [["missing"]]
    text = ran("senders", "--state", tmp_path / "state")
    assert "k8s_audit kubernetes/10.0.0.2: kinds\n" in text
    assert "60 missing" in text
    assert " ago, 20" in text
    assert " UTC; usually " in text
    assert "Check first:" in by_rule["silence"]["rule"]["description"]


def test_what_the_watch_never_saw_is_no_gap(tmp_path: Path) -> None:
    def take(watcher: Watcher, number: int, serial: int) -> None:
        data = audit_line("web-1", START + serial, serial)
        items = [*(d := Decoder()).decode(RawRecord(data, Origin("x", number))), *d.flush()]
        events = [item for item in items if isinstance(item, Event)]
        sightings = [sighting(e, (START + serial) * SECOND_NS, repeat=False) for e in events]
        assert watcher.take(sightings, number + 1) == []

    def late(watcher: Watcher) -> list[str]:
        now_ns = (START + 900) * SECOND_NS
        return [
            f.rule.uid for minute in range(9) for f in watcher.tick(now_ns + minute * MINUTE_NS)
        ]

    for unseen, found in ((0, ["trailhound-watch-serials"]), (5, [])):
        path = tmp_path / f"{unseen}.sqlite"
        first = Watcher(path, 1)
        take(first, 1, 7)
        first.save(2)
        first.close()
        second = Watcher(path, 2 + unseen)
        take(second, 2 + unseen, 20)
        assert late(second) == found
        second.close()


NAMES = st.text(max_size=200) | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=9)


@settings(max_examples=30)
@given(NAMES, NAMES, NAMES, st.integers(0, 2**70), st.sampled_from(["", "1969", "2262", "x"]))
def test_nothing_in_an_event_keeps_the_watch_from_being_saved(
    name: str, other: str, peer: str, number: int, year: str
) -> None:
    event = json.loads(request(START, 1, "pods"))
    event["objectRef"]["resource"] = event["auditID"] = name
    event["annotations"] = {"x": other}
    event["requestReceivedTimestamp"] = f"{year or 2026}-05-01T00:00:00Z"
    event["stageTimestamp"] = f"{year or 2026}-05-01T00:00:01Z"
    event["stage"] = "RequestReceived" if number % 2 else "ResponseComplete"
    journal = {
        "__REALTIME_TIMESTAMP": "1778000000000000",
        "_TRANSPORT": "audit",
        "_AUDIT_TYPE_NAME": "USER_ACCT",
        "_AUDIT_ID": str(number),
        "_SOURCE_REALTIME_TIMESTAMP": "1778000000000000",
        "_HOSTNAME": other,
        "MESSAGE": "op=x",
    }
    trail = {
        "eventVersion": "1.08",
        "eventSource": name,
        "eventName": other,
        "awsRegion": other,
        "eventID": name,
        "eventTime": f"{year or 2026}-05-01T00:00:00Z",
        "userIdentity": {},
    }
    decoder = Decoder()
    items = [
        item
        for record in (event, journal, trail)
        for item in decoder.decode(
            RawRecord(
                json.dumps(record).encode(),
                Origin(f"http/{peer[:9].encode('ascii', 'ignore').decode()}", 1),
            )
        )
    ]
    events = [item for item in (*items, *decoder.flush()) if isinstance(item, Event)]
    with tempfile.TemporaryDirectory() as folder:
        watcher = Watcher(Path(folder) / "w.sqlite", 1)
        for minute in range(3):
            now_ns = START * SECOND_NS + minute * MINUTE_NS
            watcher.take([sighting(event, now_ns, repeat=False) for event in events], 2)
        watcher.save(2)
        watcher.close()
        assert load_watch(Path(folder) / "w.sqlite")[1] or not events


def ran(*arguments: object) -> str:
    command = [sys.executable, "-m", "trailhound.cli.main", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_events_are_seen_as_what_they_are() -> None:
    def seen(
        data: bytes, peer: str = "files//var/log/audit/audit.log.3"
    ) -> list[tuple[object, ...]]:
        decoder = Decoder()
        items = [*decoder.decode(RawRecord(data, Origin(peer, 1))), *decoder.flush()]
        sightings = [
            sighting(item, 5 * MINUTE_NS, repeat=False) for item in items if isinstance(item, Event)
        ]
        return [(s.source, s.sender, s.kind, s.serial, s.stage, s.request) for s in sightings]

    assert seen(audit_line("web-1", START, 12)) == [
        ("auditd", "web-1", "USER_ACCT", 12, Stage.WHOLE, "")
    ]
    ending = (
        b"type=DAEMON_END msg=audit(1778000000.000:4711): op=terminate auid=0 pid=1 res=success"
    )
    assert seen(ending) == [
        ("auditd", "files//var/log/audit/audit.log", "terminate", 0, Stage.WHOLE, "")
    ]
    event = request(START, 3, "secrets")
    name = "00000000-0000-4000-8000-000000000003"
    peer = "kubernetes/10.0.0.2"
    assert seen(event, peer) == [("k8s_audit", peer, "secrets", 0, Stage.ENDED, name)]
    # Of a topic or a folder of days any part may rest.
    assert seen(event, "kafka/audit/3")[0][1] == "kafka/audit"
    assert seen(event, "s3/b/AWSLogs/1/x/2026/11/12/1.gz")[0][1] == "s3/b/AWSLogs/1/x"
    begun = event.replace(b"ResponseComplete", b"RequestReceived")
    assert seen(begun, peer)[0][4] is Stage.BEGUN
