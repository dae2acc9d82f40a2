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


Window = Correlation
"""Every kind of window. Each has `rules` (uids of the rules that feed it), `group_by`,
`aliases`, `generate` and `value_fields`; the rest is its own, and so is its fold
(`engine/windows/folds.py`)."""
