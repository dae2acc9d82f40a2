"""Which rules are raced, and how a few are made into many."""

import copy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpora" / "sigma" / "rules"
_CONTENT = Path(__file__).resolve().parents[1] / "src" / "trailhound" / "content"
_PUBLIC = {
    "k8s": _CORPUS / "application" / "kubernetes" / "audit",
    "cloudtrail": _CORPUS / "cloud" / "aws" / "cloudtrail",
    "auditd": _CORPUS / "linux" / "auditd",
    "auth": _CORPUS / "linux" / "builtin",
}
OURS = {
    "k8s": _CONTENT / "kubernetes",
    "cloudtrail": _CONTENT / "aws",
    "auditd": _CONTENT / "linux",
    "auth": _CONTENT / "linux",
}
"""Our own rules for a log, by its kind."""
_SPACE = uuid.UUID("6f6b3f0e-7d0c-4a55-9a39-3d1f6f9f4f10")


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A folder of rules."""

    folder: Path
    label: str
    count: int


def files(folder: Path) -> list[Path]:
    """The rule files below a folder, in a fixed order."""
    return sorted(p for p in folder.rglob("*.yml") if "detection:" in p.read_text("utf-8"))


def titles(rules: RuleSet) -> dict[str, str]:
    """Rule id → title."""
    loaded = (yaml.safe_load(path.read_text("utf-8")) for path in files(rules.folder))
    return {str(rule["id"]): str(rule["title"]) for rule in loaded if "id" in rule}


def for_source(kind: str) -> RuleSet | None:
    """All public rules for a source where the corpora are there, else our own pack."""
    for folder, label in ((_PUBLIC[kind], "SigmaHQ"), (OURS[kind], "built-in")):
        if folder.is_dir() and (count := len(files(folder))):
            return RuleSet(folder, label, count)
    return None


def multiply(source: RuleSet, count: int, out: Path) -> RuleSet:
    """Write `count` rules: the real ones first, then copies that ask for other values.

    A copy keeps the shape of its rule and gets an id and a title of its own. In each of its
    selections the values of one field are changed, another field from copy to copy, so that
    copies still share discriminating values with real traffic, as rules written for one
    organisation do. Filters are left alone: changed, they would let more through.
    """
    originals = [yaml.safe_load(p.read_text("utf-8")) for p in files(source.folder)]
    originals = [rule for rule in originals if isinstance(rule, dict) and "detection" in rule]
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*.yml"):
        stale.unlink()
    made = 0
    for turn in range(1 + count // max(1, len(originals))):
        for rule in originals:
            if made == count:
                break
            shown = rule if turn == 0 else _changed(rule, turn)
            target = out / f"{made:05d}.yml"
            target.write_text(yaml.safe_dump(shown, sort_keys=False), "utf-8")
            made += 1
    return RuleSet(out, source.label, made)


def _changed(rule: dict[str, Any], turn: int) -> dict[str, Any]:
    other = copy.deepcopy(rule)
    other["id"] = str(uuid.uuid5(_SPACE, f"{rule['id']}/{turn}"))
    other["title"] = f"{rule['title']} ({turn})"
    other.pop("name", None)
    for name, selection in other["detection"].items():
        if name in ("condition", "timeframe") or name.startswith(("filter", "falsepositive")):
            continue
        if isinstance(selection, list) and all(not isinstance(s, dict) for s in selection):
            other["detection"][name] = [_value(v, turn) for v in selection]
            continue
        for part in _maps(selection):
            fields = [f for f, v in part.items() if _can_change(f, v)]
            if fields:
                field = fields[turn % len(fields)]
                value = part[field]
                part[field] = (
                    [_value(v, turn) for v in value]
                    if isinstance(value, list)
                    else _value(value, turn)
                )
    return other


def _maps(selection: Any) -> Iterator[dict[str, Any]]:
    if isinstance(selection, dict):
        yield selection
    elif isinstance(selection, list):
        for item in selection:
            yield from _maps(item)


def _can_change(field: str, value: Any) -> bool:
    if any(word in field.split("|")[1:] for word in ("re", "exists", "cidr", "fieldref")):
        return False
    values = value if isinstance(value, list) else [value]
    return all(isinstance(v, str | int) and not isinstance(v, bool) and v != "*" for v in values)


def _value(value: Any, turn: int) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value + 1000 * turn
    if isinstance(value, str):
        return f"{value}x{turn}"
    return value
