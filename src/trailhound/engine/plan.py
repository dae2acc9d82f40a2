"""The plan: rules routed to views, compiled, and sorted behind gates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trailhound.engine.gates import Candidate, Gate, gates_for
from trailhound.engine.match import matcher
from trailhound.engine.tests import BadPattern
from trailhound.engine.values import getter
from trailhound.model.logsource import LogSource, Route
from trailhound.rules.ir import Field, Path, Rule, RuleError


@dataclass(frozen=True, slots=True)
class SourceShape:
    """What the plan needs to know of a source; the pipeline takes it from `Source`."""

    name: str
    routes: tuple[Route, ...]
    discriminators: tuple[Path, ...] = ()
    gated_view: str = ""
    """The view for which gates may be read from undecoded lines; empty: none."""


@dataclass(slots=True)
class ViewPlan:
    """The rules of one view of one source."""

    source: str
    view: str
    gates: tuple[Gate, ...]
    free: tuple[Candidate, ...]
    """Rules that no gate can hold back."""
    _readers: tuple[tuple[Callable[[Any], list[Any]], ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        self._readers = tuple(
            tuple(getter(Field(".".join(path), (path,))) for path in gate.paths)
            for gate in self.gates
        )

    def candidates(self, document: Mapping[str, Any]) -> list[Candidate]:
        """Return the rules that may match a document, in the order of the plan."""
        alive: dict[int, Candidate] = {rule.index: rule for rule in self.free}
        for gate, readers in zip(self.gates, self._readers, strict=True):
            for rule in gate.alive(tuple(tuple(read(document)) for read in readers)):
                alive[rule.index] = rule
        return [alive[index] for index in sorted(alive)]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the engine needs to know of the rules; made once, never changed."""

    rules: tuple[Rule, ...]
    views: Mapping[tuple[str, str], ViewPlan]
    """(source name, view name) → its rules."""
    feeds: Mapping[int, tuple[int, ...]]
    """Rule index → indices of the windows that it feeds."""
    homeless: tuple[int, ...]
    """Indices of rules whose log source no source here can serve."""
    errors: tuple[RuleError, ...]
    """Rules that could not be compiled; they are not in `views`."""


def make_plan(rules: Sequence[Rule], sources: Sequence[SourceShape]) -> Plan:
    """Compile rules for the given sources."""
    errors: list[RuleError] = []
    homeless: list[int] = []
    grouped: dict[tuple[str, str], list[Candidate]] = {}
    for index, rule in enumerate(rules):
        if rule.predicate is None:
            continue
        targets = _targets(rule.logsource, sources)
        if not targets:
            homeless.append(index)
            continue
        for target in targets:
            try:
                # Compiled once per view: compiled predicates remember the document at hand.
                compiled = Candidate(index, rule.predicate, matcher(rule.predicate))
            except (BadPattern, ValueError) as error:
                errors.append(
                    RuleError(rule.info.path, rule.info.line, str(error), rule=rule.info.title)
                )
                break
            grouped.setdefault(target, []).append(compiled)
    shapes = {shape.name: shape for shape in sources}
    views = {}
    for (source, view), candidates in grouped.items():
        shape = shapes[source]
        gated = view == shape.gated_view
        gates, free = gates_for(
            candidates,
            shape.discriminators if gated else (),
            # Deeper fields cannot be read from an undecoded line; elsewhere any will do.
            (lambda path: len(path) <= 2) if gated else (lambda path: True),  # noqa: ARG005
        )
        views[source, view] = ViewPlan(source, view, gates, free)
    uids = {rule.info.uid: index for index, rule in enumerate(rules)}
    feeds: dict[int, list[int]] = {}
    for index, rule in enumerate(rules):
        if rule.window is not None:
            for uid in dict.fromkeys(rule.window.rules):
                feeds.setdefault(uids[uid], []).append(index)
    return Plan(
        rules=tuple(rules),
        views=views,
        feeds={index: tuple(windows) for index, windows in feeds.items()},
        homeless=tuple(homeless),
        errors=tuple(errors),
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
