"""Ctrl-C while DuckDB works: it looks for signals only between its tasks, which may be long."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, current_thread, main_thread

import duckdb


@contextmanager
def interruptible(db: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let SIGINT end the queries of a connection at once.

    Python's own handler has to wait until DuckDB returns; a byte in a pipe (`set_wakeup_fd`) does
    not, and wakes a thread that may interrupt. Only the main thread hears signals; in others
    nothing is changed.
    """
    if current_thread() is not main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)

    def wait() -> None:
        while heard := os.read(reading, 1):
            if heard[0] == signal.SIGINT:
                db.interrupt()

    thread = Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)
