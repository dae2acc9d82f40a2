"""The hunt: rules and queries over what the lake keeps.

SQL selects and the engine judges: it reads what SQL selected, and with it what SQL cannot judge.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from msgspec.structs import asdict

from trailhound.engine.match import matcher
from trailhound.engine.matching import Hit, finding_of, match_event
from trailhound.engine.plan import Plan
from trailhound.engine.tests import GaveUp
from trailhound.engine.windows.chances import chances_in
from trailhound.engine.windows.feeding import feeds_of
from trailhound.engine.windows.running import WindowState, finish, step
from trailhound.lake.lake import Lake, Times
from trailhound.lake.query import Query, parse
from trailhound.lake.select import ENVELOPE_STEP, VIEWS_STEP, Selection, of_query, of_rules
from trailhound.lake.sql import Unsupported
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.pipeline.asking import Asking
from trailhound.pipeline.ending import SKEW_NS
from trailhound.pipeline.repeats import Requests
from trailhound.pipeline.rulebooks import LoadedRules
from trailhound.pipeline.scan import plan_for
from trailhound.pipeline.shelf import passing_shelf
from trailhound.pipeline.spool import Fed, Spool
from trailhound.pipeline.tally import Tally
from trailhound.pipeline.totals import totals_of
from trailhound.rules.ir import Rule
from trailhound.sources import all_sources


@dataclass(slots=True)
class Hunted:
    """What a hunt with rules found out besides its findings."""

    totals: Totals
    unsupported: list[tuple[Rule, Unsupported]] = field(default_factory=list)
    """Parts of rules that SQL could not say; the engine judged them on what the rest selects."""
    selected: int = 0
    """Events that SQL selected, and the engine read."""


def hunt_rules(
    lake: Lake, loaded: LoadedRules, times: Times, deliver: Callable[[Finding], None]
) -> Hunted:
    """Run rules over history; windows run on event time, as they do in a scan."""
    started = time.monotonic()
    plan = plan_for(loaded.ruleset.rules)
    tally = Tally()
    requests = Requests()
    selections, unsupported = _selections(plan, lake)
    silent = {rule.info.uid for rule in plan.rules if rule.silent}
    selected = 0

    def out(finding: Finding) -> None:
        if finding.rule.uid not in silent:
            tally.found(finding)
            deliver(finding)

    def hits() -> Iterator[Hit]:
        nonlocal selected
        for event in _candidates(lake, selections, times):
            selected += 1
            for verdict in match_event(plan, event):
                if isinstance(verdict, Hit):
                    yield verdict
                else:
                    tally.give_up(verdict)

    with (
        Spool(chances_in(plan)) as spool,
        passing_shelf() as shelf,
        Asking(plan, loaded.ruleset.programs) as asking,
    ):
        for hit in asking.through(hits()):
            if hit.rule in plan.feeds:
                feeds = feeds_of(plan, hit.rule, hit.event, hit.document, hit.answered)
                spool.add(Fed(hit.event, tuple(feeds)))
            uid = plan.rules[hit.rule].info.uid
            if uid not in silent and requests.first(uid, hit.event.request):
                out(finding_of(plan, hit, explained=True))
        state = WindowState(shelf=shelf)
        end_ns = max(_end_ns(lake, times), spool.last_ns)
        ended = finish(plan, state, spool.event, end_ns)
        for finding in chain(step(plan, state, spool.sorted(), spool.event), ended):
            out(finding)
        elapsed_s = time.monotonic() - started
        _count(lake, times, plan, tally)
        return Hunted(
            totals=totals_of(plan, loaded, tally, state.spilled, asking, elapsed_s),
            unsupported=unsupported,
            selected=selected,
        )


def _end_ns(lake: Lake, times: Times) -> int:
    """Return the event time until which the hunt goes: silence that lasts until then is silence."""
    latest_ns = time.time_ns() + SKEW_NS
    lasts = (file.last_ns for file in lake.files())
    last_ns = max((last_ns for last_ns in lasts if last_ns <= latest_ns), default=0)
    return last_ns if times.until_ns is None else min(last_ns, times.until_ns)


def _candidates(lake: Lake, selections: Mapping[str, Selection], times: Times) -> Iterator[Event]:
    for source, selection in selections.items():
        yield from lake.select(source, selection, times)
        yield from lake.unjudged(source, times)


def _selections(
    plan: Plan, lake: Lake
) -> tuple[dict[str, Selection], list[tuple[Rule, Unsupported]]]:
    kept = {kept.source for kept in lake.sources()}
    of_source: dict[str, list[Selection]] = {}
    unsupported: dict[tuple[str, str], tuple[Rule, Unsupported]] = {}
    for (source, view), view_plan in plan.views.items():
        if source not in kept:
            continue
        rules = [plan.rules[index] for index in view_plan.indices]
        predicates = [rule.predicate for rule in rules if rule.predicate is not None]
        of_source.setdefault(source, []).append(of_rules(predicates, source, view))
        for rule in rules:
            if rule.predicate is not None:
                for what in of_rules([rule.predicate], source, view).unsupported:
                    unsupported[rule.info.uid, repr(what)] = (rule, what)
    joined: dict[str, Selection] = {
        source: found[0] if len(found) == 1 else _either(found)
        for source, found in of_source.items()
    }
    return joined, list(unsupported.values())


def _either(selections: Sequence[Selection]) -> Selection:
    return Selection(
        plain=f"({' OR '.join(f'({s.plain})' for s in selections)})",
        strange=f"({' OR '.join(s.strange for s in selections)})",
        unsupported=(),
    )


def _count(lake: Lake, times: Times, plan: Plan, tally: Tally) -> None:
    """Count what the lake keeps of that time, whatever SQL selected of it."""
    for file in lake.files(None, times.since_ns, times.until_ns):
        tally.files += 1
        tally.events[file.source] += file.events
        tally.records += file.events
        tally.size_bytes += file.size_bytes
    tally.views.update({key: tally.events[key[0]] for key in plan.views})


# --- queries -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, ready to run."""

    selections: dict[str, Selection]
    times: Times
    query: Query
    text: str


