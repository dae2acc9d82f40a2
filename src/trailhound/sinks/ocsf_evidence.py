"""OCSF objects of one event: from the envelope alone, whatever the source (OCSF 1.5.0)."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.sinks.evidence import DOCUMENTS_SHOWN, document_fields
from trailhound.sinks.native import origin_document
from trailhound.sinks.wording import target

_API_ACTIVITY, _PROCESS_ACTIVITY = 6003, 1007
_OBSERVABLES_LIMIT = 50
_IP_LENGTH_LIMIT = 40
_HOSTNAME, _IP, _USER_NAME, _RESOURCE, _USER_AGENT = 1, 2, 4, 38, 16
_OBSERVABLE_TYPES = {
    _HOSTNAME: "Hostname",
    _IP: "IP Address",
    _USER_NAME: "User Name",
    _RESOURCE: "Resource Details Object: name",
    _USER_AGENT: "HTTP User-Agent",
}


def evidence(event: Event, index: int) -> dict[str, Any]:
    """Return `evidences` entry number `index` of a finding, with its document if it is early.

    `data` holds what has no attribute of its own: where the records stand, the identity behind
    the actor (`actor.invoked_by` is deprecated since OCSF 1.2 and meant a service), the notes
    and the document.
    """
    envelope = event.envelope
    data = {
        "origins": [origin_document(origin) for origin in event.origins],
        "invoked_by": envelope.invoked_by,
        "notes": [note for note in event.notes if note],
        **(document_fields(event) if index < DOCUMENTS_SHOWN else {}),
    }
    done_to = resource(envelope)
    return saying(
        {
            "uid": event.uid,
            "name": event.source,
            "actor": actor(envelope),
            "src_endpoint": endpoint(envelope),
            "api": _api(envelope),
            "process": _process(event),
            "http_request": saying({"user_agent": envelope.user_agent}),
            "device": device(envelope),
            "resources": [done_to] if done_to else None,
            "data": saying(data),
        }
    )


def actor(envelope: Envelope) -> dict[str, Any]:
    """Return who acted, empty where the event names nobody."""
    user = None
    if envelope.actor_name or envelope.actor_uid:
        user = saying(
            {
                "name": envelope.actor_name,
                "uid": envelope.actor_uid,
                "type": envelope.actor_type,
                "type_id": 99 if envelope.actor_type else None,
                "groups": [{"name": group} for group in envelope.actor_groups if group],
            }
        )
    return saying({"user": user, "session": saying({"uid": envelope.session_uid})})


def device(envelope: Envelope) -> dict[str, Any]:
    """Return where it was recorded. Its kind is not known: a host, a cluster or an account."""
    return {"name": envelope.device, "type_id": 0, "type": "Unknown"} if envelope.device else {}


def endpoint(envelope: Envelope) -> dict[str, Any]:
    """Return where it came from: `ip` where it is an address, else `name`."""
    if is_ip(envelope.src_ip):
        return {"ip": envelope.src_ip}
    return {"name": envelope.src_ip} if envelope.src_ip else {}


def resource(envelope: Envelope) -> dict[str, Any]:
    """Return what it was done to, empty where the event names nothing."""
    if not target(envelope):
        return {}
    return saying(
        {
            "name": envelope.target_name or envelope.target_type or envelope.target_namespace,
            "type": envelope.target_type,
            "namespace": envelope.target_namespace,
        }
    )


def observables(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the values an analyst pivots on, each once, with the attribute they stand in."""
    found: dict[tuple[int, str], str] = {}
    for index, event in enumerate(events):
        envelope = event.envelope
        here = f"evidences[{index}]"
        address = "src_endpoint.ip" if is_ip(envelope.src_ip) else ""
        for type_id, attribute, value in (
            (_USER_NAME, "actor.user.name", envelope.actor_name),
            (_USER_NAME, "data.invoked_by", envelope.invoked_by),
            (_IP, address, envelope.src_ip if address else ""),
            (_HOSTNAME, "device.name", envelope.device),
            (_RESOURCE, "resources[0].name", envelope.target_name),
            (_USER_AGENT, "http_request.user_agent", envelope.user_agent),
        ):
            if value and len(found) < _OBSERVABLES_LIMIT:
                found.setdefault((type_id, value), f"{here}.{attribute}")
    return [
        {"name": name, "type_id": type_id, "type": _OBSERVABLE_TYPES[type_id], "value": value}
        for (type_id, value), name in found.items()
    ]


def is_ip(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address as OCSF's `ip_t` takes it."""
    return len(text) <= _IP_LENGTH_LIMIT and _is_address(text)


@lru_cache(maxsize=4096)  # the same machines call again and again
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def saying(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as `pruned` does, whose values say something or are empty themselves."""
    return {key: value for key, value in document.items() if value or value == 0}


def pruned(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without the attributes that say nothing: None, "", [] and {}.

    OCSF has no null. Documents from logs, which are fragments, are left as they are.
    """
    kept: dict[str, Any] = {}
    for key, item in document.items():
        value = _pruned(item)
        if value is not None:
            kept[key] = value
    return kept


def _api(envelope: Envelope) -> dict[str, Any] | None:
    if envelope.class_uid != _API_ACTIVITY or not envelope.action:
        return None
    detail = envelope.outcome_detail
    failed = envelope.outcome == Outcome.FAILURE
    code = int(detail) if detail.isascii() and detail.isdigit() and len(detail) < 9 else None
    words = detail if code is None else ""
    response = {
        "code": code,
        "error": words if failed else "",
        "message": "" if failed else words,
    }
    return saying(
        {
            "operation": envelope.action,
            "request": saying({"uid": envelope.request_uid}),
            "response": saying(response),
        }
    )


def _process(event: Event) -> dict[str, Any] | None:
    """A process, known by the event that started it: the envelope has no process id."""
    envelope = event.envelope
    if envelope.class_uid != _PROCESS_ACTIVITY:
        return None
    return saying({"uid": event.uid, "name": envelope.target_name})


def _pruned(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value or None
    if kind is dict:
        return pruned(value) or None
    if kind is list or kind is tuple:
        items = (_pruned(item) for item in value)
        return [item for item in items if item is not None] or None
    return value
