"""Syslog framing: where the header of a line ends and its message begins.

RFC 3164 section 4.1, RFC 5424 section 6, and the lines that rsyslog writes with an ISO stamp in
place of the BSD one (`RSYSLOG_FileFormat`).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from trailhound.sources.mapping import time_ns_of

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron"),
    *("authpriv", "ftp", "ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
"""Names of the facilities by number (RFC 5424 table 1, names of syslog(3))."""
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Names of the severities by number (RFC 5424 table 2, names of syslog(3))."""

_MONTHS = {
    "Jan": 1,
    "Feb": 2,
    "Mar": 3,
    "Apr": 4,
    "May": 5,
    "Jun": 6,
    "Jul": 7,
    "Aug": 8,
    "Sep": 9,
    "Oct": 10,
    "Nov": 11,
    "Dec": 12,
}
NOT_HOSTS = frozenset(
    (
        *("trace", "debug", "info", "notice", "warn", "warning", "error", "err"),
        *("crit", "critical", "fatal", "panic", "stdout", "stderr"),
    )
)
"""What stands where a host would in lines that are not syslog."""

_BSD = re.compile(
    r"(?:<(\d{1,3})>)?(([A-Z][a-z]{2}) {1,2}(\d{1,2}) (?:(\d{4}) )?"
    r"(\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9}))?) +(?=\S)",
    re.ASCII,
)
_ISO = re.compile(
    r"(?:<(\d{1,3})>)?(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?)"
    r" +([A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}) +(?=\S)",
    re.ASCII,
)
_RFC5424 = re.compile(
    r"<(\d{1,3})>1 (-|\d{4}-\S{6,58}) (\S{1,255}) (\S{1,128}) (\S{1,128}) (\S{1,64}) (?=[-\[])",
    re.ASCII,
)
_TAG = re.compile(r"([^\s:\[{][^\s:\[]{0,127})(?:\[([^\]\s]{0,64})\]:? ?|:(?: |\Z))", re.ASCII)
_SD_ID = re.compile(r"\[([^\s=\]\"]{1,256})")
_SD_PARAM = re.compile(r' +([^\s=\]"]{1,256})="((?:[^"\\]|\\.)*+)"', re.DOTALL)
_SD_ESCAPE = re.compile(r'\\(["\\\]])')

ENDS = " \t\r\n\0"
"""What at the end of a line is not part of its message."""
REPEATED_LAST = re.compile(r"last message (?:buffered |repeated )(\d{1,9}) times?\s*\Z", re.ASCII)
"""What BSD syslogd and sysklogd write in place of repeats of the line before."""
REPEATED = re.compile(r"message repeated (\d{1,9}) times?: \[ ?", re.ASCII)
"""How rsyslog begins a line that stands for repeats; the message ends in `]`."""


class Stamp(Struct, frozen=True):
    """The time as a header gives it; what it leaves out is inferred by `Calendar`."""

    text: str
    """As written; empty where the header has none."""
    time_ns: int | None = None
    """UTC nanoseconds, where the stamp says it all."""
    zoned: bool = True
    """False: no zone was written, and UTC was assumed."""
    year: int = 0
    """0: not written."""
    month: int = 0
    day: int = 0
    clock_ns: int = 0
    """Nanoseconds since midnight, for stamps without `time_ns`."""


class Frame(Struct, frozen=True):
    """A syslog line, taken apart."""

    stamp: Stamp
    host: str
    program: str
    pid: int | str | None
    message: str
    priority: int | None = None
    """The `PRI` value: facility times eight plus severity."""
    msgid: str = ""
    structured_data: dict[str, dict[str, Any]] | None = None
    odd: str = ""
    """What could not be read, in words."""


@lru_cache(maxsize=1)  # a line is recognised first, and then read
def frame(text: str) -> Frame | None:
    """Take a line apart; None where it is not syslog. Total, and linear in the text."""
    # A file system that lost a write leaves NULs before a line.
    text = text.lstrip("\0\ufeff\r\n").rstrip(ENDS)
    if (found := _RFC5424.match(text)) is not None:
        return _rfc5424(found, text)
    if (found := _BSD.match(text)) is not None:
        return _bsd(found, text)
    if (found := _ISO.match(text)) is not None:
        return _iso(found, text)
    return None


def json_behind(text: str) -> tuple[Mapping[str, Any], str] | None:
    """Split a line whose message is, by its first character, a JSON object.

    Falco's syslog output, and what rsyslog makes of JSON logs it forwards; `@cee:` is the
    cookie of Common Event Expression that some programs put before it.

    Returns:
        What the header says, and the message; None where it is not such a line.
    """
    found = frame(text)
    if found is None:
        return None
    message = found.message.lstrip(" ").removeprefix("@cee:").lstrip(" ").removesuffix("#012")
    if not message.startswith("{"):
        return None
    known = {"timestamp": found.stamp.text, "hostname": found.host, "program": found.program}
    return {name: value for name, value in known.items() if value}, message


