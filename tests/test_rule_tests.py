"""`trailhound rules test`: the tests that stand in rule files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailhound.cli.main import main
from trailhound.dialects.panther.logs import LOG_TYPES, document_of, event_of
from trailhound.dialects.panther.rule_outputs import Signalled, signalled

PACK = Path(__file__).parent / "python_rules" / "pack"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["rules", "test", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        out: list[str] = []
        patch.setattr("builtins.print", out.append)
        assert main(["rules", "test", str(PACK), "--json"]) == 1
    return json.loads(out[0])


def test_verdicts_are_those_that_the_names_say(report: dict[str, Any]) -> None:
    wrong = [
        (test["rule_id"], test["name"], test["reasons"])
        for test in report["tests"]
        if test["passed"] is test["name"].endswith("(fails)")
    ]
    assert wrong == []
    assert {test["rule_id"] for test in report["tests"]} == {
        "Pack.BucketVersioning",
        "Pack.ConsoleLogin",
        "Pack.ConsoleLogin.Admins",
        "Pack.Filtered",
        "Pack.LoginThenStop",
        "Pack.ManyRefused",
        "Pack.StoppedLogging",
        "Pack.Verdicts",
        "Pack.YamlValues",
    }
    assert report["untested"] == ["Pack.Untested"]
    assert report["errors"] == []


def test_what_functions_said_is_told(report: dict[str, Any]) -> None:
    first, second, *_ = (t for t in report["tests"] if t["rule_id"] == "Pack.ConsoleLogin")
    assert {each["function"]: each["output"] for each in first["functions"]} == {
        "rule": True,
        "title": "eve signed in, owner team-1",
        "dedup": "IAMUser",
        "severity": "DEFAULT",
        "alert_context": {
            "names": ["a", "b"],
            "copy": {
                "p_log_type": "AWS.CloudTrail",
                "eventName": "ConsoleLogin",
                "sourceIPAddress": "93.184.216.34",
                "userIdentity": {"type": "IAMUser", "userName": "eve"},
                "requestParameters": {"rules": [{"name": "a"}, {"name": "b"}]},
            },
        },
    }
    (failed,) = [each for each in second["functions"] if each["error"]]
    assert failed == {
        "function": "title",
        "output": None,
        "error": "ConnectionError: no network (trail_helpers.py:12 in owner_of)",
        "line": 18,
    }


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(PACK), "--filter", "RuleID=pack.stoppedlogging"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Pack.StoppedLogging  ")
    assert lines[1:] == [
        "  pass  A person stops it  (line 17)",
        "  pass  A service stops it  (line 20)",
        "  FAIL  Something else (fails)  (line 23)",
        "        expected a match, and it did not match",
        "3 tests: 2 passed, 1 failed; 0 rules without tests, 0 skipped, 0 errors",
    ]


@pytest.mark.parametrize(
    ("filters", "rules"),
    [
        (["RuleID=Pack.Filtered,pack.nobody"], {"Pack.Filtered"}),
        (["Severity=Low"], {"Pack.Filtered", "Pack.Verdicts"}),
        (["Severity=Low", "RuleID!=Pack.Verdicts"], {"Pack.Filtered"}),
        (["Tags=identity"], {"Pack.ConsoleLogin", "Pack.ConsoleLogin.Admins"}),
        (["Test=By another"], {"Pack.LoginThenStop"}),
    ],
)
def test_filters(filters: list[str], rules: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = [part for text in filters for part in ("--filter", text)]
    _, found = run(capsys, PACK, *options)
    assert {test["rule_id"] for test in found["tests"]} == rules


def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, PACK, "--filter", "Test=A person stops it")[0] == 0
    assert run(capsys, PACK, "--filter", "RuleID=Pack.Untested")[0] == 3
    assert main(["rules", "test", str(PACK), "--filter", "Colour=red"]) == 2
    assert "KEY one of RuleID, Severity" in capsys.readouterr().err
    assert main(["rules", "test", str(tmp_path / "nowhere")]) == 2


def test_a_rule_that_cannot_be_loaded_is_an_error_and_the_others_are_tested(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(PACK, pack)
    (pack / "rules" / "filtered.py").write_text(
        "import os\nos.system('touch /tmp/here')\ndef rule(event):\n    return True\n"
    )
    shutil.copy(pack / "rules" / "filtered.py", pack / "rules" / "untested.py")
    code, found = run(capsys, pack, "--filter", "RuleID=Pack.Filtered,Pack.StoppedLogging")
    assert code == 1
    (error,) = found["errors"]
    assert (error["line"], error["rule"]) == (2, "Pack.Filtered")
    assert error["path"].endswith("filtered.py")
    assert "PermissionError: a rule may not do this: os.system" in error["reason"]
    reasons = [test["reasons"] for test in found["tests"] if test["rule_id"] == "Pack.Filtered"]
    assert reasons == [["the rule cannot be loaded"]] * 2
    assert sum(test["passed"] for test in found["tests"]) == 2


@pytest.mark.parametrize("log_type", LOG_TYPES)
@given(
    document=st.dictionaries(
        st.sampled_from(["@type", "at", "kind", "id", "eventName", "eventType", "size"]),
        st.integers() | st.lists(st.dictionaries(st.sampled_from(["@type", "b"]), st.integers())),
    )
)
def test_a_document_is_the_same_after_the_way_to_panther_and_back(
    log_type: str, document: dict[str, Any]
) -> None:
    back = document_of(log_type, event_of(log_type, document))
    assert {key: value for key, value in back.items() if value is not None} == document


def test_what_is_not_run_is_skipped_and_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rule.py").write_text("def rule(event):\n    return True\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yml").write_text(
            f"AnalysisType: saved_query\nQueryName: {name}\nEnabled: true\nQuery: SELECT 1\n"
        )
    (tmp_path / "policy.yml").write_text(
        "AnalysisType: policy\nPolicyID: P\nEnabled: true\nFilename: rule.py\nSeverity: Low\n"
        "Tests: [{Name: t, ExpectedResult: true, Resource: {}}]\n"
    )
    (tmp_path / "rule.yml").write_text(
        "AnalysisType: rule\nRuleID: R\nEnabled: true\nFilename: rule.py\nSeverity: Low\n"
        "LogTypes: [AWS.CloudTrail]\nTests: [{Name: t, ExpectedResult: true, Log: {}}]\n"
    )
    assert main(["rules", "test", str(tmp_path)]) == 1
    *_, skipped, error, total = capsys.readouterr().out.splitlines()
    assert skipped == "skipped: 2: saved queries ask Panther's data lake; there is none here"
    assert error.endswith("policy.yml:4:1: rule.py defines no function policy")
    assert total == "1 test: 1 passed, 0 failed; 0 rules without tests, 2 skipped, 1 error"


def test_a_policy_runs_in_no_scan_and_its_tests_tell_what_it_returned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    policies = PACK / "policies"
    assert main(["rules", "lint", str(policies)]) == 1
    assert "policies check resources of cloud accounts, not logs" in capsys.readouterr().out
    helpers = PACK / "global_helpers"
    code, found = run(capsys, policies, helpers, "--filter", "Severity=Medium")
    assert code == 1
    tests = {test["name"]: test for test in found["tests"]}
    # True is a resource as it should be: no alert.
    assert tests["It keeps them"]["matched"] is False
    assert tests["It keeps none"]["matched"] is True
    assert tests["The wrong way round (fails)"]["reasons"] == [
        "expected True, and policy returned False"
    ]
    assert tests["No bool (fails)"]["reasons"] == ["policy failed"]
    said = {each["function"]: each for each in tests["No bool (fails)"]["functions"]}
    assert said["policy"]["error"] == "policy() returned str, not bool"
    assert tests["It raises (fails)"]["functions"][0]["line"] == 6


def test_a_policy_cannot_stand_in_for_a_rule(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("def policy(resource):\n    return False\n")
    (tmp_path / "b.py").write_text("def rule(event):\n    return True\n")
    shared = "Enabled: true\nSeverity: Low\n"
    (tmp_path / "a.yml").write_text(
        f"AnalysisType: policy\nPolicyID: X\nFilename: a.py\n{shared}"
        "Tests: [{Name: of the policy, ExpectedResult: false, Resource: {}}]\n"
    )
    (tmp_path / "b.yml").write_text(
        f"AnalysisType: rule\nRuleID: X\nFilename: b.py\nLogTypes: [AWS.CloudTrail]\n{shared}"
        "Tests: [{Name: of the rule, ExpectedResult: true, Log: {}}]\n"
    )
    code, found = run(capsys, tmp_path)
    assert code == 1
    passed = {test["name"]: test["passed"] for test in found["tests"]}
    assert passed == {"of the policy": False, "of the rule": True}
    assert "same id 'X' as another" in found["errors"][0]["reason"]


OUTPUTS: list[tuple[Any, Any]] = [
    ([{"ID": "a"}], [Signalled("a", 0.0, {})]),
    (
        [{"ID": "a", "Matches": {"f": {"x": [0, 2.5]}}}],
        [Signalled("a", 0.0, {"f": "x"}), Signalled("a", 2.5, {"f": "x"})],
    ),
    (
        [{"ID": "a", "Matches": {"f": {"x": [1]}, "g": {5: [1]}}}],
        [Signalled("a", 1.0, {"f": "x", "g": "5"})],
    ),
    ("a", "must be a list"),
    ([{}], "needs an ID"),
    ([{"ID": "a", "Matches": []}], "must be a mapping"),
    ([{"ID": "a", "Matches": {"f": [1]}}], "must be a mapping of values"),
    ([{"ID": "a", "Matches": {"f": {"x": ["soon"]}}}], "is no minute"),
    (
        [{"ID": "a", "Matches": {n: {m: [0] for m in range(20)} for n in range(9)}}],
        "more than 10,000",
    ),
]


@pytest.mark.parametrize(("outputs", "found"), OUTPUTS)
def test_outputs_of_signals(outputs: Any, found: Any) -> None:
    if isinstance(found, str):
        with pytest.raises(ValueError, match=found):
            signalled(outputs)
    else:
        assert signalled(outputs) == found
