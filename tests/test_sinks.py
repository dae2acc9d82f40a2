import csv
import io
import json
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sink_stories import (
    EVIL,
    NIGHT,
    SECOND,
    STORIES,
    TEXT_FIELDS,
    event,
    finding,
    golden,
    hostile_text,
    leaf,
    rendered,
    rule,
)
from trailhound.model.findings import Explanation, Finding
from trailhound.model.levels import Level
from trailhound.model.records import Origin, ParseFailure
from trailhound.model.totals import FailureCount, RuleProblem, Totals
from trailhound.sinks import SINKS
from trailhound.sinks.contract import SinkOptions
from trailhound.sinks.csv_rows import COLUMNS
from trailhound.sinks.encode import json_text
from trailhound.sinks.escape import (
    csv_cell,
    cut,
    markdown_code,
    markdown_code_line,
    markdown_text,
    prose,
    visible,
)
from trailhound.sinks.summary import Summary
from trailhound.sinks.table import SINK as TABLE
from trailhound.sinks.wording import (
    check_first,
    duration,
    explanation_line,
    identity,
    places,
    rfc3339,
    size,
    who,
)

STREAMING = ("json", "ndjson", "ocsf", "csv")
FOR_PEOPLE = ("table", "markdown")


# --- golden files ------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("sink", SINKS)
def test_output_is_as_expected(sink: str, story: str) -> None:
    expected = golden(sink, story).read_bytes().decode()
    assert rendered(sink, *STORIES[story]()) == expected


def test_the_registry() -> None:
    assert list(SINKS) == ["table", "json", "ndjson", "ocsf", "csv", "markdown"]
    for name, sink in SINKS.items():
        assert sink.name == name
        assert "\n" not in sink.description
        assert "/" in sink.media_type


# --- json, ndjson ------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
def test_json_and_ndjson_say_the_same(story: str) -> None:
    findings, totals = STORIES[story]()
    document = json.loads(rendered("json", findings, totals))
    lines = rendered("ndjson", findings, totals).splitlines()
    assert document["findings"] == [json.loads(line) for line in lines]
    assert len(lines) == len(findings)
    assert set(document) == {"findings", "totals"}


def test_the_native_form() -> None:
    one = event(
        at=NIGHT + 250_000_000,
        place="audit.log:8-9",
        document={"verb": "create"},
        notes=("odd",),
        action="create",
        actor_name="alice",
        invoked_by="eve",
        target_type="pods",
        target_namespace="prod",
        target_name="web",
        src_ip="10.1.2.3",
        device="cluster-1",
        request_uid="r1",
    )
    made = finding(
        rule("Odd pod", Level.HIGH), one, explanation=leaf("verb is 'create'", "verb", 1)
    )
    [line] = rendered("ndjson", [made], Totals()).splitlines()
    assert json.loads(line) == {
        "uid": made.uid,
        "rule": {
            "uid": "uid-odd-pod",
            "title": "Odd pod",
            "level": "high",
            "dialect": "sigma",
            "path": "content/odd-pod.yml",
            "line": 1,
            "description": "",
            "tags": [],
            "references": [],
            "false_positives": [],
            "author": "",
            "status": "",
        },
        "level": "high",
        "time": "2026-03-03T02:00:00.250Z",
        "start": "2026-03-03T02:00:00.250Z",
        "actor": "alice",
        "invoked_by": "eve",
        "action": "create",
        "target": {"type": "pods", "namespace": "prod", "name": "web"},
        "src_ip": "10.1.2.3",
        "device": "cluster-1",
        "outcome": "unknown",
        "request_uid": "r1",
        "event_count": 1,
        "group": {},
        "reason": "",
        "status": "new",
        "revision": 0,
        "change": "",
        "message": "",
        "values": {},
        "explanation": {
            "label": "verb is 'create'",
            "matched": True,
            "path": "verb",
            "value": 1,
        },
        "events": [
            {
                "source": "k8s_audit",
                "uid": one.uid,
                "origins": [
                    {"path": "audit.log", "line": 8, "element": 0},
                    {"path": "audit.log", "line": 9, "element": 0},
                ],
                "time": "2026-03-03T02:00:00.250Z",
                "notes": ["odd"],
                "document": {"verb": "create"},
            }
        ],
    }


