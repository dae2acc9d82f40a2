"""Hits of rules that are programs: candidates in, hits out.

The engine runs no code of others. What a rule in Python asks of an event beforehand is a predicate
like any other; what that lets through is asked of the program here, many events at a time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from trailhound.dialects.panther.logs import event_of
from trailhound.engine.matching import Hit
from trailhound.engine.output import Answered, Said, plain
from trailhound.engine.plan import Plan
from trailhound.engine.steps import json_text
from trailhound.model.levels import Level
from trailhound.model.totals import PythonCost, RuleProblem
from trailhound.rules.python import PythonAnswer, PythonError, PythonProgram

if TYPE_CHECKING:
    from trailhound.pipeline.python_rules.workers import PythonWorkers

_ASKED_AT_ONCE = 1_000
_HELD_AT_ONCE = 4_000
_REASONS_KEPT = 3
_TEXT_LIMIT = 1_000
"""As in Panther; longer texts of a program are cut."""
_VALUES_LIMIT = 64
_LEVELS = {
    "INFO": Level.INFORMATIONAL,
    "LOW": Level.LOW,
    "MEDIUM": Level.MEDIUM,
    "HIGH": Level.HIGH,
    "CRITICAL": Level.CRITICAL,
}
_Other = TypeVar("_Other")


class Asking:
    """Asks the programs of a plan. No process is started before there is something to ask."""

    def __init__(self, plan: Plan, programs: Mapping[str, PythonProgram], jobs: int = 1) -> None:
        self._plan = plan
        self._programs = programs
        self._jobs = jobs
        self._workers: PythonWorkers | None = None
        self._failures: dict[tuple[str, str], _Failures] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process."""
        if self._workers is not None:
            self._workers.__exit__(None, None, None)

    def through(self, items: Iterable[Hit | _Other]) -> Iterator[Hit | _Other]:
        """Yield items in their order; a hit that is to be asked only if its program says yes.

        Raises:
            TrailhoundError: No process can be started.
        """
        if not self._plan.asked:
            yield from items
            return
        held: list[Hit | _Other] = []
        waiting = 0
        for item in items:
            held.append(item)
            waiting += isinstance(item, Hit) and item.rule in self._plan.asked
            if waiting >= _ASKED_AT_ONCE or len(held) >= _HELD_AT_ONCE:
                yield from self._asked(held)
                held, waiting = [], 0
        yield from self._asked(held)

    def costs(self) -> tuple[PythonCost, ...]:
        """Return what each program that was asked cost, the dearest first."""
        if self._workers is None:
            return ()
        found = [
            PythonCost(
                rule=rule_id,
                path=self._programs[rule_id].path,
                asked=cost.events,
                matched=cost.matches,
                failed=cost.failed,
                cpu_ns=cost.cost_ns,
            )
            for rule_id, cost in self._workers.costs.items()
        ]
        return tuple(sorted(found, key=lambda cost: (-cost.cpu_ns, cost.rule)))

    def problems(self) -> list[RuleProblem]:
        """Return what went wrong."""
        found = [
            self._problem(rule_id, failures.told(function), failures.line)
            for (rule_id, function), failures in sorted(self._failures.items())
        ]
        if self._workers is None:
            return found
        for rule_id, cost in sorted(self._workers.costs.items()):
            if cost.off:
                reason = f"switched off, and did not judge {cost.unjudged:,} events: {cost.off}"
                found.append(self._problem(rule_id, reason))
        if self._workers.costs and (weakness := self._workers.weakness):
            found.append(self._problem(min(self._workers.costs), weakness))
        return found

    def _problem(self, rule_id: str, reason: str, line: int = 0) -> RuleProblem:
        return RuleProblem(self._programs[rule_id].path, line, reason, rule_id)

    def _asked(self, held: Sequence[Hit | _Other]) -> Iterator[Hit | _Other]:
        waiting = [item for item in held if isinstance(item, Hit) and item.rule in self._plan.asked]
        answers = iter(self._answers(waiting)) if waiting else iter(())
        said_yes: tuple[int, str, object] | None = None
        for item in held:
            if not isinstance(item, Hit) or item.rule not in self._plan.asked:
                yield item
                continue
            answer = next(answers)
            if not answer.matched:
                continue
            # An event may have several documents: it matches once.
            event = item.rule, item.event.source, item.event.origins
            if event != said_yes:
                said_yes = event
                yield self._answered(item, answer)

    def _answers(self, hits: Sequence[Hit]) -> list[PythonAnswer]:
        by_program: dict[str, list[int]] = {}
        for at, hit in enumerate(hits):
            by_program.setdefault(self._plan.asked[hit.rule].program, []).append(at)
        batches = [
            (self._programs[program], [_document(self._plan, hits[at]) for at in places])
            for program, places in by_program.items()
        ]
        found: list[PythonAnswer] = [PythonAnswer()] * len(hits)
        answers = self._started().judge_all(batches)
        for (program, _), places, said in zip(batches, by_program.values(), answers, strict=True):
            for at, answer in zip(places, said, strict=True):
                found[at] = answer
                for error in answer.errors:
                    self._failed(program.rule_id, error, hits[at])
        return found

    def _failed(self, rule_id: str, error: PythonError, hit: Hit) -> None:
        if error.reason.startswith("switched off"):
            return  # told once, with its reason
        key = rule_id, error.function
        failures = self._failures.get(key)
        if failures is None:
            place = str(hit.event.origins[0])
            failures = self._failures[key] = _Failures(place, error.line)
        failures.count += 1
        if len(failures.reasons) < _REASONS_KEPT:
            failures.reasons[plain(error.reason)] += 1

    def _started(self) -> "PythonWorkers":
        if self._workers is None:
            # A run without such rules starts sooner.
            from trailhound.pipeline.python_rules.workers import PythonWorkers  # noqa: PLC0415

            self._workers = PythonWorkers(self._jobs)
        return self._workers

    def _answered(self, hit: Hit, answer: PythonAnswer) -> Hit:
        call = self._plan.asked[hit.rule]
        dedup = answer.dedup or answer.title or call.program
        context = answer.alert_context or {}
        document = {**hit.document, "p_alert_context": context}
        return hit._replace(
            document=document,
            answered=Answered(_said(answer), dedup[:_TEXT_LIMIT], answer.unique or ""),
        )


