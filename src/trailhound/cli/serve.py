"""`trailhound serve`: take in what is sent, judge it, keep it."""

import argparse
import asyncio
from pathlib import Path

from trailhound.cli.console import Commands
from trailhound.model.errors import TrailhoundError

_DESCRIPTION = """\
Receive audit logs as they are sent, acknowledge what is on disk, run rules over it, and write
findings as they are made. Ends at SIGTERM or Ctrl-C; at SIGHUP, reads rules, the access file and
certificates anew.
"""
_EPILOG = """\
examples:
  trailhound serve --state ./state
  trailhound serve --config /etc/trailhound.toml
  trailhound setup kubernetes --url https://trailhound.example:9610
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "serve",
        help="receive logs, run rules as they come",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--config", metavar="FILE", help="settings file (TOML)")
    command.add_argument("--state", metavar="DIR", help="folder for all that is kept")
    command.add_argument(
        "--listen", metavar="HOST:PORT", help="address of the HTTP intake (default 127.0.0.1:9610)"
    )
    command.add_argument(
        "--log-format",
        choices=("text", "json"),
        help="what is written to standard error: lines, or an object a line (default text)",
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from msgspec.structs import replace  # noqa: PLC0415 - `scan` need not wait for a server

    from trailhound.pipeline.serve.logs import set_up  # noqa: PLC0415
    from trailhound.pipeline.serve.service import Service  # noqa: PLC0415
    from trailhound.pipeline.serve.settings import Settings, load_settings  # noqa: PLC0415

    if not options.config and not options.state:
        raise TrailhoundError("name a settings file (--config) or at least a folder (--state)")
    settings = load_settings(Path(options.config)) if options.config else Settings()
    if options.state:
        settings = replace(settings, state=options.state)
    if options.listen:
        settings = replace(settings, http=replace(settings.http, listen=options.listen))
    if options.log_format:
        settings = replace(settings, log_format=options.log_format)
    set_up(settings.log_format, "serve")
    asyncio.run(Service(settings).run())
    return 0
