"""What `trailhound setup` prints is what systemd and Kubernetes take."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from trailhound.cli.main import main
from trailhound.model.events import Event
from trailhound.model.records import Origin, RawRecord
from trailhound.pipeline.serve.settings import load_settings
from trailhound.sources.decode import Decoder

GO = Path(__file__).parent / "go_webhook"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


UNIT = ("setup", "systemd", "--program", "/bin/true")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--credential", "access.toml=/etc/trailhound/access.toml", "--port", "514"),
        ("--group", "adm", "--group", "systemd-journal", "--memory", "4G"),
    ],
)
def test_systemd_takes_the_unit_and_finds_it_confined(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    code, out, _ = run(*UNIT, *arguments)
    assert code == 0
    unit = tmp_path / "trailhound.service"
    unit.write_text(out)
    checked = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d)", judged.stdout)
    assert exposure is not None, judged.stdout + judged.stderr
    assert float(exposure[1]) < 2.0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--credential", "a=/b\nExecStartPre=/bin/sh"),
        ("--credential", "a=relative"),
        ("--credential", "/a=/b"),
        ("--group", "adm\nUser=root"),
        ("--settings", "/etc/%h"),
        ("--memory", "1G\nUser=root"),
    ],
)
def test_nothing_slips_into_a_unit(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*UNIT, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "²", "9" * 5000])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (UNIT, AGENT):
        with pytest.raises(SystemExit) as ended:
            main((*command, f"--port={port}"))
        assert ended.value.code == 2
        assert "argument --port" in capsys.readouterr().err


SERVER = ("setup", "statefulset", "--image", "registry.example/trailhound:0.1.0")
AGENT = ("setup", "fluent-bit", "--host", "trailhound.example")


def pods(text: str) -> Iterator[dict[str, Any]]:
    for manifest in yaml.safe_load_all(text):
        if manifest["kind"] in ("StatefulSet", "DaemonSet"):
            yield manifest["spec"]["template"]["spec"]


def test_the_server_runs_as_nobody_with_settings_that_load(run: Run, tmp_path: Path) -> None:
    _, out, _ = run(*SERVER)
    (pod,) = pods(out)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 65532
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]} | {"state"}
    settings = next(
        manifest["data"]["settings.toml"]
        for manifest in yaml.safe_load_all(out)
        if manifest["kind"] == "ConfigMap"
    )
    (tmp_path / "settings.toml").write_text(settings)
    loaded = load_settings(tmp_path / "settings.toml")
    ports = {port["containerPort"] for port in container["ports"]}
    assert {
        int(listen.rpartition(":")[2]) for listen in (loaded.http.listen, loaded.forward.listen)
    } == ports


def test_the_agent_reads_and_nothing_more(run: Run) -> None:
    _, out, _ = run(*AGENT)
    (pod,) = pods(out)
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["DAC_READ_SEARCH"],
    }
    assert [m["name"] for m in container["volumeMounts"] if not m.get("readOnly")] == ["queue"]
    assert "Require_ack_response On" in out


def test_what_the_agent_sends_is_known_with_its_node() -> None:
    line = "type=USER_ACCT msg=audit(1778000000.000:12): pid=7 uid=0 msg='op=x res=success'"
    record = json.dumps({"log": line, "hostname": "node-7"}).encode()
    decoder = Decoder()
    items = [*decoder.decode(RawRecord(record, Origin("forward/10.0.0.1", 1))), *decoder.flush()]
    assert [(e.source, e.envelope.device) for e in items if isinstance(e, Event)] == [
        ("auditd", "node-7")
    ]


@pytest.mark.parametrize("arguments", [SERVER, AGENT])
@pytest.mark.parametrize(
    "fault", [("--namespace", "a\nb"), ("--namespace", "A"), ("--host", "x y"), ("--room", "1;")]
)
def test_names_that_are_none_are_refused(
    run: Run, arguments: tuple[str, ...], fault: tuple[str, ...]
) -> None:
    if fault[0] != "--namespace" and arguments is SERVER:
        return
    code, out, err = run(*arguments, *fault)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (SERVER, "ServiceAccount ConfigMap Service StatefulSet NetworkPolicy"),
        (AGENT, "ServiceAccount ConfigMap DaemonSet"),
    ],
)
def test_manifests_fit_the_schemas_of_kubernetes(
    run: Run, arguments: tuple[str, ...], kinds: str
) -> None:
    _, out, _ = run(*arguments)
    manifests = list(yaml.safe_load_all(out))
    assert [manifest["kind"] for manifest in manifests] == kinds.split()
    for manifest in manifests:
        # It raises where a field is missing, unknown, or of the wrong kind.
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [SERVER, AGENT])
def test_kubernetes_takes_the_manifests(run: Run, arguments: tuple[str, ...]) -> None:
    """Decoded by Kubernetes' own types, where an unknown field is a mistake."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go, and its module proxy once")
    _, out, _ = run(*arguments)
    done = subprocess.run(
        [go, "run", ".", "manifests"], cwd=GO, input=out.encode(),
        capture_output=True, timeout=900, check=False,
    )  # fmt: skip
    if b"dial tcp" in done.stderr or b"proxy" in done.stderr:
        pytest.skip("needs the Go module proxy once")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)[0] == "ServiceAccount"


def test_the_image_is_nobodys_and_takes_what_is_needed() -> None:
    root = Path(__file__).parents[1]
    steps = [line for line in (root / "Containerfile").read_text().splitlines() if line[:1] != "#"]
    last = max(at for at, line in enumerate(steps) if line.startswith("FROM "))
    final = steps[last:]
    assert "USER 65532:65532" in final
    assert not any(re.match(r"(ADD|ARG) ", line) for line in steps)
    assert not any("install " in line and "apt" in line for line in final)
    kept = (root / ".containerignore").read_text().split()
    copied = next(line for line in steps if line.startswith("COPY pyproject")).split()[1:-1]
    assert {f"!{name}" for name in copied} <= set(kept)
