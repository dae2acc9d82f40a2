"""Falco rule files: what is wrong in them is said with its place; they build on each other."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trailhound.cli.main import main
from trailhound.dialects import falco, sigma
from trailhound.dialects.contract import RuleFile
from trailhound.dialects.falco.catalogue import SOURCES, fields_of_source
from trailhound.dialects.falco.condition import (
    LIST_OPERATORS,
    NUMBER_OPERATORS,
    SIGN_OPERATORS,
    TRANSFORMERS,
    WORD_OPERATORS,
    Call,
    Check,
    FieldRef,
    Junction,
    Named,
    Negation,
    Value,
    shown,
)
from trailhound.dialects.falco.parser import DEPTH_LIMIT, ConditionError, parse
from trailhound.dialects.falco.read import read_files
from trailhound.engine.match import matcher
from trailhound.engine.output import speaker
from trailhound.engine.plan import SourceShape, make_plan
from trailhound.model.levels import Level
from trailhound.model.logsource import Route
from trailhound.rules.book import RuleSet, dump_books, link, load_books
from trailhound.rules.ir import Compare, Equals, Field, Rule

CORPORA = Path(__file__).parents[2] / "shared" / "corpora" / "falco"
RULE = """\
- rule: {name}
  desc: Something.
  condition: {condition}
  output: {output}
  priority: {priority}
  source: {source}
