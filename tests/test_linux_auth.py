"""Syslog and journal: what the samples cannot show, and text that nobody would write."""

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.intake.files import STDIN, find_inputs
from trailhound.model.events import Event
from trailhound.model.findings import Finding
from trailhound.model.logsource import LogSource
from trailhound.model.records import Origin, ParseFailure, Payload, RawRecord
from trailhound.pipeline.coverage import coverage_against
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import Scan, run_scan
from trailhound.sources.decode import Decoder
from trailhound.sources.linux_auth import SOURCE
from trailhound.sources.linux_auth.envelope import CLASSES
from trailhound.sources.linux_auth.messages import _interpret, said_in, views_of
from trailhound.sources.linux_auth.stamps import DEFAULT_YEAR, Calendar
from trailhound.sources.syslog_lines import Stamp, frame

SAMPLES = Path(__file__).parent / "samples" / "sources" / "linux_auth"
LINES = [
    line for path in sorted(SAMPLES.glob("*/in.log")) for line in path.read_text().splitlines()
]
ENTRIES = [
    json.loads(line)
    for path in sorted(SAMPLES.glob("*/in.jsonl"))
    for line in path.read_text().splitlines()
    if line.startswith("{") and "SYSLOG_IDENTIFIER" in line
]
DAY_NS = 86_400 * 10**9


def text_payload(line: str, number: int = 1, **context: Any) -> Payload:
    return Payload(origin=Origin("in.log", number), text=line, context=context)


def read(*lines: str, **context: Any) -> list[Event]:
    reader = SOURCE.reader()
    items = [
        item
        for number, line in enumerate(lines, 1)
        for item in reader.read(text_payload(line, number, **context))
    ]
    return [item for item in items if isinstance(item, Event)]


def time_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def times(events: list[Event]) -> list[str]:
    return [
        datetime.fromtimestamp(event.envelope.time_ns // 10**9, UTC).strftime("%Y-%m-%d")
        for event in events
    ]


def test_every_field_of_a_view_is_in_the_catalogue() -> None:
    known = {(info.view, info.name) for info in SOURCE.fields}
    missing = set()
    for line in LINES:
        for event in read(line):
            missing |= set(unlisted(event, known))
    for entry in ENTRIES:
        for item in SOURCE.reader().read(Payload(origin=Origin("in", 1), document=entry)):
            if isinstance(item, Event):
                missing |= set(unlisted(item, known))
    assert not missing


def unlisted(event: Event, known: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, view in event.views.items():
        for fields in view:
            for path in paths(fields):
                head = path.partition(".")[0]
                if (name, path) not in known and (name, f"{head}.*") not in known:
                    yield name, path


def paths(fields: Mapping[str, Any]) -> Iterator[str]:
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield from (f"{key}.{inner}" for inner in paths(value)) if value else (f"{key}.",)
        else:
            yield key


@pytest.mark.parametrize(
    ("line", "service"),
    [
        ("Mar  1 10:00:00 h vsftpd[1]: weird status: 7", "vsftpd"),
        ("Mar  1 10:00:00 h guacd[1]: (2 users now present)", "guacamole"),
        ("Mar  1 10:00:00 h clamd[1]: /x: Webshell FOUND", "clamav"),
        ("Mar  1 10:00:00 h sshd-session[1]: error in libcrypto", "sshd"),
        ("Mar  1 10:00:00 h crontab[1]: (a) REPLACE (a)", "cron"),
        ("Mar  1 10:00:00 h systemd[1]: stopping firewalld", "syslog"),
        ("Mar  1 10:00:00 h usermod[1]: add 'a' to group 'sudo'", "usermod"),
        ("<38>Mar  1 10:00:00 h anything: told to the auth facility", "auth"),
        ("Mar  1 10:00:00 h anything: pam_unix(anything:auth): conversation failed", "pam"),
    ],
)
def test_a_rule_for_a_service_reads_the_lines_of_its_program(line: str, service: str) -> None:
    wanted = LogSource("linux", None, service)
    views = {route.view for route in SOURCE.routes if route.serves(wanted)}
    (event,) = read(line)
    (view,) = views & set(event.views)
    assert event.views[view][0]["message"] in line


def test_the_same_line_is_the_same_event_wherever_it_stands() -> None:
    line = "2026-03-01T10:00:00Z h sshd[1]: Accepted password for a from 192.0.2.1 port 1 ssh2"
    assert read(line)[0].uid == read("x", line)[0].uid
    assert read(line)[0].uid != read(line.replace("for a", "for b"))[0].uid


def test_every_event_of_a_class_is_in_the_catalogue_of_slugs() -> None:
    seen = {
        view["event"]
        for line in LINES
        for event in read(line)
        for view in event.views["syslog"]
        if "event" in view
    }
    assert set(CLASSES) <= seen | {"sudo-continued"}


def test_who_runs_useradd_is_not_known() -> None:
    (event,) = read("2026-03-01T10:00:00Z h useradd[1]: new user: name=eve, UID=0, GID=0")
    envelope = event.envelope
    assert (envelope.actor_name, envelope.invoked_by) == ("", "")
    assert (envelope.target_type, envelope.target_name) == ("user", "eve")


def test_target_of_sudo_is_the_whole_command() -> None:
    command = "/bin/sh -c " + "x" * 5000
    (event,) = read(f"2026-03-01T10:00:00Z h sudo: al : PWD=/ ; USER=root ; COMMAND={command}")
    assert event.envelope.target_type == "process"
    assert event.envelope.target_name == command[:4096]


# --- who claims what ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "type=SYSCALL msg=audit(1772359200.000:1): arch=c000003e",
        "node=h type=SYSCALL msg=audit(1772359200.000:1): arch=c000003e",
        "Mar  1 10:00:00 h audispd: node=h type=SYSCALL msg=audit(1772359200.000:1): pid=1",
        "Mar  1 10:00:00 h kernel: [   12.345678] audit: type=1400 audit(1772359200.000:1): x",
        "2026-03-01T10:00:00Z INFO main: started",
        "2026-03-01T10:00:00Z stdout F sshd[1]: x",
        "2026-03-01T10:00:00.000Z Mar  1 10:00:00 h sshd[1]: in an export of CloudWatch",
        "2026-03-01 10:00:00 h sshd[1]: another stamp",
        "Marble 1 10:00:00 h sshd[1]: x",
        "May I 10:00:00",
        "sshd[1]: Accepted password for root from 192.0.2.1 port 1 ssh2",
        '{"a": 1}',
        "<34>",
        "",
        " ",
    ],
)
def test_lines_of_others_are_not_claimed(line: str) -> None:
    assert not SOURCE.recognises(text_payload(line))


