"""Findings and totals as plain documents: the form of `json` and `ndjson`."""

import base64
from functools import lru_cache
from typing import Any

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.findings import Explanation, Finding, Proofs, RecordProof, RuleInfo
from trailhound.model.levels import Level
from trailhound.model.records import Origin, ParseFailure
from trailhound.model.totals import RuleProblem, Totals
from trailhound.sinks.encode import fragment, json_text
from trailhound.sinks.evidence import DOCUMENTS_SHOWN, document_fields, document_text, fits
from trailhound.sinks.wording import rfc3339, source_ip, subject

_OUTCOMES = {outcome: outcome.name.lower() for outcome in Outcome}
_EXPLANATION_DEPTH_LIMIT = 60
_EXPLAINED_LIMIT = 500
_EXPLAINED: dict[int, tuple[Explanation, Any]] = {}
"""Explanations that were written last, by their ids, which hold as long as they are kept."""


def finding_json(finding: Finding) -> str:
    """Return a finding as JSON. Every key but `proofs` is always there; absent text is empty.

    `time` and `start` are RFC 3339 in UTC, null where the source gave none.
    """
    rule = finding.rule
    rest: dict[str, Any] = {
        "event_count": finding.event_count,
        "group": dict(finding.group),
        "reason": finding.reason,
        "status": finding.status.value,
        "revision": finding.revision,
        "change": finding.change,
        "message": finding.message,
        "values": dict(finding.values),
        "explanation": finding.explanation and explanation_fragment(finding.explanation),
    }
    events = ",".join(
        [
            _event(event, with_document=at < DOCUMENTS_SHOWN)
            for at, event in enumerate(finding.events)
        ]
    )
    proofs = finding.proofs and f',"proofs":{json_text(proofs_document(finding.proofs))}'
    return (
        f'{{"uid":{json_text(finding.uid)},"rule":{_rule(rule)},"level":"{rule.level.label}",'
        f'{_deed(finding)},{json_text(rest)[1:-1]},"events":[{events}]{proofs or ""}}}'
    )


def _deed(finding: Finding) -> str:
    """Return the members that say who did what, when and from where."""
    events = finding.events
    if len(events) != 1 or not (finding.time_ns == finding.start_ns == events[0].envelope.time_ns):
        address = source_ip(finding)
        return _deed_of(finding.start_ns, finding.time_ns, finding.actor, subject(finding), address)
    # All of it then follows from the one event, which other findings may be about as well.
    told = events[0].told
    deed = told.get("deed")
    if deed is None:
        one = events[0].envelope
        deed = _deed_of(one.time_ns, one.time_ns, one.actor_name, one, one.src_ip)
        told["deed"] = deed
    return deed


def _deed_of(start_ns: int, time_ns: int, actor: str, envelope: Envelope, address: str) -> str:
    return json_text(
        {
            "time": rfc3339(time_ns),
            "start": rfc3339(start_ns),
            "actor": actor,
            "invoked_by": envelope.invoked_by,
            "action": envelope.action,
            "target": {
                "type": envelope.target_type,
                "namespace": envelope.target_namespace,
                "name": envelope.target_name,
            },
            "src_ip": address,
            "device": envelope.device,
            "outcome": outcome_word(envelope.outcome),
            "request_uid": envelope.request_uid,
        }
    )[1:-1]


def proofs_document(proofs: Proofs) -> dict[str, Any]:
    """Return the proofs of a finding for JSON, as `trailhound verify findings` reads them."""
    return {
        "head": proofs.head,
        "records": [_record_proof(one) for one in proofs.records],
        "unproven": proofs.unproven,
    }


