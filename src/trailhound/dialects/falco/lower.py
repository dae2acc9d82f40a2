"""Falco conditions to IR predicates: macros and lists put in, fields read as Falco reads them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trailhound.dialects.falco.catalogue import FalcoSource, fields_of_source
from trailhound.dialects.falco.collect import Collected
from trailhound.dialects.falco.compare import NotComparable, holds, tests_for
from trailhound.dialects.falco.condition import (
    Call,
    Check,
    Junction,
    Named,
    Negation,
    Node,
    Operand,
    Value,
)
from trailhound.dialects.falco.exceptions import FalcoException
from trailhound.dialects.falco.fields import (
    FALSE,
    TRUE,
    FalcoField,
    Readings,
    all_of,
    any_of,
    below,
    negated,
)
from trailhound.dialects.falco.macros import Fail, Macros, Parsed
from trailhound.dialects.falco.okta import COUNTS
from trailhound.dialects.falco.operands import Read, exists, named, transformed
from trailhound.dialects.falco.parser import ConditionError, parse_operand, unquoted
from trailhound.dialects.falco.text import Place
from trailhound.rules.ir import (
    And,
    Compare,
    Field,
    Or,
    Predicate,
    SameAs,
    Some,
    Test,
)

_CHECKS_LIMIT = 20_000
_VALUES_LIMIT = 100_000
_DEPTH_LIMIT = 96
_ELEMENT = Field("element", ((),))
_LIST_OPERATORS = ("in", "intersects", "exists")
_RELATIONS: dict[str, tuple[Literal["equals", "startswith", "endswith", "contains"], bool]] = {
    "=": ("equals", True),
    "==": ("equals", True),
    "in": ("equals", True),
    "intersects": ("equals", True),
    "contains": ("contains", True),
    "icontains": ("contains", False),
    "startswith": ("startswith", True),
    "endswith": ("endswith", True),
}


class UnknownField(Place):
    """The condition names a field that its source does not have."""


@dataclass(slots=True)
class Lowering:
    """Lowers the condition and the exceptions of one rule."""

    collected: Collected
    macros: Macros
    source: FalcoSource | None
    """None: events of a kind that is not here; any field is taken as it is named."""
    absent: dict[str, None] = field(default_factory=dict)
    """Fields that no event here can have."""
    _checks: int = 0
    _values: int = 0

    def condition(self, text: Parsed) -> Predicate:
        """Lower a condition. Raises `Place`, `UnknownField` for an unknown field."""
        return self._node(text.node, text.fail, None, ())

    def exceptions(self, exceptions: tuple[FalcoException, ...]) -> Predicate:
        """Lower exceptions: none of them may hold. Raises `Place`."""
        found = [self._exception(exception) for exception in exceptions]
        return all_of(*(negated(item) for item in found))

    def reading(self, operand: Operand) -> tuple[Readings, bool]:
        """Return what a field reads, and whether it is a list. Raises `Place`."""
        read = self._operand(operand, lambda reason, _: Place(reason, "", 0, 0))
        return read.readings, read.field.listed

    # --- conditions ----------------------------------------------------------------------

    def _node(
        self, node: Node, fail: Fail, before: int | None, stack: tuple[str, ...]
    ) -> Predicate:
        match node:
            case Junction():
                items = [self._node(item, fail, before, stack) for item in node.items]
                return all_of(*items) if node.word == "and" else any_of(*items)
            case Negation():
                return negated(self._node(node.item, fail, before, stack))
            case Named():
                return self._macro(node, fail, before, stack)
            case Check():
                self._checks += 1
                if self._checks > _CHECKS_LIMIT:
                    raise fail(f"more than {_CHECKS_LIMIT:,} comparisons, macros put in", node.at)
                return self._check(node, fail)

    def _macro(
        self, node: Named, fail: Fail, before: int | None, stack: tuple[str, ...]
    ) -> Predicate:
        found = self.macros.get(node.name, before)
        if found is None:
            if node.name in self.collected.macros:
                raise fail(f"macro {node.name!r} is defined after what uses it", node.at)
            raise fail(f"macro {node.name!r} is not defined", node.at)
        macro, text = found
        if node.name in stack:
            raise fail(f"macro {node.name!r} leads back to itself", node.at)
        if len(stack) >= _DEPTH_LIMIT:
            raise fail(f"macros nested deeper than {_DEPTH_LIMIT}", node.at)
        if isinstance(text, Place):
            raise fail(
                f"macro {node.name!r} cannot be used: {text.path}:{text.line}: {text.reason}",
                node.at,
            )
        inner = self._node(text.node, text.fail, macro.visibility, (*stack, node.name))
        return _labelled(inner, node.name)

    def _check(self, node: Check, fail: Fail) -> Predicate:
        left = self._operand(node.left, fail)
        if left.field.listed and node.operator not in _LIST_OPERATORS:
            raise fail(
                f"{left.field.name} is a list: `{node.operator}` does not work on it, "
                "`in`, `intersects` and `exists` do",
                node.at,
            )
        if node.operator == "exists":
            return exists(left)
        operator = "=" if node.operator == "!=" else node.operator
        if isinstance(node.right, tuple):
            values = self._literals(node.right, operator, fail)
            predicate = self._with_values(left, operator, values, fail, node.at)
        else:
            predicate = self._with_field(left, operator, node.right, fail, node.at)
        if node.operator == "!=":
            compared = [left]
            if not isinstance(node.right, tuple):
                compared.append(self._operand(node.right, fail))
            return all_of(*(exists(one) for one in compared), negated(predicate))
        return predicate

    def _with_values(
        self, left: Read, operator: str, values: tuple[str, ...], fail: Fail, at: int
    ) -> Predicate:
        try:
            if left.field.name == "evt.num":
                return _of_every_number(operator, values)
            if self.source is None and operator in ("bcontains", "bstartswith"):
                operator = operator[1:]
            tests = tests_for(operator, values, number=left.field.number)
            options = []
            for reading in left.readings:
                if isinstance(reading.value, str):
                    true = holds(operator, values, reading.value, number=left.field.number)
                    options.append(all_of(reading.when, TRUE if true else FALSE))
                else:
                    compared = _compare(reading.value, tests, left.field, operator)
                    options.append(all_of(reading.when, compared))
        except NotComparable as error:
            raise fail(f"{left.field.name}: {error}", at) from None
        return any_of(*options)

    def _with_field(
        self, left: Read, operator: str, right: Operand, fail: Fail, at: int
    ) -> Predicate:
        other = self._operand(right, fail)
        relation = _RELATIONS.get(operator)
        if relation is None:
            raise fail(f"`{operator}` does not compare two fields here", at)
        if (other.field.listed, other.field.number) != (left.field.listed, left.field.number):
            raise fail(f"{left.field.name} and {other.field.name} are of different types", at)
        if left.field.listed and operator == "in":
            raise fail("`in` does not compare two lists here; `intersects` does", at)
        fields = [reading.value for reading in other.readings]
        if len(fields) != 1 or isinstance(fields[0], str) or other.readings[0].when is not None:
            raise fail(f"{other.field.name} is computed, and not supported on the right side", at)
        test = SameAs(fields[0], relation[0], cased=relation[1])
        options = [
            all_of(reading.when, Compare(reading.value, test))
            for reading in left.readings
            if isinstance(reading.value, Field) and reading.value != fields[0]
        ]
        if not options:
            raise fail("a field is compared with itself, or with a constant", at)
        return any_of(*options)

    # --- values --------------------------------------------------------------------------

    def _literals(self, values: tuple[Value, ...], operator: str, fail: Fail) -> tuple[str, ...]:
        found: list[str] = []
        for value in values:
            for text in self._expanded(value, fail, ()):
                self._values += 1
                if self._values > _VALUES_LIMIT:
                    raise fail(f"more than {_VALUES_LIMIT:,} values, lists put in", value.at)
                found.append(text)
        if operator not in ("in", "intersects", "pmatch") and len(found) != 1:
            raise fail(
                f"list {values[0].text!r} has {len(found)} items; `{operator}` takes one value",
                values[0].at,
            )
        return tuple(dict.fromkeys(found))

    def _expanded(self, value: Value, fail: Fail, stack: tuple[str, ...]) -> Iterator[str]:
        known = None if value.quoted else self.collected.lists.get(value.text)
        if known is None:
            yield value.text
            return
        if value.text in stack:
            raise fail(f"list {value.text!r} leads back to itself", value.at)
        if len(stack) >= _DEPTH_LIMIT:
            raise fail(f"lists nested deeper than {_DEPTH_LIMIT}", value.at)
        for item in known.items:
            try:
                inner = unquoted(item)
            except ConditionError as error:
                raise fail(f"list {value.text!r}: {error.reason}", value.at) from None
            nested = self.collected.lists.get(inner.text)
            # A list may hold another that was there before it; else the item is a text.
            if nested is not None and nested.index >= known.visibility:
                inner = Value(inner.text, quoted=True)
            yield from self._expanded(inner, fail, (*stack, value.text))

    # --- fields --------------------------------------------------------------------------

    def _operand(self, operand: Operand, fail: Fail) -> Read:
        if isinstance(operand, Call):
            return transformed(self._operand(operand.inner, fail), operand, fail)
        if self.source is None:
            argument = (operand.argument,) if operand.argument is not None else ()
            path = (*operand.name.split("."), *argument)
            return Read(FalcoField(operand.name, "", below(*path)), below(*path)(""))
        known = fields_of_source(self.source.name).get(operand.name)
        if known is None:
            problem = fail(
                f"field {operand.name!r} is not known to source {self.source.name}", operand.at
            )
            raise UnknownField(problem.reason, problem.path, problem.line, problem.column)
        if known.name in COUNTS:
            raise fail(f"{known.name} counts: it must be the whole condition", operand.at)
        argument_given = operand.argument or ""
        if known.required and not argument_given:
            raise fail(f"{operand.name} needs an argument: {operand.name}[…]", operand.at)
        if argument_given and not known.argument:
            raise fail(f"{operand.name} takes no argument", operand.at)
        if known.argument == "index" and argument_given:
            if not argument_given.isdecimal() or len(argument_given) > 6:
                raise fail(f"{operand.name}[{argument_given}]: not an index", operand.at)
            argument_given = str(int(argument_given))
        readings = known.read(argument_given)
        if not readings:
            self.absent.setdefault(known.name)
        shown = f"{known.name}[{argument_given}]" if argument_given else known.name
        return Read(known, tuple(named(reading, shown) for reading in readings))

    # --- exceptions ----------------------------------------------------------------------

    def _exception(self, exception: FalcoException) -> Predicate:
        def fail(reason: str, _offset: int) -> Place:
            place = exception.place
            reason = f"exception {exception.name!r}: {reason}"
            return Place(reason, place.path, place.line, place.column)

        try:
            operands = tuple(parse_operand(name) for name in exception.fields)
            rows = tuple(
                tuple(
                    (unquoted(cell),)
                    if isinstance(cell, str)
                    else tuple(unquoted(item) for item in cell)
                    for cell in row
                )
                for row in exception.values
            )
        except ConditionError as error:
            raise fail(error.reason, 0) from None
        if exception.single:
            values = tuple(value for row in rows for cell in row for value in cell)
            if not values:
                return FALSE
            check = Check(operands[0], exception.operators[0], values)
            return _labelled(self._node(check, fail, None, ()), f"exception {exception.name}")
        options = []
        for row in rows:
            checks = []
            for operand, operator, cell in zip(operands, exception.operators, row, strict=True):
                if operator not in ("in", "intersects", "pmatch") and len(cell) != 1:
                    raise fail(f"`{operator}` takes one value, not a list", 0)
                if operator == "exists":
                    raise fail("`exists` takes no value", 0)
                checks.append(self._node(Check(operand, operator, cell), fail, None, ()))
            options.append(all_of(*checks))
        return _labelled(any_of(*options), f"exception {exception.name}")


def _compare(where: Field, tests: tuple[Test, ...], known: FalcoField, operator: str) -> Predicate:
    if known.listed and operator == "in":
        inner = any_of(*(Compare(_ELEMENT, test) for test in tests))
        return Some(where, inner, every=True)
    return any_of(*(Compare(where, test) for test in tests))


def _of_every_number(operator: str, values: tuple[str, ...]) -> Predicate:
    """Judge a comparison with the number of an event, if it is the same for all of them."""
    verdicts = {
        holds(operator, values, str(number), number=True) for number in (1, 2, 3, 1_000, 2**62)
    }
    if len(verdicts) != 1:
        raise NotComparable("events are not numbered here; `evt.num > 0` can be asked")
    return TRUE if verdicts.pop() else FALSE


def _labelled(predicate: Predicate, label: str) -> Predicate:
    if predicate in (TRUE, FALSE):
        return predicate
    if isinstance(predicate, And | Or) and not predicate.label:
        return type(predicate)(predicate.items, label)
    return And((predicate,), label)