def test_only_three_documents_and_none_longer_than_64_kb() -> None:
    events = [event(at=NIGHT + n, document={"n": n, "x": "é" * 40_000}) for n in range(5)]
    events[1] = event(at=NIGHT + 1, document={"n": 1})
    [line] = rendered("ndjson", [finding(rule(), *events)], Totals()).splitlines()
    shown = json.loads(line)["events"]
    assert shown[1]["document"] == {"n": 1}
    assert "truncated" not in shown[1]
    assert shown[0]["truncated"] is True
    assert 65_530 <= len(shown[0]["document_text"].encode()) <= 65_536
    assert all("document" not in one and "document_text" not in one for one in shown[3:])


def test_totals_in_json() -> None:
    findings, totals = STORIES["attack"]()
    document = json.loads(rendered("json", findings, totals))["totals"]
    assert document["records_lost"] == 7
    assert document["records_odd"] == 1
    assert document["failures"][0]["examples"][0] == {
        "origin": {"path": "logs/k8s-audit.log", "line": 77, "element": 0},
        "detail": "the line ends inside a string at column 8192",
        "lost": True,
    }
    assert document["rules"]["never_match_here"][0]["line"] == 3
    assert document["findings"] == {
        "critical": 3,
        "high": 2,
        "medium": 5,
        "low": 1,
        "informational": 0,
    }
    assert document["first_time"] == "2026-03-03T02:11:04Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("\udcff", '"\\\\udcff"'),
        ({"\ud800": 1}, '{"\\\\ud800":1}'),
        (2**64, "18446744073709551616"),
        (-(2**70), "-1180591620717411303424"),
        ([2**20_000], '["… an integer of 20,001 bits"]'),
        (float("nan"), "null"),
        ("\x9b\x7f\u202e\u2028", '"\\u009b\\u007f\\u202e\\u2028"'),
        ("\U000e0041", '"\\udb40\\udc41"'),
        ("\x00\n\x1b", '"\\u0000\\n\\u001b"'),
        ("日本語 é 😀", '"日本語 é 😀"'),
        ({1: b"\xff", None: (1,)}, '{"1":"\\\\xff","None":[1]}'),
    ],
)
def test_json_is_total(value: Any, expected: str) -> None:
    assert json_text(value) == expected


def test_json_of_deep_nesting_is_cut_and_said_to_be() -> None:
    deep: Any = "bottom"
    for _ in range(5_000):
        deep = {"a": deep}
    text = json_text(deep)
    json.loads(text)
    assert "nested too deep" in text


