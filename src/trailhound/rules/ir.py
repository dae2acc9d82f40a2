"""The rule IR: one closed set of node types that every dialect lowers to.

Lossless as to case, wildcards and the order of conditions, so that a rule can be shown,
explained and written back. All nodes are frozen, compare by value and have a JSON form
(`trailhound.rules.serial`).
"""

from typing import Literal

from msgspec import Struct

from trailhound.model.findings import RuleInfo
from trailhound.model.logsource import LogSource

Path = tuple[str, ...]


class Field(Struct, frozen=True):
    """A field as the rule names it, and where it is looked for.

    `paths` has more than one entry where a taxonomy offers alternatives; the field's values
    are then those of all of them together.
    """

    name: str
    paths: tuple[Path, ...]


# --- tests on one value ------------------------------------------------------------------


class Any1(Struct, frozen=True, tag="any-one"):
    """Wildcard: exactly one character (`?`)."""


class AnyRun(Struct, frozen=True, tag="any-run"):
    """Wildcard: any run of characters, also none (`*`)."""


class Text(Struct, frozen=True, tag="text"):
    """Literal text inside a pattern."""

    text: str


PatternPart = Text | AnyRun | Any1


class Equals(Struct, frozen=True, tag="equals"):
    """The value is this scalar.

    Compared as text, because one source writes `403` and the next `"403"`: numbers by their
    decimal form, booleans as `true` and `false`. Without `cased`, both sides in lower case.
    """

    value: str | int | float | bool
    cased: bool = False


class Like(Struct, frozen=True, tag="like"):
    """The whole value, as text, fits a pattern of literals and wildcards."""

    parts: tuple[PatternPart, ...]
    cased: bool = False


class Regex(Struct, frozen=True, tag="regex"):
    """A part of the value, as text, matches a regular expression."""

    pattern: str
    ignore_case: bool = False
    multiline: bool = False
    dotall: bool = False


class InNetwork(Struct, frozen=True, tag="in-network"):
    """The value is an IP address inside a network in CIDR form."""

    network: str


class Number(Struct, frozen=True, tag="number"):
    """The value, read as a number, compares so with a constant."""

    op: Literal["lt", "lte", "gt", "gte"]
    value: int | float


class IsNull(Struct, frozen=True, tag="is-null"):
    """The field is absent, or present with the value null."""


class SameAs(Struct, frozen=True, tag="same-as"):
    """The value stands so to a value of another field of the same event."""

    other: Field
    how: Literal["equals", "startswith", "endswith", "contains"] = "equals"
    cased: bool = False


class TimePart(Struct, frozen=True, tag="time-part"):
    """A part of the value, read as an ISO 8601 time in the zone it is written in, is this."""

    part: Literal["minute", "hour", "day", "week", "month", "year"]
    value: int


Test = Equals | Like | Regex | InNetwork | Number | IsNull | SameAs | TimePart

# --- predicates over one event -----------------------------------------------------------


class And(Struct, frozen=True, tag="and"):
    """All hold. With no items: true."""

    items: tuple["Predicate", ...]
    label: str = ""
    """What the rule calls this part: `selection`, `filter_main_system`."""


class Or(Struct, frozen=True, tag="or"):
    """At least one holds. With no items: false."""

    items: tuple["Predicate", ...]
    label: str = ""


class Not(Struct, frozen=True, tag="not"):
    """It does not hold."""

    item: "Predicate"


class AtLeast(Struct, frozen=True, tag="at-least"):
    """At least `count` of the items hold."""

    count: int
    items: tuple["Predicate", ...]
    label: str = ""


class Compare(Struct, frozen=True, tag="compare"):
    """Some value of the field passes the test.

    A path that crosses a list reaches every element of it, so a field may have many values.
    """

    field: Field
    test: Test


class Keyword(Struct, frozen=True, tag="keyword"):
    """Some text anywhere in the event passes the test (a condition that names no field)."""

    test: Equals | Like | Regex


class Exists(Struct, frozen=True, tag="exists"):
    """The field is present, whatever its value, null and empty included."""

    field: Field


class Some(Struct, frozen=True, tag="some"):
    """One and the same element of the list at the field fulfils the predicate.

    Fields inside `item` are read relative to the element; the empty path is the element
    itself. `every` asks it of all elements and of at least one.
    """

    field: Field
    item: "Predicate"
    every: bool = False


Predicate = And | Or | Not | AtLeast | Compare | Keyword | Exists | Some

# --- windows over several events ---------------------------------------------------------


class Condition(Struct, frozen=True):
    """A bound on the number a window yields."""

    op: Literal["lt", "lte", "gt", "gte", "eq", "neq"]
    value: int | float


class Alias(Struct, frozen=True):
    """A group field that goes by another name in each rule: (rule uid → field)."""

    name: str
    fields: tuple[tuple[str, Field], ...]


class Window(Struct, frozen=True, kw_only=True):
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


# --- rules -------------------------------------------------------------------------------


class Note(Struct, frozen=True):
    """Something about a rule that its reader should know: a repair, a field that is odd."""

    text: str
    line: int = 0
    """1-based line of the rule file, 0 where unknown."""


class Rule(Struct, frozen=True, kw_only=True):
    """A rule of any dialect. Exactly one of `predicate` and `window` is set."""

    info: RuleInfo
    logsource: LogSource = LogSource()
    predicate: Predicate | None = None
    window: Window | None = None
    name: str = ""
    """Short name by which windows may refer to it."""
    silent: bool = False
    """Feeds windows only; makes no finding of its own."""
    notes: tuple[Note, ...] = ()


class RuleError(Struct, frozen=True):
    """A rule, or a part of it, that cannot be used; the rest goes on."""

    path: str
    line: int
    reason: str
    column: int = 0
    rule: str = ""
    """Title or id of the rule where it could be read."""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" + (f":{self.column}" if self.column else "")
        return f"{place}: {self.reason}"
