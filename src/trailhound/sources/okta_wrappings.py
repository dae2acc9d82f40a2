"""What Okta wraps around System Log events."""

from collections.abc import Iterable

from trailhound.sources.contents import Content, Document, all_but


def event_hook(document: Document) -> Iterable[Content] | None:
    """Okta developer documentation, "Event hooks", request body: a batch below `data`."""
    if document.get("eventType") != "com.okta.event_hook":
        return None
    data = document.get("data")
    events = data.get("events") if isinstance(data, dict) else None
    known = all_but(document, "data")
    return ((event, known) for event in events) if isinstance(events, list) else None