@pytest.mark.parametrize(
    "line",
    [
        "Mar  1 10:00:00 h logger: type=SYSCALL msg=audit(1772359200.000:1): pid=1",
        "Mar  1 10:00:00 h sshd[1]: Invalid user type=x msg=audit( from 192.0.2.1 port 1",
        "Mar  1 10:00:00 h kernel: audit: backlog limit exceeded",
        "\0\0\0Mar  1 10:00:00 h sshd[1]: after a crash",
        "<13>1 - - - - - -",
    ],
)
def test_syslog_is_claimed(line: str) -> None:
    assert SOURCE.recognises(text_payload(line))


def test_what_is_recognised_by_its_head_is_read_whole() -> None:
    line = "Mar  1 10:00:00 h sshd[1]: " + "x" * 10_000
    assert SOURCE.recognises(text_payload(line))
    assert len(read(line)[0].document["message"]) == 10_000


# --- years --------------------------------------------------------------------------------


def test_the_year_follows_the_time_of_the_file() -> None:
    modified = {"modified_ns": time_ns("2026-01-02T00:00:00")}
    lines = ("Nov 30 10:00:00 h a: x", "Jan  1 10:00:00 h a: x", "Jan  3 10:00:00 h a: x")
    assert times(read(*lines, **modified)) == ["2025-11-30", "2026-01-01", "2025-01-03"]


