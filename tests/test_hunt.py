"""The hunt finds what a scan finds; queries mean what they say; SQL reads nothing but the lake."""

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from trailhound.cli.main import main
from trailhound.intake.files import find_inputs
from trailhound.lake.lake import Lake, Times
from trailhound.lake.query import moment_ns, parse
from trailhound.lake.select import needs, weakened
from trailhound.lake.sql import Unsupported
from trailhound.lake.sql_shell import ask as ask_sql
from trailhound.lake.store import Writer
from trailhound.model.errors import TrailhoundError
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.pipeline.hunt import answer, ask, histogram, hunt_rules
from trailhound.pipeline.ingest import ingest
from trailhound.pipeline.rulebooks import chosen, load_rules
from trailhound.pipeline.scan import Scan, run_scan
from trailhound.rules.ir import And, Compare, Equals, Exists, Field, Not, Or, Regex
from trailhound.sinks.rows import write_rows

CONTENT = Path(__file__).parent.parent / "src" / "trailhound" / "content"
HOUR_NS = 3600 * 10**9
NOW_NS = 1_800_000_000 * 10**9
LOGS = sorted(
    str(path)
    for pattern in ("kubernetes/[m-pr]*", "linux/[ap]*", "aws/many*", "falco/*severe*")
    for path in CONTENT.glob(f"{pattern}.hits.*")
)
HOSTILE = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "auditID": "h-1",
    "stage": "ResponseComplete",
    "verb": "get",
    "user": {"username": "\x1b[31mmallory\u202e"},
    "objectRef": {"resource": "pods", "name": "=cmd()", "namespace": "x\ny"},
    "annotations": {"a.b/c": "d"},
    "requestObject": {"n": [[1], {"deep": "İ"}]},
    "stageTimestamp": "2026-11-12T17:00:00Z",
    "requestReceivedTimestamp": "2026-11-12T17:00:00Z",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hunt")
    (made / "hostile.jsonl").write_text(json.dumps(HOSTILE) + "\n")
    with Writer(made / "lake") as writer:
        ingest(writer, find_inputs([*LOGS, str(made / "hostile.jsonl")]))
    return made / "lake"


@pytest.fixture(scope="module")
def everything(folder: Path) -> list[Event]:
    lake = Lake(folder)
    return list(answer(lake, ask(lake, "", Times(), NOW_NS), NOW_NS, limit=None))


@cache
def loaded() -> Any:
    files = [f"{log.split('.hits.')[0]}.yml" for log in LOGS]
    return load_rules(files, builtin=False, placeholders={}, cache=None)


def told(findings: list[Finding]) -> set[tuple[str, int, int]]:
    return {(f.rule.uid, f.time_ns, f.event_count) for f in findings}


def test_rules_find_what_a_scan_finds(folder: Path) -> None:
    scanned: list[Finding] = []
    run_scan(Scan(find_inputs(LOGS), loaded()), scanned.append)
    hunted: list[Finding] = []
    result = hunt_rules(Lake(folder), loaded(), Times(), hunted.append)
    assert told(scanned)
    assert told(hunted) == told(scanned)
    assert not result.unsupported
    # Columns and JSON select: the engine reads few events that match nothing.
    assert result.selected < result.totals.records_read


def test_rules_by_name_with_what_they_count(folder: Path) -> None:
    some = chosen(loaded(), [_windowed()])
    assert [rule.silent for rule in some.ruleset.rules].count(False) == 1
    hunted: list[Finding] = []
    hunt_rules(Lake(folder), some, Times(), hunted.append)
    assert {finding.rule.title for finding in hunted} == {_windowed()}
    with pytest.raises(TrailhoundError, match="no rule file, title or id"):
        chosen(loaded(), ["nope"])


def _windowed() -> str:
    (name,) = (
        rule.info.title
        for rule in loaded().ruleset.rules
        if rule.window is not None and rule.info.path.endswith("many_secrets_read.yml")
    )
    return name


SILENCE = """title: Heartbeat
name: heartbeat
logsource: {product: kubernetes, service: audit}
detection:
    sel: {user.username: heart}
    condition: sel
level: low
---
title: It stopped
id: 33333333-3333-4333-8333-333333333333
correlation:
    type: event_count
    rules: [heartbeat]
    timespan: 10m
    condition: {eq: 0}
level: high
"""


