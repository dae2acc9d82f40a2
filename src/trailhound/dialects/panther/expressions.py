"""Match expressions of Panther to predicates.

Panther documentation, "Simple Detection Match Expression Reference", and the JSON schema of
panther_analysis_tool (`analysis_config_schema.json`). Texts are compared with their case. A
field that is absent equals nothing, so what must *not* be so holds of it. A list is asked by
its elements.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from trailhound.dialects.panther.items import Rejected
from trailhound.dialects.panther.keypath import SPECIFIERS, KeyPath, specified
from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    InNetwork,
    IsNull,
    Like,
    Not,
    Number,
    Or,
    Order,
    Predicate,
    Regex,
    SameAs,
    Some,
    Step,
    Test,
    Text,
)

_PRIVATE = (
    *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/29", "192.0.0.170/31", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "::/127", "::ffff:0:0/96"),
    *("100::/64", "2001::/23", "2001:db8::/32", "fc00::/7", "fe80::/10"),
)
"""What Python's `ipaddress` calls private."""
_V4, _V6 = ("0.0.0.0/0",), ("::/0",)

_Scalar = str | int | float | bool


def predicate_of(listed: Any, log_type: str, *where: object) -> Predicate:
    """Lower a list of match expressions, all of which must hold, for a log type."""
    return _all_of(_Expressions(log_type).all(listed, where))


def _all_of(items: tuple[Predicate, ...]) -> Predicate:
    return items[0] if len(items) == 1 else And(items)


class _Expressions:
    """Lowers the expressions of one rule; inside lists, keys start at the element."""

    def __init__(self, log_type: str) -> None:
        self._log_type = log_type

    def all(self, listed: Any, where: tuple[object, ...]) -> tuple[Predicate, ...]:
        if not isinstance(listed, list) or not listed:
            name = where[-1] if where else "it"
            raise Rejected(f"{name} must be a list of match expressions", *where)
        return tuple(self.one(entry, where) for entry in listed)

    def one(self, entry: Any, where: tuple[object, ...]) -> Predicate:
        if not isinstance(entry, Mapping):
            raise Rejected("a match expression must be a mapping", *where)
        combinators = [key for key in entry if key in _COMBINATORS]
        if combinators:
            if len(entry) > 1:
                raise Rejected(f"{combinators[0]} must stand by itself", *where, combinators[0])
            name = combinators[0]
            return _COMBINATORS[name](self.all(entry[name], (*where, name)))
        odd = [
            key
            for key in entry
            if key not in (*SPECIFIERS, "Condition", "Value", "Values", "Expressions", "Enrichment")
        ]
        if odd:
            raise Rejected(f"{odd[0]!r} is no part of a match expression", *where, odd[0])
        if "Enrichment" in entry:
            raise Rejected(
                "Enrichment asks a lookup table, and there are none here", *where, "Enrichment"
            )
        condition = entry.get("Condition")
        if not isinstance(condition, str):
            raise Rejected("a match expression needs a Condition", *where)
        if condition in _ABSOLUTE:
            return _ABSOLUTE[condition]
        if "Expressions" in entry:
            return self._elements(entry, condition, where)
        if not any(name in entry for name in SPECIFIERS):
            return self._two(entry, condition, where)
        key = specified(entry)
        return self._condition(key, condition, entry, where)

    def _elements(
        self, entry: Mapping[str, Any], condition: str, where: tuple[object, ...]
    ) -> Predicate:
        field = self._field(specified(entry))
        # Below a list, names are no longer those of the log.
        inner = _all_of(_Expressions("").all(entry["Expressions"], (*where, "Expressions")))
        match condition:
            case "AnyElement":
                return Some(field, inner)
            case "AllElements":
                return Some(field, inner, every=True)
            case "NoElement":
                return Not(Some(field, inner))
            case "OnlyOneElement":
                return Some(field, inner, once=True)
        raise Rejected(f"{condition!r} is no condition on a list", *where, condition)

    def _two(
        self, entry: Mapping[str, Any], condition: str, where: tuple[object, ...]
    ) -> Predicate:
        listed = entry.get("Values")
        if (
            not isinstance(listed, list)
            or len(listed) != 2
            or not all(isinstance(value, Mapping) for value in listed)
        ):
            raise Rejected("two keys are compared as Values: two key specifiers", *where, condition)
        first, second = (self._field(specified(value)) for value in listed)
        found = _RELATIONS.get(condition)
        if found is None:
            raise Rejected(f"two keys are not compared by {condition!r}", *where, condition)
        how, cased, negated = found
        same = Compare(first, SameAs(second, how, cased=cased))  # type: ignore[arg-type]
        return Not(same) if negated else same

    def _condition(
        self, key: KeyPath, condition: str, entry: Mapping[str, Any], where: tuple[object, ...]
    ) -> Predicate:
        field = self._field(key)
        if condition in _PLAIN:
            if "Value" in entry or "Values" in entry:
                raise Rejected(f"{condition} takes no value", *where, condition)
            return _PLAIN[condition](field)
        if condition in _MEMBERS:
            values = entry.get("Values")
            if not isinstance(values, list):
                raise Rejected(f"{condition} needs Values", *where, condition)
            tests = [Compare(field, Equals(_scalar(value, where), cased=True)) for value in values]
            among: Predicate = tests[0] if len(tests) == 1 else Or(tuple(tests))
            return Not(among) if _MEMBERS[condition] else among
        if condition not in _VALUED:
            raise Rejected(f"there is no condition {condition!r}", *where, condition)
        if "Value" not in entry:
            raise Rejected(f"{condition} needs a Value", *where, condition)
        make, negated = _VALUED[condition]
        value = _scalar(entry["Value"], where)
        test = make(value)
        if key.listed and isinstance(test, Like) and condition.endswith("Contains"):
            # It asks the list of them whether the value is in it.
            test = Equals(value, cased=not condition.startswith("I"))
        found = Compare(field, test)
        return Not(found) if negated else found

    def _field(self, key: KeyPath) -> Field:
        return key.field(self._log_type)


