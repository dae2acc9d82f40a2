"""`trailhound lake`: keep events, look after what is kept."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trailhound.cli.console import EXIT_NOTHING_READ, Commands, complain, progress_bar
from trailhound.model.errors import TrailhoundError
from trailhound.sinks.encode import json_text
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import plural

if TYPE_CHECKING:
    from trailhound.lake.lake import Times

_NDJSON = (".ndjson", ".jsonl")

_DESCRIPTION = """\
Keep events in a lake: a folder of Parquet files by source and day, with who did what to what in
typed columns, and each record as it was written. Hunt in it with `trailhound hunt`.
"""
_EPILOG = """\
examples:
  trailhound lake ingest /var/log AWSLogs/ --lake ./lake
  trailhound lake info --lake ./lake
  trailhound lake retain --lake ./lake --keep k8s_audit=90 --keep '*=30'
  trailhound lake hold --lake ./lake case-17 --source cloudtrail --since 2026-11-12 --reason "..."
  trailhound lake export --lake ./lake --to evidence.parquet --since 2026-11-12
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "lake",
        help="keep events in Parquet files, to hunt in",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        action.add_argument("--lake", required=True, metavar="DIR", help="folder of the lake")
        return action

    ingest = add("ingest", "store the events of logs; run again, nothing is stored twice")
    ingest.add_argument(
        "paths", nargs="+", metavar="PATH", help="file, folder or pattern; -: stdin"
    )
    ingest.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    _add_json(ingest)
    ingest.set_defaults(run=_ingest)

    info = add("info", "show what is kept, for how long, and what is held")
    _add_json(info)
    info.set_defaults(run=_info)

    compact = add("compact", "merge small files into large ones, sorted by time")
    _add_json(compact)
    compact.set_defaults(run=_compact)

    retain = add("retain", "delete events that are older than they are kept, but for those held")
    retain.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="SOURCE=DAYS",
        help="keep a source for so many days from now on; * for every other source, "
        "DAYS may be `ever`; may be given again",
    )
    _add_json(retain)
    retain.set_defaults(run=_retain)

    hold = add("hold", "place a legal hold: nothing it covers is deleted, however old")
    hold.add_argument("name", metavar="NAME", help="name of the hold")
    hold.add_argument("--source", default="", metavar="SOURCE", help="only of this source")
    hold.add_argument(
        "--reason", default="", metavar="TEXT", help="why, for whoever reads it later"
    )
    hold.add_argument("--release", action="store_true", help="release the hold of that name")
    add_times(hold)
    hold.set_defaults(run=_hold)

    export = add("export", "write events to one Parquet file, or as OCSF events in NDJSON")
    export.add_argument(
        "--to",
        required=True,
        metavar="FILE",
        help="FILE.parquet, FILE.ndjson (or .jsonl), or - for NDJSON",
    )
    export.add_argument("--source", metavar="SOURCE", help="only of this source")
    add_times(export)
    export.set_defaults(run=_export)


def add_times(command: argparse._ActionsContainer) -> None:
    """Add `--since` and `--until`."""
    command.add_argument(
        "--since", metavar="TIME", help="from then on: 2026-11-12, 2026-11-12T17:20Z, or 7d ago"
    )
    command.add_argument("--until", metavar="TIME", help="before then")


def times_of(options: argparse.Namespace) -> "Times":
    """Return the span that the options name."""
    from trailhound.lake.lake import Times  # noqa: PLC0415 - loads DuckDB
    from trailhound.lake.query import moment_ns  # noqa: PLC0415

    now = time.time_ns()
    since, until = (
        moment_ns(text, now) if text is not None else None
        for text in (options.since, options.until)
    )
    return Times(since, until)


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def _ingest(options: argparse.Namespace) -> int:
    from trailhound.intake.files import find_inputs  # noqa: PLC0415
    from trailhound.lake.store import Writer  # noqa: PLC0415 - loads DuckDB
    from trailhound.pipeline.ingest import ingest  # noqa: PLC0415

    files = find_inputs(options.paths)
    with (
        Writer(Path(options.lake)) as writer,
        progress_bar("storing", files, wanted=not options.quiet) as progress,
    ):
        done = ingest(writer, files, progress)
    if options.json:
        _print_json(
            {
                "stored": done.stored,
                "repeated": done.repeated,
                "events": dict(done.events),
                "files": done.files,
                "records": done.records,
                "failures": {f.reason: {"lost": f.lost, "kept": f.kept} for f in done.failures},
            }
        )
    else:
        sources = ", ".join(f"{name} {count:,}" for name, count in sorted(done.events.items()))
        print(f"{plural(done.stored, 'event')} stored, {done.repeated:,} were there before")
        read = f"{plural(done.files, 'file')}, {plural(done.records, 'record')}"
        print(f"{read}: {sources or 'no event'}")
        for failure in done.failures:
            example = failure.examples[0]
            print(
                f"  {failure.count:,} × {failure.reason}, {failure.lost:,} lost; "
                f"first {visible(str(example.origin))}: {visible(example.detail)[:160]}"
            )
    if not done.events:
        complain("not one event could be read")
        return EXIT_NOTHING_READ
    return 0


