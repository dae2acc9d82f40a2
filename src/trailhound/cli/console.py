"""What every command shares: exit codes, messages, progress."""

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trailhound.intake.files import STDIN, InputFile
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


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return what argparse reads a whole number with; both bounds belong to it."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:,} to {most:,}")
        return int(text)

    return read


PORT = whole_number(1, 65535)


def complain(message: str) -> None:
    """Tell the user what went wrong, on one line of standard error."""
    # Names of files in it are made by whoever writes the logs.
    print(f"trailhound: {visible(message)}", file=sys.stderr)


@contextmanager
def progress_bar(
    title: str, files: Sequence[InputFile], *, wanted: bool
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar over the bytes of files on standard error, if that is a terminal.

    Of input for which a run may have to wait, it says so wherever standard error goes.

    Yields:
        What to call with the number of bytes just done.
    """
    if wanted:
        for file in files:
            if not file.unread:
                _tell_waiting(file.path)
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
        size = sum(file.size_bytes for file in files)
        task = progress.add_task(title, total=size or None)
        yield lambda size: progress.advance(task, size)


def _tell_waiting(path: str) -> None:
    if path == STDIN:
        if sys.stdin is not None and sys.stdin.isatty():
            complain("reading what is typed here; Ctrl-D ends it")
        return
    # `/dev/fd/63` is what a shell makes of `<(command)`: its writer is there.
    if not path.startswith(("/dev/", "/proc/")) and _is_pipe(path):
        complain(f"{path} is a named pipe: reading until a writer has come and all have gone")


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
