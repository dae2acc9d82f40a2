"""The image of `Containerfile`, built and run: what `docs/deploy.md` says of containers."""

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Answer, event_list, free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NEEDED = ("buildah", "podman", "mmdebstrap")
# A settings file of docs/deploy.md, but for the port.
SETTINGS = """\
access = "access.toml"
rules = ["/etc/trailhound/rules"]
[http]
listen = "0.0.0.0:{port}"
"""
RULE = """\
title: A pod deleted
status: test
logsource: {product: kubernetes, service: audit}
detection:
  selection: {verb: delete}
  condition: selection
level: low
"""


def container(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["sh", str(ROOT / "tools/container.sh"), *arguments],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def podman(*arguments: str) -> str:
    return container("podman", *arguments).stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, and Debian's {', '.join(missing or NEEDED)}")
    container("build")
    tried = container("podman", "run", "--rm", *SANDBOX, "trailhound", "--version", check=False)
    if tried.returncode:
        pytest.skip(f"podman runs nothing here: {tried.stderr.strip()[-200:]}")
    return "trailhound"


# Networks and limits of their own may be refused to whoever is in a sandbox already.
SANDBOX = ("--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
READ_ONLY = (*SANDBOX, "--read-only", "--tmpfs", "/tmp")


class Container:
    """`serve` in a container, with a state that outlives it."""

    def __init__(self, image: str, folder: Path) -> None:
        self.port = free_port()
        self.volume = f"state-{self.port}"
        (folder / "settings.toml").write_text(SETTINGS.format(port=self.port))
        (folder / "rules").mkdir()
        (folder / "rules/deleted.yml").write_text(RULE)
        self.state = ("--volume", f"{self.volume}:/var/lib/trailhound")
        self._mounts = (
            *self.state,
            "--volume", f"{folder}/settings.toml:/etc/trailhound/settings.toml:ro",
            "--volume", f"{folder}/rules:/etc/trailhound/rules:ro",
        )  # fmt: skip
        self._image = image
        self.token = podman(
            "run", "--rm", *READ_ONLY, *self.state, image, "token", "access.toml", "api"
        )
        self.name = podman("run", "--detach", *READ_ONLY, *self._mounts, image)

    def ask(self, method: str, path: str, body: bytes = b"", token: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def wait(self, path: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                if self.ask("GET", path).status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            assert time.monotonic() < until, self.log
            time.sleep(0.1)

    def findings(self) -> str:
        folder = Path(podman("volume", "inspect", self.volume, "--format", "{{.Mountpoint}}"))
        return "".join(file.read_text() for file in folder.glob("findings/*.ndjson"))

    @property
    def log(self) -> str:
        return container("podman", "logs", self.name).stderr


@pytest.fixture
def running(image: str, tmp_path: Path) -> Iterator[Container]:
    tmp_path.chmod(0o755)
    found = Container(image, tmp_path)
    yield found
    podman("rm", "--force", found.name)
    podman("volume", "rm", found.volume)


def test_a_record_becomes_a_finding_as_nobody_on_a_root_that_is_read_only(
    running: Container,
) -> None:
    running.wait("/readyz")
    assert podman("exec", running.name, "id", "-u") == "65532"
    written = container("podman", "exec", running.name, "touch", "/opt/x", check=False)
    assert "Read-only file system" in written.stderr
    record = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "verb": "delete",
        "auditID": "7d1b3f52-0000-4000-8000-000000000001", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/a/pods/b", "user": {"username": "alice"},
        "objectRef": {"resource": "pods", "namespace": "a", "name": "b"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-05-01T10:00:00.000000Z",
        "stageTimestamp": "2026-05-01T10:00:00.000000Z",
    }  # fmt: skip
    body = event_list([json.dumps(record).encode()])
    assert running.ask("POST", "/kubernetes/audit", body).status == 401
    assert running.ask("POST", "/kubernetes/audit", body, running.token).status == 200
    until = time.monotonic() + 60
    while "A pod deleted" not in running.findings():
        assert time.monotonic() < until, running.log
        time.sleep(0.1)
    podman("stop", "--time", "60", running.name)
    assert podman("inspect", running.name, "--format", "{{.State.ExitCode}}") == "0", running.log
    assert running.log.rstrip().endswith("stopped")


def test_the_image_has_nothing_that_installs(image: str) -> None:
    missing = podman(
        "run", "--rm", *READ_ONLY, "--entrypoint", "/opt/trailhound/bin/python", image,
        "-c", "from importlib.util import find_spec as f; print(f('pip'), f('trailhound') and 1)",
    )  # fmt: skip
    assert missing == "None 1"