def _info(options: argparse.Namespace) -> int:
    from trailhound.lake.lake import Lake  # noqa: PLC0415 - loads DuckDB
    from trailhound.sinks.rows import write_rows  # noqa: PLC0415
    from trailhound.sinks.wording import rfc3339  # noqa: PLC0415

    lake = Lake(Path(options.lake))
    kept, retention, holds = lake.sources(), lake.retention(), lake.holds()
    rows = [
        (
            one.source,
            one.events,
            one.files,
            one.size_bytes,
            rfc3339(one.first_ns),
            rfc3339(one.last_ns),
            retention.get(one.source, retention.get("*")),
        )
        for one in kept
    ]
    names = ("source", "events", "files", "bytes", "first", "last", "keep_days")
    held = [
        {
            "name": hold.name,
            "source": hold.source or None,
            "since": rfc3339(hold.first_ns) if hold.first_ns is not None else None,
            "until": rfc3339(hold.last_ns) if hold.last_ns is not None else None,
            "reason": hold.reason,
        }
        for hold in holds
    ]
    if options.json:
        sources = [dict(zip(names, row, strict=True)) for row in rows]
        _print_json({"sources": sources, "retention": retention, "holds": held})
        return 0
    if not rows:
        print("the lake is empty")
    write_rows(sys.stdout, "table", names, rows)
    for hold in held:
        since, until = hold["since"] or "the beginning", hold["until"] or "the end"
        what = visible(hold["source"] or "every source")
        reason = f": {visible(hold['reason'] or '')}" if hold["reason"] else ""
        print(f"hold {visible(hold['name'] or '')}: {what}, {since} to {until}{reason}")
    return 0


def _compact(options: argparse.Namespace) -> int:
    from trailhound.lake.store import Writer  # noqa: PLC0415 - loads DuckDB

    with Writer(_existing(options.lake)) as writer:
        done = writer.compact()
    if options.json:
        _print_json({name: getattr(done, name) for name in done.__struct_fields__})
    else:
        print(
            f"{done.files_before:,} files are {done.files_after:,} now; "
            f"{done.bytes_before:,} bytes are {done.bytes_after:,}"
        )
    return 0


def _retain(options: argparse.Namespace) -> int:
    from trailhound.lake.store import GRACE_S, Writer  # noqa: PLC0415 - loads DuckDB

    policies: list[tuple[str, int | None]] = []
    for text in options.keep:
        source, _, days = text.partition("=")
        if not source or not (days == "ever" or (days.isdecimal() and 0 < int(days) < 100_000)):
            raise TrailhoundError(f"--keep {text!r}: write SOURCE=DAYS, or SOURCE=ever")
        if source != "*":
            _refuse_unknown(source, f"--keep {text!r}")
        policies.append((source, None if days == "ever" else int(days)))
    with Writer(_existing(options.lake)) as writer:
        for source, kept in policies:
            writer.keep(source, kept)
        done = writer.retain()
    if options.json:
        _print_json({name: getattr(done, name) for name in done.__struct_fields__})
    else:
        print(
            f"{plural(done.events_deleted, 'event')} in "
            f"{plural(done.files_deleted, 'file')} deleted, "
            f"{done.files_held:,} that are due are held"
        )
        if done.files_deleted:
            print(
                f"{done.bytes_deleted:,} bytes are freed by the next command that writes, "
                f"{GRACE_S // 60} minutes from now: readers may still be reading"
            )
    return 0


def _hold(options: argparse.Namespace) -> int:
    from trailhound.lake.catalogue import Catalogue, Hold  # noqa: PLC0415

    times = times_of(options)
    if options.source:
        _refuse_unknown(options.source, f"--source {options.source}")
    # Not as the writer: a hold cannot wait until `serve` ends.
    catalogue = Catalogue(_existing(options.lake), writing=True)
    try:
        if options.release:
            catalogue.release(options.name)
        else:
            until = times.until_ns - 1 if times.until_ns is not None else None
            now = time.time_ns()
            catalogue.place(
                Hold(options.name, options.source, times.since_ns, until, options.reason, now)
            )
    finally:
        catalogue.close()
    print(f"hold {visible(options.name)} is {'released' if options.release else 'in place'}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from trailhound.lake.export import ocsf_events, to_parquet  # noqa: PLC0415 - loads DuckDB
    from trailhound.lake.lake import Lake  # noqa: PLC0415
    from trailhound.sinks.rows import write_documents  # noqa: PLC0415

    if options.to != "-" and not options.to.endswith((".parquet", *_NDJSON)):
        raise TrailhoundError(
            f"--to {options.to}: the ending says the form: .parquet, or .ndjson for OCSF events"
        )
    lake, times = Lake(Path(options.lake)), times_of(options)
    if options.source is not None:
        _refuse_unknown(options.source, f"--source {options.source}")
    if not lake.files():
        complain(f"the lake {options.lake} is empty")
        return EXIT_NOTHING_READ
    if options.to.endswith(".parquet"):
        number = to_parquet(lake, Path(options.to), options.source, times)
        print(f"{plural(number, 'event')} written to {visible(options.to)}")
        return 0
    events = ocsf_events(lake, options.source, times)
    if options.to == "-":
        write_documents(sys.stdout, "ndjson", events)
        return 0
    try:
        with open(options.to, "w", encoding="utf-8") as stream:
            number = write_documents(stream, "ndjson", events)
    except OSError as error:
        raise TrailhoundError(f"cannot write {options.to}: {error.strerror}") from None
    print(f"{plural(number, 'event')} written to {visible(options.to)}")
    return 0


def _refuse_unknown(source: str, option: str) -> None:
    from trailhound.sources import SOURCES  # noqa: PLC0415

    if source not in {known.name for known in SOURCES}:
        raise TrailhoundError(f"{option}: {source!r} is no source; see `trailhound sources`")


def _existing(folder: str) -> Path:
    from trailhound.lake.lake import Lake  # noqa: PLC0415 - loads DuckDB

    Lake(Path(folder))
    return Path(folder)


def _print_json(document: object) -> None:
    print(json_text(document))