def _scalar(value: Any, where: tuple[object, ...]) -> _Scalar:
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, date):
        return value.isoformat()
    raise Rejected("a value must be text, a number, true or false", *where, value)


# --- tests --------------------------------------------------------------------------------


def _like(before: bool, after: bool, *, cased: bool) -> Callable[[_Scalar], Test]:  # noqa: FBT001
    def make(value: _Scalar) -> Test:
        text = Text(str(value).lower() if isinstance(value, bool) else str(value))
        parts = ((AnyRun(),) * before, (text,), (AnyRun(),) * after)
        return Like(tuple(part for some in parts for part in some), cased=cased)

    return make


def _ordered(op: str) -> Callable[[_Scalar], Test]:
    def make(value: _Scalar) -> Test:
        if isinstance(value, bool):
            raise Rejected("true and false are not greater or less", "Value")
        if isinstance(value, str):
            return Order(op, value)  # type: ignore[arg-type]
        return Number(op, value)  # type: ignore[arg-type]

    return make


def _network(value: _Scalar) -> Test:
    try:
        return InNetwork(str(ipaddress.ip_network(str(value), strict=False)))
    except ValueError:
        raise Rejected(f"{str(value)!r} is no network in CIDR form", "Value", value) from None


def _in_networks(networks: Iterable[str]) -> Callable[[Field], Predicate]:
    tests = [InNetwork(network) for network in networks]

    def make(field: Field) -> Predicate:
        found = tuple(Compare(field, test) for test in tests)
        return found[0] if len(found) == 1 else Or(found)

    return make


def _filled(field: Field) -> Predicate:
    """Neither absent, null, nor the empty text, list or object."""
    whole = Field(field.name, field.paths, (Step("json"),))
    filled = Compare(field, Like((Any1(), AnyRun())))
    listed = Compare(whole, Regex(r"^\[[^\]]"))
    return And((Exists(field), Or((filled, listed)), Not(Compare(whole, Equals("{}")))))


def _public(field: Field) -> Predicate:
    return And((_in_networks((*_V4, *_V6))(field), Not(_in_networks(_PRIVATE)(field))))


