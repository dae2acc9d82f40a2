"""Records of the queue to events, findings, and what is kept; batch by batch, each once."""

import hashlib
import pickle
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import structs

import trailhound
from trailhound.engine.plan import Plan
from trailhound.intake.arrivals import Arrival
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.pipeline.rulebooks import LoadedRules, load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.pipeline.serve import talk
from trailhound.pipeline.serve.findings_log import FindingsLog
from trailhound.pipeline.serve.journal import Batch, Journal
from trailhound.pipeline.serve.settings import Settings
from trailhound.pipeline.serve.watcher import FILE, Watcher
from trailhound.pipeline.stream import Stream
from trailhound.sources import all_sources
from trailhound.sources.decode import Decoder

SETTLE_NS = 3_000_000_000
"""Records that belong together arrive within so much of each other."""
_SEEN_NS = 24 * 3600 * 1_000_000_000
"""How long a record is remembered, to know it when it is sent again."""
_AMENDED_NS = 9 * 24 * 3600 * 1_000_000_000
"""How long a finding may still change: lateness, and how long windows keep their evidence."""
_SETTLE_GRACE_NS = 2_000_000_000


class Judge:
    """Everything the detector knows between two records."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        """Load rules, and take up what was saved.

        Raises:
            TrailhoundError: Rules that the settings name do not exist.
        """
        self._settings = settings
        self._journal = journal
        self._folder = Path(settings.state)
        self._log = FindingsLog(self._folder / "findings", journal.log_sizes())
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._decoder = self._saved_decoder()
        self._settled_ns = int(journal.value("settled_ns") or b"0")
        self._received_ns = self._settled_ns
        self._watcher = Watcher(self._folder / FILE, journal.next_number)
        self.behind = journal.next_number
        """Number of the record that comes next."""
        self._loaded: LoadedRules
        self._plan: Plan
        self._stream: Stream | None = None
        self._open()
        self.reload()

    def _open(self) -> None:
        self.open_records = 0
        """Records taken and not kept yet."""
        self.open_bytes = 0
        self._begun_s = 0.0
        self._seen: dict[bytes, int] = {}
        self._positions: dict[int, str] = {}

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
        """Read the rules anew."""
        if self._stream is not None:
            self._stream.save()
            self._stream.close()
        self._loaded = load_rules(
            self._settings.rules,
            builtin=self._settings.builtin,
            placeholders={},
            cache=self._folder / "cache",
        )
        self._plan = plan_for(self._loaded.ruleset.rules)
        self._stream = Stream(self._plan, self._folder / "windows.sqlite")

    def age_s(self, now_s: float) -> float:
        """Return how long the open batch has been open; 0 where there is none."""
        return now_s - self._begun_s if self.open_records else 0.0

    def take(self, first: int, arrivals: Sequence[Arrival]) -> None:
        """Take records in, judge their events, and tell what is found."""
        if not self.open_records:
            self._begun_s = time.monotonic()
        items: list[Event | ParseFailure] = []
        for number, arrival in enumerate(arrivals, first):
            if arrival.received_ns >= self._settled_ns + SETTLE_NS:
                self._settled_ns = arrival.received_ns // SETTLE_NS * SETTLE_NS
                items += self._decoder.settle()
            self._positions[number] = arrival.position
            self.open_bytes += len(arrival.data)
            self._counts["records_total", (("intake", arrival.peer.partition("/")[0]),)] += 1
            # A stamp without a year is of the year in which it arrives.
            origin = Origin(arrival.peer, number)
            if arrival.failure is not None:
                items.append(ParseFailure(origin, *arrival.failure))
                continue
            items += self._decoder.decode(
                RawRecord(arrival.data, origin, arrival.received_ns, arrival.context)
            )
        self.open_records += len(arrivals)
        self.behind = first + len(arrivals)
        self._received_ns = max(self._received_ns, arrivals[-1].received_ns)
        self._judge(items, self._received_ns)

    def settle(self, now_ns: int) -> None:
        """Give out what was held back for records that have not come; nothing is waiting."""
        if now_ns >= self._settled_ns + SETTLE_NS + _SETTLE_GRACE_NS:
            self._settled_ns = now_ns // SETTLE_NS * SETTLE_NS
            self._judge(list(self._decoder.settle()), now_ns)

    def watch(self, now_ns: int) -> None:
        """Say what time it is, while nothing waits: who should have been heard by now?"""
        self._tell(self._watcher.tick(now_ns), now_ns)
        self._watcher.save_if_due(self.behind, now_ns)

    def damaged(self) -> None:
        """Count a stretch of the queue that the disk lost."""
        self._counts["queue_damage_total", ()] += 1

    def keep(self) -> None:
        """Keep the open batch for good, and what is known behind it."""
        batch = Batch(self._journal.next_number, self.behind)
        self._journal.begin(batch)
        # What the windows are given again after a crash changes nothing; what they were never
        # given would be missing. So they are saved first.
        self._windows.save()
        self._watcher.save(self.behind)
        saved = {
            "decoder": pickle.dumps((trailhound.__version__, self._decoder)),
            "settled_ns": b"%d" % self._settled_ns,
        }
        self._journal.done(batch, saved, self._seen.items(), self._received_ns)
        self._journal.forget_seen(self._received_ns - _SEEN_NS)
        self._open()

    def stats(self) -> talk.Stats:
        """Return the counters."""
        counted = ((name, labels, float(n)) for (name, labels), n in self._counts.items())
        return talk.Stats((*counted, *self._watcher.stats()))

    def _judge(self, items: Iterable[Event | ParseFailure], received_ns: int) -> None:
        events: list[Event] = []
        for item in items:
            if isinstance(item, ParseFailure):
                self._counts["failures_total", (("reason", item.reason),)] += 1
            else:
                events.append(item)
        fresh = self._fresh(events, received_ns)
        for event in fresh:
            self._counts["events_total", (("source", event.source),)] += 1
        self._tell(list(self._windows.take(fresh, received_ns)), received_ns)
        repeats = {id(event) for event in events} - {id(event) for event in fresh}
        self._tell(self._watcher.take(events, repeats, self.behind, received_ns), received_ns)

    @property
    def _windows(self) -> Stream:
        assert self._stream is not None  # noqa: S101 - made when the rules were read
        return self._stream

    def _fresh(self, events: Sequence[Event], received_ns: int) -> list[Event]:
        """Return the events that were not there before; count the others."""
        keys = [self._key(event) for event in events]
        known = self._journal.known(keys)
        fresh = []
        for key, event in zip(keys, events, strict=True):
            if key in known or key in self._seen:
                self._counts["repeats_total", (("source", event.source),)] += 1
            else:
                self._seen[key] = received_ns
                fresh.append(event)
        return fresh

    def _key(self, event: Event) -> bytes:
        # What has an id of its sender is the same wherever it comes from. Lines of text may say
        # the same twice and mean it: there, only the place tells what was sent again.
        key = event.uid
        if not event.envelope.request_uid:
            place = event.origins[0]
            position = self._positions.get(place.line, "") or str(place.line)
            key = f"{key} {position} {place.element}"
        return hashlib.blake2b(key.encode(), digest_size=16).digest()

    def _tell(self, findings: Sequence[Finding], received_ns: int) -> None:
        if not findings:
            return
        # A crash may lead to the same findings by other steps: what counts is whether they say
        # something else than was told last, and the number of a revision is given here.
        fresh: dict[str, tuple[Finding, bytes]] = {}
        for finding in findings:
            said = _said(finding)
            known = self._journal.last_told(finding.uid)
            if finding.uid in fresh:
                known = fresh[finding.uid][0].revision, fresh[finding.uid][1]
            if known is None:
                fresh[finding.uid] = finding, said
            elif known[1] != said:
                revision = max(finding.revision, known[0] + 1)
                fresh[finding.uid] = structs.replace(finding, revision=revision), said
        tell = [finding for finding, _ in fresh.values()]
        sizes = self._log.append(tell)
        until_ns = received_ns + _AMENDED_NS
        noted = [
            (f.uid, f.revision, said, until_ns if f.group or f.reason else 0)
            for f, said in fresh.values()
        ]
        self._journal.told(noted, self.behind, sizes)
        for finding in tell:
            labels = (("level", finding.rule.level.label), ("status", finding.status.value))
            self._counts["findings_total", labels] += 1

    def _saved_decoder(self) -> Decoder:
        data = self._journal.value("decoder")
        if data is not None:
            version, decoder = pickle.loads(data)  # noqa: S301 - our own file, in our own folder
            if version == trailhound.__version__ and isinstance(decoder, Decoder):
                return decoder
        return Decoder(all_sources())


def _said(finding: Finding) -> bytes:
    """Return what tells one telling of a finding from the next: a digest of what it says."""
    told = (
        finding.status.value,
        finding.start_ns,
        finding.time_ns,
        finding.event_count,
        finding.reason,
        [event.uid for event in finding.events],
    )
    return hashlib.blake2b(repr(told).encode(errors="surrogatepass"), digest_size=16).digest()
