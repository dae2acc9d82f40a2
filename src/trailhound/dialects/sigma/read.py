"""A Sigma file to a rule book."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from sigma import exceptions as sigma_errors
from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionNOT,
    CorrelationConditionOR,
    SigmaCorrelationRule,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.filters import SigmaFilter
from sigma.rule import SigmaLogSource, SigmaRule, SigmaRuleBase

from trailhound.dialects.contract import Placeholders, RuleFile
from trailhound.dialects.sigma.lower import BadCondition, Blocks, Lowering, take_out_blocks
from trailhound.dialects.sigma.policy import POLICY
from trailhound.dialects.sigma.taxonomy import Taxonomy, path_of
from trailhound.dialects.sigma.values import Unsupported
from trailhound.dialects.yaml_text import Document, read_documents
from trailhound.model.findings import RuleInfo
from trailhound.model.levels import Level
from trailhound.model.logsource import LogSource
from trailhound.rules.book import Filter, RuleBook
from trailhound.rules.ir import (
    Alias,
    And,
    Condition,
    Correlation,
    Exists,
    Field,
    Not,
    Note,
    Or,
    Predicate,
    Rule,
    RuleError,
)

# What pySigma complains of that leaves the meaning of a rule whole: noted, and the rule runs.
_HARMLESS = (
    sigma_errors.SigmaAuthorError,
    sigma_errors.SigmaDateError,
    sigma_errors.SigmaDescriptionError,
    sigma_errors.SigmaFalsePositivesError,
    sigma_errors.SigmaFieldsError,
    sigma_errors.SigmaIdentifierError,
    sigma_errors.SigmaLicenseError,
    sigma_errors.SigmaModifiedError,
    sigma_errors.SigmaReferencesError,
    sigma_errors.SigmaRelatedError,
    sigma_errors.SigmaScopeError,
    sigma_errors.SigmaStatusError,
    sigma_errors.SigmaTagError,
    sigma_errors.SigmaTaxonomyError,
    sigma_errors.SigmaTitleError,
)
_COMPARISONS = ("lt", "lte", "gt", "gte", "eq", "neq")
_LEVEL_ABSENT = Level.MEDIUM


_Made = TypeVar("_Made", Rule, Filter)


class _Rejected(Exception):
    """This document gives no rule; says why and where."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def read_file(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    """Read all documents of a Sigma file. Total: what cannot be used becomes an error."""
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.data[: error.start].count(b"\n") + 1
        return RuleBook(file.path, errors=(RuleError(file.path, line, "not valid UTF-8"),))
    documents, broken = read_documents(text)
    rules: list[Rule] = []
    filters: list[Filter] = []
    errors = [RuleError(file.path, e.line, e.reason, e.column) for e in broken]
    template: dict[str, Any] = {}
    previous: dict[str, Any] = {}
    for document in documents:
        content = document.content
        if content is None:
            continue
        title = str(content.get("title", "")) if isinstance(content, dict) else ""
        try:
            if not isinstance(content, dict):
                raise _Rejected("a rule must be a mapping", document.line)
            # Rule collections: Sigma Rules Specification 1.0, "Rule collections".
            action = content.pop("action", None)
            if action == "global":
                template = content
                continue
            if action == "reset":
                template = {}
                continue
            if action == "repeat":
                content = _merged(previous, content)
            elif action is not None:
                raise _Rejected(f"unknown action {action!r}", document.line_of("action"))
            elif template and "correlation" not in content and "filter" not in content:
                content = _merged(template, content)
            previous = content
            for path, line in document.duplicates:
                errors.append(
                    RuleError(
                        file.path,
                        line,
                        f"key {path!r} stands twice; the last one counts",
                        rule=title,
                    )
                )
            if "correlation" in content:
                rules.append(_typed(_correlation(file, document, content), document))
            elif "filter" in content:
                filters.append(_typed(_filter(file, document, content, placeholders), document))
            else:
                rules.append(_typed(_rule(file, document, content, placeholders), document))
        except _Rejected as rejected:
            errors.append(RuleError(file.path, rejected.line, rejected.reason, rule=title))
        except Exception as error:  # one rule, whatever pySigma makes of it, stops no other
            reason = f"{type(error).__name__}: {_sentence(error)}"
            errors.append(RuleError(file.path, document.line, reason, rule=title))
    return RuleBook(file.path, tuple(rules), tuple(filters), tuple(errors))


def _typed(made: _Made, document: Document) -> _Made:
    """Hold what was made of a document against the types it has: YAML may put anything there."""
    try:
        if msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made:
            return made
        reason = "it cannot be written back"
    except (msgspec.MsgspecError, ValueError) as error:
        reason = _sentence(error)
    raise _Rejected(f"a value of the wrong kind: {reason}", document.line)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _rule(
    file: RuleFile, document: Document, content: dict[str, Any], placeholders: Placeholders
) -> Rule:
    if not isinstance(content.get("detection"), dict):
        raise _Rejected("no detection, or one that is not a mapping", document.line_of("detection"))
    blocks: Blocks = {}
    content = {**content, "detection": take_out_blocks(content["detection"], blocks)}
    parsed = _parsed(
        lambda: SigmaRule.from_dict(content, collect_errors=True, policy=POLICY), document
    )
    logsource = _logsource(parsed.logsource)
    taxonomy = Taxonomy(logsource)
    lowering = Lowering(parsed.detection, blocks, taxonomy, placeholders)
    predicate = _lowered(lowering, document, "detection")
    return Rule(
        info=_info(file, document, content, parsed),
        logsource=logsource,
        predicate=predicate,
        name=parsed.name or "",
        notes=(*_notes(document, parsed), *taxonomy.notes),
    )


def _filter(
    file: RuleFile, document: Document, content: dict[str, Any], placeholders: Placeholders
) -> Filter:
    if not isinstance(content.get("filter"), dict):
        raise _Rejected("filter must be a mapping", document.line_of("filter"))
    blocks: Blocks = {}
    content = {**content, "filter": take_out_blocks(content["filter"], blocks)}
    parsed = _parsed(
        lambda: SigmaFilter.from_dict(content, collect_errors=True, policy=POLICY), document
    )
    logsource = _logsource(parsed.logsource)
    lowering = Lowering(parsed.filter, blocks, Taxonomy(logsource), placeholders)
    named = parsed.filter.rules
    return Filter(
        title=parsed.title,
        path=file.path,
        line=document.line,
        logsource=logsource,
        rules=None if isinstance(named, str) else tuple(ref.reference for ref in named),
        predicate=_lowered(lowering, document, "filter"),
    )


def _correlation(file: RuleFile, document: Document, content: dict[str, Any]) -> Rule:
    section = content["correlation"]
    bounds: dict[str, Any] = {}
    if isinstance(section, dict) and isinstance(section.get("condition"), dict):
        # A range has two operators ("gt: 100, lte: 200"), of which pySigma takes one.
        condition = section["condition"]
        bounds = {key: condition[key] for key in _COMPARISONS if key in condition}
        if len(bounds) > 1:
            rest = {key: value for key, value in condition.items() if key not in _COMPARISONS}
            first = next(iter(bounds))
            narrowed = {**section, "condition": {**rest, first: bounds[first]}}
            content = {**content, "correlation": narrowed}
    parsed = _parsed(
        lambda: SigmaCorrelationRule.from_dict(content, collect_errors=True, policy=POLICY),
        document,
    )
    line = document.line_of("correlation", "condition")
    for key, value in bounds.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Rejected(f"condition {key}: {value!r} is not a number", line)
    expression: Predicate | None = None
    conditions: tuple[Condition, ...] = ()
    field = percentile = None
    references = [ref.reference for ref in parsed.rules or ()]
    if isinstance(parsed.condition, SigmaExtendedCorrelationCondition):
        expression = _expression(parsed.condition.parsed)
        references = references or parsed.condition.get_referenced_rules()
    else:
        conditions = tuple(Condition(key, value) for key, value in bounds.items())  # type: ignore[arg-type]
        field = parsed.condition.fieldref
        percentile = parsed.condition.percentile
    if isinstance(field, list):
        if len(field) != 1:
            raise _Rejected("a correlation over several value fields", line)
        field = field[0]
    kind = parsed.type.name.lower()
    if kind == "value_percentile" and not (percentile is not None and 0 <= percentile <= 100):
        raise _Rejected("value_percentile needs a percentile between 0 and 100", line)
    if not references:
        raise _Rejected("a correlation without rules", document.line_of("correlation", "rules"))
    window = Correlation(
        kind=kind,
        rules=tuple(references),
        timespan_ns=parsed.timespan.seconds * 1_000_000_000,
        group_by=tuple(Field(name, (path_of(name),)) for name in parsed.group_by or ()),
        aliases=tuple(
            Alias(
                alias.alias,
                tuple(
                    (ref.reference, Field(name, (path_of(name),)))
                    for ref, name in alias.mapping.items()
                ),
            )
            for alias in parsed.aliases
        ),
        conditions=conditions,
        expression=expression,
        field=Field(field, (path_of(field),)) if field is not None else None,
        percentile=percentile,
        generate=parsed.generate,
    )
    return Rule(
        info=_info(file, document, content, parsed),
        window=window,
        name=parsed.name or "",
        notes=_notes(document, parsed),
    )


def _expression(node: Any) -> Predicate:
    if isinstance(node, SigmaRuleReference):
        return Exists(Field(node.reference, ((node.reference,),)))
    items = tuple(_expression(item) for item in node.args)
    if isinstance(node, CorrelationConditionAND):
        return And(items)
    if isinstance(node, CorrelationConditionOR):
        return Or(items)
    if isinstance(node, CorrelationConditionNOT):
        return Not(items[0])
    raise Unsupported(f"correlation condition of type {type(node).__name__}")


def _parsed(parse: Callable[[], Any], document: Document) -> Any:
    # pySigma collects most errors, but raises some, and plain Python ones on odd types.
    try:
        parsed = parse()
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        raise _Rejected(_sentence(error), _line_of(document, error)) from None
    for problem in parsed.errors:
        if not isinstance(problem, _HARMLESS) and not _is_of_a_tag(problem):
            raise _Rejected(_sentence(problem), _line_of(document, problem))
    return parsed


def _is_of_a_tag(problem: Exception) -> bool:
    # pySigma has an error for tags and does not use it for this one.
    return type(problem) is sigma_errors.SigmaValueError and "tag" in str(problem).lower()


def _lowered(lowering: Lowering, document: Document, section: str) -> Predicate:
    try:
        return lowering.conditions()
    except (sigma_errors.SigmaConditionError, BadCondition) as error:
        line = document.line_of(section, "condition")
        raise _Rejected(f"condition: {_sentence(error)}", line) from None
    except (Unsupported, ValueError, TypeError, RecursionError) as error:
        raise _Rejected(_sentence(error), document.line_of(section)) from None


def _sentence(error: Exception) -> str:
    text = str(error).split("\n", 1)[0].strip()[:300]
    return text or type(error).__name__


def _line_of(document: Document, error: Exception) -> int:
    if isinstance(error, sigma_errors.SigmaLogsourceError):
        return document.line_of("logsource")
    if isinstance(error, sigma_errors.SigmaCorrelationRuleError):
        return document.line_of("correlation")
    if isinstance(error, sigma_errors.SigmaLevelError):
        return document.line_of("level")
    # pySigma says what is wrong, not where; the word it quotes usually leads to the line.
    message = str(error)
    for value, line in document.values.items():
        if len(value) > 1 and f"'{value}'" in message:
            return line
    for keys, line in sorted(document.lines.items(), key=lambda entry: -len(entry[0])):
        if keys[0] in ("detection", "filter") and any(
            len(word) > 1 and f"'{word}'" in message for word in keys[-1].split("|")
        ):
            return line
    return document.line_of("detection")


def _info(
    file: RuleFile, document: Document, content: dict[str, Any], parsed: SigmaRuleBase
) -> RuleInfo:
    title = str(content.get("title") or "").strip() or f"rule at {file.path}:{document.line}"
    uid = (
        str(parsed.id)
        if parsed.id
        else hashlib.sha256(
            f"{title}\0{document.line}\0{file.path.rsplit('/', 1)[-1]}".encode()
        ).hexdigest()[:32]
    )
    level = Level[parsed.level.name] if parsed.level is not None else _LEVEL_ABSENT
    return RuleInfo(
        uid=uid,
        title=title,
        level=level,
        dialect="sigma",
        path=file.path,
        line=document.line,
        description=str(content.get("description") or "").strip(),
        tags=_texts(content.get("tags")),
        references=_texts(content.get("references")),
        false_positives=_texts(content.get("falsepositives")),
        author=str(content.get("author") or ""),
        status=str(content.get("status") or ""),
    )


def _notes(document: Document, parsed: SigmaRuleBase) -> tuple[Note, ...]:
    notes = [Note(_sentence(error), document.line) for error in parsed.errors]
    if parsed.level is None:
        notes.append(Note(f"no level; taken as {_LEVEL_ABSENT.label}", document.line))
    return tuple(notes)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _logsource(parsed: SigmaLogSource) -> LogSource:
    return LogSource(parsed.product, parsed.category, parsed.service)
