"""Events out of the lake: Parquet, and NDJSON in OCSF."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from trailhound.lake.lake import Lake, Times, relation
from trailhound.lake.quoting import literal
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event

OCSF_VERSION = "1.5.0"


def to_parquet(lake: Lake, path: Path, source: str | None, times: Times) -> int:
    """Write events of a lake that is not empty to one Parquet file, by time; return how many.

    Raises:
        TrailhoundError: the file cannot be written.
    """
    files = lake.files(None if source is None else [source], times.since_ns, times.until_ns)
    files = files or lake.files()[:1]  # of which nothing fits: a table without rows
    asked = "true" if source is None else f"source = {literal(source)}"
    written = path.with_name(f".{path.name}.part")
    query = (
        f"SELECT * EXCLUDE (plain, exact) FROM {relation(lake.folder, files)} "  # noqa: S608 - quoted
        f"WHERE {asked} AND {times.condition()} ORDER BY time"
    )
    try:
        with duckdb.connect() as db:
            db.execute(
                f"COPY ({query}) TO {literal(str(written))} (FORMAT parquet, COMPRESSION zstd)"
            )
            (row,) = db.read_parquet(str(written)).aggregate("count(*)").fetchall()
        os.replace(written, path)
    except (OSError, duckdb.Error) as error:
        written.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrailhoundError(f"cannot write {path}: {reason}") from None
    return int(row[0])


def ocsf_events(lake: Lake, source: str | None, times: Times) -> Iterator[dict[str, Any]]:
    """Yield events as OCSF 1.5 events, by source and in the order of time."""
    for kept in lake.sources():
        if source in (None, kept.source):
            for event in lake.select(kept.source, None, times):
                yield ocsf_event(event)


def ocsf_event(event: Event) -> dict[str, Any]:
    """Return an event in OCSF 1.5: what its envelope knows; the record itself in `unmapped`."""
    envelope = event.envelope
    class_uid = envelope.class_uid
    known = {
        "name": envelope.actor_name,
        "uid": envelope.actor_uid,
        "type": envelope.actor_type,
        "groups": [{"name": group} for group in envelope.actor_groups],
    }
    user = {name: value for name, value in known.items() if value}
    document: dict[str, Any] = {
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": envelope.activity_id,
        "type_uid": class_uid * 100 + envelope.activity_id,
        "severity_id": 1,
        "time": envelope.time_ns // 1_000_000,
        "status_id": int(envelope.outcome),
        "metadata": {
            "version": OCSF_VERSION,
            "uid": event.uid,
            "log_name": event.source,
            "product": {"name": "Trailhound", "vendor_name": "Trailhound"},
            **({"correlation_uid": envelope.request_uid} if envelope.request_uid else {}),
        },
        "actor": {"user": user} if user else {},
        "src_endpoint": {"ip": envelope.src_ip} if envelope.src_ip else {},
        "device": {"hostname": envelope.device, "type_id": 0} if envelope.device else {},
        "status_detail": envelope.outcome_detail,
        "unmapped": {"document": event.document},
    }
    if class_uid == 6003:
        document["api"] = {"operation": envelope.action}
        document["resources"] = _resources(event)
    return {name: value for name, value in document.items() if value not in ({}, "", [])}


def _resources(event: Event) -> list[dict[str, str]]:
    envelope = event.envelope
    found = {
        "type": envelope.target_type,
        "name": envelope.target_name,
        "namespace": envelope.target_namespace,
    }
    resource = {name: value for name, value in found.items() if value}
    return [resource] if resource else []
