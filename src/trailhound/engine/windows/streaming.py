"""Windows over a stream: feeds in any order, findings that may still change.

Each batch is put into the timelines of its groups, inner windows first. What a timeline then
says is compared with what went out: findings are new, amended or withdrawn.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from trailhound.engine.plan import Plan
from trailhound.engine.windows import timeline
from trailhound.engine.windows.clock import WindowTime
from trailhound.engine.windows.contract import AnyFold, Feed, Fired, Outcome
from trailhound.engine.windows.groups import Group
from trailhound.engine.windows.reporting import Kept, finding
from trailhound.engine.windows.running import onward_of
from trailhound.engine.windows.state import WindowState
from trailhound.engine.windows.timeline import AnyLine, Said, Told
from trailhound.engine.windows.wording import moment
from trailhound.model.findings import Finding, Status

_WAKE_AT_LEAST_NS = 60 * 1_000_000_000


class TooLate(NamedTuple):
    """A feed that its window could not take in any more; to be kept, and hunted for later."""

    feed: Feed
    bound: bool
    """Its group had too many feeds to wait for it; else it came after the allowed lateness."""


class Batch(NamedTuple):
    """What arrived together."""

    feeds: Iterable[Feed]
    seen: Mapping[str, Iterable[int]]
    """Source → event times of what arrived of it, whether a rule matched or not; the latest
    one is enough."""
    arrived_ns: int = 0
    """When it arrived, UTC nanoseconds; 0: that is not known."""


class _Op(NamedTuple):
    """Something to do to a timeline."""

    feed: Feed
    removes: bool = False
    inner: bool = False
    """Whether it comes from an inner window."""
    cause: str = ""
    """Why, where the feed is not simply one that arrived."""


_Work = dict[Group, list[_Op]]


def step(plan: Plan, state: WindowState, batch: Batch, kept: Kept) -> Iterator[Finding | TooLate]:
    """Take in a batch, in whatever order its feeds come; yield what findings there now are.

    Findings of one uid follow on each other by `revision`; the last one holds. What comes
    too late is handed back. Changes `state`.
    """
    assert state.lateness is not None  # noqa: S101 - without lateness, `running.step` is asked
    lateness = state.lateness
    work: _Work = {}
    for feed in batch.feeds:
        # What came together is not late among itself: time moves on after it.
        time = state.times.get(feed.window)
        if time is not None and feed.time_ns < time.horizon_ns:
            yield _too_late(state, feed, bound=False)
        else:
            work.setdefault((feed.window, feed.key), []).append(_Op(feed))
    for source, times_ns in batch.seen.items():
        state.clock.observe(source, times_ns, batch.arrived_ns, lateness)
    for window, sources in plan.window_sources.items():
        before = state.times.get(window, WindowTime())
        state.times[window] = state.clock.of(sources, lateness).not_before(before)
    # An outer window lets go of its past as far as time has come. What inner windows have to
    # say of that past, silence above all, is said first.
    for group in state.groups.due(_latest_ns(state)):
        if plan.ranks[group[0]]:
            work.setdefault(group, [])
        else:
            yield from _work_on(plan, state, group, work.pop(group, []), work, kept)
    yield from _work(plan, state, work, kept)


def finish(plan: Plan, state: WindowState, kept: Kept, now_ns: int = 0) -> Iterator[Finding]:
    """Say what holds once no more feeds will come: everything waiting is folded and closed.

    Args:
        plan: the plan.
        state: what the windows remember.
        kept: gives events.
        now_ns: the event time at which the input ended; 0: that of the last feed.
    """
    groups = list(state.groups.names())
    for group in groups:
        history = _line(state, group).history
        if history is not None and history.feeds:
            now_ns = max(now_ns, history.feeds.last(state.shelf).time_ns)
    for window, time in state.times.items():
        latest_ns = max(now_ns, time.now_ns)
        state.times[window] = WindowTime(time.horizon_ns, latest_ns, latest_ns)
    for item in _work(plan, state, {group: [] for group in groups}, kept):
        assert isinstance(item, Finding)  # noqa: S101 - nothing came, so nothing came late
        yield item
    for group in list(state.groups.names()):
        line = _line(state, group)
        closed = plan.folds[group[0]].finish(line.state)
        yield from _verdicts(plan, group, line, list(closed), "", kept)
        timeline.release(line, state.shelf)
        state.groups.drop(group)


def _work(plan: Plan, state: WindowState, work: _Work, kept: Kept) -> Iterator[Finding | TooLate]:
    while work:
        # Outer windows wait until all that feeds them is done.
        rank = min(plan.ranks[window] for window, _ in work)
        for group in [group for group in work if plan.ranks[group[0]] == rank]:
            yield from _work_on(plan, state, group, work.pop(group), work, kept)


def _work_on(
    plan: Plan, state: WindowState, group: Group, ops: list[_Op], work: _Work, kept: Kept
) -> Iterator[Finding | TooLate]:
    window = group[0]
    fold = plan.folds[window]
    time = state.times[window]
    line = state.groups.get(group)
    if line is None:
        line = timeline.begin(fold, late=True)
    history = line.history
    assert history is not None  # noqa: S101 - begun with `late`
    untold: list[Told] = []
    causes: list[str] = []
    for op in ops:
        at = timeline.place(op.feed)
        by_bound = history.floor is not None and at <= history.floor
        if by_bound or (history.base is not None and at <= history.base):
            if not op.removes:
                yield _too_late(state, op.feed, bound=by_bound)
            continue
        goes_back = history.folded
        lost = _apply(state, fold, line, op)
        if lost or history.folded < goes_back:
            causes.append(op.cause or f"an event of {moment(op.feed.time_ns)} arrived late")
        # What an earlier setting back untold counts from the first of them.
        untold = [*lost, *untold]
    told = timeline.advance(fold, line, time.latest_ns, time.now_ns, state.shelf)
    cause = causes[0] if causes else ""
    _send_onward(work, untold, told, cause)
    yield from _verdicts(plan, group, line, told, cause, kept)
    timeline.settle(fold, line, time.horizon_ns, state.shelf)
    timeline.hold_to_bound(line, state.shelf)
    if line.full:
        state.full[window] += line.full
        line.full = 0
    if state.shelf.made:
        state.spilled[window] += timeline.tidy(fold, line, state.shelf)
    if timeline.is_spent(fold, line):
        timeline.release(line, state.shelf)
        state.groups.drop(group)
        return
    line.wake_ns = _wake_ns(plan, state, group, line, time.now_ns)
    if line.wake_ns <= (latest_ns := _latest_ns(state)):  # others are further than this window
        line.wake_ns = latest_ns + _WAKE_AT_LEAST_NS
    state.groups.put(group, line)


def _apply(state: WindowState, fold: AnyFold, line: AnyLine, op: _Op) -> list[Told]:
    """Do one thing to a timeline; return what is no longer told."""
    history = line.history
    assert history is not None  # noqa: S101 - as above
    name = timeline.copy_name(op.feed)
    if op.removes:
        if name in history.copies:
            history.copies[name] -= 1
            if not history.copies[name]:
                del history.copies[name]
            return []
        return timeline.remove(fold, line, op.feed, state.shelf)
    lost = timeline.insert(fold, line, op.feed, state.shelf)
    if lost is None:
        if op.inner:
            history.copies[name] = history.copies.get(name, 0) + 1
        else:
            state.repeats += 1
        return []
    return lost


def _send_onward(work: _Work, untold: list[Told], told: list[Told], cause: str) -> None:
    """Tell outer windows what they are fed now, and what no longer."""
    gone = {timeline.place(item.feed): item for item in untold if isinstance(item, Fired)}
    come = {timeline.place(item.feed): item for item in told if isinstance(item, Fired)}
    # One that stays where it was may say something else.
    for place in [place for place, item in gone.items() if come.get(place) != item]:
        for feed in onward_of(gone[place]):
            work.setdefault((feed.window, feed.key), []).append(
                _Op(feed, removes=True, inner=True, cause=cause)
            )
    for place in [place for place, item in come.items() if gone.get(place) != item]:
        for feed in onward_of(come[place]):
            work.setdefault((feed.window, feed.key), []).append(_Op(feed, inner=True, cause=cause))


def _verdicts(
    plan: Plan, group: Group, line: AnyLine, told: Sequence[Told], cause: str, kept: Kept
) -> Iterator[Finding]:
    """Compare what holds now with what went out; `cause`: why the past changed, if it did."""
    history = line.history
    assert history is not None  # noqa: S101 - as above
    closed = [item for item in (history.told if cause else told) if isinstance(item, Outcome)]
    current = {outcome.identity: outcome for outcome in closed}
    going_on = {identity for identity in history.open if identity not in current}
    fired = any(isinstance(item, Fired) for item in told)
    if cause or (fired and not going_on):
        opened = {o.identity: o for o in timeline.opened(plan.folds[group[0]], line)}
        going_on = set(opened)
        # What is open is told once, as it begins, and again when it is over.
        current.update(
            (identity, outcome)
            for identity, outcome in opened.items()
            if identity not in history.said or history.said[identity].withdrawn
        )
    history.open = tuple(sorted(going_on))
    for identity, outcome in current.items():
        said = history.said.get(identity)
        if said is None:
            history.said[identity] = Said(outcome)
            yield finding(plan, group, outcome, kept)
        elif said.withdrawn or said.outcome != outcome:
            said.outcome, said.withdrawn = outcome, False
            said.revision += 1
            why = cause or "it went on"
            yield finding(plan, group, outcome, kept, Status.AMENDED, said.revision, why)
    if not cause:
        return
    for identity, said in history.said.items():
        if not said.withdrawn and identity not in current and identity not in going_on:
            said.withdrawn = True
            said.revision += 1
            yield finding(plan, group, said.outcome, kept, Status.WITHDRAWN, said.revision, cause)


def _wake_ns(plan: Plan, state: WindowState, group: Group, line: AnyLine, now_ns: int) -> int:
    history, lateness = line.history, state.lateness
    assert history is not None  # noqa: S101 - as above
    assert lateness is not None  # noqa: S101 - as in `step`
    longest_ns = max(map(lateness.of, plan.window_sources[group[0]]), default=0)
    look_ns = now_ns + max(longest_ns // 4, _WAKE_AT_LEAST_NS)
    ahead = history.feeds.between(history.folded, history.folded + 1, state.shelf)
    return min(plan.folds[group[0]].due(line.state), look_ns, *(f.time_ns for f in ahead))


def _latest_ns(state: WindowState) -> int:
    return max((time.now_ns for time in state.times.values()), default=0)


def _too_late(state: WindowState, feed: Feed, *, bound: bool) -> TooLate:
    state.late[feed.window] += 1
    return TooLate(feed, bound)


def _line(state: WindowState, group: Group) -> AnyLine:
    line = state.groups.get(group)
    assert line is not None  # noqa: S101 - it has just been named
    return line
