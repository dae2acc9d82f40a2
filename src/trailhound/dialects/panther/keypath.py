"""Key specifiers of Panther: `Key`, `DeepKey` and `KeyPath`."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from trailhound.dialects.panther.items import Rejected
from trailhound.dialects.panther.logs import path_here
from trailhound.rules.ir import Field, Path, Step

SPECIFIERS = ("Key", "DeepKey", "KeyPath")
_PART = re.compile(
    r"""(?P<name>[^.\[\]'"]+)|\[(?P<number>\d{1,6})\]|\[(?P<all>\*)\]"""
    r"""|\[(?P<quote>['"])(?P<quoted>.+?)(?P=quote)\]"""
)
_TEXT = Step("json")


class KeyPath(Struct, frozen=True):
    """Where a value of an event is."""

    name: str
    """As written."""
    path: Path
    listed: bool
    """Whether it names the elements of lists (`[*]`)."""

    def field(self, log_type: str) -> Field:
        """Return the field in events of a log type."""
        return Field(self.name, (path_here(log_type, self.path),))

    def whole(self, log_types: Iterable[str]) -> Field:
        """Return the field in events of several log types, as one text also where it is a list."""
        paths = tuple(dict.fromkeys(path_here(name, self.path) for name in log_types))
        return Field(self.name, paths, (_TEXT,))


def key_path(text: str) -> KeyPath:
    """Read a key path: `a.b[0].c[*]['d.e']`."""
    steps: list[str] = []
    at, listed = 0, False
    while at < len(text):
        if text[at] == "." and steps:
            at += 1
        found = _PART.match(text, at)
        if found is None:
            raise Rejected(f"{text!r} is no key path", "KeyPath", text)
        at = found.end()
        if found["all"]:
            listed = True
        else:
            steps.append(found["name"] or found["number"] or found["quoted"])
    if not steps:
        raise Rejected("a key path is empty", "KeyPath", text)
    return KeyPath(text, tuple(steps), listed)


def specified(entry: Mapping[str, Any]) -> KeyPath:
    """Read the key specifier of a match expression."""
    given = [name for name in SPECIFIERS if name in entry]
    if len(given) != 1:
        raise Rejected(f"there must be one of {', '.join(SPECIFIERS)}", *entry)
    value = entry[given[0]]
    if given[0] == "DeepKey":
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(step, str | int) and not isinstance(step, bool) for step in value)
        ):
            raise Rejected("DeepKey must be a list of keys and places", "DeepKey")
        steps = tuple(str(step) for step in value)
        return KeyPath(".".join(steps), steps, listed=False)
    if not isinstance(value, str) or not value:
        raise Rejected(f"{given[0]} must be text", given[0])
    if given[0] == "Key":
        return KeyPath(value, (value,), listed=False)
    return key_path(value)
