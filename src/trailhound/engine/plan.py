"""The plan: rules routed to views, compiled, and sorted behind gates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

from trailhound.engine.explain import Explainer, remembering
from trailhound.engine.gates import Candidate, Gate, Gates, gates_for, program_of
from trailhound.engine.match import check_patterns
from trailhound.engine.output import Said, speaker
from trailhound.engine.values import Getter, getter
from trailhound.engine.verdicts import Few, Verdicts
from trailhound.engine.windows.contract import AnyFold
from trailhound.engine.windows.folds import FOLDS
from trailhound.model.findings import Explanation
from trailhound.model.logsource import LogSource, Route
from trailhound.rules.ir import (
    Field,
    Or,
    Path,
    Predicate,
    PythonCall,
    Rule,
    RuleError,
    Window,
)

_CHOICES_LIMIT = 10_000
_NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True)
class SourceShape:
    """What the plan needs to know of a source; the pipeline takes it from `Source`."""

    name: str
    routes: tuple[Route, ...]
    discriminators: tuple[Path, ...] = ()
    dull: tuple[Path, ...] = ()
    """Fields that tell little; see `Gate.dull` of the sources."""
    gated_view: str = ""
    """The view for which gates may be read from undecoded lines; empty: none."""


class ViewPlan:
    """The rules of one view of one source; compiled when its first event comes."""

    def __init__(
        self, source: "SourceShape", view: str, rules: Sequence[tuple[int, Predicate]]
    ) -> None:
        self.source = source.name
        self.view = view
        self.indices = tuple(index for index, _ in rules)
        """Positions of its rules in the plan."""
        self.shape = source
        self.predicates = tuple(rules)
        self._chosen: dict[frozenset[int], Few] = {}
        self._verdicts: Verdicts = {}

    @cached_property
    def rules(self) -> tuple[Candidate, ...]:
        """Its rules, but for those that hold of nothing, which would read every event."""
        return tuple(
            Candidate(index, node)
            for index, node in self.predicates
            if not (isinstance(node, Or) and not node.items)
        )

    @cached_property
    def gates(self) -> Gates:
        """Its rules, sorted behind gates."""
        rules = self.rules
        if self.view and self.view == self.shape.gated_view:
            # Deeper fields cannot be read from a line that is not parsed whole.
            shape = self.shape
            return gates_for(rules, shape.discriminators, lambda path: len(path) <= 2, shape.dull)
        return gates_for(rules, (), lambda _: True)

    @cached_property
    def _keyed(self) -> Mapping[str, tuple[Gate, tuple[Getter, ...]]]:
        # Gates that ask for one key of the document itself, and let nothing through without it.
        return {
            gate.paths[0][0]: (gate, _readers(gate))
            for gate in self.gates.by_fields
            if len(gate.paths) == len(gate.paths[0]) == 1 and not gate.alive(((),))
        }

    @cached_property
    def _others(self) -> tuple[tuple[Gate, tuple[Getter, ...]], ...]:
        keyed = {id(gate) for gate, _ in self._keyed.values()}
        return tuple(
            (gate, _readers(gate)) for gate in self.gates.by_fields if id(gate) not in keyed
        )

    def only(self, indices: frozenset[int]) -> Few:
        """Return its rules at these positions of the plan."""
        found = self._chosen.get(indices)
        if found is None:
            found = Few([rule for rule in self.rules if rule.index in indices], self._verdicts)
            if len(self._chosen) < _CHOICES_LIMIT:
                self._chosen[indices] = found
        return found

    def candidates(self, document: Mapping[str, Any]) -> list[Candidate]:
        """Return the rules that may match a document, in the order of the plan."""
        alive: dict[int, Candidate] = {rule.index: rule for rule in self.gates.free}
        for rule in self.gates.by_text.alive(document):
            alive[rule.index] = rule
        keyed = self._keyed
        here = [keyed[key] for key in document.keys() & keyed.keys()] if keyed else ()
        for gate, readers in (*here, *self._others):
            for rule in gate.alive(tuple([tuple(read(document)) for read in readers])):
                alive[rule.index] = rule
        return [alive[index] for index in sorted(alive)]


def _join(plans: Sequence[ViewPlan]) -> ViewPlan:
    rules = {index: predicate for plan in plans for index, predicate in plan.predicates}
    return ViewPlan(plans[0].shape, "", sorted(rules.items(), key=itemgetter(0)))


def _readers(gate: Gate) -> tuple[Getter, ...]:
    return tuple(getter(Field(".".join(path), (path,))) for path in gate.paths)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the engine needs to know of the rules; made once, never changed."""

    rules: tuple[Rule, ...]
    views: Mapping[tuple[str, str], ViewPlan]
    """(source name, view name) → its rules."""
    feeds: Mapping[int, tuple[int, ...]]
    """Rule index → indices of the windows that it feeds."""
    folds: Mapping[int, AnyFold]
    """Rule index of a window → how its groups count."""
    ranks: Mapping[int, int]
    """Rule index of a window → how many windows lie below it, at most."""
    window_sources: Mapping[int, frozenset[str]]
    """Rule index of a window → names of the sources whose events reach it."""
    homeless: tuple[int, ...]
    """Indices of rules whose log source no source here can serve."""
    errors: tuple[RuleError, ...]
    """Rules that could not be compiled; they are not in `views`."""
    asked: Mapping[int, PythonCall] = field(default_factory=dict)
    """Rule index → what is to be asked of a program before a hit of it is one."""
    _joined: dict[tuple[str, tuple[str, ...]], ViewPlan | None] = field(default_factory=dict)
    _explainers: dict[int, Explainer] = field(default_factory=dict)
    _speakers: dict[int, Callable[[Any], Said]] = field(default_factory=dict)
    feeders: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    """Rule index → what its hits feed, prepared; filled by `engine.windows.feeding`."""

    def reading(self, source: str, views: tuple[str, ...]) -> ViewPlan | None:
        """Return the rules that read a document of these views; None where there are none.

        A line of sshd is in the views sshd, auth and syslog alike: one document, judged once.
        """
        if len(views) == 1:
            return self.views.get((source, views[0]))
        try:
            return self._joined[source, views]
        except KeyError:
            held = [plan for view in views if (plan := self.views.get((source, view))) is not None]
            joined = _join(held) if len(held) > 1 else next(iter(held), None)
            self._joined[source, views] = joined
            return joined

    def explain(self, rule: int, document: Mapping[str, Any]) -> Explanation | None:
        """Explain a hit of the rule at an index; None for windows, which have a reason."""
        predicate = self.rules[rule].predicate
        if predicate is None:
            return None
        compiled = self._explainers.get(rule)
        if compiled is None:
            compiled = self._explainers[rule] = remembering(predicate)
        return compiled(document)

    def say(self, rule: int, document: Mapping[str, Any]) -> Said:
        """Return what the rule at an index says of a document it matched, in its own words."""
        output = self.rules[rule].output
        if output is None:
            return _NOTHING_SAID
        compiled = self._speakers.get(rule)
        if compiled is None:
            compiled = self._speakers[rule] = speaker(output)
        return compiled(document)


