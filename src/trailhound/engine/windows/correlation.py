"""Sigma correlations (Sigma Correlation Rules Specification 2.1.0).

Each group keeps the hits of the last `timespan`. After every hit the condition is asked of the
trailing window [t - timespan, t]. Windows that follow on each other and all fulfil the
condition are one *episode* and give one finding, so that a thousand failed logins are one line
and not a thousand.

A condition that fewer events fulfil (`lt: 5`, `eq: 0`) is asked again as events leave the
window: the moment it comes to hold is a finding of its own, a *silence*. A group that was never
heard of is not silent.
"""

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from trailhound.engine.tests import number_of
from trailhound.engine.windows.contract import HELD_LIMIT, NEVER, Feed, Fired, Full, Outcome
from trailhound.engine.windows.sums import Sum, as_float, plus
from trailhound.engine.windows.wording import condition_text, duration, moment
from trailhound.model.findings import EVENTS_KEPT
from trailhound.rules.ir import And, Condition, Correlation, Exists, Not, Or, Predicate

_HALF = EVENTS_KEPT // 2


class Held(NamedTuple):
    """What a group remembers of a feed."""

    time_ns: int
    rule: int
    at: int
    uid: str
    values: tuple[str, ...] = ()


class Episode(Struct):
    """Windows that follow on each other and fulfil the condition."""

    start_ns: int
    identity: str
    head: list[int] = field(default_factory=list)
    tail: list[int] = field(default_factory=list)
    count: int = 0
    end_ns: int = 0
    result: float = 0
    rules: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, window: Sequence[Held], counts: Mapping[int, int], identity: str) -> "Episode":
        """Begin with the hits that are in the window."""
        at = [held.at for held in window[:_HALF]]
        rest = [held.at for held in window[max(_HALF, len(window) - _HALF) :]]
        return cls(
            window[0].time_ns,
            identity,
            head=at,
            tail=rest,
            count=len(window),
            end_ns=window[-1].time_ns,
            rules=dict(counts),
        )

    def add(self, held: Held) -> None:
        """Take in one event."""
        self.count += 1
        self.end_ns = held.time_ns
        self.rules[held.rule] = self.rules.get(held.rule, 0) + 1
        if len(self.head) < _HALF:
            self.head.append(held.at)
        else:
            self.tail.append(held.at)
            if len(self.tail) > _HALF:
                del self.tail[0]


class Group(Struct):
    """The state of one group: the hits of the last timespan, and the episode that is open."""

    feeds: list[Held] = field(default_factory=list)
    gone: int = 0
    """So many at the head of `feeds` are older than the window."""
    distinct: dict[str, int] | None = None
    """Value → how often it is in the window."""
    numbers: list[float] | None = None
    """The values in the window that are numbers, ascending."""
    total: Sum = b""
    """The sum of those that are finite."""
    counts: dict[int, int] = field(default_factory=dict)
    """Rule → how many of its hits are in the window."""
    places: dict[int, list[int]] | None = None
    """Rule → which of all hits of the group were its own, where their order matters. Those that
    left the window may still be there."""
    left: int = 0
    """How many hits have left the window."""
    episode: Episode | None = None
    began: str = ""
    """Uid of the first event of the last episode."""
    turns: int = 0
    """Episodes so far that began with it."""
    silent: bool = False
    """Whether the silence that lasts has been told."""
    last: Feed | None = None
    """The newest hit, where silence matters."""


