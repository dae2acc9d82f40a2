"""What others wrote sends to `serve`: the API server's webhook backend, Node's Fluentd client."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from serving import Serving, free_port
from test_serve_tls import client
from trailhound.intake.http.access import add_grant

HERE = Path(__file__).parent
GO = HERE / "go_webhook"
NODE = HERE / "node_fluent"
ANY = """\
title: Any request that ended
id: 1f0a5a8e-5f2c-4d0a-9a57-6a3f0b1a2c05
status: test
logsource: {product: kubernetes, service: audit}
detection:
  selection: {stage: ResponseComplete}
  condition: selection
level: informational
"""


def ran(command: list[str], folder: Path, **more: Any) -> Any:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, timeout=900, check=False, **more
    )
    if b"dial tcp" in done.stderr or b"proxy" in done.stderr or b"npm error network" in done.stderr:
        pytest.skip(f"needs its packages once: {done.stderr[-300:].decode()}")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that sends with k8s.io/apiserver's own backend."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go, and its module proxy once")
    program = str(tmp_path_factory.mktemp("go") / "webhook")
    ran([go, "build", "-o", program, "."], GO)
    return program


def serving_tls(folder: Path, settings: str = "") -> tuple[Serving, str]:
    """Return a server with TLS and tokens, and the kubeconfig that `trailhound setup` prints."""
    folder.mkdir(exist_ok=True)
    ours = Authority(folder, "ours")
    pair = ours.issue("server")
    token = add_grant(folder / "access.toml", "cluster-a", ("ingest",))
    admin = add_grant(folder / "access.toml", "admin", ("admin",))
    (folder / "any.yml").write_text(ANY)
    serving = Serving(
        folder,
        f'access = "{folder / "access.toml"}"\nbuiltin = false\n'
        f'rules = ["{folder / "any.yml"}"]\n{settings}',
        http=f'tls_certificate = "{pair.certificate}"\ntls_key = "{pair.key}"\n',
        tls=client(ours, None),
        headers={"Authorization": f"Bearer {admin}"},
    ).start()
    serving.wait_ready()
    arguments = [
        "setup", "kubernetes", "--url", f"https://localhost:{serving.port}",
        "--token", token, "--certificate-authority", ours.file,
    ]  # fmt: skip
    return serving, printed(arguments)


def printed(arguments: list[str]) -> str:
    command = [sys.executable, "-m", "trailhound.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def kubeconfig_in(text: str, folder: Path) -> str:
    file = folder / "webhook.yaml"
    file.write_text(text.partition("# /etc/kubernetes/audit/policy.yaml")[0])
    return str(file)


def metrics(serving: Serving) -> Mapping[str, float]:
    lines = serving.get("/metrics").decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "blocking"])
def test_an_api_server_hands_over_every_event_once(
    tmp_path: Path, api_server: str, mode: str
) -> None:
    serving, setup = serving_tls(tmp_path)
    events = 2000 if mode == "batch" else 200
    kubeconfig = kubeconfig_in(setup, tmp_path)
    said = json.loads(ran([api_server, "send", kubeconfig, mode, str(events)], tmp_path))
    assert said == {"refused": 0}
    assert serving.stop() == 0
    found = serving.findings()
    assert len({finding["request_uid"] for finding in found}) == len(found) == events
    assert found[0]["events"][0]["origins"][0]["path"] == "kubernetes/cluster-a@127.0.0.1"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "blocking"])
def test_an_api_server_comes_again_where_there_was_no_room(
    tmp_path: Path, api_server: str, mode: str
) -> None:
    room, events = (2_000_000, 1500) if mode == "batch" else (150_000, 100)
    serving, setup = serving_tls(tmp_path, f"queue_bytes = {room}")
    serving.stop_detector()
    kubeconfig = kubeconfig_in(setup, tmp_path)
    results: list[Any] = []
    command = [api_server, "send", kubeconfig, mode, str(events)]
    sender = threading.Thread(target=lambda: results.append(ran(command, tmp_path)))
    sender.start()
    until = time.monotonic() + 60
    while not metrics(serving)["trailhound_refused_total"]:
        assert time.monotonic() < until
        time.sleep(0.1)
    serving.resume_detector()
    sender.join()
    assert json.loads(results[0]) == {"refused": 0}
    assert serving.stop() == 0
    assert len({finding["request_uid"] for finding in serving.findings()}) == events


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["Message", "Forward", "PackedForward", "CompressedPackedForward"])
def test_the_official_node_client_is_understood(tmp_path: Path, mode: str) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node and npm, and its registry once")
    folder = tmp_path / "node"
    shutil.copytree(NODE, folder)
    ran([npm, "ci", "--silent", "--no-audit", "--no-fund"], folder)
    (tmp_path / "any.yml").write_text(ANY)
    port = free_port()
    serving = Serving(
        tmp_path,
        f'builtin = false\nrules = ["{tmp_path / "any.yml"}"]\n'
        f'[forward]\nlisten = "127.0.0.1:{port}"\nshared_key = "hush-hush"\n',
    ).start()
    serving.wait_ready()
    said = json.loads(ran([node, "send.js", str(port), "hush-hush", mode, "500"], folder))
    assert said == {"acknowledged": 500, "refused": 0, "reason": ""}
    assert serving.stop() == 0
    assert len({finding["request_uid"] for finding in serving.findings()}) == 500


@pytest.mark.slow
def test_a_node_client_with_another_key_is_refused(tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node and npm, and its registry once")
    folder = tmp_path / "node"
    shutil.copytree(NODE, folder)
    ran([npm, "ci", "--silent", "--no-audit", "--no-fund"], folder)
    port = free_port()
    settings = (
        f'builtin = false\n[forward]\nlisten = "127.0.0.1:{port}"\nshared_key = "hush-hush"\n'
    )
    serving = Serving(tmp_path, settings).start()
    serving.wait_ready()
    sender = subprocess.Popen(
        [node, "send.js", str(port), "wrong", "Forward", "3"], cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        serving.wait_log("shared_key mismatch")
    finally:
        sender.kill()
        sender.wait()
    assert metrics(serving).get('trailhound_accepted_total{intake="forward"}', 0) == 0
    assert serving.stop() == 0
