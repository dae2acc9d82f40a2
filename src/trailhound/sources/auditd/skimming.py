"""Passing over audit events: put together from raw lines, counted, and read only at need.

What later events depend on is kept as if they had been read: which events are open, and which
program each process runs.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from trailhound.model.records import Origin, Payload
from trailhound.sources.auditd.accounts import SESSION_RECORDS, Accounts
from trailhound.sources.auditd.assemble import Group, Raw, When
from trailhound.sources.auditd.document import Record, first_of, make_document
from trailhound.sources.auditd.fields import read_line, read_record, syscall_name
from trailhound.sources.auditd.names import ARCHES
from trailhound.sources.auditd.views import (
    FORKS,
    LAUNCHES,
    Processes,
    Unread,
    launch_fields,
    launched,
)
from trailhound.sources.contract import Searched

_NAME = rb"(?:node=([A-Za-z0-9_.:-]{1,255}) )?type=([A-Z][A-Z_]{1,63}) msg=audit\("
# Seconds up to the year 2255: 64 bits hold them in nanoseconds.
_HEAD = re.compile(rb"(?m)^" + _NAME + rb"([1-8]?\d{9}\.\d{3}:\d{1,10})\):(?= ).*")
EVENT = re.compile(rb"(?m)^(?:node=\S+ )?type=\S+ (?:msg=)?audit\(([0-9.:]+)\).*")
"""Finds the time and serial of a line."""
_CALL = re.compile(
    rb"(?m)^(?:node=\S{1,255} )?type=SYSCALL msg=audit\("
    rb"[\d.:]+\): arch=([0-9a-f]{1,8}) syscall=(\d{1,10}) (?:per=[0-9a-f]{1,16} )?"
    rb"(?:success=(yes|no) )?exit=(-?\d{1,20}) (?:a[0-3]=[0-9a-f]{1,16} ){4}items=\d{1,5} "
    rb"ppid=\d{1,10} pid=(\d{1,10}) auid=(\d{1,10}|-1) "
)
_WHO = re.compile(
    rb" ppid=(\d{1,10}) pid=\d{1,10} auid=(\d{1,10}|-1) uid=(\d{1,10}) "
    rb'.* exe="([!#-~]{1,512})"(?: |$)'
)
_ADDED_CALL = re.compile(rb"\x1dARCH=\w+ SYSCALL=([a-z0-9_]+)(?: |\Z)")
_CALL_NAME = b"SYSCALL="
_Head = tuple[bytes, bytes, bytes]
"""Node, type, and the name of the event."""
_UNSET = (b"4294967295", b"-1")
_SYSCALL, _EXECVE = b"SYSCALL", b"EXECVE"
_OF_A_LAUNCH = (_SYSCALL, _EXECVE, b"PROCTITLE")
_UNREAD_BYTES = 4096
_SESSIONS = frozenset(kind.encode() for kind in SESSION_RECORDS)

ODD = (
    *(b"_len=", b"]="),  # an argument in pieces
    b"avc ",  # what stands around the verdict is put together
    # Letters outside ASCII that are letters of ASCII in another case.
    *(b"\xe2\x84\xaa", b"\xc4\xb0", b"\xc5\xbf"),
)


class Run(NamedTuple):
    """Lines of one event that follow on each other."""

    node: str
    when: When
    raw: Raw
    marks: int
    """What was found in them."""


def runs(lines: Searched) -> Iterator[Run | int]:
    """Yield the lines by event, and the index of each line that is not plain."""
    heads: list[_Head | None] = list(_HEAD.findall(lines.data))
    count = len(lines.ends)
    if len(heads) != count:
        heads = [_head(lines.text(index)) for index in range(count)]
    first = 0
    while first < count:
        head = heads[first]
        if head is None:
            yield first
            first += 1
            continue
        node, _, name = head
        kinds = []
        marks = 0
        index = first
        while head is not None and head[2] == name and head[0] == node:
            kinds.append(head[1])
            if index in lines.marks:
                marks |= lines.marks[index]
            index += 1
            head = heads[index] if index < count else None
        start = lines.ends[first - 1] + 1 if first else 0
        raw = Raw(lines.line + first, tuple(kinds), lines.data[start : lines.ends[index - 1]])
        yield Run(node.decode(), _when(name), raw, marks)
        first = index


def _when(name: bytes) -> When:
    seconds, _, rest = name.partition(b".")
    fraction, _, serial = rest.partition(b":")
    return int(seconds), int(fraction) * 1_000_000, int(serial)


def _head(line: bytes) -> _Head | None:
    found = _HEAD.match(line)
    return None if found is None else (found[1] or b"", found[2], found[3])


def pass_over(group: Group, processes: Processes, accounts: Accounts) -> tuple[str, ...] | None:
    """Do without an event: remember what it started and whom it names; return its views.

    Views in which an event is only by what its records say further down are left out. None
    where the event has to be read.
    """
    if group.lines:
        return None
    started = _started(group, processes)
    if started is not None:
        for raw in group.raw:
            if not _SESSIONS.isdisjoint(raw.kinds):
                for kind, data in zip(raw.kinds, raw.lines(), strict=True):
                    if kind in _SESSIONS:
                        accounts.learn(group.host, _record(data))
    return started


def foreseen(group: Group, processes: Processes, accounts: Accounts) -> dict[str, str] | None:
    """Return some fields of the view of a program's start; None where it may be another event."""
    if group.lines or any(not _SESSIONS.isdisjoint(raw.kinds) for raw in group.raw):
        return None
    called = _call_of(group)
    if called is None or called.kind not in LAUNCHES or called.success == b"no":
        return None
    call = _who_in(called.line) if accounts.know_none() else None
    if call is None:
        call = _record(called.line)
        call = {**call, **accounts.names(group.host, call)}
    processes.host = group.host
    parent = processes.get(call.get("ppid", ""), called.when, called.user)
    return launch_fields(call, parent)


