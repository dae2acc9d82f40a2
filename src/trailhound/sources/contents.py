"""What comes out of a wrapping."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from trailhound.model.records import Payload


class Aside(Struct, frozen=True):
    """Stands where a record was expected: what to say of it instead."""

    reason: str
    detail: str
    lost: bool = True


Content = tuple[Any, Mapping[str, Any]]
"""What was wrapped (an object, a text or an `Aside`), and what the wrapping knows of it."""

Document = Mapping[str, Any]


def all_but(document: Document, *names: str) -> Document:
    """Return a document without some of its keys."""
    return {key: value for key, value in document.items() if key not in names}


def objects(value: object) -> list[dict[str, Any]] | None:
    """Return the value if it is an array that begins with an object, or is empty; else None."""
    if isinstance(value, list) and (not value or isinstance(value[0], dict)):
        return value
    return None


def within(
    outer: Payload, *, document: dict[str, Any] | None = None, text: str | None = None
) -> Payload:
    """Return a payload of the same place and wrappings with other content."""
    return Payload(
        origin=outer.origin,
        document=document,
        text=text,
        wrapping=outer.wrapping,
        context=outer.context,
    )


def inside(outer: Payload, wrapping: str, text: str, context: Mapping[str, Any]) -> Payload:
    """Return the text that stood inside a payload, one wrapping further."""
    return Payload(
        origin=outer.origin,
        text=text,
        wrapping=(*outer.wrapping, wrapping),
        context={**outer.context, **context},
    )
