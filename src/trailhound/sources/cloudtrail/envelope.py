"""The OCSF envelope of a CloudTrail record: class, activity, outcome, and the rest by a table.

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
from trailhound.sources.mapping import EnvelopeMap, reader, time_ns_of
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


def _activity_id(document: Mapping[str, Any]) -> int | None:
    if document.get("eventType") == INSIGHT:
        state = first_text(_INSIGHT_STATES, document)
        return 3 if state == "End" else 1  # of a detection finding: closed, created
    name = document.get("eventName")
    if not isinstance(name, str) or not name:
        return None
    if (activity := _sign_in(document)) is not None:
        return activity
    return _activity_of(name[:128])


@lru_cache(maxsize=1024)
def _activity_of(name: str) -> int:
    word = _FIRST_WORD.match(name)
    return _VERBS.get(word[1].capitalize(), _OTHER) if word else _OTHER


def _outcome(document: Mapping[str, Any]) -> Outcome:
    if _error(document) is not None:
        return Outcome.FAILURE
    verdict = _verdict(document)
    if verdict == "success":
        return Outcome.SUCCESS
    if verdict in ("failure", "failed"):
        return Outcome.FAILURE
    # Only a call is known to have gone well because it reports no error.
    called = document.get("eventName") and document.get("eventType") in _CALLS
    return Outcome.SUCCESS if called else Outcome.UNKNOWN


def _error(document: Mapping[str, Any]) -> Any:
    for name in ("errorCode", "errorMessage"):
        value = document.get(name)
        if value is not None and value != "":
            return value
    return text(_answered_error(document))


def _verdict(document: Mapping[str, Any]) -> str | None:
    """What a sign-in event says of itself: `responseElements: {ConsoleLogin: Failure}`."""
    name = document.get("eventName")
    if not isinstance(name, str):
        return None
    for part in ("responseElements", "serviceEventDetails"):
        value = below(document, part).get(name)
        if isinstance(value, str):
            return value[:16].lower()
    return None


def _device(document: Mapping[str, Any]) -> str | None:
    account = first_text(_ACCOUNTS, document)
    region = text(document.get("awsRegion"))
    return "/".join(part for part in (account, region) if part) or None


_INSIGHT_STATES = (reader("insightDetails.state"), reader("insightState"))
_CALLS = (None, "AwsApiCall", "AwsConsoleAction", "AwsVpceEvent")
_ACCOUNTS = (reader("recipientAccountId"), reader("userIdentity.accountId"))
_answered_error = reader("responseElements.errorCode")
_ENVELOPE = EnvelopeMap(
    {
        "time_ns": (lambda document: time_ns_of(document.get("eventTime")),),
        "class_uid": (_class_uid,),
        "activity_id": (_activity_id,),
        "action": ("eventName", "insightDetails.insightType", "insightType"),
        "actor_uid": (actor_uid,),
        "actor_type": ("userIdentity.type",),
        "session_uid": ("userIdentity.accessKeyId", "userIdentity.credentialId"),
        "outcome": (_outcome,),
        "outcome_detail": ("errorCode", "errorMessage", "responseElements.errorCode"),
        "src_ip": (src_ip,),
        "user_agent": ("userAgent",),
        "device": (_device,),
        "request_uid": ("eventID",),
    }
)


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of a CloudTrail record. Total."""
    at = target(document)
    actor = actor_name(document)
    return _ENVELOPE(
        document,
        {
            "actor_name": actor,
            "invoked_by": invoked_by(document, actor),
            "target_name": at.name,
            "target_type": at.type,
            "target_namespace": at.account,
        },
    )
