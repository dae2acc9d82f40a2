"""Falco rule files to rule books."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.falco.catalogue import source_named
from trailhound.dialects.falco.collect import Collected, FalcoRule, collect
from trailhound.dialects.falco.condition import Check, FieldRef, Named, Node
from trailhound.dialects.falco.fields import FALSE, all_of
from trailhound.dialects.falco.lower import Lowering, UnknownField
from trailhound.dialects.falco.macros import Macros, parsed
from trailhound.dialects.falco.okta import COUNTED, COUNTED_BY, COUNTS
from trailhound.dialects.falco.output import template
from trailhound.dialects.falco.text import Place
from trailhound.dialects.yaml_text import YamlError, decoded
from trailhound.model.findings import RuleInfo
from trailhound.model.logsource import LogSource
from trailhound.rules.book import RuleBook
from trailhound.rules.ir import Condition, Correlation, Note, Predicate, Rule, RuleError

_COUNT_OPERATORS = {
    "=": "eq",
    "==": "eq",
    "!=": "neq",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
}
_LOCAL = ".local"


def read_files(files: Sequence[RuleFile]) -> list[RuleBook]:
    """Read the Falco rule files of a run, in their order. Total: one book for each file."""
    ordered = sorted_as_loaded(files)
    errors: dict[str, list[RuleError]] = {file.path: [] for file in files}
    rules: dict[str, list[Rule]] = {file.path: [] for file in files}
    texts = []
    for file in ordered:
        try:
            texts.append((file.path, decoded(file.data)))
        except YamlError as error:
            errors[file.path].append(RuleError(file.path, error.line, error.reason, error.column))
    collected = collect(texts)
    macros = Macros(collected)
    problems = [*collected.problems, *((place, "") for place in macros.problems())]
    for falco_rule in collected.rules.values():
        try:
            rules[falco_rule.place.path].extend(_rules(falco_rule, collected, macros))
        except Place as place:
            problems.append((place, falco_rule.name))
    for problem, name in problems:
        errors[problem.path].append(
            RuleError(problem.path, problem.line, problem.reason, problem.column, name)
        )
    return [
        RuleBook(file.path, tuple(rules[file.path]), errors=tuple(errors[file.path]))
        for file in files
    ]


def sorted_as_loaded(files: Sequence[RuleFile]) -> list[RuleFile]:
    """Put `x.local.yaml` after `x.yaml` of the same folder, as Falco's configuration does."""
    stems = {os.path.splitext(file.path)[0]: at for at, file in enumerate(files)}

    def place(entry: tuple[int, RuleFile]) -> tuple[int, int]:
        at, file = entry
        stem = os.path.splitext(file.path)[0]
        base = stems.get(stem.removesuffix(_LOCAL)) if stem.endswith(_LOCAL) else None
        return (at, 0) if base is None or base < at else (base, 1)

    return [file for _, file in sorted(enumerate(files), key=place)]


def _rules(rule: FalcoRule, collected: Collected, macros: Macros) -> list[Rule]:
    source = source_named(rule.source)
    logsource = source.logsource if source else LogSource(product="falco", service=rule.source)
    lowering = Lowering(collected, macros, source)
    notes = rule.notes
    text = parsed(rule.condition)
    counted = _count(text.node, macros)
    if counted is not None and rule.source == "okta":
        return _windowed(rule, counted, logsource, notes)
    try:
        predicate: Predicate | None = all_of(
            lowering.condition(text), lowering.exceptions(rule.exceptions)
        )
    except UnknownField as unknown:
        if not rule.skip_unknown:
            raise
        note = Note(
            f"skipped, as it says itself: {unknown.reason}",
            unknown.line,
            unknown.column,
            ignored=True,
        )
        skipped = Rule(
            info=_info(rule),
            column=rule.place.column,
            logsource=logsource,
            predicate=FALSE,
            enabled=False,
            notes=(*notes, note),
        )
        return [skipped]
    output, odd = template(rule.output, lowering)
    absent = tuple(
        Note(f"field {name} is in no event here: what asks for it is never so")
        for name in lowering.absent
    )
    if predicate == FALSE:
        absent = (*absent, Note("it never matches: its condition comes to nothing"))
    return [
        Rule(
            info=_info(rule),
            column=rule.place.column,
            logsource=logsource,
            predicate=predicate,
            enabled=rule.enabled,
            output=output,
            notes=(*notes, *odd, *absent),
        )
    ]


@dataclass(frozen=True, slots=True)
class _Count:
    """A condition that is nothing but `okta.mfa.failure.countlast[SECONDS] OPERATOR NUMBER`."""

    seconds: int
    condition: Condition


def _count(node: Node, macros: Macros) -> _Count | None:
    for _ in range(len(COUNTS) + 8):
        found = macros.get(node.name, None) if isinstance(node, Named) else None
        if found is None or isinstance(found[1], Place):
            break
        node = found[1].node
    if not isinstance(node, Check) or not isinstance(node.left, FieldRef):
        return None
    operator = _COUNT_OPERATORS.get(node.operator)
    right = node.right
    if node.left.name not in COUNTS or operator is None or not isinstance(right, tuple):
        return None
    seconds, number = node.left.argument or "", right[0].text
    if not seconds.isdecimal() or not number.isdecimal() or len(seconds + number) > 18:
        return None
    return _Count(int(seconds), Condition(operator, int(number)))  # type: ignore[arg-type]


def _windowed(
    rule: FalcoRule, count: _Count, logsource: LogSource, notes: tuple[Note, ...]
) -> list[Rule]:
    """A count is a window: over the failures of the same kind and actor."""
    if rule.exceptions:
        place = rule.place
        raise Place(
            "exceptions do not go together with a count", place.path, place.line, place.column
        )
    info = _info(rule)
    failures = msgspec.structs.replace(
        info, uid=_uid(rule, "failures"), title=f"{rule.name}: one failure"
    )
    said = Note("the finding is that of a window: the output is not written")
    window = Correlation(
        kind="event_count",
        rules=(failures.uid,),
        timespan_ns=count.seconds * 1_000_000_000,
        group_by=COUNTED_BY,
        conditions=(count.condition,),
    )
    return [
        Rule(
            info=failures,
            column=rule.place.column,
            logsource=logsource,
            predicate=COUNTED,
            enabled=rule.enabled,
        ),
        Rule(
            info=info,
            column=rule.place.column,
            window=window,
            enabled=rule.enabled,
            notes=(*notes, said),
        ),
    ]


def _info(rule: FalcoRule) -> RuleInfo:
    return RuleInfo(
        uid=_uid(rule),
        title=rule.name,
        level=rule.level,
        dialect="falco",
        path=rule.place.path,
        line=rule.place.line,
        description=rule.description,
        tags=rule.tags,
    )


def _uid(rule: FalcoRule, part: str = "") -> str:
    # Falco knows rules by their names, so the id is made of it and lasts as long.
    return hashlib.sha256(f"falco\0{rule.source}\0{rule.name}\0{part}".encode()).hexdigest()[:32]
