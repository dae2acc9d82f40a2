"""Conditions of public rules that cannot hold as they are written, and what they must have meant.

Every repair is noted on its rule.
"""

from collections.abc import Callable

from msgspec import Struct

from trailhound.model.logsource import LogSource
from trailhound.rules.ir import (
    And,
    AnyRun,
    Compare,
    Equals,
    Exists,
    Field,
    Like,
    Not,
    Or,
    Predicate,
    Text,
)

_STREAMING = ("exec", "attach", "portforward", "proxy")


class Repair(Struct, frozen=True):
    """A condition that was changed to what it must have meant."""

    predicate: Predicate
    note: str


def _decision(node: Predicate) -> Repair | None:
    # responseStatus.code is an HTTP code; ALLOW and FORBID are what the authorizer annotates.
    if not (
        isinstance(node, Compare)
        and node.field.name == "responseStatus.code"
        and isinstance(node.test, Equals)
        and str(node.test.value).lower() in ("allow", "forbid")
    ):
        return None
    name = "annotations.authorization.k8s.io/decision"
    return Repair(
        Compare(Field(name, (tuple(name.split(".")),)), node.test),
        f"responseStatus.code is never {node.test.value!r}; read as {name}",
    )


def _log_name(node: Predicate) -> Repair | None:
    # A log's name begins with its project: projects/p/logs/cloudaudit.googleapis.com%2Factivity.
    if not (
        isinstance(node, Compare)
        and node.field.paths == (("logName",),)
        and isinstance(node.test, Equals)
        and "/logs/" not in str(node.test.value)
    ):
        return None
    ending = f"/logs/{node.test.value}"
    return Repair(
        Compare(node.field, Like((AnyRun(), Text(ending)), node.test.cased)),
        f"logName is never {node.test.value!r} alone; read as any name that ends with {ending}",
    )


def _stream_verbs(node: Predicate) -> Repair | None:
    # kubectl exec, attach and port-forward arrive as `get` over WebSocket (Kubernetes 1.30
    # and later; also any browser client) and as `create` over SPDY.
    if not isinstance(node, And):
        return None
    streams = any(
        isinstance(item, Compare)
        and item.field.name == "objectRef.subresource"
        and isinstance(item.test, Equals)
        and str(item.test.value).lower() in _STREAMING
        for item in node.items
    )
    verbs = [
        i
        for i, item in enumerate(node.items)
        if isinstance(item, Compare)
        and item.field.name == "verb"
        and isinstance(item.test, Equals)
        and str(item.test.value).lower() == "create"
    ]
    if not streams or len(verbs) != 1:
        return None
    verb = node.items[verbs[0]]
    assert isinstance(verb, Compare)  # noqa: S101 - established above, for the type checker
    either = Or((verb, Compare(verb.field, Equals("get"))))
    items = (*node.items[: verbs[0]], either, *node.items[verbs[0] + 1 :])
    return Repair(
        And(items, node.label),
        "exec and its kin arrive with verb get as well as create; both are matched",
    )


def _success(node: Predicate) -> Repair | None:
    # The portal shows error code 0 so; the log's status has no such word.
    if not _says(node, "Status", "success"):
        return None
    code = Field("ResultType", (("resultType",), ("ResultType",), ("status", "errorCode")))
    return Repair(
        Compare(code, Equals(0)),
        "the status of a sign-in is never 'Success'; read as ResultType 0",
    )


def _device_code(node: Predicate) -> Repair | None:
    if not _says(node, "properties.message", "device code"):
        return None
    assert isinstance(node, Compare)  # noqa: S101 - established above, for the type checker
    return Repair(
        Compare(node.field, Equals("deviceCode")),
        "the authentication protocol is never 'Device Code'; read as deviceCode",
    )


def _no_network(node: Predicate) -> Repair | None:
    # A table has the text `[]`; all other forms have a list, which has no value then.
    if not _says(node, "NetworkLocationDetails", "[]"):
        return None
    assert isinstance(node, Compare)  # noqa: S101 - established above, for the type checker
    empty = And((Exists(node.field), Not(Compare(node.field, Like((AnyRun(),))))))
    return Repair(Or((node, empty)), "NetworkLocationDetails '[]' is also matched as an empty list")


def _says(node: Predicate, name: str, word: str) -> bool:
    return (
        isinstance(node, Compare)
        and node.field.name.casefold() == name.casefold()
        and isinstance(node.test, Equals)
        and str(node.test.value).casefold() == word
    )


_Repairs = tuple[Callable[[Predicate], Repair | None], ...]

_CONDITIONS: dict[tuple[str, str], _Repairs] = {
    ("kubernetes", ""): (_decision,),
    ("gcp", "gcp.audit"): (_log_name,),
    ("azure", "signinlogs"): (_success, _device_code, _no_network),
}
_CONJUNCTIONS: dict[tuple[str, str], _Repairs] = {("kubernetes", ""): (_stream_verbs,)}
"""(product, service) → repairs; an empty service: every service of the product."""


def repairs_of_conditions(logsource: LogSource) -> _Repairs:
    """Return what to try on a single condition of a rule."""
    return _of(_CONDITIONS, logsource)


def repairs_of_conjunctions(logsource: LogSource) -> _Repairs:
    """Return what to try on conditions that stand together."""
    return _of(_CONJUNCTIONS, logsource)


def _of(table: dict[tuple[str, str], _Repairs], logsource: LogSource) -> _Repairs:
    product, service = logsource.product or "", logsource.service or ""
    return table.get((product, service)) or table.get((product, ""), ())
