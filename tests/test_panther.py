"""Panther's files: what they become, and what is said of what they cannot be."""

import argparse
import ast
import inspect
import json
import textwrap
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.panther import DIALECT
from trailhound.dialects.panther.items import Rejected
from trailhound.dialects.panther.keypath import key_path
from trailhound.dialects.panther.pretest import pretest
from trailhound.dialects.panther.syntax import Modules
from trailhound.engine.match import matcher
from trailhound.model.levels import Level
from trailhound.rules.book import RuleSet, dump_books, link, load_books
from trailhound.rules.ir import Deduplicated, Field, Sequence, Signal, Together

MINUTE = 60_000_000_000
RULE = """
    AnalysisType: rule
    RuleID: My.Rule
    Enabled: true
    LogTypes: [AWS.CloudTrail]
    Severity: High
"""
DETECTION = """
    Detection:
      - {KeyPath: eventName, Condition: Equals, Value: StopLogging}
"""


def loaded(files: Mapping[str, str], python: Mapping[str, str] | None = None) -> RuleSet:
    siblings = {name: source.encode() for name, source in (python or {}).items()}
    rule_files = [
        RuleFile(name, textwrap.dedent(text).encode(), siblings) for name, text in files.items()
    ]
    assert all(map(DIALECT.recognises, rule_files))
    assert DIALECT.read_together is not None
    books = DIALECT.read_together(rule_files, {})
    assert load_books(dump_books(books)) == books
    return link(books)


def joined(*parts: str) -> str:
    return "".join(textwrap.dedent(part) for part in parts)


def test_a_rule_becomes_hits_and_their_alerts() -> None:
    text = joined(
        RULE,
        DETECTION,
        """
        DisplayName: Logging stops
        Description: A trail is stopped.
        Runbook: Start it.
        Reference: https://example.com/x
        Tags: [AWS]
        Reports: {MITRE ATT&CK: ["TA0005:T1562.008", TA0005], CIS: ["2.1"]}
        DedupPeriodMinutes: 15
        Threshold: 3
        GroupBy: [{KeyPath: userIdentity.arn}, {Key: awsRegion}]
        """,
    )
    hits, alerts = loaded({"a.yml": text}).rules
    assert (hits.info.uid, hits.silent) == ("My.Rule:AWS.CloudTrail", True)
    assert (hits.logsource.product, hits.logsource.service) == ("aws", "cloudtrail")
    assert (alerts.info.uid, alerts.info.title) == ("My.Rule", "Logging stops")
    assert alerts.info.level is Level.HIGH
    assert alerts.info.description == "A trail is stopped.\nRunbook: Start it."
    assert alerts.info.tags == ("AWS", "attack.t1562.008", "attack.ta0005", "CIS:2.1")
    window = alerts.window
    assert isinstance(window, Deduplicated)
    assert window.rules == ("My.Rule:AWS.CloudTrail",)
    assert (window.period_ns, window.threshold) == (15 * MINUTE, 3)
    assert [field.name for field in window.group_by] == ["userIdentity.arn", "awsRegion"]


def test_alerts_without_groups_are_told_apart_by_their_title() -> None:
    text = joined(RULE, DETECTION, 'AlertTitle: "{userIdentity.arn} stops {awsRegion}"\n')
    window = loaded({"a.yml": text}).rules[1].window
    assert window is not None
    assert [field.name for field in window.group_by] == ["userIdentity.arn", "awsRegion"]


def test_every_log_type_is_a_rule_of_its_own() -> None:
    text = joined(RULE, DETECTION).replace("[AWS.CloudTrail]", "[GitHub.Audit, Azure.Audit, X.Y]")
    *hits, alerts = loaded({"a.yml": text}).rules
    assert [str(rule.logsource) for rule in hits] == [
        "product=github service=audit",
        "product=azure service=auditlogs",
        "product=azure service=signinlogs",
        "product=azure service=riskdetection",
    ]
    assert [note.text for note in alerts.notes] == ["log types that are not read here: X.Y"]


def test_a_rule_whose_logs_are_not_read_is_there_and_reads_nothing() -> None:
    text = joined(RULE, DETECTION).replace("AWS.CloudTrail", "Slack.AuditLogs")
    hits, _ = loaded({"a.yml": text}).rules
    assert str(hits.logsource) == "product=panther service=Slack.AuditLogs"


