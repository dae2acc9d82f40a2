"""`trailhound setup`: what senders and servers need, ready to be put in place."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from trailhound.cli import setup_manifests, setup_systemd
from trailhound.cli.console import Commands
from trailhound.model.errors import TrailhoundError

_DESCRIPTION = """\
Print what the API server needs to send its audit log here: a kubeconfig for the webhook, the
flags that name it, and an audit policy to begin with.
"""
_EPILOG = """\
examples:
  trailhound setup kubernetes --url https://trailhound.example:9610 --token th_… \\
      --certificate-authority ca.crt
"""
_FILES = "/etc/kubernetes/audit"
_FLAGS = f"""\
# Flags of kube-apiserver. Batches are sent in the background and tried again; with
# --audit-webhook-mode=blocking each request waits until its event is on disk here.
--audit-policy-file={_FILES}/policy.yaml
--audit-webhook-config-file={_FILES}/webhook.yaml
--audit-webhook-mode=batch
--audit-webhook-batch-max-size=400
--audit-webhook-batch-max-wait=5s
--audit-webhook-batch-buffer-size=50000
--audit-webhook-initial-backoff=5s
# Keep the log on disk as well: what the API server cannot send in time, it drops.
--audit-log-path=/var/log/kubernetes/audit/audit.log
--audit-log-maxsize=200
--audit-log-maxbackup=10
"""
_POLICY = """\
# Who did what, for everything but noise; what was sent, where it tells of an attack. Secrets are
# only named, never their content.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics"]
  - level: None
    users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
    verbs: [get, list, watch, update, patch]
    resources:
      - {group: "coordination.k8s.io", resources: [leases]}
      - {group: "", resources: [endpoints]}
  - level: None
    userGroups: ["system:nodes"]
    verbs: [get, list, watch, update, patch]
    resources:
      - {group: "", resources: [nodes/status, pods/status]}
      - {group: "coordination.k8s.io", resources: [leases]}
  - level: Metadata
    resources:
      - {group: "", resources: [secrets, configmaps, serviceaccounts/token]}
      - {group: "authentication.k8s.io", resources: [tokenreviews]}
  - level: Request
    verbs: [create, update, patch, delete, deletecollection]
    resources:
      - group: ""
        resources: [pods, pods/exec, pods/attach, pods/portforward, pods/ephemeralcontainers]
      - {group: apps}
      - {group: batch}
      - {group: rbac.authorization.k8s.io}
      - {group: admissionregistration.k8s.io}
      - {group: certificates.k8s.io}
  - level: Metadata
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "setup",
        help="print what senders and servers need",
        description="Print what senders and servers need, ready to be put in place.",
        allow_abbrev=False,
    )
    targets = command.add_subparsers(title="targets", metavar="TARGET", required=True)
    kubernetes = targets.add_parser(
        "kubernetes",
        help="the audit webhook of an API server",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kubernetes.add_argument(
        "--url", required=True, help="where `trailhound serve` listens, as the API server sees it"
    )
    kubernetes.add_argument("--token", metavar="TOKEN", help="from `trailhound token`")
    kubernetes.add_argument(
        "--certificate-authority", metavar="FILE", help="who signed the certificate of `serve`"
    )
    kubernetes.add_argument(
        "--client-certificate", metavar="FILE", help="certificate of the API server, for mutual TLS"
    )
    kubernetes.add_argument("--client-key", metavar="FILE", help="its private key")
    kubernetes.set_defaults(run=_kubernetes)
    setup_manifests.add_targets(targets)
    setup_systemd.add_target(targets)


def _kubernetes(options: argparse.Namespace) -> int:
    if not options.url.startswith(("http://", "https://")):
        raise TrailhoundError(f"{options.url!r} is no URL: it begins with https:// or http://")
    if bool(options.client_certificate) != bool(options.client_key):
        raise TrailhoundError("--client-certificate and --client-key go together")
    print(f"# {_FILES}/webhook.yaml", _yaml(webhook_config(options)), sep="\n")
    print(f"# {_FILES}/policy.yaml", _POLICY, sep="\n")
    print(_FLAGS, end="")
    return 0


def webhook_config(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the kubeconfig of the webhook.

    https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/, "Webhook backend".
    """
    cluster = {"server": options.url.rstrip("/") + "/kubernetes/audit"}
    if options.certificate_authority:
        cluster["certificate-authority"] = options.certificate_authority
    user = {}
    if options.token:
        user["token"] = options.token
    if options.client_certificate:
        user["client-certificate"] = options.client_certificate
        user["client-key"] = options.client_key
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "trailhound", "cluster": cluster}],
        "users": [{"name": "api-server", "user": user}],
        "contexts": [{"name": "audit", "context": {"cluster": "trailhound", "user": "api-server"}}],
        "current-context": "audit",
    }


def _yaml(content: Mapping[str, Any]) -> str:
    # JSON is YAML, and quotes whatever stands in the options.
    lines = [f"{key}: {json.dumps(value)}" for key, value in content.items()]
    return "\n".join(lines) + "\n"
