"""Sigma detections and conditions to IR predicates."""

import re
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionIdentifier,
    ConditionNOT,
    ConditionOR,
    ConditionSelector,
    SigmaCondition,
)
from sigma.modifiers import SigmaCaseSensitiveModifier, SigmaTimestampModifier
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaDetections
from sigma.types import SigmaExists

from trailhound.dialects.contract import Placeholders
from trailhound.dialects.sigma.policy import POLICY
from trailhound.dialects.sigma.taxonomy import Taxonomy, path_of
from trailhound.dialects.sigma.values import (
    Unsupported,
    keyword_test,
    tests_of,
    with_regard_to_case,
)
from trailhound.rules.ir import (
    And,
    Compare,
    Exists,
    Field,
    IsNull,
    Keyword,
    Not,
    Or,
    Predicate,
    Some,
)

_BLOCK_KEY = re.compile(r"^(?P<field>[^|\[\]]*)\[(?P<quantifier>any|all)\]$")
_ELEMENT = Field("element", ((),))
_BLOCK_FIELD = "trailhound array block "

Blocks = dict[str, tuple[str, bool, Any]]
"""Stand-in field name → (field, every, definition) of the array blocks taken out of a rule."""


def is_block(key: str) -> bool:
    """Whether a key of a detection, read from a file, means an array block or stands for one."""
    return _BLOCK_KEY.match(key) is not None or key.startswith(_BLOCK_FIELD)


class BadCondition(Exception):
    """The condition of a rule asks for something that its detections do not have."""


def take_out_blocks(definition: Any, blocks: Blocks) -> Any:
    """Replace array blocks by stand-ins, which pySigma can parse.

    An array block asks several things of one and the same element of a list:

        requestObject.spec.containers[any]:
            securityContext.privileged: true
            image|startswith: 'docker.io/'

    It is the notation of the array-matching proposal (SigmaHQ/sigma-specification,
    discussion 106), with the quantifiers `any` and `all` (every element, at least one).
    """
    if isinstance(definition, list):
        return [take_out_blocks(item, blocks) for item in definition]
    if not isinstance(definition, dict):
        return definition
    taken: dict[Any, Any] = {}
    for key, value in definition.items():
        block = _BLOCK_KEY.match(key) if isinstance(key, str) else None
        if block is None or not isinstance(value, dict | list):
            taken[key] = take_out_blocks(value, blocks)
            continue
        name = f"{_BLOCK_FIELD}{len(blocks)}"
        blocks[name] = (block["field"], block["quantifier"] == "all", None)
        inner = take_out_blocks(value, blocks)
        blocks[name] = (block["field"], block["quantifier"] == "all", inner)
        taken[name] = "block"
    return taken


class Lowering:
    """Lowers the detections of one rule or filter."""

    def __init__(
        self,
        detections: SigmaDetections,
        blocks: Blocks,
        taxonomy: Taxonomy,
        placeholders: Placeholders,
    ) -> None:
        self._detections = detections
        self._blocks = blocks
        self._taxonomy = taxonomy
        self._placeholders = placeholders
        self._inside_block = 0

    def conditions(self) -> Predicate:
        """Return the predicate of all conditions of the rule; any of them suffices."""
        predicates = [self._condition(text) for text in self._detections.condition]
        return predicates[0] if len(predicates) == 1 else Or(tuple(predicates))

    def _condition(self, text: str) -> Predicate:
        tree = SigmaCondition(text, self._detections).parse(postprocess=False)
        return self._node(tree)

    def _node(self, node: Any) -> Predicate:
        if isinstance(node, ConditionIdentifier):
            return self._identifier(node.identifier)
        if isinstance(node, ConditionSelector):
            named = node.resolve_referenced_detections(self._detections)
            if not named:
                raise BadCondition(f"'{' of '.join(node.args)}' fits no detection")
            items = tuple(self._identifier(item.identifier) for item in named)
            label = f"{node.args[0]} of {node.args[1]}"
            return And(items, label) if node.cond_class is ConditionAND else Or(items, label)
        if isinstance(node, ConditionNOT):
            return Not(self._node(node.args[0]))
        if isinstance(node, ConditionAND):
            return And(tuple(self._node(item) for item in node.args))
        if isinstance(node, ConditionOR):
            return Or(tuple(self._node(item) for item in node.args))
        raise Unsupported(f"condition of type {type(node).__name__}")

    def _identifier(self, name: str) -> Predicate:
        detection = self._detections.detections.get(name)
        if detection is None:
            raise BadCondition(f"it names detection {name!r}, which is not defined")
        predicate = self._detection(detection)
        if isinstance(predicate, And | Or) and not predicate.label:
            return type(predicate)(predicate.items, name)
        return And((predicate,), name)

    def _detection(self, detection: SigmaDetection) -> Predicate:
        items = tuple(
            self._detection(item) if isinstance(item, SigmaDetection) else self._item(item)
            for item in detection.detection_items
        )
        if len(items) == 1:
            return items[0]
        if detection.item_linking is ConditionAND:
            return self._taxonomy.conjunction(And(items))
        return Or(items)

    def _item(self, item: SigmaDetectionItem) -> Predicate:
        if item.field is not None and item.field in self._blocks:
            return self._block(item.field)
        parts = [way for way in item.modifiers if issubclass(way, SigmaTimestampModifier)]
        if len(parts) > 1:
            raise Unsupported("several parts of a time are asked of one value")
        # Encodings and references forget that regard to case was asked for.
        cased = SigmaCaseSensitiveModifier in item.modifiers
        options = [self._value(item.field, value, cased=cased) for value in item.value]
        if not options and item.field is None:
            raise Unsupported("a detection is empty")
        if not options:  # as pySigma has it: a field with an empty list has no value
            options = [Compare(self._taxonomy.field(item.field or ""), IsNull())]
        if len(options) == 1:
            predicate = options[0]
        elif item.value_linking is ConditionAND:
            predicate = And(tuple(options))
        else:
            predicate = Or(tuple(options))
        return Not(predicate) if item.negated else predicate

    def _value(self, field: str | None, value: Any, *, cased: bool) -> Predicate:
        if isinstance(value, SigmaExists):
            if field is None:
                raise Unsupported("`exists` without a field")
            present = Exists(self._taxonomy.field(field))
            return present if value.exists else Not(present)
        tests = tests_of(value, self._placeholders, self._taxonomy)
        if cased:
            tests = [with_regard_to_case(test) for test in tests]
        if field is None and self._inside_block:
            # In an array block, a condition without a field is about the element itself.
            options = tuple(Compare(_ELEMENT, test) for test in tests)
            return options[0] if len(options) == 1 else Or(options)
        predicates: list[Predicate] = []
        for test in tests:
            if field is None:
                predicates.append(Keyword(keyword_test(test)))
            else:
                predicates.append(
                    self._taxonomy.compare(Compare(self._taxonomy.field(field), test))
                )
        return predicates[0] if len(predicates) == 1 else Or(tuple(predicates))

    def _block(self, stand_in: str) -> Predicate:
        name, every, definition = self._blocks[stand_in]
        self._inside_block += 1
        inner = self._detection(SigmaDetection.from_definition(definition, policy=POLICY))
        self._inside_block -= 1
        return Some(Field(name, (path_of(name),)), inner, every)
