"""Windows that take a number of a stretch of time: of a metric, or of a share of events.

elastalert2 2.19, `MetricAggregationRule`, `PercentageMatchRule`; Elasticsearch 8 reference,
"Metrics aggregations". Elasticsearch estimates cardinality and percentiles; here they are exact.
"""

from collections.abc import Iterator

from msgspec import Struct, field

from trailhound.engine.windows.contract import NEVER, Feed
from trailhound.engine.windows.elastalert.alerts import AlertFold, AlertState, Match, ends
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.tally import Asked, Hits, Tally, held_of
from trailhound.engine.windows.wording import duration
from trailhound.rules.ir import Aggregate, Metric

_OF_NOTHING = ("sum", "value_count", "cardinality")
"""Metrics that are 0, and not absent, where there are no events."""


_ASKED: dict[str, Asked] = {
    "min": "rank",
    "max": "rank",
    "percentiles": "rank",
    "avg": "sum",
    "sum": "sum",
    "cardinality": "distinct",
    "value_count": "distinct",
}


class Stretch(Struct):
    """The events of a stretch of time, and what is measured of them."""

    hits: Hits = field(default_factory=Hits)
    tally: Tally = field(default_factory=Tally)
    left: int = 0
    """How many events have left it."""
    first: int = 0
    """How many of them are of the window's first rule."""

    def enter(self, metric: Metric, feed: Feed, shelf: Shelf) -> None:
        """Take an event in."""
        held = held_of(feed, _ASKED.get(metric.kind, ""))
        self.hits.add(held, shelf)
        self.first += held.rule == 0
        turn = self.left + len(self.hits)
        self.tally.enter(_ASKED.get(metric.kind, ""), held, turn, shelf)

    def leave(self, metric: Metric, count: int, shelf: Shelf) -> None:
        """Let the first events go."""
        for _ in range(count):
            held = self.hits.pop(shelf)
            self.left += 1
            self.first -= held.rule == 0
            self.tally.leave(_ASKED.get(metric.kind, ""), held, self.left, shelf)

    def measure(self, metric: Metric, shelf: Shelf) -> float | None:
        """Return the number of the stretch; None where there is none."""
        events, tally = len(self.hits), self.tally
        if events < metric.least_events:
            return 0 if not events and metric.kind in _OF_NOTHING else None
        number: float | None
        match metric.kind:
            case "percentage":
                number = 100 * self.first / events
            case "value_count":
                number = tally.values
            case "cardinality":
                number = len(tally.distinct or ())
            case "sum":
                number = tally.sum()
            case "avg":
                number = tally.sum() / tally.values if tally.values else None
            case "min" | "max" | "percentiles":
                percent = {"min": 0.0, "max": 100.0}.get(metric.kind, metric.percent)
                number = tally.number_at(percent, shelf) if tally.values else None
        return number


class MeasuredState(AlertState):
    """The events of the stretch."""

    stretch: Stretch = field(default_factory=Stretch)
    run_ns: int = 0
    """The last run; 0: none."""
    outside: bool = False
    """Whether the number was out of bounds then."""


def named(metric: Metric) -> str:
    """Return a metric in words."""
    if metric.kind == "percentage":
        return "share of events in the bucket"
    of = f" of {metric.field.name}" if metric.field is not None else ""
    kind = f"percentile {metric.percent:g}" if metric.kind == "percentiles" else metric.kind
    return f"{kind}{of}"


class AggregateFold(AlertFold[MeasuredState]):
    """A number outside its bounds."""

    def __init__(self, window: Aggregate, titles: tuple[str, ...]) -> None:
        super().__init__(window, titles)
        self._window = window
        self._metric = window.metric

    def fresh(self) -> MeasuredState:
        """See `Fold`."""
        return MeasuredState()

    def seen(self, state: MeasuredState, feed: Feed, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        state.stretch.enter(self._metric, feed, shelf)
        yield from ()

    def next_run(self, state: MeasuredState, shelf: Shelf) -> int:
        """See `AlertFold`."""
        if not state.stretch.hits:
            return NEVER
        first_ns, span_ns = state.stretch.hits.at(0, shelf).time_ns, self._metric.span_ns
        if self._metric.aligned:
            return (first_ns // span_ns + 1) * span_ns
        return max(self.run_from(first_ns), state.run_ns + self._every_ns if state.run_ns else 0)

    def ran(self, state: MeasuredState, now_ns: int, shelf: Shelf) -> Iterator[Match]:
        """See `AlertFold`."""
        metric, hits = self._metric, state.stretch.hits
        last = hits.last(shelf)
        state.run_ns = now_ns
        end_ns = now_ns if metric.aligned else now_ns - 1
        if not metric.aligned:
            old = hits.rank((end_ns - metric.span_ns + 1,), shelf)
            state.stretch.leave(metric, old, shelf)
        events, count = ends(hits, shelf), len(hits)
        silent = not count and (bool(self._window.group_by) or metric.kind not in _OF_NOTHING)
        number = None if silent else state.stretch.measure(metric, shelf)
        state.outside = number is not None and self._crosses(number) and not metric.aligned
        if not count:
            state.run_ns = 0
        if metric.aligned or not count:
            # All of it is before this run, for events of its time are taken after it.
            state.stretch = Stretch()
        if number is None or not self._crosses(number):
            return
        if not events:
            events = [last]
        reason = (
            f"{named(metric)} is {number:.6g} over {duration(metric.span_ns)}, {count:,} "
            f"events (rule: {self._bounds()})"
        )
        identity = f"{events[0].uid}@{end_ns}"
        yield Match(end_ns, identity, events, count, reason, lasting=not metric.aligned)

    def holds(self, state: MeasuredState) -> bool:
        """See `AlertFold`."""
        return state.outside

    def _crosses(self, number: float) -> bool:
        low, high = self._window.at_least, self._window.at_most
        return (high is not None and number > high) or (low is not None and number < low)

    def _bounds(self) -> str:
        low, high = self._window.at_least, self._window.at_most
        parts = [f"at least {low:g}"] if low is not None else []
        return " and ".join([*parts, f"at most {high:g}"] if high is not None else parts)
