"""How `serve` is operated: reloaded, watched, logged, stopped, and sent too much of anything."""

import contextlib
import gzip
import http.client
import json
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import msgpack
from prometheus_client.parser import text_string_to_metric_families

from serving import Serving, event_list, free_port

PAIR = """\
title: A thing twice
id: 1f0a5a8e-5f2c-4d0a-9a57-6a3f0b1a2c01
status: test
logsource: {product: kubernetes, service: audit}
detection:
  selection: {verb: delete, stage: ResponseComplete}
  condition: selection
level: informational
name: a_thing
---
title: Twice within an hour
id: 1f0a5a8e-5f2c-4d0a-9a57-6a3f0b1a2c02
status: test
correlation:
  type: event_count
  rules: [a_thing]
  group-by: [user.username]
  timespan: 1h
  condition: {gte: 4}
level: high
"""
OTHER = PAIR.partition("---")[0].replace("A thing twice", "Another rule").replace("2c01", "2c03")
OTHER = OTHER.replace("name: a_thing\n", "").replace("verb: delete", "verb: create")


def event(number: int, verb: str = "delete") -> bytes:
    stamp = f"2026-05-01T10:{number // 60 % 60:02d}:{number % 60:02d}.000000Z"
    return json.dumps(
        {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": f"7d1b3f52-0000-4000-8000-{number:012d}",
            "stage": "ResponseComplete",
            "requestURI": "/api/v1/namespaces/a/pods/b",
            "verb": verb,
            "user": {"username": "alice"},
            "objectRef": {"resource": "pods", "namespace": "a", "name": "b"},
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": stamp,
            "stageTimestamp": stamp,
        }
    ).encode()


def test_rules_are_read_anew_and_windows_go_on(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "pair.yml").write_text(PAIR)
    serving = Serving(tmp_path, f'rules = ["{rules}"]\nbuiltin = false').start()
    serving.wait_ready()
    serving.post("/kubernetes/audit", event_list([event(1), event(2)]))
    (rules / "other.yml").write_text(OTHER)
    serving.send_signal(signal.SIGHUP)
    serving.wait_log("3 rules; reading from record")
    serving.post("/kubernetes/audit", event_list([event(3), event(4), event(5, "create")]))
    # Rules that have gone are no reason to end: those before them stay.
    rules.rename(tmp_path / "away")
    serving.send_signal(signal.SIGHUP)
    serving.wait_log("the rules before it stay")
    serving.post("/kubernetes/audit", event_list([event(6, "create")]))
    assert serving.stop() == 0
    titles = [finding["rule"]["title"] for finding in serving.findings()]
    assert titles.count("Twice within an hour") == 1
    assert titles.count("Another rule") == 2
    assert "the detector ended" not in serving.log


def test_logs_are_one_object_a_line(tmp_path: Path) -> None:
    port = free_port()
    settings = f'log_format = "json"\n[forward]\nlisten = "127.0.0.1:{port}"\nshared_key = "hush"'
    serving = Serving(tmp_path, settings).start()
    serving.wait_ready()
    with socket.create_connection(("127.0.0.1", port), 10) as sender:
        sender.sendall(msgpack.packb(["PING", "x\n\x1b[31m", "s", "d", "u", "p"]))
        while sender.recv(4096):
            pass
    with socket.create_connection(("127.0.0.1", serving.port), 10) as sender:
        sender.sendall(b"GET / HTTP/1.1\r\nX: \0\r\n\r\n")
        assert sender.recv(4096).startswith(b"HTTP/1.0 400")
    assert serving.stop() == 0
    lines = [json.loads(line) for line in serving.log.splitlines()]
    assert {line["process"] for line in lines} <= {"serve", "detector"}
    assert all({"time", "level", "process", "logger", "message"} <= line.keys() for line in lines)
    said = [line["message"] for line in lines]
    assert f"forward on 127.0.0.1:{port}" in said
    assert any("shared_key mismatch" in message for message in said)
    assert any("it is no HTTP" in message for message in said)
    assert not any("exception" in line for line in lines)
    assert "hush" not in serving.log


