"""Windows in words, for `rules explain`."""

from collections.abc import Iterator

from trailhound.rules.ir import (
    Aggregate,
    Cardinality,
    Change,
    Correlation,
    Deduplicated,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    Metric,
    NewTerm,
    Sequence,
    Signal,
    Spike,
    Together,
    Window,
)

_SIGNS = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "eq": "=", "neq": "≠"}


def describe_window(window: Window) -> list[str]:
    """Return what a window asks, a line each; the first names its kind."""
    return list(_lines(window))


def _lines(window: Window) -> Iterator[str]:
    match window:
        case Correlation():
            yield f"{window.kind} over {_time(window.timespan_ns)}"
            for bound in window.conditions:
                yield f"number {_SIGNS[bound.op]} {bound.value:g}"
            if window.field is not None:
                yield f"of {window.field.name}"
        case Matches():
            yield "every match"
        case Gathered():
            if window.schedule:
                yield f"alerts until the next time of schedule {window.schedule!r}, UTC, are one"
            else:
                yield f"alerts within {_time(window.within_ns)} of the first are one"
        case Frequency():
            yield f"at least {window.count:,} events in less than {_time(window.timespan_ns)}"
        case Flatline():
            yield f"fewer than {window.threshold:,} events in {_time(window.timespan_ns)}"
            if window.forget:
                yield "a group is forgotten after that"
        case Spike():
            ways = {"up": "more", "down": "less", "both": "more or less"}
            what = "events"
            if window.metric is not None:
                what = _metric(window.metric)
            elif window.field is not None:
                what = f"mean of {window.field.name}"
            yield (
                f"{what}: {window.height:g} times {ways[window.direction]} in "
                f"{_time(window.timespan_ns)} than in as long before"
            )
            yield f"at least {window.least_before:g} before and {window.least_now:g} now"
        case Change():
            names = ", ".join(field.name for field in window.fields)
            within = f" within {_time(window.timespan_ns)}" if window.timespan_ns else ""
            yield f"change of {names}{within}"
            if window.ignore_absent:
                yield "events without a value are left out"
        case NewTerm():
            terms = "; ".join(", ".join(field.name for field in term) for term in window.terms)
            yield f"new value of {terms}, after {_time(window.baseline_ns)} of learning"
            if window.absent:
                yield "events without a value match as well"
        case Cardinality():
            yield f"different values of {window.field.name} in {_time(window.timespan_ns)}"
            yield from _bounds(window.at_least, window.at_most)
        case Aggregate():
            yield _metric(window.metric)
            yield from _bounds(window.at_least, window.at_most)
        case Deduplicated():
            what = "different values" if window.unique else "matches"
            least = f", at least {window.threshold:,} {what}" * (window.threshold > 1)
            yield f"matches within {_time(window.period_ns)} of the first are one alert{least}"
        case Sequence() | Together():
            order = "in this order" if isinstance(window, Sequence) else "in any order"
            yield f"{order} within {_time(window.timespan_ns)}"
            for signal in window.signals:
                yield f"  {_signal(signal)}"
    realert = getattr(window, "realert", None)
    if realert is not None and realert.for_ns:
        grows = f", growing to {_time(realert.at_most_ns)}" * bool(realert.at_most_ns)
        yield f"further matches are held back for {_time(realert.for_ns)}{grows}"


def _signal(signal: Signal) -> str:
    within = f", within {_time(signal.within_ns)}" * bool(signal.within_ns)
    if signal.absent:
        return f"no {signal.name}{within}"
    most = f", at most {signal.at_most:,} times" if signal.at_most is not None else ""
    least = f", at least {signal.at_least:,} times" * (signal.at_least > 1)
    return f"{signal.name}{least}{most}{within}"


def _bounds(low: float | None, high: float | None) -> Iterator[str]:
    if low is not None:
        yield f"matches below {low:g}"
    if high is not None:
        yield f"matches above {high:g}"


def _metric(metric: Metric) -> str:
    of = f" of {metric.field.name}" if metric.field is not None else ""
    kind = f"percentile {metric.percent:g}" if metric.kind == "percentiles" else metric.kind
    return f"{kind}{of} over {_time(metric.span_ns)}"


def _time(span_ns: int) -> str:
    seconds = span_ns / 1e9
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
