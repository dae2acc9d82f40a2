"""Falco rule files to lists, macros and rules: definitions, `append` and `override` put together.

The order of files and of items in them counts, as in Falco (`rule_loader_collector.cpp` of
falcosecurity/falco 0.42): what comes later replaces or changes what came before.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from trailhound.dialects.falco.exceptions import FalcoException, read_exceptions
from trailhound.dialects.falco.text import Entry, Place, Written, read_items, required
from trailhound.model.levels import Level
from trailhound.rules.ir import Note

LEVELS: Mapping[str, Level] = {
    "emergency": Level.CRITICAL,
    "alert": Level.CRITICAL,
    "critical": Level.CRITICAL,
    "error": Level.HIGH,
    "warning": Level.MEDIUM,
    "notice": Level.LOW,
    "informational": Level.INFORMATIONAL,
    "info": Level.INFORMATIONAL,
    "debug": Level.INFORMATIONAL,
}
"""Priority of a rule, in lower case → level."""

_APPENDABLE = ("condition", "output", "desc", "tags", "exceptions")
_REPLACEABLE = (
    *_APPENDABLE,
    "priority",
    "enabled",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
)
_RULE_KEYS = frozenset((*_REPLACEABLE, "rule", "source", "append", "override"))
_MACRO_KEYS = frozenset(("macro", "condition", "append", "override"))
_LIST_KEYS = frozenset(("list", "items", "append", "override"))
_WITHOUT_EFFECT = {
    "capture": "captures of system calls are not made here",
    "capture_duration": "captures of system calls are not made here",
}
_MACRO_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_LIST_NAME = re.compile(r"""[^()"'\s=,]+""")
_VERSION = re.compile(r"\d+(?:\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)?")


@dataclass(frozen=True, slots=True)
class ListItems:
    """A list of values; items may be names of other lists."""

    items: tuple[str, ...]
    index: int
    """When it was first defined; what refers to it must come later."""
    visibility: int
    """When it was last changed."""


@dataclass(frozen=True, slots=True)
class Macro:
    """A named condition."""

    condition: Written
    place: Place
    index: int
    visibility: int


@dataclass(frozen=True, slots=True)
class FalcoRule:
    """A rule with everything that was appended to it or replaced in it."""

    name: str
    place: Place
    condition: Written
    output: Written
    description: str
    level: Level
    source: str
    enabled: bool = True
    skip_unknown: bool = False
    tags: tuple[str, ...] = ()
    exceptions: tuple[FalcoException, ...] = ()
    notes: tuple[Note, ...] = ()
    """(text, line, whether something has no effect)."""


@dataclass(slots=True)
class Collected:
    """What a run's rule files define, in the order of first definition."""

    lists: dict[str, ListItems] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)
    rules: dict[str, FalcoRule] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    """What cannot be used: (verdict, name of the rule or the empty text)."""


def collect(files: Iterable[tuple[str, str]]) -> Collected:
    """Read the items of files, given as (path, text), in their order."""
    collected = Collected()
    collector = _Collector(collected)
    for path, text in files:
        for entry in read_items(text, path):
            if isinstance(entry, Place):
                collected.problems.append((entry, ""))
                continue
            name = ""
            try:
                members = entry.mapping("an item")
                if "rule" in members and members["rule"].is_scalar:
                    name = members["rule"].text("rule")
                collector.take(entry, members)
            except Place as place:
                collected.problems.append((place, name))
    return collected


