"""A rule of Panther to rules of the IR: one for each log that it reads, and one for its alerts."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from trailhound.dialects.panther import keys, python_files
from trailhound.dialects.panther.alerts import context_of, groups_of, output_of
from trailhound.dialects.panther.expressions import predicate_of
from trailhound.dialects.panther.items import Item, Rejected
from trailhound.dialects.panther.keypath import key_path
from trailhound.dialects.panther.logs import APART, LOG_TYPES, OWN, sources_of
from trailhound.dialects.panther.pretest import pretest
from trailhound.dialects.panther.syntax import Modules
from trailhound.model.findings import RuleInfo
from trailhound.model.logsource import LogSource
from trailhound.rules.ir import And, Deduplicated, Field, Note, Predicate, PythonCall, Rule
from trailhound.rules.python import FUNCTIONS, InlineTest, PythonProgram, TestedOnly

_MINUTE_NS = 60_000_000_000
_DEDUP = Field("dedup", ())
"""Rules in Python say themselves what their alerts are grouped by."""
# A policy is asked like a rule; but what it is given is the resource itself, no event around it.
_POLICY_AS_RULE = f"""
def _trailhound_asks(function):
    return lambda event: function(event.to_dict() if hasattr(event, "to_dict") else event)
rule = policy
for _trailhound_name in {FUNCTIONS!r}:
    if _trailhound_name in globals():
        globals()[_trailhound_name] = _trailhound_asks(globals()[_trailhound_name])
