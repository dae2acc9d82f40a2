"""Hits to feeds: which groups of which windows a hit belongs to."""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from trailhound.engine.output import Answered, Said
from trailhound.engine.plan import Plan
from trailhound.engine.texts import text_of
from trailhound.engine.values import getter
from trailhound.engine.windows.contract import Feed, Key
from trailhound.model.events import Event
from trailhound.rules.ir import Deduplicated, Field, Sequence, Together, Window

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
    request = event.request
    time_ns = event.envelope.time_ns
    return [
        feed._replace(time_ns=time_ns, uid=event.uid, request=request)
        for window in plan.feeds.get(rule, ())
        for feed in _feeds(plan, window, rule, event, document, answered)
    ]


def _feeds(
    plan: Plan,
    index: int,
    rule: int,
    event: Event,
    document: Mapping[str, Any],
    answered: Answered | None,
) -> Iterator[Feed]:
    window = plan.rules[index].window
    assert window is not None  # noqa: S101 - `feeds` leads to windows only
    uid = plan.rules[rule].info.uid
    aliases = {
        alias.name: read for alias in window.aliases for fed, read in alias.fields if fed == uid
    }
    values = tuple(
        tuple(_texts(aliases.get(field.name, field), document)) for field in window.value_fields
    )
    said: Said | None = None
    if isinstance(window, Deduplicated):
        said = answered.said if answered else plan.say(rule, document)
    if answered is not None and isinstance(window, Deduplicated):
        keys: list[Key] = [(answered.dedup,)]
        values = ((answered.unique,),)
    else:
        keys = _keys(window, aliases, document)
        if isinstance(window, Sequence | Together):
            # What is not there is like nothing else, not even like what is not there either.
            keys = [key for key in keys if None not in key]
    for each in keys:
        onward: tuple[Feed, ...] = ()
        if index in plan.feeds:
            # A window may itself feed windows, at the moment that completes it.
            completed = _group_document(window, each, event)
            onward = tuple(
                feed
                for outer in plan.feeds[index]
                for feed in _feeds(plan, outer, index, event, completed, None)
            )
        yield Feed(0, "", index, each, window.rules.index(uid), values, onward=onward, said=said)


def _keys(window: Window, aliases: Mapping[str, Field], document: Mapping[str, Any]) -> list[Key]:
    per_field = []
    for field in window.group_by:
        read = getter(aliases.get(field.name, field))
        texts = dict.fromkeys(text_of(value) for value in read(document))
        per_field.append(tuple(texts) or (None,))
    return list(islice(product(*per_field), GROUPS_PER_EVENT))


def _texts(field: Field, document: Mapping[str, Any]) -> Iterator[str]:
    for value in getter(field)(document):
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
