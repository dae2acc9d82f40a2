"""GitHub audit log, as it is streamed, exported and answered; and webhook payloads.

GitHub documentation, "Audit log events for your enterprise", "Using the audit log API" and
"Streaming the audit log for your enterprise": one JSON object for each entry, `@timestamp` in
milliseconds. The views are entry and payload as written.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.contract import Gate, Source
from trailhound.sources.github_audit.catalogue import AUDIT_VIEW, FIELDS, WEBHOOK_VIEW
from trailhound.sources.github_audit.webhook import (
    delivered_ns,
    is_webhook,
    named,
)
from trailhound.sources.github_audit.webhook import (
    describe as describe_webhook,
)
from trailhound.sources.mapping import EnvelopeMap, time_ns_of
from trailhound.sources.members import address, epoch_ms, said, text, unreadable_time


def _accepts(values: Sequence[Any]) -> bool:
    action, stamp, identity = values
    return (
        _is_action(action)
        and isinstance(stamp, int)
        and not isinstance(stamp, bool)
        and isinstance(identity, str)
    )


def _is_action(value: object) -> bool:
    # `protected_branch.policy_override`, `pull_request.create`; hyphens in a few.
    if not isinstance(value, str) or not 3 <= len(value) <= 128:
        return False
    category, dot, operation = value.partition(".")
    return bool(dot) and _is_word(category) and all(map(_is_word, operation.split(".")))


def _is_word(text: str) -> bool:
    return text.replace("_", "a").replace("-", "a").isalnum()


def _recognises(payload: Payload) -> bool:
    document = payload.document
    if document is None:
        return False
    if _is_entry(document):
        return True
    return is_webhook(document)


def _is_entry(document: Mapping[str, Any]) -> bool:
    if not any(name in document for name in ("@timestamp", "created_at")):
        return False
    # One spoilt value must not hide an entry: its other marks will do.
    marks = sum(mark in document for mark in _MARKS) + ("_document_id" in document)
    return marks >= (2 if _is_action(document.get("action")) else 4)


_MARKS = ("_document_id", "actor", "operation_type", "actor_id", "actor_location")


# --- envelope ----------------------------------------------------------------------------

_API_ACTIVITY, _AUTHENTICATION = 6003, 3002
_OTHER = 99
_SIGN_INS = {
    "user.login": 1,
    "user.failed_login": 1,
    "user.two_factor_requested": 1,
    "org.sso_response": 1,
    "business.sso_response": 1,
    "user.logout": 2,
}
_OPERATIONS = {"create": 1, "access": 2, "modify": 3, "restore": 3, "transfer": 3, "remove": 4}
_WORDS = {"create": 1, "add": 1, "update": 3, "destroy": 4, "delete": 4, "remove": 4}


def _class(document: Mapping[str, Any]) -> tuple[int, int]:
    action, operation = text(document.get("action")) or "", document.get("operation_type")
    if action in _SIGN_INS or operation == "authentication":
        return _AUTHENTICATION, _SIGN_INS.get(action, 1)
    if isinstance(operation, str) and operation in _OPERATIONS:
        return _API_ACTIVITY, _OPERATIONS[operation]
    first = action.partition(".")[2].partition("_")[0]
    return _API_ACTIVITY, _WORDS.get(first, _OTHER)


def _time_ns(document: Mapping[str, Any]) -> int | None:
    for name in ("@timestamp", "created_at"):
        value = document.get(name)
        found = epoch_ms(value)
        if found is None:
            found = time_ns_of(value)
        if found is not None:
            return found
    return None


_TARGETS = (
    ("Repository", said("repo", "repository")),
    ("User", said("user", "target_login", "invitee")),
    ("Team", said("team")),
    ("Organization", said("org")),
    ("Enterprise", said("business")),
)
_PEOPLE = ("org.", "business.", "team.", "user.", "personal_access_token.", "role.")


def _target(document: Mapping[str, Any]) -> tuple[str, str]:
    """Type and name of what the entry is about: a person first where it is about people."""
    people = (text(document.get("action")) or "").startswith(_PEOPLE)
    ordered = sorted(_TARGETS, key=lambda target: target[0] != "User") if people else _TARGETS
    for kind, name_of in ordered:
        if (name := name_of(document)) is not None:
            return kind, name
    return "", ""


def _outcome(document: Mapping[str, Any]) -> Outcome:
    status = document.get("status_code")
    failed = isinstance(status, int) and status >= 400
    failed = failed or "fail" in (text(document.get("action")) or "")
    return Outcome.FAILURE if failed else Outcome.SUCCESS


def _identity(document: Mapping[str, Any]) -> str | None:
    """Who the actor is at the identity provider."""
    name = said("external_identity_nameid", "external_identity_username")(document)
    return None if name == text(document.get("actor")) else name


_ENVELOPE = EnvelopeMap(
    {
        "time_ns": (_time_ns,),
        "class_uid": (lambda document: _class(document)[0],),
        "activity_id": (lambda document: _class(document)[1],),
        "action": (said("action"),),
        # Git over a deploy key has no actor.
        "actor_name": (said("actor", "deploy_key_fingerprint", "user"),),
        "actor_uid": (said("actor_id"),),
        "actor_type": (lambda document: "Bot" if document.get("actor_is_bot") is True else "User",),
        "invoked_by": (_identity,),
        "session_uid": (said("actor_session"),),
        "target_type": (lambda document: _target(document)[0],),
        "target_name": (lambda document: _target(document)[1],),
        "target_namespace": (said("org", "business"),),
        "outcome": (_outcome,),
        "outcome_detail": (said("status_code"),),
        "src_ip": (address("actor_ip"),),
        "user_agent": (said("user_agent"),),
        "device": (said("business", "org"),),
        "request_uid": (said("_document_id"),),
    }
)


def describe(document: Mapping[str, Any]) -> Envelope:
    """Return the OCSF envelope of an entry. Total."""
    return _ENVELOPE(document)


class _Reader:
    """Every entry or payload is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None:
            return
        origin = payload.origin
        if _is_entry(document):
            views = {AUDIT_VIEW: (document,)}
            yield Event("github_audit", document, (origin,), views, describe)
            time_ns, where = _time_ns(document), "@timestamp or created_at"
        else:
            time_ns = delivered_ns(document, payload.context)
            whole = named(document, payload.context)
            kind = "" if whole is document else str(whole["webhook_type"])
            described = partial(describe_webhook, kind, time_ns or 0)
            notes = () if "webhook_type" in whole else (_NAMELESS,)
            yield Event(
                "github_audit", document, (origin,), {WEBHOOK_VIEW: (whole,)}, described, notes
            )
            where = "a webhook payload"
        yield from unreadable_time(origin, time_ns, where)

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


_NAMELESS = "the name of the webhook event was in a header that is not here"

SOURCE = Source(
    name="github_audit",
    title="GitHub audit log",
    recognises=_recognises,
    reader=_Reader,
    routes=(
        Route(LogSource(product="github", service="audit"), AUDIT_VIEW),
        Route(LogSource(product="github", service="audit"), WEBHOOK_VIEW),
        Route(LogSource(product="github", service="webhook"), WEBHOOK_VIEW),
    ),
    fields=FIELDS,
    gate=Gate(
        signature=(("action",), ("@timestamp",), ("_document_id",)),
        accepts=_accepts,
        discriminators=(("action",),),
        view=AUDIT_VIEW,
    ),
)