def test_silence_lasts_to_the_end_of_the_hunt_as_of_a_scan(tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text(SILENCE)
    times = ("2026-11-12T17:00:00Z", "2026-11-12T17:05:00Z", "2026-11-12T19:00:00Z")
    users = ("heart", "heart", "somebody else")
    events = [
        {**HOSTILE, "auditID": user + at, "stageTimestamp": at, "user": {"username": user}}
        for user, at in zip(users, times, strict=True)
    ]
    log = tmp_path / "audit.jsonl"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    with Writer(tmp_path / "lake") as writer:
        ingest(writer, find_inputs([str(log)]))
    rules = load_rules([str(tmp_path / "rule.yml")], builtin=False, placeholders={}, cache=None)
    scanned: list[Finding] = []
    run_scan(Scan(find_inputs([str(log)]), rules), scanned.append)
    hunted: list[Finding] = []
    hunt_rules(Lake(tmp_path / "lake"), rules, Times(), hunted.append)
    assert [finding.rule.title for finding in scanned] == ["It stopped"]
    assert told(hunted) == told(scanned)
    until = moment_ns("2026-11-12T17:10Z", NOW_NS)
    hunted.clear()
    hunt_rules(Lake(tmp_path / "lake"), rules, Times(None, until), hunted.append)
    assert hunted == []


def test_times_limit_a_hunt(folder: Path, everything: list[Event]) -> None:
    lake = Lake(folder)
    middle = everything[len(everything) // 2].envelope.time_ns
    early = ask(lake, "", Times(until_ns=middle), NOW_NS)
    late = ask(lake, "", Times(since_ns=middle), NOW_NS)
    counts = [sum(histogram(lake, asked, NOW_NS, HOUR_NS).values()) for asked in (early, late)]
    assert sum(counts) == len(everything)
    assert min(counts) > 0


QUERIES: dict[str, Callable[[Any], bool]] = {
    "action:get": lambda e: e.envelope.action == "get",
    "action:G?T": lambda e: e.envelope.action.lower() == "get",
    "NOT action:get source:k8s_audit": lambda e: (
        e.source == "k8s_audit" and e.envelope.action.lower() != "get"
    ),
    "-action:get -action:create source:k8s_audit": lambda e: (
        e.source == "k8s_audit" and e.envelope.action.lower() not in ("get", "create")
    ),
    "verb:create OR verb:delete": lambda e: e.document.get("verb") in ("create", "delete"),
    "(verb:create OR verb:delete) objectRef.resource:pods": lambda e: (
        e.document.get("verb") in ("create", "delete")
        and e.document.get("objectRef", {}).get("resource") == "pods"
    ),
    "responseStatus.code:>=400": lambda e: (
        (e.document.get("responseStatus") or {}).get("code", 0) >= 400
    ),
    "outcome:failure": lambda e: e.envelope.outcome == 2,
    "src_ip:10.0.0.0/8": lambda e: e.envelope.src_ip.startswith("10."),
    "annotations.a.b/c:d": lambda e: e.document.get("annotations", {}).get("a.b/c") == "d",
    'mallory "get"': lambda e: "mallory" in json.dumps(e.document) and e.source == "k8s_audit",
    "requestObject:* source:k8s_audit": lambda e: "requestObject" in e.document,
    "Image:*": lambda e: any("Image" in d for v in e.views.values() for d in v),
    "deep:x": lambda e: False,
    'actor:"ALICE@example.com"': lambda e: e.envelope.actor_name.lower() == "alice@example.com",
}


@pytest.mark.parametrize("text", QUERIES)
def test_queries_mean_what_they_say(folder: Path, everything: list[Event], text: str) -> None:
    lake = Lake(folder)
    asked = ask(lake, text, Times(), NOW_NS)
    wanted = [event.uid for event in everything if QUERIES[text](event)]
    found = [e.uid for e in answer(lake, asked, NOW_NS, limit=None)]
    assert sorted(found) == sorted(wanted)
    assert sum(histogram(lake, asked, NOW_NS, HOUR_NS).values()) == len(wanted)
    assert len(list(answer(lake, asked, NOW_NS, limit=2))) == min(2, len(wanted))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("usernam:x", "no event there has a field 'usernam'; there is User, user.username"),
        ("requestObject.spec.hostNet:true", "no event there has a field 'requestObject.spec."),
        ("NOT nosuch:x actor:nobody OR tagret:y", "field 'nosuch'\ntrailhound: no event there has"),
        ("actr:x source:k8s_audit", "'actr'; there is actor"),
        ("verb:nosuchverb", ""),
        ("annotations.none:x", "no event there has a field 'annotations.none'"),
        ("actor:nobody", ""),
        ("nosuch:x OR mallory", ""),
    ],
)
def test_a_field_that_no_event_has_is_told_where_nothing_is_found(
    folder: Path, query: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "hunt", "--lake", str(folder), query, "--count")
    assert (code, out) == (0, "1\n" if "mallory" in query else "0\n")
    assert told in err
    assert bool(told) == bool(err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"open', "a quote is not closed"),
        ("(a", "bracket at column 1 is not closed"),
        ("a)", "a closing bracket too many"),
        ("NOT", "something is missing"),
        ("actor:", "has no value"),
        ("x:>five", "compares with no number"),
        ("last:soon", "is no span"),
        ("since:yesterday", "is no time"),
        ("(last:7d)", "limits the whole query"),
        ("NOT source:x", "limits the whole query"),
        ("last:7d a OR b", "put the alternatives in brackets"),
        ("(" * 60 + "a" + ")" * 60, "more than 50 brackets"),
    ],
)
def test_queries_that_are_none(text: str, message: str) -> None:
    with pytest.raises(TrailhoundError, match=message):
        parse(text, NOW_NS)


