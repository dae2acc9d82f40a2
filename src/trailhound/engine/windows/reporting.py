"""Outcomes to findings."""

from collections.abc import Callable

from trailhound.engine.output import Said
from trailhound.engine.plan import Plan
from trailhound.engine.windows.contract import Outcome
from trailhound.engine.windows.groups import Group
from trailhound.model.events import Event
from trailhound.model.findings import Finding, Status, finding_uid

Kept = Callable[[int], Event | None]
"""From `Feed.at` to the event that is kept there; None where it is kept no longer."""


def finding(
    plan: Plan,
    group: Group,
    outcome: Outcome,
    kept: Kept,
    status: Status = Status.NEW,
    revision: int = 0,
    change: str = "",
) -> Finding:
    """Return the finding of an outcome."""
    window, key = group
    rule = plan.rules[window]
    assert rule.window is not None  # noqa: S101 - outcomes are those of windows
    said = outcome.said or Said()
    return Finding(
        uid=finding_uid(rule.info.uid, (repr(key), outcome.identity)),
        rule=said.of(rule.info),
        time_ns=outcome.end_ns,
        start_ns=outcome.start_ns,
        events=tuple(e for at in outcome.evidence if (e := kept(at)) is not None),
        event_count=outcome.count,
        group=tuple(
            (field.name, value if value is not None else "")
            for field, value in zip(rule.window.group_by, key, strict=False)
        ),
        reason=outcome.reason,
        status=status,
        revision=revision,
        change=change,
        message=said.message,
        values=said.values,
    )
