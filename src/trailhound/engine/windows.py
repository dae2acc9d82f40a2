"""Windows: rules over several events, on event time.

Each window rule keeps, per group, the hits of the last `timespan`. After every hit its
condition is asked of the trailing window [t - timespan, t]. Windows that follow on each other
and all fulfil the condition are one *episode* and give one finding, so that a thousand failed
logins are one line and not a thousand.
"""

import bisect
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, NamedTuple

from trailhound.engine.plan import Plan
from trailhound.engine.tests import number_of
from trailhound.engine.values import getter, text_of
from trailhound.model.events import Event
from trailhound.model.findings import EVENTS_KEPT, Finding, finding_uid
from trailhound.rules.ir import And, Condition, Exists, Field, Not, Or, Predicate, Window

GROUPS_PER_EVENT = 16
"""An event with lists in its group fields counts in at most so many groups."""

_SWEEP_EVERY = 50_000
_EVENTS_HELD = 200
"""Events that a group keeps before its condition holds; later ones are only counted."""

Key = tuple[str | None, ...]


class Feed(NamedTuple):
    """A hit on its way into one window."""

    time_ns: int
    window: int
    """Index of the window rule in the plan."""
    rule: int
    """Index of the rule that matched."""
    keys: tuple[Key, ...]
    """Groups it belongs to."""
    values: tuple[str, ...]
    """What a value window counts."""
    event: Event


class _Held(NamedTuple):
    """What a group remembers of a feed."""

    time_ns: int
    rule: int
    values: tuple[str, ...]
    event: Event | None
    """None where it would not become evidence: a million failed logins need not be kept."""


@dataclass(slots=True)
class _Episode:
    start_ns: int
    first_uid: str
    head: list[Event] = field(default_factory=list)
    tail: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT // 2))
    count: int = 0
    end_ns: int = 0
    result: float = 0
    rules: Counter[int] = field(default_factory=Counter)

    def add(self, held: Feed | _Held) -> None:
        self.count += 1
        self.end_ns = held.time_ns
        self.rules[held.rule] += 1
        if held.event is None:
            return
        if len(self.head) < EVENTS_KEPT // 2:
            self.head.append(held.event)
        else:
            self.tail.append(held.event)


@dataclass(slots=True)
class _Group:
    feeds: deque[_Held] = field(default_factory=deque)
    rules: Counter[int] = field(default_factory=Counter)
    distinct: Counter[str] = field(default_factory=Counter)
    numbers: list[float] = field(default_factory=list)
    episode: _Episode | None = None


@dataclass(slots=True)
class WindowState:
    """What the windows remember; plain data, so it can be pickled and split by key."""

    groups: dict[tuple[int, Key], _Group] = field(default_factory=dict)
    """(window rule index, group) → its hits of the last timespan."""
    taken: int = 0


def feeds_of(plan: Plan, rule: int, event: Event, document: Mapping[str, Any]) -> list[Feed]:
    """Return what a hit of a rule feeds into the windows that refer to it."""
    return [
        _feed(plan, index, rule, event.envelope.time_ns, event, document)
        for index in plan.feeds.get(rule, ())
    ]


def step(plan: Plan, state: WindowState, batch: Iterable[Feed]) -> Iterator[Finding]:
    """Take feeds in, in event time; yield the findings of episodes that have ended.

    The feeds of a batch, and of successive batches, must not go back in time: the caller
    sorts. Changes `state`.
    """
    for feed in batch:
        yield from _take(plan, state, feed)
        state.taken += 1
        if state.taken % _SWEEP_EVERY == 0:
            yield from _sweep(plan, state, feed.time_ns)


def finish(plan: Plan, state: WindowState) -> Iterator[Finding]:
    """Yield the findings of episodes that are still open; the input has ended."""
    for (index, key), group in state.groups.items():
        if group.episode is not None:
            yield _finding(plan, index, key, group.episode)
            group.episode = None


def _sweep(plan: Plan, state: WindowState, now_ns: int) -> Iterator[Finding]:
    # Groups are made by whoever writes the log (one per user name tried); old ones must go.
    for (index, key), group in list(state.groups.items()):
        window = plan.rules[index].window
        assert window is not None  # noqa: S101 - as below
        if group.feeds and group.feeds[-1].time_ns < now_ns - window.timespan_ns:
            if group.episode is not None:
                yield _finding(plan, index, key, group.episode)
            del state.groups[index, key]


