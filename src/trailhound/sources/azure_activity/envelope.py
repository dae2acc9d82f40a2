"""The OCSF envelope of records of Azure's Activity Log and of Entra ID's logs.

Semantics: see `kinds.py`; Entra ID, "Sign-in error codes" (`resultType` 0 is success).
"""

from collections.abc import Callable, Mapping
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.azure_activity.kinds import (
    ACTIVITY,
    AUDIT,
    PIM,
    RISK,
    SIGN_IN,
    alert_name,
    unfolded,
)
from trailhound.sources.mapping import EnvelopeFields, EnvelopeMap, time_ns_of, value_at
from trailhound.sources.members import address, is_ip, said, text

Document = Mapping[str, Any]

_API_ACTIVITY, _AUTHENTICATION, _FINDING = 6003, 3002, 2004
_OTHER = 99


def _in(*names: str) -> Callable[[Document], str | None]:
    """Getter of fields that stand below `properties`, at the top, or as a column of a table."""
    paths = []
    for name in names:
        first, dot, rest = name.partition(".")
        column = first[:1].upper() + first[1:] + dot + rest
        paths += [f"properties.{name}", name, column]
    return said(*paths)


_TIMES = (
    *("time", "eventTimestamp", "TimeGenerated", "createdDateTime", "activityDateTime"),
    *("detectedDateTime", "ActivityDateTime", "lastModifiedDateTime", "DetectedDateTime"),
)


def time_ns(document: Document) -> int | None:
    """Return when it happened; None where nothing says so."""
    found = (time_ns_of(document.get(name)) for name in _TIMES)
    return next((moment for moment in found if moment is not None), None)


# --- Activity Log ------------------------------------------------------------------------

_OPERATION = said("operationName.value", "OperationNameValue", "operationName", "OperationName")
_RESOURCE = said("resourceId", "ResourceId", "_ResourceId", "authorization.scope")
_ENDINGS = {"write": 3, "delete": 4, "read": 2}
_CLAIMS = ("identity.claims", "claims", "Claims", "Claims_d")


def _claim(*endings: str) -> Callable[[Document], str | None]:
    """Getter of a claim by the end of its name: `…/identity/claims/upn`."""

    def found(document: Document) -> str | None:
        for path in _CLAIMS:
            claims = value_at(document, path)
            for ending in endings:
                for name in claims if isinstance(claims, Mapping) else ():
                    if name.rpartition("/")[2] == ending and (value := text(claims[name])):
                        return value
        return None

    return found


_PERSON = _claim("upn", "emailaddress", "unique_name")


def _activity_actor(document: Document) -> str | None:
    return said("caller", "Caller")(document) or _PERSON(document) or _claim("appid")(document)


def _resource_type(document: Document) -> str | None:
    written = said("resourceType.value", "resourceType")(document)
    return written or (_OPERATION(document) or "").rpartition("/")[0]


_RESULTS = {
    **dict.fromkeys(("success", "succeeded", "0", "accept", "accepted"), Outcome.SUCCESS),
    **dict.fromkeys(("failure", "failed", "timeout"), Outcome.FAILURE),
}
_RESULT = said("status.value", "ActivityStatusValue", "ActivityStatus", "resultType")


def _subscription(document: Document) -> str | None:
    parts = (_RESOURCE(document) or "").split("/", 3)
    named = said("subscriptionId", "SubscriptionId", "tenantId", "TenantId", "AADTenantId")
    return parts[2] if len(parts) > 2 and parts[1].lower() == "subscriptions" else named(document)


def _address(*getters: Callable[[Document], str | None]) -> Callable[[Document], str | None]:
    """Getter of the first address, without the port that some services leave at it."""

    def found(document: Document) -> str | None:
        for getter in getters:
            written = getter(document) or ""
            for candidate in (written, written.rpartition(":")[0].strip("[]")):
                if is_ip(candidate):
                    return candidate
        return None

    return found


_ACTIVITY: EnvelopeFields = {
    "class_uid": (lambda _: _API_ACTIVITY,),
    "activity_id": (
        lambda document: _ENDINGS.get(
            (_OPERATION(document) or "").rpartition("/")[2].lower(), _OTHER
        ),
    ),
    "action": (_OPERATION, said("category", "Category")),
    "actor_name": (_activity_actor,),
    "actor_uid": (_claim("objectidentifier"), said("identity.authorization.evidence.principalId")),
    "actor_type": (lambda document: "User" if _PERSON(document) else "ServicePrincipal",),
    "session_uid": (_claim("uti"),),
    "target_type": (_resource_type,),
    "target_name": (_RESOURCE,),
    "target_namespace": (_subscription,),
    "outcome": (lambda d: _RESULTS.get((_RESULT(d) or "").lower(), Outcome.UNKNOWN),),
    "outcome_detail": (
        said("resultSignature", "subStatus.value", "ActivitySubstatusValue", "resultDescription"),
    ),
    "src_ip": (
        _address(
            said("callerIpAddress", "CallerIpAddress", "httpRequest.clientIpAddress"),
            _claim("ipaddr"),
        ),
    ),
    "request_uid": (said("correlationId", "CorrelationId"),),
}

# --- Entra ID ----------------------------------------------------------------------------

