"""What a rule says of an event: the text of its output, with the event's values in it."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from trailhound.engine.match import Matcher, matcher
from trailhound.engine.steps import json_text
from trailhound.engine.tests import GaveUp
from trailhound.engine.values import at_once, getter, nodes
from trailhound.model.findings import RuleInfo
from trailhound.model.levels import Level
from trailhound.rules.ir import Field, Output, Slot, Text

ABSENT = "<NA>"
"""What stands for a value that is not there, as in Falco."""
_VALUE_LIMIT = 512
_TEXT_LIMIT = 4096


class Said(NamedTuple):
    """What a rule says of an event, besides that it matches."""

    message: str = ""
    values: tuple[tuple[str, str], ...] = ()
    """Each value in the message by name (`output_fields` of Falco), and further ones."""
    level: Level | None = None
    """In place of the rule's."""
    description: str | None = None
    """In place of the rule's."""
    references: tuple[str, ...] | None = None
    """In place of the rule's."""

    def of(self, rule: RuleInfo) -> RuleInfo:
        """Return what a finding says of its rule."""
        if self.level is None and self.description is None and self.references is None:
            return rule
        own = {
            "level": self.level,
            "description": self.description,
            "references": self.references,
        }
        changed = {name: value for name, value in own.items() if value is not None}
        return msgspec.structs.replace(rule, **changed)


class Answered(NamedTuple):
    """What a rule that is a program says of an event that it matches."""

    said: Said
    dedup: str
    """Of which alert it is a part."""
    unique: str = ""
    """The value that a threshold counts, where it counts values."""


def speaker(output: Output) -> Callable[[Any], Said]:
    """Compile an output.

    Values come from attackers: what could pass for the words of the rule, or move a cursor, is
    escaped (`plain`), and values are cut at 512 characters, the text at 4,096.
    """
    form = "".join(
        part.text.replace("%", "%%") if isinstance(part, Text) else "%s" for part in output.parts
    )
    slots = [part for part in output.parts if isinstance(part, Slot)]
    readers = [_reader(slot) for slot in slots]
    names = [slot.name for slot in (*slots, *output.context)]
    context = [_reader(slot) for slot in output.context]
    levels = [(entry.level, matcher(entry.when)) for entry in output.levels]
    repeats = len(set(names)) < len(names)

    def say(document: Any) -> Said:
        known = _Filled.of(document)
        values: list[str] = []
        for read in readers:
            value = known.get(read)
            if value is None:
                value = known[read] = read(document)
            values.append(value)
        text = form % tuple(values)
        if len(text) > _TEXT_LIMIT:
            text = text[:_TEXT_LIMIT] + "…"
        values += [read(document) for read in context]
        told = zip(names, values, strict=True)
        return Said(
            text,
            tuple(dict(told).items() if repeats else told),
            _level(levels, document) if levels else None,
        )

    return say


class _Filled:
    """The slots of the document that was asked for last: many rules have the same ones."""

    last: tuple[Any, dict[Callable[[Any], str], str]] = None, {}

    @classmethod
    def of(cls, document: Any) -> dict[Callable[[Any], str], str]:
        """Return what is known of a document, to be added to."""
        before, slots = cls.last
        if before is not document:
            slots = {}
            cls.last = document, slots
        return slots


def _level(levels: Sequence[tuple[Level, Matcher]], document: Any) -> Level | None:
    for level, holds in levels:
        try:
            if holds(document):
                return level
        except GaveUp:
            continue
    return None


def _reader(slot: Slot) -> Callable[[Any], str]:
    # In a condition 1 and true are equal, and yet not the same.
    shared = all(reading.when is None for reading in slot.readings)
    return _shared_reader(slot) if shared else _own_reader(slot)


def _own_reader(slot: Slot) -> Callable[[Any], str]:
    readings = []
    for reading in slot.readings:
        holds = matcher(reading.when) if reading.when is not None else None
        readings.append((holds, _values(reading.value, listed=slot.listed)))

    def read(document: Any) -> str:
        for holds, values in readings:
            try:
                found = values(document) if holds is None or holds(document) else []
            except GaveUp:
                continue
            if found and not slot.listed:
                value = found[0]
                return plain(value if value.__class__ is str else json_text(value))
            if found:
                return f"({','.join([plain(json_text(value)) for value in found])})"
        return ABSENT

    only, *others = slot.readings
    if others or slot.listed or only.when is not None or isinstance(only.value, str):
        return read
    return at_once(only.value, plain, lambda integer: plain(json_text(integer)), read)


_shared_reader = lru_cache(maxsize=4096)(_own_reader)


def _values(value: Field | str, *, listed: bool) -> Callable[[Any], list[Any]]:
    if isinstance(value, str):
        return lambda _: [value]
    return getter(value) if listed else nodes(value)


def plain(text: str, limit: int = _VALUE_LIMIT) -> str:
    """Escape what is no visible character, and a backslash, so that it can be told apart."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "\\" else ascii(char)[1:-1] for char in text
    )
