"""GitHub webhook payloads.

GitHub documentation, "Webhook events and payloads". A payload does not say which event it is;
that stands in the header `X-GitHub-Event`, which the wrapping may know, and which Falco's
`github` plugin and others put into the payload as `webhook_type`.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.mapping import EnvelopeMap, time_ns_of
from trailhound.sources.members import epoch_ms, said, text

_PLACES = ("repository", "organization", "enterprise", "installation", "hook")
_TIMES = (
    "head_commit.timestamp",
    "workflow_run.updated_at",
    "alert.updated_at",
    "pull_request.updated_at",
    "hook.updated_at",
    "key.created_at",
    "repository.updated_at",
    "organization.updated_at",
)
_ACTIVITIES = {"created": 1, "added": 1, "deleted": 4, "removed": 4}


def is_webhook(document: Mapping[str, Any]) -> bool:
    """Whether it is a payload: somebody sent it, and it says where it happened."""
    sender = document.get("sender")
    if not isinstance(sender, dict) or not isinstance(sender.get("login"), str):
        return False
    return any(isinstance(document.get(place), dict) for place in _PLACES)


def named(document: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the payload with the name of its event, where only the wrapping knows it."""
    kind = context.get("webhook_type")
    if "webhook_type" in document or not isinstance(kind, str):
        return document
    return {**document, "webhook_type": kind}


def delivered_ns(document: Mapping[str, Any], context: Mapping[str, Any]) -> int | None:
    """Return when it happened: when it was delivered, or else the latest time it names."""
    for found in (time_ns_of(context.get("delivered_at")), epoch_ms(context.get("received_ms"))):
        if found is not None:
            return found
    return next((t for path in _TIMES if (t := time_ns_of(said(path)(document))) is not None), None)


def _action(document: Mapping[str, Any]) -> str | None:
    kind, action = text(document.get("webhook_type")), text(document.get("action"))
    return ".".join(part for part in (kind, action) if part) or None


_ENVELOPE = EnvelopeMap(
    {
        "class_uid": (lambda _: 6003,),
        "activity_id": (lambda document: _ACTIVITIES.get(said("action")(document) or "", 99),),
        "action": (_action, lambda _: "webhook"),
        "actor_name": (said("sender.login"),),
        "actor_uid": (said("sender.id"),),
        "actor_type": (said("sender.type"),),
        "target_type": (
            lambda document: (
                "User"
                if said("member.login")(document)
                else "Repository"
                if said("repository.full_name")(document)
                else "Organization"
            ),
        ),
        "target_name": (said("member.login", "repository.full_name", "organization.login"),),
        "target_namespace": (said("organization.login", "repository.owner.login"),),
        "outcome": (lambda _: Outcome.SUCCESS,),
        "device": (said("organization.login", "repository.owner.login"),),
    }
)


def describe(kind: str, time_ns: int, document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of a payload.

    Args:
        kind: name of the event where the payload does not hold it; may be empty.
        time_ns: as `delivered_ns` found it.
        document: the payload.
    """
    whole = named(document, {"webhook_type": kind} if kind else {})
    return _ENVELOPE(whole, {"time_ns": time_ns})
