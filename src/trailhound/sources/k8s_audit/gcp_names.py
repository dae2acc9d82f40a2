"""Google Cloud audit entries under the names that public rules use for them.

Rules for `service: gcp.audit` name fields in three ways: as the `LogEntry` does, below `data`
(exports that wrap the entry), and below `gcp.audit`, in the words of the Elastic integration for
Google Cloud ("Audit", exported fields).
"""

from collections.abc import Mapping
from typing import Any

_PAYLOAD = {
    "type": "@type",
    "service_name": "serviceName",
    "method_name": "methodName",
    "resource_name": "resourceName",
    "num_response_items": "numResponseItems",
    "request": "request",
    "response": "response",
    "metadata": "metadata",
}
_BODIES = ("request", "response", "metadata")
_INSIDE = {
    "authentication_info": (
        "authenticationInfo",
        {
            "principal_email": "principalEmail",
            "principal_subject": "principalSubject",
            "authority_selector": "authoritySelector",
        },
    ),
    "authorization_info": (
        "authorizationInfo",
        {
            "granted": "granted",
            "permission": "permission",
            "resource": "resource",
            "resource_attributes": "resourceAttributes",
        },
    ),
    "request_metadata": (
        "requestMetadata",
        {"caller_ip": "callerIp", "caller_supplied_user_agent": "callerSuppliedUserAgent"},
    ),
    "resource_location": ("resourceLocation", {"current_locations": "currentLocations"}),
    "status": ("status", {"code": "code", "message": "message"}),
}
_ENTRY = {"labels": "labels", "logentry_operation": "operation"}

DERIVED = (
    *(f"gcp.audit.{name}" for name in _PAYLOAD if name not in _BODIES),
    *(f"gcp.audit.{name}.*" for name in (*_BODIES, *_ENTRY)),
    *(f"gcp.audit.{outer}.{name}" for outer, (_, inner) in _INSIDE.items() for name in inner),
    "gcp.audit.authorization_info.resource_attributes.*",
)
"""Fields that `under_rule_names` makes below `gcp`."""


def under_rule_names(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a log entry with the names of rules beside its own. Total.

    Nothing of the entry is changed; where it has a key `data` or `gcp` itself, that one stays.
    """
    payload = entry["protoPayload"]
    audit = _named(payload, _PAYLOAD) | _named(entry, _ENTRY)
    for name, (source, names) in _INSIDE.items():
        if (inner := _inside(payload.get(source), names)) not in (None, {}):
            audit[name] = inner
    # A public rule looks for these two a level too deep.
    misplaced = {name: entry[name] for name in ("resource", "logName") if name in entry}
    log = misplaced.get("logName")
    if isinstance(log, str):
        misplaced["logName"] = [log, log.rpartition("/logs/")[2]]
    data = {**entry, "protoPayload": {**misplaced, **payload}}
    return {**entry, "data": entry.get("data", data), "gcp": entry.get("gcp", {"audit": audit})}


def _named(document: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: document[source] for name, source in names.items() if source in document}


def _inside(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) if isinstance(item, dict) else item for item in value]
    return _named(value, names) if isinstance(value, dict) else value
