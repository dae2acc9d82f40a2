"""How values of audit records stand in their lines: for the search of whole blocks."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from trailhound.model.spelling import Spelling
from trailhound.sources.auditd.fields import ENCODED, IDS, readable, socket_address, unhex
from trailhound.sources.auditd.names import ARCHES, CAPABILITIES, ERRORS
from trailhound.sources.auditd.syscalls import SYSCALLS
from trailhound.sources.auditd.views import LAUNCHES, OPENS

_X32_BIT = 0x40000000
_NO_OWN_MARK = frozenset(("seresult", "seperms", "old-auid", "old-ses", "key"))
"""Fields whose value need not stand directly behind their name."""
_AGAIN = re.compile(r"_\d\Z")
"""End of a name that was given to the second value of another."""
_ARGUMENT = re.compile(r"a\d{1,7}", re.ASCII)
# An address is read from between quotes as well; nothing else is.
_HEXADECIMAL = re.compile(rb"(?:(saddr)=[\"']|([A-Za-z0-9_-]+)=)((?:[0-9A-Fa-f]{2})+)")


def _behind(name: str, *values: str) -> tuple[bytes, ...]:
    """Texts of which one stands where a field has one of these values, or any if none is given."""
    return tuple(
        f"{name}={quote}{value}".lower().encode() for quote in _QUOTES for value in values or ("",)
    )


def _calls(names: Iterable[str]) -> tuple[bytes, ...]:
    """Texts of which one is in any record of one of these system calls."""
    return tuple(text for name in names for text in (*_CALLS[name], *_behind("syscall", name)))


def _by_name() -> Mapping[str, tuple[bytes, ...]]:
    numbers: dict[str, dict[str, None]] = {}
    for arch, table in SYSCALLS.items():
        for number, name in table.items():
            found = numbers.setdefault(name, {})
            found[number] = None
            if arch == "x86_64":
                found[str(int(number) + _X32_BIT)] = None
    # Of the x32 calls alone the number may have zeros before it.
    return {name: (*_behind("syscall", *found), b"010737") for name, found in numbers.items()}


_PROCTITLE = re.compile(rb"type=PROCTITLE msg=audit\([0-9.:]+\): proctitle=((?:[0-9A-F]{2})+)")
_DIGITS = "0123456789abcdef"
_QUOTES = ("", "'", '"')
_CALLS = _by_name()
"""System call → texts of which one is in a record that numbers it."""
_ARCHES = {name: _behind("arch", number) for number, name in ARCHES.items()}
_ERRORS = {name: _behind("exit", number) for number, name in ERRORS.items()}
_CAPABILITIES = {
    name: _behind("capability", *(str(number).zfill(digits) for digits in (1, 2, 3)))
    for number, name in CAPABILITIES.items()
}
_UNSET = {"unset": (b"4294967295", b"=-1", b"='-1", b'="-1', b"unset")}
_JOINTS = " "
"""What records lose or gain between their parts is a blank at least."""
_FOLDERS = {"/": _behind("name")}
"""A path may have been put together from a directory and a name."""
_ANYWHERE = Spelling(
    joints=_JOINTS,
    heads=_FOLDERS,
    named={**_ARCHES, **_ERRORS, **_CAPABILITIES, **_CALLS, **_UNSET},
    made_up="old-auid=\nold-ses=",
)
_NAME = Spelling(joints=_JOINTS, heads=_FOLDERS)
_TEXT = Spelling(joints=_JOINTS)
_NUMBERED = Spelling(joints=_JOINTS, before=_behind("syscall"), named=_CALLS)
_RECORD: Mapping[str, Spelling] = {
    "": _ANYWHERE,
    "type": Spelling(joints=_JOINTS, before=(b"type=",)),
    "name": _NAME,
    "cmdline": _TEXT,
    "proctitle": _TEXT,
    "text": Spelling(joints=_JOINTS, made_up="old-auid=\nold-ses="),
    "syscall": _NUMBERED,
    "SYSCALL": _NUMBERED,
    "syscall_number": Spelling(joints=_JOINTS, before=_behind("syscall")),
    "ARCH": Spelling(joints=_JOINTS, before=_behind("arch"), named=_ARCHES),
    "EXIT": Spelling(joints=_JOINTS, before=_behind("exit"), named=_ERRORS),
    "CAPABILITY": Spelling(joints=_JOINTS, before=_behind("capability"), named=_CAPABILITIES),
}
_OTHER_VIEWS: Mapping[str, Mapping[str, Spelling]] = {
    "process_creation": {"CommandLine": _TEXT, "Image": _NAME, "CurrentDirectory": _TEXT},
    "file_event": {"TargetFilename": _NAME, "Image": _NAME},
    "network_connection": {"Image": _NAME},
}

SHOWS: Mapping[str, tuple[bytes, ...]] = {
    "process_creation": (b"type=execve ", *_calls(LAUNCHES)),
    "file_event": (*_behind("nametype", "create"), *_calls((*OPENS, "creat", "openat2"))),
    "network_connection": (b"saddr=",),
}
"""View → texts of which one is in the records of any event of that view."""


CODED = (
    b"type=execve ",
    *(f"{name}={digit}".lower().encode() for name in ENCODED for digit in _DIGITS),
    *_behind("saddr", *_DIGITS),
)
"""Texts of which one stands in any line in which a value is hexadecimal."""


def decoded(line: bytes) -> bytes:
    """Write down again, in plain text, what a line says in hexadecimal."""
    proctitle = _PROCTITLE.fullmatch(line)
    if proctitle is not None:
        raw = bytes.fromhex(proctitle[1].decode())
        if raw.isascii():
            return b"proctitle=" + raw.rstrip(b"\0").replace(b"\0", b" ")
    found: list[str] = []
    for quoted, name, value in _HEXADECIMAL.findall(line):
        field, digits = (quoted or name).decode(), value.decode()
        if field == "saddr":
            found += (f"{part}={text}" for part, text in socket_address(digits).items())
        elif field in ENCODED or _ARGUMENT.fullmatch(field) is not None:
            raw = unhex(digits) or b""
            if field == "proctitle":
                raw = raw.rstrip(b"\0").replace(b"\0", b" ")
            found.append(f"{field}={readable(raw)}")
    return "\x1e".join(found).encode()


def spelling(view: str) -> Callable[[str], Spelling | None]:
    """Return how fields of a view are spelt in the records of an event."""
    return _of_record if view == "records" else _OTHER_VIEWS.get(view, {}).get


@lru_cache(maxsize=1024)
def _of_record(field: str) -> Spelling | None:
    """An empty field stands for any."""
    if field in _RECORD:
        return _RECORD[field]
    if _AGAIN.search(field):
        return None
    return Spelling(
        joints=_JOINTS,
        before=() if field in _NO_OWN_MARK else _behind(field),
        named=_UNSET if field in IDS else {},
    )
