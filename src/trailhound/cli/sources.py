"""`trailhound sources`: which log formats are understood, and their fields."""

import argparse

import orjson

from trailhound.cli.console import Commands
from trailhound.model.errors import TrailhoundError
from trailhound.sources import all_sources


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "sources",
        help="list log formats and their fields",
        description="List the log formats that are recognised; with a name, the fields of one.",
        allow_abbrev=False,
    )
    command.add_argument("name", nargs="?", metavar="SOURCE", help="show the fields of this one")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    chosen = [source for source in all_sources() if options.name in (None, source.name)]
    if not chosen:
        names = ", ".join(source.name for source in all_sources())
        raise TrailhoundError(f"no source {options.name!r}; there are {names}")
    if options.json:
        listing = [
            {
                "name": source.name,
                "title": source.title,
                "routes": [
                    {"logsource": str(route.logsource), "view": route.view}
                    for route in source.routes
                ],
                "fields": [
                    {"name": f.name, "view": f.view, "description": f.description}
                    for f in source.fields
                ],
            }
            for source in chosen
        ]
        print(orjson.dumps(listing, option=orjson.OPT_INDENT_2).decode())
        return 0
    for source in chosen:
        print(f"{source.name}  {source.title}")
        for route in source.routes:
            print(f"    rules with {route.logsource} read view {route.view}")
        if options.name:
            for field in source.fields:
                view = f" [{field.view}]" if field.view else ""
                print(f"    {field.name}{view}  {field.description}")
    return 0