@given(
    st.recursive(
        hostile_text(20) | st.floats() | st.integers() | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(hostile_text(5), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
@settings(max_examples=200, deadline=None)
def test_json_never_holds_what_drives_a_terminal(value: Any) -> None:
    text = json_text(value)
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)
    assert not any(char in text for char in "\u202e\u2066\u2028\ufeff")
    assert text.encode("utf-8")
    json.loads(text)


# --- streaming ---------------------------------------------------------------------------


@pytest.mark.parametrize("sink", STREAMING)
def test_findings_are_written_as_they_come(sink: str) -> None:
    stream = io.StringIO(newline="")
    writer = SINKS[sink].writer(stream, SinkOptions())
    sizes = []
    for one in STORIES["attack"]()[0]:
        writer.write(one)
        sizes.append(len(stream.getvalue()))
    assert sizes == sorted(set(sizes))
    assert stream.getvalue().count("uid-exec-into-a-pod") >= 5


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("sink", SINKS)
def test_memory_is_flat(sink: str) -> None:
    """Seven times as many findings, each with an actor of its own, take hardly more memory."""
    info = rule("Noisy", tags=("attack.t1110",))

    def peak(count: int) -> int:
        writer = SINKS[sink].writer(_Nowhere(), SinkOptions(width=80))
        tracemalloc.start()
        for number in range(count):
            one = event(at=NIGHT + number, document={"n": number}, actor_name=f"user-{number}")
            writer.write(finding(info, one))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        writer.close(Totals())
        return most

    few, many = peak(700), peak(5_000)
    assert many < 1.5 * few + 200_000


# --- csv ---------------------------------------------------------------------------------


def test_csv_columns_and_rows() -> None:
    findings, totals = STORIES["hostile"]()
    rows = list(csv.reader(io.StringIO(rendered("csv", findings, totals), newline="")))
    assert rows[0] == list(COLUMNS)
    assert len(rows) == 1 + len(findings)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    for row in rows[1:]:
        assert not any(cell[:1] in "=+-@\t\r" for cell in row if cell)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("\n=1", "'\\n=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("1=1", "1=1"),
        ("", ""),
        (" ", " "),
        ("a\nb", "a\\nb"),
    ],
)
def test_csv_cell(text: str, expected: str) -> None:
    assert csv_cell(text) == expected


# --- escapes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text – ü 日本", "plain text – ü 日本"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("user\u202etxt.exe\u2066\u2069", "user\\u202etxt.exe\\u2066\\u2069"),
        ("\u2028\u200b\ufeff", "\\u2028\\u200b\\ufeff"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("non\xa0breaking", "non\\xa0breaking"),
    ],
)
def test_visible(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_prose_joins_lines() -> None:
    assert prose("one\n  two\tthree\x1b ") == "one two three\\x1b"


def test_cut_says_how_much_is_missing() -> None:
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("x" * 1_240, 10) == "x" * 10 + "… (+1,230 characters)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1", "`web-1`"),
        ("a|b", "`a\\|b`"),
        ("a\\|b", "`a\\\\x7cb`"),
        ("a\\||b", "`a\\\\x7c\\|b`"),
        ("a\\", "`a\\`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("``x", "``` ``x ```"),
        (" x ", "`  x  `"),
        ("  ", "`  `"),
        ("", ""),
        ("a\nb", "`a\\nb`"),
    ],
)
def test_markdown_code(text: str, expected: str) -> None:
    assert markdown_code(text) == expected


def test_markdown_text_breaks_the_links_that_need_no_brackets() -> None:
    """GitHub Flavored Markdown 0.29, section 6.9; markdown-it knows it only with a plug-in."""
    assert markdown_text("www.a.example https://b c@d #12 $x$ ~~y~~") == (
        r"www\.a.example https\://b c\@d \#12 \$x\$ \~\~y\~\~"
    )
    assert markdown_text("1. one") == r"1\. one"
    assert markdown_text("- one") == r"\- one"
    assert markdown_text("plain, with a dash - and a time 12:30.") == (
        "plain, with a dash - and a time 12:30."
    )


_COMMONMARK = MarkdownIt("commonmark", {"html": True}).enable("table")


def _inline(source: str) -> list[Any]:
    [_, inline, _] = _COMMONMARK.parse(source)
    return inline.children


@given(hostile_text(40))
@settings(max_examples=300, deadline=None)
def test_markdown_code_is_one_code_span_with_that_text(text: str) -> None:
    source = markdown_code_line(text)
    if not text.strip(" "):
        return
    [code] = _inline(f"x {source}")[1:]
    assert code.type == "code_inline"
    assert code.content == visible(text)


@given(hostile_text(40))
@settings(max_examples=300, deadline=None)
def test_markdown_text_is_only_text(text: str) -> None:
    source = markdown_text(text)
    if not source:
        return
    children = _inline(f"- x\n\n{source}".partition("\n\n")[2])
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == prose(text)


_ALLOWED_TOKENS = {"text", "text_special", "code_inline", "strong_open", "strong_close"}


def _check_page(page: str) -> None:
    for token in _COMMONMARK.parse(page):
        assert token.type != "html_block"
        assert token.type != "fence"
        for child in token.children or []:
            assert child.type in _ALLOWED_TOKENS, child


@pytest.mark.parametrize("story", STORIES)
def test_markdown_holds_no_html_link_or_image(story: str) -> None:
    page = rendered("markdown", *STORIES[story]())
    _check_page(page)
    assert "script" in page or story != "hostile"


