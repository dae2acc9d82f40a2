"""Sigma rules over a JSON log with pySigma's SQLite backend, the way Zircolite does it.

Runs inside the peer's own environment: python sqlite_scan.py LOG RULES

Kinder to the peer than Zircolite itself, which flattens every field of every event: only the
fields that rules name become columns. Writes one JSON line for each match to standard output.
"""

import re
import sqlite3
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.rule import SigmaDetection, SigmaRule

_KEYS = ("auditID", "eventID")


def fields_of(detection: Any) -> Iterator[str]:
    """Fields a detection names, also in fieldref values."""
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from fields_of(item)
        elif item.field is not None:
            yield item.field
            for value in item.value:
                if getattr(value, "field", None):
                    yield value.field


def load(folder: Path) -> list[SigmaRule]:
    """All rules below a folder; broken ones are left out."""
    found = SigmaCollection.load_ruleset([folder], collect_errors=True).rules
    return [rule for rule in found if isinstance(rule, SigmaRule) and not rule.errors]


def flat(value: Any) -> Any:
    """A value as a table cell."""
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def rows(path: str, columns: list[list[str]]) -> Iterator[list[Any]]:
    """One row for each event: the values of the columns."""
    with open(path, "rb") as file:
        for line in file:
            event = orjson.loads(line)
            row: list[Any] = []
            for steps in columns:
                value = event
                for step in steps:
                    value = value.get(step) if isinstance(value, dict) else None
                row.append(flat(value))
            yield row


def main() -> None:
    """Load the log into a table and run every rule over it."""
    log, folder = sys.argv[1], Path(sys.argv[2])
    rules = load(folder)
    names = sorted({f for rule in rules for d in rule.detection.detections.values()
                    for f in fields_of(d)} | set(_KEYS))  # fmt: skip
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    compiled = lru_cache(None)(re.compile)
    database.create_function(
        "REGEXP", 2, lambda p, v: v is not None and compiled(p).search(v) is not None
    )
    listed = ", ".join(f"`{name}` TEXT COLLATE NOCASE" for name in names)
    database.execute(f"CREATE TABLE logs ({listed})")
    marks = ",".join("?" * len(names))
    database.executemany(
        f"INSERT INTO logs VALUES ({marks})", rows(log, [name.split(".") for name in names])
    )
    backend = sqliteBackend()
    write = sys.stdout.buffer.write
    for rule in rules:
        try:
            queries = backend.convert(SigmaCollection([rule]))
            for query in queries:
                for row in database.execute(query):
                    shown = {k: v for k, v in dict(row).items() if v is not None}
                    write(orjson.dumps({"rule": str(rule.id), "event": shown}) + b"\n")
        except Exception as error:
            print(f"skipped {rule.id}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
