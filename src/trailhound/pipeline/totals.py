"""What a run was over, and which rules did not fully take part: for the end of a report."""

from collections.abc import Iterable

from trailhound.engine.plan import Plan
from trailhound.engine.tests import GIVE_UPS_LIMIT
from trailhound.model.totals import RuleProblem, Totals
from trailhound.pipeline.asking import Asking
from trailhound.pipeline.rulebooks import LoadedRules
from trailhound.pipeline.tally import Tally
from trailhound.sinks.wording import plural

_SPILLED = "a group of it held more events than stay in memory; what it found is exact all the same"


def totals_of(
    plan: Plan,
    rules: LoadedRules,
    tally: Tally,
    spilled: Iterable[int],
    asking: Asking,
    elapsed_s: float,
) -> Totals:
    """Return the totals of a scan or a hunt.

    Args:
        plan: of its rules.
        rules: as they were loaded.
        tally: what was met; a rule ran if a view that it reads had events.
        spilled: indices of rules whose windows did not stay in memory.
        asking: the programs that were asked.
        elapsed_s: how long it took, seconds.
    """
    problems = [
        RuleProblem(error.path, error.line, error.reason, error.rule)
        for error in (*rules.ruleset.errors, *plan.errors)
    ]
    for index, count in sorted(tally.undecided.items()):
        reason = (
            f"its regular expression took too long on {plural(count, 'event')}, which it did not "
            f"judge (after {GIVE_UPS_LIMIT} it is not tried again); first at "
            f"{tally.undecided_at[index]}"
        )
        problems.append(_problem(plan, index, reason))
    problems.extend(asking.problems())
    ran = {index for key, view in plan.views.items() if tally.views[key] for index in view.indices}
    return Totals(
        events=dict(tally.events),
        files_read=tally.files,
        records_read=tally.records,
        bytes_read=tally.size_bytes,
        failures=tally.failures(),
        rules_loaded=len(plan.rules),
        rules_by_dialect=rules.by_dialect,
        rules_ran=len(ran),
        rule_problems=tuple(problems),
        rules_blind=tuple(
            _problem(plan, index, f"no source here serves {plan.rules[index].logsource}")
            for index in plan.homeless
        ),
        rules_spilling=tuple(_problem(plan, index, _SPILLED) for index in sorted(spilled)),
        python=asking.costs(),
        findings=dict(tally.levels),
        first_ns=tally.first_ns,
        last_ns=tally.last_ns,
        elapsed_s=elapsed_s,
    )


def _problem(plan: Plan, index: int, reason: str) -> RuleProblem:
    info = plan.rules[index].info
    return RuleProblem(info.path, info.line, reason, info.title)
