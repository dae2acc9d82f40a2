"""The rule IR: what every dialect lowers to, in one place.

Lossless as to case, wildcards and the order of conditions, so that a rule can be shown,
explained and written back. All nodes are frozen, compare by value and have a JSON form
(`trailhound.rules.book`). Predicates over one event stand in `trailhound.rules.predicates`,
windows over several in `trailhound.rules.windows`, what
findings say in `trailhound.rules.output`.
"""

from msgspec import Struct

from trailhound.model.findings import RuleInfo
from trailhound.model.logsource import LogSource
from trailhound.rules.output import LevelWhen, Output, Reading, Slot
from trailhound.rules.predicates import (
    And,
    Any1,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    InNetwork,
    IsNull,
    Keyword,
    Like,
    Not,
    Number,
    Or,
    Order,
    Path,
    PatternPart,
    Predicate,
    PythonCall,
    Regex,
    SameAs,
    Some,
    Step,
    StepName,
    Test,
    Text,
    TimePart,
)
from trailhound.rules.windows import (
    Aggregate,
    Alias,
    Cardinality,
    Change,
    Condition,
    Correlation,
    Deduplicated,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    Metric,
    NewTerm,
    Realert,
    Sequence,
    Signal,
    Spike,
    Together,
    Window,
)

__all__ = [
    "Aggregate",
    "Alias",
    "And",
    "Any1",
    "AnyRun",
    "AtLeast",
    "Cardinality",
    "Change",
    "Compare",
    "Condition",
    "Correlation",
    "Deduplicated",
    "Equals",
    "Exists",
    "Field",
    "Flatline",
    "Frequency",
    "Gathered",
    "InNetwork",
    "IsNull",
    "Keyword",
    "LevelWhen",
    "Like",
    "Matches",
    "Metric",
    "NewTerm",
    "Not",
    "Note",
    "Number",
    "Or",
    "Order",
    "Output",
    "Path",
    "PatternPart",
    "Predicate",
    "PythonCall",
    "Reading",
    "Realert",
    "Regex",
    "Rule",
    "RuleError",
    "SameAs",
    "Sequence",
    "Signal",
    "Slot",
    "Some",
    "Spike",
    "Step",
    "StepName",
    "Test",
    "Text",
    "TimePart",
    "Together",
    "Window",
]


class Note(Struct, frozen=True):
    """Something about a rule that its reader should know: a repair, a field that is odd."""

    text: str
    line: int = 0
    """1-based line of the rule file, 0: that of the rule."""
    column: int = 0
    """1-based column in that line, 0: that of the rule."""
    ignored: bool = False
    """Whether it says that a part of the rule has no effect here; `--strict` refuses those."""

    def at(self, rule: "Rule") -> str:
        """Return where in the file of its rule it belongs: `path:line:column`."""
        line, column = (self.line, self.column or 1) if self.line else (rule.info.line, rule.column)
        return f"{rule.info.path}:{line}:{column}"


class Rule(Struct, frozen=True, kw_only=True):
    """A rule of any dialect. Exactly one of `predicate` and `window` is set."""

    info: RuleInfo
    column: int = 1
    """1-based column of the line at which it begins."""
    logsource: LogSource = LogSource()
    predicate: Predicate | None = None
    window: Window | None = None
    name: str = ""
    """Short name by which windows may refer to it."""
    silent: bool = False
    """Feeds windows only; makes no finding of its own."""
    enabled: bool = True
    """False: its file switches it off. It is listed and checked, and never runs."""
    output: Output | None = None
    notes: tuple[Note, ...] = ()


class RuleError(Struct, frozen=True):
    """A rule, or a part of it, that cannot be used; the rest goes on."""

    path: str
    line: int
    reason: str
    column: int = 1
    """1-based, as is the line; of a file as a whole, both are 1."""
    rule: str = ""
    """Title or id of the rule where it could be read."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.reason}"
