"""Real servers that `serve` fetches from, started for tests; `tools/brokers.sh` installs them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from certificates import Authority
from serving import free_port

_FOLDER = Path(__file__).parents[1] / "build" / "brokers"
_KAFKA = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=70000000
"""
_SECURE = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_SSL://localhost:{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://localhost:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_trailhound="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
"""
"""What comes later in the file holds."""


class Daemon:
    """A server in a process of its own, on a port and a folder that it keeps over restarts."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.folder = folder
        self._command = command
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, seconds: float = 60) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            log_text = (self.folder / "log").read_text(errors="replace")
            assert self._process.poll() is None, log_text
            assert time.monotonic() < until, log_text
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(60)


@contextlib.contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop(signal.SIGKILL)


class Login(NamedTuple):
    """A port where TLS is spoken and a password is asked for, of the user `trailhound`."""

    port: int
    password: str
    authority: Authority


def kafka(folder: Path, login: Login | None = None) -> Daemon:
    """Apache Kafka, one node that is its own controller (KRaft)."""
    jars = _FOLDER / "kafka" / "lib"
    if not jars.is_dir() or shutil.which("java") is None:
        pytest.skip("needs Apache Kafka: sh tools/brokers.sh")
    port = free_port()
    places: dict[str, Any] = {"port": port, "controller": free_port(), "folder": folder}
    text = _KAFKA
    if login is not None:
        text += _SECURE
        places |= {"secure": login.port, "password": login.password}
        pair = login.authority.issue("kafka")
        (folder / "server.pem").write_text(
            Path(pair.key).read_text() + Path(pair.certificate).read_text()
        )
    properties = folder / "server.properties"
    properties.write_text(text.format(**places))
    java = ("java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*")
    cluster = "MkU3OEVBNTcwNTJENDM2Qg"
    tool = (*java, "kafka.tools.StorageTool")
    subprocess.run(
        [*tool, "format", "-t", cluster, "-c", str(properties)],
        check=True,
        capture_output=True,
    )
    return Daemon([*java, "kafka.Kafka", str(properties)], port, folder)


def nats(folder: Path, *arguments: str) -> Daemon:
    """nats-server with JetStream."""
    port = free_port()
    command = (_binary("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", "data")
    return Daemon([*command, *arguments], port, folder)


def s3(folder: Path) -> Daemon:
    """Versity's S3 gateway over a folder, with versions."""
    port = free_port()
    for name in ("root", "versions"):
        (folder / name).mkdir(exist_ok=True)
    command = (_binary("versitygw"), "--port", f"127.0.0.1:{port}", "--quiet", "posix")
    keys = {"ROOT_ACCESS_KEY": "test", "ROOT_SECRET_KEY": "testtest"}
    return Daemon(
        [*command, "--versioning-dir", str(folder / "versions"), str(folder / "root")],
        port,
        folder,
        keys,
    )


def has(name: str) -> bool:
    """Whether a server is installed."""
    return (_FOLDER / "bin" / name).is_file()


def _binary(name: str) -> str:
    if not has(name):
        pytest.skip(f"needs {name}: sh tools/brokers.sh")
    return str(_FOLDER / "bin" / name)
