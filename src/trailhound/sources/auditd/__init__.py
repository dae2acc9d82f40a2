"""Linux audit logs: auditd's own files, and its records inside syslog or the journal.

`audit.log` raw and enriched, what audispd sends to syslog, what the kernel prints while no
auditd runs, and `journalctl -o json` entries of the audit transport.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from trailhound.model.events import Event
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.auditd import skimming
from trailhound.sources.auditd.accounts import Accounts, notes_on
from trailhound.sources.auditd.assemble import Assembler, Group
from trailhound.sources.auditd.catalogue import FIELDS, ROUTES
from trailhound.sources.auditd.document import first_of, make_document
from trailhound.sources.auditd.envelope import describe, describe_named, time_ns_in
from trailhound.sources.auditd.fields import is_divider, read_line, recognises
from trailhound.sources.auditd.spelling import CODED, SHOWS, decoded, spelling
from trailhound.sources.auditd.views import Processes, make_views
from trailhound.sources.contract import Likely, Passed, Searched, Skimmed, Source, TextGate

_NAME = "auditd"


class AuditdReader:
    """Reads records, holds those of open events, and gives out a host's events in order of time."""

    def __init__(self) -> None:
        self._assembler = Assembler()
        self._processes = Processes()
        self._accounts = Accounts()

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        """Take one record in; return the events it completes."""
        line = read_line(payload)
        if line is None:
            if payload.text is not None and is_divider(payload.text):
                return []
            return [
                ParseFailure(
                    payload.origin,
                    "audit record without time",
                    "The header has no audit(time:serial); a log that `ausearch -i` wrote cannot "
                    "be read, one that `ausearch --raw` wrote can.",
                )
            ]
        given = self._assembler.add(line, payload.origin)
        return [item for group, late in given for item in self._events(group, late=late)]

    def skim(self, lines: Searched) -> Iterator[Skimmed]:
        """See `Skimming`: events that are not wanted are put together, and never read."""
        records = events = 0
        views: Counter[str] = Counter()
        for run in skimming.runs(lines):
            if isinstance(run, int):
                yield run
                continue
            records += len(run.raw.kinds)
            given = self._assembler.add_raw(run.node, run.when, lines.path, run.raw, run.marks)
            for group, late in given:
                passed = None
                if not late and group.holds_records() and not self._likely(group, lines):
                    passed = skimming.pass_over(group, self._processes, self._accounts)
                if passed is None:
                    for item in self._events(group, late=late):
                        yield Likely(item, group.marks) if isinstance(item, Event) else item
                    continue
                events += 1
                for view in passed:
                    views[view] += 1
        yield Passed(records, events, views)

    def _likely(self, group: Group, lines: Searched) -> bool:
        if not lines.wanted(group.marks):
            return False
        # Most rules of programs ask for one of a few parents, which other lines name.
        known = skimming.foreseen(group, self._processes, self._accounts)
        if known is None:
            return True
        return lines.possible(group.marks, {"records": None, "process_creation": known})

    def flush(self) -> Iterable[Event | ParseFailure]:
        """Give out the events still open."""
        for group, late in self._assembler.flush():
            yield from self._events(group, late=late)

    def settle(self) -> Iterable[Event | ParseFailure]:
        """Give out the events that have stopped growing."""
        for group, late in self._assembler.settle():
            yield from self._events(group, late=late)

    def _events(self, group: Group, *, late: bool) -> Iterator[Event | ParseFailure]:
        group.read()
        origins = tuple(sorted(set(group.origins)))
        if not group.lines:
            yield ParseFailure(
                origins[0],
                "end of audit event alone",
                "The mark that ends an event came without or after the event's records.",
                lost=False,
            )
            return
        document, notes = make_document(list(group.lines.values()))
        if late:
            notes += ("came after its event was given out",)
            for origin in origins:
                yield ParseFailure(
                    origin,
                    "late audit record",
                    "It came too long after the other records of its event, and is judged "
                    "on its own.",
                    lost=False,
                )
        if time_ns_in(document["time"]) is None:
            detail = "its header dates it after the year 2262; it counts as of 1970"
            yield ParseFailure(origins[0], "unreadable time", detail, lost=False)
        for record in document["records"]:
            self._accounts.learn(group.host, record)
        by = first_of(document, "SYSCALL") or document["records"][0]
        known = self._accounts.names(group.host, by)
        yield Event(
            source=_NAME,
            document=document,
            origins=origins,
            views=make_views(document, self._processes, group.host, known),
            describe=partial(describe_named, known) if known else describe,
            notes=(*notes, *notes_on(by, known)) if known else notes,
        )


SOURCE = Source(
    name=_NAME,
    title="Linux audit",
    recognises=recognises,
    reader=AuditdReader,
    routes=ROUTES,
    fields=FIELDS,
    text=TextGate(spelling, SHOWS, skimming.ODD, skimming.EVENT, CODED, decoded),
)
