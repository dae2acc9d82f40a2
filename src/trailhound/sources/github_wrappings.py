"""What wraps GitHub's webhook payloads: one function takes one wrapping off, or returns None."""

from collections.abc import Iterable, Mapping
from typing import Any

from trailhound.sources.contents import Content, Document
from trailhound.sources.encoded import decoded

_EVENT_HEADER = "x-github-event"


def webhook(document: Document) -> Iterable[Content] | None:
    """GitHub REST API, "Repository webhooks", a delivery: `request.payload` beside its headers."""
    request = document.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("payload"), str | dict):
        return None
    kind = document.get("event") or _event(request.get("headers"))
    if not isinstance(kind, str):
        return None
    known = {"webhook_type": kind, "delivered_at": document.get("delivered_at")}
    return [(request["payload"], known)]


def proxied_webhook(document: Document) -> Iterable[Content] | None:
    """API Gateway, "Lambda proxy integration": the request's headers, and its body as text."""
    kind, body = _event(document.get("headers")), document.get("body")
    if kind is None or not isinstance(body, str):
        return None
    context = document.get("requestContext")
    times = context if isinstance(context, dict) else {}
    # Version 1.0 and 2.0 of the format.
    known = {
        "webhook_type": kind,
        "received_ms": times.get("requestTimeEpoch", times.get("timeEpoch")),
    }
    if document.get("isBase64Encoded") is True:
        return ((content, known) for content in decoded(body, "webhook delivery"))
    return [(body, known)]


def _event(headers: Any) -> str | None:
    if not isinstance(headers, Mapping):
        return None
    for name, value in headers.items():
        if isinstance(name, str) and name.lower() == _EVENT_HEADER:
            found = value[0] if isinstance(value, list) and value else value
            return found if isinstance(found, str) else None
    return None