def test_python_comes_with_globals_and_models() -> None:
    files = {
        "a.yml": joined(RULE, "Filename: a.py\nTests:\n- {Name: t, ExpectedResult: true, Log: {}}"),
        "g.yml": "AnalysisType: global\nGlobalID: base\nFilename: base.py",
        "m.yml": """
            AnalysisType: datamodel
            DataModelID: Model.X
            Enabled: true
            LogTypes: [AWS.CloudTrail]
            Filename: m.py
            Mappings:
              - {Name: actor_user, Path: $.userIdentity.userName}
              - {Name: event_type, Method: kind}
        """,
    }
    python = {
        "a.py": "from base import f\n\ndef rule(event):\n    return f(event)\n",
        "base.py": "def f(event):\n    return event.get('eventName') == 'StopLogging'\n",
        "m.py": "def kind(event):\n    return 'x'\n",
    }
    found = loaded(files, python)
    assert found.errors == ()
    program = found.programs["My.Rule"]
    assert program.helpers == (("base", python["base.py"]),)
    (model,) = program.models
    assert [(m.name, m.path, m.method) for m in model.mappings] == [
        ("actor_user", "$.userIdentity.userName", ""),
        ("event_type", "", "kind"),
    ]
    assert [(test.rule_id, test.name, test.expected) for test in found.tests] == [
        ("My.Rule", "t", True)
    ]
    assert isinstance(found.rules[1].window, Deduplicated)
    assert found.rules[1].window.group_by == (Field("dedup", ()),)


def test_values_that_a_rule_tells_can_be_counted() -> None:
    source = "def rule(event):\n    return True\n\ndef unique(event):\n    return 'x'\n"
    text = joined(RULE, "Filename: a.py\nThreshold: 5\n")
    window = loaded({"a.yml": text}, {"a.py": source}).rules[1].window
    assert isinstance(window, Deduplicated)
    assert window.unique


def test_a_derived_rule_takes_over_what_it_does_not_say() -> None:
    derived = """
        AnalysisType: rule
        RuleID: My.Derived
        BaseDetection: My.Rule
        Severity: Low
        Threshold: 9
    """
    rules = loaded({"a.yml": joined(RULE, DETECTION), "b.yml": derived}).rules
    base_hits, _, hits, alerts = rules
    assert hits.predicate == base_hits.predicate
    assert alerts.info.level is Level.LOW
    assert alerts.info.path == "b.yml"
    assert alerts.window is not None
    assert alerts.window.threshold == 9  # type: ignore[union-attr]


def test_signals_and_switched_off_rules() -> None:
    (hits,) = loaded({"a.yml": joined(RULE, DETECTION, "CreateAlert: false\n")}).rules
    assert hits.silent
    text = joined(RULE, DETECTION).replace("Enabled: true", "Enabled: false")
    assert [rule.enabled for rule in loaded({"a.yml": text}).rules] == [False, False]


CORRELATION = """
    AnalysisType: correlation_rule
    RuleID: My.Correlation
    Enabled: true
    Severity: Critical
    Detection:
"""


def correlated(detection: str) -> RuleSet:
    other = joined(RULE, DETECTION).replace("My.Rule", "My.Other").replace("AWS.Cl", "GitHub.A, X")
    other = other.replace("GitHub.A, XoudTrail", "GitHub.Audit, Okta.SystemLog")
    context = "AlertContext:\n- {KeyName: who, KeyValue: {KeyPath: actor}}\n"
    files = {
        "a.yml": joined(RULE, DETECTION),
        "b.yml": joined(other, context),
        "c.yml": joined(CORRELATION, textwrap.indent(textwrap.dedent(detection), "  ")),
    }
    return loaded(files)


def test_a_sequence() -> None:
    found = correlated("""
        - Sequence:
            - {ID: First, RuleID: My.Rule, MinMatchCount: 3}
            - {ID: Not, RuleID: My.Other, Absence: true}
          Transitions:
            - From: First
              To: Not
              WithinTimeFrameMinutes: 5
              Match: [{From: userIdentity.userName, To: p_alert_context.who}]
          Schedule: {RateMinutes: 5, TimeoutMinutes: 1}
          LookbackWindowMinutes: 30
    """)
    assert found.errors == ()
    rule = found.rules[-1]
    window = rule.window
    assert isinstance(window, Sequence)
    uids = ("My.Rule:AWS.CloudTrail", "My.Other:GitHub.Audit", "My.Other:Okta.SystemLog")
    assert window.rules == uids
    assert window.signals == (
        Signal(name="First", rules=(0,), at_least=3),
        Signal(name="Not", rules=(1, 2), at_most=0, within_ns=5 * MINUTE),
    )
    assert window.timespan_ns == 30 * MINUTE
    (alias,) = window.aliases
    assert {uid: field.paths for uid, field in alias.fields} == {
        uids[0]: (("userIdentity", "userName"),),
        uids[1]: (("actor",),),
        uids[2]: (("actor",),),
    }
    assert "nothing is found where the logs end before" in rule.notes[-1].text
    # The rules still make alerts of their own.
    assert [rule.info.uid for rule in found.rules if not rule.silent] == [
        "My.Rule",
        "My.Other",
        "My.Correlation",
    ]