def make_plan(rules: Sequence[Rule], sources: Sequence[SourceShape]) -> Plan:
    """Compile rules for the given sources."""
    errors: list[RuleError] = []
    homeless: list[int] = []
    grouped: dict[tuple[str, str], list[tuple[int, Predicate]]] = {}
    served: dict[LogSource, list[tuple[str, str]]] = {}
    for index, rule in enumerate(rules):
        if rule.predicate is None:
            continue
        try:
            check_patterns(rule.predicate)
        except ValueError as error:
            info = rule.info
            errors.append(RuleError(info.path, info.line, str(error), rule.column, info.title))
            continue
        if not rule.enabled:
            continue
        targets = served.get(rule.logsource)
        if targets is None:
            targets = served[rule.logsource] = _targets(rule.logsource, sources)
        if not targets:
            homeless.append(index)
        for target in targets:
            grouped.setdefault(target, []).append((index, rule.predicate))
    shapes = {shape.name: shape for shape in sources}
    views = {
        (source, view): ViewPlan(shapes[source], view, held)
        for (source, view), held in grouped.items()
    }
    uids = {rule.info.uid: index for index, rule in enumerate(rules)}
    feeds: dict[int, list[int]] = {}
    folds: dict[int, AnyFold] = {}
    for index, rule in enumerate(rules):
        window = rule.window
        if window is not None:
            for uid in dict.fromkeys(window.rules):
                feeds.setdefault(uids[uid], []).append(index)
            titles = tuple(rules[uids[uid]].info.title for uid in window.rules)
            folds[index] = FOLDS[type(window)](window, titles)
    serving: dict[int, frozenset[str]] = {}
    for (source, _), view in views.items():
        for index in view.indices:
            serving[index] = serving.get(index, frozenset()) | {source}
    below = {index: [uids[uid] for uid in _window(rules[index]).rules] for index in folds}
    return Plan(
        rules=tuple(rules),
        views=views,
        feeds={index: tuple(windows) for index, windows in feeds.items()},
        folds=folds,
        ranks={index: _rank(index, below) for index in folds},
        window_sources={index: _sources(index, below, serving) for index in folds},
        homeless=tuple(homeless),
        errors=tuple(errors),
        asked={
            index: call
            for index, rule in enumerate(rules)
            if rule.predicate is not None and (call := program_of(rule.predicate)) is not None
        },
    )


def _targets(wanted: LogSource, sources: Sequence[SourceShape]) -> list[tuple[str, str]]:
    return list(
        dict.fromkeys(
            (source.name, route.view)
            for source in sources
            for route in source.routes
            if route.serves(wanted)
        )
    )


def _window(rule: Rule) -> Window:
    assert rule.window is not None  # noqa: S101 - only asked of windows
    return rule.window


def _rank(index: int, below: Mapping[int, Sequence[int]]) -> int:
    return max((1 + _rank(inner, below) for inner in below[index] if inner in below), default=0)


def _sources(
    index: int, below: Mapping[int, Sequence[int]], serving: Mapping[int, frozenset[str]]
) -> frozenset[str]:
    inner = [_sources(rule, below, serving) for rule in below.get(index, ())]
    return serving.get(index, frozenset()).union(*inner)