def test_prometheus_can_read_the_metrics(tmp_path: Path) -> None:
    serving = Serving(tmp_path).start()
    serving.wait_ready()
    serving.post("/kubernetes/audit", event_list([event(n) for n in range(10)]))
    serving.post("/ingest", b'{"no":"source"}\n')
    until = time.monotonic() + 20
    while b"trailhound_events_total{" not in serving.get("/metrics"):
        assert time.monotonic() < until
        time.sleep(0.05)
    answer = serving.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(answer.body.decode())}
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["trailhound_events_total", ("source", "k8s_audit")] == 10
    assert samples["trailhound_senders", ("source", "k8s_audit")] == 1
    assert samples["trailhound_refused_total",] == 0
    assert all(family.documentation != name for name, family in families.items())
    assert {f.type for f in families.values()} == {"counter", "gauge"}
    assert serving.stop() == 0


def test_a_service_manager_is_told(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
        serving = Serving(tmp_path, environment=environment).start()
        assert manager.recv(100) == b"READY=1"
        assert serving.ask("GET", "/healthz").status == 200
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert serving.stop() == 0
        last = b""
        while last != b"STOPPING=1":
            last = manager.recv(100)


def test_what_was_acknowledged_before_a_stop_is_judged(tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text(PAIR.partition("---")[0])
    serving = Serving(tmp_path, f'rules = ["{tmp_path / "rule.yml"}"]\nbuiltin = false').start()
    serving.wait_ready()
    taken: list[int] = []

    def send() -> None:
        for number in range(3000):
            try:
                answer = serving.post("/kubernetes/audit", event_list([event(number)]))
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                taken.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    while len(taken) < 50:
        time.sleep(0.01)
    assert serving.stop() == 0
    sender.join()
    found = {f["request_uid"] for f in serving.findings()}
    assert {f"7d1b3f52-0000-4000-8000-{number:012d}" for number in taken} <= found
    assert len(taken) < 3000


def memory_mb(pid: int) -> int:
    """Most memory that a process and its children have had."""
    processes = [pid]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    processes += [int(child) for child in children]
    peaks = [
        int(line.split()[1]) // 1024
        for process in processes
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return sum(peaks)


def test_too_much_of_anything_is_refused_and_costs_little(tmp_path: Path) -> None:
    forward, syslog = free_port(), free_port()
    settings = (
        f'builtin = false\n[forward]\nlisten = "127.0.0.1:{forward}"\n'
        f'[syslog]\ntcp = "127.0.0.1:{syslog}"\n'
    )
    serving = Serving(tmp_path, settings).start()
    serving.wait_ready()
    before = memory_mb(serving.pid)
    bomb = gzip.compress(bytes((1 << 27) + 1), 1)
    packed = {"Content-Encoding": "gzip"}
    assert serving.post("/ingest", bomb, packed).status == 413
    assert (
        serving.post("/_bulk", gzip.compress(bomb, 1), {"Content-Encoding": "gzip, gzip"}).status
        == 413
    )
    assert serving.post("/ingest", b"x", {"Content-Length": str(1 << 40)}).status == 413
    for path in (
        "/ingest",
        "/kubernetes/audit",
        "/services/collector",
        "/_bulk",
        "/v1/logs",
        "/falco",
    ):
        deep = serving.post(
            path, b'{"a":' * 100_000 + b"[" * 100_000, {"Content-Type": "application/json"}
        )
        assert deep.status in (200, 400, 415), path
    many = b"\xdd" + struct.pack(">I", 0xFFFFFFFF)
    for wire in (b"\x91" * 200_000, many, b"\xdb" + struct.pack(">I", 0xFFFFFFFF), b"\xc1"):
        with socket.create_connection(("127.0.0.1", forward), 10) as sender:
            sender.sendall(wire)
            sender.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                assert sender.recv(100) == b""
    with socket.create_connection(("127.0.0.1", syslog), 10) as sender:
        sender.sendall(b"<13>" + b"x" * 3_000_000 + b"\n999999999999 <13>y")
    assert serving.post("/kubernetes/audit", event_list([event(1)])).status == 200
    assert memory_mb(serving.pid) - before < 500
    assert serving.stop() == 0
    assert "Traceback" not in serving.log
    assert "the detector ended" not in serving.log