RULE = """
title: su to root
logsource: {product: linux, service: su}
detection: {sel: {target_user: root}, condition: sel}
"""


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_scan_takes_the_year_from_the_time_of_each_file(tmp_path: Path, suffix: str) -> None:
    rule, logs = tmp_path / "rule.yml", tmp_path / "logs"
    rule.write_text(RULE)
    logs.mkdir()
    line = b"Dec 31 23:59:58 web1 su: (to root) alice on pts/1\n"
    entries = b'{\n"records": [\n{"log": "' + line.strip() + b'"}\n]\n}\n'
    for name, data, modified in (
        ("auth.log", line, "2022-02-01T00:00:00"),
        ("auth.log.1", line, "2021-12-31T23:59:59"),
        ("one.json", entries, "2020-05-01T00:00:00"),
    ):
        path = logs / (name + suffix)
        path.write_bytes(gzip.compress(data) if suffix else data)
        os.utime(path, ns=(0, time_ns(modified)))
    rules = load_rules([str(rule)], builtin=False, placeholders={}, cache=None)
    files = find_inputs([str(logs)])
    found: list[Finding] = []
    totals = run_scan(Scan(files, rules), found.append)
    assert not totals.failures
    events = [event for finding in found for event in finding.events]
    dated = {(Path(e.origins[0].path).name, times([e])[0][:4]) for e in events}
    years = {"auth.log": "2021", "auth.log.1": "2021", "one.json": "2019"}
    assert dated == {(name + suffix, year) for name, year in years.items()}
    (counts,) = coverage_against(rules.ruleset.rules, files)
    assert [view.matches for view in counts] == [3]


def test_standard_input_has_no_time() -> None:
    assert [file.modified_ns for file in find_inputs([STDIN])] == [0]
    record = RawRecord(b"Mar  1 10:00:00 h a: x", Origin(STDIN, 1))
    (event,) = Decoder().decode(record)
    assert isinstance(event, Event)
    assert times([event]) == [f"{DEFAULT_YEAR}-03-01"]


def test_a_clock_a_little_ahead_of_the_file_is_forgiven() -> None:
    modified = {"modified_ns": time_ns("2025-12-31T23:59:59")}
    assert times(read("Jan  1 10:00:00 h a: x", **modified)) == ["2026-01-01"]


def test_29_february_falls_in_a_leap_year() -> None:
    modified = {"modified_ns": time_ns("2026-05-01T00:00:00")}
    assert times(read("Feb 29 10:00:00 h a: x", **modified)) == ["2024-02-29"]


def test_without_a_hint_the_default_year_stands() -> None:
    assert times(read("Mar  1 10:00:00 h a: x")) == [f"{DEFAULT_YEAR}-03-01"]


def test_years_turn_with_the_lines() -> None:
    stamps = ["Oct  1", "Dec 31", "Jan  1", "Aug  1", "Dec 30", "Jan  2"]
    events = read(*(f"{stamp} 10:00:00 h a: x" for stamp in stamps))
    years = [time[:4] for time in times(events)]
    assert years == ["2024", "2024", "2025", "2025", "2025", "2026"]


def test_files_do_not_share_their_years() -> None:
    calendar = Calendar()
    calendar.complete(Stamp(text="x", time_ns=time_ns("2019-06-01T00:00:00")), "a", {})
    bsd = Stamp(text="Jun  2 00:00:00", zoned=False, month=6, day=2)
    assert calendar.complete(bsd, "a", {}).time_ns == time_ns("2019-06-02T00:00:00")
    assert calendar.complete(bsd, "b", {}).time_ns == time_ns(f"{DEFAULT_YEAR}-06-02T00:00:00")


@given(
    st.integers(1, 12),
    st.integers(1, 31),
    st.one_of(st.integers(), st.integers(0, 4 * 10**18)),
    st.one_of(st.none(), st.integers(), st.floats(), st.text()),
)
def test_any_anchor_gives_a_time(month: int, day: int, modified: int, stamp: object) -> None:
    bsd = Stamp(text="as written", zoned=False, month=month, day=day)
    context = {"modified_ns": modified, "timestamp": stamp}
    assert isinstance(Calendar().complete(bsd, "a", context).time_ns, int)


# --- hostile text -------------------------------------------------------------------------


def check(items: list[Event | ParseFailure]) -> None:
    for item in items:
        if isinstance(item, ParseFailure):
            assert item.reason
            assert item.detail
            continue
        assert -(1 << 63) <= item.envelope.time_ns < 1 << 63
        assert len(item.uid) == 32
        assert item.views["syslog"]
        orjson.dumps([item.document, item.views], default=str)


