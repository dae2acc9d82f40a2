"""The end of a report for people: what was read, what was not, and what could not run."""

from collections import Counter
from collections.abc import Iterable, Iterator

from trailhound.model.totals import RuleProblem, Totals
from trailhound.sinks.escape import cut
from trailhound.sinks.wording import plural, size

_PROBLEMS_SHOWN = 10
_DETAIL_LIMIT = 200
_DEAREST_SHOWN = 3

Line = tuple[int, str]
"""Depth and text, not escaped: it may quote the log."""


def totals_lines(totals: Totals) -> list[tuple[str, list[Line]]]:
    """Return headings with their lines: what was read, and the rules."""
    return [("Read", list(_read(totals))), ("Rules", list(_rules(totals)))]


def _read(totals: Totals) -> Iterator[Line]:
    amount = (
        f"{plural(totals.files_read, 'file')}, {plural(totals.records_read, 'record')}, "
        f"{size(totals.bytes_read)}"
    )
    yield 0, amount if totals.elapsed_s is None else f"{amount} in {totals.elapsed_s:.1f} s"
    if totals.events:
        ordered = sorted(totals.events.items(), key=lambda entry: (-entry[1], entry[0]))
        yield 0, "events: " + ", ".join(f"{count:,} {source}" for source, count in ordered)
    else:
        yield 0, "no events of a known source"
    if totals.records_lost:
        yield 0, f"{plural(totals.records_lost, 'record')} could not be read:"
        yield from _failures(totals, lost=True)
    if totals.records_kept:
        yield 0, f"{plural(totals.records_kept, 'record')} read with something odd:"
        yield from _failures(totals, lost=False)
    if totals.records_read and not (totals.records_lost or totals.records_kept):
        yield 0, "every record could be read"


def _failures(totals: Totals, *, lost: bool) -> Iterator[Line]:
    for failure in sorted(totals.failures, key=lambda one: (-one.count, one.reason)):
        count = failure.lost if lost else failure.kept
        if not count:
            continue
        yield 1, f"{count:,} × {failure.reason}"
        examples = [example for example in failure.examples if example.lost == lost]
        places: dict[str, list[str]] = {}
        for example in examples:
            places.setdefault(cut(example.detail, _DETAIL_LIMIT), []).append(str(example.origin))
        for detail, shown in places.items():
            yield 2, f"{', '.join(shown)}: {detail}"
        if 0 < len(examples) < count:
            yield 2, f"and {count - len(examples):,} more"


def _rules(totals: Totals) -> Iterator[Line]:
    dialects = ", ".join(
        f"{count:,} {dialect}" for dialect, count in sorted(totals.rules_by_dialect.items())
    )
    loaded = f"{totals.rules_loaded:,} loaded" + (f" ({dialects})" if dialects else "")
    yield 0, f"{loaded}, {totals.rules_ran:,} ran on what was read"
    yield from _python(totals)
    yield from _problems("could not be used, or not in full", totals.rule_problems)
    yield from _problems("can never match here", totals.rules_blind)
    yield from _problems("had too much for memory and kept the rest on disk", totals.rules_spilling)


def _python(totals: Totals) -> Iterator[Line]:
    if not totals.python:
        return
    asked = sum(cost.asked for cost in totals.python)
    matched = sum(cost.matched for cost in totals.python)
    amount = (
        f"{plural(len(totals.python), 'rule')} in Python: asked {asked:,} times, yes {matched:,}"
    )
    if totals.elapsed_s is None:
        yield 0, amount
        return
    seconds = sum(cost.cpu_ns for cost in totals.python) / 1e9
    yield 0, f"{amount}, {seconds:.3f} s of processor time, most of it:"
    for cost in totals.python[:_DEAREST_SHOWN]:
        yield 1, f"{cost.cpu_ns / 1e9:.3f} s, {cost.asked:,} asked: {cost.rule}"


def _problems(what: str, problems: tuple[RuleProblem, ...]) -> Iterator[Line]:
    if not problems:
        return
    yield 0, f"{len(problems):,} {what}:"
    for problem in problems[:_PROBLEMS_SHOWN]:
        yield 1, cut(_problem(problem), 4 * _DETAIL_LIMIT)
    rest = problems[_PROBLEMS_SHOWN:]
    if rest:
        yield 1, f"and {len(rest):,} more: {_most_common(problem.reason for problem in rest)}"


def _problem(problem: RuleProblem) -> str:
    return f"{problem} ({problem.rule})" if problem.rule else str(problem)


def _most_common(reasons: Iterable[str]) -> str:
    counted = Counter(reasons)
    shown = "; ".join(
        f"{count:,} × {cut(reason, _DETAIL_LIMIT)}" for reason, count in counted.most_common(3)
    )
    return f"{shown}; and other reasons" if len(counted) > 3 else shown
