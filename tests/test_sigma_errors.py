"""Rules that cannot be used: each says where and why, and stops nothing."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.dialects import sigma
from trailhound.dialects.contract import RuleFile
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.rules.book import RuleSet, dump_books, link, load_books

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
    return link(sigma.DIALECT.read(file, {}) for file in files)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("a: 1", "a|nosuch: 1"), 6, "Unknown modifier 'nosuch'"),
        (("a: 1", "a|re: '('"), 4, "Regular expression"),
        (("a: 1", "a|cidr: '300.0.0.0/8'"), 6, "CIDR"),
        (("a: 1", "a|gt: 'many'"), 6, "incompatible"),
        (("a: 1", "a|hour|minute: 5"), 4, "several parts of a time"),
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
    shown = GOOD.replace(*change).splitlines()[error.line - 1]
    before, word = shown[: error.column - 1], shown[error.column - 1 :]
    assert not before.strip(" -") or not word or before.endswith((" ", "[", "'", '"'))
    assert word.strip() == word


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


def test_an_alias_that_holds_itself_is_refused() -> None:
    found = ruleset(GOOD.replace("        a: 1", "        a: &a [*a]"))
    assert len(found.errors) == 1
    found = ruleset(
        GOOD.replace("    selection:\n        a: 1", "    selection: &s\n        a: *s")
    )
    assert len(found.errors) == 1


def test_merged_keys_that_grow_without_end_are_refused() -> None:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    found = ruleset("\n".join(lines) + "\n" + GOOD)
    assert found.rules == ()
    assert len(found.errors) == 1


def test_a_broken_document_spoils_no_other_of_its_file() -> None:
    documents = [
        GOOD,
        "title: broken\ndetection: [\n",
        GOOD.replace("1111-4111", "2222-4111").replace("title: good", "title: second"),
        "\tx\n",
        "5\n",
        "",
        GOOD.replace("1111-4111", "3333-4111").replace("title: good", "title: third")
        + "description: |\n  text\n  --- no mark\n",
    ]
    text = "%YAML 1.2\n# a comment\n---\n" + "---\n".join(documents)
    for encoded in (
        text.encode(),
        text.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + text.encode(),
    ):
        found = ruleset(encoded)
        assert [(rule.info.title, rule.info.line) for rule in found.rules] == [
            ("good", 4),
            ("second", 16),
            ("third", 30),
        ]
        assert [(error.line, error.reason[:14]) for error in found.errors] == [
            (14, "not valid YAML"),
            (25, "not valid YAML"),
            (27, "a rule must be"),
        ]


@pytest.mark.parametrize("mark", ["---", "--- # comment", "...\n---"])
def test_lines_are_those_of_the_file(mark: str) -> None:
    bad = GOOD.replace("1111-4111", "2222-4111").replace("a: 1", "a|nosuch: 1")
    found = ruleset(f"{GOOD}{mark}\n{bad}")
    (error,) = found.errors
    lines = f"{GOOD}{mark}\n{bad}".split("\n")
    assert lines[error.line - 1] == "        a|nosuch: 1"


DEEP = {
    "brackets in a condition": GOOD.replace(
        "condition: selection", f"condition: {'(' * 40}selection{')' * 40}"
    ),
    "many brackets": GOOD.replace(
        "condition: selection", f"condition: {'(' * 4000}selection{')' * 4000}"
    ),
    "not not": GOOD.replace("condition: selection", f"condition: {'not ' * 3000}selection"),
    "a long condition": GOOD.replace(
        "condition: selection", f"condition: {'selection or ' * 3000}selection"
    ),
    "mappings in mappings": GOOD.replace("a: 1", "a: " + "{b: " * 60 + "1" + "}" * 60),
    "mappings far too deep": GOOD.replace("a: 1", "a: " + "{b: " * 3000 + "1" + "}" * 3000),
    "lists far too deep": GOOD.replace("a: 1", "a: " + "[" * 3000 + "1" + "]" * 3000),
    "a pattern that nests": GOOD.replace("a: 1", f"a|re: '{'(' * 3000}a{')' * 3000}'"),
    "a pattern that repeats repeats": GOOD.replace(
        "a: 1", "a|re: '((((a{1,100}){1,100}){1,100}){1,100})'"
    ),
    "very many values": GOOD.replace("a: 1", f"a: [{', '.join(f'v{n}' for n in range(20_000))}]"),
    "far too many values": GOOD.replace(
        "a: 1", f"a: [{', '.join(f'v{n}' for n in range(400_000))}]"
    ),
    "very many modifiers": GOOD.replace("a: 1", f"a{'|base64' * 12}: x"),
    "wildcards": GOOD.replace("a: 1", f"a: '{'*a?' * 3000}'"),
    "windash": GOOD.replace("a: 1", f"a|windash: '{'-a ' * 14}'"),
}


@pytest.mark.parametrize("name", DEEP)
def test_rules_that_ask_too_much_stop_nothing(name: str) -> None:
    started = time.process_time()
    found = ruleset(DEEP[name], GOOD.replace("1111-4111", "2222-4111"))
    assert found.rules[-1].info.path == "1.yml"
    assert len(found.rules) + len(found.errors) == 2
    assert time.process_time() - started < 10
    assert all(error.path == "0.yml" and error.line > 0 for error in found.errors)


def test_files_that_are_no_rules_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(GOOD)
    (tmp_path / "large.yml").write_bytes(b"detection:\n" + b"# comment\n" * (1 << 20))
    (tmp_path / "other.yaml").write_text("just: some\nother: file\n")
    (tmp_path / "empty.yml").write_bytes(b"")
    (tmp_path / "torn.yml").write_text("title: torn\nlogsource: {product: linux\n")
    (tmp_path / "binary.yml").write_bytes(b"\x7fELF" + bytes(range(256)) * 20)
    (tmp_path / "utf16.yml").write_bytes(GOOD.encode("utf-16"))
    (tmp_path / "gone.yml").symlink_to(tmp_path / "nowhere.yml")
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.yml"), "wb") as file:
        file.write(GOOD.replace("1111-4111", "2222-4111").replace("a: 1", "a|nosuch: 1").encode())
    for cache in (None, tmp_path / "cache"):
        found = load_rules([str(tmp_path)], builtin=False, placeholders={}, cache=cache).ruleset
        assert [rule.info.title for rule in found.rules] == ["good"]
        told = {Path(error.path).name: (error.line, error.reason) for error in found.errors}
        assert told.keys() == {
            *("large.yml", "other.yaml", "empty.yml", "torn.yml"),
            *("binary.yml", "utf16.yml", "\\xff.yml", "gone.yml"),
        }
        assert told["gone.yml"] == (1, "a link that leads nowhere")
        assert told["large.yml"] == (1, "over 8,388,608 bytes: not a rule file")
        assert told["other.yaml"] == (
            1,
            "not a rule of a known dialect (panther, elastalert, sigma, falco)",
        )
        assert told["empty.yml"] == (1, "the file holds no rule")
        assert told["torn.yml"][0] == 2
        assert told["torn.yml"][1].startswith("not valid YAML: ")
        assert told["binary.yml"] == (2, "not valid UTF-8")
        assert told["utf16.yml"] == (1, "not valid UTF-8")
        assert told["\\xff.yml"][0] == 6


def test_a_folder_without_rules_and_a_link_to_one_are_told(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "a.yml").write_text(GOOD)

    def found() -> list[tuple[str, str]]:
        folder = str(tmp_path / "rules")
        loaded = load_rules([folder], builtin=False, placeholders={}, cache=None).ruleset
        return [(Path(error.path).name, error.reason.partition(",")[0]) for error in loaded.errors]

    ((name, reason),) = found()
    assert (name, reason.partition(" (")[0]) == ("rules", "the folder holds no rule file")
    (tmp_path / "rules" / "linked").symlink_to(tmp_path / "away")
    assert found() == [("linked", "a link to a folder")]
    # As Kubernetes mounts a ConfigMap.
    (tmp_path / "rules" / "linked").unlink()
    (tmp_path / "rules" / "..1").mkdir()
    (tmp_path / "rules" / "..1" / "a.yml").write_text(GOOD)
    (tmp_path / "rules" / "..data").symlink_to("..1")
    (tmp_path / "rules" / "a.yml").symlink_to("..data/a.yml")
    assert found() == []


def test_a_rule_file_that_is_named_and_large_is_told(tmp_path: Path) -> None:
    (tmp_path / "large.yml").write_bytes(b"detection:\n" + b"# comment\n" * (1 << 20))
    (tmp_path / "a.yml").write_text(GOOD)
    named = [str(tmp_path / "large.yml"), str(tmp_path / "a.yml")]
    found = load_rules(named, builtin=False, placeholders={}, cache=None).ruleset
    assert [rule.info.title for rule in found.rules] == ["good"]
    assert [error.path for error in found.errors] == named[:1]


def test_cycles_of_several_windows_are_told_and_others_stay() -> None:
    def window(number: int, *rules: int) -> str:
        uids = ", ".join(f"{n}" * 8 + "-2222-4222-8222-222222222222" for n in rules)
        return (
            WINDOW.replace("22222222-2222", f"{number}" * 8 + "-2222")
            .replace("title: window", f"title: window {number}")
            .replace("[11111111-1111-4111-8111-111111111111]", f"[{uids}]")
        )

    outer = WINDOW.replace("22222222-2222", "99999999-2222").replace("window", "fine")
    text = GOOD + outer + window(3, 4) + window(4, 5) + window(5, 3) + window(6, 5) + window(7, 8)
    found = ruleset(text)
    assert [rule.info.title for rule in found.rules] == ["good", "fine"]
    assert len(found.errors) == 5
    assert {error.rule for error in found.errors} == {f"window {n}" for n in (3, 4, 5, 6, 7)}
    assert all(error.line > 8 for error in found.errors)


odd_values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        (
            *(
                None,
                True,
                0,
                -1,
                1.5,
                2**70,
                float("inf"),
                "",
                "x",
                "*",
                "?",
                "\\",
                "%x%",
                "(",
                "1h",
            ),
            *("selection", "not selection", "all of them", "1 of x*", "2 of them", "x and", "high"),
            *(
                "11111111-1111-4111-8111-111111111111",
                "event_count",
                "temporal",
                "gte",
                "2026-01-01",
            ),
            *("a|re", "10.0.0.0/8", "\0", "\ud800", "a\nb"),
        )
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *(
                        "a",
                        "a|re",
                        "a|contains|all",
                        "|all",
                        "a|",
                        "a||b",
                        "a|exists",
                        "a|cidr",
                        "",
                        5,
                    ),
                    *(
                        "condition",
                        "selection",
                        "gte",
                        "rules",
                        "type",
                        "timespan",
                        "group-by",
                        "field",
                    ),
                    *(
                        "a[any]",
                        "a[all]",
                        "[any]",
                        "a|fieldref",
                        "a|expand",
                        "a|base64offset",
                        None,
                    ),
                    *("aliases", "generate", "product", "percentile", "lt", "a|minute", "a|neq"),
                )
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
KEYS = (
    *("title", "id", "name", "status", "level", "logsource", "detection", "correlation", "filter"),
    *("tags", "references", "falsepositives", "author", "date", "related", "fields", "action"),
    *("detection.selection", "detection.condition", "detection.selection.a", "correlation.rules"),
    *("correlation.condition", "correlation.type", "correlation.timespan", "filter.rules"),
    *("correlation.group-by", "correlation.aliases", "logsource.product", "license", "taxonomy"),
)


@settings(max_examples=300)
@given(
    changes=st.dictionaries(st.sampled_from(KEYS), odd_values, max_size=4),
    base=st.sampled_from((GOOD, WINDOW.removeprefix("---\n"))),
)
def test_no_rule_whatever_it_says_raises(changes: dict[str, Any], base: str) -> None:
    document = yaml.safe_load(base)
    for path, value in changes.items():
        first, _, rest = path.partition(".")
        here = document
        while rest and isinstance(here.get(first), dict):
            here = here[first]
            first, _, rest = rest.partition(".")
        here[first] = value
    text = yaml.safe_dump(document, allow_unicode=True)
    book = sigma.DIALECT.read(
        RuleFile("0.yml", text.encode("utf-8", "surrogatepass")), {"x": ("y",)}
    )
    found = link([book])
    assert all(error.path == "0.yml" and error.line >= 1 and error.reason for error in found.errors)
    assert all("\n" not in error.reason for error in found.errors)
    assert load_books(dump_books([book])) == [book]
    plan = plan_for(found.rules)
    for view in plan.views.values():
        view.candidates({})


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.sampled_from(tuple("\n\t :-[]{}#&*!|>'\"%@`,?\0\x7f\u2028a1")),
        ),
        max_size=5,
    )
)
def test_no_damage_to_the_text_raises(changes: list[tuple[int, str]]) -> None:
    text = GOOD
    for at, character in changes:
        text = text[:at] + character + text[at:]
    found = ruleset(text, GOOD.replace("1111-4111", "9999-4111"))
    assert found.rules
    assert found.rules[-1].info.path == "1.yml"


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
