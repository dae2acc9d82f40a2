"""From a document to what its message says: which program wrote it, and how that one writes."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

from trailhound.sources.linux_auth import accounts, pam, privilege, services, sshd
from trailhound.sources.linux_auth.lines import CONTINUED, joined
from trailhound.sources.syslog_lines import REPEATED, REPEATED_LAST

Fields = dict[str, Any]
Read = Callable[[str], list[Fields]]

ACCOUNT_TOOLS = (
    *("useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "gpasswd"),
    *("passwd", "chpasswd", "chage", "chfn", "chsh", "newusers", "adduser", "groupmems"),
)


_MESSAGES_REMEMBERED = 4096
_REMEMBERED_CHARACTERS = 400
_LAST_PORT = re.compile(r" port (\d{1,5})((?: ssh2)?(?: \[preauth\])?)\Z", re.ASCII)


class Family(Struct, frozen=True):
    """Programs that write alike."""

    views: tuple[str, ...]
    """Views that its lines stand in, besides `syslog`."""
    read: Read | None = None
    """What reads its messages; None: they are kept as they are."""
    module: str = ""
    """The PAM module, where the tag names it."""


def interpret(document: Mapping[str, Any]) -> tuple[Family, list[Fields]]:
    """Return who wrote a document's message, and the readings of it; not to be changed.

    Args:
        document: as `Event.document` of this source.

    Returns:
        The family, and what the message says: nothing where it is not known, one mapping, or
        two where attackers could have made the text so that two readings fit. Total.
    """
    global _last  # noqa: PLW0603 - a document is asked for its views and then its envelope
    of, said = _last
    if of is not document:
        said = _interpret(document)
        _last = document, said
    return said


def repeats_in(document: Mapping[str, Any]) -> int:
    """Return how often the message of a document came, by a logger that counts repeats; or 0."""
    if "message " not in document["message"]:
        return 0
    _, readings = interpret(document)
    return int(readings[0].get("repeated", 0)) if readings else 0


class Said(NamedTuple):
    """What a message says that no other line has a part in; not to be changed."""

    views: tuple[str, ...]
    """Views that such a line stands in, without that of processes."""
    readings: list[Fields]


def said_in(program: str, message: str) -> Said:
    """Return what `interpret` and `views_of` say of a message; most come again and again.

    Only the port of the other end is another one each time. Where it is the last thing in a
    message and nothing else is read from there, the rest is remembered without it.
    """
    if len(message) > _REMEMBERED_CHARACTERS:
        return _said(program, message)
    at = message.rfind(" port ")
    found = _LAST_PORT.match(message, at) if at >= 0 else None
    if found is None:
        return _remembered(program, message)
    said = _but_for_port(program, message[:at], found[2])
    if said is None:
        return _said(program, message)
    (reading,) = said.readings
    return Said(said.views, [{**reading, "src_port": int(found[1])}])


def _said(program: str, message: str) -> Said:
    document = {"program": program, "message": message}
    family, readings = _interpret(document)
    return Said(views_of(family, document), readings)


@lru_cache(maxsize=_MESSAGES_REMEMBERED)
def _remembered(program: str, message: str) -> Said:
    return _said(program, message)


@lru_cache(maxsize=_MESSAGES_REMEMBERED)
def _but_for_port(program: str, head: str, tail: str) -> Said | None:
    said, other = (_said(program, f"{head} port {port}{tail}") for port in (1, 2))
    if len(said.readings) != 1:
        return None
    # The head may have a port too, and a text may go on to the end.
    reading = {**said.readings[0], "src_port": 1}
    follows = said.readings == [reading] and other.readings == [{**reading, "src_port": 2}]
    return said if follows else None


def _interpret(document: Mapping[str, Any]) -> tuple[Family, list[Fields]]:
    text: str = document["message"].rstrip(_ENDS).removesuffix("#012")
    program: str = document["program"]
    count = 0
    if text.startswith("message repeated ") and (found := REPEATED.match(text)) is not None:
        count = int(found[1])
        text = text[found.end() :].removesuffix("]").rstrip(_ENDS)
    elif not program and (found := REPEATED_LAST.match(text)) is not None:
        count = int(found[1])
        before = document.get("repeats")
        if before:
            program, text = before["program"], before["message"].rstrip(_ENDS)
    family = family_of(program[:_NAME_CHARACTERS])
    readings = _read(family, text, document)
    if count:
        readings = [reading | {"repeated": count} for reading in readings or [{}]]
    return family, readings


def _read(family: Family, text: str, document: Mapping[str, Any]) -> list[Fields]:
    if text.startswith("pam_") and pam.is_pam(text):
        return pam.read(text)
    if family.module:
        return [{"pam_module": family.module, **reading} for reading in pam.read_body(text)] or [
            {"pam_module": family.module}
        ]
    if family.read is None:
        return []
    if "continues" in document:
        rest = text.partition(CONTINUED)[2]
        readings = privilege.read_sudo(joined(document["continues"], rest))
        return [reading | {"continued": True} for reading in readings]
    if family.read is services.read_systemd and "journal" in document:
        unit = document["journal"].get("UNIT")
        return services.read_systemd(text, unit if isinstance(unit, str) else "")
    return family.read(text)


@lru_cache(maxsize=1024)
def family_of(program: str) -> Family:
    """Return the family of a program, by its name as written in the tag."""
    name = program.rpartition("/")[2].strip("()").lower()
    module = ""
    if (tagged := _MODULE.search(name)) is not None:  # sshd(pam_unix)
        module, name = tagged[1], name[: tagged.start()]
    elif "(" in name:  # polkitd(authority=local)
        name = name.partition("(")[0]
    family = _FAMILIES.get(name)
    if family is None:
        family = _LOGIN if name.startswith(LOGIN_PREFIXES) else _UNKNOWN
    if module:
        return Family((*family.views, "auth", "pam"), family.read, module)
    return family


def views_of(family: Family, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the views that an event stands in."""
    views = family.views
    if document["message"].startswith("pam_"):
        views = (*views, "auth", "pam")
    elif document.get("facility") in ("auth", "authpriv"):
        views = (*views, "auth")
    return ("syslog", *views)


