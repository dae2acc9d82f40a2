"""Which of Azure's and Entra ID's logs a record belongs to, in each form it is given out.

Azure Monitor, "Azure Activity Log event schema" and "Resource log common schema" (`category`);
Azure Monitor Logs reference, tables `AzureActivity`, `SigninLogs`, `AuditLogs`, `AADUserRiskEvents`
and their kin; Azure Monitor REST API, "Activity Logs", `EventData`; Microsoft Graph v1.0, `signIn`,
`directoryAudit`, `riskDetection`, and beta `unifiedRoleManagementAlertIncident`.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.sources.document import JsonFailure, read_json

ACTIVITY, AUDIT, SIGN_IN, RISK, PIM = "activity", "audit", "signin", "risk", "pim"

SIGN_IN_CATEGORIES = (
    "SignInLogs",
    "NonInteractiveUserSignInLogs",
    "ServicePrincipalSignInLogs",
    "ManagedIdentitySignInLogs",
    "ADFSSignInLogs",
)
_CATEGORIES = {
    **dict.fromkeys(SIGN_IN_CATEGORIES, SIGN_IN),
    "AuditLogs": AUDIT,
    "UserRiskEvents": RISK,
    "ServicePrincipalRiskEvents": RISK,
}
_ACTIVITY_CATEGORIES = frozenset(
    (
        *("administrative", "security", "servicehealth", "alert", "recommendation", "policy"),
        *("autoscale", "resourcehealth", "write", "delete", "action"),
    )
)
_TABLES = {
    "AzureActivity": ACTIVITY,
    "SigninLogs": SIGN_IN,
    "AADNonInteractiveUserSignInLogs": SIGN_IN,
    "AADServicePrincipalSignInLogs": SIGN_IN,
    "AADManagedIdentitySignInLogs": SIGN_IN,
    "ADFSSignInLogs": SIGN_IN,
    "AuditLogs": AUDIT,
    "AADUserRiskEvents": RISK,
    "AADServicePrincipalRiskEvents": RISK,
}
_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # Rows whose query left out the column `Type`, and objects of Microsoft Graph.
    (ACTIVITY, ("OperationNameValue", "CategoryValue")),
    (ACTIVITY, ("operationName", "eventTimestamp", "eventDataId")),
    (SIGN_IN, ("ResultType", "ConditionalAccessStatus")),
    (SIGN_IN, ("createdDateTime", "appDisplayName", "conditionalAccessStatus", "status")),
    (AUDIT, ("ActivityDisplayName", "InitiatedBy", "TargetResources")),
    (AUDIT, ("activityDisplayName", "activityDateTime", "initiatedBy")),
    (RISK, ("RiskEventType", "DetectionTimingType")),
    (RISK, ("riskEventType", "detectionTimingType")),
)
_ODATA = "#microsoft.graph."
_ALERTS = ("AlertIncident", "AlertConfiguration")


def kind_of(document: Mapping[str, Any]) -> str | None:
    """Return the log that a record belongs to, None where it is of none of them."""
    category, table = document.get("category"), document.get("Type")
    if isinstance(category, str) and "operationName" in document:
        if category in _CATEGORIES:
            return _CATEGORIES[category]
        resource = document.get("resourceId")
        subscribed = isinstance(resource, str) and resource[:15].lower() == "/subscriptions/"
        # One spoilt value must not hide a record; the identity has the form of this log alone.
        if (subscribed or "identity" in document) and category.lower() in _ACTIVITY_CATEGORIES:
            return ACTIVITY
    if isinstance(table, str) and table in _TABLES and "TimeGenerated" in document:
        return _TABLES[table]
    for kind, marks in _MARKS:
        if all(mark in document for mark in marks):
            return kind
    return PIM if alert_name(document) else None


def alert_name(document: Mapping[str, Any]) -> str | None:
    """Return `staleSignInAlertIncident` of an alert of Privileged Identity Management."""
    written = document.get("@odata.type")
    if not isinstance(written, str) or not written.startswith(_ODATA) or len(written) > 200:
        return None
    name = written.removeprefix(_ODATA)
    return name if name.endswith(_ALERTS) else None


_DYNAMIC = frozenset(
    (
        *("Authorization", "Claims", "HTTPRequest", "Properties", "Authorization_d", "Claims_d"),
        *("Properties_d", "Status", "DeviceDetail", "LocationDetails", "MfaDetail"),
        *("InitiatedBy", "TargetResources", "AdditionalDetails", "ConditionalAccessPolicies"),
        *("AuthenticationDetails", "AuthenticationProcessingDetails", "Location"),
    )
)
"""Columns that hold JSON, which exports give as objects and queries as text."""


def unfolded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with the JSON that its columns hold as text read; itself where none does."""
    if "TimeGenerated" not in document or "category" in document:
        return document  # no row of a table
    texts = {
        name: value
        for name in document.keys() & _DYNAMIC
        if isinstance(value := document[name], str) and value[:1] in ("{", "[")
    }
    if not texts:
        return document
    return {**document, **{name: _parsed(value) for name, value in texts.items()}}


def _parsed(text: str) -> Any:
    try:
        return read_json(text.encode(errors="replace")).readings[0]
    except JsonFailure:
        return text
