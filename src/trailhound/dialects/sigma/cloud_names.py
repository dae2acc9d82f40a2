"""Where the logs of clouds and identity providers hold what Sigma rules name.

Rules for these sources were written against several exports of the same log, and against the
words of a portal; they differ in case, too. Here a name, whatever its case, stands for every
place in which some form of the log holds that value. What is not here is a path as it is.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from trailhound.model.logsource import LogSource


class Names(Struct, frozen=True):
    """The names of one log source."""

    exact: Mapping[str, tuple[str, ...]] = {}
    """Field name in lower case → dotted paths."""
    stems: tuple[tuple[str, str], ...] = ()
    """Beginning of a name in lower case → what stands there instead; the first that fits."""

    def places(self, name: str) -> tuple[str, ...] | None:
        """Return the dotted paths that a name stands for; None where it is a path itself."""
        folded = name.casefold()
        if (found := self.exact.get(folded)) is not None:
            return found
        for stem, instead in self.stems:
            if folded.startswith(stem):
                path = instead + name[len(stem) :]
                return self.places(path) or (path,)
        return None


def names_for(logsource: LogSource) -> Names:
    """Return the names of one log source; an empty table where its rules need none."""
    product, service = logsource.product or "", logsource.service or ""
    return _NAMES.get((product, service)) or _NAMES.get((product, ""), Names())


def _spelled(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that are paths themselves, but for their case."""
    return {name.casefold(): (name,) for name in names}


# --- Okta ---------------------------------------------------------------------------------

# Rules of 2021 and 2022 have these in lower case throughout.
_OKTA = Names(
    _spelled(
        (
            *("eventType", "displayMessage", "legacyEventType", "severity"),
            *("actor.alternateId", "actor.displayName", "actor.id", "actor.type"),
            *("client.ipAddress", "client.userAgent.rawUserAgent", "client.zone"),
            *("client.geographicalContext.country", "outcome.reason", "outcome.result"),
            *("target.alternateId", "target.displayName", "target.id", "target.type"),
            *("debugContext.debugData.behaviors", "debugContext.debugData.requestUri"),
            *("debugContext.debugData.logOnlySecurityData", "debugContext.debugData.url"),
            *("securityContext.isProxy", "transaction.id", "transaction.type"),
            *("authenticationContext.externalSessionId", "authenticationContext.credentialType"),
        )
    )
)

# --- Google Cloud -------------------------------------------------------------------------

_AUDIT_LOG = {
    "type": "@type",
    "service_name": "serviceName",
    "method_name": "methodName",
    "resource_name": "resourceName",
    "num_response_items": "numResponseItems",
    "authentication_info.principal_email": "authenticationInfo.principalEmail",
    "authentication_info.principal_subject": "authenticationInfo.principalSubject",
    "authentication_info.authority_selector": "authenticationInfo.authoritySelector",
    "authorization_info.granted": "authorizationInfo.granted",
    "authorization_info.permission": "authorizationInfo.permission",
    "authorization_info.resource": "authorizationInfo.resource",
    "request_metadata.caller_ip": "requestMetadata.callerIp",
    "request_metadata.caller_supplied_user_agent": "requestMetadata.callerSuppliedUserAgent",
    "resource_location.current_locations": "resourceLocation.currentLocations",
    "status.code": "status.code",
    "status.message": "status.message",
}
"""Elastic integration for Google Cloud, "Audit", exported fields below `gcp.audit` → `AuditLog`."""
_GCP = Names(
    {
        **{f"gcp.audit.{name}": (f"protoPayload.{path}",) for name, path in _AUDIT_LOG.items()},
        # A public rule looks for these two a level too deep.
        "protopayload.resource.type": ("resource.type",),
        "protopayload.logname": ("logName",),
    },
    (
        (
            "gcp.audit.authorization_info.resource_attributes.",
            "protoPayload.authorizationInfo.resourceAttributes.",
        ),
        ("gcp.audit.labels.", "labels."),
        ("gcp.audit.logentry_operation.", "operation."),
        *((f"gcp.audit.{body}", f"protoPayload.{body}") for body in ("request", "response")),
        ("gcp.audit.metadata", "protoPayload.metadata"),
        # Exports that wrap the entry.
        ("data.", ""),
    ),
)
_WORKSPACE = Names(
    {
        **_spelled(("eventService", "eventName")),
        "protopayload.servicename": ("eventService",),
        "protopayload.metadata.event.eventname": ("eventName",),
    },
    (("data.", ""),),
)

# --- Azure --------------------------------------------------------------------------------


