"""Feeds to findings: the groups of every window, each with the fold of its kind."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from trailhound.engine.plan import Plan
from trailhound.engine.windows.contract import Feed, Fired, Key, Outcome
from trailhound.model.events import Event
from trailhound.model.findings import Finding, finding_uid

Kept = Callable[[int], Event]
"""From `Feed.at` to the event that is kept there."""

_Group = tuple[int, Key]


@dataclass(slots=True)
class WindowState:
    """What the windows remember; plain data, so it can be pickled and split by key."""

    groups: dict[_Group, Struct] = field(default_factory=dict)
    """(window rule index, group) → the state of its fold."""
    dues: list[tuple[int, int, _Group]] = field(default_factory=list)
    """A heap with one entry for each group: (event time not after `Fold.due`, turn, group)."""
    turn: int = 0
    now_ns: int = 0
    """Event time of the last feed."""


def step(plan: Plan, state: WindowState, batch: Iterable[Feed], kept: Kept) -> Iterator[Finding]:
    """Take feeds in, in event time; yield the findings of windows that are over.

    The feeds of a batch, and of successive batches, must not go back in time: the caller
    sorts. Changes `state`.
    """
    for feed in batch:
        yield from _until(plan, state, feed.time_ns, kept)
        yield from _take(plan, state, feed, kept)


def finish(plan: Plan, state: WindowState, kept: Kept, now_ns: int = 0) -> Iterator[Finding]:
    """Yield the findings of windows that are still open; the input has ended.

    Args:
        plan: the plan.
        state: what the windows remember.
        kept: gives events.
        now_ns: the event time at which the input ended; 0: that of the last feed.
    """
    yield from _until(plan, state, max(now_ns, state.now_ns), kept)
    for (window, key), group in state.groups.items():
        for outcome in plan.folds[window].finish(group):
            yield _finding(plan, window, key, outcome, kept)
    state.groups, state.dues = {}, []


def _until(plan: Plan, state: WindowState, now_ns: int, kept: Kept) -> Iterator[Finding]:
    # Groups are made by whoever writes the log (one per user name tried); old ones must go.
    state.now_ns = now_ns
    dues = state.dues
    while dues and dues[0][0] <= now_ns:
        _, turn, name = heapq.heappop(dues)
        group = state.groups[name]
        fold = plan.folds[name[0]]
        if (due_ns := fold.due(group)) <= now_ns:
            yield from _told(plan, state, name, fold.until(group, now_ns), kept)
            if group == fold.fresh():
                del state.groups[name]
                continue
            due_ns = fold.due(group)
        heapq.heappush(dues, (due_ns, turn, name))


def _take(plan: Plan, state: WindowState, feed: Feed, kept: Kept) -> Iterator[Finding]:
    name = feed.window, feed.key
    fold = plan.folds[feed.window]
    group = state.groups.get(name)
    if group is None:
        group = state.groups[name] = fold.fresh()
        yield from _told(plan, state, name, fold.take(group, feed), kept)
        state.turn += 1
        heapq.heappush(state.dues, (fold.due(group), state.turn, name))
    else:
        yield from _told(plan, state, name, fold.take(group, feed), kept)


def _told(
    plan: Plan, state: WindowState, name: _Group, told: Iterable[Outcome | Fired], kept: Kept
) -> Iterator[Finding]:
    for item in told:
        if isinstance(item, Outcome):
            yield _finding(plan, *name, item, kept)
            continue
        by = item.feed
        for onward in by.onward:
            yield from _take(
                plan,
                state,
                onward._replace(time_ns=by.time_ns, uid=by.uid, request=by.request, at=by.at),
                kept,
            )


def _finding(plan: Plan, window: int, key: Key, outcome: Outcome, kept: Kept) -> Finding:
    rule = plan.rules[window]
    assert rule.window is not None  # noqa: S101 - outcomes are those of windows
    group = tuple(
        (field.name, value if value is not None else "")
        for field, value in zip(rule.window.group_by, key, strict=False)
    )
    return Finding(
        uid=finding_uid(rule.info.uid, (repr(key), outcome.identity)),
        rule=rule.info,
        time_ns=outcome.end_ns,
        start_ns=outcome.start_ns,
        events=tuple(kept(at) for at in outcome.evidence),
        event_count=outcome.count,
        group=group,
        reason=outcome.reason,
    )
