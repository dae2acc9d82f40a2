"""Rules that are Python: what it takes to run one on events, and what it answers.

Plain data, no execution: the code of others runs in a process of its own, which
`trailhound.pipeline.python_rules` keeps. A predicate refers to a program with `PythonCall`.
The functions and what they may return are those of Panther
(https://docs.panther.com/detections/rules/python, "Python rule functions").
"""

from typing import Any, Literal

from msgspec import Struct

from trailhound.model.findings import RuleInfo

Function = Literal[
    "rule",
    "title",
    "dedup",
    "unique",
    "severity",
    "description",
    "reference",
    "runbook",
    "destinations",
    "alert_context",
]
"""What a program may define; `rule` decides, and it must."""

FUNCTIONS: tuple[Function, ...] = (
    "rule",
    "title",
    "dedup",
    "unique",
    "severity",
    "description",
    "reference",
    "runbook",
    "destinations",
    "alert_context",
)


class ModelField(Struct, frozen=True):
    """One name of a data model, and where its value is: exactly one of the two is set."""

    name: str
    """What rules ask for: `event.udm("actor_user")`."""
    path: str = ""
    """A key, a dotted path, or a JSON path (`$.requestParameters.items[*].name`)."""
    method: str = ""
    """A function of the model's own source that takes the event."""


class DataModel(Struct, frozen=True, kw_only=True):
    """What `event.udm(name)` means for the events of some log types."""

    model_id: str
    path: str
    """Its file, as shown to people."""
    log_types: tuple[str, ...]
    mappings: tuple[ModelField, ...]
    source: str = ""
    """The Python that its methods stand in; empty where it has none."""


class PythonModule(Struct, frozen=True):
    """Python that programs can import."""

    name: str
    path: str
    """Its file, as shown to people."""
    source: str


class PythonProgram(Struct, frozen=True, kw_only=True):
    """Everything needed to run one detection."""

    rule_id: str
    path: str
    """The file of its Python, as shown to people."""
    source: str
    helpers: tuple[tuple[str, str], ...] = ()
    """Modules that it and each of them may import: (name, source)."""
    models: tuple[DataModel, ...] = ()
    """For `event.udm`: the model whose log types hold the event's `p_log_type`."""


class PythonError(Struct, frozen=True):
    """What went wrong while a program ran."""

    function: Function | Literal[""]
    """Which of its functions failed; empty: it could not be loaded, or its process died."""
    reason: str
    """One line: `KeyError: 'user'`; `over 5 s`."""
    line: int = 0
    """1-based line of the program's file; 0: elsewhere, or unknown."""


class PythonAnswer(Struct, frozen=True, kw_only=True):
    """What a program says of one event.

    Only `matched` is there where the event does not match. A function that the program lacks
    leaves None, and so does one that fails: then it is among the errors.
    """

    matched: bool = False
    """False also where `rule` failed."""
    title: str | None = None
    dedup: str | None = None
    unique: str | None = None
    """A value: the rule's threshold counts different ones, not events."""
    severity: str | None = None
    """As returned, in upper case: `INFO`, `LOW`, `MEDIUM`, `HIGH`, `CRITICAL`, `DEFAULT`."""
    description: str | None = None
    reference: str | None = None
    runbook: str | None = None
    destinations: tuple[str, ...] | None = None
    alert_context: dict[str, Any] | None = None
    """Plain JSON data."""
    errors: tuple[PythonError, ...] = ()
    cost_ns: int = 0
    """Processor time that it took, in nanoseconds."""


class TestedOnly(Struct, frozen=True, kw_only=True):
    """A detection that reads no log, and never runs here, but for the tests in its file."""

    info: RuleInfo
    program: PythonProgram
    policy: bool = False
    """Its program says True of a resource that is as it should be, False of one to alert on."""


class InlineTest(Struct, frozen=True, kw_only=True):
    """A test that stands in a rule file (Panther's `Tests`)."""

    rule_id: str
    name: str
    path: str
    line: int
    expected: bool
    """Whether the rule must match (`ExpectedResult`)."""
    log: Any
    """The event: a mapping, in a well-formed test; of a correlation rule its `RuleOutputs`."""
    mocks: tuple[tuple[str, Any], ...] = ()
    """For the test, the object of this name in the program's module returns that value."""
