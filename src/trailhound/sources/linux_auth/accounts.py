"""What the account tools of shadow-utils say: useradd, usermod, gpasswd, passwd and the rest.

Formats of shadow 4.1 to 4.17 (`SYSLOG` calls in src/); names stand in 'quotes', in older
versions in `quotes'. Only root runs most of these, and root names the accounts; a user may
choose what `chfn`, `chsh` and `passwd` say of that user, and no more.
"""

import re
from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]

_NAME = r"[`']([^']{0,255})'"
_PAIRS = {
    "name": "target_user",
    "UID": "uid",
    "uid": "uid",
    "GID": "gid",
    "gid": "gid",
    "home": "home",
    "shell": "shell",
    "from": "tty",
}
_PAIR = re.compile(r"(?:\A|, )(name|UID|uid|GID|gid|home|shell|from)=")

_Make = Callable[[re.Match[str]], Fields]


def read(message: str) -> list[Fields]:
    """Return the readings of a message: one, or none where it says nothing known."""
    text = message.strip(" ")
    for pattern, make in _FORMATS:
        if (found := pattern.match(text)) is not None:
            fields = make(found)
            fields.setdefault("outcome", "success")
            return [fields]
    return []


def _pairs(text: str) -> Fields:
    """Read `name=x, UID=0, GID=0, home=/root`; of a key that stands twice, the first."""
    fields: Fields = {}
    keys = list(_PAIR.finditer(text))
    for position, found in enumerate(keys):
        end = keys[position + 1].start() if position + 1 < len(keys) else len(text)
        fields.setdefault(_PAIRS[found[1]], number(text[found.end() : end]))
    return fields


def number(text: str) -> int | str:
    """Read an id; text stays text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text


def _created(found: re.Match[str]) -> Fields:
    return {"event": "user-created", **_pairs(found[1])}


def _group_created(found: re.Match[str]) -> Fields:
    pairs = _pairs(found[1])
    fields: Fields = {"event": "group-created", "group": pairs.get("target_user", "")}
    return fields | ({"gid": pairs["gid"]} if "gid" in pairs else {})


def _changed(found: re.Match[str]) -> Fields:
    user, what, old, new = found.groups()
    fields: Fields = {"event": "user-changed", "target_user": user, "change": what.lower()}
    fields |= {"old_value": number(old), "new_value": number(new)}
    if what in ("UID", "GID", "home", "shell"):
        fields[what.lower()] = fields["new_value"]
    return fields


def _maker(event: str, *names: str, **fixed: str) -> _Make:
    def make(found: re.Match[str]) -> Fields:
        values = zip(names, found.groups(), strict=False)
        fields: Fields = {"event": event, **fixed}
        fields.update({name: value for name, value in values if name and value is not None})
        return fields

    return make


def _format(pattern: str, make: _Make) -> tuple[re.Pattern[str], _Make]:
    return re.compile(
        pattern.replace("NAME", _NAME).replace("WORD", r"(\S{1,255})"), re.DOTALL
    ), make


_FORMATS = (
    _format(r"new user: (.*)", _created),
    _format(r"new group: (.*)", _group_created),
    _format(r"group added to \S{1,255}: (.*)", _group_created),
    _format(
        r"add NAME to (?:shadow )?group NAME", _maker("group-member-added", "target_user", "group")
    ),
    _format(
        r"add member WORD to group WORD by WORD",
        _maker("group-member-added", "target_user", "group", "user"),
    ),
    _format(
        r"user WORD added by WORD to group WORD",
        _maker("group-member-added", "target_user", "user", "group"),
    ),
    _format(
        r"members of group WORD set by WORD to (.*)",
        _maker("group-changed", "group", "user", "new_value", change="members"),
    ),
    _format(
        r"set (members|administrators) of WORD to (.*)",
        _maker("group-changed", "change", "group", "new_value"),
    ),
    _format(
        r"administrators of group WORD set by WORD to (.*)",
        _maker("group-changed", "group", "user", "new_value", change="administrators"),
    ),
    _format(
        r"delete NAME from (?:shadow )?group NAME",
        _maker("group-member-removed", "target_user", "group"),
    ),
    _format(
        r"remove member WORD from group WORD by WORD",
        _maker("group-member-removed", "target_user", "group", "user"),
    ),
    _format(
        r"user WORD removed by WORD from group WORD",
        _maker("group-member-removed", "target_user", "user", "group"),
    ),
    _format(r"delete user NAME", _maker("user-deleted", "target_user")),
    _format(r"removed? (?:shadow )?group NAME", _maker("group-deleted", "group")),
    _format(r"group NAME removed", _maker("group-deleted", "group")),
    _format(r"lock user NAME password", _maker("user-locked", "target_user")),
    _format(r"password locked for NAME", _maker("user-locked", "target_user")),
    _format(r"unlock user NAME password", _maker("user-unlocked", "target_user")),
    _format(r"change user NAME password", _maker("password-changed", "target_user")),
    _format(
        r"password for NAME changed by NAME", _maker("password-changed", "target_user", "user")
    ),
    _format(
        r"change user name NAME to NAME",
        _maker("user-changed", "target_user", "new_value", change="name"),
    ),
    _format(
        r"change user NAME (\w{1,16}) from [`']([^']{0,1024})' to [`']([^']{0,1024})'", _changed
    ),
    _format(
        r"changed user NAME (shell) to NAME",
        _maker("user-changed", "target_user", "change", "shell"),
    ),
    _format(
        r"changed user NAME information",
        _maker("user-changed", "target_user", change="information"),
    ),
    _format(
        r"changed password expiry for WORD",
        _maker("user-changed", "target_user", change="password expiry"),
    ),
    _format(
        r"change group NAME to NAME", _maker("group-changed", "group", "new_value", change="name")
    ),
    _format(
        r"change GID for NAME to (\d{1,10})",
        _maker("group-changed", "group", "new_value", change="gid"),
    ),
    _format(
        r"group changed in \S{1,255} \(group ([^/,\s)]{1,255})", _maker("group-changed", "group")
    ),
    _format(
        r"password of group WORD (?:changed|removed) by WORD",
        _maker("group-changed", "group", "user", change="password"),
    ),
    _format(r"failed adding user NAME", _maker("user-created", "target_user", outcome="failure")),
)
