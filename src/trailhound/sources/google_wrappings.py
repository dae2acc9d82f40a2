"""What Google Cloud wraps around records: one function takes one wrapping off, or returns None."""

from collections.abc import Iterable

from trailhound.sources.contents import Content, Document, all_but, objects
from trailhound.sources.encoded import decoded


def pubsub(document: Document) -> Iterable[Content] | None:
    """Pub/Sub push deliveries and pulled messages: `message.data` in base64."""
    message = document.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("data"), str):
        return None
    known = all_but(message, "data")
    return ((content, known) for content in decoded(message["data"], "Pub/Sub message"))


def cloud_logging_list(document: Document) -> Iterable[Content] | None:
    """Cloud Logging API, `entries.list`."""
    entries = objects(document.get("entries"))
    if entries == [] and "nextPageToken" in document:
        return ()
    if not entries or "logName" not in entries[0]:
        return None
    return ((entry, {}) for entry in entries)


def cloud_logging(document: Document) -> Iterable[Content] | None:
    """A `LogEntry` that only carries what a program wrote; an audit log's is a record itself."""
    if "logName" not in document:
        return None
    for name in ("jsonPayload", "textPayload"):
        if isinstance(document.get(name), str | dict):
            return [(document[name], all_but(document, name))]
    return None


def cloud_event(document: Document) -> Iterable[Content] | None:
    """CloudEvents 1.0.2, "JSON Event Format", as Eventarc delivers audit logs."""
    if not isinstance(document.get("specversion"), str) or "type" not in document:
        return None
    known = all_but(document, "data", "data_base64")
    if isinstance(document.get("data_base64"), str):
        return ((content, known) for content in decoded(document["data_base64"], "CloudEvent"))
    data = document.get("data")
    return [(data, known)] if isinstance(data, str | dict) else None


def activities(document: Document) -> Iterable[Content] | None:
    """Admin SDK, "Reports API", `activities.list`."""
    items = objects(document.get("items"))
    if items is None:
        return None
    if "kind" in document:
        listed = document["kind"] == "admin#reports#activities"
    else:  # where keys are in order and the list was cut up at its elements, it comes too late
        listed = bool(items) and items[0].get("kind") == "admin#reports#activity"
    if not listed:
        return None
    return ((item, {}) for item in items)
