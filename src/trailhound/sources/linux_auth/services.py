"""What cron, systemd, logind and the loggers themselves say.

cron: Vixie cron and cronie, `log_it` (`(USER) EVENT (DETAIL)`); systemd: src/core/unit.c and
job.c; logind: src/login/logind-session.c.
"""

import re
from collections.abc import Mapping
from typing import Any

Fields = dict[str, Any]

_CRON = re.compile(r"\(([^()\s]{0,255})\) ([A-Z][A-Z ]{0,31}) \(", re.ASCII)
_CRON_EVENTS: Mapping[str, str] = {
    "CMD": "cron-command",
    "REPLACE": "cron-edited",
    "END EDIT": "cron-edit-ended",
    "BEGIN EDIT": "cron-edit-begun",
    "DELETE": "cron-deleted",
    "LIST": "cron-listed",
    "RELOAD": "cron-reloaded",
    "AUTH": "cron-denied",
}
_UNIT = re.compile(
    r"(\S{1,255}\.(?:service|socket|timer|target|mount|automount|swap|path|slice|scope|device))"
    r"(?: - (.*))?\Z",
    re.ASCII | re.DOTALL,
)
_UNIT_SAYS = re.compile(
    r"(\S{1,255}\.(?:service|socket|timer|mount|swap|path|scope)): (.*)", re.DOTALL
)
_SYSTEMD = (
    ("Starting ", "service-starting"),
    ("Started ", "service-started"),
    ("Stopping ", "service-stopping"),
    ("Stopped ", "service-stopped"),
    ("Failed to start ", "service-failed"),
    ("Reloading ", "service-reloading"),
    ("Reloaded ", "service-reloaded"),
)
DESCRIBED: Mapping[str, str] = {
    "System Logging Service": "rsyslog.service",
    "Security Auditing Service": "auditd.service",
    "Security Audit Logging Service": "auditd.service",
    "Journal Service": "systemd-journald.service",
    "firewalld - dynamic firewall daemon": "firewalld.service",
    "Uncomplicated firewall": "ufw.service",
    "OpenBSD Secure Shell server": "ssh.service",
    "OpenSSH server daemon": "sshd.service",
    "Regular background program processing daemon": "cron.service",
    "Command Scheduler": "crond.service",
}
"""Units by their description, which is all that systemd before version 249 names."""
_NEW_SESSION = re.compile(
    r"New session '?([^\s']{1,64})'? of user '?([^\s']{1,255}?)'?(?:\.|\s|\Z)"
)
_CLASS = re.compile(r"with class '([^']{1,32})' and type '([^']{1,32})'", re.ASCII)
_OLD_SESSION = re.compile(r"(?:Removed session|Session) '?([^\s'.]{1,64})", re.ASCII)


def read_cron(message: str) -> list[Fields]:
    """Return the readings of a message of cron, crond or crontab."""
    text = message.strip(" ")
    found = _CRON.match(text)
    if found is None:
        return []
    user, kind = found[1], found[2]
    event = _CRON_EVENTS.get(kind)
    if event is None:
        return []
    detail = text[found.end() :].removesuffix(")")
    fields: Fields = {"event": event, "user": user}
    if kind == "CMD":
        fields["command"] = detail.strip(" ")
    elif kind == "RELOAD":
        fields["crontab"] = detail
    elif kind == "AUTH":
        fields.update(reason=detail, outcome="failure")
    else:
        fields["target_user"] = detail
    fields.setdefault("outcome", "success")
    return [fields]


def read_logind(message: str) -> list[Fields]:
    """Return the readings of a message of systemd-logind or elogind."""
    text = message.strip(" ")
    if (found := _NEW_SESSION.match(text)) is not None:
        fields: Fields = {"event": "logind-session", "session": found[1], "user": found[2]}
        if (kind := _CLASS.search(text)) is not None:
            fields.update(session_class=kind[1], session_type=kind[2])
        return [fields | {"outcome": "success"}]
    if text.startswith("Removed session ") and (found := _OLD_SESSION.match(text)) is not None:
        return [{"event": "logind-session-removed", "session": found[1]}]
    if " logged out" in text and (found := _OLD_SESSION.match(text)) is not None:
        return [{"event": "logind-session-ended", "session": found[1]}]
    if text.startswith("New seat "):
        return [{"event": "logind-seat", "seat": text[9:].rstrip(".")}]
    return []


def read_systemd(message: str, unit: str = "") -> list[Fields]:
    """Return the readings of a message of the service manager.

    Args:
        message: the text.
        unit: the unit as the journal names it, where it does.
    """
    text = message.strip(" ")
    for start, event in _SYSTEMD:
        if text.startswith(start):
            outcome = "failure" if event == "service-failed" else "success"
            return [{"event": event, **_unit(text[len(start) :], unit), "outcome": outcome}]
    if (found := _UNIT_SAYS.match(text)) is not None:
        failed = found[2].startswith(("Failed with result", "Main process exited, code=dumped"))
        stopped = found[2].startswith(("Succeeded", "Deactivated successfully"))
        if failed or stopped:
            event = "service-failed" if failed else "service-ended"
            fields: Fields = {"event": event, "unit": found[1], "detail": found[2]}
            return [fields | {"outcome": "failure" if failed else "success"}]
    return []


def _unit(text: str, unit: str) -> Fields:
    text = text.removesuffix("...").removesuffix("…").removesuffix(".")
    found = _UNIT.match(text)
    name = unit or (found[1] if found else DESCRIBED.get(text, ""))
    description = (found[2] or "") if found else text
    fields: Fields = {"unit": name} if name else {}
    return fields | ({"unit_description": description} if description else {})


def read_logger(message: str, program: str) -> list[Fields]:
    """Return the readings of what a logging daemon says of itself: that it starts or stops."""
    start, stop, unit = LOGGERS[program]
    for phrase, event in ((stop, "service-stopped"), (start, "service-started")):
        if phrase in message[:1024]:
            return [{"event": event, "unit": unit, "outcome": "success"}]
    return []


LOGGERS: Mapping[str, tuple[str, str, str]] = {
    "auditd": ("Init complete", "The audit daemon is exiting", "auditd.service"),
    "rsyslogd": ("] start", "exiting on signal", "rsyslog.service"),
    "syslogd": ("restart", "exiting on signal", "syslog.service"),
    "syslog-ng": ("starting up", "shutting down", "syslog-ng.service"),
    "systemd-journald": ("Journal started", "Journal stopped", "systemd-journald.service"),
}
"""Program: what it says when it starts, when it stops, and its unit."""
