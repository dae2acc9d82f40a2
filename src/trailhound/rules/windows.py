"""Windows: what must come together, in event time, over the events that rules matched."""

from typing import Literal

from msgspec import Struct

from trailhound.rules.predicates import Field, Predicate


class Condition(Struct, frozen=True):
    """A bound on the number a window yields."""

    op: Literal["lt", "lte", "gt", "gte", "eq", "neq"]
    value: int | float


class Alias(Struct, frozen=True):
    """A group field that goes by another name in each rule: (rule uid → field)."""

    name: str
    fields: tuple[tuple[str, Field], ...]


class Correlation(Struct, frozen=True, kw_only=True, tag="correlation"):
    """What must come together in time (Sigma Correlation Rules Specification 2.1.0)."""

    kind: Literal[
        "event_count",
        "value_count",
        "value_sum",
        "value_avg",
        "value_median",
        "value_percentile",
        "temporal",
        "temporal_ordered",
    ]
    rules: tuple[str, ...]
    """Uids of the rules whose findings it counts, in the order written."""
    timespan_ns: int
    group_by: tuple[Field, ...] = ()
    aliases: tuple[Alias, ...] = ()
    conditions: tuple[Condition, ...] = ()
    """All must hold. Empty for a temporal window: every rule at least once."""
    expression: Predicate | None = None
    """For temporal windows with an extended condition: `Keyword`-free tree whose `Exists`
    leaves name rule uids."""
    field: Field | None = None
    """What value windows count, sum or average."""
    percentile: int | None = None
    generate: bool = False
    """Whether the rules it refers to make findings of their own as well."""

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return (self.field,) if self.field is not None else ()


# --- ElastAlert -----------------------------------------------------------------------------


class Realert(Struct, frozen=True):
    """How long further matches of a group are held back after an alert (`realert`)."""

    for_ns: int
    at_most_ns: int = 0
    """Where the time doubles with each alert that follows soon: what it grows to
    (`exponential_realert`). 0: it stays the same."""


class Metric(Struct, frozen=True, kw_only=True):
    """A number over the events of a stretch of time."""

    kind: Literal[
        "min",
        "max",
        "avg",
        "sum",
        "cardinality",
        "value_count",
        "percentiles",
        "percentage",
    ]
    """`percentage`: how many of the events are of the window's first rule."""
    field: Field | None = None
    percent: float = 50
    """Which percentile."""
    span_ns: int
    """How long the stretch is that each number is of."""
    aligned: bool = False
    """Stretches follow on each other and begin at multiples of their length; else one ends
    with every run."""
    least_events: int = 1
    """With fewer events there is no number."""


class _Alerting(Struct, frozen=True, kw_only=True):
    """What windows of ElastAlert rules have in common (elastalert2 2.19, `ruletypes.py`).

    Each match is an alert, or is held back because there was one; both are in one finding.
    """

    rules: tuple[str, ...]
    group_by: tuple[Field, ...] = ()
    aliases: tuple[Alias, ...] = ()
    generate: bool = False
    realert: Realert = Realert(0)
    every_ns: int = 60_000_000_000
    """Between two runs of the rule (`run_every`): at their ends it is asked what is missing."""

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return ()


class Matches(_Alerting, frozen=True, kw_only=True, tag="matches"):
    """Every event, or every match of a `NewTerm` (also rule types `any` and the lists)."""


class Gathered(_Alerting, frozen=True, kw_only=True, tag="gathered"):
    """Alerts of a time in one (`aggregation`)."""

    within_ns: int = 0
    """From the first of them."""
    schedule: str = ""
    """Until the next time of this schedule (`rules/schedule.py`), in place of `within_ns`."""


class Frequency(_Alerting, frozen=True, kw_only=True, tag="frequency"):
    """So many events in less than a timeframe; counting begins anew after that."""

    count: int
    timespan_ns: int


class Flatline(_Alerting, frozen=True, kw_only=True, tag="flatline"):
    """Fewer events than that in a timeframe."""

    threshold: int
    timespan_ns: int
    forget: bool = False
    """Whether a group is forgotten once it was missed (`forget_keys`)."""


