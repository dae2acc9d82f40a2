"""Windows that compare a timeframe with the one before it.

elastalert2 2.19, `SpikeRule`, `SpikeMetricAggregationRule` and `EventWindow`. What leaves the
current window enters the reference window, which reaches back a timeframe from the newest of
what left. At the end of every run ElastAlert puts an empty event into both, so that they move on
while nothing comes; here that is computed, and only the runs at which something changes happen.
"""

from collections.abc import Iterator

from msgspec import field

from trailhound.engine.tests import number_of
from trailhound.engine.windows.contract import NEVER, Feed
from trailhound.engine.windows.elastalert.alerts import AlertFold, AlertState, Match, ends
from trailhound.engine.windows.elastalert.measuring import Stretch, named
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.sums import Sum, as_float, plus
from trailhound.engine.windows.tally import Held, Hits
from trailhound.engine.windows.wording import duration
from trailhound.rules.ir import Spike


class SpikeState(AlertState):
    """Both windows of a group."""

    current: Hits = field(default_factory=Hits)
    """Events, or the numbers of runs, each with its value."""
    reference: Hits = field(default_factory=Hits)
    current_sum: Sum = b""
    """Of the values of a field; kept for those alone."""
    reference_sum: Sum = b""
    made_ns: int = -1
    """Since when the windows are there; -1: they are not."""
    left_ns: int = -1
    """Time of the last item that left the current window."""
    first_ns: int = -1
    """From when on the windows fill; no match before they are full. -1: from the next item."""
    checked_ns: int = -1
    idle_ns: int = -1
    """The run at which nothing was compared with nothing for the first time."""
    stretch: Stretch = field(default_factory=Stretch)
    """For a metric."""
    run_ns: int = 0


