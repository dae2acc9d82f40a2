"""What `trailhound serve` takes, in multiples of `orjson.loads`: `python -m benchmarks.serve`.

A real server with the built-in rules, its state on the disk, is sent Kubernetes events over one
intake after the other, and timed until all of them are judged, sealed and stored. Beside it
stands `orjson.loads` of the same records in the same run.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgpack
import orjson

from benchmarks.datasets import DATA

_TICK_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_AUDIT_ID = re.compile(rb'(?<="auditID":")[^"]*')
_STAMP = re.compile(rb'(?<=Timestamp":")[^"]*')
_PARTS = ("intakes", "latency", "disk", "soak")
_MARK = """\
title: Marked
id: 0e0b3f52-0c35-4c77-9f0a-5a1d5d0e8a11
logsource: {product: kubernetes, service: audit}
detection:
  selection: {user.username|startswith: "mark-"}
  condition: selection
level: low
"""


class Server:
    """One `trailhound serve` on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(("http", "forward", "syslog"), _free_ports(3), strict=True))
        self.log = folder / "followed.log"
        self.log.touch()
        rule = folder / "mark.yml"
        rule.write_text(_MARK)
        config = folder / "settings.toml"
        config.write_text(
            f'state = "{folder / "state"}"\nrules = ["{rule}"]\n'
            f'[http]\nlisten = "127.0.0.1:{self.ports["http"]}"\n'
            f'[forward]\nlisten = "127.0.0.1:{self.ports["forward"]}"\n'
            f'[syslog]\ntcp = "127.0.0.1:{self.ports["syslog"]}"\n'
            f'[files]\npaths = ["{self.log}"]\n'
        )
        command = [sys.executable, "-m", "trailhound.cli.main", "serve", "--config", str(config)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 120
        while not self._ready():
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            return self.metric("rules") > 0
        except OSError:
            return False

    def post(self, path: str, body: bytes) -> None:
        """Send until it is taken."""
        while True:
            request = urllib.request.Request(self._url(path), body)
            try:
                with urllib.request.urlopen(request) as answer:
                    answer.read()
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(0.05)
            else:
                return

    def metric(self, name: str) -> float:
        """Return a number of `/metrics`, summed over its labels."""
        with urllib.request.urlopen(self._url("/metrics")) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^trailhound_{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def wait(self, records: int) -> None:
        """Wait until so many are kept."""
        while self.metric("records_total") < records or self.metric("queue_waiting"):
            time.sleep(_TICK_S)

    def processes(self) -> list[int]:
        """Return the two processes."""
        # A thread of the service starts the other one.
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        others = [int(one) for path in tasks for one in path.read_text().split()]
        return [self.process.pid, *(one for one in others if _is_detector(one))]

    def cpu_s(self) -> float:
        """Return the processor time of both."""
        total = 0.0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
        return total

    def memory_mb(self) -> list[float]:
        """Return the proportional set size of each process."""
        found = []
        for pid in self.processes():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            found.append(int(re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)[0]) / 1024)
        return found

    def stop(self) -> None:
        """End it as systemd does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.ports['http']}{path}"


def _is_detector(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


# --- the ways in -------------------------------------------------------------------------


def _groups(lines: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(lines), size):
        yield lines[at : at + size]


def _event_list(lines: Sequence[bytes]) -> bytes:
    head = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
    return head + b",".join(lines) + b"]}"


def kubernetes(server: Server, lines: Sequence[bytes]) -> None:
    """As an API server sends them."""
    for group in _groups(lines, 100):
        server.post("/kubernetes/audit", _event_list(group))


def http(server: Server, lines: Sequence[bytes]) -> None:
    """As NDJSON."""
    for group in _groups(lines, 500):
        server.post("/ingest", b"\n".join(group))


def splunk(server: Server, lines: Sequence[bytes]) -> None:
    """As an HTTP Event Collector is sent them."""
    for group in _groups(lines, 500):
        server.post("/services/collector/event", b"".join(b'{"event":%s}' % one for one in group))


def elasticsearch(server: Server, lines: Sequence[bytes]) -> None:
    """As bulk requests."""
    for group in _groups(lines, 500):
        server.post("/_bulk", b"".join(b'{"create":{"_index":"a"}}\n%s\n' % one for one in group))


def forward(server: Server, lines: Sequence[bytes]) -> None:
    """As Fluentd forwards lines it tails, with an answer to each chunk."""
    with socket.create_connection(("127.0.0.1", server.ports["forward"])) as connection:
        for number, group in enumerate(_groups(lines, 500)):
            entries = b"".join(msgpack.packb([number, {"log": line.decode()}]) for line in group)
            option = {"chunk": f"{number}", "size": len(group)}
            connection.sendall(msgpack.packb(["audit", entries, option]))
            connection.recv(4096)


def syslog(server: Server, lines: Sequence[bytes]) -> None:
    """As RFC 5424 over TCP, with counted octets."""
    with socket.create_connection(("127.0.0.1", server.ports["syslog"])) as connection:
        for group in _groups(lines, 500):
            for line in group:
                message = b"<134>1 2026-11-12T10:00:00Z host audit - - - " + line
                connection.sendall(b"%d %s" % (len(message), message))


def files(server: Server, lines: Sequence[bytes]) -> None:
    """As a file that grows."""
    with server.log.open("ab") as log:
        for group in _groups(lines, 500):
            log.write(b"\n".join(group) + b"\n")


INTAKES: tuple[Callable[[Server, Sequence[bytes]], None], ...] = (
    kubernetes, http, splunk, elasticsearch, forward, syslog, files,
)  # fmt: skip


# --- what is measured --------------------------------------------------------------------


class Yardstick(NamedTuple):
    """`orjson.loads` of each record."""

    wall_s: float
    cpu_s: float


def yardstick(lines: Sequence[bytes]) -> Yardstick:
    """Return the best of three."""
    found = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        for line in lines:
            orjson.loads(line)
        found.append(Yardstick(time.perf_counter() - wall, time.process_time() - cpu))
    return min(found)


def intakes(lines: Sequence[bytes], names: Sequence[str]) -> None:
    """Print events a second and multiples of the yardstick, for each intake."""
    print("| intake | events/s | × orjson, wall | × orjson, processor |\n|---|---|---|---|")
    for intake in INTAKES:
        if names and intake.__name__ not in names:
            continue
        with tempfile.TemporaryDirectory(dir=DATA) as place:
            server = Server(Path(place))
            cpu, wall = server.cpu_s(), time.perf_counter()
            intake(server, lines)
            server.wait(len(lines))
            # What waits for more records before it is kept takes no time, only patience.
            wall, cpu = time.perf_counter() - wall, server.cpu_s() - cpu
            unit = yardstick(lines)
            stored = server.metric("stored_total")
            server.stop()
        if stored != len(lines):
            raise SystemExit(f"{intake.__name__}: {stored:.0f} of {len(lines)} events were stored")
        rate = len(lines) / wall
        print(
            f"| {intake.__name__} | {rate:,.0f} | {wall / unit.wall_s:.1f} "
            f"| {cpu / unit.cpu_s:.1f} |",
            flush=True,
        )


def latency(lines: Sequence[bytes], seconds: float) -> None:
    """Print how long a finding takes from its arrival on, at half of what can be taken."""
    with tempfile.TemporaryDirectory(dir=DATA) as place:
        server = Server(Path(place))
        begun = time.perf_counter()
        kubernetes(server, lines)
        server.wait(len(lines))
        rate = len(lines) / (time.perf_counter() - begun) / 2
        sent: dict[str, float] = {}
        seen: dict[str, float] = {}
        over = threading.Event()
        watching = threading.Thread(target=_watch, args=(server, seen, over))
        watching.start()
        end = begun = time.perf_counter()
        number = 0
        while end - begun < seconds:
            group = [_anew(lines[(number * 20 + at) % len(lines)]) for at in range(20)]
            name = f"mark-{number}"
            event = orjson.loads(group[10])
            event["user"] = {"username": name}
            group[10] = orjson.dumps(event)
            sent[name] = time.perf_counter()
            server.post("/kubernetes/audit", _event_list(group))
            number += 1
            time.sleep(max(0.0, begun + number * 20 / rate - time.perf_counter()))
            end = time.perf_counter()
        server.wait(len(lines) + number * 20)
        time.sleep(1)
        over.set()
        watching.join()
        server.stop()
    taken = sorted(seen[name] - at for name, at in sent.items() if name in seen)
    print(f"\narrival to finding, at {rate:,.0f} events/s: {len(taken):,} of {len(sent):,} seen")
    for share in (0.5, 0.99):
        print(f"p{share * 100:.0f}  {taken[int(share * (len(taken) - 1))] * 1000:,.0f} ms")


def _watch(server: Server, seen: dict[str, float], over: threading.Event) -> None:
    read: dict[Path, int] = {}
    while not over.is_set():
        for path in (server.folder / "state/findings").glob("*.ndjson"):
            if path.stat().st_size > read.get(path, 0):
                with path.open("rb") as file:
                    file.seek(read.get(path, 0))
                    data = file.read()
                whole = data.rpartition(b"\n")[0]
                read[path] = read.get(path, 0) + len(whole) + 1
                now = time.perf_counter()
                for name in re.findall(rb'"actor":"(mark-\d+)"', whole):
                    seen.setdefault(name.decode(), now)
        time.sleep(0.002)


def disk(lines: Sequence[bytes]) -> None:
    """Print the bytes on disk of an event."""
    with tempfile.TemporaryDirectory(dir=DATA) as place:
        server = Server(Path(place))
        kubernetes(server, lines)
        server.wait(len(lines))
        server.stop()
        state = Path(place) / "state"
        command = [sys.executable, "-m", "trailhound.cli.main", "lake", "compact", "--lake"]
        subprocess.run([*command, str(state / "lake")], check=True, stdout=subprocess.DEVNULL)
        raw = sum(len(line) + 1 for line in lines) / len(lines)
        print("\n| on disk | bytes an event | of the log |\n|---|---|---|")
        print(f"| the log itself | {raw:,.0f} | 100 % |")
        catalogue = json.loads(
            subprocess.check_output(
                [*command[:-2], "info", "--json", "--lake", str(state / "lake")], text=True
            )
        )
        lake = sum(source["bytes"] for source in catalogue["sources"])
        for name, size in (
            ("lake, compacted", lake),
            ("ledger", _size(state / "ledger")),
            ("what is remembered", sum(_size(one) for one in state.glob("*.sqlite*"))),
        ):
            each = size / len(lines)
            print(f"| {name} | {each:,.0f} | {each / raw:.1%} |")


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_blocks * 512
    return sum(one.stat().st_blocks * 512 for one in path.rglob("*") if one.is_file())


def soak(lines: Sequence[bytes], minutes: float, rate: float) -> None:
    """Print the memory of both processes over time, at a steady load."""
    with tempfile.TemporaryDirectory(dir=DATA) as place:
        server = Server(Path(place))
        begun = time.monotonic()
        sampled, number = begun, 0
        samples: list[tuple[float, list[float]]] = []
        print(f"\nmemory at {rate:,.0f} events/s (PSS, MB)\n\n| minute | service | detector |")
        print("|---|---|---|")
        while (now := time.monotonic()) - begun < minutes * 60:
            group = [_anew(lines[(number * 100 + at) % len(lines)]) for at in range(100)]
            server.post("/kubernetes/audit", _event_list(group))
            number += 1
            if now >= sampled:
                sampled += minutes * 60 / 12
                samples.append(((now - begun) / 60, server.memory_mb()))
                at, (service, *detector) = samples[-1]
                print(f"| {at:.1f} | {service:.0f} | {sum(detector):.0f} |", flush=True)
            time.sleep(max(0.0, begun + number * 100 / rate - time.monotonic()))
        waiting = server.metric("queue_waiting")
        server.stop()
    print(f"\n{number * 100:,} events; {waiting:,.0f} waited at the end")


def _anew(line: bytes) -> bytes:
    """Return an event as if it happened now, and never before."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    return _STAMP.sub(now, _AUDIT_ID.sub(str(uuid.uuid4()).encode(), line, count=1))


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="for each part (50000)")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="some parts")
    names = [intake.__name__ for intake in INTAKES]
    parser.add_argument("--intake", nargs="+", choices=names, default=[], help="some intakes")
    parser.add_argument("--seconds", type=float, default=60, help="of half load (60)")
    parser.add_argument("--minutes", type=float, default=30, help="of the soak (30)")
    parser.add_argument("--rate", type=float, default=500, help="events/s of the soak (500)")
    args = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    log = DATA / f"serve-k8s-{args.events}.log"
    if not log.exists():
        asked = ("--events", str(args.events), "--seed", "1", "--out", str(log))
        command = [sys.executable, "-m", "benchmarks.generate", "k8s", *asked]
        subprocess.run(command, check=True)
    lines = log.read_bytes().splitlines()
    print(f"{len(lines):,} events of {sum(map(len, lines)) // len(lines):,} bytes\n")
    if "intakes" in args.only:
        intakes(lines, args.intake)
    if "latency" in args.only:
        latency(lines, args.seconds)
    if "disk" in args.only:
        disk(lines)
    if "soak" in args.only:
        soak(lines, args.minutes, args.rate)


if __name__ == "__main__":
    main()