def test_hostile_values_stay_in_their_table_cell() -> None:
    tokens = _COMMONMARK.parse(rendered("markdown", *STORIES["hostile"]()))
    cells = rows = 0
    widths = []
    for token in tokens:
        cells += token.type in ("td_open", "th_open")
        rows += token.type == "tr_open"
        if token.type == "tr_close":
            widths.append(cells)
            cells = 0
    assert set(widths) == {5, 6}
    # Two tables about all findings with four and three rows, one of one row for each rule.
    assert rows == (1 + 3) + (1 + 4) + 4 * 2


# How a row is cut into cells: by cmark-gfm (its `escaped_char` and `table_cell`), and by
# markdown-it, for which just the character before a pipe counts.
_CELLS = (
    re.compile(r"""\|((?:\\[!-/:-@\[-`{-~]|[^|\n])*)(?=\|)"""),
    re.compile(r"""(?<!\\)\|(.*?)(?=(?<!\\)\|)"""),
)


@given(st.lists(hostile_text(20) | st.text("\\|`x", max_size=8), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_every_reader_cuts_rows_alike(values: list[str]) -> None:
    row = f"| {' | '.join(markdown_code(value) for value in values)} | end |"
    for reader in _CELLS:
        assert len(reader.findall(row)) == len(values) + 1, row


@pytest.mark.parametrize("story", STORIES)
def test_rows_have_the_cells_of_their_header(story: str) -> None:
    page = rendered("markdown", *STORIES[story]())
    for reader in _CELLS:
        header = 0
        for line in page.split("\n"):
            cells = len(reader.findall(line)) if line.startswith("|") else 0
            header = header or cells
            assert cells in (0, header), line
            header = header if cells else 0


fields = st.fixed_dictionaries({}, optional=dict.fromkeys(TEXT_FIELDS, hostile_text(30)))
words = hostile_text(30)


def _any_finding(envelope: dict[str, Any], text: str, at: int) -> Finding:
    info = rule(
        text,
        uid=text,
        path=text,
        description=text,
        dialect=text,
        tags=(text,),
        references=(text,),
        false_positives=(text,),
    )
    one = event(at=at, place=f"{text}:1", document={}, notes=(text,), **envelope)
    return finding(
        info,
        one,
        group=((text, text),),
        reason=text,
        message=text,
        values=((text, text),),
        explanation=Explanation(text, True, text, text),
    )


@pytest.mark.parametrize("sink", ["table", "markdown", "csv"])
@given(envelope=fields, text=words, at=st.integers(-(2**70), 2**70))
@settings(max_examples=60, deadline=None)
def test_no_control_character_gets_through(
    sink: str, envelope: dict[str, Any], text: str, at: int
) -> None:
    totals = Totals(
        events={text: 1},
        failures=(
            FailureCount(
                reason=text, lost=1, examples=(ParseFailure(Origin(text, 1), text, text),)
            ),
        ),
        rules_by_dialect={text: 1},
        rule_problems=(RuleProblem(text, 1, text, text),),
        rules_blind=(RuleProblem(text, 0, text),),
    )
    output = rendered(sink, [_any_finding(envelope, text, at)], totals)
    for line in output.split("\n"):
        assert line.isprintable(), ascii(line)
    if sink == "markdown":
        _check_page(output)


# --- table -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
@pytest.mark.parametrize("story", STORIES)
def test_lines_fit_the_width(story: str, width: int) -> None:
    output = rendered("table", *STORIES[story](), SinkOptions(width=width, colour=False))
    assert max(len(line) for line in output.split("\n")) <= width
    assert not any(line.endswith(" ") for line in output.split("\n"))


def test_wide_terminals_also_see_what_was_done_in_the_timeline() -> None:
    wide = rendered("table", *STORIES["attack"](), SinkOptions(width=140, colour=False))
    timeline = wide.partition("TIMELINE")[2]
    assert "create clusterrolebindings cart-admin" in timeline


@pytest.mark.parametrize("sink", ["table", "markdown"])
def test_the_timeline_calls_nobody_what_the_summary_calls_them(sink: str) -> None:
    nobody = finding(rule(), event(device="web-1"))
    head, timeline = re.split("TIMELINE|## Timeline", rendered(sink, [nobody], Totals()))
    assert "somebody on web-1" in head
    assert "somebody on web-1" in timeline.partition("\n## ")[0]


def test_first_lines_say_how_much_how_bad_when_and_where_to_start() -> None:
    lines = rendered("table", *STORIES["attack"]()).split("\n")
    assert lines[0] == "11 findings  3 critical  2 high  5 medium  1 low"
    assert lines[1] == "2026-03-03 02:11:04 – 02:55:05 UTC, 44 min 1 s"
    assert lines[2] == "Start with Binding to cluster-admin at 02:36:50, logs/k8s-audit.log:1533"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return _Terminal(newline="")


def _table_on(stream: Any, options: SinkOptions) -> str:
    writer = TABLE.writer(stream, options)
    findings, totals = STORIES["attack"]()
    for one in findings:
        writer.write(one)
    writer.close(totals)
    return str(stream.getvalue())


def test_colours_on_a_terminal(terminal: _Terminal) -> None:
    assert "\x1b[1;31mCRITICAL" in _table_on(terminal, SinkOptions(width=80))


def test_no_colours_where_no_color_is_set(
    terminal: _Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    output = _table_on(terminal, SinkOptions(width=80))
    assert "\x1b[31m" not in output
    assert ";31m" not in output


def test_no_escape_sequence_when_piped_or_told_so(terminal: _Terminal) -> None:
    assert "\x1b" not in _table_on(terminal, SinkOptions(width=80, colour=False))
    piped = _table_on(io.StringIO(newline=""), SinkOptions())
    assert "\x1b" not in piped
    assert max(len(line) for line in piped.split("\n")) <= 80


def test_a_terminal_that_knows_only_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    writer = TABLE.writer(stream, SinkOptions(width=80))
    writer.write(finding(rule(), event(actor_name="zoë")))
    writer.close(Totals())
    stream.flush()
    assert b"zo\\xeb" in raw.getvalue()


def test_dates_are_shown_only_where_days_differ() -> None:
    first = finding(rule("One"), event(at=NIGHT, document={"n": 1}))
    later = finding(rule("Two"), event(at=NIGHT + 86_400 * SECOND, document={"n": 2}))
    next_year = finding(rule("Three"), event(at=NIGHT + 365 * 86_400 * SECOND, document={"n": 3}))
    assert "\n02:00:00  medium" in rendered("table", [first], Totals())
    assert "\n03-04 02:00:00  medium" in rendered("table", [first, later], Totals())
    assert "\n2027-03-03 02:00:00  medium" in rendered("table", [first, next_year], Totals())


def test_a_clock_that_is_wrong_does_not_hide_the_others() -> None:
    good = finding(rule("One"), event(at=NIGHT, document={"n": 1}))
    bad = finding(rule("Two"), event(at=0, document={"n": 2}))
    output = rendered("table", [bad, good], Totals())
    assert "2026-03-03 02:00:00 UTC" in output
    assert "no time" in output


# --- summary -----------------------------------------------------------------------------


def _flood(summary: Summary, info: Any, actors: range) -> None:
    for number in actors:
        one = event(at=NIGHT + number, document={"n": number}, actor_name=f"user-{number}")
        summary.add(finding(info, one))


def test_groups_are_bounded_and_the_rest_is_counted() -> None:
    summary = Summary(groups_limit=10, groups_per_rule_limit=6)
    _flood(summary, rule("Low", Level.LOW), range(20))
    _flood(summary, rule("Medium", Level.MEDIUM), range(5))
    assert summary.group_count == 10
    assert summary.count == 25
    # Six of the first rule were kept, of which one made room for the second rule.
    assert summary.others == {Level.LOW: 15}
    kept = sum(group.count for one in summary.rules() for group in one.actors.values())
    assert kept + sum(summary.others.values()) == summary.count
    assert [one.other_count for one in summary.rules()] == [15, 0]


def test_a_flood_of_small_findings_hides_nothing_worse() -> None:
    summary = Summary(groups_limit=50, groups_per_rule_limit=50)
    _flood(summary, rule("Low", Level.LOW), range(1_000))
    _flood(summary, rule("Critical", Level.CRITICAL), range(3))
    _flood(summary, rule("Low too", Level.LOW), range(1_000))
    assert [one.level for one in summary.actors()[:3]] == [Level.CRITICAL] * 3
    assert summary.others == {Level.LOW: 1_953}
    worst = summary.worst()
    assert worst is not None
    assert worst.rule.rule.title == "Critical"


def test_a_group_that_made_room_is_counted_once() -> None:
    summary = Summary(groups_limit=1)
    low, high = rule("Low", Level.LOW), rule("High", Level.HIGH)
    for number, info in enumerate([low, low, high, low, high]):
        summary.add(finding(info, event(at=NIGHT + number, document={"n": number})))
    assert summary.others == {Level.LOW: 3}
    assert [(one.count, one.other_count) for one in summary.rules()] == [(3, 3), (2, 0)]


def test_the_report_says_that_others_exist() -> None:
    info = rule("Noisy", Level.LOW)
    findings = [
        finding(info, event(at=NIGHT + n, document={"n": n}, actor_name=f"u{n}"))
        for n in range(600)
    ]
    table = " ".join(rendered("table", findings, Totals()).split())
    assert "Others: 100 findings (100 low) about more actors than this report keeps apart" in table
    assert "600 findings about 500+ actors" in table
    assert "and 485 more actors with 485 findings" in table
    assert "Others: 100 findings" in rendered("markdown", findings, Totals())


def test_examples_are_the_earliest_in_whatever_order_they_come() -> None:
    summary = Summary()
    for number in (5, 3, 9, 1, 7):
        summary.add(finding(rule(), event(at=NIGHT + number * SECOND, document={"n": number})))
    [group] = summary.rules()[0].actors.values()
    assert [(one.time_ns - NIGHT) // SECOND for one in group.examples] == [1, 3, 5]
    assert (group.span.first_ns, group.span.last_ns) == (NIGHT + SECOND, NIGHT + 9 * SECOND)


def test_the_timeline_lets_every_rule_have_its_turn() -> None:
    summary = Summary()
    _flood(summary, rule("Critical", Level.CRITICAL), range(40))
    _flood(summary, rule("Low", Level.LOW), range(100, 101))
    timeline = summary.timeline(limit=10)
    titles = [moment.rule.rule.title for moment in timeline]
    assert titles == ["Critical"] * 9 + ["Low"]
    times = [moment.first.time_ns for moment in timeline]
    assert times == sorted(times)


def test_windows_come_before_single_events_of_their_level() -> None:
    summary = Summary()
    summary.add(finding(rule("Single", Level.HIGH), event(document={"n": 1}, actor_name="a")))
    window = finding(
        rule("Window", Level.HIGH), event(document={"n": 2}, actor_name="b"), reason="3 events"
    )
    summary.add(window)
    assert [actor.actor for actor in summary.actors()] == ["b", "a"]
    worst = summary.worst()
    assert worst is not None
    assert worst.rule.rule.title == "Window"


def test_very_long_actors_are_told_apart_in_bounded_space() -> None:
    summary = Summary()
    for ending in ("a", "b"):
        name = "x" * 4_000 + ending
        summary.add(finding(rule(), event(document={"n": ending}, actor_name=name)))
    assert len(summary.actors()) == 2
    assert all(len(actor.actor) < 500 for actor in summary.actors())


# --- wording -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (NIGHT, "2026-03-03T02:00:00Z"),
        (NIGHT + 120_000_000, "2026-03-03T02:00:00.120Z"),
        (NIGHT + 120_456_000, "2026-03-03T02:00:00.120456Z"),
        (NIGHT + 1, "2026-03-03T02:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-62_135_596_800 * SECOND, "0001-01-01T00:00:00Z"),
        (0, None),
        (2**80, None),
        (-(2**80), None),
    ],
)
def test_rfc3339(time_ns: int, expected: str | None) -> None:
    assert rfc3339(time_ns) == expected


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59 * SECOND, "59 s"),
        (3_661 * SECOND, "1 h 1 min"),
        (86_400 * SECOND, "1 d"),
        (3_601 * SECOND, "1 h 1 s"),
    ],
)
def test_duration(nanoseconds: int, expected: str) -> None:
    assert duration(nanoseconds) == expected


