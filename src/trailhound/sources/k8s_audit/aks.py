"""Rows of the AKS tables of Azure Monitor Logs, turned into audit.k8s.io/v1 events.

Azure Monitor Logs reference, tables `AKSAudit` and `AKSAuditAdmin`: one column for each field of
the event. Exports give columns of type `dynamic` as objects, queries as JSON text.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.sources.document import JsonFailure, read_json

_TABLES = ("AKSAudit", "AKSAuditAdmin")
_COLUMNS = {
    "Level": "level",
    "AuditId": "auditID",
    "Stage": "stage",
    "RequestUri": "requestURI",
    "Verb": "verb",
    "User": "user",
    "ImpersonatedUser": "impersonatedUser",
    "SourceIps": "sourceIPs",
    "UserAgent": "userAgent",
    "ObjectRef": "objectRef",
    "ResponseStatus": "responseStatus",
    "RequestObject": "requestObject",
    "ResponseObject": "responseObject",
    "RequestReceivedTime": "requestReceivedTimestamp",
    "StageReceivedTime": "stageTimestamp",
    "Annotations": "annotations",
}
_DYNAMIC = frozenset(
    (
        *("User", "ImpersonatedUser", "SourceIps", "ObjectRef", "ResponseStatus"),
        *("RequestObject", "ResponseObject", "Annotations"),
    )
)


def is_row(document: Mapping[str, Any]) -> bool:
    """Whether it is a row of such a table; a query may leave out the column `Type`."""
    if not all(isinstance(document.get(name), str) for name in ("AuditId", "Verb", "Stage")):
        return False
    return document.get("Type", _TABLES[0]) in _TABLES


def row_as_audit_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the audit.k8s.io/v1 event that a row was made from. Total."""
    event: dict[str, Any] = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}
    for column, name in _COLUMNS.items():
        value = row.get(column)
        if column in _DYNAMIC and isinstance(value, str):
            value = _parsed(value)
        if value not in (None, ""):
            event[name] = value
    if "stageTimestamp" not in event and isinstance(row.get("TimeGenerated"), str):
        event["stageTimestamp"] = row["TimeGenerated"]
    return event


def _parsed(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        return read_json(text.encode(errors="replace")).readings[0]
    except JsonFailure:
        return text
