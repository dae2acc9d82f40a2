"""The records of one event, put together to one document."""

import re
from collections.abc import Mapping
from typing import Any

from trailhound.sources.auditd.fields import Line, decode, read_record, readable, tokens, unhex

Record = Mapping[str, str]

_FIRST = "SYSCALL SOCKETCALL OPENAT2 URINGOP EXECVE BPRM_FCAPS CWD PATH SOCKADDR FD_PAIR"
_ORDER = {kind: rank for rank, kind in enumerate(_FIRST.split())}
_MIDDLE, _LAST = 50, 90
NOBODY = frozenset(
    ("", "?", "(unknown)", "(unknown user)", "(invalid user)", "(null)", "(none)", "unset")
)
"""What programs write where they know no account, host or terminal."""
_ARGUMENT = re.compile(r"a(\d{1,7})(?:\[(\d{1,7})\]|(_len))?", re.ASCII)


def make_document(lines: list[Line]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Put the records of one event together, the same for whatever order they came in.

    The end-of-event mark is no part of it, and the EXECVE records of one call become one.

    Args:
        lines: at least one; all of one node, time and serial.

    Returns:
        The document `{node, time, serial, records}` and notes on what is missing in it.
    """
    notes: list[str] = []
    ordered = sorted(lines, key=_order) if len(lines) > 1 else lines
    head = ordered[0]
    records = [read_record(line) for line in ordered if line.type not in ("EXECVE", "EOE")]
    calls = [line for line in ordered if line.type == "EXECVE"]
    if calls:
        place = sum(_rank(record["type"]) < _ORDER["EXECVE"] for record in records)
        records.insert(place, _execve(calls, notes))
    document = {
        "node": head.node,
        "time": f"{head.seconds}.{head.fraction}",
        "serial": head.serial,
        "records": records,
    }
    return document, tuple(notes)


def _rank(kind: str) -> int:
    return _ORDER.get(kind, _LAST if kind == "PROCTITLE" else _MIDDLE)


def _order(line: Line) -> tuple[int, str, int, str]:
    item = 0
    if line.type == "PATH" and line.body.startswith("item="):
        digits = line.body[5:10].split(" ", 1)[0]
        item = int(digits) if digits.isascii() and digits.isdigit() else 0
    return _rank(line.type), line.type, item, line.body


def _execve(lines: list[Line], notes: list[str]) -> Record:
    """Join the EXECVE records of one call: arguments may be cut in pieces and over records."""
    record = {"type": "EXECVE"}
    pieces: dict[int, dict[int, str]] = {}
    lengths: dict[int, str] = {}
    for line in lines:
        fields, words = tokens(line.body)
        for name, value in fields:
            argument = _ARGUMENT.fullmatch(name)
            if argument is None:
                record.setdefault(name, decode(name, value))
            elif argument[3]:
                lengths[int(argument[1])] = value
            else:
                part = int(argument[2] or 0)
                if pieces.setdefault(int(argument[1]), {}).setdefault(part, value) != value:
                    notes.append(f"two values for argument a{argument[1]}")
        if words:
            record.setdefault("text", " ".join(words))
    for number in sorted(pieces):
        parts = pieces[number]
        record[f"a{number}"] = _joined([parts[part] for part in sorted(parts)])
        if number in lengths:
            written = str(sum(len(part.strip('"')) for part in parts.values()))
            if lengths[number] != written:
                cut = f"{written} of {lengths[number]} characters"
                notes.append(f"argument a{number} is cut: {cut}")
    count = record.get("argc", "")
    if count.isascii() and count.isdigit() and count.lstrip("0") != str(len(pieces) or ""):
        notes.append(f"arguments missing: {len(pieces)} of {count[:20]}")
    return record


def _joined(pieces: list[str]) -> str:
    if len(pieces) == 1 and pieces[0].startswith('"') and pieces[0].isascii():
        return pieces[0].strip('"')
    return readable(b"".join(map(_piece, pieces)))


def _piece(value: str) -> bytes:
    if value.startswith('"'):
        return value.strip('"').encode("utf-8", "surrogatepass")
    raw = unhex(value)
    return value.encode("utf-8", "surrogatepass") if raw is None else raw


def arguments(record: Record) -> list[str]:
    """Return the arguments of an EXECVE record in order."""
    numbered = sorted(
        (int(name[1:]), value)
        for name, value in record.items()
        if name[:1] == "a" and len(name) < 9 and name[1:].isascii() and name[1:].isdigit()
    )
    return [value for _, value in numbered]


def first_of(document: Any, kind: str) -> Record:
    """Return the first record of a type, an empty one where there is none."""
    for record in document["records"]:
        if record["type"] == kind:
            found: Record = record
            return found
    return {}


def id_name(record: Record, field: str) -> str:
    """Name a user or group id: as enriched, `root` for 0, else the number; empty if unset."""
    number = record.get(field, "")
    name = record.get(field.upper(), "")
    if not number or number == "unset":
        return ""
    if name and name != "unset" and not name.startswith("unknown("):
        return name
    return "root" if number == "0" and field.endswith("id") else number
