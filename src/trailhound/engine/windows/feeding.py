"""Hits to feeds: which groups of which windows a hit belongs to."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, TypeVar

from trailhound.engine.output import Answered
from trailhound.engine.plan import Plan
from trailhound.engine.texts import text_of
from trailhound.engine.values import Getter, getter
from trailhound.engine.windows.contract import Feed, Key
from trailhound.model.events import Event
from trailhound.rules.ir import Deduplicated, Field, Together
from trailhound.rules.ir import Sequence as Steps

GROUPS_PER_EVENT = 16
"""An event with lists in its group fields counts in at most so many groups."""

T = TypeVar("T", str, str | None)

_TEXT_LIMIT = 1024
"""Whoever writes a log chooses how long its values are; groups and feeds are kept for a day."""


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
    stamp = event.time_ns, event.uid, _bounded(event.request)
    if len(feeders) == 1:
        return feeders[0].feeds(event, document, answered, *stamp)
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
        self._position = window.rules.index(uid)
        self._values = readers(window.value_fields)
        self._groups = readers(window.group_by)
        self._say: Callable[[int, Mapping[str, Any]], Any] | None = None
        if isinstance(window, Deduplicated):
            self._say = plan.say
        self._needs_all = isinstance(window, Steps | Together)
        names = {alias.name for alias in window.aliases}
        self._aliased = [
            (place, field.name)
            for place, field in enumerate(window.group_by)
            if field.name in names
        ]
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
    ) -> list[Feed]:
        """Return a feed for each group that a hit belongs to."""
        values: tuple[tuple[str, ...], ...] = ()
        if self._values:
            values = tuple([tuple(_texts(read(document))) for read in self._values])
        keys = self._keys(document)
        said = None
        if self._say is not None:
            said = answered.said if answered else self._say(self._rule, document)
            if answered is not None:
                keys, values = [(answered.dedup,)], ((answered.unique,),)
        position, index = self._position, self._index
        found: list[Feed] = []
        onward: tuple[Feed, ...] = ()
        for key in keys:
            if self._outer:
                completed = self._completed(key, document)
                onward = tuple(
                    [feed for outer in self._outer for feed in outer.feeds(event, completed, None)]
                )
            told = tuple(map(_bounded, key)), values, request, 0, onward, said
            # In a third of the time that the class takes for it.
            found.append(tuple.__new__(Feed, (time_ns, uid, position, index, *told)))
        return found

    def _keys(self, document: Mapping[str, Any]) -> list[Key]:
        per_field = [_distinct(read(document)) for read in self._groups]
        if len(per_field) == 1:
            keys: list[Key] = [(text,) for text in per_field[0][:GROUPS_PER_EVENT]]
        else:
            keys = list(islice(product(*per_field), GROUPS_PER_EVENT))
        if self._needs_all:
            # What is not there is like nothing else, not even like what is not there either.
            return [key for key in keys if None not in key]
        return keys

    def _completed(self, key: Key, document: Mapping[str, Any]) -> Mapping[str, Any]:
        # The outer window groups by fields of the document that completed the inner one; what
        # the inner one calls by an alias is readable by that alias.
        if not self._aliased:
            return document
        named = {name: key[place] for place, name in self._aliased if place < len(key)}
        return {**document, **named}


def _distinct(values: Sequence[Any]) -> Sequence[str | None]:
    """Return values as texts, each once; a field that is absent has one, which is None."""
    if len(values) == 1:
        value = values[0]
        text = value if value.__class__ is str else text_of(value)
        return (text,)
    return tuple(dict.fromkeys(map(text_of, values))) or (None,)


def _texts(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        text = text_of(value)
        if text is not None:
            yield _bounded(text)


def _bounded(text: T) -> T:
    """Return a text, or where it is very long its beginning and what tells it from all others.

    That is longer than any text that stays as it is, so none can be made to look like it.
    """
    if text is None or len(text) <= _TEXT_LIMIT:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{text[:_TEXT_LIMIT]}…{digest}"
