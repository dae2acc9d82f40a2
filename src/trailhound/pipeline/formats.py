"""The format of a file that outlives the program: a later one is refused, not misread."""

import sqlite3
import weakref
from pathlib import Path

from trailhound.model.errors import TrailhoundError


class LaterFormat(TrailhoundError):
    """A file has a format that is not known yet."""


def opened(owner: object, path: Path) -> sqlite3.Connection:
    """Open an SQLite file, or make it; it is closed with its owner, whatever ends that.

    Raises:
        sqlite3.Error: that cannot be done.
    """
    file = sqlite3.connect(path, isolation_level=None)
    weakref.finalize(owner, file.close)
    return file


def known_format(file: sqlite3.Connection, number: int, path: object) -> int:
    """Return the format of an SQLite file: its `user_version`, which `stamp` sets.

    New files have 0, and so have those from before there was a stamp.

    Args:
        file: the file.
        number: the format that is written today.
        path: what the file is called.

    Raises:
        LaterFormat: it has a later one.
    """
    (found,) = file.execute("PRAGMA user_version").fetchone()
    if found > number:
        raise LaterFormat(
            f"{path} was written by a later Trailhound (format {found}; this one knows formats up "
            f"to {number}): use that one, or another state folder"
        )
    return int(found)


def stamp(file: sqlite3.Connection, number: int) -> None:
    """Note which format an SQLite file has; part of the transaction that is open."""
    file.execute(f"PRAGMA user_version = {number}")
