"""How the benchmark calls `trailhound`."""

import importlib.metadata
import sys
from pathlib import Path

from benchmarks.datasets import DATA

_TOOL = Path(sys.executable).parent / "trailhound"
_INSIDE = Path(__file__).resolve().parent / "inprocess.py"
ENV = {
    "XDG_CACHE_HOME": str(DATA / "cache"),
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONUNBUFFERED": "",
}
"""Compiled rules are cached here, away from the user's own cache; and Python runs as it does for
users, who have compiled modules, and not as in many a container."""


def missing() -> str:
    """Why `trailhound scan` cannot be run; empty where it can."""
    if not _TOOL.exists():
        return f"{_TOOL} is not there"
    try:
        entry = next(iter(importlib.metadata.entry_points(name="trailhound")))
        entry.load()
    except (StopIteration, ImportError, AttributeError) as error:
        return f"its entry point does not load ({error})"
    return ""


def arguments(log: Path, rules: Path | None, *, jobs: int = 1) -> tuple[str, ...]:
    """`scan` of one log with one folder of rules, or with the built-in pack alone."""
    chosen = ("--rules", str(rules), "--no-builtin") if rules else ()
    return ("scan", str(log), *chosen, "--jobs", str(jobs), "--format", "ndjson")


def command(log: Path, rules: Path | None, *, jobs: int = 1) -> tuple[str, ...]:
    """The command line."""
    return (str(_TOOL), *arguments(log, rules, jobs=jobs))


def inside(log: Path, rules: Path | None) -> tuple[str, ...]:
    """The same inside one interpreter, timed without its start and without imports."""
    return (sys.executable, str(_INSIDE), *arguments(log, rules))