def test_a_group() -> None:
    found = correlated("""
        - Group:
            - {ID: A, RuleID: My.Rule}
            - {ID: B, RuleID: My.Other, MinMatchCount: 2, MaxMatchCount: 4}
          MatchCriteria:
            user:
              - {GroupID: A, Match: userIdentity.userName}
              - {GroupID: B, Match: actor}
    """)
    window = found.rules[-1].window
    assert isinstance(window, Together)
    assert window.timespan_ns == 15 * MINUTE
    assert [field.name for field in window.group_by] == ["user"]
    assert window.signals[1] == Signal(name="B", rules=(1, 2), at_least=2, at_most=4)


SIGNALS = "- Sequence: [{ID: A, RuleID: My.Rule}, {ID: B, RuleID: My.Other}]\n"
BAD_CORRELATIONS = {
    "- Sequence: []": "Sequence must be a list of 1 to 32 signals",
    "- {}": "Detection must hold a Sequence or a Group",
    "- Sequence: [{ID: A, RuleID: No.Such}]": "refers to 'No.Such', which is not loaded",
    "- Sequence: [{ID: A, RuleID: My.Rule, Absence: true}]": "all of its signals are absent",
    "- Sequence: [{ID: A, RuleID: My.Rule, SignalMatch: x}]": "SignalMatch of a signal is not",
    "- Sequence: [{ID: A, RuleID: My.Rule, MaxMatchCount: 2}]": "MaxMatchCount is not supported",
    SIGNALS + "  Transitions: [{From: B, To: A}]": "must lead from one signal to the next",
    SIGNALS + "  Transitions: [{From: A, To: C}]": "must name signals",
    "- Sequence: [{ID: A, RuleID: My.Rule}, {ID: B, RuleID: My.Rule}, {ID: C, RuleID: My.Rule}]\n"
    "  Transitions: [{From: A, To: B, Match: [{On: x}]}]": "'C' is not matched on anything",
}


@pytest.mark.parametrize(("detection", "reason"), BAD_CORRELATIONS.items())
def test_correlations_that_cannot_be_used(detection: str, reason: str) -> None:
    (error,) = correlated(detection).errors
    assert error.path == "c.yml"
    assert reason in error.reason


EXPRESSION = "\nDetection:\n  - "
BAD_RULES = {
    EXPRESSION + "{KeyPath: a, Condition: Sounds, Value: x}": (9, "no condition 'Sounds'"),
    EXPRESSION + "{KeyPath: 'a..b', Condition: Exists}": (9, "'a..b' is no key path"),
    EXPRESSION + "{KeyPath: a, Condition: Equals}": (9, "Equals needs a Value"),
    EXPRESSION + "{KeyPath: a, Condition: IsNull, Value: 1}": (9, "IsNull takes no value"),
    EXPRESSION + "{Enrichment: {Table: t}, Condition: Exists}": (9, "asks a lookup table"),
    EXPRESSION + "{KeyPath: a, Condition: IsIPAddressInCIDR, Value: 1.2.3.4/99}": (9, "no network"),
    EXPRESSION + "{All: [], Any: []}": (9, "All must stand by itself"),
    EXPRESSION + "{KeyPath: a, Sort: b, Condition: Exists}": (9, "'Sort' is no part"),
    "\nDetection: []": (8, "must be a list of match expressions"),
    "\nFilename: a.py": (8, "is no file beside it that can be read"),
    "": (3, "needs a Filename or a Detection"),
}


@pytest.mark.parametrize(("body", "expected"), BAD_RULES.items())
def test_rules_that_cannot_be_used(body: str, expected: tuple[int, str]) -> None:
    (error,) = loaded({"a.yml": joined(RULE, body)}).errors
    assert (error.path, error.rule) == ("a.yml", "My.Rule")
    assert expected[1] in error.reason
    assert error.line == expected[0]


