"""`--format ocsf`: OCSF Detection Finding (class 2004), one object a line.

Schema: Open Cybersecurity Schema Framework 1.5.0, https://schema.ocsf.io/1.5.0, with the
profile `host`, which puts the actor of a finding at its top level. Nothing deprecated is
used, and every attribute exists with the same meaning in 1.6 to 1.8.
"""

from typing import Any, TextIO

from trailhound import __version__
from trailhound.model.events import Envelope, Event
from trailhound.model.findings import Finding, Status
from trailhound.model.totals import Totals
from trailhound.sinks.attack import attack_of
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.encode import fragment, json_text
from trailhound.sinks.evidence import beginning, document_text, fits
from trailhound.sinks.native import explanation_document, proofs_document
from trailhound.sinks.ocsf_evidence import actor, device, evidence, observables, pruned, resource
from trailhound.sinks.wording import deed, group_text, is_window, subject, who

SCHEMA_VERSION = "1.5.0"

_NS_PER_MS = 1_000_000
DETECTION_FINDING = 2004
"""`class_uid` of what is written here."""

_RULE_ANALYTIC = 1
_ACTIVITIES = {
    Status.NEW: (1, "Create"),
    Status.AMENDED: (2, "Update"),
    Status.WITHDRAWN: (3, "Close"),
}
_STATUSES = {
    Status.NEW: (1, "New"),
    Status.AMENDED: (1, "New"),
    # "Suppressed" would say that a person looked; nobody need look any more.
    Status.WITHDRAWN: (4, "Resolved"),
}
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
    explanation = explanation_document(finding.explanation)
    activity_id, activity = _ACTIVITIES[finding.status]
    status_id, status = _STATUSES[finding.status]
    raw = document_text(finding.events[-1]) if finding.events else ""
    return pruned(
        {
            "activity_id": activity_id,
            "activity_name": activity,
            "category_uid": 2,
            "category_name": "Findings",
            "class_uid": DETECTION_FINDING,
            "class_name": "Detection Finding",
            "type_uid": DETECTION_FINDING * 100 + activity_id,
            "type_name": f"Detection Finding: {activity}",
            "time": _ms(finding.time_ns),
            "start_time": _known_ms(finding.start_ns),
            "end_time": _known_ms(finding.time_ns),
            "severity_id": int(rule.level),
            "severity": rule.level.label.capitalize(),
            "status_id": status_id,
            "status": status,
            "status_detail": finding.change,
            "count": finding.event_count,
            "message": _message(finding, envelope),
            "metadata": _metadata(finding),
            "finding_info": _finding_info(finding, created_ns),
            "actor": actor(envelope),
            "device": device(envelope),
            "evidences": [evidence(event, index) for index, event in enumerate(finding.events)],
            "resources": _resources(finding.events),
            "observables": observables(finding.events),
            "raw_data": raw if fits(raw) else beginning(raw),
            "raw_data_size": len(raw.encode()),
            "unmapped": {
                "reason": finding.reason,
                "revision": finding.revision or None,
                "values": fragment(json_text(dict(finding.values))) if finding.values else None,
                "group": fragment(json_text(dict(finding.group))) if finding.group else None,
                "explanation": explanation and fragment(json_text(explanation)),
                "proofs": finding.proofs and fragment(json_text(proofs_document(finding.proofs))),
                "raw_data_truncated": None if fits(raw) else True,
                "rule": {
                    "dialect": rule.dialect,
                    "path": rule.path,
                    "line": rule.line,
                    "status": rule.status,
                    "author": rule.author,
                    "references": rule.references,
                    "false_positives": rule.false_positives,
                },
            },
        }
    )


def _metadata(finding: Finding) -> dict[str, Any]:
    return {
        "version": SCHEMA_VERSION,
        "uid": finding.uid,
        "profiles": ["host"],
        "product": {"name": "Trailhound", "vendor_name": "Trailhound", "version": __version__},
        "log_name": ", ".join(sorted({event.source for event in finding.events})),
        "labels": list(finding.rule.tags),
    }


def _finding_info(finding: Finding, created_ns: int | None) -> dict[str, Any]:
    rule = finding.rule
    return {
        "uid": finding.uid,
        "title": rule.title or rule.uid,
        "desc": rule.description,
        "types": [f"{rule.dialect} rule", *(["correlation"] if is_window(finding) else [])],
        "analytic": {
            "name": rule.title,
            "uid": rule.uid,
            "type_id": _RULE_ANALYTIC,
            "type": "Rule",
            "category": rule.dialect,
        },
        "attacks": _attacks(finding),
        "data_sources": sorted({event.source for event in finding.events}),
        "created_time": _known_ms(created_ns or 0),
        "first_seen_time": _known_ms(finding.start_ns),
        "last_seen_time": _known_ms(finding.time_ns),
        "related_events": [_related(event) for event in finding.events],
        "related_events_count": finding.event_count,
    }


def _attacks(finding: Finding) -> list[dict[str, Any]]:
    """Techniques with the tactic, where the tags name just one; else tactics by themselves.

    Tags are a flat list, so of two tactics it is not said which one a technique serves.
    """
    attack = attack_of(finding.rule.tags)
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
    return [{**entry, "version": attack.version} for entry in entries]


def _technique(uid: str) -> dict[str, str]:
    return {"uid": uid, "src_url": f"{_ATTACK_URL}/techniques/{uid.replace('.', '/')}/"}


def _related(event: Event) -> dict[str, Any]:
    envelope = event.envelope
    return {
        "uid": event.uid,
        "type": event.source,
        "type_uid": envelope.class_uid * 100 + envelope.activity_id,
        "desc": deed(envelope),
        "first_seen_time": _known_ms(envelope.time_ns),
    }


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
