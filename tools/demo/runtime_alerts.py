"""Falco on the nodes: its JSON output, as written with `json_output: true`."""

from typing import Any

from demo.cast import DEBUG, LEDGER, NODE_2, NODES, ROGUE, Node, Pod
from demo.clock import MINUTE, SECOND, Dice, at, iso_micro

Json = dict[str, Any]

_STABLE = ["container", "maturity_stable"]
_OPERATORS = (
    (
        "cluster-autoscaler",
        "kube-system",
        "10.20.11.90",
        "cluster-autos",
        "registry.k8s.io/autoscaling/cluster-autoscaler",
    ),
    (
        "cert-manager",
        "cert-manager",
        "10.20.13.31",
        "controller",
        "quay.io/jetstack/cert-manager-controller",
    ),
    (
        "external-secrets",
        "external-secrets",
        "10.20.11.44",
        "external-secre",
        "oci.external-secrets.io/external-secrets",
    ),
    (
        "provider-aws",
        "crossplane-system",
        "10.20.13.48",
        "provider",
        "xpkg.upbound.io/upbound/provider-aws",
    ),
)


def alerts(dice: Dice) -> list[Json]:
    """Return the evening's alerts, in time order."""
    found = [*_operators(dice), *_debugging(dice), *_ledger(dice), *_rogue(dice)]
    return sorted(found, key=lambda alert: str(alert["time"]))


def _alert(
    dice: Dice,
    time_us: int,
    node: Node,
    rule: str,
    priority: str,
    text: str,
    tags: list[str],
    fields: Json,
    pod: Pod | None,
    tag: str = "",
) -> Json:
    """One alert: `text` names fields as `label=field`, shown as Falco shows them."""
    nano = time_us * 1000 + dice.randint(0, 999)
    shown = dict(fields)
    shown["evt.time"] = nano
    shown["container.id"] = pod.container_id if pod else "host"
    shown["container.name"] = pod.container if pod else "host"
    shown["container.image.repository"] = pod.image if pod else None
    shown["container.image.tag"] = tag or None
    shown["k8s.pod.name"] = pod.name if pod else None
    shown["k8s.ns.name"] = pod.namespace if pod else None
    head, _, labels = text.partition(" | ")
    pairs = [label.split("=") for label in labels.split()] + [
        ["container_id", "container.id"],
        ["container_name", "container.name"],
        ["container_image_repository", "container.image.repository"],
        ["container_image_tag", "container.image.tag"],
        ["k8s_pod_name", "k8s.pod.name"],
        ["k8s_ns_name", "k8s.ns.name"],
    ]
    told = " ".join(
        f"{label}={'<NA>' if shown.get(name) is None else shown[name]}" for label, name in pairs
    )
    stamp = f"{iso_micro(time_us)[:-1]}{nano % 1000:03d}"
    return {
        "hostname": node.name,
        "output": f"{stamp[11:]}: {priority} {head} | {told}",
        "output_fields": dict(sorted(shown.items())),
        "priority": priority,
        "rule": rule,
        "source": "syscall",
        "tags": sorted(tags),
        "time": f"{stamp}Z",
    }


def _process(
    name: str, command: str, path: str, parent: str, tty: int, kind: str = "execve"
) -> Json:
    return {
        "evt.type": kind,
        "user.name": "root",
        "user.uid": 0,
        "user.loginuid": -1,
        "proc.name": name,
        "proc.exepath": path,
        "proc.pname": parent,
        "proc.cmdline": command,
        "proc.tty": tty,
    }


_PROCESS_LABELS = (
    "evt_type=evt.type user=user.name user_uid=user.uid user_loginuid=user.loginuid "
    "process=proc.name proc_exepath=proc.exepath parent=proc.pname command=proc.cmdline "
    "terminal=proc.tty"
)


def _shell(dice: Dice, time: int, pod: Pod, command: str, path: str, tag: str) -> Json:
    fields = _process(command, command, path, "containerd-shim", 34816) | {
        "evt.arg.flags": "EXE_WRITABLE|EXE_LOWER_LAYER"
    }
    return _alert(
        dice,
        time,
        pod.node,
        "Terminal shell in container",
        "Notice",
        "A shell was spawned in a container with an attached terminal | "
        f"{_PROCESS_LABELS} exe_flags=evt.arg.flags",
        [*_STABLE, "mitre_execution", "shell", "T1059"],
        fields,
        pod,
        tag,
    )


def _sensitive(dice: Dice, time: int, node: Node, pod: Pod | None, path: str, tag: str) -> Json:
    fields = _process("cat", "cat /etc/shadow", path, "sh", 34816, "openat") | {
        "fd.name": "/etc/shadow"
    }
    fields |= {
        "proc.aname[2]": "containerd-shim",
        "proc.aname[3]": "systemd",
        "proc.aname[4]": None,
    }
    return _alert(
        dice,
        time,
        node,
        "Read sensitive file untrusted",
        "Warning",
        "Sensitive file opened for reading by non-trusted program | file=fd.name "
        f"gparent=proc.aname[2] ggparent=proc.aname[3] gggparent=proc.aname[4] {_PROCESS_LABELS}",
        [*_STABLE, "host", "filesystem", "mitre_credential_access", "T1555"],
        fields,
        pod,
        tag,
    )


def _connection(
    dice: Dice,
    time: int,
    node: Node,
    pod: Pod,
    rule: str,
    text: str,
    process: Json,
    local: str,
    remote: str,
    tags: list[str],
    tag: str,
) -> Json:
    port = dice.randint(33000, 60900)
    where = remote.rsplit(":", 1)[1]
    fields = process | {
        "fd.name": f"{local}:{port}->{remote}",
        "fd.lport": port,
        "fd.rport": int(where),
        "fd.type": "ipv4",
        "fd.l4proto": "tcp",
    }
    labels = (
        "connection=fd.name lport=fd.lport rport=fd.rport fd_type=fd.type fd_proto=fd.l4proto "
        + _PROCESS_LABELS
    )
    return _alert(dice, time, node, rule, "Notice", f"{text} | {labels}", tags, fields, pod, tag)


