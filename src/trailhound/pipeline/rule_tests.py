"""Runs the tests that stand in rule files (Panther's `Tests`).

The verdict is that of panther_analysis_tool 1.11 (`pat test`): a test that expects a match passes
where `rule` returns True and no function fails; one that expects none passes where `rule` returns
False, whatever the others do. Besides, what Trailhound asks of an event before its Python runs
(inline filters, and conditions read from the code) must not hold a match back. What `pat` leaves to
Panther's servers is run here: rules in YAML, inline filters, and correlation rules. Policies and
scheduled rules read no log, so they run in no scan; their tests do.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from msgspec import Struct

from trailhound.dialects.panther.keys import NOT_RUN
from trailhound.dialects.panther.logs import document_of
from trailhound.dialects.panther.rule_outputs import signalled
from trailhound.engine.match import matcher
from trailhound.engine.tests import BadPattern, GaveUp
from trailhound.engine.windows.contract import NEVER, Feed, Outcome
from trailhound.engine.windows.folds import FOLDS
from trailhound.engine.windows.paged import Shelf
from trailhound.pipeline.python_rules.cells import CellEnded, NotLoaded
from trailhound.pipeline.python_rules.workers import PythonWorkers
from trailhound.pipeline.test_filters import Filter
from trailhound.rules.book import RuleSet
from trailhound.rules.ir import (
    And,
    AtLeast,
    Not,
    Or,
    Predicate,
    PythonCall,
    Rule,
    RuleError,
    Some,
    Together,
)
from trailhound.rules.ir import Sequence as SequenceWindow
from trailhound.rules.python import FUNCTIONS, InlineTest, PythonError, PythonProgram

_MINUTE_NS = 60_000_000_000
_TRUE: Predicate = And(())
_FALSE: Predicate = Or(())
_ORDER: dict[str, int] = {name: place for place, name in enumerate(FUNCTIONS)}
_HELD_BACK = (
    "rule() returned True, and the inline filters, or what is asked of an event before its "
    "Python runs, hold it back"
)


class FunctionResult(Struct, frozen=True):
    """What one function of a rule did in a test."""

    function: str
    output: Any = None
    error: str = ""
    line: int = 0
    """Of the rule's Python; 0: unknown."""


class TestResult(Struct, frozen=True, kw_only=True):
    """What came of one test."""

    rule_id: str
    name: str
    path: str
    line: int
    expected: bool
    matched: bool | None
    """None: the rule failed, or cannot be asked."""
    passed: bool
    reasons: tuple[str, ...] = ()
    """Why it did not pass."""
    functions: tuple[FunctionResult, ...] = ()


class TestReport(Struct, frozen=True, kw_only=True):
    """What came of all tests of a run."""

    tests: tuple[TestResult, ...]
    untested: tuple[str, ...]
    """Rules without tests."""
    skipped: tuple[RuleError, ...]
    """What has no tests and does not run here: saved queries, lookup tables."""
    errors: tuple[RuleError, ...]
    """Rules that cannot be used, tested or not."""

    @property
    def failed(self) -> int:
        """How many tests did not pass."""
        return sum(not test.passed for test in self.tests)


class _Verdict(Struct):
    matched: bool | None = None
    functions: tuple[FunctionResult, ...] = ()
    reasons: tuple[str, ...] = ()


def run_tests(
    ruleset: RuleSet, workers: PythonWorkers, filters: Sequence[Filter] = ()
) -> TestReport:
    """Run the tests of a rule set.

    Args:
        ruleset: the rules, with their tests and programs.
        workers: what runs rules in Python.
        filters: which rules and tests are meant; all of them must let a test through.
    """
    rules = _Rules(ruleset)
    wanted: dict[str, list[InlineTest]] = {}
    for test in ruleset.tests:
        facts = rules.facts(test.rule_id, test.name)
        if facts is not None and all(each.lets(facts) for each in filters):
            wanted.setdefault(test.rule_id, []).append(test)
    with ThreadPoolExecutor(max_workers=workers.jobs) as pool:
        found = list(pool.map(lambda tests: _tested(tests, rules, workers), wanted.values()))
    tested = {test.rule_id for test in ruleset.tests}
    by_rule = [each for each in filters if each.key != "Test"]
    untested = [
        rule_id
        for rule_id in rules.ids
        if rule_id not in tested
        and all(each.lets(rules.facts(rule_id, "") or {}) for each in by_rule)
    ]
    broken = [error for _, error in found if error is not None]
    not_run = set(NOT_RUN.values())
    return TestReport(
        tests=tuple(result for results, _ in found for result in results),
        untested=tuple(untested),
        skipped=tuple(
            error
            for error in ruleset.errors
            if error.reason in not_run and error.rule not in rules.tested
        ),
        errors=(*(error for error in ruleset.errors if error.reason not in not_run), *broken),
    )


