"""What `seal` and `verify` print."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from trailhound.ledger.audit import Audit, Problem
from trailhound.ledger.checkpoints import Head
from trailhound.ledger.cloudtrail_digests import DigestReport
from trailhound.ledger.release import Release
from trailhound.model.records import ParseFailure
from trailhound.pipeline.sealed_findings import CheckedFinding
from trailhound.pipeline.sealing import CompareReport, LogDifference, SealReport
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import plural, rfc3339

_RANGES_SHOWN = 3


def seal_report(report: SealReport, head: Head, sent: Mapping[str, int], *, as_json: bool) -> str:
    """Say what was sealed."""
    if as_json:
        return dumped(
            {
                "sealed": report.sealed,
                "already_sealed": report.already,
                "values_redacted": report.redacted,
                "logs": report.logs,
                "head": head_document(head),
                "forwarded_files": dict(sent),
                "differences": [_difference_document(one) for one in report.differences],
                "failures": [_failure(one) for one in report.failures],
            }
        )
    lines = [
        (
            f"sealed {plural(report.sealed, 'new record')} of {plural(report.logs, 'log')}; "
            f"{report.already:,} were sealed before and are unchanged"
        ),
        f"{report.redacted:,} secret values replaced by keyed hashes",
        f"signed a head over {plural(head.size, 'record')}",
    ]
    lines += [
        f"forwarded {plural(count, 'file')} to {visible(place)}" for place, count in sent.items()
    ]
    lines += _failure_lines(report.failures)
    lines += _difference_lines(report.differences)
    return "\n".join(lines)


def audit_report(
    audit: Audit,
    compared: CompareReport | None,
    extra: Mapping[str, Any],
    *,
    as_json: bool,
) -> str:
    """Say what was found in a ledger, and in the logs held against it."""
    if as_json:
        document: dict[str, Any] = {
            "verified": not audit.problem_count and not (compared and compared.differences),
            "ledger": audit.name,
            "head": head_document(audit.head) if audit.head else None,
            "heads": len(audit.heads),
            "entries": audit.size,
            "records_checked": audit.records_checked,
            "let_go": [_release_document(one) for one in audit.released],
            "problem_count": audit.problem_count,
            "problems": [_problem_document(one) for one in audit.problems],
            **extra,
        }
        if compared is not None:
            document["logs"] = {
                "compared": compared.compared,
                "not_sealed": compared.unsealed,
                "compared_without_redacted_values": compared.without_values,
                "differences": [_difference_document(one) for one in compared.differences],
                "failures": [_failure(one) for one in compared.failures],
            }
        return dumped(document)
    lines = []
    if audit.head is not None:
        when = f", signed {audit.head.signed_at}" if audit.head.signed_at else ""
        lines.append(f"{visible(audit.name)}: {plural(audit.size, 'record')}{when}")
    lines.append(
        f"signed heads: {len(audit.heads):,}; each extends the one before"
        if not audit.problem_count
        else f"signed heads: {len(audit.heads):,}"
    )
    if audit.records_checked:
        lines.append(f"{audit.records_checked:,} kept records held against their entries")
    lines += map(_release_line, audit.released)
    lines += problem_lines(audit.problems, audit.problem_count)
    if compared is not None:
        lines.append(f"{plural(compared.compared, 'record')} of logs compared with what was sealed")
        if compared.without_values:
            lines.append(
                f"  {compared.without_values:,} of them but for redacted values "
                "(--redaction-key-file compares those too)"
            )
        if compared.unsealed:
            lines.append(f"  {compared.unsealed:,} more are not sealed, so nothing proves them")
        lines += _failure_lines(compared.failures)
        lines += _difference_lines(compared.differences)
    return "\n".join(lines)


def _release_line(release: Release) -> str:
    kept = ", ".join(f"{plural(d, 'day')} ({visible(n)})" for n, d in release.keep_days.items())
    return (
        f"let go by retention {rfc3339(release.released_ns)}: records of "
        f"{_ranges(release.ranges)}, kept for {kept}; their hashes are there"
    )


def _release_document(release: Release) -> dict[str, Any]:
    return {
        "time": rfc3339(release.released_ns),
        "keep_days": {visible(name): days for name, days in release.keep_days.items()},
        "entries": [{"first": first, "last": last} for first, last in release.ranges],
    }


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    shown = ", ".join(f"{first:,} to {last:,}" for first, last in ranges[:_RANGES_SHOWN])
    more = len(ranges) - _RANGES_SHOWN
    return f"entries {shown}" + (f" and {more:,} more ranges" if more > 0 else "")


def digest_report(report: DigestReport, *, as_json: bool) -> str:
    """Say what was found in the digests of CloudTrail."""
    if as_json:
        return dumped(
            {
                "verified": not report.problems,
                "digests_valid": report.digests_valid,
                "logs_valid": report.logs_valid,
                "covered": [
                    {"series": name, "start": start, "end": end}
                    for name, start, end in report.covered
                ],
                "problems": [_problem_document(one) for one in report.problems],
                "notes": report.notes,
            }
        )
    lines = [
        f"{report.digests_valid:,} digest files with the right signature",
        f"{report.logs_valid:,} log files with the right hash",
    ]
    lines += [f"  {start} to {end}  {visible(name)}" for name, start, end in report.covered]
    lines += problem_lines(report.problems, len(report.problems))
    lines += [f"note: {visible(note)}" for note in report.notes]
    return "\n".join(lines)


def findings_report(results: Sequence[tuple[str, CheckedFinding]], *, as_json: bool) -> str:
    """Say what is proven of findings, each with the file it stands in."""
    failed = [(path, one) for path, one in results if one.reason]
    if as_json:
        return dumped(
            {
                "verified": not failed,
                "findings": [
                    {
                        "path": visible(path),
                        "line": one.line,
                        "uid": visible(one.uid),
                        "rule": visible(one.title),
                        "holds": not one.reason,
                        "reason": visible(one.reason) or None,
                        "records": one.records,
                        "events": one.events,
                        "events_read_again": one.read_again,
                        "summary_read_again": one.summed_again,
                        "size": one.size,
                        "signed": one.signed or None,
                    }
                    for path, one in results
                ],
            }
        )
    nameless: dict[tuple[str, str], list[int]] = {}
    lines = []
    for path, one in failed:
        if one.uid:
            place = f"{visible(path)}:{one.line}: {visible(one.title)}"
            lines.append(f"{place}: DOES NOT HOLD: {visible(one.reason)}")
        else:
            nameless.setdefault((path, one.reason), []).append(one.line)
    for (path, reason), places in nameless.items():
        more = f" (and {plural(len(places) - 1, 'line')} more)" if len(places) > 1 else ""
        place = f"{visible(path)}:{places[0]}{more}: no finding"
        lines.append(f"{place}: DOES NOT HOLD: {visible(reason)}")
    held = [one for _, one in results if not one.reason]
    records, events = sum(one.records for one in held), sum(one.events for one in held)
    read = sum(one.read_again for one in held)
    lines.append(
        f"{len(held):,} of {len(results):,} findings hold: {records:,} records behind them are "
        f"sealed; {read:,} of {events:,} events were read again from the records they carry"
    )
    untold = sum(bool(one.events) and not one.summed_again for one in held)
    if untold:
        lines.append(
            f"  of {untold:,} of them, who, what, where and when were not compared: not all of "
            "their records are carried; --ledger names where they are"
        )
    empty = sum(not one.events for one in held)
    if empty:
        lines.append(f"  {empty:,} of them name no event, so there is nothing to prove")
    lines.append("NOT VERIFIED" if failed else "verified")
    return "\n".join(lines)


def problem_lines(problems: Iterable[Problem], count: int) -> list[str]:
    """One line for each problem, and how many there are."""
    lines = [f"{p.what.upper()} {visible(p.where)}: {visible(p.detail)}" for p in problems]
    if len(lines) < count:
        lines.append(f"and {count - len(lines):,} more")
    return lines


def head_document(head: Head) -> dict[str, Any]:
    """A head for JSON."""
    return {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "signed": head.signed_at or None,
    }


def dumped(document: Mapping[str, Any]) -> str:
    """JSON for people and programs."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode()


