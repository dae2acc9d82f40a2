"""Who found what: matches as (rule id, request id) pairs, and where two engines differ."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

Matches = Counter[tuple[str, str]]


def read(engine: str, path: Path) -> Matches:
    """Matches in what an engine printed: `trailhound`, `tenzir`, or a peer script."""
    pick = {"trailhound": _trailhound, "tenzir": _tenzir}.get(engine, _script)
    found: Matches = Counter()
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b"{"):
                found.update(pick(orjson.loads(line)))
    return found


def _trailhound(line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "rule" in line and line.get("event_count", 1) == 1:
        yield line["rule"]["uid"], line["request_uid"]


def _tenzir(line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    event = line["evidences"][0]["data"]
    yield line["policy"]["uid"], event.get("auditID") or event.get("eventID") or ""


def _script(line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    event = line["event"]
    yield line["rule"], event.get("auditID") or event.get("eventID") or ""


def compare(ours: Matches, theirs: Matches) -> tuple[str, dict[str, tuple[int, int]]]:
    """Say in words how two sets of matches differ, and give (ours, theirs) for such rules."""
    mine, other = _by_rule(ours), _by_rule(theirs)
    differing = {
        rule: (sum(mine.get(rule, Counter()).values()), sum(other.get(rule, Counter()).values()))
        for rule in sorted(mine.keys() | other.keys())
        if mine.get(rule) != other.get(rule)
    }
    same = len(mine.keys() | other.keys()) - len(differing)
    if not differing:
        return f"same {ours.total()} matches", {}
    return f"{same} of {same + len(differing)} rules that fired agree, see below", differing


def _by_rule(matches: Matches) -> dict[str, Counter[str]]:
    grouped: dict[str, Counter[str]] = {}
    for (rule, event), count in matches.items():
        grouped.setdefault(rule, Counter())[event] += count
    return grouped