"""
_CONTEXT = "p_alert_context"
_TECHNIQUE = re.compile(r"(?:TA\d{4}:)?(T\d{4}(?:\.\d{3})?)\b|(TA\d{4})\b")


class Hits(Struct, frozen=True):
    """The rule over the events of one log by which a rule of Panther matches."""

    uid: str
    log_type: str
    logsource: LogSource


class Detection(Struct, frozen=True):
    """What comes of one rule."""

    rules: tuple[Rule, ...]
    program: PythonProgram | None
    tests: tuple[InlineTest, ...]


def hits_of(item: Item) -> list[Hits]:
    """Return the rules over events that a rule becomes."""
    if "ScheduledQueries" in item.content:
        raise Rejected(keys.NOT_RUN["scheduled_rule"], "ScheduledQueries")
    log_types = list(dict.fromkeys(item.texts("LogTypes")))
    if not log_types:
        raise Rejected("LogTypes is missing", "LogTypes")
    rule_id = item.need("RuleID")
    read = [name for name in log_types if name in LOG_TYPES] or log_types
    return [
        Hits(f"{rule_id}:{name}" + f".{number}" * bool(number), name, logsource)
        for name in read
        for number, logsource in enumerate(sources_of(name))
    ]


def field_of(item: Item, hits: Hits, path: str) -> Field:
    """Return the field of a match that a correlation rule names."""
    key = key_path(path)
    if key.path[0] == _CONTEXT and "Detection" in item.content:
        # Of a rule in YAML it is known where its context comes from.
        known = context_of(item).get(".".join(key.path[1:]))
        if known is not None:
            return msgspec.structs.replace(known.field(hits.log_type), name=path)
    if key.path[0].startswith(OWN):
        return Field(path, (key.path,))
    return key.field(hits.log_type)


def detection_of(item: Item, modules: Modules) -> Detection:
    """Return what a rule becomes.

    Args:
        item: the rule; a derived one with what its base has.
        modules: the globals that its Python may import.
    """
    python = "Filename" in item.content
    if python is ("Detection" in item.content):
        raise Rejected("a rule needs a Filename or a Detection", "RuleID")
    notes = keys.notes_of(item, keys.RULE)
    all_hits = hits_of(item)
    notes.extend(_unread(item))
    program = _program(item, notes) if python else None
    info = info_of(item)
    enabled = item.flag("Enabled", default=True)
    rules = [
        Rule(
            info=_info_of_hits(info, hits),
            logsource=hits.logsource,
            predicate=_predicate(item, hits.log_type, program, modules),
            silent=True,
            enabled=enabled,
            output=None if python else output_of(item, hits.log_type),
        )
        for hits in all_hits
    ]
    alerts = Deduplicated(
        rules=tuple(hits.uid for hits in all_hits),
        period_ns=item.whole("DedupPeriodMinutes", 60) * _MINUTE_NS,
        threshold=item.whole("Threshold", 1),
        unique=program is not None and "unique" in _functions(item, program),
        group_by=(_DEDUP,) if python else groups_of(item, [hits.log_type for hits in all_hits]),
    )
    if item.flag("CreateAlert", default=True):
        rules.append(Rule(info=info, window=alerts, enabled=enabled, notes=tuple(notes)))
    else:
        notes.append(Note("makes signals only: correlation rules can ask for its matches"))
        rules[0] = msgspec.structs.replace(rules[0], notes=tuple(notes))
    return Detection(tuple(rules), program, tuple(tests_of(item)))


def info_of(item: Item) -> RuleInfo:
    """Return what findings say of a rule."""
    said = item.text("Description")
    runbook = item.text("Runbook")
    if runbook and runbook != said:
        said = f"{said}\nRunbook: {runbook}" if said else f"Runbook: {runbook}"
    reference = item.text("Reference")
    return RuleInfo(
        uid=item.detection_id,
        title=item.text("DisplayName") or item.detection_id,
        level=item.level(),
        dialect="panther",
        path=item.file.path,
        line=item.line(),
        description=said,
        tags=tuple(dict.fromkeys((*item.texts("Tags"), *_techniques(item)))),
        references=(reference,) if reference else (),
        status=item.text("Status"),
    )


def _techniques(item: Item) -> list[str]:
    reports = item.content.get("Reports") or {}
    if not isinstance(reports, Mapping):
        raise Rejected("Reports must be a mapping", "Reports")
    tags: list[str] = []
    for name, listed in reports.items():
        for entry in listed if isinstance(listed, list) else [listed]:
            found = _TECHNIQUE.match(str(entry))
            if found is not None and "ATT&CK" in str(name).upper():
                tags.append(f"attack.{(found[1] or found[2]).lower()}")
            else:
                tags.append(f"{name}:{entry}")
    return tags


def _info_of_hits(info: RuleInfo, hits: Hits) -> RuleInfo:
    return msgspec.structs.replace(info, uid=hits.uid, title=f"{info.title} ({hits.log_type})")


def _unread(item: Item) -> list[Note]:
    others = [name for name in item.texts("LogTypes") if name not in LOG_TYPES]
    if not others or len(others) == len(item.texts("LogTypes")):
        return []  # the rule itself has nothing to read, which is said of it elsewhere
    text = f"log types that are not read here: {', '.join(others)}"
    return [Note(text, *item.place("LogTypes"))]


def _predicate(
    item: Item, log_type: str, program: PythonProgram | None, modules: Modules
) -> Predicate:
    parts: list[Predicate] = [APART[log_type]] if log_type in APART else []
    if "InlineFilters" in item.content:
        parts.append(predicate_of(item.content["InlineFilters"], log_type, "InlineFilters"))
    if program is None:
        parts.append(predicate_of(item.content["Detection"], log_type, "Detection"))
    else:
        tree = python_files.parsed(item, program.source)
        parts.extend(pretest(tree, modules, log_type))
        parts.append(PythonCall(program.rule_id, log_type))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _program(item: Item, notes: list[Note]) -> PythonProgram:
    source = python_files.source_of(item)
    program = PythonProgram(
        rule_id=item.need("RuleID"), path=python_files.path_of(item), source=source
    )
    if "rule" not in _functions(item, program):
        raise Rejected(f"{item.text('Filename')} defines no function rule", "Filename")
    notes.extend(python_files.notes_of(item, source))
    return program


def _functions(item: Item, program: PythonProgram) -> set[str]:
    return python_files.functions_of(python_files.parsed(item, program.source))


def tested_only(item: Item) -> TestedOnly:
    """Return a policy or scheduled rule in Python as what its tests can be run on."""
    policy = item.kind == "policy"
    source = python_files.source_of(item)
    program = PythonProgram(
        rule_id=item.detection_id, path=python_files.path_of(item), source=source
    )
    decides = "policy" if policy else "rule"
    if decides not in _functions(item, program):
        raise Rejected(f"{item.text('Filename')} defines no function {decides}", "Filename")
    if policy:
        program = msgspec.structs.replace(program, source=f"{source}\n{_POLICY_AS_RULE}")
    return TestedOnly(info=info_of(item), program=program, policy=policy)


def tests_of(item: Item) -> list[InlineTest]:
    """Return the tests that stand in a rule; those of a correlation rule name matches."""
    data = "RuleOutputs" if item.kind == "correlation_rule" else "Log"
    tests = []
    for entry in item.listed("Tests"):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("ExpectedResult"), bool):
            raise Rejected(f"a test needs a Name, an ExpectedResult and {data}", "Tests")
        name = str(entry.get("Name", ""))
        tests.append(
            InlineTest(
                rule_id=item.detection_id,
                name=name,
                path=item.file.path,
                line=item.line("Tests", name),
                expected=entry["ExpectedResult"],
                log=_plain(entry["Resource"] if "Resource" in entry else entry.get(data)),
                mocks=tuple(_mocks(entry.get("Mocks") or [])),
            )
        )
    return tests


def _mocks(listed: Any) -> list[tuple[str, Any]]:
    if not isinstance(listed, list):
        raise Rejected("Mocks must be a list", "Tests", "Mocks")
    mocks = []
    for entry in listed:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("objectName"), str):
            raise Rejected("a mock needs an objectName", "Tests", "Mocks")
        mocks.append((entry["objectName"], _plain(entry.get("returnValue"))))
    return mocks


def _plain(value: Any) -> Any:
    """Return YAML's data as JSON has it: stamps of time as text."""
    return msgspec.json.decode(msgspec.json.encode(value))
