"""A running `trailhound serve`, for tests: started, asked, killed, started again."""

import atexit
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from trailhound.lake.lake import Lake, Times
from trailhound.ledger.audit import audit, leaves
from trailhound.ledger.keys import read_verifier
from trailhound.ledger.log import kept_record
from trailhound.model.events import Event


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Serving:
    """One server on a state folder."""

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        arguments: Sequence[str] = (),
        http: str = "",
        tls: ssl.SSLContext | None = None,
        environment: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "settings.toml"
        self.config.write_text(
            f'state = "{folder / "state"}"\n{settings}\n'
            f'[http]\nlisten = "127.0.0.1:{self.port}"\n{http}\n'
        )
        self._arguments = arguments
        self._tls = tls
        self._headers = headers or {}
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Serving":
        with (self.folder / "log").open("ab") as log:
            self._process = self._popen(log)
        atexit.register(_end, self._process)  # where a test fails before it ends it
        return self

    def _popen(self, log: BinaryIO) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "trailhound.cli.main",
                "serve",
                "--config",
                str(self.config),
                *self._arguments,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=self._environment,
        )

    def wait(self, seconds: float = 20) -> None:
        """Wait until it answers."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.get("/healthz")
            except (http.client.HTTPException, OSError):
                assert self._process is not None
                assert self._process.poll() is None, self.log
                if time.monotonic() > until:
                    self._process.send_signal(signal.SIGABRT)  # it says where it is
                    self._process.wait()
                    raise AssertionError(self.log) from None
                time.sleep(0.02)
            else:
                return

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until the detector has its rules."""
        self.wait(seconds)
        until = time.monotonic() + seconds
        while self.ask("GET", "/readyz").status != 200:
            assert time.monotonic() < until, self.log
            time.sleep(0.05)

    def wait_log(self, text: str, seconds: float = 60) -> None:
        """Wait until something stands in the log."""
        until = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < until, self.log
            time.sleep(0.05)

    def wait_end(self, seconds: float = 60) -> int:
        """Wait until it has ended by itself; return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def wait_kept(self, seconds: float = 30) -> None:
        """Wait until everything that was taken in is kept."""
        until = time.monotonic() + seconds
        while self.ask(
            "GET", "/readyz"
        ).status != 200 or b"trailhound_queue_waiting 0\n" not in self.get("/metrics"):
            assert time.monotonic() < until, self.log
            time.sleep(0.05)

    def metric(self, name: str) -> float:
        """Return a number of `/metrics`; 0 where it is not there."""
        for line in self.get("/metrics").decode().splitlines():
            if line.rpartition(" ")[0] == f"trailhound_{name}":
                return float(line.rpartition(" ")[2])
        return 0

    def kill(self) -> None:
        """Kill it and the detector, as a power cut would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_detector(self) -> None:
        self._signal_detector(signal.SIGKILL)

    def stop_detector(self) -> None:
        """Let nothing be judged, until `resume_detector`."""
        self._signal_detector(signal.SIGSTOP)

    def resume_detector(self) -> None:
        self._signal_detector(signal.SIGCONT)

    def _signal_detector(self, number: signal.Signals) -> None:
        assert self._process is not None
        found = subprocess.run(
            ["pgrep", "-P", str(self._process.pid), "-f", "spawn_main"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        for pid in found:
            os.kill(int(pid), number)

    def stop(self) -> int:
        """End it as systemd does; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(90)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        if self._tls is not None:
            connection = http.client.HTTPSConnection(
                "localhost", self.port, timeout=20, context=self._tls
            )
        try:
            connection.request(method, path, body, headers or self._headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("POST", path, body, headers)

    def get(self, path: str) -> bytes:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def send_until_taken(self, path: str, body: bytes, seconds: float = 60) -> None:
        """Send as a sender does: again and again, until the answer is yes."""
        until = time.monotonic() + seconds
        while True:
            try:
                if self.post(path, body).status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            assert time.monotonic() < until, self.log
            time.sleep(0.02 + random.random() * 0.03)

    def findings(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / "state" / "findings").glob("*.ndjson"))
        return [
            # A line without an end is being written.
            json.loads(line)
            for file in files
            for line in file.read_text().split("\n")[:-1]
        ]


def stored(serving: Serving) -> list[Event]:
    """What its lake holds."""
    lake = Lake(serving.folder / "state/lake")
    return [event for one in lake.sources() for event in lake.select(one.source, None, Times())]


def sealed(serving: Serving) -> dict[int, bytes]:
    """Check its ledger, and return the records by their numbers in the queue."""
    folder = serving.folder / "state/ledger"
    found = audit(folder, read_verifier(str(folder / "key.pub")))
    assert not found.problems
    assert found.records_checked == found.size
    there = dict(leaves(folder, found.size))
    numbers = [int(leaf.place) for leaf in there.values()]
    assert numbers == sorted(set(numbers))
    return {
        int(leaf.place): leaf.split(kept_record(folder, found.size, index) or b"")[0]
        for index, leaf in there.items()
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def event_list(lines: Sequence[bytes]) -> bytes:
    """The body that an API server sends."""
    head = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
    return head + b",".join(lines) + b"]}\n"