def test_size() -> None:
    assert [size(999), size(1_311), size(62_113_441), size(10**13)] == [
        "999 bytes",
        "1.3 kB",
        "62.1 MB",
        "10.0 TB",
    ]


def test_who() -> None:
    assert who("root", "alice") == "alice as root"
    assert who("root", "root") == "root"
    assert who("root", "") == "root"
    assert who("", "") == "unknown"
    assert who("", "alice") == "alice as an unknown identity"


@pytest.mark.parametrize(
    ("envelope", "told"),
    [
        ({"actor_name": "root", "device": "web-1"}, "root on web-1"),
        ({"actor_name": "root", "invoked_by": "deploy"}, "deploy as root"),
        ({"actor_name": "root", "invoked_by": "ana", "device": "web-1"}, "ana as root on web-1"),
        ({"actor_name": "system:admin", "invoked_by": "ana"}, "ana as system:admin"),
        ({"actor_name": "role/session", "invoked_by": "arn:aws:iam::1:role/role"}, "role/session"),
        ({"device": "web-1"}, "somebody on web-1"),
        ({"src_ip": "192.0.2.7", "device": "web-1"}, "somebody at 192.0.2.7"),
        ({}, ""),
    ],
)
def test_identity(envelope: dict[str, str], told: str) -> None:
    assert identity(finding(rule(), event(**envelope))) == told


