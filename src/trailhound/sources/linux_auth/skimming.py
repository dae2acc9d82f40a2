"""Passing over plain lines of syslog: counted, and remembered as far as later lines need."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from trailhound.sources.contract import Glimpse, Likely, Passed, Searched
from trailhound.sources.linux_auth.lines import Lines
from trailhound.sources.linux_auth.messages import family_of, views_of
from trailhound.sources.linux_auth.stamps import Calendar, is_anchored
from trailhound.sources.syslog_lines import ENDS, NOT_HOSTS, frame

ODD = (
    b"(command continued) ",
    # Letters outside ASCII that are letters of ASCII in another case.
    *(b"\xe2\x84\xaa", b"\xc4\xb0", b"\xc5\xbf"),
)

_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
# Days that every year has.
_ISO_DAY = (
    r"(?:19[7-9]\d|20\d\d)-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
)
_BSD_DAY = (
    r"(?:(?:Jan|Mar|May|Jul|Aug|Oct|Dec) (?: [1-9]|[12]\d|3[01])"
    r"|(?:Apr|Jun|Sep|Nov) (?: [1-9]|[12]\d|30)|Feb (?: [1-9]|1\d|2[0-8]))"
)
_ISO = rf"{_ISO_DAY}T{_CLOCK}(?:\.\d{{1,9}})?(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)"
_BSD = rf"{_BSD_DAY} {_CLOCK}"
_REST = (
    r" ([A-Za-z0-9_][A-Za-z0-9_.-]{0,63}) ([A-Za-z0-9_./()@-]{1,64})(?:\[\d{1,10}\])?: "
    # What is JSON behind the header may be a record of another source; repeats are several events.
    r"(?! *[{@]|message repeated )(pam_)?.*"
)
_AUDIT = b"audit("
Item = Glimpse | Likely
_Head = tuple[bytes, bytes, bytes]
"""Host, program, and `pam_` where a module of PAM may have written the message."""


def _heads(stamp: str) -> re.Pattern[bytes]:
    return re.compile(f"(?m)^{stamp}{_REST}".encode())


_ZONED = _heads(_ISO)
_ANY = _heads(f"(?:{_ISO}|{_BSD})")


def skim(
    lines: Searched, calendar: Calendar, known: Lines, read: Callable[[str, int], Item]
) -> Iterator[Passed | Item | int]:
    """Pass over the plain lines that are not wanted; see `Skimming`.

    Args:
        lines: the lines.
        calendar: of the reader.
        known: the lines that the reader knows.
        read: reads a line that is plain, by its text and index.
    """
    # The year of a stamp without one follows from the line before, where nothing else tells it.
    pattern = _ANY if is_anchored(lines.context) else _ZONED
    heads: list[_Head | None] = list(pattern.findall(lines.data))
    count = len(lines.ends)
    if len(heads) != count:
        heads = [_head(pattern.match(lines.data, start)) for start in _starts(lines)]
    at = lines.data.find(_AUDIT)  # perhaps a record of the kernel's audit
    while at >= 0:
        heads[bisect_left(lines.ends, at)] = None
        at = lines.data.find(_AUDIT, at + 1)
    kinds = Counter(heads)
    for kind in kinds:
        if kind is not None and kind[0].decode().lower() in NOT_HOSTS:
            yield from range(count)
            return
    to_read = {index for index, bits in lines.marks.items() if lines.wanted(bits)}
    if kinds[None]:
        to_read.update(index for index, head in enumerate(heads) if head is None)
    past = _Past(lines, heads, calendar, known)
    for index in sorted(to_read):
        past.link_sudo(index)
        if heads[index] is None:
            past.remember(index)
            yield index
        else:
            item = read(lines.text(index).decode(), index)
            if isinstance(item, Likely):
                kinds[heads[index]] -= 1
            yield item
    past.link_sudo(count)
    past.remember(count)
    views: Counter[str] = Counter()
    passed = 0
    records = count - kinds[None]
    for kind, times in kinds.items():
        if kind is not None:
            passed += times
            for view in _views(*kind[1:]):
                views[view] += times
    yield Passed(records, passed, views)


def _starts(lines: Searched) -> Iterator[int]:
    yield 0
    for end in lines.ends[:-1]:
        yield end + 1


def _head(found: re.Match[bytes] | None) -> _Head | None:
    return None if found is None else (found[1], found[2], found[3] or b"")


def parts_of(text: str) -> tuple[str, str, str, str, str]:
    """Take a plain line apart: stamp, host, program, its process id if any, message."""
    if text[3] == " ":
        stamp, rest = text[:15], text[16:]
    else:
        stamp, _, rest = text.partition(" ")
    host, _, rest = rest.partition(" ")
    tag, _, message = rest.partition(": ")
    program, _, pid = tag.partition("[")
    return stamp, host, program, pid[:-1], message.rstrip(ENDS)


@lru_cache(maxsize=1024)
def _views(program: bytes, pam: bytes) -> tuple[str, ...]:
    return views_of(family_of(program.decode()), {"message": pam.decode()})


class _Past:
    """What lines further down need of those that were passed over."""

    def __init__(
        self, lines: Searched, heads: list[_Head | None], calendar: Calendar, known: Lines
    ) -> None:
        self._lines = lines
        self._heads = heads
        self._calendar = calendar
        self._known = known
        self._from = 0
        sudo = {head for head in set(heads) if head is not None and head[1].endswith(b"sudo")}
        self._sudo = [i for i, head in enumerate(heads) if head in sudo] if sudo else []
        self._sudo.reverse()

    def link_sudo(self, index: int) -> None:
        """Remember sudo's messages before a line; that at the line itself is left to its reader."""
        while self._sudo and self._sudo[-1] <= index:
            if (at := self._sudo.pop()) < index:
                self._known.remember_sudo(self._lines.path, self._document(at))

    def remember(self, index: int) -> None:
        """Remember the last line of each host before a line, and the last time."""
        last: dict[bytes, int] = {}
        heads = self._heads
        for at in range(self._from, index):
            if (head := heads[at]) is not None:
                last[head[0]] = at
        self._from = index + 1
        for at in sorted(last.values()):
            self._known.remember(self._lines.path, self._document(at))
        if last:
            at = max(last.values())
            found = frame(self._lines.text(at).decode())
            if found is not None:
                self._calendar.complete(found.stamp, self._lines.path, self._lines.context)

    def _document(self, index: int) -> Mapping[str, Any]:
        found = frame(self._lines.text(index).decode())
        assert found is not None  # noqa: S101 - the line is plain
        document = {"host": found.host, "program": found.program, "message": found.message}
        return document if found.pid is None else document | {"pid": found.pid}
