"""Every key of Panther's YAML, and what becomes of it here.

From the schemas of panther_analysis_tool (`schemas.py`). A key that is not here is unknown, and
said to be.
"""

from collections.abc import Mapping

from trailhound.dialects.panther.items import Item
from trailhound.rules.ir import Note

RULES = ("rule", "scheduled_rule")
"""Kinds that have matches of their own."""

_TOLD = frozenset(
    (
        *("AnalysisType", "RuleID", "Enabled", "Severity", "Description", "DisplayName"),
        *("Reference", "Runbook", "Tags", "Reports", "Tests", "CreateAlert", "Status", "Detection"),
    )
)
RULE = _TOLD | frozenset(
    (
        *("Filename", "LogTypes", "DedupPeriodMinutes", "Threshold", "InlineFilters"),
        *("DynamicSeverities", "AlertTitle", "AlertContext", "GroupBy", "BaseDetection"),
    )
)
"""Keys of a rule that decide what it matches or says."""
CORRELATION = _TOLD
"""The same for a correlation rule."""

_EFFECTS: Mapping[str, str] = {
    "OutputIds": "not run here, delivery belongs to the outlets of Trailhound",
    "SummaryAttributes": "not needed, a finding carries its events as they are",
    "OnlyUseBaseRiskScore": "not needed, there is no risk score here",
}

NOT_RUN: Mapping[str, str] = {
    "scheduled_rule": "scheduled rules read what a saved query finds in Panther's data lake; "
    "there is none here",
    "saved_query": "saved queries ask Panther's data lake; there is none here",
    "scheduled_query": "scheduled queries ask Panther's data lake; there is none here",
    "lookup_table": "lookup tables are not joined to events; rules that read p_enrichment find "
    "nothing there",
    "policy": "policies check resources of cloud accounts, not logs",
}
"""`AnalysisType` → why it cannot run."""


def notes_of(item: Item, known: frozenset[str]) -> list[Note]:
    """Say what becomes of every key that does not decide."""
    notes = []
    for key in item.content:
        if key in known:
            continue
        effect = _EFFECTS.get(str(key))
        text = effect or "is no key of Panther for this, and has no effect"
        notes.append(Note(f"{key}: {text}", *item.place(str(key)), ignored=effect is None))
    return notes
