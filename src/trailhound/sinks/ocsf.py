"""`--format ocsf`: OCSF Detection Finding (class 2004), one object a line.

Schema: Open Cybersecurity Schema Framework 1.5.0, https://schema.ocsf.io/1.5.0, with the
profile `host`, which puts the actor of a finding at its top level. Nothing deprecated is
used, and every attribute exists with the same meaning in 1.6 to 1.8.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TextIO

from trailhound import __version__
from trailhound.model.events import Envelope, Event
from trailhound.model.findings import Finding, RuleInfo, Status
from trailhound.model.totals import Totals
from trailhound.sinks.attack import attack_of
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.encode import fragment, json_text
from trailhound.sinks.evidence import DOCUMENTS_SHOWN, beginning, document_text, fits
from trailhound.sinks.native import explanation_fragment, proofs_document
from trailhound.sinks.ocsf_evidence import (
    actor,
    device,
    evidence,
    observables,
    pruned,
    resource,
    saying,
)
from trailhound.sinks.wording import deed, group_text, is_window, subject, who

SCHEMA_VERSION = "1.5.0"

_NS_PER_MS = 1_000_000
DETECTION_FINDING = 2004
"""`class_uid` of what is written here."""

_RULE_ANALYTIC = 1
_ACTIVITIES = {
    status: {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": DETECTION_FINDING,
        "class_name": "Detection Finding",
        "type_uid": DETECTION_FINDING * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
    }
    for status, activity_id, activity in (
        (Status.NEW, 1, "Create"),
        (Status.AMENDED, 2, "Update"),
        (Status.WITHDRAWN, 3, "Close"),
    )
}
_STATUSES = {
    Status.NEW: (1, "New"),
    Status.AMENDED: (1, "New"),
    # "Suppressed" would say that a person looked; nobody need look any more.
    Status.WITHDRAWN: (4, "Resolved"),
}
_PRODUCT = {"name": "Trailhound", "vendor_name": "Trailhound", "version": __version__}
_ATTACK_URL = "https://attack.mitre.org"


class _OcsfWriter:
    def __init__(self, stream: TextIO, options: SinkOptions) -> None:
        self._stream = stream
        self._options = options

    def write(self, finding: Finding) -> None:
        """Write one line."""
        document = detection_finding(finding, self._options.created_ns)
        self._stream.write(json_text(document) + "\n")

    def close(self, totals: Totals) -> None:
        """Write nothing: totals are no OCSF event."""


def detection_finding(finding: Finding, created_ns: int | None = None) -> dict[str, Any]:
    """Return a finding as OCSF Detection Finding.

    Args:
        finding: any finding.
        created_ns: when it was made, UTC nanoseconds; None leaves `created_time` out.

    Returns:
        A document for `json_text`. Times are milliseconds since 1970. What OCSF has no place
        for (the explanation tree, a window's reason and group) stands in `unmapped`.
    """
    rule = finding.rule
    envelope = subject(finding)
    of_rule = _of_rule(rule)
    of_events = _of_events(finding.events, envelope)
    start, end = _known_ms(finding.start_ns), _known_ms(finding.time_ns)
    sources = sorted({event.source for event in finding.events if event.source})
    metadata = {
        "version": SCHEMA_VERSION,
        "uid": finding.uid,
        "profiles": ["host"],
        "product": _PRODUCT,
        "log_name": ", ".join(sources),
        "labels": of_rule.labels,
    }
    info = {
        "uid": finding.uid,
        "title": rule.title or rule.uid,
        "desc": rule.description,
        "types": [f"{rule.dialect} rule", *(["correlation"] if is_window(finding) else [])],
        "analytic": of_rule.analytic,
        "attacks": of_rule.attacks,
        "data_sources": sources,
        "created_time": _known_ms(created_ns or 0),
        "first_seen_time": start,
        "last_seen_time": end,
        "related_events": of_events.related,
        "related_events_count": finding.event_count,
    }
    unmapped = {
        "reason": finding.reason,
        "revision": finding.revision or None,
        "values": finding.values and fragment(json_text(dict(finding.values))),
        "group": finding.group and fragment(json_text(dict(finding.group))),
        "explanation": finding.explanation and explanation_fragment(finding.explanation),
        "proofs": finding.proofs and fragment(json_text(proofs_document(finding.proofs))),
        "raw_data_truncated": of_events.truncated,
        "rule": of_rule.rule,
    }
    status_id, status = _STATUSES[finding.status]
    return saying(
        {
            **_ACTIVITIES[finding.status],
            "time": _ms(finding.time_ns),
            "start_time": start,
            "end_time": end,
            "severity_id": int(rule.level),
            "severity": rule.level.label.capitalize(),
            "status_id": status_id,
            "status": status,
            "status_detail": finding.change,
            "count": finding.event_count,
            "message": _message(finding, envelope),
            "metadata": saying(metadata),
            "finding_info": saying(info),
            **of_events.members,
            "unmapped": saying(unmapped),
        }
    )


class _OfRule(NamedTuple):
    """What follows from the rule alone, written; None where there is nothing to say."""

    labels: Any
    analytic: Any
    attacks: Any
    rule: Any


@lru_cache(maxsize=1024)
def _of_rule(rule: RuleInfo) -> _OfRule:
    analytic = {
        "name": rule.title,
        "uid": rule.uid,
        "type_id": _RULE_ANALYTIC,
        "type": "Rule",
        "category": rule.dialect,
    }
    of_its_own = {
        "dialect": rule.dialect,
        "path": rule.path,
        "line": rule.line,
        "status": rule.status,
        "author": rule.author,
        "references": rule.references,
        "false_positives": rule.false_positives,
    }
    labels = [tag for tag in rule.tags if tag]
    parts = (labels, pruned(analytic), _attacks(rule.tags), pruned(of_its_own))
    return _OfRule(*map(_written, parts))


class _OfEvents(NamedTuple):
    """What follows from the events alone, written."""

    members: dict[str, Any]
    related: Any
    truncated: bool | None


def _of_events(events: tuple[Event, ...], envelope: Envelope) -> _OfEvents:
    """Return it; of one event it is kept, for there may be more findings about that."""
    if len(events) == 1 and "ocsf" in events[0].told:
        return events[0].told["ocsf"]  # type: ignore[no-any-return]
    raw = document_text(events[-1]) if events else ""
    whole = fits(raw)
    members = {
        "actor": _written(actor(envelope)),
        "device": _written(device(envelope)),
        "evidences": _listed([_evidence(event, index) for index, event in enumerate(events)]),
        "resources": _written(_resources(events)),
        "observables": _written(observables(events)),
        "raw_data": _written(raw if whole else beginning(raw)),
        "raw_data_size": len(raw.encode()),
    }
    related = _listed([_related(event) for event in events])
    found = _OfEvents(members, related, None if whole else True)
    if len(events) == 1:
        events[0].told["ocsf"] = found
    return found


def _evidence(event: Event, index: int) -> str:
    form = "evidence" if index < DOCUMENTS_SHOWN else "evidence, as a place"
    told: str | None = event.told.get(form)
    if told is None:
        told = event.told[form] = json_text(evidence(event, index))
    return told


def _related(event: Event) -> str:
    told: str | None = event.told.get("related")
    if told is None:
        envelope = event.envelope
        related = {
            "uid": event.uid,
            "type": event.source,
            "type_uid": envelope.class_uid * 100 + envelope.activity_id,
            "desc": deed(envelope),
            "first_seen_time": _known_ms(envelope.time_ns),
        }
        told = event.told["related"] = json_text(saying(related))
    return told


def _listed(items: Sequence[str]) -> Any:
    return fragment(f"[{','.join(items)}]") if items else None


def _written(value: Any) -> Any:
    """Return a value as JSON that is set into a document as it is; None where it is empty."""
    return fragment(json_text(value)) if value else None


def _attacks(tags: tuple[str, ...]) -> list[dict[str, Any]]:
    """Techniques with the tactic, where the tags name just one; else tactics by themselves.

    Tags are a flat list, so of two tactics it is not said which one a technique serves.
    """
    attack = attack_of(tags)
    tactics = [
        {"uid": one.uid, "name": one.name, "src_url": f"{_ATTACK_URL}/tactics/{one.uid}/"}
        for one in attack.tactics
    ]
    single = tactics[0] if len(tactics) == 1 and attack.techniques else None
    entries: list[dict[str, Any]] = [] if single else [{"tactic": tactic} for tactic in tactics]
    for technique in attack.techniques:
        parent, _, sub = technique.partition(".")
        entry: dict[str, Any] = {"tactic": single, "technique": _technique(parent)}
        if sub:
            entry["sub_technique"] = _technique(technique)
        entries.append(entry)
    return [pruned({**entry, "version": attack.version}) for entry in entries]


def _technique(uid: str) -> dict[str, str]:
    return {"uid": uid, "src_url": f"{_ATTACK_URL}/techniques/{uid.replace('.', '/')}/"}


def _resources(events: tuple[Event, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for event in events:
        one = resource(event.envelope)
        if one and one not in found:
            found.append(one)
    return found


def _message(finding: Finding, envelope: Envelope) -> str:
    if finding.message:
        return finding.message
    parts = [finding.rule.title or finding.rule.uid, who(finding.actor, envelope.invoked_by)]
    if finding.reason:
        parts += [finding.reason, group_text(finding)]
    else:
        parts.append(deed(envelope))
    title, *rest = (part for part in parts if part)
    return f"{title}: {', '.join(rest)}"


def _ms(time_ns: int) -> int:
    return time_ns // _NS_PER_MS


def _known_ms(time_ns: int) -> int | None:
    return _ms(time_ns) if time_ns else None


SINK = Sink(
    name="ocsf",
    description="OCSF 1.5 Detection Finding (class 2004), one object a line",
    media_type="application/x-ndjson",
    writer=_OcsfWriter,
)
