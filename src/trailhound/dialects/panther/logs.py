"""Log types of Panther, and which logs they are here.

Panther documentation, "Supported Logs". Panther stores most logs as they were written; where it
gives fields other names (`at_sign_type` for `@type`, the parts of a Google Workspace event),
`path_here` and `event_of` lead from one to the other.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.model.logsource import LogSource
from trailhound.rules.ir import Exists, Field, Not, Path, Predicate

LOG_TYPES: Mapping[str, tuple[LogSource, ...]] = {
    "AWS.CloudTrail": (LogSource("aws", None, "cloudtrail"),),
    "Amazon.EKS.Audit": (LogSource("kubernetes", None, "audit"),),
    "Azure.Audit": (
        LogSource("azure", None, "auditlogs"),
        LogSource("azure", None, "signinlogs"),
        LogSource("azure", None, "riskdetection"),
    ),
    "Azure.MonitorActivity": (LogSource("azure", None, "activitylogs"),),
    "GCP.AuditLog": (LogSource("gcp", None, "gcp.audit"),),
    "GSuite.ActivityEvent": (LogSource("gcp", None, "google_workspace.admin"),),
    "GSuite.Reports": (LogSource("gcp", None, "google_workspace.admin"),),
    "GitHub.Audit": (LogSource("github", None, "audit"),),
    "GitHub.Webhook": (LogSource("github", None, "webhook"),),
    "Okta.SystemLog": (LogSource("okta", None, "okta"),),
}
"""Log type → what rules of it read here. A type that is not here is not read."""

APART: Mapping[str, Predicate] = {
    "GitHub.Audit": Not(Exists(Field("sender", (("sender",),)))),
}
"""Log type → what tells its events from others that are read with them: payloads of webhooks have
a sender."""

SPELLED: Mapping[str, tuple[str, ...]] = {
    "AWS.CloudTrail": (
        *("eventName", "eventSource", "eventType", "eventCategory", "errorCode", "errorMessage"),
        *("userIdentity.type", "userIdentity.userName", "userIdentity.accountId"),
        *("userIdentity.principalId", "userIdentity.invokedBy", "userIdentity.accessKeyId"),
        *("userIdentity.sessionContext.sessionIssuer.userName", "awsRegion", "sourceIPAddress"),
        *("userIdentity.sessionContext.attributes.mfaAuthenticated", "recipientAccountId"),
        *("userAgent", "readOnly", "managementEvent", "sharedEventID", "vpcEndpointId"),
    ),
    "Amazon.EKS.Audit": (
        *("verb", "stage", "level", "auditID", "requestURI", "userAgent", "user.username"),
        *("objectRef.resource", "objectRef.subresource", "objectRef.namespace", "objectRef.name"),
        *("objectRef.apiGroup", "objectRef.apiVersion", "responseStatus.code"),
    ),
    "GCP.AuditLog": (
        *("logName", "operation.producer", "protoPayload.serviceName", "protoPayload.methodName"),
        *("protoPayload.authenticationInfo.principalEmail", "protoPayload.resourceName"),
        *("protoPayload.requestMetadata.callerIp", "protoPayload.status.code", "resource.type"),
        "protoPayload.authorizationInfo.permission",
        "protoPayload.authorizationInfo.granted",
    ),
    "GSuite.ActivityEvent": ("id.applicationName", "actor.email"),
    "GitHub.Audit": ("action", "actor", "org", "repo", "user", "operation_type"),
    "GitHub.Webhook": ("action",),
    "Okta.SystemLog": (
        *("eventType", "severity", "displayMessage", "outcome.result", "outcome.reason"),
        *("actor.type", "actor.alternateId", "target.type", "target.alternateId"),
    ),
}
"""Log type → fields of which it is known how the log spells them, and that no other field of it is
spelled likewise but for the case. Rules of Panther find fields by their names in any case."""

OWN = "p_"
"""In front of the names of fields that Panther adds to events."""
_AT_SIGN = "at_sign_"
_WORKSPACE = "GSuite.ActivityEvent"
_WORKSPACE_NAMES = {"name": "eventName", "type": "eventType"}
_WORKSPACE_OWN = ("kind", "id", "etag", "ownerDomain", "ipAddress", "actor", "networkInfo")
_DEPTH_LIMIT = 64


def sources_of(log_type: str) -> tuple[LogSource, ...]:
    """Return what a log type is here; for one that is not read, what nothing serves."""
    return LOG_TYPES.get(log_type) or (LogSource("panther", None, log_type),)


_BY_NAME = {
    log_type: {
        tuple(step.lower() for step in steps[:end]): steps[:end]
        for steps in (tuple(name.split(".")) for name in names)
        for end in range(1, len(steps) + 1)
    }
    for log_type, names in SPELLED.items()
}


def spelled(log_type: str, path: Path) -> Path | None:
    """Return a path as the log spells it; None where that is not known for sure."""
    if log_type == _WORKSPACE and len(path) == 1 and path[0].lower() in _WORKSPACE_NAMES:
        return (path[0].lower(),)
    return _BY_NAME.get(log_type, {}).get(tuple(step.lower() for step in path))


def path_here(log_type: str, path: Path) -> Path:
    """Return where a field of Panther's event stands in the document."""
    path = spelled(log_type, path) or path
    steps = tuple(
        f"@{step.removeprefix(_AT_SIGN)}" if step.startswith(_AT_SIGN) else step for step in path
    )
    if log_type == _WORKSPACE and steps:
        if steps[0] == "parameters" and len(steps) > 1:
            return (steps[1].lower(), *steps[2:])
        return (_WORKSPACE_NAMES.get(steps[0], steps[0]), *steps[1:])
    return steps


def event_of(log_type: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as Panther gives it to rules, without the fields that Panther adds."""
    if log_type == _WORKSPACE:
        own = {name: document[name] for name in _WORKSPACE_OWN if name in document}
        named = {ours: document.get(here) for ours, here in _WORKSPACE_NAMES.items()}
        left_out = {*_WORKSPACE_OWN, *_WORKSPACE_NAMES.values(), "events", "eventService"}
        parameters = {name: value for name, value in document.items() if name not in left_out}
        return {**own, **named, "parameters": parameters}
    return {_named(key): _renamed(value, 1) for key, value in document.items()}


def _named(key: str) -> str:
    return _AT_SIGN + key[1:] if key.startswith("@") and len(key) > 1 else key


def _renamed(value: Any, depth: int) -> Any:
    if depth > _DEPTH_LIMIT:
        return value
    if isinstance(value, dict):
        return {_named(key): _renamed(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, depth + 1) for item in value]
    return value


def document_of(log_type: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return Panther's event as the log has it: the inverse of `event_of`, for tests in rules."""
    if log_type == _WORKSPACE:
        own = {name: event[name] for name in _WORKSPACE_OWN if name in event}
        named = {here: event[ours] for ours, here in _WORKSPACE_NAMES.items() if ours in event}
        parameters = event.get("parameters")
        others = {
            key: value
            for key, value in event.items()
            if key not in own and key not in _WORKSPACE_NAMES and key != "parameters"
        }
        return {**(parameters if isinstance(parameters, dict) else {}), **others, **own, **named}
    return {_written(key): _rewritten(value, 1) for key, value in event.items()}


def _written(key: str) -> str:
    return f"@{key.removeprefix(_AT_SIGN)}" if key.startswith(_AT_SIGN) else key


def _rewritten(value: Any, depth: int) -> Any:
    if depth > _DEPTH_LIMIT:
        return value
    if isinstance(value, dict):
        return {_written(key): _rewritten(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rewritten(item, depth + 1) for item in value]
    return value