"""


def rule_text(condition: str = "ka.verb = get", **more: str) -> str:
    defaults = {"name": "One", "output": "It was", "priority": "NOTICE", "source": "k8s_audit"}
    return RULE.format(condition=condition, **{**defaults, **more})


def load(*texts: str, names: tuple[str, ...] = ()) -> RuleSet:
    paths = names or tuple(f"{number}.yaml" for number in range(len(texts)))
    files = [RuleFile(path, text.encode()) for path, text in zip(paths, texts, strict=True)]
    books = read_files(files)
    assert [book.path for book in books] == list(paths)
    assert load_books(dump_books(books)) == books
    return link(books)


def only(ruleset: RuleSet) -> Rule:
    assert ruleset.errors == ()
    (rule,) = ruleset.rules
    return rule


def matches(rule: Rule, document: dict[str, Any]) -> bool:
    assert rule.predicate is not None
    return matcher(rule.predicate)(document)


# --- what is wrong, and where ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        (rule_text("ka.verb = get and (ka.user.name = a"), 3, 49, "expected `)`"),
        (rule_text("ka.verb is get"), 3, 22, "expected an operator"),
        (rule_text("ka.verb = get und ka.verb = x"), 3, 28, "expected `and`, `or` or the end"),
        (rule_text('ka.verb = "a\\qb"'), 3, 26, "unknown escape"),
        (rule_text("ka.verb = 'a"), 3, 24, "not closed"),
        (rule_text("ka.vreb = get"), 3, 14, "'ka.vreb' is not known to source k8s_audit"),
        (rule_text("ka.verb = get and ct.name = x"), 3, 32, "'ct.name' is not known"),
        (rule_text("gibberish"), 3, 14, "macro 'gibberish' is not defined"),
        (rule_text("ka.user.groups = ops"), 3, 14, "is a list"),
        (rule_text("ka.verb bcontains cafe"), 3, 14, "works on bytes"),
        (rule_text("ka.verb regex 'a('"), 3, 14, "regular expression 'a(': missing )"),
        (rule_text("ka.verb regex 'a(?=b)'"), 3, 14, "regular expression 'a(?=b)': invalid"),
        (rule_text("ka.uri.param = x"), 3, 14, "needs an argument"),
        (rule_text("ka.verb[0] = x"), 3, 14, "takes no argument"),
        (rule_text("ka.req.pod.containers.image[x] intersects (a)"), 3, 14, "not an index"),
        (rule_text("join(ka.user.groups) = a"), 3, 14, "`join` is not supported"),
        (rule_text("evt.num > 5"), 3, 14, "not numbered here"),
        (rule_text("ka.verb in val(ka.user.groups)"), 3, 14, "different types"),
        (rule_text("okta.mfa.deny.countlast[9]>1 and okta.app=x", source="okta"), 3, 14, "whole"),
        (rule_text(priority="URGENT"), 5, 13, "unknown priority 'URGENT'"),
        (rule_text() + "  tags: k8s\n", 7, 9, "tags must be a list"),
        (rule_text() + "  enabled: maybe\n", 7, 12, "true or false"),
        (rule_text() + "  desc: again\n", 7, 3, "stands twice"),
        ("- rule: One\n  desc: x\n", 1, 3, "no condition"),
        ("- rule: One\n", 1, 3, "needs condition, output"),
        ("- rule: One\n  enabled: false\n", 1, 3, "not defined before"),
        ("- rule: One\n  append: true\n  condition: x\n", 1, 3, "not defined before"),
        ("- list: a\n  items: [x]\n  append: true\n", 1, 3, "not defined before"),
        ("- macro: 'a b'\n  condition: x\n", 1, 10, "no name for a macro"),
        ("- macro: a\n  condition: (x\n", 2, 16, "expected `)`"),
        ("- foo: bar\n", 1, 3, "an item must be one of"),
        ("foo: bar\n", 1, 1, "a list of items"),
        ("- required_engine_version: new\n", 1, 28, "no version"),
        ("- rule: [\n", 2, 1, "not valid YAML"),
    ],
)
def test_errors_have_their_place(text: str, line: int, column: int, words: str) -> None:
    (error,) = load(text).errors
    assert words in error.reason
    assert (error.path, error.line, error.column) == ("0.yaml", line, column), error


def test_places_are_found_in_folded_and_quoted_texts() -> None:
    folded = rule_text(">\n    ka.verb = get\n    and\n    ka.oops = x")
    (error,) = load(folded).errors
    assert (error.line, error.column) == (6, 5)
    quoted = rule_text('"ka.verb = get and\n    ka.oops = x"')
    (error,) = load(quoted).errors
    assert (error.line, error.column) == (4, 5)


def test_places_are_found_in_appended_conditions() -> None:
    more = "- rule: One\n  append: true\n  condition: and ka.oops = x\n"
    (error,) = load(rule_text(), more).errors
    assert (error.path, error.line, error.column) == ("1.yaml", 3, 18)


@pytest.mark.parametrize(
    ("exceptions", "words"),
    [
        ("{fields: [ka.verb]}", "no name"),
        ("{name: a}", "no fields"),
        ("{name: a, fields: [ka.verb], values: [[a, b]]}", "2 values for 1 fields"),
        ("{name: a, fields: [ka.verb], comps: [=, in]}", "equal length"),
        ("{name: a, fields: ka.verb, comps: =}", "in, pmatch or intersects"),
        ("{name: a, fields: [ka.oops], values: [[x]]}", "'ka.oops' is not known"),
        ("{name: a, fields: [ka.verb], comps: [like], values: [[x]]}", "works on bytes"),
        ("{name: a, fields: [ka.verb], other: 1}", "not known to an exception"),
    ],
)
def test_errors_in_exceptions(exceptions: str, words: str) -> None:
    (error,) = load(rule_text() + f"  exceptions:\n    - {exceptions}\n").errors
    assert words in error.reason
    assert error.line == 8


def test_one_bad_rule_stops_no_other() -> None:
    found = load(rule_text("oops", name="bad") + rule_text(name="good"))
    assert [rule.info.title for rule in found.rules] == ["good"]
    assert [error.rule for error in found.errors] == ["bad"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("priority: ERROR\n  override: {priority: append}", "cannot be overridden by append"),
        ("condition: x\n  override: {condition: mix}", "must be append or replace"),
        ("override: {condition: append}", "which is not given"),
        ("desc: y\n  condition: x\n  override: {condition: append}", "not named under `override`"),
        ("append: true\n  condition: x\n  override: {condition: append}", "exclude each other"),
    ],
)
def test_errors_in_overrides(override: str, words: str) -> None:
    found = load(rule_text() + f"- rule: One\n  {override}\n")
    assert any(words in error.reason for error in found.errors)
    assert matches(found.rules[0], {"verb": "get"}), "the rule stays as it was"


def test_macros_that_lead_nowhere() -> None:
    circle = "- macro: a\n  condition: ka.verb = x\n- macro: b\n  condition: a\n"
    circle += "- macro: a\n  append: true\n  condition: or b\n"
    (error,) = load(circle + rule_text("a")).errors
    assert "leads back to itself" in error.reason
    later = "- macro: a\n  condition: b\n- macro: b\n  condition: ka.verb = x\n"
    (error,) = load(later + rule_text("a")).errors
    assert "defined after" in error.reason


def test_macros_cannot_grow_without_bound() -> None:
    bomb = "- macro: m0\n  condition: ka.verb = a or ka.verb = b\n"
    for number in range(1, 40):
        bomb += f"- macro: m{number}\n  condition: m{number - 1} or (m{number - 1})\n"
    (error,) = load(bomb + rule_text("m39")).errors
    assert "more than 20,000 comparisons" in error.reason
    lists = "- list: l0\n  items: [a, b]\n"
    for number in range(1, 40):
        lists += f"- list: l{number}\n  items: [l{number - 1}, l{number - 1}]\n"
    (error,) = load(lists + rule_text("ka.verb in (l39)")).errors
    assert "more than 100,000 values" in error.reason


def test_nested_parentheses_are_bounded() -> None:
    with pytest.raises(ConditionError, match="nested deeper"):
        parse("(" * (DEPTH_LIMIT + 1) + "a")
    assert parse("(" * DEPTH_LIMIT + "a" + ")" * DEPTH_LIMIT) == Named("a")


# --- files together ----------------------------------------------------------------------


def test_files_build_on_each_other() -> None:
    base = "- macro: reads\n  condition: ka.verb in (verbs)\n- list: verbs\n  items: [get]\n"
    more = "- list: verbs\n  items: [list]\n  override: {items: append}\n"
    found = only(load(base, rule_text("reads"), more))
    assert found.info.path == "1.yaml"
    assert matches(found, {"verb": "get"})
    assert matches(found, {"verb": "list"})


def test_a_later_file_replaces_a_rule_and_says_so() -> None:
    found = only(load(rule_text(), rule_text("ka.verb = list")))
    assert (found.info.path, matches(found, {"verb": "get"})) == ("1.yaml", False)
    assert [note.text for note in found.notes] == ["replaces the rule of the same name at 0.yaml:1"]


def test_a_local_file_comes_after_what_it_changes() -> None:
    local = "- rule: One\n  enabled: false\n"
    found = only(load(local, rule_text(), names=("r/x.local.yaml", "r/x.yaml")))
    assert not found.enabled


def test_the_id_of_a_rule_lasts() -> None:
    first, second = only(load(rule_text())), only(load("\n\n" + rule_text("ka.verb = list")))
    assert first.info.uid == second.info.uid
    assert first.info.uid != only(load(rule_text(name="Two"))).info.uid


def test_a_rule_switched_off_never_runs() -> None:
    found = only(load(rule_text() + "  enabled: false\n"))
    plan = make_plan([found], [])
    assert (plan.views, plan.homeless) == ({}, ())


def test_priorities_become_levels() -> None:
    levels = {
        "EMERGENCY": Level.CRITICAL,
        "Error": Level.HIGH,
        "warning": Level.MEDIUM,
        "NOTICE": Level.LOW,
        "INFO": Level.INFORMATIONAL,
        "Debug": Level.INFORMATIONAL,
    }
    for word, level in levels.items():
        assert only(load(rule_text(priority=word))).info.level is level


def test_rules_over_system_calls_load_and_read_nothing_here() -> None:
    text = rule_text("evt.type in (open, openat) and fd.name pmatch (/etc)", source="syscall")
    found = only(load(text + "  warn_evttypes: false\n"))
    assert str(found.logsource) == "product=falco service=syscall"
    assert make_plan([found], []).homeless == (0,)


def test_a_rule_that_says_so_is_skipped_where_a_field_is_unknown() -> None:
    found = only(load(rule_text("ka.oops = x") + "  skip-if-unknown-filter: true\n"))
    assert not found.enabled
    assert found.notes[-1].ignored
    assert "'ka.oops'" in found.notes[-1].text


def test_what_has_no_effect_is_told() -> None:
    notes = only(load(rule_text() + "  capture: true\n  colour: red\n")).notes
    assert [note.ignored for note in notes] == [True, True]


def test_a_count_of_failures_becomes_a_window() -> None:
    condition = "okta.mfa.failure.countlast[300]>=3"
    found = load(rule_text(condition, source="okta"))
    assert found.errors == ()
    failure, window = found.rules
    assert failure.silent
    assert window.window is not None
    assert window.window.timespan_ns == 300 * 10**9
    denied = {"eventType": "user.mfa.okta_verify.deny_push"}
    assert matches(failure, denied)
    assert not matches(failure, {"eventType": "user.authentication.auth_via_mfa"})


# --- what a finding says -----------------------------------------------------------------


def said(output: str, document: dict[str, Any]) -> tuple[str, dict[str, str]]:
    rule = only(load(rule_text(output=json.dumps(output))))
    assert rule.output is not None
    told = speaker(rule.output)(document)
    return told.message, dict(told.values)


def test_values_are_put_into_the_output() -> None:
    document = {
        "user": {"username": "eve", "groups": ["a", "b"]},
        "requestURI": "/x?command=ls",
        "responseStatus": {"code": 201},
        "verb": None,
    }
    text, values = said(
        "u=%ka.user.name. g=%ka.user.groups c=%ka.uri.param[command] r=%ka.response.code"
        " ns=%ka.target.namespace U=%toupper(ka.user.name) v=%ka.verb 100%",
        document,
    )
    assert text == "u=eve. g=(a,b) c=ls r=201 ns=<NA> U=EVE v=null 100%"
    assert values["ka.user.name"] == "eve"
    assert values["ka.target.namespace"] == "<NA>"


def test_the_longest_known_field_counts() -> None:
    assert said("%ka.user.name.local", {"user": {"username": "eve"}})[0] == "eve.local"


def test_an_unknown_field_in_the_output_stays_and_is_told() -> None:
    rule = only(load(rule_text(output="by %ka.oops.x now")))
    assert [note.ignored for note in rule.notes] == [True]
    assert rule.output is not None
    assert speaker(rule.output)({})[0] == "by %ka.oops.x now"


def test_values_cannot_disguise_themselves() -> None:
    name = "eve\n\x1b[31mroot \u202eexe\\n" + "x" * 10_000
    text, _ = said("user=%ka.user.name", {"user": {"username": name}})
    assert text.startswith("user=eve\\n\\x1b[31mroot \\u202eexe\\\\nxx")
    assert text.isprintable()
    assert len(text) < 700


@given(st.text())
def test_every_output_is_printable(name: str) -> None:
    text, _ = said("%ka.user.name", {"user": {"username": name}})
    assert text.isprintable()


# --- the grammar -------------------------------------------------------------------------

words = st.from_regex(re.compile(r"[a-z][a-z0-9_]{0,6}"), fullmatch=True).filter(
    lambda word: not word.startswith(("or", "and", "not", "exists", *TRANSFORMERS, "val", "join"))
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
bare = st.from_regex(re.compile(r"""[a-z0-9/.:@*-]{1,8}"""), fullmatch=True)
values = st.builds(Value, bare) | st.builds(Value, texts, st.just(value=True))
names = st.lists(words, min_size=2, max_size=3).map(".".join)
field_refs = st.builds(FieldRef, names, st.none() | texts.filter(bool) | bare)
operands = st.recursive(
    field_refs, lambda inner: st.builds(Call, st.sampled_from(TRANSFORMERS), inner), max_leaves=3
)
numbers = st.from_regex(re.compile(r"[0-9]{1,6}"), fullmatch=True).map(
    lambda number: (Value(number, quoted=True),)
)
checks = st.one_of(
    st.builds(Check, operands, st.just("exists")),
    st.builds(Check, operands, st.sampled_from(NUMBER_OPERATORS), numbers | operands),
    st.builds(
        Check,
        operands,
        st.sampled_from((*SIGN_OPERATORS, *WORD_OPERATORS)),
        values.map(lambda value: (value,)) | operands,
    ),
    st.builds(
        Check,
        operands,
        st.sampled_from(LIST_OPERATORS),
        st.lists(values, max_size=3).map(tuple) | operands,
    ),
)
nodes = st.recursive(
    checks | st.builds(Named, words),
    lambda inner: (
        st.builds(
            Junction,
            st.sampled_from(("and", "or")),
            st.lists(inner, min_size=2, max_size=3).map(tuple),
        )
        | inner.filter(lambda node: not isinstance(node, Negation)).map(Negation)
    ),
    max_leaves=8,
)


@given(nodes)
def test_a_condition_survives_being_written(node: Any) -> None:
    assert parse(shown(node)) == node


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            (
                "ka.verb",
                "=",
                "(",
                ")",
                "and",
                "or",
                "not ",
                " ",
                '"',
                "in",
                ",",
                "val(",
                "[",
                "]",
                "x",
                "\\",
            )
        )
    ).map("".join)
)
@example("")
@example("not ")
def test_the_parser_refuses_or_parses(text: str) -> None:
    try:
        node = parse(text)
    except ConditionError as error:
        offset = error.offset
    else:
        offset = 0
        assert parse(shown(node)) == node
    assert 0 <= offset <= len(text) + 1


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    read_files([RuleFile("x.yaml", data)])


BASE = rule_text("(ka.verb in (a, b)) and ka.user.name = x") + (
    "  exceptions:\n    - name: e\n      fields: [ka.verb]\n      values: [[x]]\n"
    "- macro: m\n  condition: ka.verb = x\n- list: l\n  items: [a]\n"
)


@given(
    st.integers(0, len(BASE)),
    st.integers(0, 12),
    st.sampled_from(("", "x", "[", "}", "- ", "\n", ": ")),
)
def test_a_damaged_file_raises_nothing(at: int, length: int, instead: str) -> None:
    text = BASE[:at] + instead + BASE[at + length :]
    (book,) = read_files([RuleFile("x.yaml", text.encode())])
    assert load_books(dump_books([book])) == [book]


# --- the catalogue -----------------------------------------------------------------------


def test_the_catalogue_is_whole() -> None:
    kubernetes = [name for name in fields_of_source("k8s_audit") if name.startswith("ka.")]
    assert len(kubernetes) >= 90
    for source in SOURCES:
        for name, field in fields_of_source(source.name).items():
            assert field.description.rstrip(")").endswith("."), name
            argument = "0" if field.argument == "index" else "x"
            for reading in field.read(argument if field.required else ""):
                if isinstance(reading.value, Field):
                    matcher(Compare(reading.value, Equals("x")))({})


def test_files_are_recognised() -> None:
    for mark in ("rule", "macro", "list", "required_engine_version", "required_plugin_versions"):
        assert falco.DIALECT.recognises(RuleFile("x.yaml", f"# c\n- {mark}: x\n".encode()))
    other = b"title: x\ndetection:\n  a:\n    - rule\n"
    assert not falco.DIALECT.recognises(RuleFile("x.yml", other))
    both = rule_text() + "  skip-if-unknown-filter: true\n"
    assert not sigma.DIALECT.recognises(RuleFile("x.yml", both.encode()))


# --- on the command line -----------------------------------------------------------------


def test_strict_refuses_what_has_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rule_text() + "  capture: true\n")
    log = tmp_path / "audit.log"
    log.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Event"}) + "\n")
    rules = ["--no-builtin", "--no-cache", "--rules", str(path)]
    assert main(["rules", "lint", *rules]) == 0
    assert main(["rules", "lint", "--strict", *rules]) == 1
    assert f"ignored: {path}:7:12: capture has no effect" in capsys.readouterr().out
    assert main(["scan", str(log), "--strict", *rules]) == 2
    told, summary = capsys.readouterr().err.splitlines()
    assert told.startswith(f"trailhound: {path}:7:12: capture has no effect")
    assert summary == "trailhound: --strict: 1 rules or parts not supported"


@pytest.mark.corpora
@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"needs {CORPORA}, which is absent")
def test_the_rules_of_falcos_plugins_load() -> None:
    files = [RuleFile(str(path), path.read_bytes()) for path in sorted(CORPORA.glob("*.yaml"))]
    assert len(files) == 6
    assert all(falco.DIALECT.recognises(file) for file in files)
    found = link(read_files(files))
    assert found.errors == ()
    assert len(found.rules) > 140
    assert not [note for rule in found.rules for note in rule.notes if note.ignored]
    assert make_plan(found.rules, []).errors == ()


# --- what need not be asked of every event ------------------------------------------------------


def test_a_rule_that_never_matches_says_so_and_is_asked_of_no_event() -> None:
    rule = only(load("- list: nobody\n  items: []\n" + rule_text("ka.user.name in (nobody)")))
    (note,) = rule.notes
    assert note.text == "it never matches: its condition comes to nothing"
    shape = SourceShape("s", (Route(rule.logsource, "v"),))
    assert make_plan([rule], [shape]).views["s", "v"].rules == ()
