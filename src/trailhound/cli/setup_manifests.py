"""`trailhound setup statefulset` and `fluent-bit`: manifests for a cluster."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

from trailhound.cli.console import PORT
from trailhound.model.errors import TrailhoundError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SERVER = """\
Print manifests that run `trailhound serve` in a cluster: a StatefulSet with a volume for its state,
a Service, and a ConfigMap with its settings. The access file and the certificate come from Secrets,
which you make; the first lines say how.
"""
_SERVER_EPILOG = """\
examples:
  trailhound setup statefulset --image registry.example/trailhound:0.1.0 | kubectl apply -f -
"""
_AGENT = """\
Print manifests of a Fluent Bit DaemonSet that ships, from every node, auditd's log, auth.log and
the audit log of an API server that runs there, to `trailhound serve`: forward, TLS, a shared key,
and acknowledgments.
"""
_AGENT_EPILOG = """\
examples:
  trailhound setup fluent-bit --host trailhound.example | kubectl apply -f -
"""
_SETTINGS = """\
state = "/var/lib/trailhound"
access = "/etc/trailhound/access/access.toml"
log_format = "json"

[http]
listen = "0.0.0.0:9610"
tls_certificate = "/etc/trailhound/tls/tls.crt"
tls_key = "/etc/trailhound/tls/tls.key"

[forward]
listen = "0.0.0.0:24224"
shared_key_file = "/etc/trailhound/forward/shared-key"
tls_certificate = "/etc/trailhound/tls/tls.crt"
tls_key = "/etc/trailhound/tls/tls.key"
"""
_FLUENT_BIT = """\
[SERVICE]
    Flush          1
    Log_Level      info
    HTTP_Server    On
    HTTP_Port      2020
    # What is not acknowledged yet waits here, over restarts as well.
    storage.path   /var/lib/fluent-bit
    storage.sync   full

[INPUT]
    Name           tail
    Tag            node.auditd
    Path           /var/log/audit/audit.log
    DB             /var/lib/fluent-bit/auditd.db
    storage.type   filesystem
    Key            log
    Buffer_Max_Size 1M
    # Without this, one line that is too long ends the reading of the file.
    Skip_Long_Lines On
    Read_from_Head On

[INPUT]
    Name           tail
    Tag            node.auth
    Path           /var/log/auth.log,/var/log/secure
    DB             /var/lib/fluent-bit/auth.db
    storage.type   filesystem
    Key            log
    Buffer_Max_Size 1M
    Skip_Long_Lines On
    Read_from_Head On

