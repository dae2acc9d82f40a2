"""SQL as users write it: read-only, over the files of the lake and nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Timer
from typing import Any

import duckdb
from msgspec import Struct

from trailhound.lake.interrupting import interruptible
from trailhound.lake.lake import Lake, relation
from trailhound.lake.prelude import PRELUDE
from trailhound.lake.quoting import identifier, literal
from trailhound.lake.schema import COLUMNS, PROMOTED, promoted_columns
from trailhound.model.errors import TrailhoundError

_ASKS = (
    duckdb.StatementType.SELECT,
    duckdb.StatementType.EXPLAIN,
)
_HIDDEN = ("plain", "exact", "document", "views")
_FETCHED = 2048
_PROMOTED = tuple(
    dict.fromkeys(column for source in PROMOTED for column in promoted_columns(source))
)


class Answer(Struct, frozen=True):
    """What a query gives."""

    names: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def ask(lake: Lake, query: str, *, seconds: float | None = None) -> Answer:
    """Run one query over the view `events`, or `stored`, which has the columns of a hunt besides.

    The connection can read the Parquet files of the lake, and nothing else: no other file, no
    network, no extension, no setting, no writing (DuckDB, "Securing DuckDB").

    Args:
        lake: what to ask.
        query: one SELECT.
        seconds: how long it may take; None: as long as it takes.

    Raises:
        TrailhoundError: it is no query, or fails, or takes too long.
    """
    db = duckdb.connect()
    late = Event()

    def give_up() -> None:
        late.set()
        db.interrupt()

    timer = Timer(seconds, give_up) if seconds is not None else None
    try:
        statements = db.extract_statements(query)
        if len(statements) != 1 or statements[0].type not in _ASKS:
            raise TrailhoundError("one SELECT is asked for; the lake is only read")
        _set_up(db, lake)
        if timer is not None:
            timer.daemon = True
            timer.start()
        with interruptible(db):
            found = db.execute(statements[0])
        names = tuple(column[0] for column in found.description or ())
        return Answer(names, _rows(db, timer))
    except duckdb.InterruptException:
        if not late.is_set():
            raise KeyboardInterrupt from None
        raise TrailhoundError(f"the query took longer than {seconds:g} s") from None
    except duckdb.Error as error:
        raise TrailhoundError(f"the query fails: {_told(error)}") from None


def _told(error: duckdb.Error) -> str:
    """Return what DuckDB says, on one line, without the drawing of where in the query it is."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())


def _rows(db: duckdb.DuckDBPyConnection, timer: Timer | None) -> Iterator[tuple[Any, ...]]:
    try:
        while rows := db.fetchmany(_FETCHED):
            yield from rows
    except duckdb.Error as error:
        raise TrailhoundError(f"the query fails: {_told(error)}") from None
    finally:
        if timer is not None:
            timer.cancel()
        db.close()


def _set_up(db: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    db.execute(PRELUDE)
    files = lake.files()
    absent = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in COLUMNS)
    shown = f"* EXCLUDE ({', '.join(_HIDDEN)}), document::JSON AS document, views::JSON AS views"
    nothing = f"(SELECT {absent} WHERE false)"
    of = relation(lake.folder, files) if files else nothing
    db.execute(f"CREATE VIEW events AS SELECT {shown} FROM {of}")  # noqa: S608 - quoted
    # Files have the columns of their own source; a condition may name those of another.
    promoted = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in _PROMOTED)
    every = f"SELECT * FROM {of} UNION ALL BY NAME SELECT {promoted} WHERE false"  # noqa: S608
    db.execute(f"CREATE VIEW stored AS {every}")
    db.execute(f"SET allowed_paths = [{_paths(lake.folder, [file.path for file in files])}]")
    db.execute("SET enable_external_access = false")
    db.execute("SET lock_configuration = true")


def _paths(folder: Path, paths: Sequence[str]) -> str:
    return ", ".join(literal(str(folder / path)) for path in paths)
