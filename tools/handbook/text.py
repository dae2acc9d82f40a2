"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence

HEAD = "<!-- Written by `make reference`. Change the code, not this file. -->\n\n"


def cell(text: str) -> str:
    """Text for a cell of a table: on one line, with its bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells hold Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines.extend(f"| {' | '.join(map(cell, row))} |" for row in rows)
    return "\n".join(lines) + "\n"


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line, in Markdown already."""
    return " ".join((docstring or "").strip().split("\n\n", 1)[0].split())