[INPUT]
    Name           tail
    Tag            node.apiserver
    Path           /var/log/kubernetes/audit/*.log
    DB             /var/lib/fluent-bit/apiserver.db
    storage.type   filesystem
    Key            log
    # Requests and responses stand in one line.
    Buffer_Max_Size 16M
    Skip_Long_Lines On
    Read_from_Head On

[FILTER]
    Name           record_modifier
    Match          node.*
    Record         hostname ${NODE_NAME}

[OUTPUT]
    Name           forward
    Match          node.*
    Host           %(host)s
    Port           %(port)d
    Shared_Key     ${SHARED_KEY}
    Self_Hostname  ${NODE_NAME}
    Require_ack_response On
    tls            On
    tls.verify     On
    tls.ca_file    /fluent-bit/tls/ca.crt
    # Never give up: the storage above bounds what waits.
    Retry_Limit    no_limits
    storage.total_limit_size %(room)s
"""


def add_targets(targets: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the targets to `trailhound setup`."""
    server = targets.add_parser(
        "statefulset",
        help="serve in a cluster",
        description=_SERVER,
        epilog=_SERVER_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    server.add_argument("--image", required=True, help="made from the Containerfile")
    _add_namespace(server)
    server.add_argument(
        "--storage", default="50Gi", help="size of the volume (default %(default)s)"
    )
    server.set_defaults(run=_statefulset)
    agent = targets.add_parser(
        "fluent-bit",
        help="an agent on every node of a cluster",
        description=_AGENT,
        epilog=_AGENT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    agent.add_argument("--host", required=True, help="where `serve` listens for forward")
    agent.add_argument("--port", type=PORT, default=24224, help="(default %(default)s)")
    agent.add_argument(
        "--image", default="fluent/fluent-bit:4.0", help="its image (default %(default)s)"
    )
    _add_namespace(agent)
    agent.add_argument(
        "--room", default="1G", help="disk for what waits, on each node (default %(default)s)"
    )
    agent.set_defaults(run=_fluent_bit)


def _add_namespace(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--namespace", default="trailhound", help="namespace (default %(default)s)"
    )


def _statefulset(options: argparse.Namespace) -> int:
    space = _named(options.namespace)
    print(
        f"""\
# First, once:
#   kubectl create namespace {space}
#   trailhound token access.toml cluster-a
#   kubectl -n {space} create secret generic trailhound-access --from-file=access.toml
#   kubectl -n {space} create secret tls trailhound-tls --cert=tls.crt --key=tls.key
#   kubectl -n {space} create secret generic trailhound-forward --from-literal=shared-key=…
# It may open no connection: the NetworkPolicy is to be widened for [kafka], [nats] or [s3].
# API servers know no names of Services: let the certificate name the Service's address."""
    )
    _print(server_manifests(options.image, space, options.storage))
    return 0


def _fluent_bit(options: argparse.Namespace) -> int:
    space = _named(options.namespace)
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", options.host):
        raise TrailhoundError(f"{options.host!r} is no host")
    if not re.fullmatch(r"[0-9]+[KMG]?", options.room, re.ASCII):
        raise TrailhoundError(f"{options.room!r} is no size, such as 1G")
    print(
        f"""\
# First, once (the key is that of [forward] in the settings of `serve`):
#   kubectl -n {space} create secret generic trailhound-forward --from-literal=shared-key=…
#   kubectl -n {space} create configmap trailhound-ca --from-file=ca.crt
# It reads logs of the node, which the Pod Security Standard `privileged` allows, and no other."""
    )
    config = _FLUENT_BIT % {"host": options.host, "port": options.port, "room": options.room}
    _print(agent_manifests(options.image, space, config))
    return 0


def server_manifests(image: str, space: str, storage: str) -> list[Mapping[str, Any]]:
    """Return what runs `serve`: ServiceAccount, ConfigMap, Service, StatefulSet, NetworkPolicy."""
    labels = {"app.kubernetes.io/name": "trailhound"}
    probe = {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTPS"}}
    container = {
        "name": "serve",
        "image": image,
        "args": ["serve", "--config", "/etc/trailhound/settings/settings.toml"],
        "ports": [
            {"name": "http", "containerPort": 9610},
            {"name": "forward", "containerPort": 24224},
        ],
        "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 6},
        "readinessProbe": {**probe, "periodSeconds": 5},
        "securityContext": _CONFINED,
        "resources": {
            "requests": {"cpu": "500m", "memory": "512Mi"},
            "limits": {"memory": "2Gi"},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": "/var/lib/trailhound"},
            {"name": "settings", "mountPath": "/etc/trailhound/settings", "readOnly": True},
            {"name": "access", "mountPath": "/etc/trailhound/access", "readOnly": True},
            {"name": "tls", "mountPath": "/etc/trailhound/tls", "readOnly": True},
            {"name": "forward", "mountPath": "/etc/trailhound/forward", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the container
        ],
    }
    pod = {
        "serviceAccountName": "trailhound",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 90,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "settings", "configMap": {"name": "trailhound"}},
            {"name": "access", "secret": {"secretName": "trailhound-access", "defaultMode": 0o440}},
            {"name": "tls", "secret": {"secretName": "trailhound-tls", "defaultMode": 0o440}},
            {
                "name": "forward",
                "secret": {"secretName": "trailhound-forward", "defaultMode": 0o440},
            },
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    return [
        _manifest("v1", "ServiceAccount", "trailhound", space, automountServiceAccountToken=False),
        _manifest("v1", "ConfigMap", "trailhound", space, data={"settings.toml": _SETTINGS}),
        _manifest(
            "v1",
            "Service",
            "trailhound",
            space,
            spec={
                "selector": labels,
                "ports": [
                    {"name": "http", "port": 9610, "targetPort": "http"},
                    {"name": "forward", "port": 24224, "targetPort": "forward"},
                ],
            },
        ),
        _manifest(
            "apps/v1",
            "StatefulSet",
            "trailhound",
            space,
            spec={
                "serviceName": "trailhound",
                # One only: its state belongs to one process.
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                "volumeClaimTemplates": [
                    {
                        "metadata": {"name": "state"},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": storage}},
                        },
                    }
                ],
            },
        ),
        _manifest(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "trailhound",
            space,
            spec={
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [
                    {"ports": [{"port": port, "protocol": "TCP"} for port in (9610, 24224)]}
                ],
                "egress": [],
            },
        ),
    ]


def agent_manifests(image: str, space: str, config: str) -> list[Mapping[str, Any]]:
    """Return what ships logs of nodes: ServiceAccount, ConfigMap, DaemonSet."""
    labels = {"app.kubernetes.io/name": "trailhound-fluent-bit"}
    name = "trailhound-fluent-bit"
    container = {
        "name": "fluent-bit",
        "image": image,
        "args": ["--config=/fluent-bit/settings/fluent-bit.conf"],
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {
                "name": "SHARED_KEY",
                "valueFrom": {"secretKeyRef": {"name": "trailhound-forward", "key": "shared-key"}},
            },
        ],
        # auditd's log belongs to root, and nobody else may read it.
        "securityContext": {
            **_CONFINED,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]},
        },
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "volumeMounts": [
            {"name": "logs", "mountPath": "/var/log", "readOnly": True},
            {"name": "queue", "mountPath": "/var/lib/fluent-bit"},
            {"name": "settings", "mountPath": "/fluent-bit/settings", "readOnly": True},
            {"name": "ca", "mountPath": "/fluent-bit/tls", "readOnly": True},
        ],
    }
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "priorityClassName": "system-node-critical",
        # Control planes have taints, and the API server's log.
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [
            {"name": "logs", "hostPath": {"path": "/var/log"}},
            {
                "name": "queue",
                "hostPath": {"path": "/var/lib/trailhound-fluent-bit", "type": "DirectoryOrCreate"},
            },
            {"name": "settings", "configMap": {"name": name}},
            {"name": "ca", "configMap": {"name": "trailhound-ca"}},
        ],
    }
    return [
        _manifest("v1", "ServiceAccount", name, space, automountServiceAccountToken=False),
        _manifest("v1", "ConfigMap", name, space, data={"fluent-bit.conf": config}),
        _manifest(
            "apps/v1",
            "DaemonSet",
            name,
            space,
            spec={
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        ),
    ]


_CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _manifest(version: str, kind: str, name: str, space: str, **more: Any) -> Mapping[str, Any]:
    metadata = {"name": name, "namespace": space}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TrailhoundError(f"{name!r} is no name of a namespace")
    return name


def _print(manifests: Sequence[Mapping[str, Any]]) -> None:
    from yaml import SafeDumper, dump  # noqa: PLC0415 - only where it is written

    class Dumper(SafeDumper):
        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def text(dumper: SafeDumper, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    for number, manifest in enumerate(manifests):
        if number:
            print("---")
        print(dump(manifest, Dumper=Dumper, sort_keys=False, width=100), end="")
