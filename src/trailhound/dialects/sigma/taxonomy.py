"""Field names of Sigma rules, and the repairs that some public rules need.

A Sigma rule names fields in the taxonomy of its log source (Sigma Taxonomy Appendix 2.1.0).
For most sources the name is the path in the document. Where public rules name a field that
the log never has, the tables here say what they mean, and the repair is noted on the rule.
"""

from collections.abc import Callable, Iterable

from trailhound.dialects.sigma.cloud_names import names_for
from trailhound.dialects.sigma.repairs import (
    Repair,
    repairs_of_conditions,
    repairs_of_conjunctions,
)
from trailhound.model.logsource import LogSource
from trailhound.rules.ir import And, Compare, Field, Note, Path, Predicate

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


class Taxonomy:
    """Names and repairs for the rules of one log source."""

    def __init__(self, logsource: LogSource) -> None:
        self.kubernetes = logsource.product == "kubernetes"
        self._names = names_for(logsource)
        self._conditions = repairs_of_conditions(logsource)
        self._conjunctions = repairs_of_conjunctions(logsource)
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
        return self._repaired(self._conditions, condition)

    def conjunction(self, items: And) -> Predicate:
        """The same for conditions that stand together."""
        return self._repaired(self._conjunctions, items)

    def _repaired(
        self, repairs: Iterable[Callable[[Predicate], Repair | None]], node: Predicate
    ) -> Predicate:
        for repair in repairs:
            if (repaired := repair(node)) is not None:
                self._note(repaired.note)
                return repaired.predicate
        return node

    def _note(self, text: str) -> None:
        note = Note(text)
        if note not in self.notes:
            self.notes.append(note)


def path_of(name: str) -> Path:
    """Split a dotted field name. Keys that contain dots are put together when they are read."""
    return tuple(name.split("."))
