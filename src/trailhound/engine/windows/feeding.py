"""Hits to feeds: which groups of which windows a hit belongs to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from trailhound.engine.output import Answered
from trailhound.engine.plan import Plan
from trailhound.engine.texts import text_of
from trailhound.engine.values import Getter, getter
from trailhound.engine.windows.contract import Feed, Key
from trailhound.model.events import Event
from trailhound.rules.ir import Deduplicated, Field, Together, Window
from trailhound.rules.ir import Sequence as Steps

GROUPS_PER_EVENT = 16
"""An event with lists in its group fields counts in at most so many groups."""


def feeds_of(
    plan: Plan,
    rule: int,
    event: Event,
    document: Mapping[str, Any],
    answered: Answered | None = None,
) -> list[Feed]:
    """Return what a hit of a rule feeds into the windows that refer to it.

    Args:
        plan: the plan.
        rule: index of the rule that matched.
        event: the event it matched.
        document: the document of the event in which it matched.
        answered: what the rule says, where it is a program.
    """
    feeders = plan.feeders.get(rule)
    if feeders is None:
        feeders = plan.feeders[rule] = _feeders(plan, rule)
    stamp = event.envelope.time_ns, event.uid, event.request
    return [feed for feeder in feeders for feed in feeder.feeds(event, document, answered, *stamp)]


def _feeders(plan: Plan, rule: int) -> tuple["Feeder", ...]:
    return tuple(Feeder(plan, window, rule) for window in plan.feeds.get(rule, ()))


class Feeder:
    """What the hits of one rule feed into one window."""

    def __init__(self, plan: Plan, index: int, rule: int) -> None:
        """Prepare for the window and the rule at these indices of the plan."""
        window = plan.rules[index].window
        assert window is not None  # noqa: S101 - `feeds` leads to windows only
        uid = plan.rules[rule].info.uid
        aliases = {
            alias.name: read for alias in window.aliases for fed, read in alias.fields if fed == uid
        }

        def readers(fields: Sequence[Field]) -> tuple[Getter, ...]:
            return tuple(getter(aliases.get(field.name, field)) for field in fields)

        self._index, self._rule = index, rule
        self._window = window
        self._position = window.rules.index(uid)
        self._values = readers(window.value_fields)
        self._groups = readers(window.group_by)
        self._say: Callable[[int, Mapping[str, Any]], Any] | None = None
        if isinstance(window, Deduplicated):
            self._say = plan.say
        # A window may itself feed windows, at the moment that completes it.
        self._outer = _feeders(plan, index)

    def feeds(
        self,
        event: Event,
        document: Mapping[str, Any],
        answered: Answered | None,
        time_ns: int = 0,
        uid: str = "",
        request: str = "",
    ) -> Iterator[Feed]:
        """Yield a feed for each group that a hit belongs to."""
        index, position = self._index, self._position
        values = tuple([tuple(_texts(read(document))) for read in self._values])
        keys = self._keys(document)
        said = None
        if self._say is not None:
            said = answered.said if answered else self._say(self._rule, document)
            if answered is not None:
                keys, values = [(answered.dedup,)], ((answered.unique,),)
        for key in keys:
            onward: tuple[Feed, ...] = ()
            if self._outer:
                completed = _group_document(self._window, key, event)
                onward = tuple(
                    feed for outer in self._outer for feed in outer.feeds(event, completed, None)
                )
            yield Feed(
                time_ns, uid, position, index, key, values, request, onward=onward, said=said
            )

    def _keys(self, document: Mapping[str, Any]) -> list[Key]:
        per_field = []
        for read in self._groups:
            texts = dict.fromkeys([text_of(value) for value in read(document)])
            per_field.append(tuple(texts) or (None,))
        keys = list(islice(product(*per_field), GROUPS_PER_EVENT))
        if isinstance(self._window, Steps | Together):
            # What is not there is like nothing else, not even like what is not there either.
            return [key for key in keys if None not in key]
        return keys


def _texts(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        text = text_of(value)
        if text is not None:
            yield text


def _group_document(window: Window, key: Key, event: Event) -> Mapping[str, Any]:
    # The outer window groups by fields of the event that completed the inner one; what the
    # inner one calls by an alias is readable by that alias.
    document = next((d for view in event.views.values() for d in view), event.document)
    aliased = {alias.name for alias in window.aliases}
    named = {
        field.name: value
        for field, value in zip(window.group_by, key, strict=False)
        if field.name in aliased
    }
    return {**document, **named} if named else document
