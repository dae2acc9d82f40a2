"""One line of an audit log: its header, its fields, and what their values mean.

Format: linux-audit documentation, "Audit Event Parsing" and "Field dictionary"
(https://github.com/linux-audit/audit-documentation/wiki); the kernel's `audit_log_*`
functions decide what is quoted, what is hexadecimal and what is plain.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from trailhound.model.records import Payload
from trailhound.sources.auditd.names import (
    ADDRESS_FAMILIES,
    ARCHES,
    CAPABILITIES,
    ERRORS,
    TYPES,
)
from trailhound.sources.auditd.syscalls import SYSCALLS
from trailhound.sources.unwrap import host_in

ENRICHED = "\x1d"
"""Stands between what was logged and what auditd added (`log_format = ENRICHED`)."""

_HEADER = re.compile(
    r"(?:node=(\S{1,255}) )?type=([\w\[\]-]{1,64}) (?:msg=)?audit\("
    r"(?:(\d{1,11})\.(\d{1,9}):(\d{1,10})\):? ?)?",
    re.ASCII,
)
# A line in which `type=… audit(…)` stands behind anything else is not ours: whoever can put
# text into another program's message could otherwise forge audit records.
_PREFIX = re.compile(
    r"(?:<\d{1,3}>)?(?:1 )?"
    r"(?:(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    r"|\d{4}-\d\d-\d\d[T ][\d:.,]{5,18}(?:Z|[+-][\d:]{4,5})?) (?P<host>\S{1,255}) )?"
    r"(?:(?:kernel|[\w.-]{0,40}audi[\w.-]{0,40})(?:\[\d{1,10}\])?(?:: | \S{1,32} \S{1,32} - ))?"
    r"(?:\[[\w :.]{1,40}\] )?(?:audit: )?",
    re.ASCII,
)
_PREFIX_LIMIT = 600
_DIVIDER = re.compile(r"(?:----|time->[\w :.]{8,40})\s{0,8}\Z", re.ASCII)
_UNKNOWN_TYPE = re.compile(r"UNKNOWN\[(\d{1,6})\]", re.ASCII)

_FIELD = re.compile(
    r"""([^\s=,'"(){}]++)=("[^"]*"|'[^']*'|\{[^}]{0,1024}\}|\S*)|([^\s=(){},'"]++)"""
)
_ADDED = re.compile(r"""([\w-]++)=(?:"([^"]*)"|(\{[^}]{0,1024}\}|\S*))""", re.ASCII)
_VERDICT = re.compile(r"avc:\s{1,8}(granted|denied)\s{1,8}\{([^}]{0,1024})\}\s{1,8}for ")

_ENCODED_NAMES = (
    "acct banners cgroup cmd comm cwd data denied_mask device dir exe file grp info "
    "invalid_context key name new-chardev new-disk new-fs new-net new-rng new_group ocomm "
    "old-chardev old-disk old-fs old-net old-rng operation path proctitle profile "
    "requested_mask root_dir sw vm watch"
)
ENCODED = frozenset(_ENCODED_NAMES.split())
"""Fields whose values may stand in hexadecimal."""
_ID_NAMES = (
    "auid uid euid suid fsuid ouid oauid old-auid iuid id sauid gid egid sgid fsgid ogid igid "
    "ses old-ses oses"
)
IDS = frozenset(_ID_NAMES.split())
"""Fields that hold the number of a user, a group or a session."""
_DECODED = ENCODED | IDS
_QUOTES = ("'", '"')
_TRAILING = (",", ")")
_UNSET = ("4294967295", "-1")
_X32_BIT = 0x40000000


class Line(NamedTuple):
    """One audit record, taken apart only as far as needed to find its event."""

    node: str
    """Host: from `node=`, else from the syslog header, else empty."""
    type: str
    seconds: int
    fraction: str
    """Digits behind the point, as written: milliseconds."""
    serial: int
    body: str
    """The fields as logged."""
    enriched: str
    """The fields auditd added."""


def recognises(payload: Payload) -> bool:
    """Whether a payload is an audit record: a line, or an entry of the journal's audit stream."""
    text = payload.text
    if text is not None:
        plain = text.startswith("type=") and text.find(" msg=audit(", 6, 90) > 0
        return plain or _header(text) is not None or is_divider(text)
    return _journal_line(payload) is not None


def is_divider(text: str) -> bool:
    """Whether a line is one that ausearch writes between events: it says nothing of its own."""
    return _DIVIDER.match(text) is not None


def read_line(payload: Payload) -> Line | None:
    """Read the header of a recognised payload; None if it names no `time:serial`."""
    if payload.text is None:
        return _journal_line(payload)
    found = _header(payload.text)
    if found is None:
        return None
    header, host = found
    node, kind, seconds, fraction, serial = header.groups()
    if seconds is None:
        return None
    body, _, enriched = payload.text[header.end() :].partition(ENRICHED)
    return Line(
        node or host or (host_in(payload.context) if payload.wrapping else ""),
        kind if kind.isalpha() else _type_name(kind),
        int(seconds),
        fraction,
        int(serial),
        body.strip(),
        enriched.strip(),
    )


def _header(text: str) -> tuple[re.Match[str], str] | None:
    header = _HEADER.match(text)
    if header is not None:
        return header, ""
    start = text.find("audit(", 0, _PREFIX_LIMIT)
    if start < 0:
        return None
    start = text.rfind("type=", 0, start)
    if start < 0:
        return None
    node = text.rfind("node=", 0, start)
    for begin in (node, start):
        if begin >= 0:
            prefix = _PREFIX.fullmatch(text, 0, begin)
            header = _HEADER.match(text, begin)
            if prefix is not None and header is not None:
                return header, prefix["host"] or ""
    return None


def _journal_line(payload: Payload) -> Line | None:
    """Read a journal entry with `_TRANSPORT=audit` (systemd.journal-fields(7))."""
    entry = payload.document
    if entry is None or entry.get("_TRANSPORT") != "audit":
        return None
    kind, serial = _text(entry.get("_AUDIT_TYPE_NAME")), _text(entry.get("_AUDIT_ID"))
    time_us, message = _text(entry.get("_SOURCE_REALTIME_TIMESTAMP")), entry.get("MESSAGE")
    if not (kind and _is_number(serial) and _is_number(time_us) and isinstance(message, str)):
        return None
    milliseconds = int(time_us) // 1000
    return Line(
        node=_text(entry.get("_HOSTNAME")) or host_in(payload.context),
        type=_type_name(kind),
        seconds=milliseconds // 1000,
        fraction=f"{milliseconds % 1000:03}",
        serial=int(serial),
        body=message.removeprefix(kind).strip(),
        enriched="",
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _type_name(written: str) -> str:
    unknown = _UNKNOWN_TYPE.fullmatch(written)
    number = unknown[1] if unknown else written
    return TYPES.get(number, written)


def tokens(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Cut record text into fields and free words.

    Returns:
        (name, value) pairs with the value's quotes still on, and the words that are no field.
    """
    fields: list[tuple[str, str]] = []
    words: list[str] = []
    for name, value, word in _FIELD.findall(text):
        if name:
            fields.append((name, value))
        else:
            words.append(word)
    return fields, words


def split_message(body: str) -> tuple[str, str]:
    """Split a user-space record into its own fields and those inside `msg='…'`."""
    # With the blank, for a program may be called `msg='`; names with a blank are hexadecimal.
    start = body.find(" msg='")
    if start < 0:
        return body, ""
    end = body.rfind("'")
    if end <= start + 5:
        end = len(body)
    return body[:start] + " " + body[end + 1 :], body[start + 6 : end]


def read_fields(kind: str, body: str, enriched: str) -> dict[str, str]:
    """Read one record other than EXECVE, decoding every value to text.

    A name that comes twice with another value gets `_2`, `_3`, … (to `_9`); free words
    stand under `text`. Enriched names stand under their upper-case keys; where they are
    missing, ARCH, SYSCALL, EXIT and CAPABILITY are filled in from the tables.
    """
    record = {"type": kind}
    verdict = _VERDICT.search(body) if kind.endswith("AVC") else None
    if verdict is not None:
        record["seresult"] = verdict[1]
        record["seperms"] = verdict[2].strip()
        body = body[: verdict.start()] + body[verdict.end() :]
    outer, inner = split_message(body)
    words: list[str] = []
    _read_into(record, outer, words)
    if inner:
        _read_into(record, inner, words)
    for name, quoted, bare in _ADDED.findall(enriched):
        record.setdefault(name, quoted or bare)
    text = " ".join([word for word in words if word != ":"])
    if text:
        record["text"] = text
    _interpret(record)
    return record


@lru_cache(maxsize=4096)
def _read_again(kind: str, body: str, enriched: str) -> dict[str, str]:
    return read_fields(kind, body, enriched)


def read_record(line: Line) -> Mapping[str, str]:
    """Read the fields of a line, as `read_fields` does; the mapping must not be changed.

    What a program opens and what it is called stands in a log again and again, word for word.
    """
    short = line.type in _OFTEN_THE_SAME and len(line.body) < _SHORT and len(line.enriched) < _SHORT
    return (_read_again if short else read_fields)(line.type, line.body, line.enriched)


_OFTEN_THE_SAME = ("PATH", "CWD", "PROCTITLE")
_SHORT = 512


def _read_into(record: dict[str, str], text: str, words: list[str]) -> None:
    for written_name, written, word in _FIELD.findall(text):
        if not written_name:
            words.append(word)
            continue
        name, value = written_name, written
        if value[:1] == '"' == value[-1:] and len(value) > 1:
            value = value[1:-1]
        elif name in _DECODED or value[:1] in _QUOTES:
            if words and words[-1] in ("old", "new") and name in ("auid", "ses"):
                # LOGIN records of kernels before 3.14: `old auid=… new auid=…`
                name = f"old-{name}" if words.pop() == "old" else name
            value = decode(name, value)
        elif value[-1:] in _TRAILING:
            # `(hostname=h, addr=a, terminal=t res=success)` in user-space records of old
            value = value.rstrip(",")
            value = value if "(" in value else value.removesuffix(")")
        if name in record:
            _put_again(record, name, value, words)
        else:
            record[name] = value


def _put_again(record: dict[str, str], name: str, value: str, words: list[str]) -> None:
    if record[name] == value:
        return
    for number in range(2, 10):
        if record.setdefault(f"{name}_{number}", value) == value:
            return
    words.append(f"{name}={value}")


def decode(name: str, value: str) -> str:
    """Decode one value: take quotes off, undo hexadecimal, write `unset` for an unset id."""
    first = value[:1]
    if first == '"':
        return value[1:-1] if value.endswith('"') and len(value) > 1 else value[1:]
    if first == "'":
        return value.strip("'")
    if name in IDS:
        return "unset" if value in _UNSET else value
    if name in ENCODED and (name != "acct" or value == value.upper()):
        raw = unhex(value)
        if raw is not None:
            if name == "proctitle":
                raw = raw.rstrip(b"\0").replace(b"\0", b" ")
            return readable(raw)
    return value


def unhex(value: str) -> bytes | None:
    """Undo hexadecimal; None if the text is not an even number of hexadecimal digits."""
    if not value or len(value) % 2:
        return None
    try:
        return bytes.fromhex(value)
    except ValueError:
        return None


def readable(raw: bytes) -> str:
    r"""Read bytes as UTF-8; what is none stands as `\xff`."""
    return raw.decode("utf-8", "backslashreplace")


def _interpret(record: dict[str, str]) -> None:
    number = record.get("syscall")
    if number is not None:
        arch = ARCHES.get(record.get("arch", "").lower(), "")
        if arch:
            record.setdefault("ARCH", arch)
        name = syscall_name(arch, number)
        if name and record.get("SYSCALL", "unknown").startswith("unknown"):
            record["SYSCALL"] = name
    if record.get("exit", "") in ERRORS:
        record.setdefault("EXIT", ERRORS[record["exit"]])
    capability = record.get("capability", "")
    if capability.isdigit() and capability.isascii() and len(capability) < 4:
        known = CAPABILITIES.get(int(capability))
        if known:
            record.setdefault("CAPABILITY", known)
    if "saddr" in record:
        for name, value in socket_address(record["saddr"]).items():
            record.setdefault(name, value)


def syscall_name(arch: str, number: str) -> str:
    """Name a system call; empty if the architecture or the number is not in the tables."""
    table = SYSCALLS.get(arch, {})
    name = table.get(number, "")
    if not name and arch == "x86_64" and _is_number(number) and int(number) >= _X32_BIT:
        name = table.get(str(int(number) - _X32_BIT), "")
    return name


def socket_address(saddr: str) -> dict[str, str]:
    """Decode a `struct sockaddr` in hexadecimal to the names that ausearch gives its parts.

    Either byte order, addresses as `inet_ntop` writes them. What is too short for its family
    yields the family alone.
    """
    raw = unhex(saddr)
    if raw is None or len(raw) < 2:
        return {}
    family = raw[0] if raw[1] == 0 else raw[1] if raw[0] == 0 else int.from_bytes(raw[:2], "little")
    found = {"saddr_fam": ADDRESS_FAMILIES.get(family, str(family))}
    if family == 1 and len(raw) > 2:
        path = raw[2:]
        if path[:1] == b"\0":  # abstract: the name begins behind a NUL and has no end mark
            found["path"] = "@" + readable(path[1:].rstrip(b"\0"))
        else:
            found["path"] = readable(path.split(b"\0", 1)[0])
    elif family == 2 and len(raw) >= 8:
        found["laddr"] = inet_ntop(AF_INET, raw[4:8])
        found["lport"] = str(int.from_bytes(raw[2:4], "big"))
    elif family == 10 and len(raw) >= 24:
        found["laddr"] = inet_ntop(AF_INET6, raw[8:24])
        found["lport"] = str(int.from_bytes(raw[2:4], "big"))
    elif family == 16 and len(raw) >= 12:
        found["nlnk-fam"] = "16"
        port = raw[4:8] if raw[1] == 0 else raw[7:3:-1]
        found["nlnk-pid"] = str(int.from_bytes(port, "little"))
    return found
