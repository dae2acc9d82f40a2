"""Windows that take a number of a stretch of time: of a metric, or of a share of events.

elastalert2 2.19, `MetricAggregationRule`, `PercentageMatchRule`; Elasticsearch 8 reference,
"Metrics aggregations". Elasticsearch estimates cardinality and percentiles; here they are exact.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from msgspec import field

from trailhound.engine.tests import number_of
from trailhound.engine.windows.contract import HELD_LIMIT, NEVER, Feed, Full
from trailhound.engine.windows.elastalert.alerts import AlertFold, AlertState, Match, Seen, ends
from trailhound.engine.windows.wording import duration
from trailhound.rules.ir import Aggregate, Metric

T = TypeVar("T")

_OF_NOTHING = ("sum", "value_count", "cardinality")
"""Metrics that are 0, and not absent, where there are no events."""


class Sample(NamedTuple):
    """An event, and what is measured of it."""

    time_ns: int
    uid: str
    at: int
    rule: int
    values: tuple[str, ...]

    @property
    def seen(self) -> Seen:
        """The event alone."""
        return Seen(self.time_ns, self.uid, self.at)


class MeasuredState(AlertState):
    """The events of the stretch."""

    samples: list[Sample] = field(default_factory=list)
    run_ns: int = 0
    """The last run; 0: none."""
    outside: bool = False
    """Whether the number was out of bounds then."""


def sample_of(feed: Feed) -> Sample:
    """Return what is kept of a feed."""
    values = feed.values[0] if feed.values else ()
    return Sample(feed.time_ns, feed.uid, feed.at, feed.rule, values)


def keep(held: list[T], item: T) -> Iterator[Full]:
    """Add to what a group holds; where that is full, the oldest goes."""
    if len(held) >= HELD_LIMIT:
        del held[0]
        yield Full()
    held.append(item)


def measure(metric: Metric, samples: Sequence[Sample]) -> float | None:
    """Return the number of a stretch; None where there is none."""
    if len(samples) < metric.least_events:
        return 0 if not samples and metric.kind in _OF_NOTHING else None
    if metric.kind == "percentage":
        return 100 * sum(sample.rule == 0 for sample in samples) / len(samples)
    texts = [text for sample in samples for text in sample.values]
    if metric.kind == "value_count":
        return len(texts)
    if metric.kind == "cardinality":
        return len(set(texts))
    found = (number_of(text) for text in texts)
    numbers = sorted(float(n) for n in found if n is not None and n == n)  # noqa: PLR0124 - no NaN
    if metric.kind == "sum":
        return sum(numbers)
    if not numbers:
        return None
    if metric.kind == "min":
        return numbers[0]
    if metric.kind == "max":
        return numbers[-1]
    if metric.kind == "avg":
        return sum(numbers) / len(numbers)
    rank = (len(numbers) - 1) * metric.percent / 100
    low = int(rank)
    high = min(low + 1, len(numbers) - 1)
    return numbers[low] + (numbers[high] - numbers[low]) * (rank - low)


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

    def seen(self, state: MeasuredState, feed: Feed) -> Iterator[Full]:
        """See `AlertFold`."""
        yield from keep(state.samples, sample_of(feed))

    def next_run(self, state: MeasuredState) -> int:
        """See `AlertFold`."""
        if not state.samples:
            return NEVER
        first_ns, span_ns = state.samples[0].time_ns, self._metric.span_ns
        if self._metric.aligned:
            return (first_ns // span_ns + 1) * span_ns
        return max(self.run_from(first_ns), state.run_ns + self._every_ns if state.run_ns else 0)

    def ran(self, state: MeasuredState, now_ns: int) -> Iterator[Match]:
        """See `AlertFold`."""
        metric, last = self._metric, state.samples[-1].seen
        state.run_ns = now_ns
        if metric.aligned:
            inside = [s for s in state.samples if s.time_ns < now_ns]
            state.samples = state.samples[len(inside) :]
            end_ns = now_ns
        else:
            end_ns = now_ns - 1
            inside = state.samples = [
                s for s in state.samples if s.time_ns > end_ns - metric.span_ns
            ]
        silent = not inside and (bool(self._window.group_by) or metric.kind not in _OF_NOTHING)
        number = None if silent else measure(metric, inside)
        state.outside = number is not None and self._crosses(number) and not metric.aligned
        if not inside:
            state.run_ns = 0
        if number is None or not self._crosses(number):
            return
        events = ends([sample.seen for sample in inside])
        if not events:
            events = [last]
        reason = (
            f"{named(metric)} is {number:.6g} over {duration(metric.span_ns)}, {len(inside):,} "
            f"events (rule: {self._bounds()})"
        )
        identity = f"{events[0].uid}@{end_ns}"
        yield Match(end_ns, identity, events, len(inside), reason, lasting=not metric.aligned)

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