def _tested(
    tests: Sequence[InlineTest], rules: "_Rules", workers: PythonWorkers
) -> tuple[list[TestResult], RuleError | None]:
    """Run the tests of one rule; with an error where it cannot be loaded."""
    results = []
    for test in tests:
        try:
            results.append(_result(test, _verdict(test, rules, workers)))
        except NotLoaded as error:
            path = rules.path(test.rule_id)
            line, reason = error.error.line or 1, error.error.reason
            none = _Verdict(reasons=("the rule cannot be loaded",))
            unasked = [_result(each, none) for each in tests]
            return unasked, RuleError(path, line, reason, rule=test.rule_id)
    return results, None


class _Rules:
    """The rules of a run, by the id that their file gives them."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.programs = ruleset.programs
        self._hits: dict[str, dict[str, list[Rule]]] = {}
        """Id → log type → rules over its events."""
        self._told: dict[str, Rule] = {}
        """Id → the rule that makes findings, or the first of those over events."""
        self.tested = {each.info.uid: each for each in ruleset.tested}
        """Id → what is no rule of the run."""
        panther = [
            rule
            for rule in ruleset.rules
            if rule.info.dialect == "panther" and rule.info.uid not in self.tested
        ]
        for rule in panther:
            if rule.predicate is None:
                self._told[rule.info.uid] = rule
        for rule in panther:
            if rule.predicate is not None:
                rule_id, _, log_type = rule.info.uid.rpartition(":")
                # Several logs of one type are numbered.
                log_type = log_type.rstrip("0123456789").rstrip(".") or log_type
                self._hits.setdefault(rule_id, {}).setdefault(log_type, []).append(rule)
                self._told.setdefault(rule_id, rule)

    @property
    def ids(self) -> list[str]:
        """Every id, in the order of the rules."""
        return [*self._told, *self.tested]

    def facts(self, rule_id: str, test: str) -> dict[str, Sequence[str]] | None:
        """Return what filters ask for; None where there is no such rule."""
        rule = self._told.get(rule_id) or self.tested.get(rule_id)
        if rule is None:
            return None
        level = "info" if rule.info.level.label == "informational" else rule.info.level.label
        return {
            "RuleID": [rule_id],
            "Severity": [level],
            "LogTypes": list(self._hits.get(rule_id, ())),
            "Tags": rule.info.tags,
            "Status": [rule.info.status or ""],
            "Test": [test],
        }

    def path(self, rule_id: str) -> str:
        """Return the file of the Python of a rule."""
        tested = self.tested.get(rule_id)
        return (tested.program if tested else self.programs[rule_id]).path

    def window(self, rule_id: str) -> SequenceWindow | Together | None:
        """Return the window of a correlation rule."""
        window = self._told[rule_id].window
        return window if isinstance(window, SequenceWindow | Together) else None

    def over(self, rule_id: str, log_type: str) -> Iterator[tuple[str, Predicate]]:
        """Return log type and predicate of each rule over events of a type, or over any."""
        by_type = self._hits.get(rule_id, {})
        for name in [log_type] if log_type in by_type else by_type:
            for rule in by_type[name]:
                if rule.predicate is not None:
                    yield name, rule.predicate


def _verdict(test: InlineTest, rules: _Rules, workers: PythonWorkers) -> _Verdict:
    """Say what came of a test; raises `NotLoaded`."""
    if test.rule_id in rules.tested:
        return _alone(test, rules, workers)
    window = rules.window(test.rule_id)
    if window is not None:
        return _correlated(test, window)
    if not isinstance(test.log, dict):
        return _Verdict(reasons=("its Log is not a mapping",))
    program = rules.programs.get(test.rule_id)
    tried = _Verdict() if program is None else _tried(program, test, workers)
    if tried.reasons:
        return tried
    # A rule in YAML asks no program, and then this is not looked at.
    answer = _TRUE if tried.matched else _FALSE
    matched = _matches(test.log, answer, rules.over(test.rule_id, _log_type(test.log)))
    if matched is None:
        return _Verdict(
            None, tried.functions, ("a regular expression of the rule gave up, or is none",)
        )
    reasons = _unexpected(test, matched=matched)
    if test.expected and any(result.error for result in tried.functions):
        reasons += ("a function failed",)
    if reasons and tried.matched and not matched:
        reasons += (_HELD_BACK,)
    return _Verdict(matched, tried.functions, reasons)


def _alone(test: InlineTest, rules: _Rules, workers: PythonWorkers) -> _Verdict:
    """Say what came of a test of what reads no log; raises `NotLoaded`."""
    if not isinstance(test.log, dict):
        return _Verdict(reasons=("its Log or Resource is not a mapping",))
    # What a query or a scan of an account finds is no log, so data models do not apply.
    tested = rules.tested[test.rule_id]
    tried, policy = _tried(tested.program, test, workers), tested.policy
    functions = tuple(map(_of_policy, tried.functions)) if policy else tried.functions
    if tried.reasons or tried.matched is None:
        reasons = tried.reasons
        if policy:
            reasons = tuple(reason.replace("rule failed", "policy failed") for reason in reasons)
        return _Verdict(None, functions, reasons)
    reasons = ()
    if tried.matched is not test.expected:
        decides = "policy" if policy else "rule"
        reasons = (f"expected {test.expected}, and {decides} returned {tried.matched}",)
    if test.expected is not policy and any(result.error for result in functions):
        reasons += ("a function failed",)
    return _Verdict(tried.matched is not policy, functions, reasons)


def _of_policy(result: FunctionResult) -> FunctionResult:
    if result.function != "rule":
        return result
    error = result.error.replace("rule()", "policy()", 1)
    return msgspec.structs.replace(result, function="policy", error=error)


def _tried(program: PythonProgram, test: InlineTest, workers: PythonWorkers) -> _Verdict:
    """Ask the functions of a rule; with reasons where it comes to no verdict."""
    try:
        trial = workers.trial(program, test.log, test.mocks)
    except NotLoaded:
        raise
    except CellEnded as ended:
        return _Verdict(None, (_failure(ended.error),), ("its process ended",))
    functions = tuple(
        sorted(
            (
                *(FunctionResult(name, output) for name, output in trial.outputs.items()),
                *map(_failure, trial.errors),
            ),
            key=lambda result: _ORDER.get(result.function, -1),
        )
    )
    said = trial.outputs.get("rule")
    if not isinstance(said, bool):
        failed = any(result.function == "rule" for result in functions)
        return _Verdict(None, functions, ("rule failed" if failed else "it cannot be set up",))
    return _Verdict(said, functions)


def _failure(error: PythonError) -> FunctionResult:
    return FunctionResult(error.function, None, error.reason, error.line)


def _result(test: InlineTest, verdict: _Verdict) -> TestResult:
    return TestResult(
        rule_id=test.rule_id,
        name=test.name,
        path=test.path,
        line=test.line,
        expected=test.expected,
        matched=verdict.matched,
        passed=not verdict.reasons,
        reasons=verdict.reasons,
        functions=verdict.functions,
    )


def _log_type(log: Mapping[str, Any]) -> str:
    return str(log.get("p_log_type") or "")


def _matches(
    log: dict[str, Any], answer: Predicate, over: Iterator[tuple[str, Predicate]]
) -> bool | None:
    """Say whether one of the predicates matches; None where that is not to be known."""
    unknown = False
    for log_type, predicate in over:
        try:
            if matcher(_answered(predicate, answer))(document_of(log_type, log)):
                return True
        except (GaveUp, BadPattern):
            unknown = True
    return None if unknown else False


def _answered(node: Predicate, answer: Predicate) -> Predicate:
    """Return a predicate in which the call of the program is its answer."""
    match node:
        case PythonCall():
            return answer
        case And() | Or() | AtLeast():
            items = tuple(_answered(item, answer) for item in node.items)
            return msgspec.structs.replace(node, items=items)
        case Not() | Some():
            return msgspec.structs.replace(node, item=_answered(node.item, answer))
        case _:
            return node


def _correlated(test: InlineTest, window: SequenceWindow | Together) -> _Verdict:
    """Feed a correlation rule with what the test says its signals matched."""
    try:
        found = signalled(test.log)
    except ValueError as error:
        return _Verdict(reasons=(str(error),))
    signals = {signal.name: signal for signal in window.signals}
    fold = FOLDS[type(window)](window, tuple(signals))
    states: dict[Any, Any] = {}
    shelf = Shelf()
    outcomes: list[Any] = []
    for number, match in enumerate(sorted(found, key=lambda match: match.minute)):
        if match.signal not in signals:
            return _Verdict(reasons=(f"RuleOutputs: there is no signal {match.signal!r}",))
        place = signals[match.signal].rules[0]
        paths = [dict(alias.fields)[window.rules[place]].name for alias in window.aliases]
        absent = [path for path in paths if path not in match.values]
        if absent:
            return _Verdict(reasons=(f"Matches of {match.signal!r} has no values of {absent[0]}",))
        key = tuple(match.values[path] for path in paths)
        time_ns = round(match.minute * _MINUTE_NS)
        feed = Feed(time_ns, f"{number:06}", place, 0, key)
        state = states.setdefault(key, fold.fresh())
        if fold.due(state) <= time_ns:
            outcomes += fold.until(state, time_ns, shelf)
        outcomes += fold.take(state, feed, shelf)
    for state in states.values():
        outcomes += fold.until(state, NEVER - 1, shelf)
        outcomes += fold.finish(state)
    matched = any(isinstance(outcome, Outcome) for outcome in outcomes)
    return _Verdict(matched, reasons=_unexpected(test, matched=matched))


def _unexpected(test: InlineTest, *, matched: bool) -> tuple[str, ...]:
    if matched is test.expected:
        return ()
    expected = "a match" if test.expected else "no match"
    return (f"expected {expected}, and it {'matched' if matched else 'did not match'}",)