PIECES = st.sampled_from(
    [
        *(" from ", " port 22", " ssh2", ": ", " ; ", "USER=", "COMMAND=", "PWD=", "TTY=x"),
        *("invalid user ", " [preauth]", "root", "203.0.113.7", "::1", "'", "`", "(", ")", "["),
        *("]", "=", '"', "\\", "#012", "\n", "\0", "\t", " rhost=", " user=", " by ", "(uid=0)"),
        *("message repeated 3 times: [ ", "last message repeated 3 times", "٣", "²", "🤖", "  "),
        *("(command continued) ", "pam_unix(sshd:auth): ", "name=x, UID=0, ", "Failed ", " for "),
    ]
)


@st.composite
def bent_lines(draw: st.DrawFn) -> str:
    line = draw(st.sampled_from(LINES))
    for _ in range(draw(st.integers(1, 5))):
        at, end = sorted((draw(st.integers(0, len(line))), draw(st.integers(0, len(line)))))
        put = draw(st.one_of(PIECES, st.text(max_size=5), st.just(line[at:end] * 2)))
        line = line[:at] + put + line[end if draw(st.booleans()) else at :]
    return line


@settings(max_examples=400)
@given(st.lists(bent_lines(), min_size=1, max_size=4))
def test_bent_lines_are_read_or_left(lines: list[str]) -> None:
    reader = SOURCE.reader()
    for number, line in enumerate(lines, 1):
        payload = text_payload(line, number)
        if SOURCE.recognises(payload):
            items = list(reader.read(payload))
            assert any(isinstance(item, Event) for item in items)
            check(items)
    assert not list(reader.flush())


PROGRAMS = ["sshd", "sudo", "su", "pkexec", "polkitd", "useradd", "CRON", "systemd", "login"]


@settings(max_examples=400)
@given(
    st.sampled_from([*PROGRAMS, "systemd-logind", "rsyslogd", "sshd(pam_unix)"]),
    st.one_of(st.text(), st.lists(PIECES).map("".join)),
)
def test_any_message_is_read(program: str, message: str) -> None:
    payload = text_payload(f"Mar  1 10:00:00 h {program}[1]: {message}")
    check(list(SOURCE.reader().read(payload)))