_PLAIN: Mapping[str, Callable[[Field], Predicate]] = {
    "Exists": Exists,
    "DoesNotExist": lambda field: Not(Exists(field)),
    "IsNull": lambda field: Compare(field, IsNull()),
    "IsNotNull": lambda field: Not(Compare(field, IsNull())),
    "IsNullOrEmpty": lambda field: Not(_filled(field)),
    "IsNotNullOrEmpty": _filled,
    "IsIPAddress": _in_networks((*_V4, *_V6)),
    "IsIPv4Address": _in_networks(_V4),
    "IsIPv6Address": _in_networks(_V6),
    "IsIPAddressPrivate": _in_networks(_PRIVATE),
    "IsIPAddressPublic": _public,
}
"""Conditions without a value."""

_MEMBERS = {"IsIn": False, "IsNotIn": True}
"""Condition on a list of values → whether it is negated."""

_VALUED: Mapping[str, tuple[Callable[[_Scalar], Test], bool]] = {
    "Equals": (lambda value: Equals(value, cased=True), False),
    "DoesNotEqual": (lambda value: Equals(value, cased=True), True),
    "IEquals": (Equals, False),
    "IDoesNotEqual": (Equals, True),
    "StartsWith": (_like(False, True, cased=True), False),  # noqa: FBT003
    "DoesNotStartWith": (_like(False, True, cased=True), True),  # noqa: FBT003
    "IStartsWith": (_like(False, True, cased=False), False),  # noqa: FBT003
    "IDoesNotStartWith": (_like(False, True, cased=False), True),  # noqa: FBT003
    "EndsWith": (_like(True, False, cased=True), False),  # noqa: FBT003
    "DoesNotEndWith": (_like(True, False, cased=True), True),  # noqa: FBT003
    "IEndsWith": (_like(True, False, cased=False), False),  # noqa: FBT003
    "IDoesNotEndWith": (_like(True, False, cased=False), True),  # noqa: FBT003
    "Contains": (_like(True, True, cased=True), False),  # noqa: FBT003
    "DoesNotContain": (_like(True, True, cased=True), True),  # noqa: FBT003
    "IContains": (_like(True, True, cased=False), False),  # noqa: FBT003
    "IDoesNotContain": (_like(True, True, cased=False), True),  # noqa: FBT003
    "IsGreaterThan": (_ordered("gt"), False),
    "IsGreaterThanOrEquals": (_ordered("gte"), False),
    "IsGreaterThanOrEqual": (_ordered("gte"), False),
    "IsLessThan": (_ordered("lt"), False),
    "IsLessThanOrEquals": (_ordered("lte"), False),
    "IsLessThanOrEqual": (_ordered("lte"), False),
    "IsIPAddressInCIDR": (_network, False),
    "IsIPAddressNotInCIDR": (_network, True),
}
"""Condition with a value → its test, and whether it is negated."""

_RELATIONS: Mapping[str, tuple[str, bool, bool]] = {
    "Equals": ("equals", True, False),
    "DoesNotEqual": ("equals", True, True),
    "IEquals": ("equals", False, False),
    "IDoesNotEqual": ("equals", False, True),
    "StartsWith": ("startswith", True, False),
    "EndsWith": ("endswith", True, False),
    "Contains": ("contains", True, False),
    "DoesNotContain": ("contains", True, True),
    "IsGreaterThan": ("gt", True, False),
    "IsGreaterThanOrEquals": ("gte", True, False),
    "IsGreaterThanOrEqual": ("gte", True, False),
    "IsLessThan": ("lt", True, False),
    "IsLessThanOrEquals": ("lte", True, False),
    "IsLessThanOrEqual": ("lte", True, False),
}
"""Condition on two keys → relation, whether case counts, whether it is negated."""

_ABSOLUTE: Mapping[str, Predicate] = {"AlwaysTrue": And(()), "AlwaysFalse": Or(())}

_COMBINATORS: Mapping[str, Callable[[tuple[Predicate, ...]], Predicate]] = {
    "All": And,
    "Any": Or,
    "OnlyOne": lambda items: And((AtLeast(1, items), Not(AtLeast(2, items)))),
    "None": lambda items: Not(Or(items)),
}
