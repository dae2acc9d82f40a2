"""Rules that cannot be used: each says where and why, and stops nothing."""

from pathlib import Path

import pytest

from trailhound.dialects import DIALECTS
from trailhound.dialects.contract import RuleFile
from trailhound.pipeline.rulebooks import load_rules
from trailhound.rules.book import RuleSet, link

CORPUS = Path(__file__).parents[2] / "shared" / "corpora" / "sigma"
GOOD = """title: good
id: 11111111-1111-4111-8111-111111111111
logsource: {product: test}
detection:
    selection:
        a: 1
    condition: selection
level: low
"""


def ruleset(*texts: str | bytes) -> RuleSet:
    files = [
        RuleFile(f"{n}.yml", text if isinstance(text, bytes) else text.encode())
        for n, text in enumerate(texts)
    ]
    return link(DIALECTS[0].read(file, {}) for file in files)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("a: 1", "a|nosuch: 1"), 6, "Unknown modifier 'nosuch'"),
        (("a: 1", "a|re: '('"), 4, "Regular expression"),
        (("a: 1", "a|cidr: '300.0.0.0/8'"), 6, "CIDR"),
        (("a: 1", "a|gt: 'many'"), 6, "incompatible"),
        (("a: 1", "a|expand: '%staff%'"), 4, "placeholder %staff% has no values"),
        (("condition: selection", "condition: selection and nothing"), 7, "detection 'nothing'"),
        (("condition: selection", "condition: 1 of filter_*"), 7, "filter_*"),
        (("condition: selection", "condition: selection and ("), 7, "condition"),
        (("condition: selection", "condition: selection | count() > 5"), 7, "pipe syntax"),
        (("    condition: selection\n", ""), 4, "condition"),
        (("    selection:\n        a: 1\n", "    selection: []\n"), 5, "empty"),
        (("logsource: {product: test}\n", ""), 1, "log source"),
        (("logsource: {product: test}\n", "logsource: {}\n"), 3, "log source"),
        (("level: low", "level: terrible"), 8, "'terrible' is not a valid Sigma rule level"),
        (("detection:", "detection: 5\nx:"), 4, "not a mapping"),
        (("        a: 1\n", "        a: 1\n      b: 2\n"), 7, "not valid YAML"),
        (("title: good", "title: 'good"), 2, "not valid YAML"),
    ],
)
def test_a_bad_rule_says_where_and_why(change: tuple[str, str], line: int, words: str) -> None:
    assert change[0] in GOOD
    found = ruleset(GOOD.replace(*change), GOOD.replace("1111-4111", "2222-4111"))
    assert [rule.info.path for rule in found.rules] == ["1.yml"]
    (error,) = found.errors
    assert (error.path, words in error.reason) == ("0.yml", True), error
    assert abs(error.line - line) <= 1, error


def test_metadata_that_is_off_is_a_note_and_the_rule_runs() -> None:
    odd = GOOD.replace("level: low", "level: low\nstatus: odd\ndate: someday\ntags: [nonsense]")
    found = ruleset(odd.replace("id: 11111111-1111-4111-8111-111111111111", "id: seven"))
    (rule,) = found.rules
    assert found.errors == ()
    notes = " ".join(note.text for note in rule.notes)
    assert all(word in notes for word in ("UUID", "status", "date", "namespace"))


def test_a_rule_without_a_level_is_medium_and_says_so() -> None:
    (rule,) = ruleset(GOOD.replace("level: low\n", "")).rules
    assert rule.info.level.label == "medium"
    assert [note.text for note in rule.notes] == ["no level; taken as medium"]


def test_keys_that_stand_twice_are_told() -> None:
    found = ruleset(GOOD.replace("        a: 1\n", "        a: 1\n        a: 2\n"))
    assert len(found.rules) == 1
    (error,) = found.errors
    assert (error.line, "'detection.selection.a' stands twice" in error.reason) == (7, True)


def test_the_second_rule_with_an_id_is_left_out() -> None:
    found = ruleset(GOOD, GOOD.replace("title: good", "title: copy"))
    assert [rule.info.title for rule in found.rules] == ["good"]
    assert "same id as 0.yml:1" in found.errors[0].reason


WINDOW = """---
title: window
id: 22222222-2222-4222-8222-222222222222
correlation:
    type: event_count
    rules: [11111111-1111-4111-8111-111111111111]
    timespan: 5m
    condition: {gte: 3}
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("type: event_count", "type: events"), "'events' is no valid"),
        (("timespan: 5m", "timespan: soon"), "Timespan 'soon'"),
        (("    timespan: 5m\n", ""), "timespan"),
        (("{gte: 3}", "{gte: many}"), "'many' is no valid"),
        (("{gte: 3}", "{about: 3}"), "condition"),
        (("    condition: {gte: 3}\n", ""), "condition"),
        (("type: event_count", "type: value_count"), "field"),
        (("[11111111-1111-4111-8111-111111111111]", "[nobody]"), "'nobody', which is not loaded"),
        (("[11111111-1111-4111-8111-111111111111]", "[]"), "without rules"),
        (
            ("[11111111-1111-4111-8111-111111111111]", "[22222222-2222-4222-8222-222222222222]"),
            "lead back to itself",
        ),
    ],
)
def test_a_bad_correlation_says_why_and_its_rules_stay(change: tuple[str, str], words: str) -> None:
    assert change[0] in WINDOW
    found = ruleset(GOOD + WINDOW.replace(*change))
    assert [rule.info.title for rule in found.rules] == ["good"]
    assert [words in error.reason for error in found.errors] == [True], found.errors
    assert found.rules[0].silent is False


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe\x00detection:",
        b"detection: \xc3\x28",
        b"detection: " + b"[" * 5000,
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ndetection: *c\n" * 1,
        b"detection: !!python/object/apply:os.system [id]",
        b"- detection:\n- correlation:",
        b"detection:\n\t- tab",
        b"",
        b"filter: 5",
        b"correlation: 5",
        b"{detection: {condition: x}, title: 7, logsource: 9}",
        b"detection: {condition: 1e999, s: {a|re|i|m|s|b: [[[]]]}}\nlogsource: {product: x}",
    ],
)
def test_no_text_raises(text: bytes) -> None:
    found = ruleset(text, GOOD)
    assert [rule.info.title for rule in found.rules] == ["good"]


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    bomb = GOOD.replace("        a: 1", "        a: *a11")
    found = ruleset("\n".join(lines) + "\n" + bomb)
    assert found.rules == ()
    assert len(found.errors) == 1


def test_filters_narrow_the_rules_they_name() -> None:
    narrowing = """---
title: ours
logsource: {product: test}
filter:
    rules: [11111111-1111-4111-8111-111111111111, absent]
    known:
        user: backup
    condition: not known
"""
    found = ruleset(GOOD + narrowing)
    (rule,) = found.rules
    assert [note.text for note in rule.notes] == ["narrowed by filter 'ours' (0.yml:10)"]
    assert [error.reason for error in found.errors] == [
        "filter names rule 'absent', which is not loaded"
    ]


@pytest.mark.corpora
def test_all_public_rules_load_unmodified() -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not here")
    found = load_rules([str(CORPUS)], builtin=False, placeholders={}, cache=None)
    assert found.ruleset.errors == ()
    assert found.by_dialect == {"sigma": 504}