def _operators(dice: Dice) -> list[Json]:
    """Operators talk to the API server all evening; the rule is noisy, as rules are."""
    found = []
    for time in dice.every(at("17:00"), at("22:00"), 4 * MINUTE, 200 * SECOND):
        name, namespace, address, process, image = dice.choice(_OPERATORS)
        node = NODES[0] if address.startswith("10.20.11") else NODES[2]
        pod = Pod(
            namespace,
            f"{name}-7d9f6c5b48-{dice.pod_suffix()}",
            name,
            "",
            node,
            address,
            name,
            dice.hexes(12),
            image,
        )
        found.append(
            _connection(
                dice,
                time,
                node,
                pod,
                "Contact K8S API Server From Container",
                "Unexpected connection to K8s API Server from container",
                _process(
                    process, f"{process} --v=2", f"/{process}", "containerd-shim", 0, "connect"
                ),
                address,
                "172.20.0.1:443",
                ["container", "k8s", "maturity_stable", "mitre_discovery", "network", "T1565"],
                "v1",
            )
        )
    return found


def _debugging(dice: Dice) -> list[Json]:
    """Priya's own pod: true, and harmless."""
    tcpdump = _process(
        "tcpdump", "tcpdump -ni any port 8080", "/usr/bin/tcpdump", "bash", 34816, "socket"
    )
    tcpdump |= {"evt.args": "domain=17(AF_PACKET) type=3 proto=768"}
    return [
        _shell(dice, at("18:20:11.903"), DEBUG, "bash", "/bin/bash", "v0.13"),
        _alert(
            dice,
            at("18:24:40.118"),
            DEBUG.node,
            "Packet socket created in container",
            "Notice",
            f"Packet socket was created in a container | socket_info=evt.args {_PROCESS_LABELS}",
            [*_STABLE, "mitre_credential_access", "network", "T1557.002"],
            tcpdump,
            DEBUG,
            "v0.13",
        ),
    ]


_IMDS_RULE = "Contact EC2 Instance Metadata Service From Container"
_IMDS_TEXT = "Outbound connection to EC2 instance metadata service"
_IMDS_TAGS = [
    "aws",
    "container",
    "maturity_incubating",
    "mitre_credential_access",
    "network",
    "T1552.005",
]


def _ledger(dice: Dice) -> list[Json]:
    curl = _process(
        "curl",
        "curl -s -m 3 http://169.254.169.254/latest/meta-data/",
        "/usr/bin/curl",
        "sh",
        34816,
        "connect",
    )
    tag = "2026.11.12-5"
    return [
        _shell(dice, at("19:47:12.741"), LEDGER, "sh", "/usr/bin/dash", tag),
        _sensitive(dice, at("19:47:31.420"), NODE_2, LEDGER, "/usr/bin/cat", tag),
        _connection(
            dice,
            at("19:48:40.655"),
            NODE_2,
            LEDGER,
            _IMDS_RULE,
            _IMDS_TEXT,
            curl,
            LEDGER.address,
            "169.254.169.254:80",
            _IMDS_TAGS,
            tag,
        ),
    ]


def _rogue(dice: Dice) -> list[Json]:
    start = _process("sleep", "sleep infinity", "/bin/busybox", "containerd-shim", 0, "container")
    enter = _process(
        "nsenter", "nsenter -t 1 -m -u -i -n -p -- sh", "/usr/bin/nsenter", "sh", 34816, "setns"
    )
    curl = _process(
        "curl",
        "curl -sX PUT http://169.254.169.254/latest/api/token",
        "/usr/bin/curl",
        "sh",
        34816,
        "connect",
    )
    tag = "3.20"
    return [
        _alert(
            dice,
            at("20:06:31.018"),
            NODE_2,
            "Launch Privileged Container",
            "Informational",
            f"Privileged container started | {_PROCESS_LABELS}",
            ["cis", "container", "maturity_incubating", "mitre_execution", "T1610"],
            start,
            ROGUE,
            tag,
        ),
        _alert(
            dice,
            at("20:06:31.019"),
            NODE_2,
            "Launch Sensitive Mount Container",
            "Informational",
            f"Container with sensitive mount started | mounts=container.mounts {_PROCESS_LABELS}",
            ["cis", "container", "maturity_sandbox", "mitre_execution", "T1610"],
            start | {"container.mounts": "/:/host::true:rprivate"},
            ROGUE,
            tag,
        ),
        _shell(dice, at("20:08:12.440"), ROGUE, "sh", "/bin/busybox", tag),
        _alert(
            dice,
            at("20:08:31.162"),
            NODE_2,
            "Change thread namespace",
            "Notice",
            f"Namespace change (setns) by unexpected program | {_PROCESS_LABELS}",
            [
                "container",
                "host",
                "maturity_incubating",
                "mitre_privilege_escalation",
                "process",
                "T1611",
            ],
            enter,
            ROGUE,
            tag,
        ),
        _sensitive(dice, at("20:08:52.377"), NODE_2, ROGUE, "/usr/bin/cat", tag),
        _connection(
            dice,
            at("20:10:03.290"),
            NODE_2,
            ROGUE,
            _IMDS_RULE,
            _IMDS_TEXT,
            curl,
            NODE_2.address,
            "169.254.169.254:80",
            _IMDS_TAGS,
            tag,
        ),
    ]
