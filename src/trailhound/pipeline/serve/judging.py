"""Records of the queue to events, findings, and what is kept; batch by batch, each once."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import structs

from trailhound.engine.plan import Plan
from trailhound.engine.watch.contract import Sighting
from trailhound.intake.arrivals import Arrival
from trailhound.lake.schema import Arrival as Kept
from trailhound.lake.schema import Rows
from trailhound.ledger.leaf import context_text, read_context
from trailhound.ledger.redaction import Redacted
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.model.records import ParseFailure
from trailhound.pipeline.rulebooks import LoadedRules, load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.pipeline.serve import talk
from trailhound.pipeline.serve.findings_log import FindingsLog, file_sizes
from trailhound.pipeline.serve.forwarding import Forwarding
from trailhound.pipeline.serve.journal import Batch, Journal, Late
from trailhound.pipeline.serve.plain_reading import PlainReading, PlainRecords
from trailhound.pipeline.serve.reading import Reading
from trailhound.pipeline.serve.records import OpenBatch, Taken, key_of
from trailhound.pipeline.serve.sealing import Numbered, Sealer, open_ledger, open_redaction
from trailhound.pipeline.serve.settings import Settings
from trailhound.pipeline.serve.sightings import plain_sightings, sighting
from trailhound.pipeline.serve.storing import Storing, stored, stored_plain
from trailhound.pipeline.serve.telling import Telling
from trailhound.pipeline.serve.watcher import FILE, Watcher
from trailhound.pipeline.stream import Stream
from trailhound.sources import all_sources

_SEEN_NS = 24 * 3600 * 1_000_000_000
"""How long a record is remembered, to know it when it is sent again."""
_WORTH_COLUMNS = 8
"""Fewer records are read one by one."""
_LAST_S = 10.0
"""How long the last head may take to be forwarded, at the end."""
_STEP_NS = 3600 * 1_000_000_000
"""How far the time by which things are forgotten may move at once: a clock that is set forward
by a year and back again must not cost what was kept."""
_log = logging.getLogger(__name__)


class Judge:
    """Everything the detector knows between two records."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        """Load rules, and take up what was saved.

        Raises:
            TrailhoundError: Rules that the settings name do not exist; the lake or the ledger
                cannot be opened.
        """
        self._settings = settings
        self._journal = journal
        self._folder = Path(settings.state)
        findings = self._folder / "findings"
        sizes = journal.log_sizes()
        if not sizes:
            # Of a new journal, what is there counts. From here on, what is not noted was cut off.
            sizes = {"": 0, **file_sizes(findings)}
            journal.told((), journal.next_number, sizes)
        log = FindingsLog(findings, sizes, settings.findings_format)
        self._telling = Telling(log, journal)
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._reading = Reading(journal)
        self._watcher = Watcher(self._folder / FILE, journal.next_number)
        self._time_ns = int(journal.value("time_ns") or b"0")
        self.behind = journal.next_number
        """Number of the record that comes next."""
        self._loaded: LoadedRules
        self._plan: Plan
        self._stream: Stream | None = None
        self._redact = open_redaction(settings)
        self._sealer: Sealer | None = None
        if settings.ledger.enabled:
            self._sealer = Sealer(open_ledger(settings), settings.ledger.head_seconds)
        self._forwarding = Forwarding(settings.ledger_folder, settings.ledger)
        self._lake: Storing | None = None
        if settings.lake.enabled:
            self._lake = Storing(
                settings.lake_folder, settings.lake, [source.name for source in all_sources()]
            )
        self._begun_s: float | None
        self._open()
        self.reload()
        if self._reading.given:
            self._begun_s = time.monotonic()
            self._judge(self._reading.given, time.time_ns())

    def _open(self) -> None:
        self.open_records = 0
        """Records taken and not kept yet."""
        self.open_bytes = 0
        self._begun_s = None
        self._seen: set[bytes] = set()
        self._batch = OpenBatch(self._reading.held)
        self._events: list[Kept] = []
        self._rows: dict[str, Rows] = {}
        """Source → its plain events."""

    @property
    def rules(self) -> int:
        """Rules that can be used."""
        return len(self._plan.rules)

    @property
    def problems(self) -> tuple[str, ...]:
        """Rules that cannot be used, and why."""
        errors = (*self._loaded.ruleset.errors, *self._plan.errors)
        return tuple(str(error) for error in errors)

    def reload(self) -> None:
        """Read the rules anew; windows go on from where they are.

        Raises:
            TrailhoundError: Rules that the settings name do not exist. Those before them stay.
        """
        loaded = load_rules(
            self._settings.rules,
            builtin=self._settings.builtin,
            placeholders={},
            cache=self._folder / "cache",
        )
        plan = plan_for(loaded.ruleset.rules)
        if self._stream is not None:
            self._stream.save()
            self._stream.close()
        self._loaded, self._plan = loaded, plan
        self._plain = PlainReading(all_sources(), plan)
        self._stream = Stream(
            self._plan, self._folder / "windows.sqlite", programs=loaded.ruleset.programs
        )
        if self._stream.store.begun_anew:
            _log.warning(
                "what rules over several events remembered is in the form of an earlier "
                "Trailhound: they begin anew, and may miss what had begun before"
            )

    @property
    def is_open(self) -> bool:
        """Whether there is something that is not kept yet."""
        return self._begun_s is not None

    @property
    def seen_below(self) -> int:
        """Number below which the watch has seen all records before this process began."""
        return self._watcher.seen_below

    def age_s(self, now_s: float) -> float:
        """Return how long the open batch has been open; 0 where there is none."""
        return 0.0 if self._begun_s is None else now_s - self._begun_s

    def take(self, first: int, arrivals: Sequence[Arrival]) -> None:
        """Take records in, judge their events, and tell what is found."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        items: list[Event | ParseFailure] = []
        records = self._records(first, arrivals)
        plain = self._plain.read(records) if len(records) >= _WORTH_COLUMNS else []
        named = {
            number: bool(request)
            for part in plain
            for number, request in zip(
                part.numbers, part.plain.envelope["request_uid"], strict=True
            )
        }
        for arrival, taken in records:
            number = taken.record.number
            items += self._reading.settle(arrival.received_ns)
            self._batch.add(taken)
            if number in named:
                taken.alone, taken.gave, taken.named = True, 1, named[number]
                continue
            given = self._reading.read(number, arrival, taken.record.safe.data)
            taken.alone = bool(given) and all(_is_of(item, number) for item in given)
            if taken.alone:
                self._plain.learn(arrival.peer, given)
            items += given
        self.open_records += len(arrivals)
        self.behind = first + len(arrivals)
        self._move_time(arrivals[-1].received_ns)
        self._judge(items, arrivals[-1].received_ns, plain)

    def _records(self, first: int, arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Taken]]:
        """Redact records, and leave out those that are known to have been sent before."""
        safe = self._redact([arrival.data for arrival in arrivals])
        keys = [key_of(*pair) for pair in zip(arrivals, safe, strict=True)]
        known = self._journal.known([key for key in keys if key is not None])
        records: list[tuple[Arrival, Taken]] = []
        besides: dict[bytes, Redacted] = {}
        for number, arrival in enumerate(arrivals, first):
            redacted, key = safe[number - first], keys[number - first]
            self.open_bytes += len(arrival.data)
            intake = (("intake", arrival.peer.partition("/")[0]),)
            self._counts["records_total", intake] += 1
            self._counts["redacted_values_total", ()] += len(redacted.paths)
            if key is not None:
                # What is known here no reader sees again: it may hold the first one back.
                if key in known or key in self._seen:
                    self._counts["records_repeated_total", intake] += 1
                    continue
                self._seen.add(key)
            context = b""
            if arrival.context:
                text = context_text(arrival.context)
                if (beside := besides.get(text)) is None:
                    (beside,) = self._redact([text])
                    besides[text] = beside
                context = beside.data
                if beside.paths:  # rules and lake see what is sealed
                    arrival = structs.replace(arrival, context=read_context(context))  # noqa: PLW2901
                    self._counts["redacted_values_total", ()] += len(beside.paths)
            record = Numbered(number, arrival.peer, arrival.received_ns, redacted, context)
            records.append((arrival, Taken(record, key)))
        return records

    def settle(self, now_ns: int) -> None:
        """Give out what was held back for records that have not come; nothing is waiting."""
        if items := self._reading.settle(now_ns, idle=True):
            if self._begun_s is None:
                self._begun_s = time.monotonic()
            self._judge(items, now_ns)

    def watch(self, now_ns: int) -> None:
        """Say what time it is, while nothing waits: who should have been heard by now?"""
        self._tell(self._watcher.tick(now_ns))
        self._watcher.save_if_due(self.behind, now_ns)

    def damaged(self) -> None:
        """Count a stretch of the queue that the disk lost."""
        self._counts["queue_damage_total", ()] += 1

    def keep(self) -> None:
        """Keep the open batch for good, and what is known behind it."""
        batch = Batch(self._journal.next_number, self.behind)
        self._journal.begin(batch)
        self._seal()
        if self._lake is not None:
            appended = self._lake.append(self._events, batch, list(self._rows.values()))
            self._counts["stored_total", ()] += appended.stored
        late = _summed(self._windows.store.take_late())
        # What the windows are given again after a crash changes nothing; what they were never
        # given would be missing. So they are saved first.
        self._windows.save()
        self._watcher.save(self.behind)
        saved = self._reading.saved(self._batch.close())
        saved["time_ns"] = b"%d" % self._time_ns
        # Of a record whose events have ids, those are enough.
        seen = self._seen - self._batch.known_by_events()
        self._journal.done(
            batch, saved, ((key, self._time_ns) for key in seen), late, self._time_ns
        )
        self._journal.forget_seen(self._time_ns - _SEEN_NS)
        self._open()

    def keep_house(self) -> None:
        """Sign a head, merge files, delete what is due; each if it is time to."""
        now_s, now_ns = time.monotonic(), time.time_ns()
        old_ns = min(now_ns, self._time_ns or now_ns)
        if self._sealer is not None:
            keep_days = self._settings.ledger.keep_days
            gone = self._sealer.retain_if_due(keep_days, now_s, old_ns)
            if self._sealer.sign_if_due(now_s, now_ns) or gone:
                self._forwarding.notify()
        if self._lake is not None:
            self._lake.keep_house(now_s, old_ns)

    def close(self) -> None:
        """End: everything is kept; what is sealed gets its head."""
        if self._sealer is not None:
            self._sealer.sign(time.time_ns())
            self._forwarding.notify()
            self._forwarding.stop(_LAST_S)
            self._sealer.close()
        if self._lake is not None:
            self._lake.close()
        self._windows.close()
        self._watcher.close()

    def stats(self) -> talk.Stats:
        """Return the counters."""
        values = [(name, labels, float(n)) for (name, labels), n in self._counts.items()]
        stream = self._windows
        for name, counts in (
            ("late_events_total", stream.store.state.late),
            ("windows_full_total", stream.store.state.full),
            ("windows_spilled_total", stream.store.state.spilled),
            ("undecided_total", stream.undecided),
        ):
            for rule, count in counts.items():
                labels = (("rule", self._plan.rules[rule].info.uid),)
                values.append((name, labels, float(count)))
        for cost in stream.asking.costs():
            labels = (("rule", cost.rule),)
            values.append(("python_asked_total", labels, float(cost.asked)))
            values.append(("python_failed_total", labels, float(cost.failed)))
            values.append(("python_cpu_seconds_total", labels, cost.cpu_ns / 1e9))
        return talk.Stats((*values, *self._watcher.stats()))

    def report(self) -> talk.Report:
        """Return what a person should know beside the counters."""
        rules = {rule.info.uid: rule.info for rule in self._plan.rules}
        late = tuple(
            talk.Late(late.rule, known.title, known.path, *late[1:])
            for late in self._journal.late()
            if (known := rules.get(late.rule)) is not None
        )
        sealer = self._sealer
        records, signed = (sealer.size, sealer.signed) if sealer is not None else (0, 0)
        return talk.Report(late, self._forwarding.states(), records, signed)

    def has_news(self) -> bool:
        """Whether a place to which the ledger is forwarded does otherwise than before."""
        return self._forwarding.has_news()

    def _seal(self) -> None:
        records = self._batch.to_seal()
        if self._sealer is not None:
            self._counts["sealed_total", ()] += self._sealer.seal(records)

    def _move_time(self, now_ns: int) -> None:
        known_ns = self._time_ns or now_ns
        self._time_ns = max(known_ns, min(now_ns, known_ns + _STEP_NS))

    def _judge(
        self,
        items: Iterable[Event | ParseFailure],
        received_ns: int,
        plain: Sequence[PlainRecords] = (),
    ) -> None:
        events: list[Event] = []
        sightings: list[Sighting] = []
        times: dict[str, list[int]] = {}
        for part in plain:
            sightings += self._keep_plain(part, received_ns, times)
        for item in items:
            if isinstance(item, ParseFailure):
                self._counts["failures_total", (("reason", item.reason),)] += 1
                if item.lost:
                    self._batch.gave([item.origin])
            else:
                events.append(item)
        fresh = self._fresh(events)
        for event in fresh:
            self._counts["events_total", (("source", event.source),)] += 1
        if self._lake is not None:
            self._events += [stored(event, self._batch.raw(event)) for event in fresh]
        self._tell(list(self._windows.take(fresh, received_ns, times)))
        repeats = {id(event) for event in events} - {id(event) for event in fresh}
        sightings += [sighting(e, received_ns, repeat=id(e) in repeats) for e in events]
        if plain:
            sightings.sort(key=_number_of)
        self._tell(self._watcher.take(sightings, self.behind))

    def _keep_plain(
        self, part: PlainRecords, received_ns: int, times: dict[str, list[int]]
    ) -> Iterable[Sighting]:
        """Take plain records in, which match no rule; return what the watch sees of them.

        Args:
            part: the records.
            received_ns: when they arrived, UTC nanoseconds.
            times: source → times of its events, to which theirs are added.
        """
        plain, numbers, paths = part
        requests = plain.envelope["request_uid"]
        asked = [uid for uid, request in zip(plain.uids, requests, strict=True) if request]
        known = self._journal.known(asked)
        repeats: list[bool] = []
        for uid, request in zip(plain.uids, requests, strict=True):
            repeat = bool(request) and (uid in known or uid in self._seen)
            repeats.append(repeat)
            if request:
                self._seen.add(uid)
        seen = plain_sightings(plain, paths, numbers, repeats, received_ns)
        if any(repeats):
            again = [number for number, repeat in zip(numbers, repeats, strict=True) if repeat]
            self._batch.repeated(again)
            self._counts["repeats_total", (("source", plain.source),)] += len(again)
            part = part.without(repeats)
            plain, numbers, paths = part
        self._counts["events_total", (("source", plain.source),)] += len(numbers)
        times.setdefault(plain.source, []).extend(plain.envelope["time_ns"])
        if self._lake is not None and numbers:
            rows = stored_plain(plain, paths, numbers)
            if plain.source in self._rows:
                self._rows[plain.source].add(rows)
            else:
                self._rows[plain.source] = rows
        return seen

    @property
    def _windows(self) -> Stream:
        assert self._stream is not None  # noqa: S101 - made when the rules were read
        return self._stream

    def _fresh(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that were not there before; count the others."""
        # What has an id of its sender is the same wherever it comes from. Lines of text may say
        # the same twice and mean it: those are known by the place of their record alone.
        keys = {id(e): _event_key(e) for e in events if e.envelope.request_uid}
        known = self._journal.known(list(keys.values()))
        fresh = []
        for event in events:
            key = keys.get(id(event))
            if key is not None and (key in known or key in self._seen):
                self._counts["repeats_total", (("source", event.source),)] += 1
                self._batch.gave(event.origins, repeat=True, named=True)
                continue
            if key is not None:
                self._seen.add(key)
            self._batch.gave(event.origins, named=key is not None)
            fresh.append(event)
        return fresh

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in self._telling.tell(findings, self._prove, self.behind, self._time_ns):
            labels = (("level", finding.rule.level.label), ("status", finding.status.value))
            self._counts["findings_total", labels] += 1

    def _prove(self, findings: list[Finding]) -> list[Finding]:
        if self._sealer is None:
            return findings
        # What proves a finding is sealed before it is told.
        self._seal()
        now_ns = time.time_ns()
        proofs = [self._sealer.proofs(finding.events, now_ns) for finding in findings]
        return [structs.replace(f, proofs=p) for f, p in zip(findings, proofs, strict=True)]


def _is_of(item: Event | ParseFailure, number: int) -> bool:
    """Whether an item was read out of one record and no other."""
    origins = item.origins if isinstance(item, Event) else (item.origin,)
    return all(origin.line == number for origin in origins)


def _event_key(event: Event) -> bytes:
    return bytes.fromhex(event.uid)


def _number_of(seen: Sighting) -> int:
    return seen.origin.line


def _summed(late: Iterable[tuple[str, Event]]) -> list[Late]:
    times: dict[str, list[int]] = {}
    for rule, event in late:
        times.setdefault(rule, []).append(event.envelope.time_ns)
    return [Late(rule, len(found), min(found), max(found)) for rule, found in times.items()]
