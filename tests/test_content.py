"""Every rule that comes with Trailhound, against the logs that lie beside it.

A rule is one file `content/<product>/<name>.yml`. Beside it lie `<name>.hits.*` and
`<name>.misses.*` (`.jsonl`, or `.log` for text logs): cases, separated by a blank line. Each
case is scanned by itself, with the rules of that file alone; a hit must give a finding, a miss
must give none, and both must be read whole.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from trailhound.intake.files import find_inputs
from trailhound.model.findings import Finding
from trailhound.pipeline.coverage import coverage
from trailhound.pipeline.rulebooks import BUILTIN, LoadedRules, load_rules
from trailhound.pipeline.scan import Scan, plan_for, run_scan
from trailhound.sources import SOURCES

RULE_FILES = sorted(BUILTIN.glob("*/*.yml"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in RULE_FILES]
AT_LEAST = {"kubernetes": 18, "linux": 14, "aws": 13}
# ATT&CK, "Enterprise tactics", as Sigma writes them; version 19 split defense-evasion in two.
TACTICS = {
    "attack.reconnaissance",
    "attack.resource-development",
    "attack.initial-access",
    "attack.execution",
    "attack.persistence",
    "attack.privilege-escalation",
    "attack.defense-evasion",
    "attack.stealth",
    "attack.defense-impairment",
    "attack.credential-access",
    "attack.discovery",
    "attack.lateral-movement",
    "attack.collection",
    "attack.command-and-control",
    "attack.exfiltration",
    "attack.impact",
}
TECHNIQUE = re.compile(r"attack\.t[0-9]{4}(\.[0-9]{3})?")
VULNERABILITY = re.compile(r"cve\.[0-9]{4}-[0-9]{4,}")
PASSES_ON = ("falco",)
"""Products whose rules pass on an alert of whatever kind, so they name no technique."""


@cache
def rules_of(path: Path) -> LoadedRules:
    return load_rules([str(path)], builtin=False, placeholders={}, cache=None)


@cache
def all_rules() -> LoadedRules:
    return load_rules([], builtin=True, placeholders={}, cache=None)


def speaking(path: Path) -> set[str]:
    return {rule.info.uid for rule in rules_of(path).ruleset.rules if not rule.silent}


def samples(path: Path, kind: str) -> Path:
    found = sorted(path.parent.glob(f"{path.stem}.{kind}.*"))
    assert len(found) == 1, f"one file {path.stem}.{kind}.jsonl or .log, found {found}"
    return found[0]


def cases(path: Path, kind: str) -> list[tuple[int, str, bytes]]:
    """(number, suffix, log) of every case."""
    file = samples(path, kind)
    parts = re.split(rb"\n[ \t]*\n", file.read_bytes().strip(b"\n"))
    return [
        (number, file.suffix, part.strip(b"\n") + b"\n") for number, part in enumerate(parts, 1)
    ]


def found_in(path: Path, suffix: str, log: bytes, folder: Path) -> set[str]:
    """Scan one case; return the uids of the rules that found something."""
    file = folder / f"case{suffix}"
    file.write_bytes(log)
    findings: list[Finding] = []
    totals = run_scan(Scan(find_inputs([str(file)]), rules_of(path)), findings.append)
    assert totals.records_lost == 0, totals.failures
    assert totals.records_read == log.count(b"\n")
    assert sum(totals.events.values()) > 0, "not one event was read"
    assert totals.rules_ran > 0, f"no rule of the file reads {dict(totals.events)}"
    assert not totals.rule_problems, totals.rule_problems
    assert not totals.rules_blind, totals.rules_blind
    return {finding.rule.uid for finding in findings}


@pytest.mark.parametrize("path", RULE_FILES, ids=NAMES)
def test_hits(path: Path, tmp_path: Path) -> None:
    seen: set[str] = set()
    for number, suffix, log in cases(path, "hits"):
        found = found_in(path, suffix, log, tmp_path)
        assert found, f"case {number} of {samples(path, 'hits').name} gives no finding"
        seen |= found
    assert seen == speaking(path), "a rule of the file is never hit"


@pytest.mark.parametrize("path", RULE_FILES, ids=NAMES)
def test_misses(path: Path, tmp_path: Path) -> None:
    for number, suffix, log in cases(path, "misses"):
        found = found_in(path, suffix, log, tmp_path)
        assert not found, f"case {number} of {samples(path, 'misses').name} gives a finding"


@pytest.mark.parametrize("path", RULE_FILES, ids=NAMES)
def test_text(path: Path) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    rules = {rule.info.uid: rule for rule in rules_of(path).ruleset.rules}
    assert len(rules) == len(documents)
    for document in documents:
        uid = document["id"]
        assert UUID(uid).version == 4
        assert str(UUID(uid)) == uid
        assert document["status"] in ("stable", "test")
        assert document["author"] == "Trailhound developers"
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(document["date"]))
        assert document["level"] in ("informational", "low", "medium", "high", "critical")
        assert document["title"]
        assert document["description"]
        if rules[uid].silent:
            continue
        about, _, advice = " ".join(document["description"].split()).partition(" Check first: ")
        assert about.endswith("."), "what the finding means comes first"
        assert advice.endswith("."), "then what to check first"
        assert all(url.startswith("https://") for url in document["references"])
        assert document["references"]
        assert document["falsepositives"]
        if path.parent.name in PASSES_ON:
            assert "tags" not in document
            continue
        assert TACTICS.intersection(document["tags"])
        assert any(TECHNIQUE.fullmatch(tag) for tag in document["tags"])
        assert all(
            tag in TACTICS or TECHNIQUE.fullmatch(tag) or VULNERABILITY.fullmatch(tag)
            for tag in document["tags"]
        )


def test_all_rules_load_together() -> None:
    ruleset = all_rules().ruleset
    assert not ruleset.errors
    assert not [(rule.info.path, note) for rule in ruleset.rules for note in rule.notes]
    # One file must not silence, shadow or feed on the rules of another.
    alone = {
        (rule.info.uid, rule.silent) for path in RULE_FILES for rule in rules_of(path).ruleset.rules
    }
    assert {(rule.info.uid, rule.silent) for rule in ruleset.rules} == alone
    titles = [rule.info.title for rule in ruleset.rules]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", RULE_FILES, ids=NAMES)
def test_every_field_can_be_there(path: Path) -> None:
    for rule in rules_of(path).ruleset.rules:
        if rule.predicate is None:
            continue
        views = coverage(rule)
        assert views, f"no source serves {rule.logsource}"
        known = {field.name for view in views for field in view.fields if field.known}
        asked = {field.name for view in views for field in view.fields}
        assert asked == known, f"in no catalogue: {sorted(asked - known)}"


def test_no_rule_reads_every_event() -> None:
    # A rule without a gate would have every record of a bulk source parsed whole.
    plan = plan_for(all_rules().ruleset.rules)
    for source in SOURCES:
        if source.gate is None or (view := plan.views.get((source.name, source.gate.view))) is None:
            continue
        assert not [plan.rules[rule.index].info.path for rule in view.gates.free]


@pytest.mark.parametrize(
    "product", sorted(path.name for path in BUILTIN.iterdir() if path.is_dir())
)
def test_there_are_enough(product: str) -> None:
    if product in AT_LEAST:
        assert sum(path.parent.name == product for path in RULE_FILES) >= AT_LEAST[product]


def test_every_sample_belongs_to_a_rule() -> None:
    for file in BUILTIN.glob("*/*.*"):
        assert file.parent.name == "__pycache__" or file.name.split(".")[0] + ".yml" in {
            path.name for path in file.parent.glob("*.yml")
        }
