"""The macros of a run: conditions parsed once, whoever uses them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trailhound.dialects.falco.collect import Collected, Macro
from trailhound.dialects.falco.condition import Node
from trailhound.dialects.falco.parser import ConditionError, parse
from trailhound.dialects.falco.text import Place, Written

Fail = Callable[[str, int], Place]
"""Makes a verdict on an offset of the text that is being lowered."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed condition, and how to say where in it something is wrong."""

    node: Node
    fail: Fail


class Macros:
    """The macros of a run, each parsed once, when it is first used."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected
        self._parsed: dict[str, Parsed | Place] = {}

    def problems(self) -> Iterator[Place]:
        """Yield what is wrong with the text of macros, whether used or not."""
        for name in self._collected.macros:
            parsed = self._text(name)
            if isinstance(parsed, Place):
                yield parsed

    def get(self, name: str, before: int | None) -> tuple[Macro, Parsed | Place] | None:
        """Return a macro that is visible: defined before another was last changed."""
        macro = self._collected.macros.get(name)
        if macro is None or (before is not None and macro.index >= before):
            return None
        return macro, self._text(name)

    def _text(self, name: str) -> Parsed | Place:
        found = self._parsed.get(name)
        if found is None:
            try:
                found = parsed(self._collected.macros[name].condition)
            except Place as place:
                found = place
            self._parsed[name] = found
        return found


def parsed(written: Written) -> Parsed:
    """Parse a condition. Raises `Place`."""
    try:
        node = parse(written.text)
    except ConditionError as error:
        raise written.problem(error.reason, error.offset) from None
    return Parsed(node, written.problem)