class SpikeFold(AlertFold[SpikeState]):
    """So many times more, or less, in a timeframe than in the one before."""

    def __init__(self, window: Spike, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)
        self._window = window
        self._span_ns = window.timespan_ns
        self._grouped = bool(window.group_by)
        self._by = window.metric.kind if window.metric is not None else ""
        self._moves = window.metric is None

    def fresh(self) -> SpikeState:
        """See `Fold`."""
        return SpikeState()

    def seen(self, state: SpikeState, feed: Feed, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        if self._window.metric is not None:
            state.stretch.enter(self._window.metric, feed, shelf)
            return
        value: float = 1
        if self._window.field is not None:
            numbers = [number_of(text) for text in feed.values[0]]
            found = next((n for n in numbers if n is not None and abs(n) < 1e300), None)
            if found is None:
                return
            value = float(int(found))
        item = Held(feed.time_ns, feed.uid, feed.rule, feed.at, (value,))
        yield from self._put(state, item, feed, shelf)

    def next_run(self, state: SpikeState, shelf: Shelf) -> int:
        """See `AlertFold`."""
        if self._window.metric is not None:
            hits = state.stretch.hits
            if not hits:
                return NEVER
            first_ns = self.run_from(hits.at(0, shelf).time_ns)
            return max(first_ns, state.run_ns + self._every_ns if state.run_ns else 0)
        if state.made_ns < 0 or not (state.current or state.reference):
            return NEVER
        times = []
        if state.current:
            times.append(self.run_from(state.current.at(0, shelf).time_ns + self._span_ns))
        if state.reference:
            left_ns = self._grid(state.reference.at(0, shelf).time_ns + self._span_ns)
            times.append(self._grid(left_ns + self._span_ns) + 1)
        if state.first_ns >= 0:
            full_ns = self.run_from(state.first_ns + 2 * self._span_ns)
            if full_ns > state.checked_ns:
                times.append(full_ns)
        return max(min(times), self._next_tick(state.checked_ns) + 1)

    def ran(self, state: SpikeState, now_ns: int, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        metric, end_ns = self._window.metric, now_ns - 1
        if metric is None:
            self._advance(state, end_ns, shelf)
            yield from self._check(state, end_ns, None, shelf, at_run=True)
            return
        state.run_ns = now_ns
        stretch = state.stretch
        old = stretch.hits.rank((end_ns - metric.span_ns + 1,), shelf)
        stretch.leave(metric, old, shelf)
        if not stretch.hits:
            state.run_ns, state.stretch = 0, Stretch()
            return
        number = stretch.measure(metric, shelf)
        if number is not None:
            last = stretch.hits.last(shelf)
            item = Held(end_ns, last.uid, last.rule, last.at, (float(number),))
            yield from self._put(state, item, None, shelf)

    def _grid(self, time_ns: int) -> int:
        return -(-time_ns // self._every_ns) * self._every_ns

    def _next_tick(self, time_ns: int) -> int:
        return (time_ns // self._every_ns + 1) * self._every_ns

    def _put(
        self, state: SpikeState, item: Held, feed: Feed | None, shelf: Shelf
    ) -> Iterator[Match]:
        now_ns = item.time_ns
        if state.idle_ns >= 0:
            self._wake(state, now_ns)
        if state.first_ns < 0 or now_ns < state.first_ns:
            state.first_ns = now_ns
        if state.made_ns < 0:
            state.made_ns = now_ns
        state.current.add(item, shelf)
        if self._window.field is not None:
            state.current_sum = plus(state.current_sum, _value(item))
        self._advance(state, now_ns, shelf)
        yield from self._check(state, now_ns, feed, shelf, at_run=False)

    def _advance(self, state: SpikeState, now_ns: int, shelf: Shelf) -> None:
        span_ns, counted = self._span_ns, self._window.field is not None
        current, reference = state.current, state.reference
        for _ in range(current.rank((now_ns - span_ns + 1,), shelf)):
            item = current.pop(shelf)
            state.left_ns = item.time_ns
            reference.add(item, shelf)
            if counted:
                state.current_sum = plus(state.current_sum, -_value(item))
                state.reference_sum = plus(state.reference_sum, _value(item))
        newest_ns = state.left_ns
        if self._moves:
            empty_ns = (now_ns - span_ns) // self._every_ns * self._every_ns
            if empty_ns >= self._grid(state.made_ns):
                newest_ns = max(newest_ns, empty_ns)
        old = reference.rank((newest_ns - span_ns + 1,), shelf)
        if counted:
            for item in reference.between(0, old, shelf):
                state.reference_sum = plus(state.reference_sum, -_value(item))
        reference.drop(old)

    def _check(
        self, state: SpikeState, now_ns: int, feed: Feed | None, shelf: Shelf, *, at_run: bool
    ) -> Iterator[Match]:
        state.checked_ns = now_ns
        before = self._number(state.reference, state.reference_sum, shelf)
        now = self._number(state.current, state.current_sum, shelf)
        if now_ns - state.first_ns >= 2 * self._span_ns and self._spikes(before, now):
            if before or now:
                yield self._match(state, now_ns, (before or 0, now or 0), feed, shelf)
            elif not self._grouped:
                # Nothing against nothing: ElastAlert alerts; here it is only what it resets.
                state.idle_ns = now_ns
            self._clear(state, now_ns, at_run=at_run)
        if not (state.current or state.reference) and self._grouped and self._moves:
            # The group is forgotten at the next run, but not since when it was known.
            state.made_ns = state.left_ns = state.checked_ns = -1

    def _clear(self, state: SpikeState, now_ns: int, *, at_run: bool) -> None:
        state.reference, state.reference_sum = Hits(), b""
        state.first_ns = -1
        if self._moves and (state.current or not self._grouped):
            state.first_ns = self._next_tick(now_ns) if at_run else self._grid(now_ns)

    def _wake(self, state: SpikeState, now_ns: int) -> None:
        """Find since when the windows fill, after a time of nothing against nothing."""
        period_ns = self._every_ns + self._grid(2 * self._span_ns)
        turns = max(0, (now_ns - state.idle_ns - 1) // period_ns)
        first_ns = state.idle_ns + turns * period_ns + self._every_ns
        state.first_ns = first_ns if first_ns < now_ns else now_ns
        state.idle_ns = -1

    def _number(self, items: Hits, total: Sum, shelf: Shelf) -> float | None:
        if self._window.field is not None:
            return as_float(total) / len(items) if items else None
        if not self._by:
            return len(items)
        # One for each run: they are few.
        values = [_value(item) for item in items.between(0, len(items), shelf)]
        if self._by in ("avg", "min", "max"):
            if not values:
                return None
            if self._by == "avg":
                return sum(values) / len(values)
            return min(values) if self._by == "min" else max(values)
        return sum(values)

    def _spikes(self, before: float | None, now: float | None) -> bool:
        window = self._window
        if before is None or now is None:
            return False
        if window.field is not None:
            if not before or not now:
                return False
        elif now < window.least_now or before < window.least_before:
            return False
        up, down = now >= before * window.height, now <= before / window.height
        return (up and window.direction != "down") or (down and window.direction != "up")

    def _match(
        self,
        state: SpikeState,
        now_ns: int,
        numbers: tuple[float, float],
        feed: Feed | None,
        shelf: Shelf,
    ) -> Match:
        window, (before, now) = self._window, numbers
        what = "events"
        if window.metric is not None:
            what = named(window.metric)
        elif window.field is not None:
            what = f"mean of {window.field.name}"
        span = duration(window.timespan_ns)
        reason = (
            f"{what}: {now:,.6g} in {span}, {before:,.6g} in the {span} before "
            f"(rule: {window.height:g} times {_DIRECTIONS[window.direction]})"
        )
        items = state.current or state.reference
        events = ends(items, shelf)
        identity = feed.uid if feed is not None else f"{events[0].uid}@{now_ns}"
        return Match(now_ns, identity, events, len(items), reason, feed=feed)


def _value(item: Held) -> float:
    return float(item.values[0])


_DIRECTIONS = {"up": "more", "down": "less", "both": "more or less"}
