"""Windows of any rule as Sigma correlations, where they mean the same.

Sigma counts over trailing windows and tells what follows on each other as one finding (Sigma
Correlation Rules Specification 2.1.0). ElastAlert begins anew after each alert and holds further
ones back. Both fire on the same events; where they tell it otherwise, that is said.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from trailhound.dialects.sigma.sayable import is_name
from trailhound.dialects.sigma.spelling import Unsayable
from trailhound.rules.describe_window import describe_window
from trailhound.rules.ir import (
    Aggregate,
    And,
    Cardinality,
    Condition,
    Correlation,
    Deduplicated,
    Exists,
    Field,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    Not,
    Or,
    Path,
    Predicate,
    Rule,
    Window,
)

_SECOND_NS = 1_000_000_000
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_BINDS = {And: 2, Or: 1}

_Differs = tuple[str, ...]


def as_correlation(rule: Rule, rules: Mapping[str, Rule]) -> tuple[Rule, _Differs]:
    """Return a rule whose window, if it still has one, is a Sigma correlation.

    Args:
        rule: any rule.
        rules: all rules, by uid.

    Returns:
        The rule, and what is told otherwise than the rule says.

    Raises:
        Unsayable: its window has no match in Sigma.
    """
    window = rule.window
    if window is None or isinstance(window, Correlation):
        return rule, ()
    held = _held_back(window)
    match window:
        case Matches():
            (uid,) = window.rules
            events = rules[uid]
            if events.window is not None:
                inner, differs = as_correlation(replace(rule, window=events.window), rules)
                return inner, (*differs, *held)
            alone = replace(
                rule, window=None, predicate=events.predicate, logsource=events.logsource
            )
            return alone, held
        case Gathered():
            (uid,) = window.rules
            inner, differs = as_correlation(replace(rule, window=rules[uid].window), rules)
            return inner, (*differs, "alerts are not gathered: each is a finding")
        case Frequency():
            span = timespan(window.timespan_ns)
            counted = Correlation(
                kind="event_count",
                rules=window.rules,
                timespan_ns=window.timespan_ns,
                group_by=window.group_by,
                conditions=(Condition("gte", window.count),),
                generate=window.generate,
            )
            anew = "counting does not begin anew after an alert: a burst is one finding"
            ends = f"events that are just {span} apart count as well"
            return replace(rule, window=counted), (anew, ends, *held)
        case Deduplicated() if len(window.rules) == 1 and not window.unique:
            events = rules[window.rules[0]]
            period = timespan(window.period_ns)
            if window.threshold == 1:
                alone = replace(
                    rule, window=None, predicate=events.predicate, logsource=events.logsource
                )
                return alone, (f"matches of {period} are not one alert: each is a finding",)
            counted = Correlation(
                kind="event_count",
                rules=window.rules,
                timespan_ns=window.period_ns,
                group_by=window.group_by,
                conditions=(Condition("gte", window.threshold),),
                generate=window.generate,
            )
            trailing = f"any {period} count, not only those that begin with a first match"
            return replace(rule, window=counted), (trailing,)
        case Cardinality() if window.at_least is None and window.at_most is not None:
            distinct = Correlation(
                kind="value_count",
                rules=window.rules,
                timespan_ns=window.timespan_ns,
                group_by=window.group_by,
                conditions=(Condition("gt", window.at_most),),
                field=window.field,
                generate=window.generate,
            )
            one = "too many values for some time are one finding"
            return replace(rule, window=distinct), (one, *held)
        case Cardinality() | Flatline():
            raise Unsayable(
                "it tells too few only after its timeframe has passed; a Sigma condition `lt` "
                "holds from the first event on"
            )
        case Aggregate():
            raise Unsayable(
                "it takes a number at the end of each stretch of time; a Sigma correlation after "
                "each event"
            )
        case _:
            raise Unsayable(f"Sigma has no correlation for it: {describe_window(window)[0]}")


def _held_back(window: Window) -> _Differs:
    realert = getattr(window, "realert", None)
    if realert is None or not realert.for_ns:
        return ()
    seconds = realert.for_ns / _SECOND_NS
    return (f"findings of a group are not held back for {seconds:g} s after one",)


def section_of(
    window: Correlation,
    reference: Callable[[str], str],
    name: Callable[[str], str],
    read_as: Callable[[str, Iterable[str]], tuple[Path, ...]],
) -> dict[str, Any]:
    """Return the section `correlation` that is read as a window.

    Args:
        window: the window.
        reference: uid of a rule → what to refer to it by.
        name: the same, where only a name will do. May raise `Unsayable`.
        read_as: name of a field, uids of rules → the paths that it stands for in a correlation
            of those.

    Raises:
        Unsayable: a field has no name in Sigma, or the time is no whole number of seconds.
    """
    aliased = {alias.name for alias in window.aliases}

    def named(field: Field, uids: Iterable[str]) -> str:
        return field.name if field.name in aliased else _name_of(field, uids, read_as)

    section: dict[str, Any] = {"type": window.kind}
    refer = reference if window.expression is None else name
    section["rules"] = [refer(uid) for uid in window.rules]
    if window.group_by:
        section["group-by"] = [named(field, window.rules) for field in window.group_by]
    section["timespan"] = timespan(window.timespan_ns)
    if window.aliases:
        section["aliases"] = {
            alias.name: {refer(uid): named(field, [uid]) for uid, field in alias.fields}
            for alias in window.aliases
        }
    if window.expression is not None:
        section["condition"] = _expression(window.expression, name, 0)
    else:
        condition: dict[str, Any] = {bound.op: bound.value for bound in window.conditions}
        if len(condition) < len(window.conditions):
            raise Unsayable("two bounds of one kind")
        if window.field is not None:
            condition["field"] = named(window.field, window.rules)
        if window.percentile is not None:
            condition["percentile"] = window.percentile
        if condition:
            section["condition"] = condition
    if window.generate:
        section["generate"] = True
    return section


def timespan(span_ns: int) -> str:
    """Return a time as Sigma writes it: `90s`, `5m`. Raises `Unsayable` for parts of a second."""
    seconds, rest = divmod(span_ns, _SECOND_NS)
    if rest or not seconds:
        raise Unsayable(f"Sigma counts time in whole seconds, not {span_ns / _SECOND_NS:g} s")
    return next(f"{seconds // size}{unit}" for size, unit in _UNITS if seconds % size == 0)


def _name_of(
    field: Field,
    uids: Iterable[str],
    read_as: Callable[[str, Iterable[str]], tuple[Path, ...]],
) -> str:
    if field.via:
        raise Unsayable(f"{field.name} is computed, which Sigma cannot group or count by")
    for name in (field.name, *(".".join(path) for path in field.paths)):
        if is_name(name) and field.paths == read_as(name, uids):
            return name
    places = ", ".join(".".join(path) for path in field.paths)
    raise Unsayable(f"a correlation reads a field in one place, not in {places}", field.name)


def _expression(node: Predicate, name: Callable[[str], str], around: int) -> str:
    match node:
        case Exists():
            return name(node.field.name)
        case Not():
            return f"not {_expression(node.item, name, 3)}"
        case And() | Or():
            binding = _BINDS[type(node)]
            word = " and " if isinstance(node, And) else " or "
            text = word.join(_expression(item, name, binding) for item in node.items)
            return f"({text})" if binding <= around else text
        case _:
            raise Unsayable("the condition of the correlation")
