"""The OCSF 1.5 envelope of an event, read from its document."""

from collections.abc import Mapping
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.linux_auth.messages import interpret
from trailhound.sources.mapping import EnvelopeMap, time_ns_of

_LOGON, _LOGOFF = (3002, 1), (3002, 2)
_LAUNCH = (1007, 1)
CLASSES: Mapping[str, tuple[int, int]] = {
    "ssh-login": _LOGON,
    "ssh-login-failed": _LOGON,
    "ssh-login-partial": _LOGON,
    "ssh-invalid-user": _LOGON,
    "ssh-user-denied": _LOGON,
    "ssh-max-attempts": _LOGON,
    "ssh-disconnect": _LOGOFF,
    "ssh-session-started": _LOGON,
    "ssh-session-closed": _LOGOFF,
    "su": _LOGON,
    "su-failed": _LOGON,
    "login": _LOGON,
    "login-failed": _LOGON,
    "session-opened": _LOGON,
    "session-closed": _LOGOFF,
    "auth-failure": _LOGON,
    "auth-user-unknown": _LOGON,
    "access-denied": _LOGON,
    "logind-session": _LOGON,
    "logind-session-ended": _LOGOFF,
    "logind-session-removed": _LOGOFF,
    "sudo": _LAUNCH,
    "sudo-continued": _LAUNCH,
    "sudo-failed": _LAUNCH,
    "pkexec": _LAUNCH,
    "pkexec-failed": _LAUNCH,
    "polkit-authorised": (3003, 1),
    "polkit-refused": (3003, 1),
    "user-created": (3001, 1),
    "user-deleted": (3001, 6),
    "user-changed": (3001, 99),
    "user-locked": (3001, 9),
    "user-unlocked": (3001, 99),
    "account-locked": (3001, 9),
    "password-changed": (3001, 3),
    "group-created": (3006, 6),
    "group-deleted": (3006, 5),
    "group-changed": (3006, 99),
    "group-member-added": (3006, 3),
    "group-member-removed": (3006, 4),
    "cron-command": (1006, 6),
    "cron-edited": (1006, 2),
    "cron-deleted": (1006, 3),
    "cron-edit-begun": (1006, 99),
    "cron-edit-ended": (1006, 99),
    "cron-listed": (1006, 99),
    "cron-reloaded": (1006, 99),
    "cron-denied": (1006, 99),
}
"""OCSF class and activity by event: 3002 Authentication, 1007 Process Activity, 3001 Account
Change, 3006 Group Management, 1006 Scheduled Job Activity, 3003 Authorize Session."""

_OUTCOMES = {"success": Outcome.SUCCESS, "failure": Outcome.FAILURE}


def describe(document: Mapping[str, Any]) -> Envelope:
    """Compute the envelope of a document of this source. Total."""
    _, readings = interpret(document)
    return _ENVELOPE({**document, **readings[0]} if readings else document)


def program_in(command: object) -> str:
    """The first word of a command line."""
    return command.split(maxsplit=1)[0] if isinstance(command, str) and command.strip() else ""


def _time_ns(fields: Mapping[str, Any]) -> int | None:
    return time_ns_of(fields.get("time") or fields.get("timestamp"))


def _class(fields: Mapping[str, Any]) -> tuple[int, int]:
    event = fields.get("event", "")
    if event == "ssh-disconnect" and ("preauth" in fields or "user" not in fields):
        return 0, 0  # whoever left was never in, or the next line says who it was
    return CLASSES.get(event, (0, 0))


def _is_changed(fields: Mapping[str, Any]) -> bool:
    """Whether the action ran as an account other than the one that asked for it."""
    return fields.get("event") in ("sudo", "su", "pkexec")


def _actor(fields: Mapping[str, Any]) -> Any:
    return fields.get("target_user") if _is_changed(fields) else None


def _invoked_by(fields: Mapping[str, Any]) -> Any:
    if _is_changed(fields):
        return fields.get("user")
    return fields.get("by_user")


def _target(fields: Mapping[str, Any]) -> tuple[str, Any]:
    event = fields.get("event", "")
    if event.startswith("cron-"):
        return "job", fields.get("command") or fields.get("target_user")
    if event.startswith(("sudo", "pkexec")):
        return "process", fields.get("command")
    for kind, name in (("user", "target_user"), ("group", "group"), ("service", "unit")):
        if value := fields.get(name):
            return kind, value
    return "", None


def _target_type(fields: Mapping[str, Any]) -> str | None:
    kind, name = _target(fields)
    return kind if name else None


_ENVELOPE = EnvelopeMap(
    {
        "time_ns": (_time_ns,),
        "class_uid": (lambda fields: _class(fields)[0],),
        "activity_id": (lambda fields: _class(fields)[1],),
        "action": ("event", "program"),
        "actor_name": (_actor, "user"),
        "actor_uid": (lambda fields: fields.get("uid") if "by_uid" in fields else None,),
        "invoked_by": (_invoked_by, "ruser"),
        "session_uid": ("session",),
        "target_type": (_target_type,),
        "target_name": (lambda fields: _target(fields)[1],),
        "outcome": (lambda fields: _OUTCOMES.get(fields.get("outcome", "")),),
        "outcome_detail": ("reason",),
        "src_ip": ("src_ip",),
        "device": ("host",),
        "request_uid": ("journal.__CURSOR",),
    }
)
