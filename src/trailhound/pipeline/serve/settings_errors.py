"""What is wrong with a settings file, in words for whoever wrote it: line, section and key."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_PLACE = re.compile(r"(?P<said>.*) - at `\$\.?(?P<path>[^`]*)`", re.DOTALL)


def unknown_key(text: str, given: Mapping[str, Any], known: type, section: str = "") -> str:
    """Say of the first key that the settings do not have where it stands, and which they have.

    Args:
        text: of the file.
        given: the table that was read.
        known: the type of the settings in that table.
        section: name of the table; empty for the outermost.

    Returns:
        What follows the path of the file; empty where every key is known.
    """
    fields = {field.name: field.type for field in msgspec.structs.fields(known)}
    for key, value in given.items():
        if key not in fields:
            from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

            close = get_close_matches(key, fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            said = f"no setting has this name{hint} (known: {', '.join(sorted(fields))})"
            return f"{_at(text, section, key)}: {said}"
        inner = fields[key]
        below = isinstance(value, dict) and isinstance(inner, type)
        if below and issubclass(inner, msgspec.Struct):
            wrong = unknown_key(text, value, inner, key)
            if wrong:
                return wrong
    return ""


def wrong_value(text: str, said: str) -> str:
    """Say where a value stands that is not understood; what follows the path of the file.

    Args:
        text: of the file.
        said: by msgspec: "Expected `int`, got `str` - at `$.http.port`".
    """
    found = _PLACE.fullmatch(said)
    if found is None:
        return f": {said}"
    section, _, key = found["path"].partition("[")[0].rpartition(".")
    words = found["said"].replace("`", "")
    return f"{_at(text, section, key)}: {words[:1].lower()}{words[1:]}"


def _at(text: str, section: str, key: str) -> str:
    place = f"[{section}] {key}" if section else key
    line = _line_of(text, section, key)
    return f":{line}: {place}" if line else f": {place}"


def _line_of(text: str, section: str, key: str) -> int:
    """Find the line of a key, 0 where it is written in a way that is not looked for."""
    names = rf"[\"']?{re.escape(key)}[\"']?"
    here = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            here = bare.strip("[]").strip()
            if here == key and not section:
                return number
        elif here == section and re.match(rf"{names}\s*[=.]", bare):
            return number
    return 0
