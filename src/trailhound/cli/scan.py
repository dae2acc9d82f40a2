"""`trailhound scan`: logs in, findings out."""

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from trailhound.cli.console import (
    EXIT_FINDINGS,
    EXIT_NOTHING_READ,
    Commands,
    complain,
    progress_bar,
    whole_number,
)
from trailhound.cli.ruleset import (
    add_rule_options,
    add_strict_option,
    loaded_rules,
    refuse_shortcomings,
)
from trailhound.intake.files import find_inputs
from trailhound.model.errors import TrailhoundError
from trailhound.model.findings import Finding
from trailhound.model.levels import Level
from trailhound.pipeline.scan import Scan, run_scan
from trailhound.sinks import SINKS
from trailhound.sinks.contract import SinkOptions

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_AGGREGATING = ("table", "markdown")
_WORTH_A_WORKER_BYTES = 24 * 1024 * 1024
_BUFFER_BYTES = 128 * 1024

_DESCRIPTION = """\
Read audit logs as they lie on disk, recognise each record's format, run rules, and print
findings.

Formats: Kubernetes audit (also as EKS, GKE, AKS, CloudWatch and Fluent Bit wrap it),
CloudTrail, Google Cloud, Azure and Entra ID, Okta, GitHub, Google Workspace, Linux auditd,
sshd/sudo/PAM and other syslog, journald JSON, Falco.
Files may be compressed (gzip, zstd, bzip2, xz) and of any size; formats may be mixed.
"""
_EPILOG = """\
examples:
  trailhound scan /var/log/audit /var/log/auth.log
  trailhound scan 'AWSLogs/**/*.json.gz' --level medium --format markdown > report.md
  journalctl -o json | trailhound scan - --fail-on high
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "scan",
        help="read logs, run rules, print findings",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="file, folder or pattern; - reads standard input",
    )
    add_rule_options(command)
    add_strict_option(command, "scan nothing and exit with 2")
    output = command.add_argument_group("output")
    output.add_argument(
        "-f", "--format", choices=tuple(SINKS), default="table", help="form of the output (table)"
    )
    output.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )
    output.add_argument(
        "-o", "--output", metavar="FILE", help="write there, not to standard output"
    )
    output.add_argument(
        "--level",
        type=_level,
        default=Level.INFORMATIONAL,
        metavar="LEVEL",
        help="leave out findings below informational, low, medium, high or critical",
    )
    output.add_argument(
        "--colour",
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: only on a terminal, and not where NO_COLOR is set",
    )
    output.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    running = command.add_argument_group("running")
    running.add_argument(
        "--fail-on",
        type=_level,
        metavar="LEVEL",
        help="exit with 1 when there is a finding of that level or above",
    )
    running.add_argument(
        "-j",
        "--jobs",
        type=whole_number(0, 256),
        default=0,
        metavar="N",
        help="worker processes; 0 (the default) uses all cores when the logs are worth it",
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # Neither rules nor documents hold cycles: to look for them in what 500 rules are compiled to
    # takes 150 ms, and finds none.
    gc.set_threshold(100_000, 10, 10)
    files = find_inputs(options.paths)
    rules = loaded_rules(options)
    if options.strict:
        refuse_shortcomings(rules)
    size = sum(file.size_bytes for file in files)
    jobs = options.jobs or (os.cpu_count() or 1 if size >= _WORTH_A_WORKER_BYTES else 1)
    scan = Scan(files, rules, jobs=jobs, explain_all=options.format not in _AGGREGATING)
    worst = Level.INFORMATIONAL
    found = False
    gc.freeze()
    with _opened(options.output) as stream:
        colour = {"auto": None, "always": True, "never": False}[options.colour]
        writer = SINKS[options.format].writer(
            stream, SinkOptions(colour=colour, created_ns=time.time_ns())
        )

        def deliver(finding: Finding) -> None:
            nonlocal worst, found
            found = True
            worst = max(worst, finding.rule.level)
            if finding.rule.level >= options.level:
                writer.write(finding)

        with progress_bar("scanning", files, wanted=not options.quiet) as progress:
            totals = run_scan(scan, deliver, progress)
        writer.close(totals)
    if not sum(totals.events.values()):
        complain("not one event could be read; see the totals for why")
        return EXIT_NOTHING_READ
    failed = found and options.fail_on is not None and worst >= options.fail_on
    return EXIT_FINDINGS if failed else 0


@contextmanager
def _opened(path: str | None) -> Iterator[TextIO]:
    if path is None or path == "-":
        yield sys.stdout
        return
    try:
        buffer = BufferedWriter(_Named(path, "w"), _BUFFER_BYTES)
        stream = TextIOWrapper(buffer, encoding="utf-8", newline="")
    except OSError as error:
        raise TrailhoundError(f"cannot write {path}: {error.strerror}") from None
    with stream:
        yield stream


class _Named(FileIO):
    """A file that names itself where it cannot be written: on a full disk."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.name
            raise


def _level(text: str) -> Level:
    try:
        return Level.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
