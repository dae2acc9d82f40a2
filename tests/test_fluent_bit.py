"""A real Fluent Bit, with the configuration that `setup fluent-bit` prints, but for its paths."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from certificates import Authority
from serving import Serving, free_port, sealed
from trailhound.cli.main import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "build/fluent-bit/fluent-bit"
DEMO = ROOT / "examples/demo"
LOGS = {
    "audit/audit.log": DEMO / "bastion/audit.log",
    "auth.log": DEMO / "bastion/auth.log",
    "kubernetes/audit/audit.log": DEMO / "kubernetes/audit.log",
}


class Agent:
    """Fluent Bit on a node."""

    def __init__(self, folder: Path, port: int, authority: str, manifests: str) -> None:
        configuration = next(
            manifest["data"]["fluent-bit.conf"]
            for manifest in yaml.safe_load_all(manifests)
            if manifest["kind"] == "ConfigMap"
        )
        self.logs = folder / "log"
        (folder / "lib").mkdir(parents=True)
        for there, here in (
            ("/var/log", str(self.logs)),
            ("/var/lib/fluent-bit", str(folder / "lib")),
            ("/fluent-bit/tls/ca.crt", authority),
            (" 2020\n", f" {free_port()}\n"),
        ):
            assert there in configuration
            configuration = configuration.replace(there, here)
        self._configuration = folder / "fluent-bit.conf"
        self._configuration.write_text(configuration)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        assert f"Port           {port}\n" in configuration

    def start(self) -> None:
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM, "-c", self._configuration],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SHARED_KEY": "hush", "NODE_NAME": "node-7"},
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def write(self, name: str, data: bytes) -> None:
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)


@pytest.fixture
def agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Agent, Serving]]:
    if not PROGRAM.exists():
        pytest.skip("needs Fluent Bit: tools/fluent_bit.sh builds it")
    authority = Authority(tmp_path, "ours")
    pair = authority.issue("localhost")
    port = free_port()
    assert main(["setup", "fluent-bit", "--host", "localhost", "--port", str(port)]) == 0
    running = Agent(tmp_path / "node", port, str(authority.file), capsys.readouterr().out)
    serving = Serving(
        tmp_path / "server",
        f'builtin = false\n[forward]\nlisten = "127.0.0.1:{port}"\nshared_key = "hush"\n'
        f'tls_certificate = "{pair.certificate}"\ntls_key = "{pair.key}"',
    ).start()
    serving.wait_ready()
    yield running, serving
    running.kill()
    serving.kill()


def wait_for(serving: Serving, count: int) -> None:
    until = time.monotonic() + 90
    while serving.metric('accepted_total{intake="forward"}') < count:
        assert time.monotonic() < until, serving.log
        time.sleep(0.1)


def test_every_line_of_a_node_arrives(agent: tuple[Agent, Serving]) -> None:
    node, serving = agent
    lines = {name: path.read_bytes().splitlines(keepends=True) for name, path in LOGS.items()}
    half = {name: len(found) // 2 for name, found in lines.items()}
    for name, found in lines.items():
        node.write(name, b"".join(found[: half[name]]))
    node.start()
    wait_for(serving, sum(half.values()))
    # Both end hard; what was not acknowledged waits on the node's disk, or in its logs.
    serving.kill()
    for name, found in lines.items():
        node.write(name, b"".join(found[half[name] :]))
    time.sleep(2)
    node.kill()
    node.start()
    serving.start()
    serving.wait_ready()
    total = sum(map(len, lines.values()))
    until = time.monotonic() + 120
    while serving.metric("ledger_records") < total:
        assert time.monotonic() < until, serving.get("/status").decode()
        time.sleep(0.2)
    assert serving.stop() == 0
    kept = [json.loads(record) for record in sealed(serving).values()]
    assert {record["hostname"] for record in kept} == {"node-7"}
    # Each line is there; secrets in them are not, but equal ones stay equal.
    sent = {line for found in lines.values() for line in found}
    assert len({record["log"] for record in kept}) == len(sent)


def test_a_line_that_is_too_long_does_not_end_the_reading(agent: tuple[Agent, Serving]) -> None:
    node, serving = agent
    stamp = b"2026-05-01T10:00:00.000000+00:00 web-1 sudo[7]: "
    for name in LOGS:
        node.write(name, stamp + b"before\n")
    node.start()
    wait_for(serving, 3)
    for name in LOGS:
        node.write(name, stamp + b"x" * 20_000_000 + b"\n")
        node.write(name, stamp + b"after\n")
    wait_for(serving, 6)
    assert serving.stop() == 0
    kept = list(sealed(serving).values())
    assert sum(b"after" in record for record in kept) == 3
