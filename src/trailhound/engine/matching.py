"""Events to hits: which rules match an event, each rule at most once.

Rules that are programs are the exception, see `match_event`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from trailhound.engine.gates import Candidate
from trailhound.engine.output import Answered
from trailhound.engine.plan import Plan, ViewPlan
from trailhound.engine.tests import GaveUp
from trailhound.model.events import Event
from trailhound.model.findings import Finding, finding_uid


class Hit(NamedTuple):
    """A rule matched an event."""

    rule: int
    """Index in the plan."""
    event: Event
    document: Mapping[str, Any]
    """The document of the view in which it matched."""
    answered: Answered | None = None
    """For a rule that is a program: what it says."""


class Undecided(NamedTuple):
    """A rule could not be judged on an event: its pattern took too long."""

    rule: int
    event: Event


_Verdicts = dict[tuple[int, int], Hit | Undecided]


def match_event(
    plan: Plan, event: Event, among: frozenset[int] | None = None
) -> list[Hit | Undecided]:
    """Return what the rules say of an event, in the order of the plan.

    A hit of a rule that is a program (`Plan.asked`) is a candidate: the program is yet to be
    asked, of each such hit of the event until it says yes.

    Args:
        plan: the rules.
        event: the event.
        among: indices of the only rules that may match it, where that is known.
    """
    if among is not None:
        found = _match_few(plan, event, among)
        if found is not None:
            return found
    verdicts: _Verdicts = {}
    documents: dict[int, Mapping[str, Any]] = {}
    read_by: dict[int, tuple[str, ...]] = {}
    for view, held in event.views.items():
        for document in held:
            documents[id(document)] = document
            read_by[id(document)] = (*read_by.get(id(document), ()), view)
    for key, document in documents.items():
        view_plan = plan.reading(event.source, read_by[key])
        if view_plan is not None:
            if among is None:
                candidates: Sequence[Candidate] = view_plan.candidates(document)
            else:
                candidates = view_plan.only(among).rules
            _judge(candidates, event, document, verdicts)
    return [verdicts[index] for index in sorted(verdicts)]


def match_fields(
    plan: Plan,
    source: str,
    views: tuple[str, ...],
    fields: Mapping[str, Any],
    rest: frozenset[str],
    among: frozenset[int],
) -> tuple[Candidate, ...] | None:
    """Return which of a few rules match an event of which only some fields are known.

    None where its other fields, of names in `rest`, may matter, or the rules have to be asked.
    """
    view_plan = plan.reading(source, views)
    if view_plan is None:
        return ()
    few = view_plan.only(among)
    return None if few.reads_any(rest) else few.matching(fields)


def _match_few(plan: Plan, event: Event, among: frozenset[int]) -> list[Hit | Undecided] | None:
    """Do the same where all views of an event are one document; None where they are not."""
    views = event.views
    held = iter(views.values())
    first = next(held, ())
    if len(first) != 1:
        return None
    (document,) = first
    for view in held:
        if view is not first and (len(view) != 1 or view[0] is not document):
            return None
    view_plan = plan.reading(event.source, tuple(views))
    if view_plan is None:
        return []
    matching = view_plan.only(among).matching(document)
    if matching is None:
        return None
    return [Hit(rule.index, event, document) for rule in matching]


def match_candidates(
    view_plan: ViewPlan, candidates: Iterable[Candidate], event: Event
) -> list[Hit | Undecided]:
    """The same where the candidates of the event's only view are known from a gate.

    They come in the order of the plan.
    """
    documents = event.views[view_plan.view]
    if len(documents) == 1:
        (document,) = documents
        found: list[Hit | Undecided] = []
        for rule in candidates:
            try:
                if rule.matches(document):
                    found.append(Hit(rule.index, event, document))
            except GaveUp:
                found.append(Undecided(rule.index, event))
        return found
    verdicts: _Verdicts = {}
    for document in documents:
        _judge(candidates, event, document, verdicts)
    return [verdicts[index] for index in sorted(verdicts)]


def _judge(
    candidates: Iterable[Candidate],
    event: Event,
    document: Mapping[str, Any],
    verdicts: _Verdicts,
) -> None:
    for rule in candidates:
        # A program may say no of one document and yes of the next.
        at = rule.index, len(verdicts) if rule.asks else 0
        if isinstance(verdicts.get(at), Hit):
            continue
        try:
            if rule.matches(document):
                verdicts[at] = Hit(rule.index, event, document)
        except GaveUp:
            verdicts[at] = Undecided(rule.index, event)


def finding_of(plan: Plan, hit: Hit, *, explained: bool) -> Finding:
    """Make the finding of a hit; `explained` adds the tree that says why."""
    rule = plan.rules[hit.rule]
    time_ns = hit.event.time_ns
    said = hit.answered.said if hit.answered else plan.say(hit.rule, hit.document)
    return Finding(
        uid=finding_uid(rule.info.uid, (hit.event.uid,)),
        rule=said.of(rule.info),
        time_ns=time_ns,
        start_ns=time_ns,
        events=(hit.event,),
        explanation=plan.explain(hit.rule, hit.document) if explained else None,
        message=said.message,
        values=said.values,
    )
