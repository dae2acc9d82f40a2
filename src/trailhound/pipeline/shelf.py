"""Pages of windows on disk: what of a group does not stay in memory. See `engine.windows.paged`."""

import errno
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from trailhound.engine.windows.paged import Shelf

_SCHEMA = "CREATE TABLE IF NOT EXISTS pages (page INTEGER PRIMARY KEY, data BLOB NOT NULL)"


class StoredPages:
    """Pages in an SQLite file, in the transactions of whoever opened it."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        file.execute(_SCHEMA)

    def put(self, data: bytes) -> int:
        """Keep a page; return its number."""
        page = self._file.execute("INSERT INTO pages (data) VALUES (?)", (data,)).lastrowid
        assert page is not None  # noqa: S101 - a row was inserted
        return page

    def get(self, page: int) -> bytes:
        """Return a page."""
        (data,) = self._file.execute("SELECT data FROM pages WHERE page = ?", (page,)).fetchone()
        return bytes(data)

    def free(self, pages: Iterable[int]) -> None:
        """Forget pages."""
        self._file.executemany("DELETE FROM pages WHERE page = ?", ((page,) for page in pages))


class PassingPages(StoredPages):
    """Pages of one run, in a file of their own."""

    def put(self, data: bytes) -> int:
        """Keep a page; `OSError` where there is no room for it."""
        try:
            return super().put(data)
        except sqlite3.OperationalError as error:
            reason = (
                f"no room for windows larger than memory ({error}); make room, or set TMPDIR to a "
                "folder on a larger disk"
            )
            raise OSError(errno.ENOSPC, reason, tempfile.gettempdir()) from None


@contextmanager
def passing_shelf() -> Iterator[Shelf]:
    """Give a shelf whose pages are in a nameless temporary file, gone when it is let go."""
    # SQLite makes the file of a database that has no name once its cache is full.
    with closing(sqlite3.connect("", isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("PRAGMA page_size = 16384")
        yield Shelf(PassingPages(file))