@given(st.text())
def test_any_text_is_framed_or_not(text: str) -> None:
    frame(text)
    frame(f"<34>1 2026-03-01T10:00:00Z h a 1 - [{text}] x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(max_examples=200)
@given(st.sampled_from(ENTRIES), st.dictionaries(st.sampled_from(sorted(ENTRIES[0])), JSON))
def test_any_journal_entry_is_read(entry: dict[str, Any], bent: dict[str, Any]) -> None:
    payload = Payload(origin=Origin("in", 1), document=entry | bent)
    if SOURCE.recognises(payload):
        items = list(SOURCE.reader().read(payload))
        assert any(isinstance(item, Event) for item in items)
        for item in items:
            if isinstance(item, Event):
                assert -(1 << 63) <= item.envelope.time_ns < 1 << 63
                assert len(item.uid) == 32


MEGABYTE = 1 << 20
HOSTILE = {
    "sshd": [
        "Failed password for invalid user {} from 192.0.2.1 port 1 ssh2",
        "Failed publickey for invalid user {}: RSA-CERT SHA256:a ID x (serial 1) CA RSA SHA256:b",
        "Invalid user {}",
        "Disconnecting invalid user {}",
        "Connection closed by invalid user {} [preauth]",
        "Accepted certificate ID {}",
        "PAM 2 more authentication failures; {}",
        "Starting session: shell on pts/0 for {}",
        "Authentication tried for {}",
        "reverse mapping checking getaddrinfo for {}",
        "drop connection {}",
        "pam_unix(sshd:auth): authentication failure; {}",
        "pam_unix(sshd:session): session opened for user {}",
        "pam_sss(sshd:auth): received for user {}",
        "message repeated 5 times: [ {}",
    ],
    "sudo": ["a : {}", "a : (command continued) {}", "{}"],
    "su": ["(to root) {}", "Successful su for {}", "{}", "'su root' failed for {}"],
    "pkexec": ["a: Executing command {}"],
    "polkitd": ["Operator of {}"],
    "usermod": ["change user 'x' {}", "new user: {}", "add '{}", "members of group {}"],
    "CRON": ["(root) CMD ({}", "({}"],
    "systemd": ["Stopped {}", "{}"],
    "systemd-logind": ["New session 1 of user {}"],
    "login": ["FAILED LOGIN 1 FROM x FOR {}", "LOGIN ON x BY {}"],
}
FILLERS = [
    *("x", " ", " from ", " from 1 port 2 ssh2: ", " 1 port 2: ", " (serial 1) CA x", " by "),
    *(" ; USER=x", " ; COMMAND=x", "] [COMMAND=", " rhost=", ", UID=1, GID=1, home=", "'", " for "),
    *(": ", "(uid=1)", " on ", " [", " to ", ", "),
]


@pytest.mark.parametrize("program", sorted(HOSTILE))
def test_lines_of_a_megabyte_are_read_in_one_pass(program: str) -> None:
    """A pattern that tried anew at every place would need days for these."""
    for template in HOSTILE[program]:
        for filler in FILLERS:
            message = template.replace("{}", filler * (MEGABYTE // len(filler)))
            event, *_ = read(f"2026-03-01T10:00:00Z h {program}[1]: {message}")
            assert event.envelope.device == "h"


@pytest.mark.parametrize(
    ("message", "events", "told"),
    [
        ("message repeated 5 times: [ Failed none for x from 1.2.3.4 port 1 ssh2]", 5, []),
        ("message repeated 0 times: [ x]", 1, []),
        ("message repeated 999999999 times: [ x]", 100, ["999999999 of them; 100 were counted"]),
        (f"message repeated 9 times: [ {'x' * 30_000}]", 2, ["9 of them; 2 were counted"]),
        (f"message repeated 9 times: [ {'x' * 90_000}]", 1, ["9 of them; 1 were counted"]),
    ],
    ids=["few", "none", "countless", "long", "longer"],
)
def test_a_line_is_as_many_events_as_it_counts(message: str, events: int, told: list[str]) -> None:
    payload = text_payload(f"2026-03-01T10:00:00Z h sshd[1]: {message}", 1)
    items = list(SOURCE.reader().read(payload))
    found = [item for item in items if isinstance(item, Event)]
    assert len({event.uid for event in found}) == len(found) == events
    assert [item.detail for item in items if isinstance(item, ParseFailure)] == told


def test_structured_data_of_a_megabyte_is_read_in_one_pass() -> None:
    for filler in ('a="x" ', 'a="\\"" ', "[a", "a", " ", '"', '][a k="v"', "\\"):
        data = filler * (MEGABYTE // len(filler))
        (event,) = read(f"<34>1 2026-03-01T10:00:00Z h a 1 - [id {data}] x")
        assert event.envelope.device == "h"


@given(
    st.sampled_from(
        (
            "Accepted password for root from {} port {} ssh2",
            "Connection from {} port {} on 192.0.2.9",
            "Connection closed by authenticating user {} {} port {} [preauth]",
            "Connection closed by {} port {} [preauth]",
            "Disconnected from user {} {} port {}",
            "Invalid user {} from {} port {}",
            "error: maximum authentication attempts exceeded for {} from {} port {} ssh2 [preauth]",
        )
    ),
    st.lists(
        st.sampled_from(("1", "2", "22", "a", "a port 1", "b port 2")), min_size=3, max_size=3
    ),
    st.sampled_from(("", " port 1", " port 2", " port 22", " port 00022", " port 99999", " ssh2")),
)
def test_what_is_remembered_but_for_the_port_is_what_the_message_says(
    form: str, parts: list[str], end: str
) -> None:
    message = form.format(*parts) + end
    document = {"program": "sshd", "message": message}
    family, readings = _interpret(document)
    assert said_in("sshd", message) == (views_of(family, document), readings)


def test_what_is_remembered_is_bounded() -> None:
    reader = SOURCE.reader()
    for number in range(3000):
        line = f"2026-03-01T10:00:00Z h{number} sudo[1]: u : TTY=x ; COMMAND=/x"
        origin = Origin(f"f{number}", 1)
        list(reader.read(Payload(origin=origin, text=line)))
    kept = [
        reader._calendar._last,
        reader._lines._last,
        reader._lines._sudo,
    ]
    assert all(len(store) <= 1024 for store in kept)


def test_a_command_that_never_ends_is_not_kept_whole() -> None:
    first = "2026-03-01T10:00:00Z h sudo[1]: u : TTY=x ; USER=root ; COMMAND=/x"
    more = "2026-03-01T10:00:00Z h sudo[1]: u : (command continued) " + "y" * 60_000
    events = read(first, more, more, more, more)
    assert max(len(orjson.dumps(event.document)) for event in events) < 200_000
