"""Findings on disk: one file a day, each finding once, whatever happens in between."""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from trailhound.model.findings import Finding
from trailhound.sinks.encode import json_text
from trailhound.sinks.native import finding_json
from trailhound.sinks.ocsf import detection_finding

Form = Literal["ndjson", "ocsf"]


def file_sizes(folder: Path) -> dict[str, int]:
    """Return how large the files of a log are, by name."""
    return {path.name: path.stat().st_size for path in folder.glob("*.ndjson")}


class FindingsLog:
    """Appends findings; the day in a file's name is that of their event time."""

    def __init__(self, folder: Path, sizes: Mapping[str, int], form: Form = "ndjson") -> None:
        """Open the log.

        Args:
            folder: where its files lie. Made if missing.
            form: what a line is: as `scan --format` writes it.
            sizes: how large each file is, so far as it counts. What stands behind that was
                written by a run that ended before it could note so, and will be told again.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._form = form
        for path in folder.glob("*.ndjson"):
            size = sizes.get(path.name, 0)
            if path.stat().st_size > size:
                os.truncate(path, size)

    def append(self, findings: Sequence[Finding]) -> dict[str, int]:
        """Write findings, and sync; return the sizes of the files that grew.

        Raises `OSError` where the disk does not take them.
        """
        by_day: dict[str, list[str]] = {}
        for finding in findings:
            day = datetime.fromtimestamp(finding.time_ns // 10**9, UTC).strftime("%Y-%m-%d")
            by_day.setdefault(day, []).append(self._line(finding))
        sizes = {}
        for day, lines in by_day.items():
            name = f"{day}.ndjson" if self._form == "ndjson" else f"{day}.{self._form}.ndjson"
            with open(self._folder / name, "ab") as file:
                file.write("".join(lines).encode("utf-8", "backslashreplace"))
                file.flush()
                os.fdatasync(file.fileno())
                sizes[name] = file.tell()
        return sizes

    def _line(self, finding: Finding) -> str:
        if self._form == "ocsf":
            return json_text(detection_finding(finding, time.time_ns())) + "\n"
        return finding_json(finding) + "\n"