def test_places_join_neighbours_and_keep_the_last() -> None:
    events = [
        event(place="a.log:3-5"),
        event(place="a.log:6"),
        event(place="a.log:9"),
        event(place="t.json:1#2"),
        event(place="t.json:1#3"),
        event(place="b.log:9"),
    ]
    assert places(events, 9) == (
        ["a.log:3-6", "a.log:9", "t.json:1#2", "t.json:1#3", "b.log:9"],
        0,
    )
    assert places(events, 3) == (["a.log:3-6", "a.log:9", "b.log:9"], 2)
    assert places(events, 1) == (["b.log:9"], 4)
    assert places([], 3) == ([], 0)


def test_explanation_names_what_matched() -> None:
    tree = Explanation(
        "all of",
        True,
        children=(
            leaf("verb is 'create'", "verb", "create"),
            leaf("path contains '/exec'", "path", "/api/v1/exec?x=1"),
            Explanation("any of", True, children=(Explanation("a is 'b'", False, "a", "c"),)),
            Explanation("not", True, children=(Explanation("filter", False),)),
            leaf("count > 3", "count", 7),
        ),
    )
    assert explanation_line(tree) == (
        "verb is 'create'; path contains '/exec' → /api/v1/exec?x=1; count > 3 → 7"
    )
    assert explanation_line(tree, limit=2).endswith("x=1; and 1 more")


