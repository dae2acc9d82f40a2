"""Field names of Sigma rules, and the repairs that some public rules need.

A Sigma rule names fields in the taxonomy of its log source (Sigma Taxonomy Appendix 2.1.0).
For most sources the name is the path in the document. Where public rules name a field that
the log never has, the tables here say what they mean, and the repair is noted on the rule.
"""

from collections.abc import Callable

from msgspec import Struct

from trailhound.dialects.sigma.cloud_names import names_for
from trailhound.model.logsource import LogSource
from trailhound.rules.ir import (
    And,
    AnyRun,
    Compare,
    Equals,
    Field,
    Like,
    Note,
    Or,
    Path,
    Predicate,
    Text,
)

_POD_SPECS = (
    "requestObject.spec",
    "requestObject.spec.template.spec",
    "requestObject.spec.jobTemplate.spec.template.spec",
)
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")

_KUBERNETES_FIELDS: dict[str, tuple[str, ...]] = {
    # Rules written for shippers that lift these to the top level.
    "apiGroup": ("objectRef.apiGroup",),
    "hostPath": (
        *(f"{spec}.volumes.hostPath" for spec in _POD_SPECS),
        "requestObject.spec.hostPath",
    ),
    "capabilities": tuple(
        f"{spec}.{kind}.securityContext.capabilities.add"
        for spec in _POD_SPECS
        for kind in _CONTAINERS
    ),
}

_STREAMING = ("exec", "attach", "portforward", "proxy")


class Repair(Struct, frozen=True):
    """A condition that was changed to what it must have meant."""

    predicate: Predicate
    note: str


class Taxonomy:
    """Names and repairs for the rules of one log source."""

    def __init__(self, logsource: LogSource) -> None:
        self.kubernetes = logsource.product == "kubernetes"
        self._gcp = logsource.product == "gcp"
        self._names = names_for(logsource)
        self.notes: list[Note] = []

    def field(self, name: str) -> Field:
        """Return the field that a rule names, with every place it is looked for."""
        places = self._names.places(name)
        if places is not None:
            if name not in places:
                self._note(f"field {name!r} is read as {', '.join(places)}")
            return Field(name, tuple(map(path_of, places)))
        aliases = _KUBERNETES_FIELDS.get(name) if self.kubernetes else None
        if aliases is None:
            return Field(name, (path_of(name),))
        self._note(f"field {name!r} is not in the audit event; read as {', '.join(aliases)}")
        return Field(name, (path_of(name), *map(path_of, aliases)))

    def compare(self, condition: Compare) -> Predicate:
        """Return the condition, repaired where public rules are known to be wrong."""
        if self.kubernetes:
            return self._apply(_decision, condition)
        return self._apply(_log_name, condition) if self._gcp else condition

    def conjunction(self, items: And) -> Predicate:
        """The same for conditions that stand together."""
        if not self.kubernetes:
            return items
        return self._apply(_stream_verbs, items)

    def _apply(self, repair: Callable[[Predicate], Repair | None], node: Predicate) -> Predicate:
        repaired = repair(node)
        if repaired is None:
            return node
        self._note(repaired.note)
        return repaired.predicate

    def _note(self, text: str) -> None:
        note = Note(text)
        if note not in self.notes:
            self.notes.append(note)


def path_of(name: str) -> Path:
    """Split a dotted field name. Keys that contain dots are put together when they are read."""
    return tuple(name.split("."))


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
        Compare(Field(name, (path_of(name),)), node.test),
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
