"""The cluster's audit log: how one request becomes an `audit.k8s.io/v1` event."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from demo.cast import Node, Pod
from demo.clock import Dice, iso_micro

Json = dict[str, Any]

KUBECTL_OLD = "kubectl/v1.28.15 (linux/amd64) kubernetes/841856f"
"""Installed on the bastion; opens exec with POST over SPDY, so the verb is `create`."""
KUBECTL_NEW = "kubectl/v1.34.2 (linux/amd64) kubernetes/8cc511e"
"""Brought along by the attacker; opens exec with GET over WebSocket, so the verb is `get`."""
GROUPS = {
    "pods": "",
    "secrets": "",
    "configmaps": "",
    "events": "",
    "nodes": "",
    "endpoints": "",
    "serviceaccounts": "",
    "services": "",
    "namespaces": "",
    "persistentvolumeclaims": "",
    "replicationcontrollers": "",
    "leases": "coordination.k8s.io",
    "deployments": "apps",
    "replicasets": "apps",
    "daemonsets": "apps",
    "statefulsets": "apps",
    "jobs": "batch",
    "cronjobs": "batch",
    "clusterrolebindings": "rbac.authorization.k8s.io",
    "clusterroles": "rbac.authorization.k8s.io",
    "roles": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
    "selfsubjectrulesreviews": "authorization.k8s.io",
    "selfsubjectaccessreviews": "authorization.k8s.io",
    "subjectaccessreviews": "authorization.k8s.io",
    "tokenreviews": "authentication.k8s.io",
    "endpointslices": "discovery.k8s.io",
    "horizontalpodautoscalers": "autoscaling",
    "externalsecrets": "external-secrets.io",
    "certificates": "cert-manager.io",
    "ingresses": "networking.k8s.io",
    "csinodes": "storage.k8s.io",
}
"""Resource → API group."""
_VERSIONS = {"autoscaling": "v2", "external-secrets.io": "v1beta1"}
_CODES = {"create": 201}


@dataclass(frozen=True)
class Client:
    """Somebody who calls the API server."""

    user: Json
    address: str
    agent: str
    reason: str
    """`authorization.k8s.io/reason`."""
    annotations: Json = field(default_factory=dict)


def account_user(namespace: str, name: str, dice: Dice, pod: Pod | None = None) -> Json:
    """Return `user` of a service account with a bound token."""
    extra = {"authentication.kubernetes.io/credential-id": [f"JTI={dice.uuid()}"]}
    if pod:
        extra |= {
            "authentication.kubernetes.io/node-name": [pod.node.name],
            "authentication.kubernetes.io/node-uid": [pod.node.uid],
            "authentication.kubernetes.io/pod-name": [pod.name],
            "authentication.kubernetes.io/pod-uid": [pod.uid],
        }
    return {
        "username": f"system:serviceaccount:{namespace}:{name}",
        "uid": dice.uuid(),
        "groups": [
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        ],
        "extra": extra,
    }


def node_user(node: Node, account: str, role_id: str) -> Json:
    """Return `user` of a kubelet on EKS, which logs in with its instance role."""
    arn = f"arn:aws:sts::{account}:assumed-role/harbor-prod-node/{node.instance}"
    return {
        "username": f"system:node:{node.name}",
        "uid": f"aws-iam-authenticator:{account}:{role_id}",
        "groups": ["system:nodes", "system:authenticated"],
        "extra": {
            "accessKeyId": ["ASIA2PNODEKEYEXAMPLE"],
            "arn": [arn],
            "canonicalArn": [f"arn:aws:iam::{account}:role/harbor-prod-node"],
            "principalId": [role_id],
            "sessionName": [node.instance],
        },
    }


def component_user(name: str) -> Json:
    """Return `user` of a control-plane component, known by certificate."""
    return {"username": f"system:{name}", "groups": ["system:authenticated"]}


def request_uri(
    resource: str, namespace: str, name: str, subresource: str, query: Json | None
) -> str:
    """Return the path and query of a resource request."""
    group = GROUPS[resource]
    root = f"/apis/{group}/{_VERSIONS.get(group, 'v1')}" if group else "/api/v1"
    parts = [root, *(["namespaces", namespace] if namespace else []), resource]
    parts += [part for part in (name, subresource) if part]
    return "/".join(parts) + (f"?{urlencode(query, doseq=True)}" if query else "")


def audit_event(
    dice: Dice,
    time_us: int,
    client: Client,
    verb: str,
    resource: str,
    namespace: str = "",
    name: str = "",
    subresource: str = "",
    *,
    query: Json | None = None,
    level: str = "Metadata",
    code: int = 0,
    request: Json | None = None,
    response: Json | None = None,
    stage: str = "ResponseComplete",
    lasts_us: int = 0,
    annotations: Json | None = None,
    audit_id: str = "",
) -> Json:
    """Return the event of one request for a resource."""
    group = GROUPS[resource]
    reference: Json = {"resource": resource}
    if namespace:
        reference["namespace"] = namespace
    if name:
        reference["name"] = name
    if group:
        reference["apiGroup"] = group
    reference["apiVersion"] = _VERSIONS.get(group, "v1")
    if subresource:
        reference["subresource"] = subresource
    named = name if verb not in ("list", "watch", "deletecollection") else ""
    uri_name = "" if verb == "create" and not subresource else named
    code = code or _CODES.get(verb, 200)
    allowed = code not in (401, 403)
    status: Json = {"metadata": {}, "code": code}
    if code == 403:
        status = _forbidden(client, verb, resource, namespace, name, subresource)
    event: Json = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": level,
        "auditID": audit_id or dice.uuid(),
        "stage": stage,
        "requestURI": request_uri(resource, namespace, uri_name, subresource, query),
        "verb": verb,
        "user": client.user,
        "sourceIPs": [client.address],
        "userAgent": client.agent,
        "objectRef": reference,
        "responseStatus": status,
    }
    if request is not None:
        event["requestObject"] = request
    if response is not None:
        event["responseObject"] = response
    event["requestReceivedTimestamp"] = iso_micro(time_us)
    event["stageTimestamp"] = iso_micro(time_us + (lasts_us or dice.between(1800, 24000)))
    event["annotations"] = {
        "authorization.k8s.io/decision": "allow" if allowed else "forbid",
        "authorization.k8s.io/reason": client.reason if allowed else "",
        **client.annotations,
        **(annotations or {}),
    }
    return event


def health_event(dice: Dice, time_us: int, client: Client, path: str, code: int = 200) -> Json:
    """Return the event of a request that names no resource."""
    allowed = code == 200
    status: Json = {"metadata": {}, "code": code}
    if not allowed:
        who = client.user["username"]
        status = {
            "metadata": {},
            "status": "Failure",
            "reason": "Forbidden",
            "message": f'forbidden: User "{who}" cannot get path "{path}"',
            "details": {},
            "code": 403,
        }
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": dice.uuid(),
        "stage": "ResponseComplete",
        "requestURI": path,
        "verb": "get",
        "user": client.user,
        "sourceIPs": [client.address],
        "userAgent": client.agent,
        "responseStatus": status,
        "requestReceivedTimestamp": iso_micro(time_us),
        "stageTimestamp": iso_micro(time_us + dice.between(300, 4000)),
        "annotations": {
            "authorization.k8s.io/decision": "allow" if allowed else "forbid",
            "authorization.k8s.io/reason": client.reason if allowed else "",
        },
    }


def _forbidden(
    client: Client, verb: str, resource: str, namespace: str, name: str, subresource: str
) -> Json:
    group = GROUPS[resource]
    what = f"{resource}/{subresource}" if subresource else resource
    shown = (f"{what}.{group}" if group else what) + (f' "{name}"' if name else "")
    scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    details = (
        {"kind": resource} | ({"name": name} if name else {}) | ({"group": group} if group else {})
    )
    return {
        "metadata": {},
        "status": "Failure",
        "message": f'{shown} is forbidden: User "{client.user["username"]}" cannot {verb} '
        f'resource "{what}" in API group "{group}" {scope}',
        "reason": "Forbidden",
        "details": details,
        "code": 403,
    }
