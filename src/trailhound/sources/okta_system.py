"""Okta System Log: what the System Log API, event hooks and log streaming give out.

The format is `LogEvent` of the Okta Management API, "System Log" (version 0 of the event), one
event at a time, with the wrapping taken off. The one view is the event as written.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.logsource import FieldInfo, LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.contract import Gate, Source
from trailhound.sources.mapping import EnvelopeMap, time_ns_of
from trailhound.sources.members import address, said, unreadable_time

_VIEW = "okta"
_SEVERITIES = ("DEBUG", "INFO", "WARN", "ERROR")
_MARKS = ("uuid", "published", "eventType", "actor", "outcome", "displayMessage")


def _accepts(values: Sequence[Any]) -> bool:
    kind, version, severity = values
    return (
        isinstance(kind, str)
        and "." in kind
        and isinstance(version, str)
        and version.isdecimal()
        and severity in _SEVERITIES
    )


def _recognises(payload: Payload) -> bool:
    document = payload.document
    if document is None:
        return False
    if _accepts([document.get(name) for name in ("eventType", "version", "severity")]):
        return True
    # One spoilt value must not hide an event: then all its other marks decide.
    return all(name in document for name in _MARKS)


# --- envelope ----------------------------------------------------------------------------

_API_ACTIVITY, _AUTHENTICATION, _ACCOUNT_CHANGE = 6003, 3002, 3001
_OTHER = 99

_AUTHENTICATION_KINDS = (
    "user.session.",
    "user.authentication.",
    "user.mfa.okta_verify.",
    "policy.evaluate_sign_on",
)
_LOGOFFS = frozenset(("user.session.end", "user.session.clear", "user.authentication.slo"))
_ACCOUNT_CHANGES = {
    "user.lifecycle.create": 1,
    "user.lifecycle.activate": 2,
    "user.lifecycle.reactivate": 2,
    "user.lifecycle.unsuspend": 2,
    "user.account.update_password": 3,
    "user.account.reset_password": 4,
    "user.account.expire_password": 4,
    "user.lifecycle.deactivate": 5,
    "user.lifecycle.suspend": 5,
    "user.lifecycle.delete.initiated": 6,
    "user.lifecycle.delete.completed": 6,
    "user.account.privilege.grant": 7,
    "user.account.privilege.revoke": 8,
    "user.account.lock": 9,
    "user.account.lock.limit": 9,
    "user.mfa.factor.activate": 10,
    "user.mfa.factor.deactivate": 11,
    "user.mfa.factor.reset_all": 11,
}
"""Activities of the OCSF class Account Change."""
_ACCOUNT_KINDS = ("user.lifecycle.", "user.account.", "user.mfa.factor.")
_WORDS = {
    "create": 1,
    "add": 1,
    "grant": 1,
    "update": 3,
    "activate": 3,
    "deactivate": 3,
    "delete": 4,
    "remove": 4,
    "revoke": 4,
}
"""Last word of an event type → activity of the OCSF class API Activity."""


def _class(document: Mapping[str, Any]) -> tuple[int, int]:
    kind = document.get("eventType")
    if not isinstance(kind, str):
        return _API_ACTIVITY, _OTHER
    if kind.startswith(_AUTHENTICATION_KINDS):
        return _AUTHENTICATION, 2 if kind in _LOGOFFS else 1
    if kind.startswith(_ACCOUNT_KINDS):
        return _ACCOUNT_CHANGE, _ACCOUNT_CHANGES.get(kind, _OTHER)
    return _API_ACTIVITY, _WORDS.get(kind.rpartition(".")[2], _OTHER)


_OUTCOMES = {
    "SUCCESS": Outcome.SUCCESS,
    "ALLOW": Outcome.SUCCESS,
    "FAILURE": Outcome.FAILURE,
    "DENY": Outcome.FAILURE,
}


def _outcome(document: Mapping[str, Any]) -> Outcome:
    return _OUTCOMES.get(said("outcome.result")(document) or "", Outcome.UNKNOWN)


def _session(document: Mapping[str, Any]) -> str | None:
    session = said("authenticationContext.externalSessionId")(document)
    return None if session == "unknown" else session  # what Okta writes for none


_ENVELOPE = EnvelopeMap(
    {
        "time_ns": ("published",),
        "class_uid": (lambda document: _class(document)[0],),
        "activity_id": (lambda document: _class(document)[1],),
        "action": (said("eventType"),),
        "actor_name": (said("actor.alternateId", "actor.displayName", "actor.id"),),
        "actor_uid": (said("actor.id"),),
        "actor_type": (said("actor.type"),),
        "session_uid": (_session,),
        "target_type": (said("target.type"),),
        "target_name": (said("target.alternateId", "target.displayName", "target.id"),),
        "outcome": (_outcome,),
        "outcome_detail": (said("outcome.reason"),),
        "src_ip": (address("client.ipAddress", "request.ipChain.ip"),),
        "user_agent": (said("client.userAgent.rawUserAgent"),),
        "request_uid": (said("uuid"),),
    }
)


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of an event. Total."""
    return _ENVELOPE(document)


