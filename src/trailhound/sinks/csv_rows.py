"""`--format csv`: one finding a row, for a spreadsheet or a database."""

import csv
from collections.abc import Callable
from typing import TextIO

from trailhound.model.events import Envelope
from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.sinks.attack import attack_of
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.escape import csv_cell, cut
from trailhound.sinks.native import outcome_word
from trailhound.sinks.wording import (
    explanation_line,
    group_text,
    places,
    rfc3339,
    source_ip,
    subject,
)

_CELL_LIMIT = 4096
_PLACES_SHOWN = 10

Value = Callable[[Finding, Envelope], str]

COLUMNS: dict[str, tuple[str, Value]] = {
    "time": (
        "Time of the last event, RFC 3339 in UTC; empty where unknown",
        lambda finding, _: rfc3339(finding.time_ns) or "",
    ),
    "start": (
        "Time of the first event",
        lambda finding, _: rfc3339(finding.start_ns) or "",
    ),
    "level": (
        "informational, low, medium, high or critical",
        lambda finding, _: finding.rule.level.label,
    ),
    "rule_title": ("Title of the rule", lambda finding, _: finding.rule.title),
    "rule_uid": ("Id of the rule", lambda finding, _: finding.rule.uid),
    "rule_dialect": ("Language of the rule", lambda finding, _: finding.rule.dialect),
    "rule_place": (
        "File and line of the rule",
        lambda finding, _: f"{finding.rule.path}:{finding.rule.line}",
    ),
    "attack": (
        "ATT&CK techniques, separated by spaces",
        lambda finding, _: " ".join(attack_of(finding.rule.tags).techniques),
    ),
    "actor": ("Identity the action ran as", lambda finding, _: finding.actor),
    "invoked_by": (
        "Identity behind the actor, where they differ",
        lambda _, envelope: envelope.invoked_by,
    ),
    "action": ("What was done, in the word of the source", lambda _, envelope: envelope.action),
    "target_type": ("Kind of what it was done to", lambda _, envelope: envelope.target_type),
    "target_namespace": (
        "Namespace or account of it",
        lambda _, envelope: envelope.target_namespace,
    ),
    "target_name": ("Name of it", lambda _, envelope: envelope.target_name),
    "outcome": (
        "unknown, success or failure",
        lambda _, envelope: outcome_word(envelope.outcome),
    ),
    "outcome_detail": (
        "Reason or code of the outcome",
        lambda _, envelope: envelope.outcome_detail,
    ),
    "src_ip": ("Address it came from", lambda finding, _: source_ip(finding)),
    "device": (
        "Host, cluster or account that recorded it",
        lambda _, envelope: envelope.device,
    ),
    "request_uid": ("The sender's id of the request", lambda _, envelope: envelope.request_uid),
    "sources": (
        "Log sources of the events, separated by spaces",
        lambda finding, _: " ".join(sorted({event.source for event in finding.events})),
    ),
    "event_count": ("Events the rule saw", lambda finding, _: str(finding.event_count)),
    "group": (
        "What the events of a window have in common",
        lambda finding, _: group_text(finding),
    ),
    "reason": ("Why a window is a finding", lambda finding, _: finding.reason),
    "matched": (
        "Parts of the rule and the values they matched, at most 10",
        lambda finding, _: explanation_line(finding.explanation, limit=10),
    ),
    "evidence": (
        "File and line of the records, at most 10 places",
        lambda finding, _: _evidence(finding),
    ),
    "uid": ("Stable id of the finding", lambda finding, _: finding.uid),
    "finding_status": (
        "new, amended or withdrawn: what became of it since it was last told",
        lambda finding, _: finding.status.value,
    ),
    "revision": ("Counts the tellings of one uid; the last holds", lambda f, _: str(f.revision)),
    "change": ("Why it was amended or withdrawn", lambda finding, _: finding.change),
    "message": ("What the rule says in its own words", lambda finding, _: finding.message),
}
"""Column name → what it holds, and how it is made. All columns but `rule_*`, `level`, `uid` and
those of the window speak of the event that completed the finding. Names and order are fixed; new
columns go to the end. Cells are escaped by `csv_cell` and cut at 4,096 characters."""


class _CsvWriter:
    """RFC 4180 with LF line ends, and a header line."""

    def __init__(self, stream: TextIO, _options: SinkOptions) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, finding: Finding) -> None:
        """Write one row."""
        envelope = subject(finding)
        self._rows.writerow(
            csv_cell(cut(value(finding, envelope), _CELL_LIMIT)) for _, value in COLUMNS.values()
        )

    def close(self, totals: Totals) -> None:
        """Write nothing: totals are not rows."""


def _evidence(finding: Finding) -> str:
    shown, more = places(finding.events, _PLACES_SHOWN)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


SINK = Sink(
    name="csv",
    description="One finding a row in fixed columns, safe to open in a spreadsheet",
    media_type="text/csv; header=present",
    writer=_CsvWriter,
)