class _Collector:
    def __init__(self, collected: Collected) -> None:
        self._into = collected
        self._index = 0

    def take(self, entry: Entry, members: dict[str, Entry]) -> None:
        self._index += 1
        if "rule" in members:
            self._rule(entry, members)
        elif "macro" in members:
            self._macro(entry, members)
        elif "list" in members:
            self._list(entry, members)
        elif "required_engine_version" in members:
            _version(members["required_engine_version"])
        elif "required_plugin_versions" in members:
            _plugin_versions(members["required_plugin_versions"])
        else:
            known = "rule, macro, list, required_engine_version or required_plugin_versions"
            raise entry.problem(f"an item must be one of {known}")

    # --- lists and macros ----------------------------------------------------------------

    def _list(self, entry: Entry, members: dict[str, Entry]) -> None:
        name = _named(members["list"], "list", _LIST_NAME)
        _only(members, _LIST_KEYS, "list")
        items = tuple(
            item.text("an item of a list")
            for item in required(members, "items", entry).items("items")
        )
        before = self._into.lists.get(name)
        if _appends(members, "items"):
            if before is None:
                raise entry.problem(f"list {name!r} is appended to, but not defined before this")
            items = (*before.items, *items)
        index = before.index if before else self._index
        self._into.lists[name] = ListItems(items, index, self._index)

    def _macro(self, entry: Entry, members: dict[str, Entry]) -> None:
        name = _named(members["macro"], "macro", _MACRO_NAME)
        _only(members, _MACRO_KEYS, "macro")
        condition = required(members, "condition", entry).written("condition")
        before = self._into.macros.get(name)
        if _appends(members, "condition"):
            if before is None:
                raise entry.problem(f"macro {name!r} is appended to, but not defined before this")
            condition = before.condition + condition
        index = before.index if before else self._index
        place = entry.problem("")
        self._into.macros[name] = Macro(condition, place, index, self._index)

    # --- rules ---------------------------------------------------------------------------

    def _rule(self, entry: Entry, members: dict[str, Entry]) -> None:
        name = members["rule"].text("rule")
        before = self._into.rules.get(name)
        notes = _notes(members)
        overrides = _overrides(members, _APPENDABLE, _REPLACEABLE)
        appends = "append" in members and members["append"].truth("append")
        if overrides and appends:
            raise members["append"].problem("`append` and `override` exclude each other")
        if overrides or appends:
            if before is None:
                raise entry.problem(f"rule {name!r} is changed, but not defined before this")
            if appends:
                overrides = {key: "append" for key in ("condition", "exceptions") if key in members}
                if not overrides:
                    raise entry.problem("`append` needs a condition or exceptions to append")
                notes = (
                    *notes,
                    *(
                        member.note(f"`append` does not change {key}", ignored=True)
                        for key, member in members.items()
                        if key not in ("rule", "append", "condition", "exceptions")
                    ),
                )
            else:
                _matched(overrides, members)
            after = before
            for key, operation in overrides.items():
                after = _changed(after, key, members[key], append=operation == "append")
            here = entry.problem("")
            if here.path != before.place.path:
                # A line of a note is one of the file that the rule began in.
                notes = tuple(
                    Note(f"{note.text} ({here.path}:{note.line})", ignored=note.ignored)
                    for note in notes
                )
            self._into.rules[name] = replace(after, notes=(*after.notes, *notes))
            return
        if not any(key in members for key in ("condition", "output", "desc", "priority")):
            if "enabled" not in members:
                raise entry.problem("a rule needs condition, output, desc and priority")
            if before is None:
                raise entry.problem(f"rule {name!r} is switched, but not defined before this")
            enabled = members["enabled"].truth("enabled")
            self._into.rules[name] = replace(before, enabled=enabled)
            return
        rule = _defined(name, entry, members, notes)
        if before is not None and before.source != rule.source:
            raise entry.problem(
                f"rule {name!r} is defined anew with source {rule.source}; it had {before.source}"
            )
        if before is not None:
            place = f"{before.place.path}:{before.place.line}"
            note = entry.note(f"replaces the rule of the same name at {place}")
            rule = replace(rule, notes=(*rule.notes, note))
        self._into.rules[name] = rule


def _defined(
    name: str,
    entry: Entry,
    members: dict[str, Entry],
    notes: tuple[Note, ...],
) -> FalcoRule:
    rule = FalcoRule(
        name=name,
        place=entry.problem(""),
        condition=required(members, "condition", entry).written("condition"),
        output=required(members, "output", entry).written("output"),
        description=required(members, "desc", entry).text("desc").strip(),
        level=_level(required(members, "priority", entry)),
        source=members["source"].text("source") if "source" in members else "syscall",
        notes=notes,
    )
    for key in ("enabled", "skip-if-unknown-filter", "tags", "exceptions", "warn_evttypes"):
        if key in members:
            rule = _changed(rule, key, members[key], append=False)
    return rule


