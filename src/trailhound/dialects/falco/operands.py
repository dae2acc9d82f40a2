"""Fields in conditions, and the transformers over them."""

from collections.abc import Callable
from dataclasses import dataclass

from trailhound.dialects.falco.condition import Call
from trailhound.dialects.falco.fields import (
    TRUE,
    FalcoField,
    Readings,
    all_of,
    any_of,
    is_text,
    present,
)
from trailhound.dialects.falco.macros import Fail
from trailhound.rules.ir import Field, Predicate, Reading, Step

_STEPS: dict[str, Step] = {
    "tolower": Step("lower"),
    "toupper": Step("upper"),
    "b64": Step("base64"),
    "basename": Step("basename"),
}
_CONSTANT_STEPS: dict[str, Callable[[str], str]] = {
    "tolower": str.lower,
    "toupper": str.upper,
    "b64": lambda text: text,
    "basename": lambda text: text.rpartition("/")[2],
}


@dataclass(frozen=True, slots=True)
class Read:
    """A field of a condition, and what it reads."""

    field: FalcoField
    readings: Readings


def named(reading: Reading, name: str) -> Reading:
    """Let a field bear the name that the rule gives it."""
    value = reading.value
    if isinstance(value, Field):
        value = Field(name, value.paths, value.via)
    return Reading(value, reading.when)


def transformed(read: Read, call: Call, fail: Fail) -> Read:
    """Put a transformer on what a field reads. Raises `Place`."""
    known = read.field
    if call.name == "len":
        steps = Step("count") if known.listed else Step("length")
        counted = FalcoField(f"len({known.name})", "", known.read, number=True)
        readings = tuple(
            Reading(str(len(r.value.encode())), r.when)
            if isinstance(r.value, str)
            else _through(r, steps, counted.name)
            for r in read.readings
        )
        return Read(counted, readings)
    if known.number:
        raise fail(f"`{call.name}` does not work on {known.name}, which is a number", call.at)
    step = _STEPS[call.name]
    name = f"{call.name}({known.name})"
    changed = FalcoField(name, "", known.read, listed=known.listed, nulls=known.nulls)
    return Read(
        changed,
        tuple(
            Reading(_CONSTANT_STEPS[call.name](r.value), r.when)
            if isinstance(r.value, str)
            else _through(r, step, name)
            for r in read.readings
        ),
    )


def _through(reading: Reading, step: Step, name: str) -> Reading:
    value = reading.value
    if not isinstance(value, Field):
        raise TypeError("a constant goes through no step")
    return Reading(Field(name, value.paths, (*value.via, step)), reading.when)


def exists(read: Read) -> Predicate:
    """Whether a field has a value."""
    if read.field.always:
        return TRUE
    options = []
    for reading in read.readings:
        if isinstance(reading.value, str):
            options.append(reading.when or TRUE)
        elif read.field.listed:  # an empty list is no value to Falco
            options.append(all_of(reading.when, is_text(reading.value)))
        else:
            options.append(all_of(reading.when, present(reading.value, nulls=read.field.nulls)))
    return any_of(*options)
