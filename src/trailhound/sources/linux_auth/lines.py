"""Lines that mean something only together with lines before them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from trailhound.sources.syslog_lines import REPEATED_LAST

CONTINUED = " : (command continued) "
"""How sudo marks the rest of a command that was too long for one line."""

_KEPT = 512
_CHARACTERS_KEPT = 1 << 15
_V = TypeVar("_V")


class Lines:
    """Ties a line to those it needs, in the document, so that it can be read on its own.

    - `repeats`: the line that `last message repeated 3 times` refers to, of the same host.
    - `continues`: sudo's message so far, of the same host, process and user.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], dict[str, Any]] = {}
        self._sudo: dict[tuple[Any, ...], str] = {}

    def link(self, path: str, document: dict[str, Any]) -> None:
        """Add to a document what it needs of the past, and remember it."""
        host, message = document.get("host", ""), document["message"]
        program = document["program"]
        if not program:
            if REPEATED_LAST.match(message) is not None:
                before = self._last.get((path, host))
                if before is not None:
                    document["repeats"] = before
            return
        self.remember(path, document)
        if program.endswith("sudo"):
            begun = self.remember_sudo(path, document)
            if begun is not None:
                document["continues"] = begun

    def remember(self, path: str, document: Mapping[str, Any]) -> None:
        """Remember a line that has a program as the last one of its host."""
        line = {"program": document["program"], "message": document["message"][:_CHARACTERS_KEPT]}
        if "pid" in document:
            line["pid"] = document["pid"]
        _keep(self._last, (path, document.get("host", "")), line)

    def remember_sudo(self, path: str, document: Mapping[str, Any]) -> str | None:
        """Remember a message of sudo; return the one that it continues."""
        host, message = document.get("host", ""), document["message"]
        user, mark, rest = message.partition(CONTINUED)
        if not mark:
            user = message.partition(" : ")[0]
        key = (path, host, document.get("pid"), user.strip(" "))
        if not mark:
            _keep(self._sudo, key, message[:_CHARACTERS_KEPT])
            return None
        before = self._sudo.get(key)
        if before is not None:
            _keep(self._sudo, key, joined(before, rest)[:_CHARACTERS_KEPT])
        return before


def joined(before: str, rest: str) -> str:
    """Put a command together again.

    sudo breaks a line at a blank, which it drops, and inside a word only where a piece has no
    blank at all (lib/eventlog/eventlog.c, `do_syslog_sudo`). The first piece always has one.
    """
    return f"{before} {rest}"


def _keep(store: dict[Any, _V], key: Any, value: _V) -> None:
    if key in store:
        del store[key]
    elif len(store) >= _KEPT:
        del store[next(iter(store))]
    store[key] = value
