"""What every command shares: exit codes, messages, progress."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trailhound.sinks.escape import visible

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001
else:
    # argparse names the type of its subcommands only to type checkers.
    Commands = Any

EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_NOTHING_READ = 3
EXIT_INTERRUPTED = 130


def complain(message: str) -> None:
    """Tell the user what went wrong, on one line of standard error."""
    # Names of files in it are made by whoever writes the logs.
    print(f"trailhound: {visible(message)}", file=sys.stderr)


@contextmanager
def progress_bar(title: str, total_bytes: int, *, wanted: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar over bytes on standard error, if that is a terminal.

    Yields:
        What to call with the number of bytes just done.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is shown
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(title, total=total_bytes or None)
        yield lambda size: progress.advance(task, size)
