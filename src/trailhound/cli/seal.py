"""`trailhound seal`: makes later changes of logs provable."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trailhound.cli.console import (
    EXIT_FINDINGS,
    Commands,
    complain,
    progress_bar,
    whole_number,
)
from trailhound.intake.files import find_inputs

if TYPE_CHECKING:
    from trailhound.ledger.forward import Target

_DESCRIPTION = """\
Seal the records of logs on disk in a ledger, and sign its new head. What was sealed before is
compared and not sealed again, so this can run every minute. Secrets are replaced by keyed
hashes first; the logs themselves are not touched.

Exits with 1 where a log is not what was sealed of it before; nothing more of it is sealed.
"""
_EPILOG = """\
examples:
  trailhound ledger init /var/lib/seals --name audit.example.com
  trailhound seal /var/log/audit --ledger /var/lib/seals
  trailhound seal /var/log/audit --ledger /var/lib/seals --forward s3://seals/host-1
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "seal",
        help="make later changes of logs provable",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="file, folder or pattern")
    command.add_argument(
        "--ledger", required=True, metavar="DIR", help="made by `trailhound ledger init`"
    )
    add_key_options(command)
    command.add_argument(
        "--forward",
        action="append",
        default=[],
        metavar="PLACE",
        help="then send it there: folder, s3://bucket/prefix, git:REMOTE or https://host:9610 "
        "of another Trailhound; may be repeated",
    )
    add_forward_options(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def add_ledger(command: argparse.ArgumentParser, what: str = "the ledger") -> None:
    """Add the argument that names a ledger."""
    command.add_argument("ledger", metavar="DIR", help=what)


def add_key_file(command: argparse.ArgumentParser) -> None:
    """Add the option that says where the private key of a ledger lies."""
    command.add_argument(
        "--key-file", metavar="FILE", help="private key of the ledger (DIR.key beside it)"
    )


def add_key_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say where secret keys lie."""
    add_key_file(command)
    command.add_argument(
        "--redaction-key-file",
        metavar="FILE",
        help="key of the hashes that stand in place of secrets (DIR.redaction-key)",
    )


def add_forward_options(command: argparse.ArgumentParser) -> None:
    """Add the options of places to forward to."""
    command.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token that another Trailhound asks for: one of the role "
        "`ledger`, from `trailhound token` there",
    )
    command.add_argument(
        "--retain-days",
        type=whole_number(1, 36500),
        default=365,
        metavar="N",
        help="days for which S3 lets nobody delete what is sent (365)",
    )


def opened_targets(places: list[str], options: argparse.Namespace) -> "list[Target]":
    """Open the places that a user named."""
    from trailhound.ledger.keys import read_secret  # noqa: PLC0415 - as in `_run`
    from trailhound.ledger.targets import open_target  # noqa: PLC0415

    token = read_secret(Path(options.token_file)) if options.token_file else ""
    return [open_target(one, retain_days=options.retain_days, token=token) for one in places]


def key_path(ledger: str, given: str | None, suffix: str) -> Path:
    """Return where a key lies: where the user says, or beside the ledger."""
    return Path(given) if given else Path(f"{ledger.rstrip('/')}.{suffix}")


def _run(options: argparse.Namespace) -> int:
    # The ledger loads a library of cryptography, which no other command should wait for.
    from trailhound.cli import seal_texts  # noqa: PLC0415
    from trailhound.ledger.forward import forward  # noqa: PLC0415
    from trailhound.ledger.keys import read_redactor, read_signer  # noqa: PLC0415
    from trailhound.ledger.log import Ledger, read_settings  # noqa: PLC0415
    from trailhound.pipeline.sealing import seal_logs  # noqa: PLC0415

    files = find_inputs(options.paths)
    folder = Path(options.ledger)
    read_settings(folder)
    signer = read_signer(key_path(options.ledger, options.key_file, "key"))
    redactor = read_redactor(key_path(options.ledger, options.redaction_key_file, "redaction-key"))
    targets = opened_targets(options.forward, options)
    with Ledger(folder, signer) as ledger:
        if ledger.torn_bytes:
            complain(f"{folder}: cut off {ledger.torn_bytes} bytes that a crash left unfinished")
        if ledger.size > ledger.head.size:
            ledger.sign_head(time.time_ns())
        with progress_bar("sealing", files, wanted=not options.quiet) as progress:
            report = seal_logs(files, ledger, redactor, time.time_ns, progress)
        head = ledger.sign_head(time.time_ns())
    sent = {place: forward(folder, t) for place, t in zip(options.forward, targets, strict=True)}
    print(seal_texts.seal_report(report, head, sent, as_json=options.json))
    return EXIT_FINDINGS if report.differences else 0
