"""`trailhound token`: who may hand records in, and who may look."""

import argparse
from pathlib import Path

from trailhound.cli.console import Commands

_DESCRIPTION = """\
Make a token for a sender or a reader, add it to an access file, and print it, once: the file
holds only its hash. Name the file in the settings of `serve` (access = …).
"""
_EPILOG = """\
examples:
  trailhound token access.toml cluster-a
  trailhound token access.toml prometheus --role read
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "token",
        help="make a token for a sender or a reader",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("file", metavar="FILE", help="access file; made if missing")
    command.add_argument("name", metavar="NAME", help="who it is for, as logs will call them")
    command.add_argument(
        "--role",
        action="append",
        choices=("ingest", "ledger", "read", "admin"),
        help="what it allows (default: ingest); may be given again",
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from trailhound.intake.http.access import add_grant  # noqa: PLC0415 - brings a server along

    print(add_grant(Path(options.file), options.name, tuple(options.role or ("ingest",))))
    return 0