BAD_PYTHON = {
    "def rule(event:": "a.py:1: not valid Python",
    "def title(event):\n    return 'x'\n": "a.py defines no function rule",
    "\x00": "not valid Python",
    "x = " + "(" * 500 + ")" * 500: "not valid Python",
}


@pytest.mark.parametrize(("source", "reason"), BAD_PYTHON.items())
def test_python_that_cannot_be_used(source: str, reason: str) -> None:
    (error,) = loaded({"a.yml": joined(RULE, "Filename: a.py\n")}, {"a.py": source}).errors
    assert reason in error.reason


def test_what_has_no_effect_is_said() -> None:
    text = joined(RULE, DETECTION, "OutputIds: [x]\nSevereness: High\n")
    rule = loaded({"a.yml": text}).rules[1]
    assert [(note.text.partition(":")[0], note.ignored) for note in rule.notes] == [
        ("OutputIds", False),
        ("Severeness", True),
    ]
    source = (
        "def rule(event):\n    return event.get('p_any_ip_addresses') or event.lookup('t', 'k')\n"
    )
    notes = loaded({"a.yml": joined(RULE, "Filename: a.py\n")}, {"a.py": source}).rules[1].notes
    assert [note.ignored for note in notes] == [False, True]


@pytest.mark.parametrize(
    "kind", ["scheduled_rule", "saved_query", "scheduled_query", "lookup_table", "policy", "odd"]
)
def test_what_cannot_run_is_an_error(kind: str) -> None:
    (error,) = loaded({"a.yml": f"AnalysisType: {kind}\nRuleID: X\n"}).errors
    assert error.line == 1
    assert error.reason


def test_what_cannot_run_and_is_switched_off_is_no_error() -> None:
    text = joined(RULE, "ScheduledQueries: [q]\n").replace(": rule", ": scheduled_rule")
    text = text.replace("Enabled: true", "Enabled: false")
    found = loaded({"a.yml": text, "b.yml": "AnalysisType: lookup_table\nEnabled: false\n"})
    (rule,) = found.rules
    assert found.errors == ()
    assert not rule.enabled
    assert "saved query" in rule.notes[0].text


def test_two_of_one_name_are_told() -> None:
    found = loaded(
        {
            "g.yml": "AnalysisType: global\nGlobalID: base\nFilename: a.py",
            "h.yml": "AnalysisType: global\nGlobalID: base\nFilename: b.py",
        },
        {"a.py": "x = 1", "b.py": "x = 2"},
    )
    (error,) = found.errors
    assert error.reason == "same name 'base' as a.py, which is used"


@given(st.text("ab.[]*0'\"\\ ", max_size=12))
def test_any_text_is_a_key_path_or_said_to_be_none(text: str) -> None:
    try:
        found = key_path(text)
    except Rejected:
        return
    assert found.path
    assert found.name == text


def test_the_test_before_a_rule_can_be_made_of_any_python() -> None:
    for module in (argparse, ast, textwrap):
        tree = ast.parse(inspect.getsource(module))
        modules = Modules()
        modules.add("helpers", tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.name, node.decorator_list = "rule", []
                event = (node.args.args or [ast.arg("event")])[:1]
                node.args = ast.arguments([], event, None, [], [], None, [])
                for part in pretest(ast.Module([node], []), modules, "AWS.CloudTrail"):
                    matcher(part)({})


yaml_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["", "a.b", "x[0]", "{a}"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["KeyPath", "Condition", "Value", "Values", "All", "ID", "RuleID"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
KEYS = (
    *("RuleID", "Enabled", "Severity", "LogTypes", "Detection", "Filename", "InlineFilters"),
    *("AlertTitle", "AlertContext", "GroupBy", "DynamicSeverities", "Tests", "Threshold"),
    *("Reports", "Tags", "BaseDetection", "Mappings", "GlobalID", "DataModelID"),
)


@given(
    st.sampled_from(["rule", "correlation_rule", "global", "datamodel"]),
    st.dictionaries(st.sampled_from(KEYS), yaml_values, max_size=4),
)
def test_no_yaml_raises(kind: str, content: dict[str, object]) -> None:
    base = {
        "AnalysisType": kind,
        "RuleID": "X",
        "Severity": "Low",
        "LogTypes": ["AWS.CloudTrail"],
        "Detection": [{"KeyPath": "a", "Condition": "Exists"}],
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in {**base, **content}.items()]
    loaded({"a.yml": "\n".join(lines) + "\n"}, {"a.py": "def rule(event): return True"})