def ask(lake: Lake, text: str, times: Times, now_ns: int) -> Asked:
    """Read a query and lower it for each source that the lake keeps.

    Raises:
        TrailhoundError: it is no query, or names a source that the lake does not keep.
    """
    query = parse(text, now_ns)
    kept = [kept.source for kept in lake.sources()]
    for source in query.sources:
        if source not in kept:
            there = ", ".join(kept) or "none yet"
            raise TrailhoundError(f"the lake keeps no source {source!r}; it keeps: {there}")
    views = {source.name: _views(source.routes) for source in all_sources()}
    selections: dict[str, Selection] = {}
    for source in query.sources or kept:
        viewed = parse(text, now_ns, views.get(source, ()))
        selections[source] = of_query(query.predicate, viewed.predicate, source)
    since = [bound for bound in (times.since_ns, query.since_ns) if bound is not None]
    until = [bound for bound in (times.until_ns, query.until_ns) if bound is not None]
    both = Times(max(since, default=None), min(until, default=None))
    return Asked(selections, both, query, text)


def _views(routes: Sequence[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(getattr(route, "view", "") for route in routes))


class Judge:
    """The engine's verdict on a query, for what SQL cannot judge."""

    def __init__(self, asked: Asked, now_ns: int) -> None:
        self._matchers = {
            source.name: matcher(parse(asked.text, now_ns, _views(source.routes)).predicate)
            for source in all_sources()
        }
        self._plainly = matcher(asked.query.predicate)

    def holds(self, event: Event) -> bool:
        """Whether a query matches an event; false where its pattern takes too long."""
        others = {
            name: view
            for name, view in event.views.items()
            if not (len(view) == 1 and view[0] is event.document)
        }
        document = {
            **event.document,
            ENVELOPE_STEP: {k: v for k, v in asdict(event.envelope).items() if v not in ("", ())},
            **({VIEWS_STEP: others} if others else {}),
        }
        try:
            return self._matchers.get(event.source, self._plainly)(document)
        except GaveUp:
            return False


def answer(lake: Lake, asked: Asked, now_ns: int, *, limit: int | None) -> Iterator[Event]:
    """Yield the events that a query matches, in the order of time."""
    judge = Judge(asked, now_ns)
    streams: list[Iterator[Event]] = []
    for source, selection in asked.selections.items():
        if selection.unsupported:
            selected = lake.select(source, selection, asked.times)
            streams.append(filter(judge.holds, selected))
        else:
            streams.append(lake.select(source, selection, asked.times, limit=limit))
        streams.append(filter(judge.holds, lake.unjudged(source, asked.times)))
    merged = heapq.merge(*streams, key=lambda event: event.time_ns)
    return islice(merged, limit)


def histogram(lake: Lake, asked: Asked, now_ns: int, width_ns: int) -> dict[int, int]:
    """Count what a query matches by time: start of a span of `width_ns` → events."""
    judge = Judge(asked, now_ns)
    found: Counter[int] = Counter()
    for source, selection in asked.selections.items():
        judged = lake.unjudged(source, asked.times)
        if selection.unsupported:
            judged = chain(judged, lake.select(source, selection, asked.times))
        else:
            found.update(lake.histogram(source, selection, asked.times, width_ns))
        for event in filter(judge.holds, judged):
            found[event.time_ns // width_ns * width_ns] += 1
    return dict(sorted(found.items()))
