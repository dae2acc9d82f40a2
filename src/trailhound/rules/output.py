"""What a rule says of an event in its own words: text, with values of the event in it."""

from msgspec import Struct

from trailhound.model.levels import Level
from trailhound.rules.predicates import Field, Predicate, Text


class Reading(Struct, frozen=True):
    """A value of the event: that of a field, or a constant, where a condition holds."""

    value: Field | str
    when: Predicate | None = None


class Slot(Struct, frozen=True, tag="slot"):
    """A place in the text of a finding that a value of the event fills."""

    name: str
    """As the rule writes it: `ka.user.name`."""
    readings: tuple[Reading, ...]
    """The first that has a value gives it."""
    listed: bool = False
    """Whether the field is a list, and is written as one."""


class LevelWhen(Struct, frozen=True):
    """A level that a finding has instead of its rule's, where a condition holds."""

    level: Level
    when: Predicate


class Output(Struct, frozen=True, omit_defaults=True):
    """What the rule says of an event in its own words.

    Falco's `output`; Panther's `AlertTitle`, `AlertContext` and `DynamicSeverities`.
    """

    parts: tuple[Text | Slot, ...]
    context: tuple[Slot, ...] = ()
    """Values that are told and do not stand in the text."""
    levels: tuple[LevelWhen, ...] = ()
    """The first whose condition holds."""
