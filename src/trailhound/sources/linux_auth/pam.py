"""What the modules of PAM say, whichever program loads them; and login(1), which speaks alike.

Linux-PAM `pam_syslog`: `MODULE(SERVICE:TYPE): MESSAGE`. Red Hat before 2006: the module stands
in the tag, `sshd(pam_unix)[1]:`.
"""

import re
from typing import Any

from trailhound.sources.linux_auth.peers import failures, peer

Fields = dict[str, Any]

_MODULE = re.compile(r"(pam_\w{1,48})\(([^():\s]{0,128}):([\w.-]{0,32})\): ?", re.ASCII)
_WITH_UID = re.compile(r"(.*)\(uid=(\d{1,10})\)\Z", re.ASCII | re.DOTALL)
_TALLY = re.compile(r"user (\S{1,255}) \((\d{1,10})\) (?:tally (\d{1,9}), deny|has been locked)")
_NOT_MET = re.compile(r'requirement "([^"]{0,255})" not met by user "', re.ASCII)
_LOCKED = "Consecutive login failures for user "
_SSS = re.compile(r"received for user (.*): (\d{1,4}) \(([^()]{0,255})\)\Z", re.ASCII | re.DOTALL)
_LOGIN_FAILED = re.compile(
    r"FAILED LOGIN (?:\(?\d{1,9}\)?|SESSION) (?:FROM|on) '?([^\s']{1,255})'?"
)
_LOGIN = re.compile(r"(ROOT )?LOGIN +(?:ON|on) '?([^\s']{1,255})'?", re.ASCII)


def is_pam(message: str) -> bool:
    """Whether a module of PAM wrote it."""
    return message.startswith("pam_") and _MODULE.match(message) is not None


def read(message: str) -> list[Fields]:
    """Return the readings of a message that begins with its module."""
    found = _MODULE.match(message)
    if found is None:
        return []
    module: Fields = {"pam_module": found[1], "pam_service": found[2], "pam_type": found[3]}
    readings = read_body(message[found.end() :])
    return [reading | module for reading in readings] or [module]


def read_body(text: str) -> list[Fields]:
    """Return the readings of what stands after the module."""
    text = text.strip(" ")
    for start, event in _SESSIONS:
        if text.startswith(start):
            return [_session(event, text[len(start) :])]
    if text.startswith("authentication failure;"):
        fields: Fields = {"event": "auth-failure", "outcome": "failure"}
        return [fields | named for named in failures(text[23:].lstrip(" "))]
    if text.startswith("password changed for "):
        return [{"event": "password-changed", "target_user": text[21:], "outcome": "success"}]
    return _refused(text) or _locked(text)


def _session(event: str, text: str) -> Fields:
    fields: Fields = {"event": event}
    named, joint, by = text.rpartition(" by ")
    fields["user"], uid = _with_uid(named if joint else text)
    if uid is not None:
        fields["uid"] = uid
    if joint:
        opener, uid = _with_uid(by)
        if opener:
            fields["by_user"] = opener
        if uid is not None:
            fields["by_uid"] = uid
    fields["outcome"] = "success"
    return fields


def _with_uid(text: str) -> tuple[str, int | None]:
    found = _WITH_UID.match(text)
    return (found[1], int(found[2])) if found else (text, None)


def _refused(text: str) -> list[Fields]:
    failed: Fields = {"outcome": "failure", "reason": text}
    if text == "check pass; user unknown" or text.startswith("User unknown"):
        return [{"event": "auth-user-unknown", **failed}]
    if (found := _SSS.match(text)) is not None:
        named: Fields = {"user": found[1], "reason": found[3], "outcome": "failure"}
        return [{"event": "auth-failure", **named}] if found[2] != "0" else []
    if (found := _NOT_MET.match(text)) is not None:
        user = text[found.end() :].removesuffix('"')
        return [{"event": "access-denied", "user": user, **failed}]
    if text.startswith("access denied for user "):
        user, _, host = text[23:].rpartition(" from ")
        where = peer(host.strip("`'\""))
        return [{"event": "access-denied", "user": user.strip("`'\""), **failed, **where}]
    if text.startswith("Refused user "):
        user, _, _ = text[13:].rpartition(" for service ")
        return [{"event": "access-denied", "user": user, **failed}]
    if text.startswith("auth could not identify password for ["):
        user = text[38:].removesuffix("]")
        return [{"event": "auth-failure", "user": user, **failed}]
    if text.startswith("account ") and " has expired" in text:
        user = text[8:].rpartition(" has expired")[0]
        return [{"event": "access-denied", "user": user, **failed}]
    return []


def _locked(text: str) -> list[Fields]:
    failed: Fields = {"outcome": "failure", "reason": text}
    if text.startswith(_LOCKED):
        user = text[len(_LOCKED) :].rpartition(" account temporarily locked")[0]
        return [{"event": "account-locked", "target_user": user, **failed}]
    if (found := _TALLY.match(text)) is not None:
        fields: Fields = {"event": "account-locked", "target_user": found[1], **failed}
        if found[3]:
            fields["attempts"] = int(found[3])
        return [fields]
    return []


def read_login(message: str) -> list[Fields]:
    """Return the readings of a message of login(1), of util-linux or shadow."""
    text = message.strip(" ")
    if (found := _LOGIN_FAILED.match(text)) is not None:
        fields: Fields = {"event": "login-failed", "tty": found[1], "outcome": "failure"}
        user, joint, reason = text[found.end() :].removeprefix(" FOR ").rpartition(", ")
        if joint:
            fields["reason"] = reason
            if user.strip("'") not in ("(unknown)", "UNKNOWN"):
                fields["user"] = user.strip("'")
        return [fields]
    if (found := _LOGIN.match(text)) is not None:
        fields = {"event": "login", "tty": found[2], "outcome": "success"}
        user, joint, host = text[found.end() :].removeprefix(" BY ").partition(" FROM ")
        if found[1]:
            user = "root"
        return [fields | {"user": user} | (peer(host) if joint else {})]
    return []


_SESSIONS = (
    ("session opened for user ", "session-opened"),
    ("session closed for user ", "session-closed"),
)
