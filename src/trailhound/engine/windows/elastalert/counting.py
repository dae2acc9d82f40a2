"""Windows that count events: all of them, so many in a timeframe, too few, other values.

elastalert2 2.19, `AnyRule`, `FrequencyRule`, `FlatlineRule`, `ChangeRule`, `NewTermsRule`,
`CardinalityRule`, and `add_aggregated_alert`.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice, product

from msgspec import Struct, field

from trailhound.engine.windows.contract import NEVER, Feed, Fired, Outcome
from trailhound.engine.windows.elastalert.alerts import (
    AlertFold,
    AlertState,
    Match,
    ends,
)
from trailhound.engine.windows.extract import Extract, begun
from trailhound.engine.windows.paged import Name, Paged, Shelf
from trailhound.engine.windows.tally import Held, Hits, held_of, short
from trailhound.engine.windows.wording import duration, moment
from trailhound.model.findings import EVENTS_KEPT
from trailhound.rules.ir import (
    Cardinality,
    Change,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    NewTerm,
)
from trailhound.rules.schedule import schedule_of

_COMBINATIONS = 16
"""An event with lists in several fields of a combination has at most so many."""


class MatchesFold(AlertFold[AlertState]):
    """Every event is a match, or what a window below this one says of it."""

    def __init__(self, window: Matches, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)

    def fresh(self) -> AlertState:
        """See `Fold`."""
        return AlertState()

    def seen(self, _state: AlertState, feed: Feed, _shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        reason = feed.values[0][0] if feed.values else "the event matches"
        yield Match(feed.time_ns, feed.uid, [held_of(feed, "")], 1, reason, feed=feed)


class GatheredState(Struct):
    """The alerts that wait to be told together."""

    open: Extract | None = None
    until_ns: int = 0


class GatheredFold:
    """Tells alerts of a time as one."""

    def __init__(self, window: Gathered, _titles: tuple[str, ...]) -> None:
        self._within_ns = window.within_ns
        self._schedule = schedule_of(window.schedule) if window.schedule else None

    def fresh(self) -> GatheredState:
        """See `Fold`."""
        return GatheredState()

    def take(self, state: GatheredState, feed: Feed, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """See `Fold`."""
        yield from self.until(state, feed.time_ns, shelf)
        if state.open is None:
            state.until_ns = self._until_ns(feed.time_ns) + 1
            state.open = begun(feed)
        else:
            state.open.add(feed.time_ns, feed.at)
        yield Fired(feed)

    def due(self, state: GatheredState) -> int:
        """See `Fold`."""
        return state.until_ns if state.open is not None else NEVER

    def until(self, state: GatheredState, now_ns: int, _shelf: Shelf) -> Iterator[Outcome]:
        """See `Fold`."""
        if state.open is not None and state.until_ns <= now_ns:
            yield from self.finish(state)
            state.until_ns = 0

    def finish(self, state: GatheredState) -> Iterator[Outcome]:
        """See `Fold`."""
        if state.open is not None:
            noun = "alert" if state.open.count == 1 else "alerts"
            if self._schedule is None:
                until = f"within {duration(self._within_ns)}"
            else:
                until = f"until {moment(state.until_ns)} (aggregation)"
            yield state.open.outcome(f"{state.open.count:,} {noun} {until}")
            state.open = None

    def _until_ns(self, first_ns: int) -> int:
        if self._schedule is not None:
            return self._schedule.after(first_ns)
        return first_ns + self._within_ns


class FrequencyState(AlertState):
    """The events that count so far; at most as many as are asked for."""

    events: Hits = field(default_factory=Hits)


class FrequencyFold(AlertFold[FrequencyState]):
    """So many events in less than a timeframe."""

    def __init__(self, window: Frequency, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)
        self._window = window

    def fresh(self) -> FrequencyState:
        """See `Fold`."""
        return FrequencyState()

    def seen(self, state: FrequencyState, feed: Feed, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        window, events = self._window, state.events
        events.drop(events.rank((feed.time_ns - window.timespan_ns + 1,), shelf))
        events.add(held_of(feed, ""), shelf)
        if len(events) < window.count:
            return
        took = duration(feed.time_ns - events.at(0, shelf).time_ns)
        reason = (
            f"{window.count:,} events in {took} (rule: at least {window.count:,} in less than "
            f"{duration(window.timespan_ns)})"
        )
        yield Match(feed.time_ns, feed.uid, ends(events, shelf), len(events), reason, feed=feed)
        state.events = Hits()

    def next_run(self, state: FrequencyState, shelf: Shelf) -> int:
        """See `AlertFold`."""
        if not state.events:
            return NEVER
        return state.events.last(shelf).time_ns + self._window.timespan_ns

    def ran(self, state: FrequencyState, _now_ns: int, _shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        state.events = Hits()
        yield from ()


class FlatlineState(AlertState):
    """The last events, as many as are asked for."""

    events: Hits = field(default_factory=Hits)
    last: Held | None = None
    watched_ns: int = 0
    """The run from which on it is watched; 0: not yet."""
    run_ns: int = 0
    """The last run."""
    missing: bool = False


class FlatlineFold(AlertFold[FlatlineState]):
    """Fewer events than asked for in a timeframe, once there was one."""

    def __init__(self, window: Flatline, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)
        self._window = window

    def fresh(self) -> FlatlineState:
        """See `Fold`."""
        return FlatlineState()

    def seen(self, state: FlatlineState, feed: Feed, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        state.last = held_of(feed, "")
        state.events.add(state.last, shelf)
        if len(state.events) > self._window.threshold:
            state.events.pop(shelf)
        if not state.watched_ns:
            state.watched_ns = self.run_from(feed.time_ns)
        yield from ()

    def next_run(self, state: FlatlineState, shelf: Shelf) -> int:
        """See `AlertFold`."""
        window = self._window
        if state.last is None or not window.threshold:
            return NEVER
        if state.missing:
            # It goes on until enough events have come.
            return (
                self.run_from(state.last.time_ns) if state.last.time_ns >= state.run_ns else NEVER
            )
        ready_ns = self.run_from(state.watched_ns - 1 + window.timespan_ns)
        if len(state.events) < window.threshold:
            return max(ready_ns, state.run_ns + self._every_ns if state.run_ns else 0)
        # The run at whose end the oldest that is needed has left.
        left_ns = self.run_from(state.events.at(0, shelf).time_ns + window.timespan_ns)
        return max(ready_ns, left_ns)

    def ran(self, state: FlatlineState, now_ns: int, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        window, last = self._window, state.last
        state.run_ns = now_ns
        end_ns = now_ns - 1
        start = state.events.rank((end_ns - window.timespan_ns + 1,), shelf)
        there = len(state.events) - start
        if last is None or there >= window.threshold:
            state.missing = False
            return
        going_on = state.missing
        state.missing = not window.forget
        asked = f"rule: at least {window.threshold:,}"
        since = duration(end_ns - last.time_ns)
        reason = (
            f"{there:,} events in {duration(window.timespan_ns)} ({asked}); the last one "
            f"{since} before"
        )
        shown = ends(state.events, shelf, start) or [last]
        match = Match(end_ns, f"{last.uid}@{end_ns}", shown, there, reason)
        yield match._replace(lasting=not window.forget, size=0 if going_on else max(1, there))
        if window.forget:
            state.events, state.last, state.watched_ns, state.run_ns = Hits(), None, 0, 0

    def holds(self, state: FlatlineState) -> bool:
        """See `AlertFold`."""
        return state.missing


class ChangeState(AlertState):
    """What the last event said."""

    values: tuple[tuple[str, ...], ...] = ()
    last: Held | None = None


class ChangeFold(AlertFold[ChangeState]):
    """Other values than the event before had."""

    def __init__(self, window: Change, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)
        self._window = window

    def fresh(self) -> ChangeState:
        """See `Fold`."""
        return ChangeState()

    def seen(self, state: ChangeState, feed: Feed, _shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        window, before, values = self._window, state.last, state.values
        if window.ignore_absent and not all(any(found) for found in feed.values):
            return
        now = held_of(feed, "")
        state.values, state.last = feed.values, now
        if before is None or values == feed.values:
            return
        gone_ns = now.time_ns - before.time_ns
        if window.timespan_ns and gone_ns > window.timespan_ns:
            return
        changes = ", ".join(
            f"{named.name} from {_shown(old)} to {_shown(new)}"
            for named, old, new in zip(window.fields, values, feed.values, strict=True)
            if old != new
        )
        reason = f"changed within {duration(gone_ns)}: {changes}"
        yield Match(feed.time_ns, feed.uid, [before, now], 2, reason, feed=feed)

    def next_run(self, state: ChangeState, _shelf: Shelf) -> int:
        """See `AlertFold`."""
        if state.last is None or not self._window.timespan_ns:
            return NEVER
        return state.last.time_ns + self._window.timespan_ns + 1

    def ran(self, state: ChangeState, _now_ns: int, _shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        state.values, state.last = (), None
        yield from ()


class Known(Paged[tuple[bytes]]):
    """Hashes of the values there were."""


class NewTermState(Struct):
    """The values there were of each term."""

    first_ns: int = -1
    known: list[Known] = field(default_factory=list)


class NewTermFold:
    """A value that was not there before. The window over it makes alerts of that."""

    def __init__(self, window: NewTerm, _titles: tuple[str, ...]) -> None:
        self._window = window

    def fresh(self) -> NewTermState:
        """See `Fold`."""
        return NewTermState()

    def seen(self, state: NewTermState, feed: Feed, shelf: Shelf) -> Iterator[str]:
        """Learn values; yield what is new, in words."""
        window = self._window
        if state.first_ns < 0:
            state.first_ns = feed.time_ns
            state.known = [Known() for _ in window.terms]
        learning = feed.time_ns - state.first_ns < window.baseline_ns
        at = 0
        for term, known in zip(window.terms, state.known, strict=True):
            found = feed.values[at : at + len(term)]
            at += len(term)
            name = ", ".join(named.name for named in term)
            if not all(any(values) for values in found):
                if window.absent and not learning:
                    yield f"{name} is missing"
                continue
            for values in islice(product(*found), _COMBINATIONS):
                mark = (_hash(values),)
                if known.get(mark, shelf) is not None:
                    continue
                known.add(mark, shelf)
                if not learning:
                    since = duration(feed.time_ns - state.first_ns)
                    shown = ", ".join(map(_quoted, values))
                    yield f"{name} {shown} is new in {since} of the log"

    def take(self, state: NewTermState, feed: Feed, shelf: Shelf) -> Iterator[Fired]:
        """See `Fold`."""
        found = list(self.seen(state, feed, shelf))
        if found:
            yield Fired(feed, "; ".join(found))

    def due(self, _state: NewTermState) -> int:
        """See `Fold`."""
        return NEVER

    def until(self, _state: NewTermState, _now_ns: int, _shelf: Shelf) -> Iterator[Outcome]:
        """See `Fold`."""
        yield from ()

    def finish(self, _state: NewTermState) -> Iterator[Outcome]:
        """See `Fold`."""
        yield from ()


class Values(Paged[tuple[str, int, str, int, int]]):
    """Values, and time, uid, rule and place in the event where each was last."""


class Order(Paged[tuple[int, str, int, int, int, str]]):
    """Time, uid, rule and place of each value, where its event is kept, and the value."""


class CardinalityState(AlertState):
    """Where each value was last."""

    values: Values = field(default_factory=Values)
    order: Order = field(default_factory=Order)
    events: int = 0
    """In so many different events."""
    first_ns: int = -1
    """Since when few values are no match yet; -1: since the next event."""
    last: Held | None = None
    """The last event: evidence where there is no other."""


class CardinalityFold(AlertFold[CardinalityState]):
    """More, or fewer, different values in a timeframe than asked for."""

    def __init__(self, window: Cardinality, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)
        self._window = window

    def fresh(self) -> CardinalityState:
        """See `Fold`."""
        return CardinalityState()

    def seen(self, state: CardinalityState, feed: Feed, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        window = self._window
        if state.first_ns < 0:
            state.first_ns = feed.time_ns
        state.last = held_of(feed, "")
        for place, value in enumerate(map(short, feed.values[0])):
            known = state.values.discard((value,), shelf)
            if known is not None:
                self._forget(state, known[1:], shelf)
            state.events += state.order.get(feed[:2], shelf) is None
            state.values.add((value, *feed[:3], place), shelf)
            state.order.add((*feed[:3], place, feed.at, value), shelf)
        if not feed.values[0]:
            return
        self._leave(state, feed.time_ns, shelf)
        many = len(state.values)
        if window.at_most is not None and many > window.at_most:
            yield self._match(state, feed.time_ns, f"at most {window.at_most:,}", feed, shelf)
        elif self._few(state, feed.time_ns):
            yield self._match(state, feed.time_ns, f"at least {window.at_least:,}", feed, shelf)

    def _few(self, state: CardinalityState, now_ns: int) -> bool:
        least = self._window.at_least
        return (
            least is not None
            and len(state.values) < least
            and 0 <= state.first_ns < now_ns - self._window.timespan_ns
        )

    def _leave(self, state: CardinalityState, now_ns: int, shelf: Shelf) -> None:
        since_ns = now_ns - self._window.timespan_ns
        while state.order and (first := state.order.at(0, shelf))[0] < since_ns:
            state.values.discard(first[5:], shelf)
            self._forget(state, first[:4], shelf)

    def _forget(self, state: CardinalityState, name: Name, shelf: Shelf) -> None:
        state.order.discard(name, shelf)
        state.events -= state.order.get(name[:2], shelf) is None

    def _match(
        self, state: CardinalityState, now_ns: int, asked: str, feed: Feed | None, shelf: Shelf
    ) -> Match:
        window = self._window
        state.first_ns = -1
        events, number = _events(state.order, shelf), state.events
        if not events and state.last is not None:
            events, number = [state.last], 1
        reason = (
            f"{len(state.values):,} different values of {window.field.name} in "
            f"{duration(window.timespan_ns)} (rule: {asked})"
        )
        identity = feed.uid if feed is not None else f"@{now_ns}"
        return Match(now_ns, identity, events, number, reason, feed=feed)

    def next_run(self, state: CardinalityState, shelf: Shelf) -> int:
        """See `AlertFold`."""
        window, order = self._window, state.order
        if not order and (window.at_least is None or state.first_ns < 0):
            return NEVER
        if window.at_least is None or state.first_ns < 0:
            return order.last(shelf)[0] + window.timespan_ns + 1
        ready_ns = state.first_ns + window.timespan_ns + 1
        spare = len(order) - window.at_least
        if spare >= 0:
            needed_ns = order.at(spare, shelf)[0]
            ready_ns = max(ready_ns, needed_ns + window.timespan_ns + 1)
        return self.run_from(ready_ns)

    def ran(self, state: CardinalityState, now_ns: int, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        if self._window.at_least is None or state.first_ns < 0:
            state.values, state.order, state.events, state.last = Values(), Order(), 0, None
            if self._window.at_least is None:
                state.first_ns = -1
            return
        end_ns = now_ns - 1
        self._leave(state, end_ns, shelf)
        if self._few(state, end_ns):
            asked = f"at least {self._window.at_least:,}"
            yield self._match(state, end_ns, asked, None, shelf)
            if not state.values:
                state.last = None


def _events(order: Order, shelf: Shelf) -> list[Held]:
    """Return the first and the last events of many."""
    first: list[Held] = []
    last: list[Held] = []
    start, behind = 0, len(order)
    while start < behind and len(first) < EVENTS_KEPT // 2:
        time_ns, uid, rule, _, at, _ = order.at(start, shelf)
        first.append(Held(time_ns, uid, rule, at))
        start = order.rank((time_ns, uid, NEVER), shelf)
    while start < behind and len(last) < EVENTS_KEPT // 2:
        time_ns, uid, rule, _, at, _ = order.at(behind - 1, shelf)
        last.append(Held(time_ns, uid, rule, at))
        behind = order.rank((time_ns, uid), shelf)
    return [*first, *reversed(last)]


def _hash(values: tuple[str, ...]) -> bytes:
    # Values may be long and many. Of fewer bytes, somebody could find another value for one that
    # is known.
    data = repr(values).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


def _quoted(value: str) -> str:
    return repr(value if len(value) <= 100 else value[:100] + "…")


def _shown(values: tuple[str, ...]) -> str:
    if not values:
        return "nothing"
    shown = ", ".join(map(_quoted, values[:3]))
    return shown + (", …" if len(values) > 3 else "")
