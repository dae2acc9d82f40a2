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

Column = Callable[[Finding, Envelope], str]

COLUMNS: dict[str, Column] = {
    "time": lambda finding, _: rfc3339(finding.time_ns) or "",
    "start": lambda finding, _: rfc3339(finding.start_ns) or "",
    "level": lambda finding, _: finding.rule.level.label,
    "rule_title": lambda finding, _: finding.rule.title,
    "rule_uid": lambda finding, _: finding.rule.uid,
    "rule_dialect": lambda finding, _: finding.rule.dialect,
    "rule_place": lambda finding, _: f"{finding.rule.path}:{finding.rule.line}",
    "attack": lambda finding, _: " ".join(attack_of(finding.rule.tags).techniques),
    "actor": lambda finding, _: finding.actor,
    "invoked_by": lambda _, envelope: envelope.invoked_by,
    "action": lambda _, envelope: envelope.action,
    "target_type": lambda _, envelope: envelope.target_type,
    "target_namespace": lambda _, envelope: envelope.target_namespace,
    "target_name": lambda _, envelope: envelope.target_name,
    "outcome": lambda _, envelope: outcome_word(envelope.outcome),
    "outcome_detail": lambda _, envelope: envelope.outcome_detail,
    "src_ip": lambda finding, _: source_ip(finding),
    "device": lambda _, envelope: envelope.device,
    "request_uid": lambda _, envelope: envelope.request_uid,
    "sources": lambda finding, _: " ".join(sorted({event.source for event in finding.events})),
    "event_count": lambda finding, _: str(finding.event_count),
    "group": lambda finding, _: group_text(finding),
    "reason": lambda finding, _: finding.reason,
    "matched": lambda finding, _: explanation_line(finding.explanation, limit=10),
    "evidence": lambda finding, _: _evidence(finding),
    "uid": lambda finding, _: finding.uid,
}
"""Column name → its value. Names and order are fixed; new columns go to the end."""


class _CsvWriter:
    """RFC 4180 with LF line ends, and a header line."""

    def __init__(self, stream: TextIO, _options: SinkOptions) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, finding: Finding) -> None:
        """Write one row."""
        envelope = subject(finding)
        self._rows.writerow(
            csv_cell(cut(column(finding, envelope), _CELL_LIMIT)) for column in COLUMNS.values()
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
