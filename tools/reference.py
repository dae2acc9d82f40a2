"""Write what follows from the code: `docs/reference/`, and the outputs shown in consoles.

Run it as `make reference`, or `python tools/reference.py [--check]`: with `--check` it writes
nothing, and exits with 1 if something is out of date.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from handbook import (
    cli_page,
    consoles,
    falco_page,
    redaction_page,
    rules_page,
    serve_pages,
    source_pages,
)

ROOT = consoles.ROOT
PAGES = {
    "cli.md": cli_page.page,
    "falco-fields.md": falco_page.page,
    "http.md": serve_pages.routes,
    "output.md": source_pages.sinks,
    "redaction.md": redaction_page.page,
    "rules.md": rules_page.page,
    "settings.md": serve_pages.settings,
    "sources.md": source_pages.sources,
    "wrappings.md": source_pages.wrappings,
}
"""File in `docs/reference` → what makes it."""


def documents() -> list[Path]:
    """Documents that people wrote, and that may have consoles."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def current() -> Iterator[tuple[Path, str]]:
    """Every file that follows from the code, wholly or in part, and what it should say."""
    for name, make in PAGES.items():
        yield ROOT / "docs" / "reference" / name, make()
    for document in documents():
        text = document.read_text(encoding="utf-8")
        if "```console" not in text:
            continue
        with tempfile.TemporaryDirectory() as folder:
            consoles.prepare(Path(folder))
            yield document, consoles.refreshed(text, Path(folder))


def main(arguments: list[str]) -> int:
    """Write or check every file; return the exit code."""
    stale = 0
    for path, text in current():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
