"""The part `lake`: hunting in many events, next to DuckDB over the same Parquet files.

Stored once and multiplied: the events of one day are written again for other days, with other
times and ids, by DuckDB; storing a hundred million one by one would take a day.
"""

import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from benchmarks import datasets, product
from benchmarks.datasets import DATA
from benchmarks.measure import race
from benchmarks.parts import Bench
from benchmarks.table import Row
from trailhound.intake.files import find_inputs
from trailhound.lake.catalogue import Catalogue
from trailhound.lake.store import FOLDER, Writer
from trailhound.pipeline.ingest import ingest

DAY_EVENTS = 1_000_000
_DAY_NS = 86_400 * 10**9
_SECONDS_GOAL = 10.0
_PLAIN = """
import duckdb, sys
db = duckdb.connect()
print(db.execute(sys.argv[1]).fetchall())
"""
_SEARCHES = (
    (
        "two fields, counted over time",
        "verb:delete objectRef.resource:secrets",
        """lower("doc.verb") = 'delete' AND lower("doc.objectRef.resource") = 'secrets'""",
    ),
    (
        "an address, counted over time",
        "src_ip:198.51.100.0/28",
        "starts_with(src_ip, '198.51.100.') AND TRY_CAST(split_part(src_ip, '.', 4) AS INT) < 16",
    ),
    (
        "two fields in the last day",
        "verb:delete objectRef.resource:secrets",
        """lower("doc.verb") = 'delete' AND lower("doc.objectRef.resource") = 'secrets'""",
    ),
)


def hunting(bench: Bench, events: int) -> None:
    """Queries over a lake of so many events, and the same in SQL by hand over its files."""
    if product.missing():
        return
    days = max(1, events // DAY_EVENTS)
    folder = _lake(bench, days)
    stored = Catalogue(folder, writing=False).files()
    files = [folder / file.path for file in stored]
    size = sum(file.size_bytes for file in stored)
    count = sum(file.events for file in stored)
    part = f"Lake: {count:,} Kubernetes events of {days} days, {size / 1e9:.1f} GB, two cores"
    for what, query, condition in _SEARCHES:
        last_day = what.endswith("day")
        read = [str(file) for file in files if not last_day or file.parent.name == _day(days - 1)]
        sql = (
            "SELECT epoch_ns(time) // 3600000000000 AS hour, count(*) "
            f"FROM read_parquet({read}) WHERE {condition} GROUP BY ALL"
        )
        since = ("--since", _day(days - 1).removeprefix("day=")) if last_day else ()
        tool = product.command(folder, None)[0]
        argv = (tool, "hunt", "--lake", str(folder), query, "--count", *since)
        racers = (
            bench.contestant(f"hunt {what}", argv, cpus=2),
            bench.contestant(f"duckdb {what}", (sys.executable, "-c", _PLAIN, sql), cpus=2),
        )
        taken = race(racers, rounds=min(3, bench.rounds), say=bench.say)
        if len(taken) < len(racers):
            continue
        ours, theirs = (taken[racer.name] for racer in racers)
        bench.add(
            Row(
                part,
                f"`hunt`, {what}",
                value=f"{ours.wall_s:.1f} s",
                goal="seconds",
                met=ours.wall_s <= _SECONDS_GOAL,
                note=f"{ours.wall_s / theirs.wall_s:.1f} × DuckDB with SQL by hand "
                f"({theirs.wall_s:.1f} s); cpu {ours.cpu_s / theirs.cpu_s:.1f} ×",
            )
        )


def _day(number: int) -> str:
    return f"day={(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)).date().isoformat()}"


def _lake(bench: Bench, days: int) -> Path:
    """A lake of so many days; written first if it is not there."""
    folder = DATA / f"lake-{days}"
    if (folder / "whole").exists():
        return folder
    log = datasets.log("k8s", events=min(DAY_EVENTS, bench.events))
    bench.say(f"storing {log.name}")
    with Writer(folder) as writer:
        ingest(writer, find_inputs([str(log)]))
        writer.compact()
        first = writer.catalogue.files()
        source = [str(folder / file.path) for file in first]
        copies = DAY_EVENTS // min(DAY_EVENTS, bench.events)
        made = []
        db = duckdb.connect(config={"preserve_insertion_order": "false"})
        db.execute("SET enable_progress_bar = false")
        for number in range(days):
            day = _day(number)
            start = datetime.fromisoformat(day.removeprefix("day=")).replace(tzinfo=UTC)
            start_ns = int(start.timestamp()) * 10**9
            where = folder / FOLDER / "source=k8s_audit" / day
            where.mkdir(parents=True, exist_ok=True)
            path = where / f"{number:020d}-{secrets.token_hex(4)}.parquet"
            db.execute(
                "COPY (SELECT * REPLACE (make_timestamp_ns("
                f"{start_ns} + epoch_ns(time) % {_DAY_NS}) AS time, uuid() AS uid) "
                f"FROM read_parquet({source}), range({copies})) "
                f"TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
            )
            found = db.execute(
                "SELECT count(*), epoch_ns(min(time)), epoch_ns(max(time)), "
                f"count(*) FILTER (plain IS NOT true) FROM read_parquet('{path}')"
            ).fetchone()
            made.append((path, day, found))
            bench.say(f"  day {number + 1} of {days}")
        with writer.catalogue.changing():
            writer.catalogue.add(
                [
                    type(first[0])(
                        path=str(path.relative_to(folder)),
                        source="k8s_audit",
                        day=day.removeprefix("day="),
                        events=found[0],
                        size_bytes=path.stat().st_size,
                        first_ns=found[1],
                        last_ns=found[2],
                        strange=found[3],
                        schema=first[0].schema,
                    )
                    for path, day, found in made
                ]
            )
            writer.catalogue.retire(first, 0)
    for file in first:
        (folder / file.path).unlink(missing_ok=True)
    (folder / "whole").touch()
    return folder
