"""The OCSF envelope of a Cloud Audit Logs entry.

Semantics: Cloud Logging API, `LogEntry`; `google.cloud.audit.AuditLog`; google.rpc.Code.
"""

import re
from collections.abc import Mapping
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.mapping import EnvelopeMap, time_ns_of, value_at
from trailhound.sources.members import address, said, text

_API_ACTIVITY, _AUTHENTICATION = 6003, 3002
_OTHER = 99
_LOGIN = "login.googleapis.com"
_WORDS = {
    1: "add allocate batch copy create export generate import insert issue publish sign undelete "
    "write",
    2: "aggregated check fetch get head list lookup preview query read run search test view",
    3: "attach change detach disable enable move patch recover replace reset resize restart "
    "restore rotate set start stop suspend switch update upload upsert",
    4: "abort delete destroy drop purge remove revoke",
}
_VERBS = {word: activity for activity, words in _WORDS.items() for word in words.split()}
_FIRST_WORD = re.compile(r"[A-Za-z][a-z]*")
_SEGMENT_READ = 256


def time_ns(document: Mapping[str, Any]) -> int | None:
    """Return when it happened, else when Cloud Logging got it; None where neither is a time."""
    found = (time_ns_of(document.get(name)) for name in ("timestamp", "receiveTimestamp"))
    return next((moment for moment in found if moment is not None), None)


def _method(document: Mapping[str, Any]) -> str:
    return said("protoPayload.methodName")(document) or ""


def _class(document: Mapping[str, Any]) -> tuple[int, int]:
    if said("protoPayload.serviceName")(document) == _LOGIN:
        return _AUTHENTICATION, 2 if "logout" in _method(document).lower() else 1
    # `storage.buckets.delete`, `google.iam.admin.v1.CreateServiceAccountKey`, `SetIamPolicy`
    word = _FIRST_WORD.match(_method(document).rpartition(".")[2][:_SEGMENT_READ])
    return _API_ACTIVITY, _VERBS.get(word[0].lower(), _OTHER) if word else _OTHER


def _actor_type(document: Mapping[str, Any]) -> str | None:
    name = _ACTOR(document)
    if name is None:
        return None
    robot = name.endswith("gserviceaccount.com") or name.startswith("serviceAccount:")
    return "ServiceAccount" if robot else "User"


def _granted(document: Mapping[str, Any]) -> list[bool]:
    checks = value_at(document, "protoPayload.authorizationInfo")
    return [
        check["granted"]
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, Mapping) and isinstance(check.get("granted"), bool)
    ]


def _outcome(document: Mapping[str, Any]) -> Outcome:
    code = value_at(document, "protoPayload.status.code")
    severity = document.get("severity")
    if isinstance(code, int) and not isinstance(code, bool) and code != 0:
        return Outcome.FAILURE
    if severity in ("ERROR", "CRITICAL") or not all(_granted(document)):
        return Outcome.FAILURE
    return Outcome.SUCCESS


def _project(document: Mapping[str, Any]) -> str | None:
    labelled = said("resource.labels.project_id")(document)
    if labelled is not None:
        return labelled
    kind, _, rest = (text(document.get("logName")) or "").partition("/")
    return rest.partition("/")[0] if kind in _OWNERS else None


_OWNERS = ("projects", "organizations", "folders", "billingAccounts")


def _device(document: Mapping[str, Any]) -> str:
    place = said(
        "resource.labels.location",
        "resource.labels.zone",
        "resource.labels.region",
        "protoPayload.resourceLocation.currentLocations",
    )(document)
    return "/".join(part for part in (_project(document), place) if part)


_ACTOR = said(
    "protoPayload.authenticationInfo.principalEmail",
    "protoPayload.authenticationInfo.principalSubject",
)
_DELEGATION = "protoPayload.authenticationInfo.serviceAccountDelegationInfo"

_ENVELOPE = EnvelopeMap(
    {
        "time_ns": (time_ns,),
        "class_uid": (lambda document: _class(document)[0],),
        "activity_id": (lambda document: _class(document)[1],),
        "action": (_method,),
        "actor_name": (_ACTOR,),
        "actor_uid": (said("protoPayload.authenticationInfo.principalSubject"),),
        "actor_type": (_actor_type,),
        # The chain of impersonation begins with who started it.
        "invoked_by": (
            said(
                f"{_DELEGATION}.firstPartyPrincipal.principalEmail",
                f"{_DELEGATION}.principalSubject",
            ),
        ),
        "session_uid": (said("protoPayload.authenticationInfo.serviceAccountKeyName"),),
        "target_type": (said("resource.type"),),
        "target_name": (said("protoPayload.resourceName"),),
        "target_namespace": (_project,),
        "outcome": (_outcome,),
        "outcome_detail": (said("protoPayload.status.message", "protoPayload.status.code"),),
        "src_ip": (address("protoPayload.requestMetadata.callerIp"),),
        "user_agent": (said("protoPayload.requestMetadata.callerSuppliedUserAgent"),),
        "device": (_device,),
        # A long-running operation leaves an entry when it begins and one when it ends.
        "request_uid": (said("operation.id", "insertId"),),
    }
)


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of an entry. Total."""
    return _ENVELOPE(document)