def _azure(fields: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Names → paths, given as a column's name and how deep it goes in the other forms.

    What a table has in the column `DeviceDetail` is `properties.deviceDetail` in what diagnostic
    settings send, and `deviceDetail` in what Microsoft Graph answers.
    """
    found: dict[str, tuple[str, ...]] = {}
    for names, column in fields.items():
        first = column[:1].lower() + column[1:]
        for name in names.split():
            found[name.casefold()] = (f"properties.{first}", first, column)
    return found


_OPERATIONS = ("operationName", "operationName.value", "OperationNameValue", "OperationName")
_IN_WORDS = ("operationName.localizedValue", "properties.message")
_ACTIVITY_LOG = Names(
    {
        "operationname": _OPERATIONS,
        "operationnamevalue": _OPERATIONS,
        "properties.message": (*_IN_WORDS, *_OPERATIONS),
        "categoryvalue": ("category", "category.value", "CategoryValue", "Category"),
        "category": ("category", "category.value", "CategoryValue", "Category"),
        "resourceprovidervalue": (
            "properties.resourceProviderValue",
            "resourceProviderName.value",
            "ResourceProviderValue",
            "ResourceProvider",
        ),
        "resourceid": ("resourceId", "ResourceId", "_ResourceId"),
        "caller": ("caller", "Caller"),
        "resulttype": ("resultType", "status.value", "ActivityStatusValue"),
        "properties.requestbody": ("properties.requestbody", "Properties.requestbody"),
        "calleripaddress": ("callerIpAddress", "CallerIpAddress", "httpRequest.clientIpAddress"),
    }
)
_ENTRY_NAMES = (
    *("operationName", "OperationName", "properties.activityDisplayName"),
    *("activityDisplayName", "ActivityDisplayName"),
)
_ENTRY_RESULTS = (
    *("properties.result", "result", "Result"),
    *("properties.resultReason", "resultReason", "ResultReason"),
)
_AUDIT_LOGS = Names(
    {
        # All these are headings of the same column in the portal's list of audit entries.
        **dict.fromkeys(
            ("operationname", "activitydisplayname", "activitytype", "properties.message"),
            _ENTRY_NAMES,
        ),
        "status": _ENTRY_RESULTS,
        "properties.result": _ENTRY_RESULTS,
        "failure_status_reason": (*_ENTRY_RESULTS, "resultDescription", "ResultDescription"),
        "category": ("category", "Category", "properties.category"),
        **_azure(
            {
                "loggedByService": "LoggedByService",
                "initiatedBy": "InitiatedBy.user.userPrincipalName",
                "target": "TargetResources.userPrincipalName",
                "additionalDetails.additionalInfo": "AdditionalDetails.value",
                "targetResources properties.targetResources": "TargetResources",
                "targetResources.type": "TargetResources.type",
                "targetResources.displayName": "TargetResources.displayName",
                "targetResources.modifiedProperties": "TargetResources.modifiedProperties",
                "targetResources.modifiedProperties.displayName": "TargetResources."
                "modifiedProperties.displayName",
                "targetResources.modifiedProperties.newValue": "TargetResources."
                "modifiedProperties.newValue",
                "targetResources.modifiedProperties.oldValue": "TargetResources."
                "modifiedProperties.oldValue",
            }
        ),
    }
)
_SIGN_INS = Names(
    {
        # The error code stands at the top in all forms but Microsoft Graph's.
        "resulttype": ("resultType", "ResultType", "status.errorCode"),
        "resultdescription": (
            *("resultDescription", "ResultDescription"),
            *("properties.status.failureReason", "status.failureReason"),
        ),
        "calleripaddress": ("callerIpAddress", "ipAddress", "IPAddress"),
        "clientapp": ("properties.clientAppUsed", "clientAppUsed", "ClientAppUsed"),
        "status": (
            *("properties.status.additionalDetails", "status.additionalDetails"),
            *("Status.additionalDetails", "properties.status.failureReason"),
            *("status.failureReason", "Status.failureReason"),
        ),
        **_azure(
            {
                "properties.message authenticationProtocol": "AuthenticationProtocol",
                "username userPrincipalName": "UserPrincipalName",
                "userAgent": "UserAgent",
                "authenticationRequirement": "AuthenticationRequirement",
                "riskState": "RiskState",
                "resourceDisplayName": "ResourceDisplayName",
                "conditionalAccessStatus": "ConditionalAccessStatus",
                "networkLocationDetails": "NetworkLocationDetails",
                "deviceDetail.trustType": "DeviceDetail.trustType",
                "deviceDetail.deviceId": "DeviceDetail.deviceId",
                "deviceDetail.isCompliant": "DeviceDetail.isCompliant",
                "appDisplayName": "AppDisplayName",
            }
        ),
    }
)
_RISKS = Names(_azure({"riskEventType": "RiskEventType", "riskState": "RiskState"}))

_NAMES: dict[tuple[str, str], Names] = {
    ("okta", ""): _OKTA,
    ("gcp", "gcp.audit"): _GCP,
    ("gcp", "google_workspace.admin"): _WORKSPACE,
    ("azure", "activitylogs"): _ACTIVITY_LOG,
    ("azure", "auditlogs"): _AUDIT_LOGS,
    ("azure", "signinlogs"): _SIGN_INS,
    ("azure", "riskdetection"): _RISKS,
    ("gcp", "google_workspace.login"): _WORKSPACE,
}
"""(product, service) → names; an empty service: every service of the product."""
