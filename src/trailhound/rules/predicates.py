"""Predicates over one event: the closed set of nodes that every dialect lowers to.

Lossless as to case, wildcards and the order of conditions, so that a rule can be shown,
explained and written back. All nodes are frozen, compare by value and have a JSON form
(`trailhound.rules.book`).
"""

from typing import Literal

from msgspec import Struct

Path = tuple[str, ...]


StepName = Literal[
    "base64",
    "basename",
    "committed-secrets",
    "container-identity",
    "count",
    "get",
    "host-port",
    "image-repository",
    "join",
    "json",
    "keys-except",
    "last",
    "length",
    "lower",
    "pair",
    "path-part",
    "query-parameter",
    "sum",
    "time",
    "trim-end",
    "trim-start",
    "upper",
    "where",
    "with-start",
    "without-end",
]
"""What can be done with the values of a field before they are compared; see `Step`."""


class Step(Struct, frozen=True):
    """One transformation of a field's values: closed, pure, without state.

    What each does stands with its function in `engine/steps.py`. A value that a step cannot
    read is left out, so that the field may have none afterwards.
    """

    name: StepName
    arguments: tuple[str, ...] = ()


class Field(Struct, frozen=True, omit_defaults=True):
    """A field as the rule names it, and where it is looked for.

    `paths` has more than one entry where a taxonomy offers alternatives; the field's values
    are then those of all of them together.
    """

    name: str
    paths: tuple[Path, ...]
    via: tuple[Step, ...] = ()
    """What is done, in this order, with what stands there (lists left whole). A field with
    steps is not what the document says at its paths: nothing may be concluded from those."""


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


class Order(Struct, frozen=True, tag="order"):
    """The value, as text, stands so to a text, character by character (C's `strcmp`)."""

    op: Literal["lt", "lte", "gt", "gte"]
    value: str


class IsNull(Struct, frozen=True, tag="is-null"):
    """The field is absent, or present with the value null."""


class SameAs(Struct, frozen=True, tag="same-as"):
    """The value stands so to a value of another field of the same event."""

    other: Field
    how: Literal["equals", "startswith", "endswith", "contains", "lt", "lte", "gt", "gte"] = (
        "equals"
    )
    """`lt` and the like: both read as numbers."""
    cased: bool = False


class TimePart(Struct, frozen=True, tag="time-part"):
    """A part of the value, read as an ISO 8601 time in the zone it is written in, stands so."""

    part: Literal["minute", "hour", "day", "week", "month", "year"]
    value: int | float
    op: Literal["is", "lt", "lte", "gt", "gte"] = "is"


Test = Equals | Like | Regex | InNetwork | Number | Order | IsNull | SameAs | TimePart

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


class Some(Struct, frozen=True, tag="some", omit_defaults=True):
    """One and the same element of the list at the field fulfils the predicate.

    Fields inside `item` are read relative to the element; the empty path is the element
    itself. `every` asks it of all elements and of at least one, `once` of one and no other.
    """

    field: Field
    item: "Predicate"
    every: bool = False
    once: bool = False


class PythonCall(Struct, frozen=True, tag="python-call"):
    """A program of the rule says yes of the whole event (`trailhound.rules.python`).

    The engine runs no code of others: to it this holds. What it lets through is a candidate,
    of which the pipeline asks the program. So it stands only where more candidates do no harm:
    by itself, or as an item of the outermost `And`.
    """

    program: str
    """Id of the program, in the rule set."""
    log_type: str = ""
    """What the program is told of the event's kind (Panther's `p_log_type`)."""


Predicate = And | Or | Not | AtLeast | Compare | Keyword | Exists | Some | PythonCall
