"""Values as text: what tests compare, and what findings show."""

from typing import Any

import orjson


def text_of(value: Any) -> str | None:
    """Return a value as the text that tests compare; None for null, which has none.

    Numbers in decimal, booleans as JSON writes them, objects as their compact JSON.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int | float):
        return _number_text(value)
    return _json_text(value)


def _number_text(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # an integer beyond what Python writes in decimal (4,300 digits)
        return hex(value) if isinstance(value, int) else repr(value)


def _json_text(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return str(value)