class Spike(_Alerting, frozen=True, kw_only=True, tag="spike"):
    """So many times more, or less, in a timeframe than in the one before."""

    timespan_ns: int
    height: float
    direction: Literal["up", "down", "both"]
    least_before: float = 0
    """`threshold_ref`."""
    least_now: float = 0
    """`threshold_cur`."""
    field: Field | None = None
    """Compare the means of this field (`field_value`); else the numbers of events."""
    metric: Metric | None = None
    """Compare numbers of each run (`spike_aggregation`)."""

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        field = self.metric.field if self.metric is not None else self.field
        return (field,) if field is not None else ()


class Change(_Alerting, frozen=True, kw_only=True, tag="change"):
    """Other values than the event before had."""

    fields: tuple[Field, ...]
    ignore_absent: bool = False
    timespan_ns: int = 0
    """Only where the event before is not older; 0: however old."""

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return self.fields


class NewTerm(_Alerting, frozen=True, kw_only=True, tag="new-term"):
    """A value that was not there before. It holds nothing back: a `Matches` over it does."""

    terms: tuple[tuple[Field, ...], ...]
    """Fields, or combinations of fields, whose values are looked at."""
    baseline_ns: int
    """So long, from its first event on, it only learns what is there."""
    absent: bool = False
    """Whether an event without the field matches (`alert_on_missing_field`)."""

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return tuple(field for term in self.terms for field in term)


class Cardinality(_Alerting, frozen=True, kw_only=True, tag="cardinality"):
    """More, or fewer, different values than that in a timeframe."""

    field: Field
    timespan_ns: int
    at_least: int | None = None
    at_most: int | None = None

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return (self.field,)


class Aggregate(_Alerting, frozen=True, kw_only=True, tag="aggregate"):
    """A number outside its bounds (`metric_aggregation`, `percentage_match`)."""

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return (self.metric.field,) if self.metric.field is not None else ()


# --- Panther --------------------------------------------------------------------------------


class Deduplicated(Struct, frozen=True, kw_only=True, tag="deduplicated"):
    """Matches of a group within a time are one alert (`DedupPeriodMinutes`, `Threshold`).

    The time begins with the first of them; what comes later begins the next.
    """

    rules: tuple[str, ...]
    period_ns: int
    threshold: int = 1
    """With fewer matches there is no alert."""
    unique: bool = False
    """Whether the threshold counts different values that the rule tells, not matches."""
    group_by: tuple[Field, ...] = ()
    """Rules in Python tell their group themselves: then it is one field without a path."""
    aliases: tuple[Alias, ...] = ()
    generate: bool = False

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return ()


class Signal(Struct, frozen=True, kw_only=True):
    """A part of a correlation rule: how often a rule must match, or must not."""

    name: str
    """As the rule calls it."""
    rules: tuple[int, ...]
    """Places in the window's `rules`, any of which counts."""
    at_least: int = 1
    at_most: int | None = None
    """0: it must be absent."""
    within_ns: int = 0
    """In a sequence: since the end of the step before that must be present; 0: no bound of its
    own. For one that must be absent: how long."""

    @property
    def absent(self) -> bool:
        """Whether it must not match."""
        return self.at_most == 0


class _Correlating(Struct, frozen=True, kw_only=True):
    rules: tuple[str, ...]
    signals: tuple[Signal, ...]
    timespan_ns: int
    """Everything lies within so much (`LookbackWindowMinutes`)."""
    group_by: tuple[Field, ...] = ()
    aliases: tuple[Alias, ...] = ()
    generate: bool = True

    @property
    def value_fields(self) -> tuple[Field, ...]:
        """The fields whose values it is fed."""
        return ()


class Sequence(_Correlating, frozen=True, kw_only=True, tag="sequence"):
    """Rules match one after the other (a correlation rule's `Sequence`)."""


class Together(_Correlating, frozen=True, kw_only=True, tag="together"):
    """Rules match in any order (a correlation rule's `Group`)."""


Window = (
    Correlation
    | Matches
    | Gathered
    | Frequency
    | Flatline
    | Spike
    | Change
    | NewTerm
    | Cardinality
    | Aggregate
    | Deduplicated
    | Sequence
    | Together
)
"""Every kind of window. Each has `rules` (uids of the rules that feed it), `group_by`,
`aliases`, `generate` and `value_fields`; the rest is its own, and so is its fold
(`engine/windows/folds.py`)."""