def _bsd(found: re.Match[str], text: str) -> Frame | None:
    pri, stamp, name, day, year, hour, minute, second, fraction = found.groups()
    month = _MONTHS.get(name)
    if month is None:
        return None
    seconds = int(hour) * 3600 + int(minute) * 60 + min(int(second), 59)
    valid = int(hour) < 24 and int(minute) < 60 and int(second) <= 60 and 1 <= int(day) <= 31
    clock_ns = seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    body = text[found.end() :]
    first, _, rest = body.partition(" ")
    if first.endswith(":"):  # a line that never left its host may lack the host name
        host, rest = "", body
    else:
        host, rest = first, rest.lstrip(" ")
    program, pid, message = _tag(rest)
    return Frame(
        stamp=Stamp(
            text=stamp,
            zoned=False,
            year=int(year or 0),
            month=month,
            day=int(day) if valid else 0,
            clock_ns=clock_ns,
        ),
        host=host,
        program=program,
        pid=pid,
        message=message,
        priority=_priority(pri),
    )


def _iso(found: re.Match[str], text: str) -> Frame | None:
    pri, stamp, host = found.groups()
    rest = text[found.end() :]
    if host.lower() in NOT_HOSTS:
        return None  # an application's own `2026-… INFO main: …`, or a container runtime's line
    program, pid, message = _tag(rest)
    if not program and REPEATED_LAST.match(rest) is None:
        return None
    return Frame(
        stamp=_iso_stamp(stamp),
        host=host,
        program=program,
        pid=pid,
        message=message,
        priority=_priority(pri),
    )


def _rfc5424(found: re.Match[str], text: str) -> Frame | None:
    pri, stamp, host, program, pid, msgid = found.groups()
    data, end, odd = _structured_data(text, found.end())
    message = text[end:].removeprefix(" ").removeprefix("\ufeff")
    app, process = _absent(program), _absent(pid)
    number: int | str | None = _number(process) if process else None
    if not app:  # a relay that wrapped a BSD line without reading its tag
        app, number, message = _tag(message)
    return Frame(
        stamp=Stamp(text="") if stamp == "-" else _iso_stamp(stamp),
        host=_absent(host),
        program=app,
        pid=number,
        message=message,
        priority=_priority(pri),
        msgid=_absent(msgid),
        structured_data=data,
        odd=odd,
    )


def _iso_stamp(stamp: str) -> Stamp:
    zoned = stamp.endswith("Z") or "+" in stamp[19:] or "-" in stamp[19:]
    return Stamp(text=stamp, time_ns=time_ns_of(stamp), zoned=zoned)


def _tag(text: str) -> tuple[str, int | str | None, str]:
    """Split `program[pid]: message`; without a tag, the program is empty."""
    found = _TAG.match(text)
    if found is None:
        return "", None, text
    program, pid = found.groups()
    if pid is not None:
        program = program.rstrip("]")  # gdm logs as `gdm-password]`
    return program, _number(pid) if pid else None, text[found.end() :]


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _absent(text: str) -> str:
    return "" if text == "-" else text


def _priority(text: str | None) -> int | None:
    value = int(text) if text else -1
    return value if 0 <= value < 8 * len(FACILITIES) else None


def _structured_data(text: str, at: int) -> tuple[dict[str, dict[str, Any]] | None, int, str]:
    """Read RFC 5424 structured data (section 6.3) at `at`.

    Returns:
        The elements, where the message begins, and what was wrong. A parameter that stands
        more than once in an element becomes a list. What cannot be read is left to the message.
    """
    if text.startswith("-", at):
        return None, at + 1, ""
    elements: dict[str, dict[str, Any]] = {}
    while (opened := _SD_ID.match(text, at)) is not None:
        here = opened.end()
        parameters: dict[str, Any] = {}
        while (param := _SD_PARAM.match(text, here)) is not None:
            _add(parameters, param[1], _SD_ESCAPE.sub(r"\1", param[2]))
            here = param.end()
        if not text.startswith("]", here):
            return elements or None, at, "structured data that does not end"
        elements.setdefault(opened[1], {}).update(parameters)
        at = here + 1
    if not elements:
        return None, at, "structured data that cannot be read"
    return elements, at, ""


def _add(parameters: dict[str, Any], name: str, value: str) -> None:
    held = parameters.get(name)
    if held is None:
        parameters[name] = value
    elif isinstance(held, list):
        held.append(value)
    else:
        parameters[name] = [held, value]
