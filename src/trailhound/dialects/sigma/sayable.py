"""Predicates of any rule, in the terms that a Sigma rule has; the verdicts stay the same.

Sigma has fields with one name, no computed values, no "at least two of". What can be taken apart
into what it has is taken apart; for the rest there is a reason.
"""

import ipaddress
import itertools
from collections.abc import Iterable, Sequence

from trailhound.dialects.sigma.definitions import Definitions
from trailhound.dialects.sigma.lower import is_block
from trailhound.dialects.sigma.spelling import Unsayable, canonical, whole_text
from trailhound.dialects.sigma.taxonomy import Taxonomy, path_of
from trailhound.rules.ir import (
    And,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    InNetwork,
    IsNull,
    Keyword,
    Like,
    Not,
    Or,
    Path,
    Predicate,
    PythonCall,
    Regex,
    SameAs,
    Some,
    Test,
)

TRUE = And(())
FALSE = Or(())
_WAYS_LIMIT = 64
"""Alternatives that a condition may be taken apart into."""
_ELEMENT: tuple[Path, ...] = ((),)


class Saying:
    """Takes predicates apart, with the field names of one log source."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self.differs: dict[str, None] = {}
        """What is not quite the same, in a sentence each."""
        self._definitions = Definitions(self.unrepaired)

    def unrepaired(self, node: Predicate) -> Predicate:
        """Return the condition that is read as this one because it is repaired; else itself."""
        first = node.items[0] if isinstance(node, Or) and node.items else None
        if isinstance(first, Compare) and self._taxonomy.compare(first) == node:
            return first
        return node

    def of(self, node: Predicate, *, inside: bool = False) -> Predicate:
        """Return a predicate with the same verdicts that Sigma can say.

        Nested `and` in `and` without a name of its own is one; so is `or`.

        Args:
            node: what to say.
            inside: of an array block, where a field may be the element itself.

        Raises:
            Unsayable: there is none.
        """
        match node:
            case And():
                return joined(And, (self.of(i, inside=inside) for i in node.items), node.label)
            case Or():
                if self.unrepaired(node) is not node:
                    return node
                return joined(Or, (self.of(i, inside=inside) for i in node.items), node.label)
            case Not():
                return _not(self.of(node.item, inside=inside))
            case AtLeast():
                return self.of(_ways_of(node), inside=inside)
            case Exists():
                return self._exists(node.field, inside=inside)
            case Compare():
                return self._compare(node, inside=inside)
            case Keyword():
                return self._keyword(node, inside=inside)
            case Some():
                return self._some(node)
            case PythonCall():
                raise Unsayable(f"it asks the Python of {node.program}")

    # --- fields ---------------------------------------------------------------------------

    def _places(self, field: Field, *, inside: bool) -> list[Field]:
        """Return fields, each with a name that is read as its paths, that are this one together."""
        _no_steps(field)
        if field.paths == _ELEMENT:
            if inside:
                return [Field("element", _ELEMENT)]
            raise Unsayable("a condition on the event as a whole", field.name)
        dotted = [".".join(path) for path in field.paths]
        for name in (field.name, *dotted):
            if is_name(name) and self._taxonomy.field(name).paths == field.paths:
                return [Field(name, field.paths)]
        if len(field.paths) < 2:
            return [self._dotted(field)]
        return [
            place
            for path in field.paths
            for place in self._places(Field(field.name, (path,)), inside=inside)
        ]

    def _dotted(self, field: Field) -> Field:
        """Return a field with dots in its keys, where every dot may be a step."""
        name = ".".join(itertools.chain(*field.paths))
        steps = (path_of(name),)
        if not is_name(name) or self._taxonomy.field(name).paths != steps:
            raise Unsayable(f"Sigma has no name for the field {name!r}", field.name)
        self.differs.setdefault(f"{name} is found also where a dot in one of its keys is a step")
        return Field(name, steps)

    def _exists(self, field: Field, *, inside: bool) -> Predicate:
        if inside and field.paths == _ELEMENT:
            return TRUE
        places = self._places(field, inside=inside)
        return joined(Or, (Exists(place) for place in places))

    def _compare(self, node: Compare, *, inside: bool) -> Predicate:
        places = self._places(node.field, inside=inside)
        test = node.test
        if isinstance(test, IsNull) and len(places) > 1:
            # One of the places holds a null, or there is none of them.
            nulls = (And((Compare(place, test), Exists(place))) for place in places)
            absent = And(tuple(Not(Exists(place)) for place in places))
            return joined(Or, (*nulls, absent))
        tests: list[Test] = [test]
        if isinstance(test, SameAs):
            others = self._places(test.other, inside=inside)
            tests = [SameAs(other, test.how, test.cased) for other in others]
        elif isinstance(test, InNetwork):
            tests = [InNetwork(_network(test.network))]
        said = (Compare(place, _canonical(t, place)) for place in places for t in tests)
        found = list(said)
        for compare in found:
            if self._taxonomy.compare(compare) != compare:
                name = compare.field.name
                raise Unsayable(f"in Sigma rules this value of {name} is read otherwise", name)
        return joined(Or, found)

    def _keyword(self, node: Keyword, *, inside: bool) -> Predicate:
        if inside:
            raise Unsayable("text anywhere in one element of a list")
        test = node.test
        if isinstance(test, Regex):
            return node
        if isinstance(test, Equals) and not isinstance(test.value, str):
            return Keyword(whole_text(test))
        said = canonical(test)
        if isinstance(said, Like) and said.parts[0] == said.parts[-1] == AnyRun():
            return Keyword(said)
        assert isinstance(said, Equals | Like)  # noqa: S101 - what `canonical` makes of either
        return Keyword(whole_text(said))

    # --- elements of lists ------------------------------------------------------------------

    def _some(self, node: Some) -> Predicate:
        _no_steps(node.field)
        if node.once:
            raise Unsayable("one element and no other", node.field.name)
        if len(node.field.paths) > 1:
            if node.every:
                raise Unsayable("every element of several lists together", node.field.name)
            each = (Some(Field("", (path,)), node.item) for path in node.field.paths)
            return joined(Or, (self._some(some) for some in each))
        (path,) = node.field.paths or ((),)
        name = ".".join(path)
        if not is_name(name) or set(name) & set("[]") or path_of(name) != path:
            raise Unsayable("elements of a list that Sigma has no name for", node.field.name)
        inner = self.of(node.item, inside=True)
        if inner == FALSE:
            return FALSE
        if inner == TRUE:
            raise Unsayable("a list that is not empty", node.field.name)
        if self._definitions.of(inner, inside=True) is None:
            inner = self._flat(inner, node.field.name)
        return Some(Field(name, (path,)), inner, node.every)

    def _flat(self, inner: Predicate, word: str) -> Predicate:
        """Return the same as one of several maps: a block has no condition of its own."""
        alternatives = _alternatives(_without_nots(inner))
        flat = joined(Or, (joined(And, alternative) for alternative in alternatives))
        if self._definitions.of(flat, inside=True) is None:
            raise Unsayable("conditions on one element that an array block does not hold", word)
        return flat


def is_name(name: str) -> bool:
    """Whether a Sigma rule can name a field so."""
    return bool(name) and "|" not in name and not is_block(name)


def joined(kind: type[And] | type[Or], items: Iterable[Predicate], label: str = "") -> Predicate:
    """Join conditions: what decides nothing falls away, what has no name of its own is one."""
    neutral, decisive = (TRUE, FALSE) if kind is And else (FALSE, TRUE)
    flat: list[Predicate] = []
    for item in items:
        if isinstance(item, kind) and not item.label:
            flat.extend(item.items)
        elif item == decisive:
            return decisive
        elif item != neutral:
            flat.append(item)
    if not flat:
        return neutral
    return flat[0] if len(flat) == 1 and not label else kind(tuple(flat), label)


def unlabelled(node: Predicate) -> Predicate:
    """Return a predicate without the names of its parts, and flat."""
    match node:
        case And() | Or():
            return joined(type(node), map(unlabelled, node.items))
        case Not():
            return Not(unlabelled(node.item))
        case Some():
            return Some(node.field, unlabelled(node.item), node.every, node.once)
        case _:
            return node


def _not(node: Predicate) -> Predicate:
    if node == TRUE:
        return FALSE
    if isinstance(node, Not):
        return node.item
    return TRUE if node == FALSE else Not(node)


def _no_steps(field: Field) -> None:
    if field.via:
        steps = ", ".join(step.name for step in field.via)
        raise Unsayable(f"{field.name} is computed ({steps}), which Sigma cannot say", field.name)
    if not field.paths:
        raise Unsayable(f"{field.name} is in no event", field.name)


def _canonical(test: Test, place: Field) -> Test:
    try:
        return canonical(test)
    except Unsayable as error:
        raise Unsayable(error.reason, error.word or place.name) from None


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Unsayable(f"{text!r} is no network", text) from None


def _ways_of(node: AtLeast) -> Predicate:
    """Return "at least so many of" as alternatives."""
    if node.count <= 0:
        return TRUE
    ways = list(itertools.islice(itertools.combinations(node.items, node.count), _WAYS_LIMIT + 1))
    if len(ways) > _WAYS_LIMIT:
        raise Unsayable(
            f"at least {node.count} of {len(node.items)} conditions: more than {_WAYS_LIMIT} ways"
        )
    return Or(tuple(And(way) if len(way) > 1 else way[0] for way in ways), node.label)


def _without_nots(node: Predicate, *, negated: bool = False) -> Predicate:
    """Push negations down to single conditions."""
    match node:
        case And() | Or():
            kind = type(node) if not negated else (Or if isinstance(node, And) else And)
            return joined(kind, (_without_nots(item, negated=negated) for item in node.items))
        case Not():
            return _without_nots(node.item, negated=not negated)
        case _:
            return Not(node) if negated else node


def _alternatives(node: Predicate) -> list[Sequence[Predicate]]:
    """Return alternatives, each a list of conditions that hold together."""
    match node:
        case Or():
            found = [way for item in node.items for way in _alternatives(item)]
        case And():
            found = [()]
            for item in node.items:
                further = _alternatives(item)
                if len(found) * len(further) > _WAYS_LIMIT:
                    raise Unsayable(f"conditions on one element: more than {_WAYS_LIMIT} ways")
                found = [(*way, *more) for way in found for more in further]
        case _:
            found = [(node,)]
    return found