def totals_document(totals: Totals) -> dict[str, Any]:
    """Return the totals of a scan for JSON."""
    return {
        "events": dict(totals.events),
        "files_read": totals.files_read,
        "records_read": totals.records_read,
        "bytes_read": totals.bytes_read,
        "records_lost": totals.records_lost,
        "records_odd": totals.records_kept,
        "failures": [
            {
                "reason": failure.reason,
                "lost": failure.lost,
                "kept": failure.kept,
                "examples": [_failure(example) for example in failure.examples],
            }
            for failure in totals.failures
        ],
        "rules": {
            "loaded": totals.rules_loaded,
            "by_dialect": dict(totals.rules_by_dialect),
            "ran": totals.rules_ran,
            "problems": [_problem(problem) for problem in totals.rule_problems],
            "never_match_here": [_problem(problem) for problem in totals.rules_blind],
            "kept_on_disk": [_problem(problem) for problem in totals.rules_spilling],
        },
        "python": [
            {
                "rule": cost.rule,
                "path": cost.path,
                "asked": cost.asked,
                "matched": cost.matched,
                "failed": cost.failed,
                "cpu_s": cost.cpu_ns / 1e9 if totals.elapsed_s is not None else None,
            }
            for cost in totals.python
        ],
        "findings": {level.label: totals.findings.get(level, 0) for level in reversed(Level)},
        "first_time": None if totals.first_ns is None else rfc3339(totals.first_ns),
        "last_time": None if totals.last_ns is None else rfc3339(totals.last_ns),
        "elapsed_s": totals.elapsed_s,
    }


def explanation_document(node: Explanation | None, depth: int = 0) -> dict[str, Any] | None:
    """Return an explanation tree for JSON; None where the rule's dialect gives none."""
    if node is None:
        return None
    document: dict[str, Any] = {"label": node.label, "matched": node.matched}
    if node.path:
        document["path"] = node.path
        document["value"] = node.value
    if node.children:
        if depth < _EXPLANATION_DEPTH_LIMIT:
            document["children"] = [
                explanation_document(child, depth + 1) for child in node.children
            ]
        else:
            document["truncated"] = True
    return document


def origin_document(origin: Origin) -> dict[str, Any]:
    """Return where a record stands, for JSON."""
    return {"path": origin.path, "line": origin.line, "element": origin.element}


def outcome_word(outcome: Outcome) -> str:
    """Return an outcome as a word: `unknown`, `success` or `failure`."""
    return _OUTCOMES[outcome]


def _record_proof(proof: RecordProof) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": proof.path,
        "line": proof.line,
        "index": proof.index,
        "entry": proof.entry,
        "hashes": [one.hex() for one in proof.hashes],
    }
    if proof.record is not None:
        try:
            document["record"] = proof.record.decode()
        except UnicodeDecodeError:
            document["record_base64"] = base64.b64encode(proof.record).decode()
    return document


@lru_cache(maxsize=1024)
def _rule(rule: RuleInfo) -> str:
    return json_text(
        {
            "uid": rule.uid,
            "title": rule.title,
            "level": rule.level.label,
            "dialect": rule.dialect,
            "path": rule.path,
            "line": rule.line,
            "description": rule.description,
            "tags": rule.tags,
            "references": rule.references,
            "false_positives": rule.false_positives,
            "author": rule.author,
            "status": rule.status,
        }
    )


def explanation_fragment(node: Explanation) -> Any:
    """Return an explanation tree written, to be set into a document."""
    # The engine gives the same explanation again where an event is like one before.
    known = _EXPLAINED.get(id(node))
    if known is None or known[0] is not node:
        if len(_EXPLAINED) >= _EXPLAINED_LIMIT:
            _EXPLAINED.clear()
        known = _EXPLAINED[id(node)] = node, fragment(json_text(explanation_document(node)))
    return known[1]


def _event(event: Event, *, with_document: bool) -> str:
    form = "whole" if with_document else "place"
    told = event.told.get(form)
    if told is None:
        told = event.told[form] = _told(event, with_document=with_document)
    return told


def _told(event: Event, *, with_document: bool) -> str:
    document: dict[str, Any] = {
        "source": event.source,
        "uid": event.uid,
        "origins": [origin_document(origin) for origin in event.origins],
        "time": rfc3339(event.envelope.time_ns),
        "notes": event.notes,
    }
    text = json_text(document)
    if not with_document:
        return text
    shown = document_text(event)
    if fits(shown):  # as most do: joined as text, they need not be written again
        return f'{text[:-1]},"document":{shown}}}'
    return json_text({**document, **document_fields(event)})


def _failure(failure: ParseFailure) -> dict[str, Any]:
    return {
        "origin": origin_document(failure.origin),
        "detail": failure.detail,
        "lost": failure.lost,
    }


def _problem(problem: RuleProblem) -> dict[str, Any]:
    return {
        "path": problem.path,
        "line": problem.line,
        "rule": problem.rule,
        "reason": problem.reason,
    }
