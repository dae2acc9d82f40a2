"""Conditions on stored rows: columns first, the JSON of what is left after that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trailhound.lake.quoting import identifier, literal, pointer
from trailhound.lake.schema import ENVELOPE, PROMOTED
from trailhound.lake.sql import Column, Reading, SqlExpression, Unsupported, lower
from trailhound.rules.ir import (
    And,
    AtLeast,
    Compare,
    IsNull,
    Not,
    Or,
    Path,
    Predicate,
    SameAs,
    Some,
)

ENVELOPE_STEP = "@"
"""First step of the path of an envelope column in a query: `@`, `actor_name`."""
VIEWS_STEP = "@views"
"""First step of the path of a field of a view in a query: `@views`, `records`, `exe`."""

_TRUE: Predicate = And(())
_FALSE: Predicate = Or(())


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that select rows; a row is selected where one of the two holds."""

    plain: str
    """For rows that are `plain`: over columns as far as they go."""
    strange: str
    """For the others, but those that SQL cannot judge (`NOT exact`)."""
    unsupported: tuple[Unsupported, ...]
    """What SQL left out of account, so that more is selected than what matches."""


def of_rules(predicates: Sequence[Predicate], source: str, view: str) -> Selection:
    """Select what one of the predicates may match in a view of a source.

    All that match are selected, of rows that are `exact`. Nothing else is, but where something
    was unsupported.
    """
    weaker, unsupported = _all_supported(predicates)
    in_view = f"list_contains(same_views, {literal(view)})"
    whole = Or(tuple(weaker))
    plain = _columnar(whole, source, [in_view])
    at = pointer(view)
    strange = (
        f"exact AND ({in_view} AND {_condition(whole, Reading())} OR views IS NOT NULL "
        f"AND len(list_filter(th_spread(th_at([views::JSON], {at})), lambda d: "
        f"{_condition(whole, Reading(document='d'))})) > 0)"
    )
    return Selection(plain, strange, unsupported)


def of_query(predicate: Predicate, viewed: Predicate, source: str) -> Selection:
    """Select what a query matches.

    Args:
        predicate: it, over the document; a path may begin with `@`, for the envelope.
        viewed: the same, with the fields of views besides, whose paths begin with `@views`.
        source: the source that is asked.
    """
    (simple, weaker), unsupported = _all_supported([predicate, viewed])
    member = literal(f',"{VIEWS_STEP}":')
    whole = (
        "CASE WHEN views IS NULL THEN document::JSON ELSE "
        f"(left(document, -1) || {member} || views || '}}')::JSON END"
    )
    judged = _condition(weaker, Reading("d", _envelope_columns()))
    strange = f"exact AND list_transform([{whole}], lambda d: {judged})[1]"
    return Selection(_columnar(simple, source, []), strange, unsupported)


def _columnar(predicate: Predicate, source: str, also: list[str]) -> str:
    columns = {**_envelope_columns(), **_promoted_columns(source)}
    reading = Reading(columns=columns)
    # Conditions on one column each are what a scan of Parquet can skip rows by.
    needed = [
        _condition(need, reading) for _, need in sorted(needs(predicate, columns).items(), key=str)
    ]
    judged = _condition(predicate, reading)
    # Bound to two columns, the rest is not pushed into the scan, which would read it first.
    rest = f"CASE WHEN uid IS NULL THEN false ELSE {judged} END"
    return " AND ".join(["plain", *also, *needed, rest])


def _condition(predicate: Predicate, reading: Reading) -> str:
    lowered = lower(predicate, reading)
    assert isinstance(lowered, SqlExpression)  # noqa: S101 - what is unsupported was taken out
    return lowered.text


def _envelope_columns() -> Mapping[Path, Column]:
    return {
        (ENVELOPE_STEP, name): Column(
            f"nullif({name}, '')" if kind == "VARCHAR" else name,
            "text" if kind == "VARCHAR" else "integer",
        )
        for name, kind in ENVELOPE
        if kind != "VARCHAR[]"
    }


def _promoted_columns(source: str) -> Mapping[Path, Column]:
    return {
        path: Column(identifier(f"doc.{'.'.join(path)}"), kind)
        for path, kind in PROMOTED.get(source, ())
    }


def needs(predicate: Predicate, columns: Mapping[Path, Any]) -> dict[Path, Predicate]:
    """Return conditions on one column each that must hold where a predicate does."""
    match predicate:
        case And():
            both: dict[Path, Predicate] = {}
            for item in predicate.items:
                for path, need in needs(item, columns).items():
                    both[path] = And((both[path], need)) if path in both else need
            return both
        case Or() if predicate.items:
            each = [needs(item, columns) for item in predicate.items]
            return {
                path: Or(tuple(need[path] for need in each))
                for path in each[0]
                if all(path in need for need in each)
            }
        case AtLeast() if predicate.count > 0:
            return needs(Or(predicate.items), columns)
        case Compare() if not isinstance(predicate.test, SameAs | IsNull):
            paths = predicate.field.paths
            return {paths[0]: predicate} if len(paths) == 1 and paths[0] in columns else {}
        case _:
            return {}


# --- what SQL cannot say -----------------------------------------------------------------


def _all_supported(
    predicates: Sequence[Predicate],
) -> tuple[list[Predicate], tuple[Unsupported, ...]]:
    found: list[Unsupported] = []
    weaker = [weakened(predicate, found.append) for predicate in predicates]
    return weaker, tuple(found)


def weakened(
    predicate: Predicate, left_out: Callable[[Unsupported], None], *, negated: bool = False
) -> Predicate:
    """Return a predicate that SQL can say, and that holds wherever this one does.

    Args:
        predicate: what to weaken.
        left_out: called with each part that SQL cannot say.
        negated: it stands under an odd number of negations; it is strengthened.
    """
    match predicate:
        case And() | Or() | AtLeast():
            items = tuple(weakened(item, left_out, negated=negated) for item in predicate.items)
            return _with_items(predicate, items)
        case Not():
            return Not(weakened(predicate.item, left_out, negated=not negated))
        case Some():
            some = Some(
                predicate.field,
                weakened(predicate.item, left_out, negated=negated),
                predicate.every,
                predicate.once,
            )
            return _supported(some, left_out, negated=negated)
        case _:
            return _supported(predicate, left_out, negated=negated)


def _supported(
    leaf: Predicate, left_out: Callable[[Unsupported], None], *, negated: bool
) -> Predicate:
    lowered = lower(leaf)
    if isinstance(lowered, SqlExpression):
        return leaf
    left_out(lowered)
    return _FALSE if negated else _TRUE


def _with_items(node: And | Or | AtLeast, items: tuple[Predicate, ...]) -> Predicate:
    match node:
        case And():
            return And(items, node.label)
        case Or():
            return Or(items, node.label)
        case AtLeast():
            return AtLeast(node.count, items, node.label)