def _logger(program: str) -> Family:
    return Family((), lambda message: services.read_logger(message, program))


LOGIN_PREFIXES = ("gdm", "lightdm", "sddm")
"""How the names of programs begin that log in on a screen."""
_NAME_CHARACTERS = 256  # of a name that a journal entry may make as long as it likes
_ENDS = " \t\r\n\0"
_MODULE = re.compile(r"\((pam_\w{1,48})\Z", re.ASCII)
_UNKNOWN = Family(())
_SSHD = Family(("sshd", "auth"), sshd.read)
_CRON = Family(("cron",), services.read_cron)
_LOGIN = Family(("login", "auth"), pam.read_login)
_POLKIT = Family(("polkit", "auth"), privilege.read_polkit)
_CLAMAV = Family(("clamav",))
_GUACAMOLE = Family(("guacamole",))
_LOGIND = Family(("logind", "auth"), services.read_logind)

_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("sshd", "sshd-session", "sshd-auth"), _SSHD),
    **dict.fromkeys(("sudo", "sudo-rs"), Family(("sudo", "auth"), privilege.read_sudo)),
    **dict.fromkeys(("su", "su-l", "runuser"), Family(("su", "auth"), privilege.read_su)),
    **dict.fromkeys(("cron", "crond", "crontab", "anacron", "atd"), _CRON),
    **dict.fromkeys(("login", "agetty", "remote"), _LOGIN),
    **dict.fromkeys(("polkitd", "pkexec", "polkit-agent-helper-1"), _POLKIT),
    **dict.fromkeys(("systemd-logind", "elogind", "elogind-daemon"), _LOGIND),
    **dict.fromkeys(("clamd", "clamav", "clamscan", "freshclam", "clamav-daemon"), _CLAMAV),
    **dict.fromkeys(("guacd", "guacamole"), _GUACAMOLE),
    **{tool: Family((tool, "auth"), accounts.read) for tool in ACCOUNT_TOOLS},
    **{name: _logger(name) for name in services.LOGGERS},
    "systemd": Family(("systemd",), services.read_systemd),
    "vsftpd": Family(("vsftpd",)),
}
_last: tuple[Mapping[str, Any] | None, tuple[Family, list[Fields]]] = (None, (_UNKNOWN, []))
FAMILY_NAMES = tuple(_FAMILIES)
"""Names of the programs whose family is known by the whole name."""