_USER = _in("userPrincipalName")
_APPLICATION = _in("servicePrincipalName")
_CODE = said("resultType", "ResultType", "properties.status.errorCode", "status.errorCode")


def _signed_in(document: Document) -> Outcome:
    code = _CODE(document)
    if code is None:
        return Outcome.UNKNOWN
    return Outcome.SUCCESS if code == "0" else Outcome.FAILURE


_SIGN_IN: EnvelopeFields = {
    "class_uid": (lambda _: _AUTHENTICATION,),
    "activity_id": (lambda _: 1,),
    "action": (said("operationName", "OperationName"), lambda _: "Sign-in activity"),
    "actor_name": (_USER, _APPLICATION, _in("userDisplayName"), said("identity", "Identity")),
    "actor_uid": (_in("userId"), _in("servicePrincipalId")),
    "actor_type": (
        lambda document: (
            "ServicePrincipal" if _APPLICATION(document) and not _USER(document) else "User"
        ),
    ),
    "session_uid": (_in("sessionId"), _in("uniqueTokenIdentifier")),
    "target_type": (lambda _: "Application",),
    "target_name": (_in("appDisplayName"), _in("resourceDisplayName"), _in("appId")),
    "outcome": (_signed_in,),
    "outcome_detail": (
        lambda document: None if _CODE(document) == "0" else _in("status.failureReason")(document),
        said("resultDescription", "ResultDescription"),
        _CODE,
    ),
    "src_ip": (_address(_in("ipAddress"), said("IPAddress", "callerIpAddress")),),
    "user_agent": (_in("userAgent"),),
    "request_uid": (_in("id"),),
}

_ENTRY_NAME = said(
    *("properties.activityDisplayName", "activityDisplayName", "ActivityDisplayName"),
    *("operationName", "OperationName"),
)
_WORDS = {
    **dict.fromkeys(("add", "create", "invite", "register", "consent", "restore"), 1),
    **dict.fromkeys(("read", "get", "download", "recover"), 2),
    **dict.fromkeys(("update", "change", "reset", "set", "enable", "disable", "user"), 3),
    **dict.fromkeys(("delete", "remove", "hard", "unregister"), 4),
}
_AUDIT: EnvelopeFields = {
    "class_uid": (lambda _: _API_ACTIVITY,),
    "activity_id": (
        lambda document: _WORDS.get(
            (_ENTRY_NAME(document) or "").partition(" ")[0].lower(), _OTHER
        ),
    ),
    "action": (_ENTRY_NAME,),
    "actor_name": (
        _in("initiatedBy.user.userPrincipalName", "initiatedBy.user.displayName"),
        _in("initiatedBy.app.displayName"),
        said("identity", "Identity"),
    ),
    "actor_uid": (_in("initiatedBy.user.id"), _in("initiatedBy.app.servicePrincipalId")),
    "actor_type": (
        lambda document: (
            "ServicePrincipal" if _in("initiatedBy.app.displayName")(document) else "User"
        ),
    ),
    "target_type": (_in("targetResources.type"),),
    "target_name": (
        _in("targetResources.userPrincipalName"),
        _in("targetResources.displayName"),
        _in("targetResources.id"),
    ),
    "outcome": (lambda d: _RESULTS.get((_in("result")(d) or "").lower(), Outcome.UNKNOWN),),
    "outcome_detail": (_in("resultReason"), said("resultDescription", "ResultDescription")),
    "src_ip": (_address(_in("initiatedBy.user.ipAddress"), said("callerIpAddress")),),
    "request_uid": (_in("id"), said("correlationId", "CorrelationId")),
}
_RISK: EnvelopeFields = {
    "class_uid": (lambda _: _FINDING,),
    "activity_id": (lambda _: 1,),
    "action": (_in("riskEventType"),),
    "actor_name": (_USER, _in("servicePrincipalDisplayName"), _in("userDisplayName")),
    "actor_uid": (_in("userId"), _in("servicePrincipalId")),
    "outcome_detail": (_in("riskState"),),
    "src_ip": (address("properties.ipAddress", "ipAddress", "IpAddress"),),
    "request_uid": (_in("id"),),
}
_PIM: EnvelopeFields = {
    "class_uid": (lambda _: _FINDING,),
    "activity_id": (lambda _: 1,),
    "action": (alert_name,),
    "target_type": (lambda document: "Role" if said("roleDisplayName")(document) else None,),
    "target_name": (said("roleDisplayName", "assigneeUserPrincipalName"),),
    "actor_name": (said("assigneeUserPrincipalName", "assigneeDisplayName"),),
    "actor_uid": (said("assigneeId"),),
    "request_uid": (said("id"),),
}
_MAPS = {
    kind: EnvelopeMap({"time_ns": (time_ns,), "device": (_subscription,), **fields})
    for kind, fields in (
        (ACTIVITY, _ACTIVITY),
        (SIGN_IN, _SIGN_IN),
        (AUDIT, _AUDIT),
        (RISK, _RISK),
        (PIM, _PIM),
    )
}


def describe(kind: str, document: Document) -> Envelope:
    """Return the OCSF envelope of a record of one of the logs. Total."""
    return _MAPS[kind](unfolded(document))