class _Reader:
    """Every event is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None:
            return
        yield Event("okta_system", document, (payload.origin,), {_VIEW: (document,)}, describe)
        yield from unreadable_time(
            payload.origin, time_ns_of(document.get("published")), "published"
        )

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


# --- catalogue ---------------------------------------------------------------------------

_FIELDS = {
    "uuid": "Id of the event.",
    "published": "When it happened, UTC.",
    "eventType": "What happened, in dotted words: user.session.start.",
    "version": "Version of the event's form, 0.",
    "severity": "DEBUG, INFO, WARN or ERROR.",
    "legacyEventType": "Name of the event in the older Events API; null for newer events.",
    "displayMessage": "What happened, in a sentence.",
    "actor.id": "Id of who did it; `unknown` where a login name fits nobody.",
    "actor.type": "User, PublicClientApp, SystemPrincipal and others.",
    "actor.alternateId": "Login name of the actor; for a failed login, what was typed.",
    "actor.displayName": "Name of the actor.",
    "actor.detailEntry.*": "More of the actor.",
    "client.id": "OAuth client, or id of the API token's client.",
    "client.ipAddress": "Address the request came from.",
    "client.zone": "Network zone of Okta that the address falls into.",
    "client.device": "Kind of device: Computer, Mobile, Unknown.",
    "client.userAgent.rawUserAgent": "User agent as sent; not to be trusted.",
    "client.userAgent.os": "Operating system read out of it.",
    "client.userAgent.browser": "Browser read out of it.",
    "client.geographicalContext.city": "City of the address.",
    "client.geographicalContext.state": "State or region of the address.",
    "client.geographicalContext.country": "Country of the address.",
    "client.geographicalContext.postalCode": "Postal code of the address.",
    "client.geographicalContext.geolocation.lat": "Latitude.",
    "client.geographicalContext.geolocation.lon": "Longitude.",
    "device.*": "Device that Okta Verify or Okta Device Trust knows: id, name, managed.",
    "authenticationContext.authenticationProvider": "Who authenticated: FEDERATION, "
    "OKTA_AUTHENTICATION_PROVIDER, ACTIVE_DIRECTORY and others.",
    "authenticationContext.authenticationStep": "Number of the step; always 0 today.",
    "authenticationContext.credentialProvider": "Who issued the factor: OKTA_CREDENTIAL_PROVIDER, "
    "DUO, RSA, …",
    "authenticationContext.credentialType": "Kind of factor: PASSWORD, OTP, SMS, ASSERTION, …",
    "authenticationContext.externalSessionId": "Session that the events of a login share.",
    "authenticationContext.rootSessionId": "Session this one came from.",
    "authenticationContext.interface": "Outlook, Office 365 or another interface.",
    "authenticationContext.issuer.id": "Authorization server or identity provider.",
    "authenticationContext.issuer.type": "Kind of that issuer.",
    "outcome.result": "SUCCESS, FAILURE, ALLOW, DENY, SKIPPED, CHALLENGE, UNKNOWN and others.",
    "outcome.reason": "Why: INVALID_CREDENTIALS, LOCKED_OUT, or a sentence.",
    "target.id": "Id of what was acted on; there may be several targets.",
    "target.type": "User, UserGroup, AppInstance, PolicyRule, NetworkZone, Token, ROLE, …",
    "target.alternateId": "Login name or other id of a target.",
    "target.displayName": "Name of a target.",
    "target.detailEntry.*": "More of a target: policyType, methodTypeUsed, …",
    "target.changeDetails.*": "What an update changed: from and to.",
    "transaction.id": "Request or job that the event belongs to.",
    "transaction.type": "WEB or JOB.",
    "transaction.detail.*": "More of it: requestApiTokenId, rootApiTokenId.",
    "debugContext.debugData.*": "Whatever helps to explain the event: requestUri, behaviors, risk, "
    "logOnlySecurityData, deviceFingerprint, dtHash, factor, …",
    "securityContext.asNumber": "Autonomous system of the address.",
    "securityContext.asOrg": "Organisation that owns it.",
    "securityContext.isp": "Internet provider of the address.",
    "securityContext.domain": "Domain of the address.",
    "securityContext.isProxy": "Whether the address is a known proxy.",
    "request.ipChain.ip": "Addresses the request passed through, the client's first.",
    "request.ipChain.version": "V4 or V6.",
    "request.ipChain.source": "Where the address is known from.",
    "request.ipChain.geographicalContext.*": "Where each address is.",
}

SOURCE = Source(
    name="okta_system",
    title="Okta System Log",
    recognises=_recognises,
    reader=_Reader,
    routes=(Route(LogSource(product="okta", service="okta"), _VIEW),),
    fields=tuple(FieldInfo(name, text, _VIEW) for name, text in _FIELDS.items()),
    gate=Gate(
        signature=(("eventType",), ("version",), ("severity",)),
        accepts=_accepts,
        discriminators=(("eventType",),),
        view=_VIEW,
    ),
)
