"""The journal: what `journalctl -o json` prints, and shippers pass on.

systemd.journal-fields(7); "Journal JSON Format" of systemd.io: a field is a string, an array of
byte values where it is not UTF-8, an array of those where it stands more than once, or null
where it was too large to print.
"""

from collections.abc import Mapping
from typing import Any

from trailhound.sources.mapping import is_time_ns
from trailhound.sources.syslog_lines import FACILITIES, SEVERITIES

_MARKS = (
    *("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "__CURSOR"),
    *("_BOOT_ID", "_TRANSPORT", "SYSLOG_IDENTIFIER"),
)


def is_entry(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object is an entry of the journal."""
    if "MESSAGE" not in document or not any(mark in document for mark in _MARKS):
        return False
    return not _is_audit(document)


def _is_audit(entry: Mapping[str, Any]) -> bool:
    """Whether it is a whole record of the kernel's audit: `auditd` reads those."""
    return (
        entry.get("_TRANSPORT") == "audit"
        and isinstance(entry["MESSAGE"], str)
        and text_of(entry.get("_AUDIT_TYPE_NAME")) != ""
        and all(
            isinstance(entry.get(name), str) and _is_number(entry[name])
            for name in ("_AUDIT_ID", "_SOURCE_REALTIME_TIMESTAMP")
        )
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def text_of(value: object) -> str:
    """Read a journal field as text; bytes that are no UTF-8 become U+FFFD."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return str(value) if abs(value) < 1e18 else ""
    if isinstance(value, list):
        if all(type(item) is int and 0 <= item < 256 for item in value):
            return bytes(value).decode("utf-8", "replace")
        return "\n".join(
            item if isinstance(item, str) else text_of(item)
            for item in value
            if isinstance(item, str) or _is_bytes(item)
        )
    return ""


def time_ns_of_entry(entry: Mapping[str, Any]) -> int | None:
    """When journald received the entry, UTC nanoseconds; None where it does not say."""
    for name in ("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP"):
        text = text_of(entry.get(name))
        if _is_number(text) and is_time_ns(int(text) * 1000):
            return int(text) * 1000
    return None


def document_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an entry out as the other framings are, without its time.

    `journal` keeps every field as written but `MESSAGE`, which is the document's `message`.
    """
    document: dict[str, Any] = {}
    host = text_of(entry.get("_HOSTNAME"))
    if host:
        document["host"] = host
    program = text_of(entry.get("SYSLOG_IDENTIFIER")) or text_of(entry.get("_COMM"))
    document["program"] = program
    pid = text_of(entry.get("_PID")) or text_of(entry.get("SYSLOG_PID"))
    if pid:
        document["pid"] = int(pid) if _is_number(pid) else pid
    facility, severity = text_of(entry.get("SYSLOG_FACILITY")), text_of(entry.get("PRIORITY"))
    if (name := _name(FACILITIES, facility)) is not None:
        document["facility"] = name
    if (name := _name(SEVERITIES, severity)) is not None:
        document["severity"] = name
    document["message"] = text_of(entry.get("MESSAGE"))
    document["journal"] = {key: value for key, value in entry.items() if key != "MESSAGE"}
    return document


def _is_bytes(item: object) -> bool:
    return isinstance(item, list) and all(type(part) is int and 0 <= part < 256 for part in item)


def _name(names: tuple[str, ...], text: str) -> str | None:
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(names):
        return names[int(text)]
    return None


_WRITERS: Mapping[str, tuple[str, ...]] = {
    "sshd": ("sshd", "sshd-session", "sshd-auth"),
    "sshd-session": ("sshd-session", "sshd"),
    "sudo": ("sudo", "sudo-rs"),
    "su": ("su", "runuser"),
    "useradd": ("useradd", "adduser", "newusers"),
    "usermod": ("usermod",),
    "passwd": ("passwd",),
    "cron": ("cron", "crond"),
    "crond": ("crond",),
    "systemd-logind": ("systemd-logind",),
}
"""Processes that write under a name that rules trust. Anybody may write under any name
(`logger -t sshd`); journald sets `_COMM` itself."""


def is_impostor(entry: Mapping[str, Any]) -> bool:
    """Whether a process other than the one named by `SYSLOG_IDENTIFIER` wrote the entry."""
    writers = _WRITERS.get(text_of(entry.get("SYSLOG_IDENTIFIER")).lower())
    process = text_of(entry.get("_COMM")).lower()
    return writers is not None and bool(process) and process not in writers
