"""The documents behind a finding, as far as an output carries them."""

from typing import Any

from trailhound.model.events import Event
from trailhound.sinks.encode import fragment, json_text, printable

DOCUMENTS_SHOWN = 3
"""Events of a finding, from the first on, that carry their document."""
DOCUMENT_LIMIT_BYTES = 65_536
"""A longer document is cut, and said to be."""


def document_text(event: Event) -> str:
    """Return the document of an event as `json_text`."""
    return json_text(event.document) if event.written is None else printable(event.written)


def document_fields(event: Event) -> dict[str, Any]:
    """Return the document of an event for a JSON output.

    Returns:
        `document`, the object as its source wrote it; or, if its JSON takes more than
        `DOCUMENT_LIMIT_BYTES` in UTF-8, `document_text` with the beginning of that JSON and
        `truncated`.
    """
    text = document_text(event)
    if fits(text):
        return {"document": fragment(text)}
    return {"document_text": beginning(text), "truncated": True}


def fits(text: str) -> bool:
    """Whether JSON text is short enough to be carried whole."""
    return len(text if text.isascii() else text.encode()) <= DOCUMENT_LIMIT_BYTES


def beginning(text: str) -> str:
    """Return as much of `text` as fits, cut between characters."""
    return text.encode()[:DOCUMENT_LIMIT_BYTES].decode("utf-8", "ignore")
