"""What a rule in YAML says of an event: title, context, severity, and what it is grouped by."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trailhound.dialects.panther.expressions import predicate_of
from trailhound.dialects.panther.items import Item, Rejected, level_of
from trailhound.dialects.panther.keypath import KeyPath, key_path, specified
from trailhound.rules.ir import Field, LevelWhen, Output, Reading, Slot, Text

_SLOT = re.compile(r"\{([^{}]+)\}")


def output_of(item: Item, log_type: str) -> Output | None:
    """Return the output of a rule for a log type."""
    title = item.text("AlertTitle")
    parts: list[Text | Slot] = []
    at = 0
    for found in _SLOT.finditer(title):
        if found.start() > at:
            parts.append(Text(title[at : found.start()]))
        parts.append(_slot(found[1], key_path(found[1].strip()), log_type))
        at = found.end()
    if at < len(title):
        parts.append(Text(title[at:]))
    context = tuple(
        _slot(f"alert_context.{name}", key, log_type) for name, key in context_of(item).items()
    )
    levels = tuple(_level(entry, log_type) for entry in item.listed("DynamicSeverities"))
    if not parts and not context and not levels:
        return None
    return Output(tuple(parts), context, levels)


def context_of(item: Item) -> dict[str, KeyPath]:
    """Return `AlertContext`: name → where its value is."""
    found: dict[str, KeyPath] = {}
    for entry in item.listed("AlertContext"):
        if not isinstance(entry, Mapping) or set(entry) != {"KeyName", "KeyValue"}:
            raise Rejected("AlertContext is a list of KeyName and KeyValue", "AlertContext")
        value = entry["KeyValue"]
        if not isinstance(value, Mapping):
            raise Rejected("a KeyValue must be a key specifier", "AlertContext", "KeyValue")
        found[str(entry["KeyName"])] = specified(value)
    return found


def groups_of(item: Item, log_types: Sequence[str]) -> tuple[Field, ...]:
    """Return the fields by which matches are alerts of their own.

    `GroupBy`, or else what stands in the title: alerts with one title are one.
    """
    keys: list[KeyPath] = []
    for entry in item.listed("GroupBy"):
        if not isinstance(entry, Mapping):
            raise Rejected("GroupBy is a list of key specifiers", "GroupBy")
        keys.append(specified(entry))
    if not keys:
        keys = [key_path(found.strip()) for found in _SLOT.findall(item.text("AlertTitle"))]
    return tuple(dict.fromkeys(key.whole(log_types) for key in keys))


def _slot(name: str, key: KeyPath, log_type: str) -> Slot:
    return Slot(name, (Reading(key.field(log_type)),), listed=key.listed)


def _level(entry: Any, log_type: str) -> LevelWhen:
    where = "DynamicSeverities"
    if not isinstance(entry, Mapping) or set(entry) != {"ChangeTo", "Conditions"}:
        raise Rejected("DynamicSeverities is a list of ChangeTo and Conditions", where)
    level = level_of(entry["ChangeTo"], where, entry["ChangeTo"])
    return LevelWhen(level, predicate_of(entry["Conditions"], log_type, where, "Conditions"))
