"""Sigma rules over a JSON log with pySigma's DuckDB backend and DuckDB's own JSON reader.

Runs inside the peer's own environment: python duckdb_scan.py LOG RULES [--auto]

The backend writes queries over flat columns. The reader is told to parse only the fields that
rules name, into typed structs, which is the fastest way DuckDB has; one thread. Fields that
rules name both as a whole and in parts are kept as JSON. With `--auto` it is left to find out
columns and types by itself, all of them, as people run it. Writes one JSON line for each match.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
from sigma.collection import SigmaCollection
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaDetection, SigmaRule
from sigma_backend_duckdb import DuckDBBackend

_KEYS = ("auditID", "eventID")
Tree = dict[str, Any]


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


def tree_of(names: list[str]) -> tuple[Tree, set[str]]:
    """Nested field names, and the paths that must stay JSON."""
    tree: Tree = {}
    whole = {n for n in names if any(other.startswith(n + ".") for other in names)}
    for name in names:
        here = tree
        steps = name.split(".")
        for depth, step in enumerate(steps):
            if ".".join(steps[: depth + 1]) in whole:
                here[step] = "JSON"
                break
            here = here.setdefault(step, {})
    return tree, whole


def type_of(tree: Any) -> str:
    """DuckDB type of a (sub)tree."""
    if tree == "JSON":
        return "JSON"
    if not tree:
        return "VARCHAR"
    return "STRUCT(" + ", ".join(f'"{k}" {type_of(v)}' for k, v in tree.items()) + ")"


def column(name: str, whole: set[str]) -> str:
    """Expression that reads a field out of the parsed columns."""
    steps = name.split(".")
    for depth in range(1, len(steps) + 1):
        head = ".".join(steps[:depth])
        if head in whole:
            base = ".".join(f'"{s}"' for s in steps[:depth])
            rest = "".join(f'."{s}"' for s in steps[depth:])
            if not rest:
                return f'CAST({base} AS VARCHAR) AS "{name}"'
            return f"json_extract_string({base}, '${rest}') AS \"{name}\""
    return ".".join(f'"{s}"' for s in steps) + f' AS "{name}"'


def read_named(database: Any, log: str, names: list[str]) -> None:
    """Read only the fields that rules name, of types that are told."""
    tree, whole = tree_of(names)
    schema = ", ".join(f"\"{k}\": '{type_of(v)}'" for k, v in tree.items())
    database.execute(
        f"CREATE TABLE logs AS SELECT {', '.join(column(n, whole) for n in names)} "
        f"FROM read_ndjson('{log}', columns = {{{schema}}}, maximum_object_size = 33554432)"
    )


def detect(database: Any, log: str, names: list[str]) -> None:
    """Read everything, and flatten the fields that rules name; null where there is none."""
    read = f"CREATE TABLE events AS SELECT * FROM read_ndjson_auto('{log}', "
    try:
        database.execute(f"{read} maximum_object_size = 33554432)")
    except duckdb.InvalidInputException:
        # What its sample does not show is an error; the message says to take a larger one.
        database.execute(f"{read} maximum_object_size = 33554432, sample_size = -1)")
    columns = []
    for name in names:
        value = ".".join(f'"{step}"' for step in name.split("."))
        try:
            database.execute(f"SELECT {value} FROM events LIMIT 0")
        except duckdb.BinderException:
            value = "NULL"
        columns.append(f'CAST({value} AS VARCHAR) AS "{name}"')
    database.execute(f"CREATE VIEW logs AS SELECT {', '.join(columns)} FROM events")


def main() -> None:
    """Load the log into a table and run every rule over it."""
    log, folder = sys.argv[1], Path(sys.argv[2])
    rules = load(folder)
    names = sorted({f for rule in rules for d in rule.detection.detections.values()
                    for f in fields_of(d)} | set(_KEYS))  # fmt: skip
    database = duckdb.connect()
    database.execute("SET threads = 1")
    database.execute("SET default_collation = 'nocase'")
    if "--auto" in sys.argv[3:]:
        detect(database, log, names)
    else:
        read_named(database, log, names)
    backend = DuckDBBackend(processing_pipeline=ProcessingPipeline())
    write = sys.stdout.buffer.write
    for rule in rules:
        try:
            for query in backend.convert(SigmaCollection([rule])):
                result = database.execute(query)
                heads = [c[0] for c in result.description]
                for row in result.fetchall():
                    shown = {k: v for k, v in zip(heads, row, strict=True) if v is not None}
                    write(orjson.dumps({"rule": str(rule.id), "event": shown}) + b"\n")
        except Exception as error:
            print(f"skipped {rule.id}: {str(error)[:200]}", file=sys.stderr)


if __name__ == "__main__":
    main()