def _feed(
    plan: Plan, index: int, rule: int, time_ns: int, event: Event, document: Mapping[str, Any]
) -> Feed:
    window = plan.rules[index].window
    assert window is not None  # noqa: S101 - `feeds` leads to windows only
    uid = plan.rules[rule].info.uid
    aliases = {
        alias.name: read for alias in window.aliases for fed, read in alias.fields if fed == uid
    }
    per_field = []
    for group_field in window.group_by:
        read = getter(aliases.get(group_field.name, group_field))
        texts = dict.fromkeys(text_of(value) for value in read(document))
        per_field.append(tuple(texts) or (None,))
    keys = tuple(islice(product(*per_field), GROUPS_PER_EVENT))
    values: tuple[str, ...] = ()
    if window.field is not None:
        read = getter(aliases.get(window.field.name, window.field))
        values = tuple(t for value in read(document) if (t := text_of(value)) is not None)
    return Feed(time_ns, index, rule, keys, values, event)


def _take(plan: Plan, state: WindowState, feed: Feed) -> Iterator[Finding]:
    rule = plan.rules[feed.window]
    window = rule.window
    assert window is not None  # noqa: S101 - as above
    for key in feed.keys:
        group = state.groups.get((feed.window, key))
        if group is None:
            group = state.groups[feed.window, key] = _Group()
        _expire(window, group, feed.time_ns)
        _enter(window, group, feed)
        result = _result(plan, window, group)
        if result is None:
            if group.episode is not None:
                yield _finding(plan, feed.window, key, group.episode)
                group.episode = None
            continue
        episode = group.episode
        if episode is not None and feed.time_ns - episode.end_ns > window.timespan_ns:
            yield _finding(plan, feed.window, key, episode)
            episode = None
        if episode is None:
            first = group.feeds[0]
            evidence = first.event or feed.event
            episode = group.episode = _Episode(first.time_ns, evidence.uid)
            for earlier in group.feeds:
                episode.add(earlier)
        else:
            episode.add(feed)
        episode.result = max(episode.result, result)
        # A window may itself feed windows, at the moment that completes it.
        for outer in plan.feeds.get(feed.window, ()):
            document = _group_document(window, key, feed.event)
            inner = _feed(plan, outer, feed.window, feed.time_ns, feed.event, document)
            yield from _take(plan, state, inner)


def _group_document(window: Window, key: Key, event: Event) -> Mapping[str, Any]:
    # The outer window groups by fields of the event that completed the inner one; what the
    # inner one calls by an alias is readable by that alias.
    document = next((d for view in event.views.values() for d in view), event.document)
    aliased = {alias.name for alias in window.aliases}
    named = {
        group_field.name: value
        for group_field, value in zip(window.group_by, key, strict=True)
        if group_field.name in aliased
    }
    return {**document, **named} if named else document


def _expire(window: Window, group: _Group, now_ns: int) -> None:
    feeds = group.feeds
    while feeds and feeds[0].time_ns < now_ns - window.timespan_ns:
        old = feeds.popleft()
        group.rules[old.rule] -= 1
        if not group.rules[old.rule]:
            del group.rules[old.rule]
        if window.kind == "value_count":
            for value in old.values:
                group.distinct[value] -= 1
                if not group.distinct[value]:
                    del group.distinct[value]
        elif window.field is not None:
            for number in _numbers(old):
                del group.numbers[bisect.bisect_left(group.numbers, number)]


def _enter(window: Window, group: _Group, feed: Feed) -> None:
    wanted = group.episode is None and len(group.feeds) < _EVENTS_HELD
    event = feed.event if wanted else None
    group.feeds.append(_Held(feed.time_ns, feed.rule, feed.values, event))
    group.rules[feed.rule] += 1
    if window.kind == "value_count":
        group.distinct.update(feed.values)
    elif window.field is not None:
        for number in _numbers(feed):
            bisect.insort(group.numbers, number)


def _numbers(feed: Feed | _Held) -> list[float]:
    numbers = (number_of(value) for value in feed.values)
    return [float(number) for number in numbers if number is not None and number == number]  # noqa: PLR0124 - drops NaN


def _result(plan: Plan, window: Window, group: _Group) -> float | None:
    """Return the number the condition was asked of, or None where it does not hold."""
    kind = window.kind
    if kind in ("temporal", "temporal_ordered"):
        return _temporal(plan, window, group)
    if kind == "event_count":
        number: float = len(group.feeds)
    elif kind == "value_count":
        number = len(group.distinct)
    elif not group.numbers:
        return None
    elif kind == "value_sum":
        number = sum(group.numbers)
    elif kind == "value_avg":
        number = sum(group.numbers) / len(group.numbers)
    else:
        number = _percentile(
            group.numbers, 50 if kind == "value_median" else window.percentile or 0
        )
    return number if all(_holds(bound, number) for bound in window.conditions) else None


