"""Rules as SQL to keep, change and run: one SELECT over the view `stored`."""

import re
from collections.abc import Mapping, Sequence

from trailhound.lake.quoting import literal
from trailhound.lake.select import of_rules
from trailhound.lake.sql import Unsupported
from trailhound.rules.ir import Predicate

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""What would drive the terminal that a statement is shown on; it has line ends of its own."""
_SHOWN = (
    *("time", "source", "actor_name", "action", "target_type", "target_namespace"),
    *("target_name", "outcome", "src_ip", "uid"),
)


def statement(
    predicate: Predicate, views: Mapping[str, Sequence[str]], heading: Sequence[str]
) -> str | tuple[Unsupported, ...]:
    """Return the SELECT of the events that a rule matches, in the order of time.

    It runs over the view `stored` (`sql_shell.ask`), and selects what the engine matches, of the
    rows that are `exact`; on the others SQL has no verdict.

    Args:
        predicate: what the rule asks of one event.
        views: source → the views of its events that the rule reads; at least one.
        heading: lines to put above as comments, each one line.

    Returns:
        The statement, or what SQL cannot say of the predicate.
    """
    conditions = []
    for source, names in views.items():
        parts = []
        for name in names:
            selection = of_rules([predicate], source, name)
            if selection.unsupported:
                return selection.unsupported
            parts.append(f"({selection.plain})")
            parts.append(f"(plain IS NOT true AND {selection.strange})")
        either = "\n    OR ".join(parts)
        conditions.append(f"source = {literal(source)} AND (\n       {either}\n  )")
    where = "\n  OR ".join(f"({condition})" for condition in conditions)
    if _CONTROL.search(where):
        return (Unsupported("a field or value with a control character in it", predicate),)
    above = "".join(f"-- {line}\n" for line in heading)
    return f"{above}SELECT {', '.join(_SHOWN)}\nFROM stored\nWHERE {where}\nORDER BY time;\n"
