"""Who calls the API server on an ordinary evening."""

from typing import Any

from demo.cast import ACCOUNT, BASTION_ADDRESS, NODES, ROLE_IDS, RUNNER_ADDRESS, USER_IDS
from demo.clock import Dice, at
from demo.cluster import (
    KUBECTL_OLD,
    Client,
    Json,
    account_user,
    audit_event,
    component_user,
    node_user,
)

START, END = at("17:00"), at("22:00")
_CONTROL = "10.20.0.201"
"""The control plane's own address in the VPC."""
_VERSION = "v1.31.13 (linux/amd64) kubernetes/c1a4a87"
_ADMIN = 'RBAC: allowed by ClusterRoleBinding "{0}" of ClusterRole "{0}" to '


class Cluster:
    """The callers, and the events they have left."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.events: list[Json] = []
        self._components = {
            name: Client(component_user(name), _CONTROL, f"{name}/{_VERSION}", reason)
            for name, reason in (
                (
                    "kube-controller-manager",
                    _ADMIN.format("system:kube-controller-manager")
                    + 'User "system:kube-controller-manager"',
                ),
                (
                    "kube-scheduler",
                    _ADMIN.format("system:kube-scheduler") + 'User "system:kube-scheduler"',
                ),
                (
                    "cloud-controller-manager",
                    _ADMIN.format("system:cloud-controller-manager")
                    + 'User "system:cloud-controller-manager"',
                ),
            )
        }
        self._kubelets = {
            node.name: Client(
                node_user(node, ACCOUNT, ROLE_IDS["harbor-prod-node"]),
                node.address,
                f"kubelet/{_VERSION}",
                "",
            )
            for node in NODES
        }
        self._accounts = {
            f"{namespace}:{name}": Client(
                account_user(namespace, name, dice),
                address,
                agent,
                f'RBAC: allowed by ClusterRoleBinding "{name}" of ClusterRole "{name}" to '
                f'ServiceAccount "{name}/{namespace}"',
            )
            for namespace, name, address, agent in (
                (
                    "kube-system",
                    "cluster-autoscaler",
                    "10.20.11.90",
                    f"cluster-autoscaler/{_VERSION}",
                ),
                (
                    "kube-system",
                    "aws-load-balancer-controller",
                    "10.20.13.21",
                    "elbv2.k8s.aws/v2.8.2 aws-load-balancer-controller/v0.0.0 (linux/amd64)",
                ),
                (
                    "kube-system",
                    "metrics-server",
                    "10.20.11.17",
                    "metrics-server/v0.7.2 (linux/amd64)",
                ),
                ("kube-system", "coredns", "10.20.12.8", "coredns/v1.11.3 (linux/amd64)"),
                ("kube-system", "aws-node", "10.20.12.52", "amazon-vpc-cni-k8s/v1.18.5"),
                ("monitoring", "prometheus", "10.20.13.60", "Prometheus/2.54.1"),
                ("external-secrets", "external-secrets", "10.20.11.44", "external-secrets/v0.10.4"),
                ("cert-manager", "cert-manager", "10.20.13.31", "cert-manager-controller/v1.15.3"),
                ("crossplane-system", "provider-aws", "10.20.13.48", "provider-aws/v1.14.0"),
                (
                    "kube-system",
                    "horizontal-pod-autoscaler",
                    _CONTROL,
                    f"kube-controller-manager/{_VERSION}/system:serviceaccount:kube-system:horizontal-pod-autoscaler",
                ),
                (
                    "kube-system",
                    "replicaset-controller",
                    _CONTROL,
                    f"kube-controller-manager/{_VERSION}/system:serviceaccount:kube-system:replicaset-controller",
                ),
                (
                    "kube-system",
                    "job-controller",
                    _CONTROL,
                    f"kube-controller-manager/{_VERSION}/system:serviceaccount:kube-system:job-controller",
                ),
                (
                    "kube-system",
                    "daemon-set-controller",
                    _CONTROL,
                    f"kube-controller-manager/{_VERSION}/system:serviceaccount:kube-system:daemon-set-controller",
                ),
                (
                    "kube-system",
                    "ttl-after-finished-controller",
                    _CONTROL,
                    f"kube-controller-manager/{_VERSION}/system:serviceaccount:kube-system:ttl-after-finished-controller",
                ),
            )
        }
        self.deployer = deployer(dice, RUNNER_ADDRESS, "helm/v3.15.4")

    def _add(
        self,
        time: int,
        client: Client,
        verb: str,
        resource: str,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        **more: Any,
    ) -> Json:
        event = audit_event(
            self._dice,
            time,
            client,
            verb,
            resource,
            namespace,
            name,
            subresource,
            **more,
        )
        self.events.append(event)
        return event


def deployer(dice: Dice, address: str, agent: str) -> Client:
    """Return the CI service account: its token is a long-lived secret, and it may do anything."""
    user = account_user("ci", "deployer", dice)
    user["uid"] = "0d6b7e42-95f1-4c83-b2ae-1f48c9d35a70"
    del user["extra"]
    reason = (
        'RBAC: allowed by ClusterRoleBinding "ci-deployer" of ClusterRole "cluster-admin" to '
        'ServiceAccount "deployer/ci"'
    )
    legacy = {"authentication.k8s.io/legacy-token": "system:serviceaccount:ci:deployer"}
    return Client(user, address, agent, reason, legacy)


def person(dice: Dice, name: str) -> Client:
    """Return one of the staff, known by an IAM user, on the bastion."""
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    user = {
        "username": name,
        "uid": f"aws-iam-authenticator:{ACCOUNT}:{USER_IDS[name]}",
        "groups": ["platform", "system:authenticated"],
        "extra": {
            "accessKeyId": [dice.aws_id("AKIA")],
            "arn": [arn],
            "canonicalArn": [arn],
            "sessionName": [""],
        },
    }
    return Client(
        user, BASTION_ADDRESS, KUBECTL_OLD, _ADMIN.format("platform") + 'Group "platform"'
    )
