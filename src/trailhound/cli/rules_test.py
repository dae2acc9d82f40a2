"""`trailhound rules test`: run the tests that stand in rule files."""

import argparse
import os
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
import orjson

from trailhound.cli.console import EXIT_FINDINGS, EXIT_NOTHING_READ, Commands, complain
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.test_filters import FILTERS, Filter
from trailhound.sinks.escape import cut, visible
from trailhound.sinks.wording import plural

if TYPE_CHECKING:
    from trailhound.pipeline.rule_tests import TestReport, TestResult

_OUTPUT_LIMIT = 300


def add_parser(actions: Commands) -> None:
    """Add the action to `trailhound rules`."""
    command = actions.add_parser(
        "test",
        help="run the tests that stand in rule files",
        description="Run the tests that stand in rule files (Tests of Panther's rules), with their "
        "mocks, and tell what each function returned. Exits with 1 where a test fails or a rule "
        "cannot be used, with 3 where there is no test.",
        allow_abbrev=False,
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="rule file or folder")
    command.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only rules that have one of these values (KEY=VALUE,VALUE), or none of them "
        f"(KEY!=VALUE); KEY is one of {', '.join(FILTERS)}; may be given again, then all must fit",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # Other actions of `rules` start sooner without these.
    from trailhound.pipeline.python_rules.workers import PythonWorkers  # noqa: PLC0415
    from trailhound.pipeline.rule_tests import run_tests  # noqa: PLC0415

    filters = [Filter.read(text) for text in options.filter]
    loaded = load_rules(options.paths, builtin=False, placeholders={}, cache=None)
    with PythonWorkers(jobs=os.cpu_count() or 1) as workers:
        report = run_tests(loaded.ruleset, workers, filters)
        if loaded.ruleset.programs and workers.weakness:
            complain(workers.weakness)
    if options.json:
        print(orjson.dumps(msgspec.to_builtins(report)).decode())
    else:
        _print(report)
    if report.failed or report.errors:
        return EXIT_FINDINGS
    return 0 if report.tests else EXIT_NOTHING_READ


def _print(report: "TestReport") -> None:
    for (rule_id, path), tests in groupby(report.tests, lambda test: (test.rule_id, test.path)):
        print(f"{visible(rule_id)}  {visible(path)}")
        for test in tests:
            _print_test(test)
    for reason, count in Counter(error.reason for error in report.skipped).most_common():
        print(f"skipped: {count:,}: {visible(reason)}")
    for error in report.errors:
        print(f"error: {visible(str(error))}")
    passed = len(report.tests) - report.failed
    print(
        f"{plural(len(report.tests), 'test')}: {passed:,} passed, {report.failed:,} failed; "
        f"{plural(len(report.untested), 'rule')} without tests, {len(report.skipped):,} skipped, "
        f"{plural(len(report.errors), 'error')}"
    )


def _print_test(test: "TestResult") -> None:
    mark = "pass" if test.passed else "FAIL"
    print(f"  {mark}  {visible(test.name)}  (line {test.line})")
    for reason in test.reasons:
        print(f"        {visible(reason)}")
    if test.passed and not test.matched:
        return
    for result in test.functions:
        if result.error:
            place = f", line {result.line}" if result.line else ""
            told = f"{result.error}{place}"
        else:
            output = result.output
            told = output if isinstance(output, str) else orjson.dumps(output).decode()
        name = result.function or "(program)"
        print(f"        {name:13}  {visible(cut(told, _OUTPUT_LIMIT))}")
