"""Linux log lines of syslog and the journal: who logged in, who became root, what ran.

The document is the record as written, parsed: `timestamp`, `host`, `program`, `pid`,
`facility`, `severity`, `message`, `structured_data`, and `journal` for journal entries. `time`
is added where the header does not say it all. What the message says is not in the document;
it is read from it again for the envelope, and laid beside it in the views.

All views of an event but `process_creation` are the same: the document with the fields that
its message yields (`catalogue`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from trailhound.model.events import Event, View
from trailhound.model.records import Origin, ParseFailure, Payload
from trailhound.sources.contract import Glimpse, Likely, Searched, Skimmed, Source, TextGate
from trailhound.sources.linux_auth import journal, skimming
from trailhound.sources.linux_auth.catalogue import FIELDS, PROCESS_VIEW, ROUTES
from trailhound.sources.linux_auth.envelope import describe, program_in
from trailhound.sources.linux_auth.lines import Lines
from trailhound.sources.linux_auth.messages import Said, interpret, repeats_in, said_in, views_of
from trailhound.sources.linux_auth.spelling import SHOWS, spelling
from trailhound.sources.linux_auth.stamps import Calendar, Moment, Moments, iso, stamp_in
from trailhound.sources.syslog_lines import (
    FACILITIES,
    SEVERITIES,
    Frame,
    Stamp,
    frame,
)
from trailhound.sources.unwrap import host_in

_HEAD = 4096
_TIME, _HEADER = "unreadable time", "odd header"
_AUDIT = re.compile(
    r"(?:\[[\w :.]{1,40}\] )?(?:audit: )?(?:node=\S{1,255} )?type=[\w\[\]-]{1,64} (?:msg=)?audit\(",
    re.ASCII,
)
_HEAD_FIELDS = frozenset(("timestamp", "time", "host", "program", "pid", "message"))
_REPEATS = "repeated more often than is counted"
_REPEATS_LIMIT = 100
_REPEATED_CHARACTERS = 65_536
"""A few bytes must not become a thousand events. sshd hangs up after six attempts."""
AMBIGUOUS = "ambiguous: the message can be read in two ways, and both are judged"
IMPOSTOR = "not written by the program it names"


def _recognises(payload: Payload) -> bool:
    if payload.document is not None:
        return journal.is_entry(payload.document)
    if payload.text is None:
        return False
    found = frame(payload.text[:_HEAD])
    return found is not None and not _is_audit(found)


def _is_audit(found: Frame) -> bool:
    """Whether it is a record of the kernel's audit, sent through syslog: `auditd` reads those.

    Of other programs such text is just text, or anybody could hide a line from both sources.
    """
    carrier = found.program in ("", "kernel") or "audi" in found.program
    return carrier and _AUDIT.match(found.message) is not None


class _Reader:
    """Reads lines in the order they come; knows of the past the last times and lines."""

    def __init__(self) -> None:
        self._calendar = Calendar()
        self._lines = Lines()

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        """See `Reader`."""
        if payload.document is not None:
            return self._entry(payload, payload.document)
        found = frame(payload.text or "")
        if found is None:
            return [ParseFailure(payload.origin, "no syslog header", "the line has no header")]
        return self._line(payload, found)

    def skim(self, lines: Searched) -> Iterator[Skimmed]:
        """See `Skimming`."""
        path, line, marks = lines.path, lines.line, lines.marks
        moments = Moments(self._calendar, path, lines.context)

        def read(text: str, index: int) -> Likely | Glimpse:
            stamp, _, program, _, message = parts = skimming.parts_of(text)
            moment = moments.of(stamp, text)
            origins = (Origin(path, line + index),)
            if program.endswith("sudo"):  # which may go on with a line before it
                document = _plain(parts, moment[1])
                self._lines.link(path, document)
                return Likely(_event(origins, document, moment[2], moment[0]), marks[index])
            said = said_in(program, message)
            event = partial(_sown, origins, parts, *moment, said)
            if len(said.readings) > 1 or any(map(_launches, said.readings)):
                return Likely(event(), marks[index])
            fields = said.readings[0] if said.readings else {}
            return Glimpse(said.views, fields, _HEAD_FIELDS, event, marks[index])

        return skimming.skim(lines, self._calendar, self._lines, read)

    def flush(self) -> Iterable[Event | ParseFailure]:
        """See `Reader`: nothing is held back."""
        return ()

    def _line(self, payload: Payload, found: Frame) -> list[Event | ParseFailure]:
        moment = self._calendar.complete(found.stamp, payload.origin.path, payload.context)
        document: dict[str, Any] = {"timestamp": found.stamp.text}
        if moment.inferred:
            document["time"] = iso(moment.time_ns)
        host = found.host or host_in(payload.context)
        if host:
            document["host"] = host
        document["program"] = found.program
        if found.pid is not None:
            document["pid"] = found.pid
        if found.priority is not None:
            document["facility"] = FACILITIES[found.priority >> 3]
            document["severity"] = SEVERITIES[found.priority & 7]
        if found.msgid:
            document["msgid"] = found.msgid
        document["message"] = found.message
        if found.structured_data is not None:
            document["structured_data"] = found.structured_data
        self._lines.link(payload.origin.path, document)
        odd = [(_TIME, moment.odd)] if moment.odd else []
        if found.odd:
            odd.append((_HEADER, found.odd))
        repeats = repeats_in(document)
        said = document.get("repeats", document)["message"]
        times = max(1, min(repeats, _REPEATS_LIMIT, _REPEATED_CHARACTERS // (len(said) + 1)))
        if times < repeats:
            odd.append((_REPEATS, f"{repeats} of them; {times} were counted"))
        return [*_events(payload, document, moment, times), *_odd(payload, odd)]

    def _entry(self, payload: Payload, entry: Mapping[str, Any]) -> list[Event | ParseFailure]:
        time_ns = journal.time_ns_of_entry(entry)
        if time_ns is None:
            time_ns = stamp_in(entry)
        stamp = Stamp(text="", time_ns=time_ns)
        moment = self._calendar.complete(stamp, payload.origin.path, payload.context)
        document = {"timestamp": iso(moment.time_ns), **journal.document_of(entry)}
        self._lines.link(payload.origin.path, document)
        notes = moment.notes
        if journal.is_impostor(entry):
            notes = (*notes, IMPOSTOR)
        odd = []
        if moment.inferred and "__REALTIME_TIMESTAMP" in entry:
            odd.append((_TIME, "__REALTIME_TIMESTAMP is no time in microseconds"))
        if entry["MESSAGE"] is None:
            odd.append((_HEADER, "the message was too large for journalctl to print without --all"))
        return [_event((payload.origin,), document, notes), *_odd(payload, odd)]


def _events(
    payload: Payload, document: dict[str, Any], moment: Moment, times: int
) -> Iterator[Event]:
    """Yield the event of a line; one for each time that it says its message came."""
    for number in range(1, times + 1):
        one = document if number == 1 else document | {"repeat": number}
        yield _event((payload.origin,), one, moment.notes, moment.time_ns)


def _odd(payload: Payload, odd: list[tuple[str, str]]) -> list[ParseFailure]:
    return [ParseFailure(payload.origin, what, why, lost=False) for what, why in odd]


def _plain(parts: tuple[str, str, str, str, str], time: str) -> dict[str, Any]:
    stamp, host, program, pid, message = parts
    document: dict[str, Any] = {"timestamp": stamp}
    if time:
        document["time"] = time
    document["host"] = host
    document["program"] = program
    if pid:
        document["pid"] = int(pid)
    document["message"] = message
    return document


def _sown(
    origins: tuple[Origin, ...],
    parts: tuple[str, str, str, str, str],
    time_ns: int,
    time: str,
    notes: tuple[str, ...],
    said: Said | None = None,
) -> Event:
    """Make the event of a plain line that no line before it has a part in."""
    document = _plain(parts, time)
    views, readings = said or said_in(document["program"], document["message"])
    event = _made(origins, document, notes, time_ns, views, readings)
    event.seed = _grown, (*parts, time_ns, time, *notes)
    return event


def _grown(
    origins: tuple[Origin, ...],
    stamp: str,
    host: str,
    program: str,
    pid: str,
    message: str,
    time_ns: int,
    time: str,
    *notes: str,
) -> Event:
    return _sown(origins, (stamp, host, program, pid, message), time_ns, time, notes)


def _event(
    origins: tuple[Origin, ...],
    document: dict[str, Any],
    notes: tuple[str, ...],
    time_ns: int | None = None,
) -> Event:
    family, readings = interpret(document)
    return _made(origins, document, notes, time_ns, views_of(family, document), readings)


def _made(
    origins: tuple[Origin, ...],
    document: dict[str, Any],
    notes: tuple[str, ...],
    time_ns: int | None,
    names: tuple[str, ...],
    readings: list[dict[str, Any]],
) -> Event:
    if len(readings) > 1:
        notes = (*notes, AMBIGUOUS)
    if readings and "repeated" in readings[0]:
        notes = (*notes, f"the line stands for {readings[0]['repeated']} repeats of the message")
    if "continues" in document:
        notes = (*notes, "sudo cut the command; put together with the lines before")
    view: View = tuple([{**document, **reading} for reading in readings]) or (document,)
    views: dict[str, View] = dict.fromkeys(names, view)
    processes = [_process(fields) for fields in view if _launches(fields)]
    if processes:
        views[PROCESS_VIEW] = tuple(processes)
    # Only the journal names its entries.
    request = "" if "journal" not in document else None
    return Event(
        *("linux_auth", document, origins, views, describe, notes),
        time_ns=time_ns,
        request=request,
    )


def _launches(fields: Mapping[str, Any]) -> bool:
    return fields.get("event") in ("sudo", "pkexec") and bool(fields.get("command"))


def _process(fields: Mapping[str, Any]) -> dict[str, Any]:
    process = {
        "Image": program_in(fields["command"]),
        "CommandLine": fields["command"],
        "User": fields.get("target_user"),
        "CurrentDirectory": fields.get("pwd"),
        "LogonUser": fields.get("user"),
        "host": fields.get("host"),
        "timestamp": fields["timestamp"],
    }
    return {name: value for name, value in process.items() if value is not None}


SOURCE = Source(
    name="linux_auth",
    title="Linux syslog and journal",
    recognises=_recognises,
    reader=_Reader,
    routes=ROUTES,
    fields=FIELDS,
    text=TextGate(spelling, SHOWS, skimming.ODD),
)
