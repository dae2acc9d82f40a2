"""The twelve types of rules, each to what the engine runs: predicates, and a window over them.

Semantics: elastalert2 2.19, `elastalert/ruletypes.py` and `ElastAlerter.run_rule`.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

from msgspec import Struct

from trailhound.dialects.elastalert.analysis import UnknownExpression, expression
from trailhound.dialects.elastalert.leaves import Where
from trailhound.dialects.elastalert.lower import Lowering
from trailhound.dialects.elastalert.options import Options
from trailhound.rules.ir import (
    Aggregate,
    And,
    AnyRun,
    Cardinality,
    Change,
    Compare,
    Equals,
    Field,
    Flatline,
    Frequency,
    Like,
    Matches,
    Metric,
    NewTerm,
    Not,
    Or,
    Predicate,
    Realert,
    Regex,
    Some,
    Spike,
    Test,
    Window,
)

_MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
_PRESENT = Like((AnyRun(),))
_METRICS = ("min", "max", "avg", "sum", "cardinality", "value_count", "percentiles")
_EXTERNAL = "!file"


class Run(Struct, frozen=True):
    """How often a rule is run, and over how much; from its file or its `config.yaml`."""

    every_ns: int
    buffer_ns: int


class Made(Struct, frozen=True):
    """What a rule comes to: predicates, each for a hidden rule, and the window over them.

    Without a window there is one predicate, and that is the rule.
    """

    predicates: tuple[Predicate, ...]
    window: Window | None = None
    over: Matches | None = None
    """A window over that one, where it makes no alerts itself; its `rules` are to be filled in."""


class Context(Struct, frozen=True):
    """What the types read a rule with."""

    options: Options
    lowering: Lowering
    where: Predicate
    """The filters of the rule."""
    realert: Realert
    gathered: bool
    """Whether its alerts go on into another window."""
    run: Run
    lists: Callable[[str], list[str] | None]
    """Lines of a file that the rule names; None where it cannot be read."""
    note: Callable[..., None]
    """Takes a sentence, and the keys it is about."""
    uids: tuple[str, ...]
    """Of the hidden rules, as many as there may be."""

    def fields(self, key: str) -> tuple[Field, ...]:
        """Return the fields that an option names."""
        return tuple(self.lowering.field(name) for name in self.options.texts(key))

    def common(self) -> dict[str, Any]:
        """Return what every window has."""
        return {
            "rules": self.uids[:1],
            "group_by": self.fields("query_key"),
            "realert": self.realert,
            "every_ns": self.run.every_ns,
        }


def make(kind: str, context: Context) -> Made:
    """Return what a rule of a type comes to. Raises `Rejected`."""
    return _MAKERS[kind](context)


# --- one event -----------------------------------------------------------------------------


def _each(context: Context, predicate: Predicate) -> Made:
    if context.realert.for_ns or context.gathered:
        return Made((predicate,), Matches(**context.common()))
    return Made((predicate,))


def _any(context: Context) -> Made:
    return _each(context, context.where)


def _blacklist(context: Context) -> Made:
    context.options.need("compare_key", "blacklist")
    field = _compared(context)
    tests = _entries(context, "blacklist")
    listed = Or(tuple(Compare(field, test) for test in tests), f"{field.name} is blacklisted")
    return _each(context, And((context.where, listed)))


def _whitelist(context: Context) -> Made:
    context.options.need("compare_key", "whitelist", "ignore_null")
    field = _compared(context)
    # One value that is not listed is enough: another beside it that is must not hide it.
    value = Field(field.name, ((),))
    tests = _entries(context, "whitelist")
    strange = And(
        (Compare(value, _PRESENT), Not(Or(tuple(Compare(value, test) for test in tests)))),
        f"{field.name} is not whitelisted",
    )
    outside: Predicate = Some(field, strange)
    if not context.options.flag("ignore_null"):
        outside = Or((outside, Not(Compare(field, _PRESENT))))
    return _each(context, And((context.where, outside)))


def _compared(context: Context) -> Field:
    fields = context.fields("compare_key")
    if len(fields) != 1:
        raise context.options.reject("compare_key must be one field here", "compare_key")
    return fields[0]


def _entries(context: Context, key: str) -> list[Test]:
    tests: list[Test] = []
    for entry in context.options.texts(key):
        values = [entry]
        if entry.startswith(_EXTERNAL):
            name = file_of(entry)
            lines = context.lists(name) if name else None
            if lines is None:
                raise context.options.reject(f"{key}: the file {name!r} cannot be read", key)
            values = lines
        for value in values:
            if len(value) > 2 and value.startswith("/") and value.endswith("/"):
                tests.append(_expression(context, key, value))
            else:
                tests.append(Equals(value, cased=True))
    return tests


def _expression(context: Context, key: str, entry: str) -> Regex:
    if key == "blacklist":
        context.note(
            f"ElastAlert compares {entry!r} letter by letter and never finds it; here it is the "
            "regular expression it was meant as",
            key,
        )
    try:
        return Regex(f"^(?:{expression(entry[1:-1])})$", dotall=True)
    except UnknownExpression as error:
        raise context.options.reject(f"{key}: {entry}: {error}", key) from None


def file_of(entry: str) -> str:
    """Return the file that an entry of a list names: `!file names.txt`."""
    return entry.removeprefix(_EXTERNAL).strip()


# --- several events ------------------------------------------------------------------------


def _change(context: Context) -> Made:
    options = context.options
    options.need("query_key", "compare_key", "ignore_null")
    window = Change(
        **context.common(),
        fields=context.fields("compare_key"),
        ignore_absent=options.flag("ignore_null"),
        timespan_ns=options.span_ns("timeframe") or 0,
    )
    return Made((context.where,), window)


def _frequency(context: Context) -> Made:
    context.options.need("num_events", "timeframe")
    window = Frequency(
        **context.common(),
        count=context.options.whole("num_events", 1) or 1,
        timespan_ns=context.options.frame_ns("timeframe"),
    )
    return Made((context.where,), window)


def _flatline(context: Context) -> Made:
    context.options.need("threshold", "timeframe")
    context.note(
        "a group counts as missing only after its first event; a log without any says nothing",
        "type",
    )
    window = Flatline(
        **context.common(),
        threshold=context.options.whole("threshold") or 0,
        timespan_ns=context.options.frame_ns("timeframe"),
        forget=context.options.flag("forget_keys"),
    )
    return Made((context.where,), window)


def _spike(context: Context) -> Made:
    options = context.options
    named = options.text("field_value")
    window = Spike(**_spiking(context), field=context.lowering.field(named) if named else None)
    return Made((context.where,), window)


def _spike_aggregation(context: Context) -> Made:
    if "bucket_interval" in context.options:
        raise context.options.reject(
            "bucket_interval has no meaning for spike_aggregation", "bucket_interval"
        )
    window = Spike(**_spiking(context), metric=_metric(context))
    return Made((context.where,), window)


def _spiking(context: Context) -> dict[str, Any]:
    options = context.options
    options.need("spike_height", "spike_type", "timeframe")
    height = options.number("spike_height")
    if height is None or height <= 0:
        raise options.reject("spike_height must be greater than 0", "spike_height")
    return {
        **context.common(),
        "timespan_ns": options.frame_ns("timeframe"),
        "height": height,
        "direction": options.one_of("spike_type", ("up", "down", "both")),
        "least_before": options.number("threshold_ref") or 0,
        "least_now": options.number("threshold_cur") or 0,
    }


def _new_term(context: Context) -> Made:
    options = context.options
    key = "fields" if "fields" in options else "query_key"
    listed = options.content.get(key)
    if not listed:
        raise options.reject("type new_term needs fields or query_key", "type")
    if not isinstance(listed, list):
        listed = [listed]
    if not all(isinstance(each, str) or _is_texts(each) for each in listed):
        raise options.reject(f"{key} must hold names of fields, or lists of them", key)
    named = [[each] if isinstance(each, str) else each for each in listed]
    baseline_ns = options.span_ns("terms_window_size")
    baseline_ns = 30 * DAY_NS if baseline_ns is None else baseline_ns
    context.note(
        f"what is there in the first {_time(baseline_ns)} of the log is its baseline "
        "(terms_window_size): there is no index to ask what was there before",
        "terms_window_size" if "terms_window_size" in options else "type",
    )
    window = NewTerm(
        rules=context.uids[:1],
        every_ns=context.run.every_ns,
        terms=tuple(tuple(context.lowering.field(name) for name in term) for term in named),
        baseline_ns=baseline_ns,
        absent=options.flag("alert_on_missing_field"),
    )
    # What is known is known for all; alerts are held back by query_key.
    return Made((context.where,), window, Matches(**context.common()))


def _time(span_ns: int) -> str:
    units = (("days", DAY_NS), ("hours", 60 * _MINUTE_NS), ("minutes", _MINUTE_NS))
    for unit, size_ns in units:
        if span_ns >= size_ns:
            return f"{span_ns / size_ns:g} {unit}"
    return f"{span_ns / 1e9:g} seconds"


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _cardinality(context: Context) -> Made:
    options = context.options
    options.need("cardinality_field", "timeframe")
    if "min_cardinality" not in options and "max_cardinality" not in options:
        raise options.reject("type cardinality needs min_cardinality or max_cardinality", "type")
    window = Cardinality(
        **context.common(),
        field=context.lowering.field(options.text("cardinality_field")),
        timespan_ns=options.frame_ns("timeframe"),
        at_least=options.whole("min_cardinality", 1),
        at_most=options.whole("max_cardinality"),
    )
    return Made((context.where,), window)


def _metric_aggregation(context: Context) -> Made:
    options = context.options
    low, high = options.number("min_threshold"), options.number("max_threshold")
    if low is None and high is None:
        raise options.reject("type metric_aggregation needs min_threshold or max_threshold", "type")
    window = Aggregate(**context.common(), metric=_metric(context), at_least=low, at_most=high)
    return Made((context.where,), window)


def _percentage_match(context: Context) -> Made:
    options = context.options
    options.need("match_bucket_filter")
    low, high = options.number("min_percentage"), options.number("max_percentage")
    if low is None and high is None:
        raise options.reject("type percentage_match needs min_percentage or max_percentage", "type")
    listed = options.content["match_bucket_filter"]
    where = Where(("match_bucket_filter",), certain=False)
    bucket = context.lowering.filters(listed if isinstance(listed, list) else [listed], where)
    metric = Metric(
        kind="percentage",
        least_events=max(1, options.whole("min_denominator") or 1, _least(context)),
        **_stretch(context),
    )
    common = {**context.common(), "rules": context.uids[:2]}
    window = Aggregate(**common, metric=metric, at_least=low, at_most=high)
    within, without = And((context.where, bucket)), And((context.where, Not(bucket)))
    return Made((within, without), window)


def _metric(context: Context) -> Metric:
    options = context.options
    options.need("metric_agg_key", "metric_agg_type")
    if "metric_agg_script" in options:
        raise options.reject("metric_agg_script: scripts are not run", "metric_agg_script")
    kind = options.one_of("metric_agg_type", _METRICS)
    percent = options.number("percentile_range")
    if kind == "percentiles" and (percent is None or not 0 <= percent <= 100):
        raise options.reject("percentile_range must be between 0 and 100", "percentile_range")
    return Metric(
        kind=cast("Literal['min']", kind),
        field=context.lowering.field(options.text("metric_agg_key")),
        percent=percent if percent is not None else 50,
        least_events=_least(context),
        **_stretch(context),
    )


def _least(context: Context) -> int:
    # Only buckets of a query key are left out for having few documents.
    least = context.options.whole("min_doc_count", 0) or 1
    return least if "query_key" in context.options else 1


def _stretch(context: Context) -> dict[str, Any]:
    options = context.options
    if "bucket_interval" in options:
        return {"span_ns": options.frame_ns("bucket_interval"), "aligned": True}
    if options.flag("use_run_every_query_size"):
        return {"span_ns": context.run.every_ns}
    if "buffer_time" not in options:
        context.note(
            f"buffer_time is not in the rule: numbers are taken over "
            f"{context.run.buffer_ns / _MINUTE_NS:g} minutes",
            "type",
        )
    return {"span_ns": context.run.buffer_ns}


_MAKERS: dict[str, Callable[[Context], Made]] = {
    "any": _any,
    "blacklist": _blacklist,
    "whitelist": _whitelist,
    "change": _change,
    "frequency": _frequency,
    "spike": _spike,
    "spike_aggregation": _spike_aggregation,
    "flatline": _flatline,
    "new_term": _new_term,
    "cardinality": _cardinality,
    "metric_aggregation": _metric_aggregation,
    "percentage_match": _percentage_match,
}
TYPES = tuple(_MAKERS)