def _who_in(line: bytes) -> Record | None:
    """Read who started what; None where that takes reading all of the line."""
    # Begun at one place, or else a line that repeats what stands there takes time by its square.
    found = _WHO.match(line, line.find(b" ppid="))
    if found is None or b"\x1d" in line or line.count(b" exe=") > 1:
        return None
    parent, login, user, image = found.groups()
    ids = {"auid": login, "uid": user}
    record = {name: "unset" if value in _UNSET else value.decode() for name, value in ids.items()}
    return {**record, "ppid": parent.decode(), "exe": image.decode()}


class _Call(NamedTuple):
    """The system call of an event."""

    line: bytes
    kind: str
    success: bytes | None
    result: str
    pid: str
    when: tuple[int, int]
    user: str


def _call_of(group: Group) -> _Call | None:
    """Return the only system call of an event; None where it has to be read."""
    calls = [raw for raw in group.raw if _SYSCALL in raw.kinds]
    if len(calls) != 1 or calls[0].kinds.count(_SYSCALL) > 1:
        return None
    data = calls[0].data
    found = _CALL.search(data)
    if found is None:
        return None
    arch, number, success, result, pid, login = found.groups()
    kind = _kind_of(arch, number)
    end = data.find(b"\n", found.end())
    line = data[found.start() : end if end >= 0 else len(data)]
    if (named := line.count(_CALL_NAME)) > 0:
        added = _ADDED_CALL.search(line) if named == 1 else None
        if added is None or added[1].startswith(b"unknown"):
            return None
        kind = added[1].decode()
    if not kind and any(_EXECVE in raw.kinds for raw in group.raw):
        kind = "execve"
    _, seconds, ns, serial = group.name
    when = seconds * 1_000_000_000 + ns, serial
    user = "" if login in _UNSET else login.decode()
    return _Call(line, kind, success, result.decode(), pid.decode(), when, user)


def _started(group: Group, processes: Processes) -> tuple[str, ...] | None:
    if not any(_SYSCALL in raw.kinds for raw in group.raw):
        return None if any(_EXECVE in raw.kinds for raw in group.raw) else ("records",)
    call = _call_of(group)
    if call is None:
        return None
    if call.success == b"no" or call.kind not in _STARTS:
        return ("records",)
    processes.host = group.host
    if call.kind in FORKS:
        processes.inherit(call.pid, call.result, call.when, call.user)
        return ("records",)
    raws = tuple(group.raw)
    unread = Unread(call.when, call.user, _Later(raws))
    large = sum([len(raw.data) for raw in raws]) > _UNREAD_BYTES
    processes.put(call.pid, unread.launch() if large else unread)
    return ("records", "process_creation")


class _Later:
    """What a program and its command line are, read once and when somebody asks."""

    __slots__ = ("_raws", "_said")

    def __init__(self, raws: tuple[Raw, ...]) -> None:
        self._raws = raws
        self._said: tuple[str, str] | None = None

    def __call__(self) -> tuple[str, str]:
        if self._said is None:
            self._said, self._raws = _launch_in(self._raws), ()
        return self._said


_NOWHERE = Origin("-", 0)
_STARTS = frozenset((*LAUNCHES, *FORKS))


@lru_cache(maxsize=1024)
def _kind_of(arch: bytes, number: bytes) -> str:
    return syscall_name(ARCHES.get(arch.decode(), ""), number.decode())


def _record(data: bytes) -> Record:
    line = read_line(Payload(origin=_NOWHERE, text=data.decode()))
    assert line is not None  # noqa: S101 - the line is plain
    return read_record(line)


def _launch_in(raws: tuple[Raw, ...]) -> tuple[str, str]:
    read = [
        read_line(Payload(origin=_NOWHERE, text=data.decode()))
        for raw in raws
        for kind, data in zip(raw.kinds, raw.lines(), strict=True)
        if kind in _OF_A_LAUNCH
    ]
    document, _ = make_document([line for line in read if line is not None])
    return launched(document, first_of(document, "SYSCALL"), first_of(document, "EXECVE"))
