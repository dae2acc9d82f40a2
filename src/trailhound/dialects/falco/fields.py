"""Falco's fields: what each reads, in terms of the rule IR.

Where a field is a value of the document it becomes a plain `Field`. Where the plugin computes it,
it becomes *readings*: the first of several (value, condition) pairs that has a value, with steps
on the way. So the engine, the gates and the explanation know as much of it as of any other rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from trailhound.rules.ir import (
    And,
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    Like,
    Not,
    Or,
    Path,
    Predicate,
    Reading,
    Step,
)

HERE = "*"
"""In a path: where the index of a field like `containers.image[0]` goes."""

TRUE = And(())
FALSE = Or(())

Readings = tuple[Reading, ...]
Argument = Literal["", "index", "key"]


@dataclass(frozen=True, slots=True)
class FalcoField:
    """One field of a Falco source."""

    name: str
    description: str
    read: Callable[[str], Readings]
    """Argument in brackets, or the empty text → readings."""
    listed: bool = False
    """Whether it is a list; then it takes `in`, `intersects` and `exists` alone."""
    number: bool = False
    argument: Argument = ""
    required: bool = False
    """Whether the argument must be given."""
    nulls: bool = True
    """Whether a JSON null counts as a value, as it does for the plugins of Kubernetes and JSON."""
    always: bool = False
    """Whether every event has it, so that `exists` asks nothing."""


def below(*path: str, via: Sequence[Step] = ()) -> Callable[[str], Readings]:
    """Read what stands at a path of the document."""
    return either(path, via=via)


def either(*paths: Path, via: Sequence[Step] = ()) -> Callable[[str], Readings]:
    """Read what stands at any of some paths; `HERE` takes the index or is left out."""

    def read(argument: str) -> Readings:
        placed = tuple(
            tuple(argument if step == HERE else step for step in path if step != HERE or argument)
            for path in paths
        )
        return (Reading(Field(".".join(placed[0]), placed, tuple(via))),)

    return read


def constant(text: str, when: Predicate | None = None) -> Callable[[str], Readings]:
    """Read the same text always, or where a condition holds."""
    return lambda _: (Reading(text, when),)


def first(*reads: Callable[[str], Readings]) -> Callable[[str], Readings]:
    """Read the first of several that has a value."""
    return lambda argument: tuple(reading for read in reads for reading in read(argument))


def where(condition: Predicate, read: Callable[[str], Readings]) -> Callable[[str], Readings]:
    """Read something where a condition holds."""
    return lambda argument: tuple(
        Reading(reading.value, all_of(condition, reading.when)) for reading in read(argument)
    )


def or_empty(*path: str, via: Sequence[Step] = ()) -> Callable[[str], Readings]:
    """Read what stands at a path, or the empty text, as plugins do that decode into structures."""

    def read(argument: str) -> Readings:
        readings = below(*path, via=via)(argument)
        value = readings[0].value
        absent = Not(is_text(value)) if isinstance(value, Field) else None
        return (*readings, Reading("", absent))

    return read


def plain(*path: str) -> Field:
    """Return a field of the document."""
    return Field(".".join(path), (path,))


def is_text(field: Field) -> Predicate:
    """Whether a field is there and not null."""
    return Compare(field, Like((AnyRun(),)))


def is_one_of(field: Field, *texts: str) -> Predicate:
    """Whether a field is one of some texts."""
    return any_of(*(Compare(field, Equals(text, cased=True)) for text in texts))


def all_of(*items: Predicate | None, label: str = "") -> Predicate:
    """Join with `and`, without what is always true."""
    kept = [item for item in items if item is not None and item != TRUE]
    if any(item == FALSE for item in kept):
        return FALSE
    return kept[0] if len(kept) == 1 and not label else And(tuple(kept), label)


def any_of(*items: Predicate, label: str = "") -> Predicate:
    """Join with `or`, without what is never true."""
    kept = [item for item in items if item != FALSE]
    if any(item == TRUE for item in kept):
        return TRUE
    return kept[0] if len(kept) == 1 and not label else Or(tuple(kept), label)


def negated(item: Predicate) -> Predicate:
    """Return the opposite."""
    if item == TRUE:
        return FALSE
    if item == FALSE:
        return TRUE
    return item.item if isinstance(item, Not) else Not(item)


def present(field: Field, *, nulls: bool) -> Predicate:
    """Whether a field has a value as Falco sees it."""
    if field.paths == ((),):
        return TRUE
    return Exists(field) if nulls else is_text(field)