def _problem_document(problem: Problem) -> dict[str, Any]:
    return {
        "what": problem.what,
        "where": visible(problem.where),
        "detail": visible(problem.detail),
        "index": problem.index,
    }


def _difference_document(one: LogDifference) -> dict[str, Any]:
    return {
        "what": one.change.value,
        "path": visible(one.path),
        "place": one.place,
        "records": one.count,
        "index": one.index,
        "detail": visible(one.detail),
    }


def _difference_lines(differences: Iterable[LogDifference]) -> list[str]:
    lines = []
    for one in differences:
        count = f" ({one.count:,} records)" if one.count > 1 else ""
        index = "" if one.index is None else f", sealed as entry {one.index}"
        detail = f": {visible(one.detail)}" if one.detail else ""
        place = f"{visible(one.path)}:{one.place}"
        lines.append(f"{one.change.value.upper()} {place}{count}{index}{detail}")
    return lines


def _failure(failure: ParseFailure) -> dict[str, Any]:
    return {
        "where": visible(str(failure.origin)),
        "reason": failure.reason,
        "detail": visible(failure.detail),
    }


def _failure_lines(failures: list[ParseFailure]) -> list[str]:
    return [f"note: {visible(str(f.origin))}: {f.reason}: {visible(f.detail)}" for f in failures]