def test_explanation_of_an_absence_names_the_absence() -> None:
    tree = Explanation("not", True, children=(Explanation("filter_system", False),))
    assert explanation_line(tree) == "not (filter_system)"
    assert explanation_line(Explanation("x", False)) == ""
    assert explanation_line(None) == ""


def test_explanation_of_a_deep_tree() -> None:
    tree = leaf("a is 'b'", "a", "b")
    for _ in range(900):
        tree = Explanation("all of", True, children=(tree,))
    assert explanation_line(tree) == "all of"
    [line] = rendered("ndjson", [finding(rule(), event(), explanation=tree)], Totals()).splitlines()
    assert '"truncated":true' in line


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("What it is.", ("What it is.", "")),
        ("", ("", "")),
        ("What it is. Check first: the user.", ("What it is.", "Check first: the user.")),
        (
            "What it is.\nCheck first the user.\nThen X.",
            ("What it is.", "Check first the user.\nThen X."),
        ),
        ("It is.\n\nWhat to check first: X.", ("It is.", "What to check first: X.")),
        ("CHECK FIRST: X", ("", "CHECK FIRST: X")),
    ],
)
def test_check_first(description: str, expected: tuple[str, str]) -> None:
    assert check_first(description) == expected


def test_evil_is_evil() -> None:
    """The hostile story means something only while it holds what it is meant to hold."""
    assert all(
        part in EVIL for part in ("\x1b", "\u202e", "\udcff", "<script>", "](http", "|", "\n")
    )
