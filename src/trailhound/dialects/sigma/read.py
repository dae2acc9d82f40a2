"""A Sigma file to a rule book."""

import hashlib
import re
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
from trailhound.dialects.yaml_text import Document, Place, YamlError, decoded, read_documents
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
_AT_CHARACTER = re.compile(r"\s*\(at char (\d+)\).*$")
_QUOTED = re.compile(r"'([^']+)'")
_COMPARISONS = ("lt", "lte", "gt", "gte", "eq", "neq")
_LEVEL_ABSENT = Level.MEDIUM


_Made = TypeVar("_Made", Rule, Filter)


class _Rejected(Exception):
    """This document gives no rule; says why and where."""

    def __init__(self, reason: str, place: Place) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


def read_file(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    """Read all documents of a Sigma file. Total: what cannot be used becomes an error."""
    try:
        documents, broken = read_documents(decoded(file.data))
    except YamlError as error:
        documents, broken = [], [error]
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
                raise _Rejected("a rule must be a mapping", document.place)
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
                raise _Rejected(f"unknown action {action!r}", document.place_of("action"))
            elif template and "correlation" not in content and "filter" not in content:
                content = _merged(template, content)
            previous = content
            for path, place in document.duplicates:
                reason = f"key {path!r} stands twice; the last one counts"
                errors.append(_error(file, place, reason, title))
            if "correlation" in content:
                rules.append(_typed(_correlation(file, document, content), document))
            elif "filter" in content:
                filters.append(_typed(_filter(file, document, content, placeholders), document))
            else:
                rules.append(_typed(_rule(file, document, content, placeholders), document))
        except _Rejected as rejected:
            errors.append(_error(file, rejected.place, rejected.reason, title))
        except Exception as error:  # one rule, whatever pySigma makes of it, stops no other
            reason = f"{type(error).__name__}: {_sentence(error)}"
            errors.append(_error(file, document.place, reason, title))
    return RuleBook(file.path, tuple(rules), tuple(filters), tuple(errors))


def _error(file: RuleFile, place: Place, reason: str, title: str) -> RuleError:
    line, column = place
    return RuleError(file.path, line, reason, column, title)


def _typed(made: _Made, document: Document) -> _Made:
    """Hold what was made of a document against the types it has: YAML may put anything there."""
    try:
        if msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made:
            return made
        reason = "it cannot be written back"
    except (msgspec.MsgspecError, ValueError) as error:
        reason = _sentence(error)
    raise _Rejected(f"a value of the wrong kind: {reason}", document.place)


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
        raise _Rejected(
            "no detection, or one that is not a mapping", document.place_of("detection")
        )
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
        column=document.place[1],
        logsource=logsource,
        predicate=predicate,
        name=parsed.name or "",
        notes=(*_notes(document, parsed), *taxonomy.notes),
    )


def _filter(
    file: RuleFile, document: Document, content: dict[str, Any], placeholders: Placeholders
) -> Filter:
    if not isinstance(content.get("filter"), dict):
        raise _Rejected("filter must be a mapping", document.place_of("filter"))
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
        line=document.place[0],
        column=document.place[1],
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
    place = document.place_of("correlation", "condition")
    for key, value in bounds.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Rejected(f"condition {key}: {value!r} is not a number", place)
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
            raise _Rejected("a correlation over several value fields", place)
        field = field[0]
    kind = parsed.type.name.lower()
    if kind == "value_percentile" and not (percentile is not None and 0 <= percentile <= 100):
        raise _Rejected("value_percentile needs a percentile between 0 and 100", place)
    if not references:
        raise _Rejected("a correlation without rules", document.place_of("correlation", "rules"))
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
        column=document.place[1],
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
        raise _Rejected(_sentence(error), _place_of(document, error)) from None
    for problem in parsed.errors:
        if not isinstance(problem, _HARMLESS) and not _is_of_a_tag(problem):
            raise _Rejected(_sentence(problem), _place_of(document, problem))
    return parsed


def _is_of_a_tag(problem: Exception) -> bool:
    # pySigma has an error for tags and does not use it for this one.
    return type(problem) is sigma_errors.SigmaValueError and "tag" in str(problem).lower()


