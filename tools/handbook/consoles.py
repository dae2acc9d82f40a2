"""Consoles in the documentation: they are run, and show what the commands really print.

A block of the kind `console` holds commands after `$ ` and what each prints. A block of the
kind `yaml` after a line that ends in ``Save this as `PATH`:`` is saved there first. The blocks
of one document run in order, in a folder of their own that has `examples/demo` in it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:^Save this as `(?P<path>[\w./-]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_VOLATILE = (
    (re.compile(r"\bin \d+\.\d s\b"), "in 0.0 s"),  # how long a scan took
    (re.compile(r"\bsigned \d{4}-\d\d-\d\dT[\d:]+Z"), "signed 2026-11-12T22:30:00Z"),
    (re.compile(r"\S*/src/trailhound/content/"), "…/content/"),  # where the checkout lies
)
_YEARLESS = "examples/demo/node-2/syslog"
_WRITTEN = datetime(2026, 11, 12, 22, 30, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console, and what the document says it prints."""

    text: str
    output: str


def commands(block: str) -> Iterator[Command]:
    """Read the body of a console."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        end = 1
        while lines[end - 1].endswith("\\"):
            end += 1
        yield Command("\n".join(lines[:end]), "\n".join(lines[end:]).strip("\n"))


def prepare(folder: Path) -> None:
    """Make a folder in which the consoles of one document can run."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    # Its stamps have no year, and it is taken from the time of the file.
    os.utime(folder / _YEARLESS, (_WRITTEN, _WRITTEN))


def run(command: str, folder: Path) -> str:
    """Run a command with a shell; return what it prints, both streams together.

    Raises:
        RuntimeError: if a program in it cannot be found, or fails in a way nobody documents.
    """
    done = subprocess.run(  # noqa: S603 - commands of our own documents
        ["/bin/bash", "-c", command],
        cwd=folder,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(ROOT / "build" / "cache"),  # rules are compiled once
            "COLUMNS": "80",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    output = done.stdout.decode()
    if done.returncode:
        raise RuntimeError(f"{command!r} exits with {done.returncode}:\n{output}")
    if "Traceback" in output:
        raise RuntimeError(f"{command!r} fails:\n{output}")
    return settled("\n".join(line.rstrip() for line in output.strip("\n").split("\n")))


def settled(text: str) -> str:
    """The text without what differs from run to run and from place to place."""
    for pattern, constant in _VOLATILE:
        text = pattern.sub(constant, text)
    return text


def refreshed(text: str, folder: Path) -> str:
    """Return a document with the outputs that its commands give now."""

    def block(found: re.Match[str]) -> str:
        if found["path"] is not None:
            place = folder / found["path"]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(found["body"])
        if found["kind"] != "console":
            return found[0]
        shown = []
        for command in commands(found["body"]):
            output = run(command.text, folder)
            shown.append(f"$ {command.text}\n" + (f"{output}\n" if output else ""))
        return f"```console\n{''.join(shown)}```"

    return _BLOCK.sub(block, text)
