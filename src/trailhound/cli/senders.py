"""`trailhound senders`: who sends to `serve`, how often they are heard, and what is amiss."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from trailhound.cli.console import Commands
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import duration, plural, rfc3339

_MINUTE_NS = 60 * 10**9
_DESCRIPTION = """\
List the senders that `trailhound serve` watches: when each was last heard, how often it usually is
at this hour of the week, its delay, and what is amiss with it.
"""
_EPILOG = """\
examples:
  trailhound senders --state /var/lib/trailhound
  trailhound senders --state ./state --json | jq '.[] | select(.amiss != [])'
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "senders",
        help="list who sends to serve, and who fell silent",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--state", metavar="DIR", required=True, help="the folder of serve")
    command.add_argument("--kinds", action="store_true", help="kinds of events as well")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    rows = list(_rows(Path(options.state), kinds=options.kinds))
    if options.json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return 0
    if not rows:
        print("nobody has been heard yet")
    now_ns = time.time_ns()
    for row in rows:
        who = " ".join(visible(row[name]) for name in ("source", "sender", "kind") if row[name])
        print(f"{who}: {', '.join(row['amiss']) or 'well'}")
        ago = duration(now_ns - row["last_heard_ns"])
        heard = row["last_heard"].replace("T", " ").replace("Z", " UTC")
        print(f"    last heard {ago} ago, {heard}; usually {row['usually']}")
        active = duration(row["active_minutes"] * _MINUTE_NS)
        line = f"    {plural(row['events'], 'event')} in {active} of activity"
        if delay_s := row["delay_s"]:
            line += f", {duration(abs(delay_s) * 10**9)} {'late' if delay_s > 0 else 'early'}"
        for name, what in (
            ("repeats", "repeats"),
            ("events_missing", "missing"),
            ("requests_unended", "requests without an end"),
        ):
            if row[name]:
                line += f", {row[name]:,} {what}"
        print(line)
        if row["not_watched"]:
            print(f"    not watched by numbers: {row['not_watched']}")
    return 0


def _rows(state: Path, *, kinds: bool) -> Iterator[dict[str, Any]]:
    # A server's modules take longer to load than the command line itself.
    from trailhound.engine.watch.rhythm import usual  # noqa: PLC0415
    from trailhound.pipeline.serve.watcher import FILE, load_watch  # noqa: PLC0415

    minute, scopes = load_watch(state / FILE)
    known = dict(scopes)
    for (source, sender, kind), scope in sorted(known.items(), key=lambda pair: pair[0]):
        if not sender or (kind and not kinds):
            continue
        numbers, stages, delay = scope.serials, scope.stages, scope.delay
        amiss = sorted(scope.open)
        if kind:
            parent = known.get((source, sender, ""))
            episode = parent.open.get("kinds") if parent is not None else None
            amiss = ["missing"] if episode is not None and kind in episode.names else []
        yield {
            "source": source,
            "sender": sender,
            "kind": kind,
            "amiss": amiss,
            "last_heard": rfc3339(scope.last_ns // 10**9 * 10**9),
            "last_heard_ns": scope.last_ns,
            "last_event": rfc3339(scope.event_ns),
            "usually": usual(scope.rhythm, minute),
            "watched_minutes": scope.rhythm.age_min(minute),
            "active_minutes": scope.rhythm.active_min,
            "events": scope.events,
            "repeats": scope.repeats,
            "delay_s": delay.least_s if delay is not None else 0,
            "events_missing": numbers.missing if numbers is not None else 0,
            "requests_unended": stages.unended if stages is not None else 0,
            "not_watched": (numbers and numbers.unfit) or (stages and stages.unfit) or "",
        }
