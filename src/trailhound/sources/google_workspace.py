"""Google Workspace activities as the Admin SDK Reports API gives them out.

Admin SDK, "Reports API", `activities.list`, type `Activity`. One activity may hold several events;
the one view has a document for each, with its parameters under their names. What Cloud Logging
has of the same events belongs to `gcp_audit`, and serves the same rules.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.logsource import FieldInfo, LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources import workspace_events
from trailhound.sources.contract import Source
from trailhound.sources.mapping import EnvelopeMap, time_ns_of, value_at
from trailhound.sources.members import address, said, text, unreadable_time

_KIND = "admin#reports#activity"


def _recognises(payload: Payload) -> bool:
    document = payload.document
    if document is None:
        return False
    if document.get("kind") == _KIND and "id" in document:
        return True
    # Shippers cut one activity into its events, and leave `kind` out.
    identity = document.get("id")
    return (
        isinstance(identity, dict)
        and isinstance(identity.get("applicationName"), str)
        and "uniqueQualifier" in identity
        and "events" in document
    )


def _listed(document: Mapping[str, Any]) -> Any:
    events = document.get("events")
    return [events] if isinstance(events, Mapping) else events


_NAME = said("events.name")
_SIGN_INS = {"login": 1, "logout": 2}
_LOGIN_APPLICATION = "login"
_WORDS = {"CREATE": 1, "ADD": 1, "VIEW": 2, "CHANGE": 3, "UPDATE": 3, "DELETE": 4, "REMOVE": 4}


def _class(document: Mapping[str, Any]) -> tuple[int, int]:
    name = _NAME(document) or ""
    if said("id.applicationName")(document) == _LOGIN_APPLICATION:
        return 3002, 2 if name.startswith("logout") else 1
    return 6003, _WORDS.get(name.partition("_")[0].upper(), 99)


def _outcome(document: Mapping[str, Any]) -> Outcome:
    return Outcome.FAILURE if "failure" in (_NAME(document) or "") else Outcome.SUCCESS


def _parameter(name: str) -> Any:
    def value_of(document: Mapping[str, Any]) -> str | None:
        found = next(workspace_events.flattened({}, None, _listed(document)), {})
        return text(found.get(name))

    return value_of


_ENVELOPE = EnvelopeMap(
    {
        "time_ns": ("id.time",),
        "class_uid": (lambda document: _class(document)[0],),
        "activity_id": (lambda document: _class(document)[1],),
        "action": (_NAME,),
        "actor_name": (said("actor.email", "actor.key", "actor.profileId"),),
        "actor_uid": (said("actor.profileId"),),
        "actor_type": (said("actor.callerType"),),
        "target_type": (said("events.type"),),
        "target_name": tuple(
            map(_parameter, ("user_email", "group_email", "doc_title", "app_name", "setting_name"))
        ),
        "target_namespace": (said("ownerDomain"),),
        "outcome": (_outcome,),
        "outcome_detail": (_parameter("login_failure_type"),),
        "src_ip": (address("ipAddress"),),
        "device": (said("ownerDomain", "id.customerId"),),
        "request_uid": (said("id.uniqueQualifier"),),
    }
)


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of an activity; what it says of its event is the first's. Total."""
    return _ENVELOPE(document)


class _Reader:
    """Every activity is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None:
            return
        application = said("id.applicationName")(document)
        service = f"{application}.googleapis.com" if application else None
        inside = tuple(workspace_events.flattened(document, service, _listed(document)))
        notes = () if inside else ("no event can be read in it",)
        views = {workspace_events.VIEW: inside or (document,)}
        yield Event("google_workspace", document, (payload.origin,), views, describe, notes)
        time_ns = time_ns_of(value_at(document, "id.time"))
        yield from unreadable_time(payload.origin, time_ns, "id.time")

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


_ACTIVITY = {
    "kind": "admin#reports#activity.",
    "etag": "Version of the answer.",
    "id.time": "When it happened.",
    "id.uniqueQualifier": "Id of the activity.",
    "id.applicationName": "Application: admin, login, drive, token, user_accounts and others.",
    "id.customerId": "Customer.",
    "actor.email": "Who did it.",
    "actor.profileId": "Their id.",
    "actor.callerType": "USER or KEY.",
    "actor.key": "Key that asked, where it was no user.",
    "actor.applicationInfo.*": "Application that acted.",
    "ownerDomain": "Domain.",
    "ipAddress": "Address of the actor.",
    "networkInfo.*": "Network of the address.",
    "resourceDetails.*": "What was acted on.",
    "events.type": "Group of events, of all events of the activity.",
    "events.name": "What happened, of all events of the activity.",
    "events.parameters.*": "Names and values as written.",
    "events.resourceIds": "What was acted on.",
}

SOURCE = Source(
    name="google_workspace",
    title="Google Workspace activities",
    recognises=_recognises,
    reader=_Reader,
    routes=(
        Route(LogSource(product="gcp", service="google_workspace.admin"), workspace_events.VIEW),
        Route(LogSource(product="gcp", service="google_workspace.login"), workspace_events.VIEW),
    ),
    fields=tuple(
        FieldInfo(name, text, workspace_events.VIEW)
        for name, text in {**workspace_events.FIELDS, **_ACTIVITY}.items()
    ),
)
