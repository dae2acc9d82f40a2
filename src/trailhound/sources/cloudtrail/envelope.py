"""The OCSF envelope of a CloudTrail record.

Semantics: AWS CloudTrail User Guide, "CloudTrail record contents for management, data, and
network activity events" (eventVersion 1.11), "AWS Management Console sign-in events" and
"CloudTrail record contents for Insights events"; AWS IAM Identity Center User Guide,
"Understanding IAM Identity Center sign-in events"; OCSF 1.5, classes API Activity,
Authentication and Detection Finding.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.cloudtrail.identity import actor_name, actor_uid, invoked_by, src_ip
from trailhound.sources.cloudtrail.target import target
from trailhound.sources.mapping import as_text, reader, time_ns_of
from trailhound.sources.members import below, first_text, text

INSIGHT = "AwsCloudTrailInsight"

_API_ACTIVITY, _AUTHENTICATION, _DETECTION = 6003, 3002, 2004
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99

_WORDS = {
    _CREATE: "Allocate Copy Create Import Issue Launch Provision Publish Put Register Request "
    "Restore Run Subscribe Upload",
    _READ: "Check Describe Discover Download Filter Get Head List Lookup Preview Query Read Scan "
    "Search Select Simulate Validate Verify View",
    _UPDATE: "Accept Activate Add Apply Approve Assign Associate Attach Authorize Cancel Change "
    "Deactivate Detach Disable Disassociate Enable Modify Move Reboot Reject Rename Renew Replace "
    "Reset Resize Resume Revoke Rotate Schedule Set Start Stop Suspend Tag Unassign Untag Update "
    "Upgrade",
    _DELETE: "Abort Delete Deregister Destroy Purge Release Remove Terminate Unsubscribe",
}
_VERBS = {word: activity for activity, words in _WORDS.items() for word in words.split()}
_FIRST_WORD = re.compile(r"(?:Batch)?([A-Za-z][a-z]*)")

_SIGN_IN_SOURCES = ("signin.amazonaws.com", "sso.amazonaws.com", "sts.amazonaws.com")
_LOGON, _LOGOFF = 1, 2
_SIGN_INS = {
    "AssumeRole": _LOGON,
    "AssumeRoleWithSAML": _LOGON,
    "AssumeRoleWithWebIdentity": _LOGON,
    "AssumeRoot": _LOGON,
    "Authenticate": _LOGON,
    "ConsoleLogin": _LOGON,
    "Federate": _LOGON,
    "GetFederationToken": _LOGON,
    "GetSessionToken": _LOGON,
    "SwitchRole": _LOGON,
    "UserAuthentication": _LOGON,
    "ExitRole": _LOGOFF,
    "Logout": _LOGOFF,
    "CheckMfa": _OTHER,
    "CredentialChallenge": _OTHER,
    "CredentialVerification": _OTHER,
    "GetSigninToken": _OTHER,
    "RenewRole": _OTHER,
}


def _sign_in(document: Mapping[str, Any]) -> int | None:
    name = document.get("eventName")
    if document.get("eventSource") not in _SIGN_IN_SOURCES or not isinstance(name, str):
        return None
    return _SIGN_INS.get(name)


def _class_uid(document: Mapping[str, Any]) -> int:
    if document.get("eventType") == INSIGHT:
        return _DETECTION
    return _API_ACTIVITY if _sign_in(document) is None else _AUTHENTICATION


def _activity_id(document: Mapping[str, Any]) -> int:
    if document.get("eventType") == INSIGHT:
        state = first_text(_INSIGHT_STATES, document)
        return 3 if state == "End" else 1  # of a detection finding: closed, created
    name = document.get("eventName")
    if not isinstance(name, str) or not name:
        return 0
    if (activity := _sign_in(document)) is not None:
        return activity
    return _activity_of(name[:128])


@lru_cache(maxsize=1024)
def _activity_of(name: str) -> int:
    word = _FIRST_WORD.match(name)
    return _VERBS.get(word[1].capitalize(), _OTHER) if word else _OTHER


def _end(document: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Return the outcome, and what it says of itself."""
    if error := as_text(document.get("errorCode")) or as_text(document.get("errorMessage")):
        return Outcome.FAILURE, error
    answer = below(document, "responseElements")
    answered = answer.get("errorCode")
    if text(answered) is not None:
        return Outcome.FAILURE, as_text(answered)
    name = document.get("eventName")
    verdict = _verdict(name, answer, below(document, "serviceEventDetails"))
    if verdict in ("failure", "failed"):
        return Outcome.FAILURE, as_text(answered)
    # Only a call is known to have gone well because it reports no error.
    known = verdict == "success" or (name and document.get("eventType") in _CALLS)
    return Outcome.SUCCESS if known else Outcome.UNKNOWN, as_text(answered)


def _verdict(name: object, *told: Mapping[str, Any]) -> str | None:
    """What a sign-in event says of itself: `responseElements: {ConsoleLogin: Failure}`."""
    if isinstance(name, str):
        for part in told:
            if isinstance(said := part.get(name), str):
                return said[:16].lower()
    return None


def _device(document: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    account = text(document.get("recipientAccountId")) or text(identity.get("accountId"))
    region = text(document.get("awsRegion"))
    return f"{account}/{region}" if account and region else account or region or ""


def _insight(document: Mapping[str, Any]) -> str:
    """What kind of call an Insights event is about."""
    told = below(document, "insightDetails").get("insightType")
    return as_text(told) or as_text(document.get("insightType"))


_INSIGHT_STATES = (reader("insightDetails.state"), reader("insightState"))
_CALLS = (None, "AwsApiCall", "AwsConsoleAction", "AwsVpceEvent")


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of a CloudTrail record.

    Total, as an `EnvelopeMap` is; written out, for it is asked of many findings.
    """
    at = target(document)
    identity = below(document, "userIdentity")
    actor = actor_name(identity)
    outcome, outcome_detail = _end(document)
    return Envelope(
        time_ns=time_ns_of(document.get("eventTime")) or 0,
        class_uid=_class_uid(document),
        activity_id=_activity_id(document),
        action=as_text(document.get("eventName")) or _insight(document),
        actor_name=as_text(actor),
        actor_uid=as_text(actor_uid(identity)),
        actor_type=as_text(identity.get("type")),
        invoked_by=as_text(invoked_by(document, identity, actor)),
        session_uid=as_text(identity.get("accessKeyId")) or as_text(identity.get("credentialId")),
        target_type=as_text(at.type),
        target_name=as_text(at.name),
        target_namespace=as_text(at.account),
        outcome=outcome,
        outcome_detail=outcome_detail,
        src_ip=as_text(src_ip(document)),
        user_agent=as_text(document.get("userAgent")),
        device=as_text(_device(document, identity)),
        request_uid=as_text(document.get("eventID")),
    )
