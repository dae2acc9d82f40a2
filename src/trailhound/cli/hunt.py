"""`trailhound hunt`: rules, queries and SQL over the lake."""

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trailhound.cli.console import (
    EXIT_FINDINGS,
    EXIT_NOTHING_READ,
    Commands,
    complain,
    whole_number,
)
from trailhound.cli.lake import add_times, times_of
from trailhound.cli.ruleset import add_rule_options, named_rules
from trailhound.model.errors import TrailhoundError
from trailhound.model.findings import Finding
from trailhound.sinks import SINKS
from trailhound.sinks.contract import SinkOptions
from trailhound.sinks.escape import visible
from trailhound.sinks.rows import (
    EVENT_COLUMNS,
    FORMATS,
    event_document,
    event_row,
    histogram_width,
    write_documents,
    write_histogram,
    write_rows,
)

if TYPE_CHECKING:
    from trailhound.lake.lake import Lake
    from trailhound.pipeline.hunt import Asked

_LIMIT = 50
_DESCRIPTION = """\
Search the events that a lake keeps, in one of three ways: with a query, with rules of any
dialect, or with SQL. docs/hunt.md has the query language and the columns.
"""
_EPILOG = """\
examples:
  trailhound hunt --lake ./lake 'actor:alice action:exec* NOT src_ip:10.0.0.0/8 last:7d'
  trailhound hunt --lake ./lake 'requestObject.spec.hostNetwork:true source:k8s_audit'
  trailhound hunt --lake ./lake --rule "Privileged container created" --since 2026-11-01
  trailhound hunt --lake ./lake --rule my-rules/ --format json
  trailhound hunt --lake ./lake --sql 'SELECT source, count(*) FROM events GROUP BY ALL'

exit codes:
  0  done
  1  done, with a match, under --fail-on-match
  2  the query was not understood, or something it names is missing
  3  done, but the lake is empty
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "hunt",
        help="search kept events with a query, rules or SQL",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("query", nargs="*", metavar="QUERY", help="what to look for")
    command.add_argument("--lake", required=True, metavar="DIR", help="folder of the lake")
    way = command.add_argument_group("other ways to ask")
    way.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="RULE",
        help="rule file or folder, or title or id of a rule that --rules or Trailhound has; "
        "may be given again",
    )
    way.add_argument("--sql", metavar="SELECT", help="one SELECT over the view `events`; read-only")
    add_rule_options(command)
    limits = command.add_argument_group("limits")
    add_times(limits)
    limits.add_argument(
        "--limit",
        type=whole_number(0, 10**9),
        metavar="N",
        help=f"show at most N events of a query ({_LIMIT}); 0: all",
    )
    limits.add_argument(
        "--timeout",
        type=whole_number(0, 10**6),
        metavar="SECONDS",
        help="give up a SQL query after that; 0: never",
    )
    output = command.add_argument_group("output")
    output.add_argument(
        "-f",
        "--format",
        choices=tuple(dict.fromkeys((*FORMATS, *SINKS))),
        default="table",
        help="form of the output (table); for a query and SQL: table, json, ndjson, csv",
    )
    output.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )
    output.add_argument("--count", action="store_true", help="only count what a query matches")
    output.add_argument(
        "--fail-on-match", action="store_true", help="exit with 1 when something matches"
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from trailhound.lake.lake import Lake  # noqa: PLC0415 - loads DuckDB

    text = " ".join(options.query)
    ways = [bool(text), bool(options.rule), options.sql is not None]
    if sum(ways) > 1:
        raise TrailhoundError("a query, --rule and --sql are three ways to ask: choose one")
    if not options.rule and options.format not in FORMATS:
        raise TrailhoundError(f"--format {options.format} is for findings of rules")
    if options.count and (options.rule or options.sql is not None):
        raise TrailhoundError("--count counts what a query matches, not findings or rows")
    if options.limit is not None and (options.rule or options.sql is not None):
        raise TrailhoundError("--limit is for queries: rules show every finding, SQL has LIMIT")
    if options.timeout is not None and options.sql is None:
        raise TrailhoundError("--timeout is for --sql")
    lake = Lake(Path(options.lake))
    if not lake.files():
        complain(f"the lake {options.lake} is empty")
        return EXIT_NOTHING_READ
    if options.sql is not None:
        found = _sql(lake, options)
    elif options.rule:
        found = _rules(lake, options)
    else:
        found = _query(lake, text, options)
    return EXIT_FINDINGS if found and options.fail_on_match else 0


def _sql(lake: "Lake", options: argparse.Namespace) -> int:
    from trailhound.lake.sql_shell import ask  # noqa: PLC0415

    if options.since is not None or options.until is not None:
        raise TrailhoundError("with --sql, say the time in the query: WHERE time >= '2026-11-12'")
    answer = ask(lake, options.sql, seconds=options.timeout or None)
    return write_rows(sys.stdout, options.format, answer.names, answer.rows, _columns())


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _rules(lake: "Lake", options: argparse.Namespace) -> int:
    from trailhound.pipeline.hunt import hunt_rules  # noqa: PLC0415

    loaded = named_rules(options.rule, options)
    writer = SINKS[options.format].writer(sys.stdout, SinkOptions(created_ns=time.time_ns()))
    found = 0

    def deliver(finding: Finding) -> None:
        nonlocal found
        found += 1
        writer.write(finding)

    hunted = hunt_rules(lake, loaded, times_of(options), deliver)
    writer.close(hunted.totals)
    for rule, what in hunted.unsupported:
        complain(f"{rule.info.title}: SQL leaves a part to the engine: {what.reason}")
    return found


def _query(lake: "Lake", text: str, options: argparse.Namespace) -> int:
    from trailhound.pipeline.absent import absent_fields  # noqa: PLC0415
    from trailhound.pipeline.hunt import ask  # noqa: PLC0415

    if options.limit is None:
        options.limit = _LIMIT
    now = time.time_ns()
    asked = ask(lake, text, times_of(options), now)
    found = _answered(lake, asked, text, now, options)
    if not found:
        for name, alike in absent_fields(lake, asked, now).items():
            hint = f"; there is {', '.join(alike)}" if alike else ""
            complain(f"no event there has a field {name!r}{hint}")
    return found


def _answered(
    lake: "Lake", asked: "Asked", text: str, now: int, options: argparse.Namespace
) -> int:
    from trailhound.pipeline.hunt import answer, histogram  # noqa: PLC0415

    for source, selection in asked.selections.items():
        for what in selection.unsupported:
            complain(f"{source}: SQL leaves a part of the query to the engine: {what.reason}")
    if options.format != "table" and not options.count:
        events = answer(lake, asked, now, limit=options.limit or None)
        if options.format == "csv":
            return write_rows(sys.stdout, "csv", EVENT_COLUMNS, map(event_row, events))
        return write_documents(sys.stdout, options.format, map(event_document, events))
    files = lake.files(list(asked.selections), asked.times.since_ns, asked.times.until_ns)
    first = max(min((f.first_ns for f in files), default=0), asked.times.since_ns or 0)
    last = max((f.last_ns for f in files), default=0)
    last = min(last, asked.times.until_ns) if asked.times.until_ns is not None else last
    width = histogram_width(first, last)
    counts = histogram(lake, asked, now, width)
    while counts:  # what matches may lie in an hour of a year
        first, last = min(counts), max(counts) + width
        if (narrower := histogram_width(first, last)) >= width:
            break
        width = narrower
        there = replace(asked, times=asked.times.within(first, last))
        counts = histogram(lake, there, now, width)
    total = sum(counts.values())
    if options.count:
        if options.format == "table":
            print(total)
        else:
            write_rows(sys.stdout, options.format, ("events",), [(total,)])
        return total
    write_histogram(sys.stdout, counts, width)
    searched = sum(file.events for file in files)
    print(f"{total:,} of {searched:,} events match{f' {visible(text)}' if text else ''}")
    if total:
        print()
        events = answer(lake, asked, now, limit=options.limit or None)
        shown = write_rows(sys.stdout, "table", EVENT_COLUMNS, map(event_row, events), _columns())
        if shown < total:
            print(f"… the first {shown:,}; --limit 0 shows all")
    return total
