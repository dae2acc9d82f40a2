"""Who and what takes part: names, ids and addresses, all invented.

Addresses of outsiders, of the office and of the account's own public side are from the
documentation ranges (RFC 5737); account ids are from the AWS documentation.
"""

from dataclasses import dataclass

ATTACKER = "203.0.113.77"
OFFICE = "192.0.2.10"
HOME = "192.0.2.61"
NAT = "198.51.100.10"
"""Public side of the VPC: what AWS sees of calls from pods and nodes."""
VENDOR = "198.51.100.140"
"""The monitoring vendor."""
SCANNERS = ("198.51.100.88", "192.0.2.199", "198.51.100.213")
"""The internet's usual knocking: a few tries each, nothing more."""

ACCOUNT = "111122223333"
VENDOR_ACCOUNT = "777788889999"
OUTSIDE_ACCOUNT = "444455556666"
"""The account that the attacker shares the snapshot with."""
ORGANISATION = "o-harbor4e7x"
REGION = "eu-west-1"
CLUSTER = "harbor-prod"
OIDC = f"oidc.eks.{REGION}.amazonaws.com/id/EXAMPLE7D2C4B9F1A6E3508D41"
LOG_BUCKET = "harborlight-org-cloudtrail"

BASTION = "bastion"
BASTION_ADDRESS = "10.20.0.10"
RUNNER_ADDRESS = "10.20.4.30"


@dataclass(frozen=True)
class Person:
    """Somebody with an account on the bastion."""

    user: str
    uid: int
    address: str
    fingerprint: str
    """SHA256 of the ssh key."""


MARTA = Person("marta", 1002, OFFICE, "Qe3bYl0Vd7mXc2nTz5kRw8uJ1sHfP4gLaO6iD9xBvEo")
JONAS = Person("jonas", 1003, HOME, "w5Zr8nPq1TfKj3LmXy7Vb0CdHs2GaUe6RiOk9MtB4Fc")
PRIYA = Person("priya", 1004, OFFICE, "h2Mn7DxQv4Lk9Rb1Ws6TzJf8Yc3GpXe0UaNi5OoKr4E")
DEPLOY = Person("deploy", 1001, RUNNER_ADDRESS, "Jx9LrT4vNq2Zc8Hm6Kd1Wy0Fb5Gs7PeUaXi3RoQtM2I")
INTRUDER_KEY = "nO7sT1ll4B3nEv0l3nT9dEm0d4tA2nLy5kQxZw8RcYg"
STAFF = (MARTA, JONAS, PRIYA)


@dataclass(frozen=True)
class Node:
    """A worker node of the cluster."""

    short: str
    address: str
    instance: str
    uid: str

    @property
    def name(self) -> str:
        """Kubernetes node name: the private DNS name."""
        return f"{self.short}.{REGION}.compute.internal"


NODE_1 = Node(
    "ip-10-20-11-34", "10.20.11.34", "i-0a41c9be2f7d31e05", "6e0a4f1b-7d1c-4f0e-9a53-2b8f5d1c7e11"
)
NODE_2 = Node(
    "ip-10-20-12-52", "10.20.12.52", "i-0c27f5d8b94ae1163", "b41d7c92-0e5f-4c38-8a6d-91f3e27b5a22"
)
NODE_3 = Node(
    "ip-10-20-13-87", "10.20.13.87", "i-0e93a17c60bd4f2a8", "d9f25b07-3c6e-47a1-b5e8-04c7a96f1d33"
)
NODES = (NODE_1, NODE_2, NODE_3)


@dataclass(frozen=True)
class Pod:
    """A running pod that the story names."""

    namespace: str
    name: str
    account: str
    """Service account."""
    uid: str
    node: Node
    address: str
    container: str
    """Name of its container."""
    container_id: str
    """First 12 hex digits."""
    image: str


REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
LEDGER = Pod(
    "payments",
    "ledger-api-6c9f8d7b54-x2k7q",
    "ledger-api",
    "3f6b9d52-8e14-4b7a-a0c5-5d2e7f81c904",
    NODE_2,
    "10.20.12.141",
    "ledger-api",
    "8f31c6d20b7e",
    f"{REGISTRY}/ledger-api",
)
DEBUG = Pod(
    "staging",
    "debug-priya",
    "default",
    "a72e51c8-49d3-4f06-b81e-6c09d4f7e215",
    NODE_3,
    "10.20.13.77",
    "debug",
    "4be09a71d5c3",
    "docker.io/nicolaka/netshoot",
)
ROGUE = Pod(
    "kube-system",
    "node-health-7x2mq",
    "node-health",
    "e8d40b16-52c7-49fa-93be-7f1a06c5d348",
    NODE_2,
    NODE_2.address,
    "health",
    "c5a7e9128f44",
    "docker.io/library/alpine",
)

ROLE_IDS = {
    "harbor-prod-node": "AROA2PNODE6QEXAMPLE77",
    "harbor-prod-ledger": "AROA2PLEDGEREXAMPLE41",
    "harbor-crossplane-admin": "AROA2PCROSSEXAMPLE419",
    "harbor-external-secrets": "AROA2PEXTSECEXAMPLE03",
    "harbor-cluster-autoscaler": "AROA2PSCALEREXAMPLE58",
    "harbor-lb-controller": "AROA2PLBCTLREXAMPLE26",
    "harbor-invoices": "AROA2PINVOICEXAMPLE62",
    "harbor-ci-deploy": "AROA2PCIDEPLEXAMPLE90",
    "harbor-monitoring": "AROA2PMONITOREXAMPLE1",
    "harbor-backup": "AROA2PBACKUPREXAMPLE8",
    "AWSServiceRoleForConfig": "AROA2PCONFIGSEXAMPLE5",
    "AWSServiceRoleForAutoScaling": "AROA2PASGROUPEXAMPLE7",
}
"""IAM role → unique id (21 characters)."""

USER_IDS = {
    "marta.kowal": "AIDA2PMARTAKEXAMPLE31",
    "jonas.lind": "AIDA2PJONASLEXAMPLE58",
    "priya.nair": "AIDA2PPRIYANEXAMPLE64",
    "backup-operator": "AIDA2PBACKOPEXAMPLE12",
    "ci-artifacts": "AIDA2PCIARTIEXAMPLE47",
    "cloudwatch-sync": "AIDA2PCWSYNCEXAMPLE96",
}
"""IAM user → unique id; the last is made by the attacker."""

NODE_KEY = "ASIA2PNODE2QEXAMPLE7"
"""Access key that the metadata service of node-2 hands out from 20:00."""
MINTED_JTI = "4c8e21f0-6b3d-4d7e-8a95-e0f6b71c2d59"
"""Credential id of the token minted for kube-system/node-health."""
CROSSPLANE_JTI = "b90d5e37-1f84-4a2c-9c6b-73a1e8d40f26"
"""Credential id of the token minted for crossplane-system/provider-aws."""
