"""What rules read of a record: the record, and what it says under names of its own making."""

from collections.abc import Iterator, Mapping
from typing import Any

from trailhound.sources.azure_activity.kinds import AUDIT, PIM, alert_name, unfolded
from trailhound.sources.mapping import value_at

_TARGETS = ("properties.targetResources", "targetResources", "TargetResources")
_PROPERTIES_READ = 200
_NAME_LIMIT = 200


def view_of(kind: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the document that rules read; the record itself where nothing is to be added."""
    whole = unfolded(document)
    if kind == PIM:
        return {"riskEventType": alert_name(document), **whole}
    changed = dict(_modified(whole)) if kind == AUDIT else {}
    return {**changed, **whole} if changed else whole


def _modified(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(`ConsentContext.IsAdminConsent`, new value) of each property that an entry says changed."""
    for path in _TARGETS:
        targets = value_at(document, path)
        for target in targets if isinstance(targets, list) else ():
            properties = _member(target, "modifiedProperties")
            for change in properties[:_PROPERTIES_READ] if isinstance(properties, list) else ():
                name, value = _member(change, "displayName"), _member(change, "newValue")
                if isinstance(name, str) and 0 < len(name) <= _NAME_LIMIT:
                    # The value is JSON inside JSON: "\"False\"".
                    yield name, value.strip('"') if isinstance(value, str) else value


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
