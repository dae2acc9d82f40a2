"""Logs written by whoever attacks: what is odd is told, and what is evil is found all the same.

Each story is a short log with a command run in a pod on a line of its own (`EVIL`), on or beside
what is odd. It is scanned as a user would, once as it stands and once behind so many ordinary
lines that it comes through the sieve.
"""

import csv
import gzip
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from trailhound.cli.main import main
from trailhound.engine import tests as engine_tests
from trailhound.intake.files import find_inputs
from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.pipeline.rulebooks import LoadedRules, load_rules
from trailhound.pipeline.scan import Scan, run_scan
from trailhound.sinks import SINKS

RULES = """
title: exec
id: 00000000-0000-4000-8000-00000000000e
level: high
logsource: {product: kubernetes, service: audit}
detection:
    s:
        verb: [create, get]
        objectRef.resource: pods
        objectRef.subresource: exec
    condition: s
---
title: root login
id: 00000000-0000-4000-8000-00000000000f
level: high
logsource: {product: linux, service: sshd}
detection:
    s: ['Accepted password for root']
    condition: s
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> LoadedRules:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(RULES)
    loaded = load_rules([str(path)], builtin=False, placeholders={}, cache=None)
    assert loaded.ruleset.errors == ()
    return loaded


def scan(path: Path, rules: LoadedRules) -> tuple[list[Finding], Totals]:
    findings: list[Finding] = []
    totals = run_scan(Scan(find_inputs([str(path)]), rules), findings.append)
    return findings, totals


def event(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods/web-0/exec?command=id",
        "verb": "create",
        "user": {"username": "mallory"},
        "sourceIPs": ["203.0.113.9"],
        "objectRef": {"resource": "pods", "subresource": "exec", "name": "web-0"},
        "stageTimestamp": "2026-03-01T00:00:00Z",
    }
    return {**document, **changes}


def line(**changes: Any) -> bytes:
    return json.dumps(event(**changes), separators=(",", ":")).encode()


EVIL = line()
CALM = line(verb="watch", objectRef={"resource": "pods"})
VERB = b'"verb":"create"'
SUB = b'"subresource":"exec"'
DEEP = b'{"a":[' * 5000 + b"1" + b"]}" * 5000

Story = tuple[bytes, list[int], list[tuple[int, str, bool]]]
STORIES: dict[str, Story] = {
    # the odd lines, those of them that must be found, and what must be said: line, reason, lost
    "half a line": (EVIL[:300], [], [(1, "invalid JSON", True)]),
    "the other half": (EVIL[20:], [], [(1, "unknown format", True)]),
    "two lines run into each other": (EVIL[:100] + EVIL, [], [(1, "invalid JSON", True)]),
    "invalid UTF-8": (
        EVIL.replace(b"web-0", b"web\xff\xfe0"),
        [1],
        [(1, "invalid UTF-8", False)],
    ),
    "invalid UTF-8 in a key": (
        EVIL.replace(b'"stage"', b'"sta\xffge"'),
        [1],
        [(1, "invalid UTF-8", False)],
    ),
    "a NUL byte in a value": (
        EVIL.replace(b"web-0", b"web\0"),
        [1],
        [(1, "control character", False)],
    ),
    "NUL bytes around": (b"\0\0" + EVIL + b"\0", [1], [(1, "control character", False)]),
    "nothing but NUL bytes": (b"\0" * 500, [], []),
    "a duplicate key, evil first": (
        EVIL.replace(VERB, VERB + b',"verb":"watch"'),
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate key, evil last": (
        EVIL.replace(VERB, b'"verb":"watch",' + VERB),
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate key inside, evil first": (
        EVIL.replace(SUB, SUB + b',"subresource":"log"'),
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate key inside, evil last": (
        EVIL.replace(SUB, b'"subresource":"log",' + SUB),
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate object": (
        EVIL[:-1] + b',"objectRef":{"resource":"nodes"}}',
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate object in front": (
        b'{"objectRef":{"resource":"nodes"},' + EVIL[1:],
        [1],
        [(1, "duplicate key", False)],
    ),
    "many duplicates": (
        EVIL[:-1] + b',"verb":"watch"' * 100 + b"}",
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate of the type": (
        EVIL.replace(b'"kind":"Event"', b'"kind":"Event","kind":"Nothing"'),
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate in front of the type": (
        EVIL.replace(b'"kind":"Event"', b'"kind":"Nothing","kind":"Event"'),
        [1],
        [(1, "duplicate key", False)],
    ),
    "a duplicate written with an escape": (
        EVIL.replace(VERB, VERB + b',"v\\u0065rb":"watch"'),
        [1],
        [(1, "duplicate key", False)],
    ),
    "numbers beyond 64 bits": (
        EVIL[:-1] + b',"n":18446744073709551616,"m":-9223372036854775809}',
        [1],
        [(1, "number beyond 64 bits", False)],
    ),
    "numbers beyond any": (
        EVIL[:-1] + b',"n":1e999,"m":' + b"9" * 5000 + b"}",
        [1],
        [(1, "number beyond 64 bits", False)],
    ),
    "a number that is none": (EVIL[:-1] + b',"n":NaN}', [1], [(1, "NaN or Infinity", False)]),
    "nesting after the evil": (
        EVIL[:-1] + b',"deep":' + DEEP + b"}",
        [1],
        [(1, "nesting beyond 200", False)],
    ),
    "nesting before the evil": (
        b'{"deep":' + DEEP + b"," + EVIL[1:],
        [1],
        [(1, "nesting beyond 200", False)],
    ),
    "nesting inside the evil": (
        EVIL.replace(SUB, b'"deep":' + DEEP + b"," + SUB),
        [1],
        [(1, "nesting beyond 200", False)],
    ),
    "nesting that never ends": (
        EVIL[:-1] + b',"deep":' + b"[" * 10_000,
        [],
        [(1, "invalid JSON", True)],
    ),
    "an escaped value": (EVIL.replace(b'"exec"', b'"\\u0065xec"'), [1], []),
    "every letter escaped": (
        EVIL.replace(b'"exec"', b'"\\u0065\\u0078\\u0065\\u0063"'),
        [1],
        [],
    ),
    "an escaped key": (EVIL.replace(b'"verb"', b'"\\u0076erb"'), [1], []),
    "an escaped key of an object": (EVIL.replace(b'"objectRef"', b'"object\\u0052ef"'), [1], []),
    "an escaped type": (EVIL.replace(b'"kind":"Event"', b'"k\\u0069nd":"Even\\u0074"'), [1], []),
    "half of a surrogate pair": (
        EVIL.replace(b"web-0", b"web\\ud800"),
        [1],
        [(1, "lone surrogate", False)],
    ),
    "a clock in 1970": (line(stageTimestamp="1970-01-01T00:00:00Z"), [1], []),
    "a clock before 1970": (line(stageTimestamp="1901-01-01T00:00:00Z"), [1], []),
    "a clock in 2100": (line(stageTimestamp="2100-01-01T00:00:00Z"), [1], []),
    "a clock beyond": (
        line(stageTimestamp="9999-12-31T23:59:59.999999999Z"),
        [1],
        [(1, "unreadable time", False)],
    ),
    "no clock": (line(stageTimestamp="yesterday"), [1], [(1, "unreadable time", False)]),
    "a clock of another type": (
        line(stageTimestamp={"at": [1]}),
        [1],
        [(1, "unreadable time", False)],
    ),
    "blanks": (json.dumps(event(), separators=("\t, ", " :\t ")).encode(), [1], []),
    "a carriage return": (EVIL + b"\r", [1], []),
    "a byte order mark": (b"\xef\xbb\xbf" + EVIL, [1], []),
    "two on a line": (CALM + EVIL, [1], []),
    "two on a line, and an empty one": (CALM + EVIL + b"\n", [1], []),
    "two on a line, blanks between": (CALM + b"  " + EVIL + b" ", [1], []),
    "something after it": (EVIL + b" and more", [1], [(1, "invalid JSON", True)]),
    "a list where a text is due": (line(verb=["watch", ["create"]]), [1], []),
    "an object where a text is due": (
        line(user={"username": {"name": ["a"]}}),
        [1],
        [],
    ),
    "a number for the stage": (line(stage=2**70), [1], [(1, "number beyond 64 bits", False)]),
    "keys with dots": (
        line(objectRef=None, **{"objectRef.resource": "pods", "objectRef.subresource": "exec"}),
        [1],
        [],
    ),
    "a dotted key beside the real one": (line(**{"objectRef.subresource": "log"}), [1], []),
    "inside a shipper's wrapping": (
        json.dumps({"log": EVIL.decode() + "\n", "stream": "stdout"}).encode(),
        [1],
        [],
    ),
    "inside too many wrappings": (
        b'{"log":' * 12 + EVIL + b"}" * 12,
        [],
        [(1, "unknown format", True)],
    ),
    "another format": (
        b"Jan  5 10:00:00 host sshd[7]: Accepted password for root from 203.0.113.9 port 1 ssh2",
        [1],
        [],
    ),
    "another format with odd bytes": (
        b"Jan  5 10:00:00 host sshd[7]: Accepted password for root from 203.0.113.9 port 1\xff",
        [1],
        [(1, "invalid UTF-8", False)],
    ),
    "no format at all": (b"\x01\x02 nothing anybody knows", [], [(1, "unknown format", True)]),
    "a list that ends early": (
        b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + EVIL + b",",
        [],
        [(1, "invalid JSON", True)],
    ),
}


@pytest.mark.parametrize("before", [0, 600], ids=["by line", "through the sieve"])
@pytest.mark.parametrize("name", STORIES)
def test_story(name: str, before: int, tmp_path: Path, rules: LoadedRules) -> None:
    odd, found, said = STORIES[name]
    head = [CALM] * max(before, 1)
    data = b"\n".join([*head, odd, CALM, EVIL]) + b"\n"
    path = tmp_path / "audit.log"
    path.write_bytes(data)
    findings, totals = scan(path, rules)
    last = data.count(b"\n")
    offset = len(head)
    assert [f.events[0].origins[0].line for f in findings] == [
        *(number + offset for number in found),
        last,
    ]
    told = [
        (example.origin.path, example.origin.line - offset, failure.reason, example.lost)
        for failure in totals.failures
        for example in failure.examples
    ]
    assert told == [(str(path), *failure) for failure in said]
    assert all(example.detail for failure in totals.failures for example in failure.examples)
    assert totals.records_lost == sum(lost for _, _, lost in said)


def test_findings_have_their_time(tmp_path: Path, rules: LoadedRules) -> None:
    path = tmp_path / "log"
    stamps = ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "1901-01-01T00:00:00Z", "never"]
    path.write_bytes(b"\n".join(line(stageTimestamp=stamp) for stamp in stamps))
    findings, _ = scan(path, rules)
    assert [f.time_ns for f in findings] == [
        0,
        4_102_444_800_000_000_000,
        -2_177_452_800_000_000_000,
        0,
    ]
    for name in SINKS:
        assert run("scan", str(path), "-f", name, "-q")[0] == 0


# --- damage to the file ------------------------------------------------------------------


def log_of(count: int, evil_at: int) -> bytes:
    lines = [line(verb="watch", auditID=f"{n * 2654435761 % 2**32:08x}") for n in range(count)]
    lines[evil_at] = EVIL
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_compressed_file_that_is_cut_off(
    compress: Any, tmp_path: Path, rules: LoadedRules
) -> None:
    path = tmp_path / "audit.log.gz"
    data = compress(log_of(9000, 1000))
    path.write_bytes(data[: len(data) // 2])
    (tmp_path / "next.log").write_bytes(EVIL)
    findings, totals = scan(tmp_path, rules)
    assert [str(f.events[0].origins[0]) for f in findings] == [
        f"{path}:1001",
        f"{tmp_path / 'next.log'}:1",
    ]
    reasons = {failure.reason: failure for failure in totals.failures}
    damage = reasons.pop("damaged compression").examples[0]
    assert damage.origin.path == str(path)
    assert damage.origin.line > 1001
    assert "cut off" in damage.detail
    assert reasons.keys() <= {"invalid JSON"}  # the line on which it is cut


def test_a_line_of_100_megabytes(tmp_path: Path, rules: LoadedRules) -> None:
    path = tmp_path / "audit.log"
    with open(path, "wb") as file:
        file.write(EVIL + b"\n" + EVIL[:-1] + b',"pad":"')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + EVIL + b"\n")
    findings, totals = scan(path, rules)
    assert [f.events[0].origins[0].line for f in findings] == [1, 3]
    (failure,) = totals.failures
    assert (failure.reason, str(failure.examples[0].origin)) == ("record too long", f"{path}:2")


def test_records_in_a_document_that_breaks_off(tmp_path: Path, rules: LoadedRules) -> None:
    path = tmp_path / "audit.json"
    document = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event()] * 3}
    text = json.dumps(document, indent=2).encode()
    path.write_bytes(text[:-400] + b"\n" + CALM + b"\n" + EVIL + b"\n")
    findings, totals = scan(path, rules)
    lines = [f.events[0].origins[0].line for f in findings]
    assert len(lines) == 3
    assert lines[:2] == [5, 5 + len(json.dumps(event(), indent=2).split("\n"))]
    assert lines[2] == path.read_bytes().count(b"\n")
    assert [failure.reason for failure in totals.failures] == ["invalid JSON"]


def test_binary_files_are_told_once(tmp_path: Path, rules: LoadedRules) -> None:
    path = tmp_path / "core"
    path.write_bytes(b"\x7fELF\x02\x01\x01\0" + bytes(range(256)) * 400 + b"\n" + EVIL + b"\n")
    findings, totals = scan(path, rules)
    (failure,) = totals.failures
    assert (failure.reason, failure.lost) == ("binary file", 1)
    assert str(failure.examples[0].origin) == f"{path}:1"
    # Nothing hides in one all the same.
    assert len(findings) == 1


def test_a_binary_file_does_not_hide_the_failures_of_the_next(
    tmp_path: Path, rules: LoadedRules
) -> None:
    (tmp_path / "a").write_bytes(b"\x7fELF\x02\x01\x01\0" + bytes(range(256)) * 40)
    (tmp_path / "b").write_bytes(b"nothing anybody knows\n" + EVIL)
    findings, totals = scan(tmp_path, rules)
    assert {f.reason: f.lost for f in totals.failures} == {"binary file": 1, "unknown format": 1}
    assert len(findings) == 1


# --- patterns that take too long ---------------------------------------------------------

SLOW = "^(?!x)(a|aa)+$"
"""Look-ahead puts it beyond RE2; on many `a` and a `b` it backtracks without end."""
HANGS = "/" + "a" * 60 + "b"


def rule_set(tmp_path: Path, *detections: str) -> LoadedRules:
    path = tmp_path / "slow.yml"
    path.write_text(
        "---\n".join(
            f"title: rule {number}\nid: 00000000-0000-4000-8000-00000000001{number}\nlevel: high\n"
            f"logsource: {{product: kubernetes, service: audit}}\ndetection: {detection}\n"
            for number, detection in enumerate(detections)
        )
    )
    loaded = load_rules([str(path)], builtin=False, placeholders={}, cache=None)
    assert loaded.ruleset.errors == ()
    return loaded


def test_catastrophic_patterns_cost_nothing_where_re2_runs_them(tmp_path: Path) -> None:
    loaded = rule_set(tmp_path, "{s: {requestURI|re: '(a+)+$'}, condition: s}")
    path = tmp_path / "log"
    lines = [line(requestURI="/" + "a" * 5000 + "b")] * 200 + [line(requestURI="/aaa")]
    path.write_bytes(b"\n".join(lines))
    started = time.process_time()
    findings, totals = scan(path, loaded)
    assert time.process_time() - started < 3
    assert [f.events[0].origins[0].line for f in findings] == [201]
    assert totals.rule_problems == ()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(engine_tests, "BACKTRACK_SECONDS", 0.02)
    return 0.02


@pytest.mark.parametrize("through_sieve", [False, True])
def test_patterns_that_give_up_are_counted_and_told(
    through_sieve: bool, impatient: float, tmp_path: Path
) -> None:
    loaded = rule_set(
        tmp_path,
        f"{{s: {{requestURI|re: '{SLOW.replace('^', '^/')}'}}, condition: s}}",
        "{s: {verb: create}, condition: s}",
    )
    path = tmp_path / "log"
    calm = [line(requestURI="/xaa", verb="watch")] * (800 if through_sieve else 1)
    before = [line(requestURI="/aaa", verb="watch", auditID=f"b{n}") for n in range(3)]
    hostile = [line(requestURI=f"{HANGS}{n}", auditID=f"h{n}") for n in range(300)]
    path.write_bytes(b"\n".join([*calm, *before, *hostile]))
    started = time.process_time()
    findings, totals = scan(path, loaded)
    spent = time.process_time() - started
    by_rule = dict.fromkeys(("rule 0", "rule 1"), 0)
    for finding in findings:
        by_rule[finding.rule.title] += 1
    assert by_rule == {"rule 0": 3, "rule 1": 300}
    (problem,) = totals.rule_problems
    assert (problem.path, problem.line) == (str(tmp_path / "slow.yml"), 1)
    assert "took too long on 300 events" in problem.reason
    assert f"first at {path}:{len(calm) + 4}" in problem.reason
    # Twenty for the rule and twenty for its gate, and not one for each of the 300.
    assert spent < 41 * impatient + 3


URI = f"{{requestURI|re: '/{SLOW[1:]}'}}"
GROUPS = f"{{user.groups|re: '{SLOW}'}}"
SHADOWS = {
    "another field": f"{{s: {URI}, t: {{verb: create}}, condition: s or t}}",
    "another value": f"{{s: {GROUPS}, t: {{user.groups: evil}}, condition: s or t}}",
    "a value beside it": f"{{s: {{user.groups|re: ['{SLOW}', '(?<!x)evil']}}, condition: s}}",
    "a pattern beside it": "{s: {user.groups|re: '^(?!x)((a|aa)+$|evil)'}, condition: s}",
    "a word": f"{{s: {URI}, t: ['mallory'], condition: s or t}}",
    "one of them": f"{{s1: {URI}, s2: {{verb: create}}, condition: 1 of s*}}",
    "not all": f"{{s: {URI}, t: {{verb: watch}}, condition: not (s and t)}}",
}


@pytest.mark.parametrize("name", SHADOWS)
def test_what_takes_too_long_does_not_hide_what_decides(
    name: str, impatient: float, tmp_path: Path
) -> None:
    loaded = rule_set(tmp_path, SHADOWS[name])
    path = tmp_path / "log"
    groups = [HANGS[1:], "evil"]
    path.write_bytes(line(requestURI=HANGS, user={"username": "mallory", "groups": groups}))
    findings, totals = scan(path, loaded)
    assert [f.rule.title for f in findings] == ["rule 0"]
    assert totals.rule_problems == ()


# --- what is shown -----------------------------------------------------------------------

TRICKS = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "a\r\nforged line",
    "\u202egnp.exe",
    "\u2066\u200b\ufeff",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "\t=1",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "|`|",
    "\x9b31m",
    "\0",
    "\x7f\x08\x08",
)


def run(*arguments: str) -> tuple[int, str, str]:
    """The exit code, output and messages of a command, in this process."""
    out, error = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", error)
        code = main([*arguments])
    return code, out.getvalue(), error.getvalue()


def forbidden(text: str) -> Iterator[str]:
    return (c for c in text if not c.isprintable() and c != "\n")


@pytest.mark.parametrize("colour", ["never", "always"])
@pytest.mark.parametrize("name", SINKS)
def test_tricks_in_values_never_reach_the_output(name: str, colour: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    path = tmp_path / "log"
    lines = [
        line(
            user={"username": trick, "groups": [trick]},
            userAgent=trick,
            sourceIPs=[trick],
            objectRef={
                "resource": "pods",
                "subresource": "exec",
                "name": trick,
                "namespace": trick,
            },
            stageTimestamp=f"2026-03-01T00:00:{number:02}Z",
        )
        for number, trick in enumerate(TRICKS)
    ]
    lines += [trick.encode() for trick in TRICKS]
    lines += [line(stageTimestamp=trick) for trick in TRICKS]
    path.write_bytes(b"\n".join(lines))
    code, out, error = run(
        *("scan", str(path), "--no-builtin", "-r", str(rules), "-f", name, "--colour", colour, "-q")
    )
    assert code == 0
    if name == "table" and colour == "always":
        # Colours are our own; nothing else may begin with ESC.
        for part in out.split("\x1b")[1:]:
            assert part[:1] == "["
            assert part[1:].split("m")[0].replace(";", "").isdigit()
        out = out.replace("\x1b", "")
    if name == "csv":
        for row in csv.reader(io.StringIO(out)):
            assert not [c for c in row if c.lstrip(" ")[:1] in tuple("=+-@\t\r")]
        out = out.replace("\r\n", "\n")
    assert not set(forbidden(out))
    assert not set(forbidden(error))
    assert "owned" in out
    if name == "markdown":
        # HTML means nothing inside a code span.
        assert "<script" not in re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", out)


@pytest.mark.parametrize("name", SINKS)
@pytest.mark.parametrize(
    "trick", [b"\x1b[31mred\x1b]0;x\x07", b"a\nforged", b"\xff\xfe", b"=cmd()"]
)
def test_tricks_in_file_names(name: str, trick: bytes, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    folder = tmp_path / "logs"
    folder.mkdir()
    path = os.path.join(os.fsencode(folder), trick)
    with open(path, "wb") as file:
        file.write(EVIL + b"\nnothing anybody knows\n")
    options = ("--no-builtin", "-r", str(rules), "-f", name, "-q", "--colour", "never")
    code, out, error = run("scan", str(folder), *options)
    assert code == 0
    assert not set(forbidden(out.replace("\r\n", "\n")))
    assert not set(forbidden(error))
    out.encode()
    written = tmp_path / "out"
    assert run("scan", str(folder), *options, "-o", str(written))[0] == 0
    assert written.stat().st_size > 0
    code, out, error = run("scan", os.fsdecode(path) + "-none", *options)
    assert code == 2
    assert not set(forbidden(error))
    assert error.count("\n") == 1
    with open(path, "wb") as file:
        file.write(b"nothing anybody knows\n")
    code, out, error = run("scan", str(folder), *options)
    assert code == 3
    assert not set(forbidden(out.replace("\r\n", "\n") + error))