class _Failures:
    """How often a function of a rule failed, and why at first."""

    def __init__(self, first: str, line: int) -> None:
        self.first = first
        self.line = line
        self.count = 0
        self.reasons: Counter[str] = Counter()

    def told(self, function: str) -> str:
        """Return it in words."""
        times = f"{self.count:,} event" + "s" * (self.count != 1)
        reasons = "; ".join(self.reasons)
        if function == "rule":
            return f"rule() failed on {times}, not judged: {reasons}; first at {self.first}"
        if function:
            return f"{function}() failed on {times}: {reasons}; first at {self.first}"
        return f"its process ended on {times}, not judged: {reasons}; first at {self.first}"


def _document(plan: Plan, hit: Hit) -> dict[str, Any]:
    """Return an event as Panther gives it to a rule."""
    log_type = plan.asked[hit.rule].log_type
    time_ns = hit.event.time_ns
    return {
        **event_of(log_type, hit.document),
        "p_log_type": log_type,
        "p_event_time": _time_text(time_ns),
        "p_row_id": hit.event.uid,
    }


def _time_text(time_ns: int) -> str:
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % 1_000_000_000:09}"


def _said(answer: PythonAnswer) -> Said:
    """Return what a finding says. Texts may quote the log."""
    values = [
        (f"alert_context.{plain(str(key))}", plain(json_text(value)))
        for key, value in list((answer.alert_context or {}).items())[:_VALUES_LIMIT]
    ]
    if answer.destinations:
        values.append(("destinations", plain(", ".join(answer.destinations))))
    described = [
        text
        for text in (answer.description, f"Runbook: {answer.runbook}" if answer.runbook else None)
        if text
    ]
    return Said(
        message=plain(answer.title or "", _TEXT_LIMIT),
        values=tuple(values),
        level=_LEVELS.get(answer.severity or ""),
        description="\n".join(described) if described else None,
        references=(answer.reference,) if answer.reference else None,
    )