def _lowered(lowering: Lowering, document: Document, section: str) -> Predicate:
    try:
        return lowering.conditions()
    except (sigma_errors.SigmaConditionError, BadCondition) as error:
        place = _place_in_condition(document, section, error)
        reason = _AT_CHARACTER.sub("", _sentence(error)).strip()
        raise _Rejected(f"condition: {reason}", place) from None
    except (Unsupported, ValueError, TypeError, RecursionError) as error:
        raise _Rejected(_sentence(error), document.place_of(section)) from None


def _place_in_condition(document: Document, section: str, error: Exception) -> Place:
    """Place of what is wrong in a condition: the character, or the word, that it names."""
    place = document.place_of(section, "condition")
    written = document.content[section].get("condition")
    message = _sentence(error)
    at, word = _AT_CHARACTER.search(message), _QUOTED.search(message)
    for text in written if isinstance(written, list) else [written]:
        start = document.values.get(str(text))
        if start is None:
            continue
        place = start
        offset = int(at[1]) if at else str(text).find(word[1]) if word else -1
        if 0 <= offset <= len(str(text)) and "\n" not in str(text):
            return start[0], start[1] + offset
    return place


def _sentence(error: Exception) -> str:
    text = str(error).split("\n", 1)[0].strip()[:300]
    return text or type(error).__name__


def _place_of(document: Document, error: Exception) -> Place:
    if isinstance(error, sigma_errors.SigmaLogsourceError):
        return document.place_of("logsource")
    if isinstance(error, sigma_errors.SigmaCorrelationRuleError):
        return document.place_of("correlation")
    if isinstance(error, sigma_errors.SigmaLevelError):
        return document.place_of("level")
    # pySigma says what is wrong, not where; the word it quotes usually leads to the line.
    message = str(error)
    for value, place in document.values.items():
        if len(value) > 1 and f"'{value}'" in message:
            return place
    for keys, place in sorted(document.places.items(), key=lambda entry: -len(entry[0])):
        if keys[0] in ("detection", "filter") and any(
            len(word) > 1 and f"'{word}'" in message for word in keys[-1].split("|")
        ):
            return place
    return document.place_of("detection")


def _place_of_metadata(document: Document, error: Exception) -> Place:
    """Place of the key that a complaint about metadata is of."""
    word = type(error).__name__.removeprefix("Sigma").removesuffix("Error").lower()
    keys = (word, f"{word}s", {"identifier": "id", "value": "tags"}.get(word, word))
    return next(
        (document.places[key,] for key in keys if (key,) in document.places), document.place
    )


def _info(
    file: RuleFile, document: Document, content: dict[str, Any], parsed: SigmaRuleBase
) -> RuleInfo:
    title = str(content.get("title") or "").strip() or f"rule at {file.path}:{document.place[0]}"
    uid = (
        str(parsed.id)
        if parsed.id
        else hashlib.sha256(
            f"{title}\0{document.place[0]}\0{file.path.rsplit('/', 1)[-1]}".encode()
        ).hexdigest()[:32]
    )
    level = Level[parsed.level.name] if parsed.level is not None else _LEVEL_ABSENT
    return RuleInfo(
        uid=uid,
        title=title,
        level=level,
        dialect="sigma",
        path=file.path,
        line=document.place[0],
        description=str(content.get("description") or "").strip(),
        tags=_texts(content.get("tags")),
        references=_texts(content.get("references")),
        false_positives=_texts(content.get("falsepositives")),
        author=str(content.get("author") or ""),
        status=str(content.get("status") or ""),
    )


def _notes(document: Document, parsed: SigmaRuleBase) -> tuple[Note, ...]:
    notes = []
    for error in parsed.errors:
        line, column = _place_of_metadata(document, error)
        notes.append(Note(_sentence(error), line, column))
    if parsed.level is None:
        notes.append(Note(f"no level; taken as {_LEVEL_ABSENT.label}", *document.place))
    return tuple(notes)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _logsource(parsed: SigmaLogSource) -> LogSource:
    return LogSource(parsed.product, parsed.category, parsed.service)