def test_times_of_queries() -> None:
    query = parse("a last:7d until:2027-01-01 source:x,y", NOW_NS)
    assert query.since_ns == NOW_NS - 7 * 24 * HOUR_NS
    assert query.until_ns == 1_798_761_600 * 10**9
    assert query.sources == ("x", "y")
    assert moment_ns("1970-01-01T01:00+01:00", 0) == 0


READING_OTHER_THINGS = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM read_parquet('http://127.0.0.1/x.parquet')",
    "COPY events TO '/tmp/stolen.parquet'",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "ATTACH '/tmp/other.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "CREATE TABLE t AS SELECT 1",
    "DROP VIEW events",
    "EXPORT DATABASE '/tmp/stolen'",
    "CALL pragma_version()",
    "SELECT 1; SELECT 2",
    "SELECT getenv('HOME')",
    "SELECT * FROM sqlite_scan('/tmp/x', 't')",
    "",
    "SELEC",
]


@pytest.mark.parametrize("query", READING_OTHER_THINGS)
def test_sql_reads_nothing_but_the_lake(folder: Path, query: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    with pytest.raises(TrailhoundError):
        list(ask_sql(Lake(folder), query).rows)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before


def test_sql_reads_the_lake(folder: Path) -> None:
    lake = Lake(folder)
    found = ask_sql(lake, "SELECT source, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL")
    assert found.names == ("source", "n")
    assert dict(found.rows) == {kept.source: kept.events for kept in lake.sources()}
    found = ask_sql(lake, """SELECT document->>'$.verb' FROM events WHERE "doc.verb" = 'get'""")
    assert {verb for (verb,) in found.rows} == {"get"}


def test_sql_that_takes_too_long(folder: Path) -> None:
    endless = (
        "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range = -b.range - 1"
    )
    with pytest.raises(TrailhoundError, match=r"took longer than 0\.3 s"):
        list(ask_sql(Lake(folder), endless, seconds=0.3).rows)


def test_what_sql_cannot_say_is_left_to_the_engine() -> None:
    at = Field("a", (("a",),))
    hard, easy = Compare(at, Regex("(?!x)y")), Compare(at, Equals("z"))
    left: list[Unsupported] = []
    weaker = weakened(And((Not(Or((hard, easy))), hard)), left.append)
    assert weaker == And((Not(Or((Or(()), easy))), And(())))
    assert len(left) == 2


def test_columns_that_a_rule_needs() -> None:
    a, b, c = (Compare(Field(n, ((n,),)), Equals(n)) for n in "abc")
    columns = {("a",): 1, ("b",): 2}
    assert needs(And((a, b, c)), columns) == {("a",): a, ("b",): b}
    assert needs(Or((And((a, b)), And((a, c)))), columns) == {("a",): Or((a, a))}
    assert needs(Or((a, b)), columns) == {}
    assert needs(Not(a), columns) == {}
    assert needs(Or(()), columns) == {}
    assert needs(Exists(Field("a", (("a",),))), columns) == {}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = ("--lake", str(folder))
    code, out, _ = run(capsys, "hunt", *lake, "mallory")
    assert code == 0
    assert "1 of " in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[31mmallory\\u202e" in out
    assert "█" in out
    assert " 00:00  1  █" not in out, "the bars are as wide as the lake is old"
    code, out, _ = run(capsys, "hunt", *lake, "mallory", "-f", "csv", "--fail-on-match")
    assert code == 1
    assert "\x1b" not in out
    code, out, _ = run(capsys, "hunt", *lake, "mallory", "--json")
    (event,) = json.loads(out)
    assert event["document"] == HOSTILE
    assert event["target"] == "pods x\ny/=cmd()", "as in findings"
    code, out, _ = run(capsys, "hunt", *lake, "mallory", "--count")
    assert (code, out) == (0, "1\n")
    code, out, _ = run(capsys, "hunt", *lake, "--sql", "SELECT 1 AS n", "--json")
    assert json.loads(out) == [{"n": 1}]
    rule = str(CONTENT / "kubernetes/many_secrets_read.yml")
    code, out, _ = run(capsys, "hunt", *lake, "--rule", rule, "--json", "--fail-on-match")
    assert code == 1
    assert {f["rule"]["title"] for f in json.loads(out)["findings"]} == {_windowed()}
    code, _, err = run(capsys, "hunt", *lake, "--sql", "SELECT 1", "--count")
    assert (code, "--count counts what a query" in err) == (2, True)
    code, _, err = run(capsys, "hunt", *lake, "--sql", "SELECT 1", "--limit", "5")
    assert (code, "SQL has LIMIT" in err) == (2, True)
    code, _, err = run(capsys, "hunt", *lake, "mallory", "--timeout", "5")
    assert (code, "--timeout is for --sql" in err) == (2, True)
    code, _, err = run(capsys, "hunt", *lake, "a", "--sql", "SELECT 1")
    assert (code, "choose one" in err) == (2, True)
    code, _, err = run(capsys, "hunt", *lake, "source:nope")
    assert (code, "keeps no source" in err) == (2, True)
    code, _, err = run(capsys, "hunt", "--lake", str(tmp_path), "a")
    assert (code, "is no lake" in err) == (2, True)
    code, out, _ = run(capsys, "lake", "info", *lake, "--json")
    assert {one["source"] for one in json.loads(out)["sources"]} >= {"k8s_audit", "auditd"}
    log = str(CONTENT / "kubernetes/pod_exec.hits.jsonl")
    new = ("--lake", str(tmp_path / "new"))
    assert run(capsys, "lake", "ingest", log, *new)[0] == 0
    code, out, _ = run(capsys, "lake", "ingest", log, *new, "--json")
    assert json.loads(out)["stored"] == 0
    assert run(capsys, "lake", "hold", "case", *new, "--since", "2020-01-01")[0] == 0
    code, out, _ = run(capsys, "lake", "retain", *new, "--keep", "*=1", "--json")
    assert json.loads(out)["files_deleted"] == 0
    assert run(capsys, "lake", "compact", *new)[0] == 0
    code, out, _ = run(capsys, "lake", "export", *new, "--to", "-")
    exported = [json.loads(line) for line in out.splitlines()]
    assert {event["class_uid"] for event in exported} == {6003}
    target = tmp_path / "out.parquet"
    assert run(capsys, "lake", "export", *new, "--to", str(target))[0] == 0
    assert duckdb.read_parquet(str(target)).shape[0] > 0
    code, out, _ = run(capsys, "lake", "export", *new, "--to", str(target), "--until", "2001-01-01")
    assert (code, out.startswith("0 events written")) == (0, True)
    assert duckdb.read_parquet(str(target)).shape[0] == 0
    code, _, err = run(capsys, "lake", "export", *new, "--to", str(tmp_path / "out.txt"))
    assert (code, "the ending says the form" in err) == (2, True)
    assert not (tmp_path / "out.txt").exists()
    (tmp_path / "folder.parquet").mkdir()
    code, _, err = run(capsys, "lake", "export", *new, "--to", str(tmp_path / "folder.parquet"))
    assert (code, "folder.parquet: Is a directory" in err) == (2, True)
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".parquet"}
    for command in (("export", "--to", "-"), ("hold", "case")):
        code, _, err = run(capsys, "lake", *command, *new, "--source", "k8s")
        assert (code, "'k8s' is no source" in err) == (2, True)
    assert run(capsys, "lake", "retain", *new, "--keep", "x")[0] == 2
    code, _, err = run(capsys, "lake", "retain", *new, "--keep", "k8s=1")
    assert (code, "'k8s' is no source" in err) == (2, True)
    code, _, err = run(capsys, "hunt", *lake, "src_ip:10.0.0.0/99")
    assert (code, "src_ip:10.0.0.0/99 is no network" in err) == (2, True)
    code, _, err = run(capsys, "hunt", *lake, "--sql", "SELECT 1 FROM evnts")
    assert code == 2
    assert err.endswith('Table with name evnts does not exist! Did you mean "events"?\n')


def test_rows_wider_than_the_terminal_go_on_below_and_lose_nothing() -> None:
    names = ("time", "actor", "record")
    rows = [("1", "a" * 30, "r" * 40), ("2", "b", "c")]
    stream = io.StringIO()
    assert write_rows(stream, "table", names, rows, width=50) == 2
    assert stream.getvalue().splitlines() == [
        "time  actor",
        "    record",
        f"1     {'a' * 30}",
        f"    {'r' * 40}",
        "2     b",
        "    c",
    ]
    for width in (None, 100):
        wide = io.StringIO()
        write_rows(wide, "table", names, rows, width=width)
        assert wide.getvalue().count("\n") == 3
