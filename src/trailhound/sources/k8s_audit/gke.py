"""Audit log entries of GKE, turned into audit.k8s.io/v1 events.

Google Kubernetes Engine, "Audit logging information"; Cloud Logging API, `LogEntry`;
Cloud Audit Logs, `AuditLog`. GKE leaves out the user's groups and the request URI; the URI is
put together again, without its query.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.sources.mapping import value_at

_HTTP_BY_GRPC = {
    0: 200,
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""google.rpc.Code to the HTTP status that google/rpc/code.proto maps it to."""

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""`StatusReason` of the Kubernetes API conventions."""

_STREAMS = ("exec", "attach", "portforward")
_TYPE_MARKS = ("@type", "kind", "apiVersion")
_LONG_GROUPS = ".k8s.io"
_SHORT_GROUPS = ("apps", "autoscaling", "batch", "extensions", "policy")


def is_log_entry(document: Mapping[str, Any]) -> bool:
    """Whether it is a `LogEntry` with an `AuditLog` of a Kubernetes API server."""
    payload = document.get("protoPayload")
    return (
        isinstance(payload, dict)
        and payload.get("serviceName") == "k8s.io"
        and isinstance(payload.get("methodName"), str)
    )


def as_audit_event(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the audit.k8s.io/v1 event that a log entry was made from. Total."""
    payload = entry["protoPayload"]
    resources, verb = _method(payload["methodName"])
    name = payload.get("resourceName")
    target = name if isinstance(name, str) else ""
    reference = _reference(target, resources)
    request, response = payload.get("request"), payload.get("response")
    time = entry.get("timestamp", entry.get("receiveTimestamp"))
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": _level(request, response),
        "auditID": value_at(entry, "operation.id") or entry.get("insertId"),
        "stage": _stage(entry.get("operation")),
        "requestURI": _uri(target, reference),
        "verb": verb,
        "user": _present(
            username=value_at(payload, "authenticationInfo.principalEmail")
            or value_at(payload, "authenticationInfo.principalSubject")
        ),
        # What the caller asked to act as, with an Impersonate-User header.
        "impersonatedUser": _present(
            username=value_at(payload, "authenticationInfo.authoritySelector")
        ),
        "sourceIPs": _listed(value_at(payload, "requestMetadata.callerIp")),
        "userAgent": value_at(payload, "requestMetadata.callerSuppliedUserAgent"),
        "objectRef": reference,
        "responseStatus": _status(payload, verb, reference),
        "requestObject": _object(request),
        "responseObject": _object(response),
        "requestReceivedTimestamp": time,
        "stageTimestamp": time,
        "annotations": _annotations(entry, payload),
    }
    return {key: value for key, value in event.items() if value not in (None, {}, [])}


def _present(**members: Any) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value not in (None, "")}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _method(name: str) -> tuple[list[str], str]:
    """Split `io.k8s.core.v1.pods.exec.create` into resource and subresource, and the verb."""
    *path, verb = name.split(".")
    version = next((n for n in range(len(path) - 1, -1, -1) if _is_version(path[n])), None)
    return ([] if version is None else path[version + 1 :]), verb


def _is_version(text: str) -> bool:
    digits = text[1:].replace("alpha", "0").replace("beta", "0")
    return text[:1] == "v" and digits.isdecimal() and digits.isascii()


def _reference(target: str, resources: list[str]) -> dict[str, Any]:
    """Read `core/v1/namespaces/NAMESPACE/pods/NAME/exec`, with help from the method."""
    parts = [part for part in target.split("/") if part]
    group = version = ""
    if len(parts) >= 2 and _is_version(parts[1]):
        group, version, *parts = parts
    elif parts and _is_version(parts[0]):
        version, *parts = parts
    if not parts or not (version or resources):
        return {}
    resource = resources[0] if resources else ""
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) >= 2:
        namespace = parts[1]
        if resource != "namespaces" and (resource or len(parts) > 2):
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    subresource = resources[1] if len(resources) > 1 else "/".join(parts[2:])
    return _present(
        resource=resource or (parts[0] if parts else ""),
        namespace=namespace,
        name=name,
        apiGroup="" if group == "core" else group,
        apiVersion=version,
        subresource=subresource,
    )


def _uri(target: str, reference: Mapping[str, Any]) -> str | None:
    if not target:
        return None
    if target.startswith("core/"):
        return "/api/" + target.removeprefix("core/")
    return "/apis/" + target if reference.get("apiGroup") else "/" + target.lstrip("/")


def _level(request: object, response: object) -> str:
    if response is not None:
        return "RequestResponse"
    return "Metadata" if request is None else "Request"


def _stage(operation: object) -> str:
    flags = operation if isinstance(operation, dict) else {}
    first, last = (flags.get(name) in (True, "true") for name in ("first", "last"))
    return "ResponseStarted" if first and not last else "ResponseComplete"


def _status(payload: Mapping[str, Any], verb: str, reference: Mapping[str, Any]) -> dict[str, Any]:
    response = payload.get("response")
    if isinstance(response, dict) and _number(response.get("code")) is not None:
        return {key: value for key, value in response.items() if key not in _TYPE_MARKS}
    code = _number(value_at(payload, "status.code")) or 0
    message = value_at(payload, "status.message")
    http = _HTTP_BY_GRPC.get(code, 500)
    if http != 200:
        return _present(status="Failure", message=message, reason=_REASONS.get(http), code=http)
    if reference.get("subresource") in _STREAMS:
        http = 101
    elif verb == "create":
        http = 201
    return {"code": http}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object(body: object) -> Any:
    """Undo what GKE does to an object: its type stands in `@type`, `apps.k8s.io/v1.Deployment`."""
    if not isinstance(body, dict) or not isinstance(body.get("@type"), str):
        return body
    rest = {key: value for key, value in body.items() if key != "@type"}
    full_group, _, tail = body["@type"].partition("/")
    version, _, kind = tail.partition(".")
    if not kind or not _is_version(version):
        return rest
    group = full_group
    if full_group.removesuffix(_LONG_GROUPS) in _SHORT_GROUPS:
        group = full_group.removesuffix(_LONG_GROUPS)
    api_version = version if full_group in ("core.k8s.io", "core") else f"{group}/{version}"
    return {"kind": kind, "apiVersion": api_version, **rest}


def _annotations(entry: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    labels = entry.get("labels")
    annotations = dict(labels) if isinstance(labels, dict) else {}
    checks = payload.get("authorizationInfo")
    granted = [
        check["granted"]
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and isinstance(check.get("granted"), bool)
    ]
    if granted:
        decision = "allow" if all(granted) else "forbid"
        annotations.setdefault("authorization.k8s.io/decision", decision)
    return annotations
