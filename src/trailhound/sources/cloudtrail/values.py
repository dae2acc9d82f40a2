"""Small readers that take any value in any place."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from trailhound.sources.mapping import Getter, value_at

_TEXT_LIMIT = 4096


def text(value: object) -> str | None:
    """Return the value if it is text that says something, cut at 4096 characters.

    A whole number of at most 64 bits is taken as text: some shippers make numbers of account
    ids. Everything else is None.
    """
    if isinstance(value, str):
        return value[:_TEXT_LIMIT] or None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return str(value)
    return None


def first_text(getters: Iterable[Getter], document: Mapping[str, Any]) -> str | None:
    """Return the text of the first getter that yields any."""
    for getter in getters:
        found = value_at(document, getter) if isinstance(getter, str) else getter(document)
        if (said := text(found)) is not None:
            return said
    return None


def below(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object at `name`; an empty one where something else or nothing stands."""
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def reach(value: Any, path: str) -> Any:
    """Like `value_at`, and through the first element of every list on the way."""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        value = value.get(step) if isinstance(value, Mapping) else None
    return value[0] if isinstance(value, list) and value else value


def arn_resource(arn: object) -> str | None:
    """Return the sixth part of an ARN: `user/path/anna`, `secret:db-AbCdEf`; None if it is none.

    AWS General Reference, "Amazon Resource Names (ARNs)".
    """
    written = text(arn)
    parts = written.split(":", 5) if written else []
    return parts[5] if len(parts) == 6 and parts[0] == "arn" and parts[5] else None


def arn_type(arn: str) -> str:
    """Return `service:kind` of an ARN, for resources that a record lists without a type."""
    resource = arn_resource(arn)
    if resource is None:
        return ""
    kind, colon, _ = resource.replace("/", ":").partition(":")
    service = arn.split(":", 3)[2]
    return f"{service}:{kind}" if colon else service


def is_ip(written: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    if len(written) > 64:
        return False
    try:
        ipaddress.ip_address(written)
    except ValueError:
        return False
    return True
