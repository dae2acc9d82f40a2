"""Rules over a stream: events in as they arrive, findings out that may still change."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from trailhound.engine.matching import Hit, finding_of, match_event
from trailhound.engine.plan import Plan
from trailhound.engine.windows.clock import Lateness
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.feeding import feeds_of
from trailhound.engine.windows.streaming import Batch, TooLate, finish, step
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.pipeline.asking import Asking
from trailhound.pipeline.repeats import Requests
from trailhound.pipeline.window_store import WindowStore
from trailhound.rules.python import PythonProgram


class Stream:
    """Runs a plan over batches of events, and remembers what windows need in a file.

    What a call of `take` changed is durable once `save` returns; after a crash, events since
    then are to be given again, which changes no finding.
    """

    def __init__(
        self,
        plan: Plan,
        path: Path,
        lateness: Lateness | None = None,
        programs: Mapping[str, PythonProgram] | None = None,
    ) -> None:
        """Open or make the file; `TrailhoundError` where it is something else."""
        self._plan = plan
        self.asking = Asking(plan, programs or {})
        """Asks the rules that are programs."""
        self._requests = Requests()
        self.undecided: Counter[int] = Counter()
        """Rule index → events on which its pattern gave up."""
        self._silent = {rule.info.uid for rule in plan.rules if rule.silent}
        self.store = WindowStore(path, plan, lateness or Lateness())

    def take(
        self,
        events: Iterable[Event],
        arrived_ns: int,
        others: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ) -> Iterator[Finding]:
        """Take a batch in; yield the findings that are new, amended or withdrawn by it.

        Args:
            events: in any order; some may have come before.
            arrived_ns: when they arrived, UTC nanoseconds since 1970.
            others: source → times of events that arrived as well, and match no rule.
        """
        feeds: list[Feed] = []
        seen = {source: list(times_ns) for source, times_ns in others.items()}
        kept: tuple[Event, int] | None = None
        for hit in self.asking.through(self._hits(events, seen)):
            if hit.rule in self._plan.feeds:
                if kept is None or kept[0] is not hit.event:
                    kept = hit.event, self.store.keep(hit.event)
                fed = feeds_of(self._plan, hit.rule, hit.event, hit.document, hit.answered)
                feeds.extend(feed._replace(at=kept[1]) for feed in fed)
            yield from self._single(hit)
        batch = Batch(feeds, seen, arrived_ns)
        for item in step(self._plan, self.store.state, batch, self.store.event):
            if isinstance(item, TooLate):
                self.store.keep_late(item)
            elif item.rule.uid not in self._silent:
                yield item

    def end(self) -> Iterator[Finding]:
        """Yield what holds once nothing more will come: what is open is over."""
        for finding in finish(self._plan, self.store.state, self.store.event):
            if finding.rule.uid not in self._silent:
                yield finding

    def save(self) -> None:
        """Make durable what was taken in."""
        self.store.save()

    def close(self) -> None:
        """Close the file; what was not saved is as if it had not been taken in."""
        self.asking.close()
        self.store.close()

    def _hits(self, events: Iterable[Event], seen: dict[str, list[int]]) -> Iterator[Hit]:
        for event in events:
            seen.setdefault(event.source, []).append(event.time_ns)
            for hit in match_event(self._plan, event):
                if isinstance(hit, Hit):
                    yield hit
                else:
                    self.undecided[hit.rule] += 1

    def _single(self, hit: Hit) -> Iterator[Finding]:
        rule = self._plan.rules[hit.rule]
        if not rule.silent and self._requests.first(rule.info.uid, hit.event.request):
            yield finding_of(self._plan, hit, explained=True)
