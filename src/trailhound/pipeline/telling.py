"""Rules that no needle holds back, told from a few fields that are read of every record.

`not user.username startswith system:` can be searched for in no line, and all users of an hour
are some dozens: so it is judged by their names, once each. The parser that proves a block hands
out the first value at a path. Nothing is told from it where that may not be all that a rule finds
there: where the value is no text, and where a key of the path stands in the line a second time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trailhound.engine.gates import Candidate, Gate, Maybe, fields_asked, is_short, possible
from trailhound.engine.needles import Pattern, repeats_of
from trailhound.sources.contract import Path

_FIELDS_LIMIT = 3
"""Of one rule, and twice as many of all."""
_TRIED_LIMIT = 16
_COST_OF_LINE = 8
"""What it costs to read a line whole, in values that are judged once each."""
_WORTH = 0.5
"""To read fields of every record, the rule has to cost no more than this part of what it did."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Telling:
    """Rules and the fields that tell of them."""

    gates: tuple[Gate, ...] = ()
    fields: tuple[Path, ...] = ()
    """Those of the gates, which are read of every record."""

    _may: dict[tuple[int, Row], bool] = field(default_factory=dict)
    _maybe: dict[int, Maybe | None] = field(default_factory=dict)

    @property
    def rules(self) -> tuple[Candidate, ...]:
        """All rules that are told from fields, in the order of the plan."""
        return tuple(sorted((r for gate in self.gates for r in gate.rules), key=lambda r: r.index))

    @property
    def doubtful(self) -> frozenset[Pattern]:
        """Patterns of lines in which a field may have more values than the first."""
        return frozenset(pattern for path in self.fields for pattern in repeats_of(path))

    def alive(self, values: Row) -> tuple[Candidate, ...]:
        """Return the rules that may match a record, from its values of `fields`."""
        known = dict(zip(self.fields, values, strict=True))
        found: list[Candidate] = []
        for gate in self.gates:
            read = [known[path] for path in gate.paths]
            if all(type(value) is str for value in read):
                found.extend(gate.alive(tuple((value,) for value in read)))
            else:
                found.extend(gate.rules)
        return tuple(sorted(found, key=lambda rule: rule.index))

    def may(self, rule: Candidate, values: Row) -> bool:
        """Whether a rule may match a record, also one that was searched for, from its values."""
        try:
            maybe = self._maybe[rule.index]
        except KeyError:
            asks = not set(self.fields).isdisjoint(fields_asked(rule.predicate))
            maybe = possible(rule.predicate, frozenset(self.fields)) if asks else None
            self._maybe[rule.index] = maybe
        if maybe is None:
            return True
        asked = rule.index, values
        found = self._may.get(asked)
        if found is None:
            if not all(type(value) is str for value in values):
                return True
            found = maybe({path: [v] for path, v in zip(self.fields, values, strict=True)})
            if is_short(values):
                if len(self._may) >= Gate.MEMORY:
                    self._may.clear()
                self._may[asked] = found
        return found


def are_single(line: bytes, paths: Iterable[Path]) -> bool:
    """Whether a text at each path of a line is all that is there; false where in doubt."""
    from fastsimdjson import Object, parse  # noqa: PLC0415 - as Hyperscan

    try:
        record = parse(line)
        if not isinstance(record, Object):
            return False
        keys = Counter(record.keys())
        for path in paths:
            if keys[path[0]] != 1 or (len(path) > 1 and ".".join(path) in keys):
                return False
            outer = record[path[0]] if len(path) > 1 else None
            if isinstance(outer, Object) and list(outer.keys()).count(path[1]) != 1:
                return False
    except (ValueError, RecursionError):
        return False
    return True


def asked_of(rules: Iterable[Candidate]) -> tuple[Path, ...]:
    """Return the fields that may tell of rules: plain keys, not deep down."""
    paths = Counter(path for rule in rules for path in set(fields_asked(rule.predicate)))
    usable = [path for path, _ in paths.most_common() if len(path) <= 2 and repeats_of(path)]
    return tuple(usable[:_TRIED_LIMIT])


def telling(loud: Mapping[Candidate, int], fields: Sequence[Path], rows: Sequence[Row]) -> Telling:
    """Choose the fields that tell most, for the rules where that is worth it.

    Args:
        loud: rule → lines of the sample that its needles let through.
        fields: those that may tell.
        rows: values of these in each line of the sample; None for what is no text.
    """
    chosen: dict[tuple[Path, ...], list[tuple[Candidate, Maybe]]] = {}
    held: set[Path] = set()
    for rule, let_through in loud.items():
        paths: tuple[Path, ...] = ()
        cost = let_through * _COST_OF_LINE
        asked = set(fields_asked(rule.predicate))
        while len(paths) < _FIELDS_LIMIT:
            tried = [(*paths, path) for path in fields if path in asked.difference(paths)]
            if len(held) >= 2 * _FIELDS_LIMIT:
                tried = [more for more in tried if held.issuperset(more)]
            costs = {more: _cost(rule, more, fields, rows) for more in tried}
            best = min(costs, key=costs.__getitem__, default=paths)
            if costs.get(best, cost) >= cost:
                break
            paths, cost = best, costs[best]
        if paths and cost <= let_through * _COST_OF_LINE * _WORTH:
            maybe = possible(rule.predicate, frozenset(paths))
            chosen.setdefault(paths, []).append((rule, maybe))
            held.update(paths)
    gates = tuple(Gate(paths, rules) for paths, rules in chosen.items())
    return Telling(gates, tuple(path for path in fields if path in held))


def _cost(
    rule: Candidate, paths: tuple[Path, ...], fields: Sequence[Path], rows: Sequence[Row]
) -> int:
    """What it costs to tell a rule from some fields, in values that are judged once each."""
    places = [fields.index(path) for path in paths]
    maybe = possible(rule.predicate, frozenset(paths))
    seen = Counter(tuple(row[at] for at in places) for row in rows)
    alive = sum(
        count
        for values, count in seen.items()
        if None in values
        or maybe({path: [value] for path, value in zip(paths, values, strict=True)})
    )
    return alive * _COST_OF_LINE + len(seen)