def _changed(rule: FalcoRule, key: str, entry: Entry, *, append: bool) -> FalcoRule:
    match key:
        case "condition":
            written = entry.written(key)
            return replace(rule, condition=rule.condition + written if append else written)
        case "output":
            written = entry.written(key)
            return replace(rule, output=rule.output + written if append else written)
        case "desc":
            text = entry.text(key).strip()
            return replace(rule, description=f"{rule.description} {text}" if append else text)
        case "tags":
            tags = tuple(item.text("a tag") for item in entry.items(key))
            joined = (*rule.tags, *tags) if append else tags
            return replace(rule, tags=tuple(dict.fromkeys(joined)))
        case "exceptions":
            before = rule.exceptions if append else ()
            return replace(rule, exceptions=read_exceptions(entry, before))
        case "priority":
            return replace(rule, level=_level(entry))
        case "enabled":
            return replace(rule, enabled=entry.truth(key))
        case "skip-if-unknown-filter":
            return replace(rule, skip_unknown=entry.truth(key))
        case "warn_evttypes":  # silences a warning about system calls, which is not given here
            entry.truth(key)
    return rule


# --- parts -------------------------------------------------------------------------------


def _named(entry: Entry, what: str, form: re.Pattern[str]) -> str:
    name = entry.text(what)
    if form.fullmatch(name) is None:
        raise entry.problem(f"{name!r} is no name for a {what}")
    return name


def _level(entry: Entry) -> Level:
    word = entry.text("priority")
    level = LEVELS.get(word.lower())
    if level is None:
        raise entry.problem(f"unknown priority {word!r}; expected one of {', '.join(LEVELS)}")
    return level


def _only(members: dict[str, Entry], known: frozenset[str], what: str) -> None:
    for key, entry in members.items():
        if key not in known:
            raise entry.problem(f"{key!r} is not known to a {what}")


def _notes(members: dict[str, Entry]) -> tuple[Note, ...]:
    notes = []
    for key, entry in members.items():
        if key not in _RULE_KEYS:
            text = f"key {key!r} is not known to Falco and has no effect"
            notes.append(entry.note(text, ignored=True))
        elif key in _WITHOUT_EFFECT:
            text = f"{key} has no effect: {_WITHOUT_EFFECT[key]}"
            notes.append(entry.note(text, ignored=True))
    return tuple(notes)


def _appends(members: dict[str, Entry], key: str) -> bool:
    overrides = _overrides(members, (key,), (key,))
    append = "append" in members and members["append"].truth("append")
    if append and overrides:
        raise members["append"].problem("`append` and `override` exclude each other")
    return append or overrides.get(key) == "append"


def _overrides(
    members: dict[str, Entry], appendable: tuple[str, ...], replaceable: tuple[str, ...]
) -> dict[str, str]:
    if "override" not in members:
        return {}
    found: dict[str, str] = {}
    for key, entry in members["override"].mapping("override").items():
        operation = entry.text("override")
        if operation not in ("append", "replace"):
            raise entry.problem(f"override of {key!r} must be append or replace")
        if key not in (appendable if operation == "append" else replaceable):
            raise entry.problem(f"{key!r} cannot be overridden by {operation}")
        found[key] = operation
    return found


def _matched(overrides: Mapping[str, str], members: dict[str, Entry]) -> None:
    for key in overrides:
        if key not in members:
            raise members["override"].problem(f"override names {key!r}, which is not given")
    for key, entry in members.items():
        if key in _REPLACEABLE and key not in overrides:
            raise entry.problem(f"{key!r} is given, but not named under `override`")


def _version(entry: Entry) -> None:
    text = entry.text("a version")
    if _VERSION.fullmatch(text) is None:
        raise entry.problem(f"{text!r} is no version; expected a number or x.y.z")


def _plugin_versions(entry: Entry) -> None:
    for item in entry.items("required_plugin_versions"):
        members = item.mapping("a plugin")
        alternatives = (
            members["alternatives"].items("alternatives") if "alternatives" in members else []
        )
        for plugin in (members, *(one.mapping("a plugin") for one in alternatives)):
            required(plugin, "name", item).text("name")
            _version(required(plugin, "version", item))
