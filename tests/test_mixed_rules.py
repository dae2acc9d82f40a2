"""A folder with rules of every dialect, in one pass over the same log."""

from collections import Counter
from pathlib import Path

import pytest

from trailhound.intake.files import find_inputs
from trailhound.model.findings import Finding
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import Scan, run_scan

FOLDER = Path(__file__).parent / "samples" / "mixed_rules"


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_dialect_finds_its_own_in_one_pass(jobs: int) -> None:
    rules = load_rules([str(FOLDER)], builtin=False, placeholders={}, cache=None)
    assert rules.ruleset.errors == ()
    found: list[Finding] = []
    log = str(FOLDER / "log.jsonl")
    totals = run_scan(Scan(find_inputs([log]), rules, jobs=jobs), found.append)
    assert totals.records_read == 3
    assert totals.rule_problems == ()
    assert Counter((finding.rule.dialect, finding.rule.title) for finding in found) == {
        ("sigma", "Somebody opens a shell in a pod"): 2,
        ("falco", "Shell in pod"): 2,
        ("elastalert", "Exec into pod"): 2,
        ("panther", "Mixed.Simple"): 1,
        ("panther", "Mixed.Python"): 1,
        ("panther", "Mixed.Correlation"): 1,
    }
    (python,) = totals.python
    assert (python.rule, python.asked, python.matched) == ("Mixed.Python", 2, 2)
    messages = {finding.rule.title: finding.message for finding in found}
    assert messages["Mixed.Python"] == "anna opens a shell"
    assert messages["Shell in pod"] == "Shell in pod (user=anna pod=web-1)"
