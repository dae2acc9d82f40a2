"""Rows of the benchmark and the Markdown table made of them."""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parent / "README.md"
_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    part: str
    what: str
    wall: float | None = None
    """Wall time, as a multiple of the yardstick's."""
    cpu: float | None = None
    """Processor time, as a multiple of the yardstick's."""
    value: str = ""
    """What is not a ratio: memory, seconds."""
    goal: str = ""
    met: bool | None = None
    note: str = ""


def machine() -> str:
    """One line about where it ran."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        match = re.search(r"model name\s*: (.+)", info.read())
        model = match[1] if match else platform.machine()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{model}, {os.cpu_count()} cores, {memory_gb:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def markdown(rows: Iterable[Row], heading: str) -> str:
    """The whole table, with a line on top that says where and when it was made."""
    lines = [
        heading,
        "",
        "| what | wall | cpu | goal | met | note |",
        "|---|---:|---:|---|---|---|",
    ]
    part = ""
    for row in rows:
        if row.part != part:
            part = row.part
            lines.append(f"| **{part}** | | | | | |")
        wall = row.value or ("" if row.wall is None else f"{row.wall:.2f}")
        cpu = "" if row.cpu is None else f"{row.cpu:.2f}"
        met = "" if row.met is None else ("yes" if row.met else "**no**")
        lines.append(f"| {row.what} | {wall} | {cpu} | {row.goal} | {met} | {row.note} |")
    return "\n".join(lines)


def write_readme(text: str) -> None:
    """Put a table between the markers of the README."""
    old = README.read_text("utf-8")
    before, rest = old.split(_BEGIN)
    _, after = rest.split(_END)
    README.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}", "utf-8")
