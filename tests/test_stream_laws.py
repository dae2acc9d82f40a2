"""One verdict, however the data arrives: windows over a stream against windows over a file."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_windows import BASES, COUNT, SECOND, TEMPORAL, event, event_of, feeds, findings, plan_of
from trailhound.dialects import sigma
from trailhound.dialects.contract import RuleFile
from trailhound.engine.plan import Plan, SourceShape, make_plan
from trailhound.engine.windows import paged, timeline
from trailhound.engine.windows.clock import Lateness
from trailhound.engine.windows.contract import Feed
from trailhound.engine.windows.groups import HeldGroups
from trailhound.engine.windows.running import finish as finish_run
from trailhound.engine.windows.running import step as sorted_step
from trailhound.engine.windows.saving import Names
from trailhound.engine.windows.state import WindowState
from trailhound.engine.windows.streaming import Batch, TooLate, finish, step
from trailhound.model.events import Event
from trailhound.model.findings import Finding, RuleInfo, Status
from trailhound.model.levels import Level
from trailhound.model.logsource import LogSource, Route
from trailhound.rules.book import RuleBook, link
from trailhound.rules.ir import (
    Aggregate,
    Cardinality,
    Change,
    Deduplicated,
    Field,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    Metric,
    NewTerm,
    Realert,
    Rule,
    Signal,
    Spike,
    Together,
    Window,
)
from trailhound.rules.ir import Sequence as Steps

Document = dict[str, Any]
CHAIN = "{type: temporal_ordered, rules: [w0, works], group-by: [u], timespan: 20s}"
VALUES = "{type: value_count, rules: [fails, other], timespan: 5s, condition: {field: v, gte: 3}}"
FEW = "{type: event_count, rules: [works], group-by: [u], timespan: 3s, condition: {lt: 2}}"
OVER_FEW = "{type: event_count, rules: [w3], timespan: 15s, condition: {gte: 2}}"
SILENCE = "{type: event_count, rules: [fails], group-by: [u], timespan: 4s, condition: {eq: 0}}"
THEN = "{type: temporal_ordered, rules: [w0, works], timespan: 6s}"
U, V, NUMBER = (Field(name, ((name,),)) for name in "uvn")
FAILS, WORKS, OTHER = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))


def plan_over(*windows: Window) -> Plan:
    """A plan of windows over the bases; `rules` of a window may name another by its number."""
    bases = sigma.DIALECT.read(RuleFile("w.yml", BASES.encode()), {}).rules
    rules = [
        Rule(
            info=RuleInfo(
                uid=str(number),
                title=f"window {number}",
                level=Level.HIGH,
                dialect="test",
                path="w",
                line=1,
            ),
            window=window,
        )
        for number, window in enumerate(windows)
    ]
    ruleset = link([RuleBook("w", (*bases, *rules), (), ())])
    assert ruleset.errors == ()
    return make_plan(ruleset.rules, [SourceShape("s", (Route(LogSource("test"), "v"),))])


def seconds(number: int) -> int:
    return number * SECOND


def alerting(realert: int = 0, *rules: str) -> dict[str, Any]:
    held = Realert(seconds(realert))
    return {"rules": rules or (FAILS,), "every_ns": seconds(3), "realert": held, "group_by": (U,)}


ELASTALERT = plan_over(
    Matches(**alerting(6)),
    Frequency(**alerting(), count=2, timespan_ns=seconds(5)),
    Change(**alerting(4), fields=(V,)),
    NewTerm(rules=(FAILS, OTHER), terms=((V,), (NUMBER, U)), baseline_ns=seconds(9)),
    Matches(**alerting(5, "3")),
    Gathered(rules=("4",), group_by=(NUMBER,), within_ns=seconds(8)),
    Cardinality(**alerting(), field=V, timespan_ns=seconds(6), at_most=1),
)
AT_RUNS = plan_over(
    Flatline(**alerting(), threshold=2, timespan_ns=seconds(5)),
    Gathered(rules=("0",), within_ns=seconds(12)),
    Spike(**alerting(7), timespan_ns=seconds(6), height=2, direction="both"),
    Aggregate(
        **alerting(), metric=Metric(kind="sum", field=V, span_ns=seconds(5)), at_most=2, at_least=1
    ),
    Gathered(rules=("3",), group_by=(NUMBER,), within_ns=seconds(6)),
    Cardinality(**alerting(), field=V, timespan_ns=seconds(6), at_least=2),
)
PANTHER = plan_over(
    Deduplicated(rules=(FAILS,), period_ns=seconds(8), threshold=2, group_by=(U,)),
    Deduplicated(rules=(OTHER,), period_ns=seconds(5)),
    Steps(
        rules=("0", WORKS),
        signals=(Signal(name="a", rules=(0,)), Signal(name="b", rules=(1,), within_ns=seconds(6))),
        timespan_ns=seconds(15),
        group_by=(U,),
    ),
    Together(
        rules=(WORKS, "1"),
        signals=(Signal(name="a", rules=(0,), at_least=2), Signal(name="b", rules=(1,), at_most=0)),
        timespan_ns=seconds(9),
    ),
)
PLANS = {
    "elastalert": ELASTALERT,
    "at runs": AT_RUNS,
    "panther": PANTHER,
    "counts": plan_of(COUNT, VALUES),
    "temporal": plan_of(TEMPORAL.format(kind="temporal"), TEMPORAL.format(kind="temporal_ordered")),
    "silence": plan_of(SILENCE, THEN),
    "chains": plan_of(COUNT, CHAIN, VALUES, FEW, OVER_FEW),
}

documents = st.lists(
    st.builds(
        event,
        st.integers(100, 140),
        st.sampled_from(("fail", "fail", "ok", "other")),
        u=st.sampled_from("ab"),
        v=st.integers(0, 3),
        n=st.integers(0, 2),
    ),
    max_size=25,
)
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())


@pytest.fixture(autouse=True, scope="module", params=["much", "little"])
def memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Much: all of a group stays in memory; little: next to nothing of it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "_MARK_EVERY", 3)
        if request.param == "little":
            patch.setattr(paged, "HELD_ENTRIES", 4)
            patch.setattr(paged, "PAGE_ENTRIES", 3)
            patch.setattr(paged, "PAGES_HELD", 2)
            patch.setattr(timeline, "REQUESTS_HELD", 2)
            patch.setattr(timeline, "_INLINE_BYTES", 300)
        yield


class Streamed:
    """A stream, and what became of its findings."""

    def __init__(self, plan: Plan, lateness_s: int, documents: Sequence[Document]) -> None:
        self.plan = plan
        self.documents = documents
        self.state = WindowState(lateness=Lateness(default_ns=lateness_s * SECOND))
        self.last: dict[str, Finding] = {}
        self.told: list[Finding] = []
        self.late: list[TooLate] = []

    def kept(self, at: int) -> Event:
        return event_of(self.documents[at], at + 1)

    def take(self, items: Iterable[Finding | TooLate]) -> None:
        for item in items:
            if isinstance(item, TooLate):
                self.late.append(item)
                continue
            self.told.append(item)
            before = self.last.get(item.uid)
            assert item.revision == (before.revision + 1 if before else 0)
            assert (item.status is Status.NEW) == (before is None)
            assert bool(item.change) == (before is not None)
            self.last[item.uid] = item

    def step(self, fed: Sequence[Feed], arrived_ns: int = 0) -> None:
        batch = Batch(fed, {"s": [feed.time_ns for feed in fed]}, arrived_ns)
        self.take(step(self.plan, self.state, batch, self.kept))

    def restart(self) -> None:
        """Write everything down, and read it again."""
        names, before = Names(self.plan), self.state
        rows = {}
        for group in before.groups.names():
            line = before.groups.get(group)
            assert line is not None
            rows[names.group_name(group)] = names.save_group(line)
        groups = HeldGroups()
        for name, data in rows.items():
            group_read = names.group(name)
            assert group_read is not None
            groups.put(group_read, names.load_group(group_read, data))
        self.state = names.load_rest(names.save_rest(before), groups, before.shelf, before.lateness)

    def finish(self) -> None:
        self.take(finish(self.plan, self.state, self.kept))

    def holds(self) -> set[tuple[Any, ...]]:
        return {brief(f) for f in self.last.values() if f.status is not Status.WITHDRAWN}


def expected(plan: Plan, documents: Sequence[Document], fed: Iterable[Feed]) -> set[Any]:
    """What a scan says of these feeds."""

    def kept(at: int) -> Event:
        return event_of(documents[at], at + 1)

    state = WindowState()
    found = list(sorted_step(plan, state, sorted(fed, key=lambda feed: feed[:2]), kept))
    return {brief(f) for f in (*found, *finish_run(plan, state, kept))}


def brief(f: Finding) -> tuple[Any, ...]:
    events = tuple(e.uid for e in f.events)
    return f.rule.title, f.uid, f.start_ns, f.time_ns, f.event_count, f.group, f.reason, events


def of_requests(plan: Plan, documents: Sequence[Document]) -> list[Feed]:
    """The feeds of documents, each of the request that its `v` names."""
    return [
        feed._replace(request=f"request {documents[feed.at]['v']}")
        for feed in feeds(plan, documents)
    ]


def batches(feeds: Sequence[Feed], cuts: Iterable[int]) -> list[Sequence[Feed]]:
    edges = sorted({0, len(feeds), *(cut for cut in cuts if cut < len(feeds))})
    return [feeds[start:end] for start, end in itertools.pairwise(edges)]


@every_plan
@given(documents=documents, data=st.data())
def test_any_order_any_batches_any_duplication_any_restarts(
    plan: Plan, documents: list[Document], data: st.DataObject
) -> None:
    fed = feeds(plan, documents)
    again = data.draw(st.lists(st.sampled_from(fed), max_size=5)) if fed else []
    arrival = data.draw(st.permutations([*fed, *again]))
    cuts = data.draw(st.lists(st.integers(1, 30), max_size=8))
    stream = Streamed(plan, 3600, documents)
    for batch in batches(arrival, cuts):
        stream.step(batch)
        stream.restart()
    stream.finish()
    assert stream.late == []
    assert stream.holds() == {brief(f) for f in findings(plan, documents)}


@every_plan
@given(
    documents=documents,
    delays=st.lists(st.integers(0, 12), min_size=25, max_size=25),
    lateness_s=st.integers(0, 12),
    cuts=st.lists(st.integers(1, 30), max_size=12),
    restarts=st.booleans(),
)
def test_what_comes_too_late_is_handed_back_and_all_else_counts(
    plan: Plan,
    documents: list[Document],
    delays: list[int],
    lateness_s: int,
    cuts: list[int],
    restarts: bool,
) -> None:
    fed = feeds(plan, documents)
    fed.sort(key=lambda feed: (feed.time_ns + delays[feed.at] * SECOND, feed.at))
    stream = Streamed(plan, lateness_s, documents)
    for batch in batches(fed, cuts):
        stream.step(batch)
        if restarts:
            stream.restart()
    stream.finish()
    # Of a record that came twice, one may have come in time and the other too late.
    late = {(item.feed[2:5], item.feed.at) for item in stream.late}
    if lateness_s >= max(delays[: len(documents)], default=0):
        assert late == set()
    assert sum(stream.state.late.values()) == len(stream.late)
    taken = [feed for feed in fed if (feed[2:5], feed.at) not in late]
    assert stream.holds() == expected(plan, documents, taken)


@every_plan
@given(documents=documents, data=st.data())
def test_requests_count_once_however_their_events_arrive(
    plan: Plan, documents: list[Document], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "REQUEST_SPAN_NS", 7 * SECOND)
        fed = of_requests(plan, documents)
        stream = Streamed(plan, 3600, documents)
        for batch in batches(data.draw(st.permutations(fed)), range(1, len(fed), 4)):
            stream.step(batch)
            stream.restart()
        stream.finish()
        assert stream.holds() == expected(plan, documents, fed)
        with pytest.MonkeyPatch.context() as memory:
            memory.setattr(timeline, "REQUESTS_HELD", 1000)
            assert stream.holds() == expected(plan, documents, fed)


INNER = {
    # Silence of a, at 119 s, is of the same request as that of b, at 112 s. It is known when time
    # jumps to 120 s, which also wakes the outer window.
    "silence is known in a jump": (
        "silence",
        [
            event(100, "fail", u="a", v=0, n=0),
            event(108, "fail", u="b", v=3, n=0),
            event(115, "fail", u="a", v=3, n=0),
            event(120, "ok", u="a", v=3, n=0),
        ],
        {"window 0"},
    ),
    # Silence of b, at 111 s, is of the same request as that of a, at 105 s. The outer window is
    # woken between, for nothing, when time has jumped to 113 s.
    "an outer window is woken for nothing": (
        "silence",
        [
            event(100, "fail", u="a", v=0, n=0),
            event(100, "fail", u="b", v=0, n=0),
            event(101, "fail", u="a", v=1, n=0),
            event(107, "ok", u="a", v=0, n=0),
            event(107, "fail", u="b", v=1, n=0),
            event(113, "fail", u="a", v=0, n=0),
        ],
        {"window 0", "window 1"},
    ),
    # Too little of a and of b is told for the same moment; between them a group is woken of which
    # nothing will ever be over.
    "two are told at one moment": (
        "at runs",
        [
            event(100, "fail", u="a", v=0, n=0),
            event(100, "fail", u="a", v=1, n=0),
            event(100, "fail", u="b", v=0, n=0),
            event(106, "fail", u="a", v=2, n=0),
            event(109, "fail", u="a", v=0, n=0),
        ],
        {f"window {number}" for number in (0, 1, 3, 4, 5)},
    ),
}


@pytest.mark.parametrize("story", INNER)
def test_inner_windows_tell_in_order_whatever_else_is_woken(story: str) -> None:
    name, documents, titles = INNER[story]
    plan = PLANS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "REQUEST_SPAN_NS", 7 * SECOND)
        fed = of_requests(plan, documents)
        wanted = expected(plan, documents, fed)
        assert {title for title, *_ in wanted} == titles
        for order in (fed, fed[::-1], fed[::2] + fed[1::2]):
            stream = Streamed(plan, 3600, documents)
            stream.step(order)
            stream.finish()
            assert stream.holds() == wanted


def test_alerts_of_one_time_reach_an_outer_window_together() -> None:
    # At 117 s two groups say that events are missing. Between them another is asked, too early.
    documents = [
        event(109, "fail", u="a", v=0, n=0),
        event(109, "fail", u="b", v=0, n=0),
        event(115, "fail", u="b", v=0, n=1),
        event(118, "fail", u="a", v=0, n=0),
    ]
    fed = feeds(AT_RUNS, documents)
    stream = Streamed(AT_RUNS, 3600, documents)
    stream.step(fed)
    stream.finish()
    assert stream.holds() == expected(AT_RUNS, documents, fed)
    (gathered,) = (f for f in stream.told if f.rule.title == "window 1")
    assert gathered.event_count == 2


def test_an_outer_window_waits_for_the_silence_of_inner_ones() -> None:
    # Silence of b, at 118 s, is known when time jumps to 140 s, in the batch that also brings
    # the outer window an event of 119 s, and lets it go of all before 137 s.
    plan = PLANS["silence"]
    documents = [event(114, "fail", u="b"), event(119, "ok", u="b"), event(140, "fail", u="a")]
    fed = feeds(plan, documents)
    stream = Streamed(plan, 3, documents)
    stream.step(fed[:1])
    stream.step(fed[1:])
    stream.finish()
    assert stream.late == []
    assert stream.holds() == expected(plan, documents, fed)
    assert len({title for title, *_ in stream.holds()}) == 2


def test_a_late_event_amends_what_it_changes_and_says_why() -> None:
    burst = [event(t, "fail", u="a") for t in (100, 101, 102, 103)]
    late = [event(104, "fail", u="a"), event(200, "ok", u="a")]
    documents = [*burst, event(150, "ok", u="a"), *late]
    plan = PLANS["counts"]
    stream = Streamed(plan, 3600, documents)
    fed = feeds(plan, documents)
    stream.step([feed for feed in fed if feed.at < 4])
    assert [(f.status, f.event_count) for f in stream.told] == [(Status.NEW, 4)]
    stream.step([feed for feed in fed if feed.at == 5])
    stream.finish()
    *_, last = stream.told
    assert (last.status, last.revision, last.event_count) == (Status.AMENDED, 1, 5)


def test_a_late_event_withdraws_what_it_disproves() -> None:
    window = "{type: temporal, timespan: 10s, condition: 'fails and not works'}"
    plan = plan_of(window)
    documents = [event(105, "fail"), event(104, "ok")]
    stream = Streamed(plan, 3600, documents)
    for feed in feeds(plan, documents)[::-1]:
        stream.step([feed])
    assert [f.status for f in stream.told] == [Status.NEW, Status.WITHDRAWN]
    assert stream.told[1].change == "an event of 1970-01-01 00:01:44 UTC arrived late"
    assert stream.told[1].uid == stream.told[0].uid
    stream.finish()
    assert stream.holds() == set()


def test_a_stamp_of_the_future_ends_no_window() -> None:
    plan = PLANS["counts"]
    documents = [
        event(100, "fail", u="a"),
        event(4_000_000_000, "fail", u="a"),
        event(101, "fail", u="a"),
        event(102, "fail", u="a"),
    ]
    stream = Streamed(plan, 60, documents)
    for feed in sorted(feeds(plan, documents), key=lambda feed: feed.at):
        stream.step([feed], arrived_ns=103 * SECOND)
    assert stream.late == []
    assert [(f.status, f.event_count) for f in stream.told] == [(Status.NEW, 3)]
    stream.finish()
    assert stream.holds() == {brief(f) for f in findings(plan, documents)}


def test_a_group_with_too_many_feeds_lets_the_oldest_be_final_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeline, "FEEDS_RETAINED", 20)
    plan = plan_of(COUNT)
    documents = [event(t, "fail", u="a") for t in range(100, 200)] + [
        event(101, "fail", u="a", n=1)
    ]
    stream = Streamed(plan, 3600, documents)
    for feed in sorted(feeds(plan, documents), key=lambda feed: feed.at):
        stream.step([feed])
    assert sum(stream.state.full.values()) > 0
    assert [(item.feed.at, item.bound) for item in stream.late] == [(100, True)]
    stream.finish()
    assert stream.holds() == {brief(f) for f in findings(plan, documents[:100])}


def test_quiet_groups_are_forgotten() -> None:
    plan = plan_of(COUNT)
    documents = [event(100 * t, "fail", u=str(t)) for t in range(1, 400)]
    stream = Streamed(plan, 60, documents)
    for feed in feeds(plan, documents):
        stream.step([feed])
    assert len(list(stream.state.groups.names())) < 10