class CorrelationFold:
    """Counts the groups of one correlation."""

    def __init__(self, window: Correlation, titles: tuple[str, ...]) -> None:
        self._window = window
        self._titles = titles
        self._all = len(set(window.rules))
        self._counts_values = window.kind == "value_count"
        self._ranks_numbers = window.field is not None and not self._counts_values
        self._keeps_values = window.field is not None
        self._minds_order = window.kind == "temporal_ordered"
        self._minds_silence = window.kind in ("event_count", "value_count") and all(
            _holds(bound, 0) for bound in window.conditions
        )

    def fresh(self) -> Group:
        """Return the state of a group that has seen nothing."""
        return Group()

    def due(self, state: Group) -> int:
        """Return when the newest hit leaves the window; the oldest, where silence matters."""
        if not state.feeds:
            return NEVER
        at = state.gone if self._minds_silence and not state.silent else -1
        return state.feeds[at].time_ns + self._window.timespan_ns + 1

    def take(self, state: Group, feed: Feed) -> Iterator[Outcome | Fired | Full]:
        """Take a hit in; yield the episode that it ended, if any."""
        values = feed.values[0] if self._keeps_values else ()
        held = Held(feed.time_ns, feed.rule, feed.at, feed.uid, values)
        self._expire(state, feed.time_ns)
        if len(state.feeds) - state.gone >= HELD_LIMIT:
            self._leave(state, state.feeds[state.gone])
            state.gone += 1
            yield Full()
        self._enter(state, held)
        result = self._result(state)
        episode = state.episode
        if self._minds_silence:
            state.last, state.silent = feed, result is not None
        if result is None:
            if episode is not None:
                yield self._outcome(episode)
                state.episode = None
            return
        if episode is None:
            first = state.feeds[state.gone]
            state.turns = state.turns + 1 if state.began == first.uid else 1
            state.began = first.uid
            identity = first.uid if state.turns == 1 else f"{first.uid}#{state.turns}"
            window = state.feeds[state.gone :]
            episode = state.episode = Episode.of(window, state.counts, identity)
        else:
            episode.add(held)
        episode.result = max(episode.result, result)
        yield Fired(feed)

    def until(self, state: Group, now_ns: int) -> Iterator[Outcome | Fired]:
        """Yield the episode that is over, since nothing came for a timespan; and silence."""
        while (due_ns := self.due(state)) <= now_ns:
            self._expire(state, due_ns)
            if self._minds_silence and not state.silent and self._result(state) is not None:
                state.silent = True
                yield from self._silence(state, due_ns)
            if not state.feeds:
                if state.episode is not None:
                    yield self._outcome(state.episode)
                state.distinct = state.numbers = state.places = None
                state.episode = state.last = None
                state.total, state.left = b"", 0
                state.began, state.turns, state.silent = "", 0, False

    def finish(self, state: Group) -> Iterator[Outcome]:
        """Yield the episode that is open."""
        if state.episode is not None:
            yield self._outcome(state.episode)
            state.episode = None

    def _expire(self, state: Group, now_ns: int) -> None:
        feeds, since_ns = state.feeds, now_ns - self._window.timespan_ns
        while state.gone < len(feeds) and feeds[state.gone].time_ns < since_ns:
            self._leave(state, feeds[state.gone])
            state.gone += 1
        if state.gone * 2 > len(feeds):
            del feeds[: state.gone]
            state.gone = 0

    def _enter(self, state: Group, held: Held) -> None:
        state.feeds.append(held)
        state.counts[held.rule] = state.counts.get(held.rule, 0) + 1
        if self._minds_order:
            places = state.places = state.places or {}
            places.setdefault(held.rule, []).append(state.left + len(state.feeds) - state.gone)
        if self._counts_values:
            distinct = state.distinct = state.distinct or {}
            for value in held.values:
                distinct[value] = distinct.get(value, 0) + 1
        elif self._ranks_numbers:
            numbers = state.numbers = state.numbers or []
            for number in _numbers(held):
                bisect.insort(numbers, number)
                state.total = plus(state.total, number)

    def _leave(self, state: Group, held: Held) -> None:
        state.left += 1
        state.counts[held.rule] -= 1
        if not state.counts[held.rule]:
            del state.counts[held.rule]
        if state.places is not None:
            _forget(state.places[held.rule], state.left)
        if state.distinct is not None:
            for value in held.values:
                state.distinct[value] -= 1
                if not state.distinct[value]:
                    del state.distinct[value]
        elif state.numbers is not None:
            for number in _numbers(held):
                del state.numbers[bisect.bisect_left(state.numbers, number)]
                state.total = plus(state.total, -number)

    def _result(self, state: Group) -> float | None:
        """Return the number the condition was asked of, or None where it does not hold."""
        window = self._window
        kind = window.kind
        if kind in ("temporal", "temporal_ordered"):
            return self._temporal(state)
        if kind == "event_count":
            number: float = len(state.feeds) - state.gone
        elif kind == "value_count":
            number = len(state.distinct or ())
        elif not state.numbers:
            return None
        elif kind == "value_sum":
            number = _sum(state)
        elif kind == "value_avg":
            number = _sum(state) / len(state.numbers)
        else:
            percentile = 50 if kind == "value_median" else window.percentile or 0
            number = _percentile(state.numbers, percentile)
        return number if all(_holds(bound, number) for bound in window.conditions) else None

    def _temporal(self, state: Group) -> float | None:
        window = self._window
        present = state.counts.keys()
        if window.expression is not None:
            if not _expression(window.expression, {window.rules[rule] for rule in present}):
                return None
        elif window.conditions:
            if not all(_holds(bound, len(present)) for bound in window.conditions):
                return None
        elif len(present) < self._all:
            return None
        if self._minds_order and not self._in_order(state):
            return None
        return len(present)

    def _in_order(self, state: Group) -> bool:
        # The earliest possible place for each rule in turn is always right.
        at = state.left
        for rule in (self._window.rules.index(uid) for uid in self._window.rules):
            if rule in state.counts:
                places = (state.places or {})[rule]
                following = bisect.bisect_right(places, at)
                if following == len(places):
                    return False
                at = places[following]
        return True

    def _silence(self, state: Group, now_ns: int) -> Iterator[Outcome | Fired]:
        last = state.last
        assert last is not None  # noqa: S101 - kept where silence matters
        count = len(state.feeds) - state.gone
        asked = f"rule: {condition_text(self._window.conditions)}"
        span = duration(self._window.timespan_ns)
        yield Outcome(
            identity=f"{last.uid}#silence",
            start_ns=last.time_ns,
            end_ns=now_ns,
            evidence=(last.at,),
            count=count,
            reason=f"only {count:,} events within {span}, the last one at "
            f"{moment(last.time_ns)} ({asked} within {span})",
        )
        yield Fired(last._replace(time_ns=now_ns))

    def _outcome(self, episode: Episode) -> Outcome:
        return Outcome(
            identity=episode.identity,
            start_ns=episode.start_ns,
            end_ns=episode.end_ns,
            evidence=(*episode.head, *episode.tail),
            count=episode.count,
            reason=self._reason(episode),
        )

    def _reason(self, episode: Episode) -> str:
        window = self._window
        span = duration(episode.end_ns - episode.start_ns)
        if window.kind in ("temporal", "temporal_ordered"):
            seen = ", ".join(f"{self._titles[r]} ({n})" for r, n in sorted(episode.rules.items()))
            how = "in this order" if window.kind == "temporal_ordered" else "together"
            return f"{how} within {span}: {seen}"
        name = window.field.name if window.field is not None else ""
        what = {
            "event_count": "events",
            "value_count": f"different values of {name}",
            "value_sum": f"sum of {name}",
            "value_avg": f"average of {name}",
            "value_median": f"median of {name}",
            "value_percentile": f"percentile {window.percentile} of {name}",
        }[window.kind]
        asked = f"rule: {condition_text(window.conditions)} within {duration(window.timespan_ns)}"
        if window.kind == "event_count":
            return f"{episode.count:,} events in {span} ({asked})"
        return f"{episode.result:,.6g} {what}, {episode.count:,} events in {span} ({asked})"


def _numbers(held: Held) -> list[float]:
    numbers = (number_of(value) for value in held.values)
    return [float(number) for number in numbers if number is not None and number == number]  # noqa: PLR0124 - drops NaN


def _sum(state: Group) -> float:
    """Return the sum of the numbers in a window: whatever their order, the same."""
    numbers = state.numbers or []
    infinite = [number for number in (numbers[0], numbers[-1]) if not math.isfinite(number)]
    return sum(infinite) if infinite else as_float(state.total)


def _forget(places: list[int], left: int) -> None:
    """Take out places that have left the window, now and then: each costs the same on the whole."""
    gone = bisect.bisect_right(places, left)
    if gone * 2 > len(places):
        del places[:gone]


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
