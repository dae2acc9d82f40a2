"""The output of a Falco rule: words and `%field` to parts that the engine fills."""

import re

from trailhound.dialects.falco.condition import Operand
from trailhound.dialects.falco.lower import Lowering
from trailhound.dialects.falco.parser import ConditionError, parse_operand
from trailhound.dialects.falco.text import Place, Written
from trailhound.rules.ir import Note, Output, Slot, Text

_TOKEN = re.compile(
    r"%(?P<calls>(?:[a-z0-9]+\()*)"
    r"(?P<name>[a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)+)"
    r"(?P<argument>\[[^\]]*\])?"
)


def template(written: Written, lowering: Lowering) -> tuple[Output, tuple[Note, ...]]:
    """Lower an output.

    The longest known field counts, as in Falco: `%ka.target.name.x` is the name, then `.x`.
    A field that is not known stays as it is written, and a note says so.
    """
    text = written.text.strip().removeprefix("*")
    shift = written.text.find(text)
    parts: list[Text | Slot] = []
    notes: list[Note] = []
    at = 0
    for token in _TOKEN.finditer(text):
        if token.start() < at:
            continue
        slot, end = _slot(token, text, lowering)
        if slot is None:
            place = written.problem("", shift + token.start())
            said = f"output: {token[0]} is no field of this source"
            notes.append(Note(said, place.line, place.column, ignored=True))
            continue
        if token.start() > at:
            parts.append(Text(text[at : token.start()]))
        parts.append(slot)
        at = end
    if at < len(text):
        parts.append(Text(text[at:]))
    return Output(tuple(parts)), tuple(notes)


def _slot(token: re.Match[str], text: str, lowering: Lowering) -> tuple[Slot | None, int]:
    calls, name, argument = token["calls"], token["name"], token["argument"] or ""
    closing = ")" * calls.count("(")
    words = name.split(".")
    for count in range(len(words), 1, -1):
        shorter = ".".join(words[:count])
        tail = argument if count == len(words) else ""
        end = token.start() + 1 + len(calls) + len(shorter) + len(tail)
        if closing and not text.startswith(closing, end):
            continue
        try:
            operand = parse_operand(calls + shorter + tail + closing)
            slot = _read(operand, calls + shorter + tail + closing, lowering)
        except (ConditionError, Place):
            continue
        return slot, end + len(closing)
    return None, token.end()


def _read(operand: Operand, name: str, lowering: Lowering) -> Slot:
    readings, listed = lowering.reading(operand)
    return Slot(name, readings, listed)
