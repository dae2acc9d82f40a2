"""Feeds to findings: the groups of every window, each with the fold of its kind."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from trailhound.engine.plan import Plan
from trailhound.engine.windows import timeline
from trailhound.engine.windows.contract import NEVER, AnyFold, Feed, Fired, Outcome
from trailhound.engine.windows.groups import Group
from trailhound.engine.windows.reporting import Kept, finding
from trailhound.engine.windows.state import WindowState
from trailhound.engine.windows.timeline import AnyLine, Told
from trailhound.model.findings import Finding

__all__ = ["WindowState", "finish", "step"]

_TIME, _UID = itemgetter(0), itemgetter(1)


def step(plan: Plan, state: WindowState, feeds: Iterable[Feed], kept: Kept) -> Iterator[Finding]:
    """Take in feeds that are sorted by time; yield the findings of windows that ended.

    The feeds of a call, and of successive calls, must not go back in time; those of one time
    come in one call. Changes `state`. What comes in any order is for `streaming.step`.
    """
    for time_ns, same in groupby(feeds, _TIME):
        silences: list[Feed] = []
        yield from _wake(plan, state, time_ns, kept, silences)
        yield from _take_all(plan, state, [*silences, *same], kept)


def finish(plan: Plan, state: WindowState, kept: Kept, now_ns: int = 0) -> Iterator[Finding]:
    """Yield the findings of windows that are still open; the input has ended.

    Args:
        plan: the plan.
        state: what the windows remember.
        kept: gives events.
        now_ns: the event time at which the input ended; 0: that of the last feed.
    """
    silences: list[Feed] = []
    yield from _wake(plan, state, max(now_ns, state.now_ns), kept, silences)
    yield from _take_all(plan, state, silences, kept)
    for group in state.groups.names():
        line = state.groups.get(group)
        assert line is not None  # noqa: S101 - it has just been named
        for outcome in plan.folds[group[0]].finish(line.state):
            yield finding(plan, group, outcome, kept)
        timeline.release(line, state.shelf)
        state.groups.drop(group)


def _wake(
    plan: Plan, state: WindowState, now_ns: int, kept: Kept, onward: list[Feed]
) -> Iterator[Finding]:
    """Ask groups what is over. What outer windows are fed at `now_ns` itself is put in `onward`."""
    # Groups are made by whoever writes the log (one per user name tried); old ones must go.
    state.now_ns = now_ns
    at_ns = now_ns
    for group in state.groups.due(now_ns):
        line = state.groups.get(group)
        assert line is not None  # noqa: S101 - as above
        fold = plan.folds[group[0]]
        due_ns = fold.due(line.state)
        if line.wake_ns < due_ns <= now_ns:  # others may come before it
            line.wake_ns = due_ns
            state.groups.put(group, line)
            continue
        # One that was woken too early, or to forget requests, is asked of no later time.
        asked_ns = due_ns if due_ns <= now_ns else line.wake_ns
        if onward and asked_ns > at_ns:
            state.groups.put(group, line)
            yield from _take_all(plan, state, onward, kept)
            onward.clear()
            continue
        at_ns = asked_ns
        told = timeline.ask(fold, line, at_ns, state.shelf)
        # What inner windows still say of the time until now is no older than this.
        timeline.forget_requests(line, at_ns)
        if state.shelf.made:
            state.spilled[group[0]] += timeline.tidy(fold, line, state.shelf)
        if timeline.is_spent(fold, line):
            timeline.release(line, state.shelf)
            state.groups.drop(group)
        else:
            line.wake_ns = _wake_ns(fold, line)
            state.groups.put(group, line)
        for item in told:
            if isinstance(item, Outcome):
                yield finding(plan, group, item, kept)
            else:
                onward.extend(onward_of(item))
    if onward and at_ns < now_ns:
        yield from _take_all(plan, state, onward, kept)
        onward.clear()


def _take_all(plan: Plan, state: WindowState, feeds: list[Feed], kept: Kept) -> Iterator[Finding]:
    """Take feeds of the same time, in the order of their events."""
    uid = feeds[0].uid if feeds else ""
    if all([feed.uid == uid for feed in feeds]):  # noqa: C419 - mostly one or two
        yield from _take(plan, state, feeds, kept)
        return
    for _, same in groupby(sorted(feeds, key=_UID), _UID):
        yield from _take(plan, state, list(same), kept)


def _take(plan: Plan, state: WindowState, feeds: list[Feed], kept: Kept) -> Iterator[Finding]:
    """Take the feeds of one event. Inner windows come first: they feed outer ones."""
    queue = [(plan.ranks[feed.window], feed.rule, n, feed) for n, feed in enumerate(feeds)]
    heapq.heapify(queue)
    taken: set[tuple[int, Group]] = set()
    turn = len(queue)
    while queue:
        _, rule, _, feed = heapq.heappop(queue)
        group = feed.window, feed.key
        if taken and (rule, group) in taken:
            state.repeats += 1
            continue
        if queue:
            taken.add((rule, group))
        for item in _told(plan, state, group, feed):
            if isinstance(item, Outcome):
                yield finding(plan, group, item, kept)
                continue
            for onward in onward_of(item):
                turn += 1
                heapq.heappush(queue, (plan.ranks[onward.window], onward.rule, turn, onward))
                taken.add((rule, group))


def _told(plan: Plan, state: WindowState, group: Group, feed: Feed) -> list[Told]:
    fold = plan.folds[feed.window]
    groups = state.groups
    line = groups.get(group)
    if line is None:
        line = timeline.begin(fold, late=False)
        line.wake_ns = NEVER
    told = timeline.take(fold, line, feed, state.shelf)
    if state.shelf.made:
        state.spilled[feed.window] += timeline.tidy(fold, line, state.shelf)
    due_ns = _wake_ns(fold, line)
    if due_ns == NEVER and timeline.is_spent(fold, line):
        timeline.release(line, state.shelf)  # nobody would ask it again
        groups.drop(group)
        return told
    line.wake_ns = min(line.wake_ns, due_ns)
    groups.put(group, line)
    return told


def onward_of(fired: Fired) -> list[Feed]:
    """Return what the windows over a window are fed."""
    by = fired.feed
    if not by.onward:
        return []
    feeds = [
        onward._replace(time_ns=by.time_ns, uid=by.uid, request=by.request, at=by.at)
        for onward in by.onward
    ]
    if fired.reason:
        return [feed._replace(values=((fired.reason,),)) for feed in feeds]
    return feeds


def _wake_ns(fold: AnyFold, line: AnyLine) -> int:
    due_ns = fold.due(line.state)
    if due_ns == NEVER and line.requests is not None:
        return line.requests.last_ns + timeline.REQUEST_SPAN_NS + 1
    return due_ns