def _temporal(plan: Plan, window: Window, group: _Group) -> float | None:
    present = {plan.rules[index].info.uid for index in group.rules}
    if window.expression is not None:
        if not _expression(window.expression, present):
            return None
    elif window.conditions:
        if not all(_holds(bound, len(present)) for bound in window.conditions):
            return None
    elif len(present) < len(set(window.rules)):
        return None
    if window.kind == "temporal_ordered" and not _in_order(plan, window, group, present):
        return None
    return len(present)


def _in_order(plan: Plan, window: Window, group: _Group, present: set[str]) -> bool:
    # The earliest possible place for each rule in turn is always right.
    wanted = [uid for uid in window.rules if uid in present]
    at = 0
    for feed in group.feeds:
        if at < len(wanted) and plan.rules[feed.rule].info.uid == wanted[at]:
            at += 1
    return at == len(wanted)


def _expression(node: Predicate, present: set[str]) -> bool:
    match node:
        case Exists():
            return node.field.name in present
        case And():
            return all(_expression(item, present) for item in node.items)
        case Or():
            return any(_expression(item, present) for item in node.items)
        case Not():
            return not _expression(node.item, present)
        case _:
            raise TypeError(f"{type(node).__name__} in the condition of a window")


def _percentile(ordered: list[float], percentile: float) -> float:
    # Linear interpolation between closest ranks (NIST, "Percentiles", method R-7).
    rank = (len(ordered) - 1) * percentile / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _holds(bound: Condition, number: float) -> bool:
    match bound.op:
        case "lt":
            return number < bound.value
        case "lte":
            return number <= bound.value
        case "gt":
            return number > bound.value
        case "gte":
            return number >= bound.value
        case "eq":
            return number == bound.value
        case "neq":
            return number != bound.value


def _finding(plan: Plan, index: int, key: Key, episode: _Episode) -> Finding:
    rule = plan.rules[index]
    window = rule.window
    assert window is not None  # noqa: S101 - as above
    group = tuple(
        (group_field.name, value if value is not None else "")
        for group_field, value in zip(window.group_by, key, strict=True)
    )
    return Finding(
        uid=finding_uid(rule.info.uid, (repr(key), episode.first_uid)),
        rule=rule.info,
        time_ns=episode.end_ns,
        start_ns=episode.start_ns,
        events=(*episode.head, *episode.tail),
        event_count=episode.count,
        group=group,
        reason=_reason(plan, window, episode),
    )


def _reason(plan: Plan, window: Window, episode: _Episode) -> str:
    span = _duration(episode.end_ns - episode.start_ns)
    if window.kind in ("temporal", "temporal_ordered"):
        parts = ", ".join(
            f"{plan.rules[index].info.title} ({count})"
            for index, count in sorted(
                episode.rules.items(),
                key=lambda item: _position(window, plan.rules[item[0]].info.uid),
            )
        )
        how = "in this order" if window.kind == "temporal_ordered" else "together"
        return f"{how} within {span}: {parts}"
    what = {
        "event_count": "events",
        "value_count": f"different values of {_name(window.field)}",
        "value_sum": f"sum of {_name(window.field)}",
        "value_avg": f"average of {_name(window.field)}",
        "value_median": f"median of {_name(window.field)}",
        "value_percentile": f"percentile {window.percentile} of {_name(window.field)}",
    }[window.kind]
    signs = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "eq": "=", "neq": "≠"}
    bounds = " and ".join(f"{signs[bound.op]} {bound.value:g}" for bound in window.conditions)
    number = f"{episode.result:,.6g}"
    limit = _duration(window.timespan_ns)
    if window.kind == "event_count":
        return f"{episode.count:,} events in {span} (rule: {bounds} within {limit})"
    return f"{number} {what}, {episode.count:,} events in {span} (rule: {bounds} within {limit})"


def _position(window: Window, uid: str) -> int:
    return window.rules.index(uid) if uid in window.rules else len(window.rules)


def _name(named: Field | None) -> str:
    return named.name if named is not None else ""


def _duration(span_ns: int) -> str:
    seconds = span_ns / 1e9
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
