"""Linux audit logs: what samples cannot show — order, bounds, forgery, and noise."""

import json
import pickle
import random
import string
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.model.events import Event, Outcome
from trailhound.model.logsource import LogSource
from trailhound.model.records import Origin, ParseFailure, Payload, RawRecord
from trailhound.sources import all_sources
from trailhound.sources.auditd import SOURCE, assemble
from trailhound.sources.auditd.accounts import Accounts
from trailhound.sources.auditd.fields import (
    decode,
    read_fields,
    socket_address,
    syscall_name,
)
from trailhound.sources.decode import Decoder

SAMPLES = Path(__file__).parent / "samples" / "sources" / "auditd"
RULES = Path(__file__).parents[2] / "shared" / "corpora" / "sigma" / "rules" / "linux"

Output = list[Event | ParseFailure]


def payload(text: str, number: int = 1) -> Payload:
    return Payload(origin=Origin("in.log", number), text=text)


def read_all(lines: list[str]) -> Output:
    reader = SOURCE.reader()
    found: Output = []
    for number, line in enumerate(lines, 1):
        item = payload(line, number)
        assert SOURCE.recognises(item), line
        found += reader.read(item)
    return found + list(reader.flush())


def events_of(lines: list[str]) -> list[Event]:
    found = read_all(lines)
    assert all(isinstance(item, Event) for item in found), found
    return [item for item in found if isinstance(item, Event)]


def only(lines: list[str]) -> Event:
    (event,) = events_of(lines)
    return event


def record(kind: str, body: str, when: str = "1700000000.000", serial: int = 1) -> str:
    return f"type={kind} msg=audit({when}:{serial}): {body}"


def execve(
    serial: int,
    *arguments: str,
    pid: int,
    ppid: int = 1,
    auid: int = 1000,
    node: str = "",
    when: str | None = None,
) -> list[str]:
    stamp = when or f"{1_700_000_000 + serial // 8}.{serial % 8:03}"
    joined = " ".join(f'a{number}="{text}"' for number, text in enumerate(arguments))
    bodies = {
        "SYSCALL": f"arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=4 items=2 "
        f"ppid={ppid} pid={pid} auid={auid} uid=1000 gid=1000 euid=1000 tty=pts0 ses=7 "
        f'comm="{arguments[0]}" exe="/usr/bin/{arguments[0]}" key="exec"',
        "EXECVE": f"argc={len(arguments)} {joined}",
        "CWD": 'cwd="/srv"',
        "PROCTITLE": f"proctitle={' '.join(arguments).encode().hex().upper()}",
    }
    lines = [record(kind, body, stamp, serial) for kind, body in bodies.items()]
    lines[3:3] = [
        record("PATH", f'item={item} name="/usr/bin/{name}" nametype=NORMAL', stamp, serial)
        for item, name in enumerate((arguments[0], "ld.so"))
    ]
    lines.append(record("EOE", "", stamp, serial))
    return [f"node={node} {line}" for line in lines] if node else lines


def user_record(serial: int, node: str = "") -> str:
    line = record(
        "USER_AUTH",
        "pid=9 uid=0 auid=4294967295 ses=4294967295 msg='op=PAM:authentication "
        f'acct="u{serial}" exe="/usr/sbin/sshd" hostname=? addr=192.0.2.{serial % 250} '
        "terminal=ssh res=failed'",
        f"{1_700_000_000 + serial // 8}.{serial % 8:03}",
        serial,
    )
    return f"node={node} {line}" if node else line


def stream(count: int) -> list[str]:
    """Processes that start each other on two hosts, and logins in between."""
    lines: list[str] = []
    for serial in range(count):
        node = ("web1", "web2")[serial % 5 == 0]
        if serial % 7 == 3:
            lines.append(user_record(serial, node))
        else:
            parent = 100 + max(serial - 1 - serial % 3, 0)
            lines += execve(serial, f"p{serial}", "-x", pid=100 + serial, ppid=parent, node=node)
    return lines


def seen(found: Output) -> Counter[str]:
    return Counter(
        json.dumps([item.uid, item.document, item.views, item.notes], sort_keys=True)
        if isinstance(item, Event)
        else f"failure: {item.reason}"
        for item in found
    )


# --- order ---------------------------------------------------------------------------------

STREAM = stream(160)
EXPECTED = seen(read_all(STREAM))


def test_stream_is_read_whole() -> None:
    assert sum(EXPECTED.values()) == 160
    assert not any(line.startswith("failure") for line in EXPECTED)
    assert sum('"ParentImage"' in line for line in EXPECTED) > 60


@given(seed=st.integers(0, 2**32), shift=st.integers(1, assemble.SETTLED // 2))
@settings(max_examples=25, deadline=None)
def test_records_out_of_order_within_the_bound_change_nothing(seed: int, shift: int) -> None:
    dice = random.Random(seed)
    places = [(number + dice.random() * shift, line) for number, line in enumerate(STREAM)]
    assert seen(read_all([line for _, line in sorted(places)])) == EXPECTED


@given(order=st.permutations(execve(1, "sh", "-c", "id", pid=5)))
def test_any_order_of_the_records_of_one_event_gives_the_same_event(order: list[str]) -> None:
    usual = only(execve(1, "sh", "-c", "id", pid=5))
    assert seen([only(order)]) == seen([usual])


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_no_record_is_lost_however_far_records_are_torn_apart(seed: int) -> None:
    lines = [line for line in stream(700) if "type=EXECVE" not in line]
    random.Random(seed).shuffle(lines)
    found = read_all(lines)
    told = {origin.line for item in found if isinstance(item, Event) for origin in item.origins}
    told |= {item.origin.line for item in found if isinstance(item, ParseFailure)}
    assert told == set(range(1, len(lines) + 1))
    kept = sum(len(item.document["records"]) for item in found if isinstance(item, Event))
    assert kept == sum("type=EOE" not in line for line in lines)


def test_events_come_in_order_of_time_within_a_host() -> None:
    for node in ("web1", "web2"):
        times = [
            (event.envelope.time_ns, event.document["serial"])
            for event in events_of(STREAM)
            if event.document["node"] == node
        ]
        assert times == sorted(times)


def test_events_are_given_out_while_reading() -> None:
    reader = SOURCE.reader()
    early = [item for line in STREAM for item in reader.read(payload(line))]
    late = list(reader.flush())
    assert len(early) > 100
    assert len(early) + len(late) == 160


def test_record_after_its_event_is_told_and_judged_alone() -> None:
    lines = execve(1, "id", pid=5)
    straggler = lines.pop(3)
    filler = [line for serial in range(2, 60) for line in execve(serial, "ls", pid=serial)]
    found = read_all([*lines, *filler, straggler])
    failures = [item for item in found if isinstance(item, ParseFailure)]
    assert [(item.reason, item.lost) for item in failures] == [("late audit record", False)]
    assert failures[0].origin.line == len(lines) + len(filler) + 1
    alone = [item for item in found if isinstance(item, Event) and item.document["serial"] == 1]
    assert [len(event.document["records"]) for event in alone] == [5, 1]
    assert alone[1].notes == ("came after its event was given out",)


def test_copies_of_records_count_once_and_the_enriched_one_stays() -> None:
    raw = execve(1, "id", pid=5)
    enriched = [line + '\x1dUID="alice" AUID="alice"' * ("SYSCALL" in line) for line in raw]
    for order in (raw + enriched, enriched + raw):
        event = only(order)
        assert len(event.document["records"]) == 6
        assert event.envelope.actor_name == "alice"
        assert len(event.origins) == 14


def test_log_read_twice_gives_the_same_events_and_no_complaint() -> None:
    lines = stream(60)
    assert set(seen(read_all(lines + lines))) == set(seen(read_all(lines)))


# --- bounds --------------------------------------------------------------------------------


def held(reader: object) -> tuple[int, int]:
    assembler = reader._assembler  # type: ignore[attr-defined]
    queued = sum(len(host.queue) for host in assembler._hosts.values())
    return len(assembler._open), queued


def test_open_events_are_bounded() -> None:
    reader = SOURCE.reader()
    count = 0
    for serial in range(assemble.MAX_EVENTS + 500):  # one host each: no host ever moves on
        line = record("CWD", 'cwd="/"', serial=serial)
        count += len(list(reader.read(payload(f"node=n{serial} {line}"))))
        assert held(reader)[0] <= assemble.MAX_EVENTS
    assert count == 500
    assert len(reader._assembler._hosts) <= assemble.MAX_EVENTS


def test_records_of_one_event_are_bounded() -> None:
    reader = SOURCE.reader()
    found = []
    for item in range(assemble.MAX_EVENT_LINES + 10):
        line = record("PATH", f'item={item} name="/{item}" nametype=NORMAL')
        found += list(reader.read(payload(line, item + 1)))
    found += list(reader.flush())
    events = [item for item in found if isinstance(item, Event)]
    assert [len(event.document["records"]) for event in events] == [assemble.MAX_EVENT_LINES, 10]
    assert Counter(item.reason for item in found if isinstance(item, ParseFailure)) == {
        "late audit record": 10
    }


def test_wrong_clocks_neither_split_other_events_nor_pile_up() -> None:
    reader = SOURCE.reader()
    found: Output = []
    for serial in range(6000):
        lines = execve(serial, "ls", pid=serial)
        odd = record("CWD", 'cwd="/odd"', ("4102444800.000", "0.000")[serial % 2], 10**6 + serial)
        for line in [*lines[:3], odd, *lines[3:]]:
            found += reader.read(payload(line))
        assert held(reader)[1] < 5000
    found += reader.flush()
    events = [item for item in found if isinstance(item, Event)]
    assert len(events) == len(found) == 12_000
    whole = Counter(len(event.document["records"]) for event in events)
    assert whole == {6: 6000, 1: 6000}


def test_memory_of_processes_is_bounded() -> None:
    reader = SOURCE.reader()
    for serial in range(300):
        for line in execve(serial, "x" * 100, "y" * 20_000, pid=serial):
            list(reader.read(payload(line)))
    kept = reader._processes._launches.values()
    assert all(len(launch.command_line) <= 4096 for launch in kept)


@pytest.mark.parametrize(
    "body",
    [
        '"',
        "'",
        "a=",
        "a={",
        "a='",
        'a="',
        "a={'",
        "=",
        "(",
        "avc: denied { ",
        " msg='",
        "a0[",
        "\x1d",
    ],
)
def test_reading_time_is_linear_in_the_line(body: str) -> None:
    began = time.perf_counter()
    for kind in ("USER_AVC", "EXECVE", "SYSCALL"):
        event = only([record(kind, body * (400_000 // len(body)))])
        assert event.envelope.action
    assert time.perf_counter() - began < 20


# --- noise ---------------------------------------------------------------------------------


def consume(lines: list[str]) -> None:
    reader = SOURCE.reader()
    items: Output = []
    for number, line in enumerate(lines, 1):
        entry = payload(line, number)
        if SOURCE.recognises(entry):
            items += reader.read(entry)
    items += reader.flush()
    for item in items:
        if isinstance(item, Event):
            assert item.uid
            assert 0 <= item.envelope.time_ns < 1 << 63
            assert all(item.views.values())
            json.dumps([item.document, item.views, item.notes])
            for row in item.document["records"]:
                assert all(isinstance(value, str) for value in row.values())
        else:
            assert item.reason


KIND_NAMES = (
    "SYSCALL EXECVE PATH CWD SOCKADDR PROCTITLE EOE USER_LOGIN AVC USER_AVC LOGIN OPENAT2 1300 "
    "UNKNOWN[1327] UNKNOWN[x] CONFIG_CHANGE OBJ_PID ADD_USER SOCKETCALL USER_CMD KERN_MODULE"
)
KINDS = st.sampled_from(KIND_NAMES.split())
FIELD_NAMES = (
    "a0 a1 a1[0] a1[1] a1_len a99999999 argc arch syscall exe comm exit success pid ppid auid uid "
    "name nametype item cwd saddr oflag acct id addr key res type capability msg text node"
)
NAMES = st.sampled_from(FIELD_NAMES.split())
ODD_VALUES = (
    "c000003e 40000003 59 2 257 42 102 437 3 -13 -115 yes no CREATE NORMAL PARENT (null) ? "
    '4294967295 ffffff9c 02000050CB00714D 0A00 0100 \'" "" " 99999999999999999999 ²'
)
VALUES = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=40).map(bytes.hex),
    st.sampled_from(ODD_VALUES.split()),
    st.text("\"'(){}[]=, \x1d\x01\x00a0", max_size=20),
)
BODIES = st.lists(st.tuples(NAMES, VALUES), max_size=12).map(
    lambda pairs: " ".join(f"{name}={value}" for name, value in pairs)
)
HEADS = st.tuples(KINDS, st.integers(0, 3), st.integers(0, 10**11 - 1) | st.just(5)).map(
    lambda head: f"type={head[0]} msg=audit({head[2]}.5:{head[1]}): "
)


@given(st.lists(st.tuples(HEADS, BODIES | st.text()).map("".join), max_size=12))
@settings(deadline=None, max_examples=300)
def test_records_made_of_noise_never_raise(lines: list[str]) -> None:
    consume(lines)


REAL = [
    line
    for path in sorted(SAMPLES.glob("*/in.log"))
    for line in path.read_text(encoding="utf-8").split("\n")
    if line
]


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_real_lines_with_damage_never_raise(data: st.DataObject) -> None:
    lines = []
    for _ in range(data.draw(st.integers(1, 8))):
        line = data.draw(st.sampled_from(REAL))
        start = data.draw(st.integers(0, len(line)))
        end = data.draw(st.integers(start, min(len(line), start + 30)))
        lines.append(line[:start] + data.draw(st.text(max_size=10)) + line[end:])
    consume(lines)


@given(st.lists(st.binary(max_size=200).map(lambda raw: raw.decode(errors="replace"))))
def test_noise_never_raises(lines: list[str]) -> None:
    consume(lines)


@given(st.dictionaries(
    st.sampled_from(["_TRANSPORT", "_AUDIT_TYPE_NAME", "_AUDIT_ID", "MESSAGE", "_HOSTNAME",
                     "_SOURCE_REALTIME_TIMESTAMP"]),
    st.one_of(st.just("audit"), st.just("SYSCALL"), st.text(), st.integers(), st.none(),
              st.lists(st.integers(0, 255)), st.text(string.digits + "²٣", max_size=30)),
))  # fmt: skip
def test_odd_journal_entries_never_raise(entry: dict[str, object]) -> None:
    item = Payload(origin=Origin("in.log", 1), document=entry)
    if SOURCE.recognises(item):
        reader = SOURCE.reader()
        assert [*reader.read(item), *reader.flush()]


# --- what is recognised --------------------------------------------------------------------

PLAIN = record("CWD", 'cwd="/"')


@pytest.mark.parametrize(
    ("prefix", "node"),
    [
        ("", ""),
        ("node=db1 ", "db1"),
        ("Jan  1 00:00:00 db1 audispd: ", "db1"),
        ("Jan 31 23:59:59 db1 audisp-syslog[812]: node=db2.example ", "db2.example"),
        ("<13>Jan 31 23:59:59 db1 auditd[7]: ", "db1"),
        ("<13>1 2024-01-31T23:59:59.123456+01:00 db1 audispd 812 - - ", "db1"),
        ("2024-01-31T23:59:59.123456+01:00 db1 kernel: [ 1812.009] audit: ", "db1"),
        ("2024-01-31T23:59:59Z db1 tag_audit_log: ", "db1"),
        ("kernel: audit: ", ""),
        ("[   12.345678] audit: ", ""),
        ("[Mon Jan  1 00:00:00 2024] audit: ", ""),
    ],
)
def test_prefixes(prefix: str, node: str) -> None:
    assert only([prefix + PLAIN]).document["node"] == node


@pytest.mark.parametrize(
    "line",
    [
        f"Jan  1 00:00:00 web sshd[9]: Invalid user {PLAIN} from 192.0.2.1",
        f"Jan  1 00:00:00 web sshd[9]: Invalid user x node=web {PLAIN} from 192.0.2.1",
        f"Jan  1 00:00:00 web app: audispd: {PLAIN}",
        f'192.0.2.1 - - "GET /{PLAIN}"',
        f"<13>1 2024-01-31T23:59:59Z web nginx 812 - - {PLAIN}",
        "audit: backlog limit exceeded",
        "type=audit(",
        "type=CWD msg=audi",
        "",
    ],
)
def test_what_other_programs_wrote_is_no_audit_record(line: str) -> None:
    assert not SOURCE.recognises(payload(line))


def test_wrapping_that_knows_the_host_names_the_node() -> None:
    item = Payload(origin=Origin("x", 1), text=PLAIN, wrapping=("x",), context={"hostname": "db9"})
    reader = SOURCE.reader()
    events = [*reader.read(item), *reader.flush()]
    assert [event.document["node"] for event in events if isinstance(event, Event)] == ["db9"]


@pytest.mark.parametrize(
    ("context", "host"),
    [
        ({"_HOSTNAME": "db9"}, "db9"),
        ({"host": "db9"}, "db9"),
        ({"host": {"name": "db9", "ip": ["192.0.2.1"]}}, "db9"),
        ({"hostname": "", "Computer": "db9"}, "db9"),
        ({"hostname": 9, "host": ["x"], "log": {"file": "x"}}, ""),
    ],
)
def test_shippers_name_the_host_in_their_own_ways(context: dict[str, object], host: str) -> None:
    item = Payload(origin=Origin("x", 1), text=PLAIN, wrapping=("x",), context=context)
    reader = SOURCE.reader()
    (event,) = (e for e in [*reader.read(item), *reader.flush()] if isinstance(e, Event))
    assert event.envelope.device == host


# --- names learnt from logins --------------------------------------------------------------


def login(
    serial: int, account: str, *, auid: int = 1000, ses: int = 7, kind: str = "USER_START",
    program: str = "/usr/sbin/sshd", result: str = "success", more: str = "",
) -> str:  # fmt: skip
    body = (
        f'pid=9 uid=0 auid={auid} ses={ses} msg=\'op=PAM:session_open acct="{account}" '
        f'exe="{program}" hostname=? addr=192.0.2.1 terminal=ssh res={result}\'{more}'
    )
    return record(kind, body, f"{1_700_000_000 + serial // 8}.{serial % 8:03}", serial)


def login_users(lines: list[str]) -> list[tuple[str | None, str, str]]:
    """(LogonUser, actor, invoked_by) of every process started."""
    return [
        (row.get("LogonUser"), event.envelope.actor_name, event.envelope.invoked_by)
        for event in events_of(lines)
        for row in event.views.get("process_creation", ())
    ]


def test_login_names_the_user_of_what_follows() -> None:
    lines = [*execve(1, "a", pid=5), login(2, "deploy"), *execve(3, "b", pid=6)]
    assert login_users(lines) == [("1000", "1000", ""), ("deploy", "deploy", "")]
    before, start, after = events_of(lines)
    assert (before.notes, start.notes) == ((), ())
    assert after.notes == ("the name of user 1000 comes from a login in this log",)
    assert after.uid == next(e for e in events_of(execve(3, "b", pid=6))).uid
    assert pickle.loads(pickle.dumps(after)).envelope == after.envelope


@pytest.mark.parametrize(
    "line",
    [
        login(2, "root", program="/usr/bin/sudo"),
        login(2, "bob", program="/tmp/sshd2"),
        login(2, "bob", kind="USER_AUTH"),
        login(2, "bob", kind="USER_ACCT"),
        login(2, "bob", kind="CRED_ACQ"),
        login(2, "bob", result="failed"),
        login(2, "(unknown)"),
        login(2, "?"),
        login(2, "bob", auid=4294967295),
        "node=other " + login(2, "bob"),
    ],
)
def test_what_is_no_login_of_that_user_names_nobody(line: str) -> None:
    assert login_users([line, *execve(3, "b", pid=6)]) == [("1000", "1000", "")]


def test_enriched_names_are_kept() -> None:
    lines = [login(2, "deploy"), *execve(3, "b", pid=6)]
    lines[1] += '\x1dAUID="alice" UID="unknown(1000)"'
    assert login_users(lines) == [("alice", "deploy", "alice")]


def test_number_of_two_accounts_names_neither_but_in_their_sessions() -> None:
    lines = [
        *(login(2, "deploy", ses=7), *execve(3, "a", pid=6)),
        *(login(4, "backup", ses=8), *execve(5, "b", pid=6)),
        *(login(6, "backup", ses=9), *execve(7, "c", pid=6)),
    ]
    lines = [
        line.replace("tty=pts0 ses=7", "tty=pts0 ses=9") if ":7)" in line else line
        for line in lines
    ]
    assert login_users(lines) == [
        ("deploy", "deploy", ""),
        ("deploy", "deploy", ""),
        ("backup", "backup", ""),
    ]
    other = [line.replace("tty=pts0 ses=7", "tty=pts0 ses=1") for line in lines]
    assert login_users(other) == [
        ("deploy", "deploy", ""),
        ("1000", "1000", ""),
        ("backup", "backup", ""),
    ]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_names_do_not_depend_on_the_order_of_near_records(seed: int) -> None:
    lines: list[str] = []
    for serial in range(0, 120, 3):
        account = f"u{serial % 4}"
        lines.append(login(serial, account, auid=1000 + serial % 5, ses=serial % 7))
        lines += execve(serial + 1, "a", pid=5, auid=1000 + serial % 5)
    whole = [(e.envelope, e.notes, e.views) for e in events_of(lines)]
    chance = random.Random(seed)
    order = sorted(range(len(lines)), key=lambda at: at + chance.uniform(0, 60))
    moved = [(e.envelope, e.notes, e.views) for e in events_of([lines[at] for at in order])]
    assert moved == whole


def test_memory_of_names_is_bounded() -> None:
    accounts = Accounts()
    for number in range(20_000):
        entry = {
            "type": "USER_START", "auid": str(number), "ses": str(number),
            "acct": "x", "exe": "/usr/sbin/sshd", "res": "success",
        }  # fmt: skip
        accounts.learn("h", entry)
    assert len(accounts._names) <= 16_384
    assert len(accounts._sessions) <= 16_384


def test_program_named_like_a_message_cannot_hide_its_fields() -> None:
    row = read_fields("SYSCALL", """pid=7 comm="msg='" exe="/tmp/msg='" key="k" uid=0""", "")
    assert row == {
        "type": "SYSCALL", "pid": "7", "comm": "msg='", "exe": "/tmp/msg='", "key": "k", "uid": "0"
    }  # fmt: skip


def test_second_value_of_a_name_is_kept_beside_the_first() -> None:
    row = read_fields("USER_LOGIN", 'uid=0 msg=\'acct="eve" hostname=x acct="root" uid=0\'', "")
    assert row["acct"] == "eve"
    assert row["acct_2"] == "root"
    assert "uid_2" not in row


# --- values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("comm", '"sh"', "sh"),
        ("comm", "6D79207368", "my sh"),
        ("comm", '"6D79207368"', "6D79207368"),
        ("comm", "(null)", "(null)"),
        ("comm", "6D7", "6D7"),
        ("name", "2F746D702FFF", "/tmp/\\xff"),
        ("proctitle", "7368002D6300696400", "sh -c id"),
        ("key", "6578656301726F6F74", "exec\x01root"),
        ("acct", "28696E76616C6964207573657229", "(invalid user)"),
        ("acct", "cafe", "cafe"),
        ("a0", "4142", "4142"),
        ("unit", "4142", "4142"),
        ("auid", "4294967295", "unset"),
        ("ses", "-1", "unset"),
        ("exit", "-1", "-1"),
        ("tty", "", ""),
    ],
)
def test_values(name: str, value: str, meant: str) -> None:
    assert decode(name, value) == meant


@pytest.mark.parametrize(
    ("arch", "number", "name"),
    [
        ("x86_64", "59", "execve"),
        ("x86_64", "322", "execveat"),
        ("x86_64", "175", "init_module"),
        ("x86_64", "1073741883", "execve"),  # x32: the same numbers with bit 30
        ("x86_64", "1073742344", "execve"),
        ("i386", "11", "execve"),
        ("i386", "102", "socketcall"),
        ("i386", "59", "oldolduname"),
        ("aarch64", "221", "execve"),
        ("aarch64", "56", "openat"),
        ("aarch64", "452", "fchmodat2"),
        ("x86_64", "9999", ""),
        ("s390x", "11", ""),
    ],
)
def test_syscall_names(arch: str, number: str, name: str) -> None:
    assert syscall_name(arch, number) == name


@pytest.mark.parametrize(
    ("saddr", "parts"),
    [
        ("020001BB5DB8D8220000000000000000", "saddr_fam=inet laddr=93.184.216.34 lport=443"),
        ("000201BB5DB8D8220000000000000000", "saddr_fam=inet laddr=93.184.216.34 lport=443"),
        (
            "0A0000350000000020010DB800000000000000000000000100000000",
            "saddr_fam=inet6 laddr=2001:db8::1 lport=53",
        ),
        ("01002F6465762F6C6F6700FFFF", "saddr_fam=local path=/dev/log"),
        ("0100002F746D702F2E5831312D756E69782F5830", "saddr_fam=local path=@/tmp/.X11-unix/X0"),
        ("0100", "saddr_fam=local"),
        ("10000000D2040000", "saddr_fam=netlink"),
        ("10000000D204000000000000", "saddr_fam=netlink nlnk-fam=16 nlnk-pid=1234"),
        ("00100000000004D200000000", "saddr_fam=netlink nlnk-fam=16 nlnk-pid=1234"),
        ("0000", "saddr_fam=unspec"),
        ("020001BB5DB8D8", "saddr_fam=inet"),
        ("02", ""),
        ("zz", ""),
        ("", ""),
    ],
)
def test_socket_addresses(saddr: str, parts: str) -> None:
    assert " ".join(f"{k}={v}" for k, v in socket_address(saddr).items()) == parts


@given(st.binary(max_size=128))
def test_socket_addresses_of_any_bytes(raw: bytes) -> None:
    assert all(isinstance(part, str) for part in socket_address(raw.hex()).values())


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1), st.data()
)
def test_arguments_survive_every_way_the_kernel_writes_them(
    arguments: list[str], data: st.DataObject
) -> None:
    """Quoted or hexadecimal, whole or in pieces, in one record or in several."""
    fields = []
    for number, text in enumerate(arguments):
        raw = text.encode()
        plain = all(0x20 < byte < 0x7F and byte != 0x22 for byte in raw)
        if not data.draw(st.booleans()):
            fields.append(f'a{number}="{text}"' if plain else f"a{number}={raw.hex().upper()}")
            continue
        cut = data.draw(st.integers(0, len(raw)))
        parts = [part for part in (raw[:cut], raw[cut:]) if part]
        written = [f'"{part.decode()}"' if plain else part.hex().upper() for part in parts]
        fields.append(f"a{number}_len={sum(len(part.strip(chr(34))) for part in written)}")
        fields += [f"a{number}[{place}]={part}" for place, part in enumerate(written)]
    cut = data.draw(st.integers(0, len(fields)))
    bodies = [f"argc={len(arguments)} " + " ".join(fields[:cut]), " ".join(fields[cut:])]
    event = only([record("EXECVE", body) for body in bodies])
    (row,) = event.document["records"]
    assert [row[f"a{number}"] for number in range(len(arguments))] == arguments
    assert event.views["records"][0]["cmdline"] == " ".join(arguments)
    assert not event.notes


# --- views ---------------------------------------------------------------------------------


def launch_of(lines: list[str], serial: int) -> dict[str, str]:
    (view,) = [
        event.views["process_creation"]
        for event in events_of(lines)
        if event.document["serial"] == serial
    ]
    return dict(view[0])


def test_parent_is_the_last_exec_of_its_process() -> None:
    lines = [
        *execve(1, "sshd", "-D", pid=10, auid=4294967295),
        *execve(2, "bash", "-l", pid=10),
        *execve(3, "id", pid=11, ppid=10),
    ]
    row = launch_of(lines, 3)
    assert (row["ParentImage"], row["ParentCommandLine"]) == ("/usr/bin/bash", "bash -l")


def test_number_of_a_process_used_again_by_another_login_is_no_parent() -> None:
    lines = [*execve(1, "vim", pid=10, auid=1001), *execve(2, "id", pid=11, ppid=10, auid=1000)]
    assert "ParentImage" not in launch_of(lines, 2)


def test_exec_that_came_later_is_no_parent() -> None:
    lines = [*execve(5, "id", pid=11, ppid=10), *execve(9, "bash", pid=10)]
    assert "ParentImage" not in launch_of(lines, 5)


def test_forked_process_runs_what_its_parent_ran() -> None:
    fork = record(
        "SYSCALL",
        "arch=c000003e syscall=56 success=yes exit=12 pid=10 ppid=1 auid=1000",
        "1700000000.002",
        2,
    )
    lines = [*execve(1, "bash", "-l", pid=10), fork, *execve(3, "id", pid=13, ppid=12)]
    assert launch_of(lines, 3)["ParentCommandLine"] == "bash -l"


@pytest.mark.parametrize(
    ("first", "second", "known"),
    [
        ("a/audit.log", "b/audit.log", False),
        ("web1.log", "web2.log", False),
        ("log/audit.log.1", "log/audit.log", True),
        ("log/audit.log-20240101.gz", "log/audit.log", True),
        ("log/audit.log.12.zst", "log/audit.log.2", True),
    ],
)
def test_processes_of_logs_without_host_names_are_told_apart(
    first: str, second: str, known: bool
) -> None:
    reader = SOURCE.reader()
    for path, lines in (
        (first, execve(1, "bash", pid=10)),
        (second, execve(2, "id", pid=11, ppid=10)),
    ):
        for line in lines:
            assert not list(reader.read(Payload(origin=Origin(path, 1), text=line)))
    rows = [item.views["process_creation"][0] for item in reader.flush() if isinstance(item, Event)]
    assert [row.get("ParentImage") for row in rows] == [None, "/usr/bin/bash" if known else None]


def test_failed_exec_starts_no_process() -> None:
    lines = [
        line.replace("success=yes exit=0", "success=no exit=-13") for line in execve(1, "su", pid=5)
    ]
    event = only(lines)
    assert "process_creation" not in event.views
    assert event.envelope.outcome is Outcome.FAILURE
    assert event.envelope.outcome_detail == "EACCES"
    assert event.views["records"][0]["EXIT"] == "EACCES"


def test_records_lend_from_the_system_call_but_keep_their_own() -> None:
    rows = only(execve(1, "rm", "-rf", "/var/log/syslog", pid=5)).views["records"]
    call, execve_row, cwd, path = rows[0], rows[1], rows[2], rows[3]
    assert [row["type"] for row in rows] == [
        "SYSCALL",
        "EXECVE",
        "CWD",
        "PATH",
        "PATH",
        "PROCTITLE",
    ]
    assert call["syscall"] == call["SYSCALL"] == "execve"
    assert call["syscall_number"] == "59"
    assert call["a1"] == "2"
    assert execve_row["a1"] == "-rf"
    assert execve_row["cmdline"] == "rm -rf /var/log/syslog"
    assert execve_row["exe"] == cwd["exe"] == path["exe"] == "/usr/bin/rm"
    assert path["key"] == "exec"
    assert path["cwd"] == "/srv"
    assert "a0" not in path


def test_several_keys_are_several_values() -> None:
    line = record("SYSCALL", "arch=c000003e syscall=59 key=726563 6F6E".replace(" 6F", "016F"))
    assert only([line]).views["records"][0]["key"] == ["rec", "on"]


@pytest.mark.parametrize(
    ("call", "first", "name", "read"),
    [
        ("2", "0", "shadow", ["shadow", "/etc/shadow"]),
        ("2", "0", "/etc/shadow", "/etc/shadow"),
        ("2", "0", "/tmp/../etc//shadow", ["/tmp/../etc//shadow", "/etc/shadow"]),
        ("257", "ffffff9c", "shadow", ["shadow", "/etc/shadow"]),
        ("257", "5", "shadow", "shadow"),
        ("257", "5", "/etc/shadow", "/etc/shadow"),
    ],
)
def test_names_of_files_are_read_as_given_and_in_full(
    call: str, first: str, name: str, read: str | list[str]
) -> None:
    event = only(
        [
            record("SYSCALL", f"arch=c000003e syscall={call} success=yes exit=3 a0={first} a1=0"),
            record("CWD", 'cwd="/etc"'),
            record("PATH", f'item=0 name="{name}" nametype=NORMAL'),
        ]
    )
    assert event.views["records"][2]["name"] == read


@pytest.mark.parametrize(
    ("call", "arguments", "nametype", "success", "shown"),
    [
        ("2", "a1=0", "NORMAL", "yes", False),
        ("2", "a1=1", "NORMAL", "yes", True),
        ("257", "a0=ffffff9c a2=2", "NORMAL", "yes", True),
        ("257", "a0=ffffff9c a2=80000", "NORMAL", "yes", False),
        ("257", "a0=ffffff9c a2=0", "CREATE", "yes", True),
        ("257", "a0=ffffff9c a2=241", "CREATE", "no", False),
        ("85", "a1=1b6", "NORMAL", "yes", True),
        ("83", "a1=1ed", "CREATE", "yes", True),
        ("83", "a1=1ed", "PARENT", "yes", False),
        ("87", "a1=0", "DELETE", "yes", False),
        ("257", "a0=ffffff9c a2=zz", "NORMAL", "yes", False),
    ],
)
def test_file_events(call: str, arguments: str, nametype: str, success: str, shown: bool) -> None:
    event = only(
        [
            record("SYSCALL", f"arch=c000003e syscall={call} success={success} {arguments}"),
            record("CWD", 'cwd="/etc"'),
            record("PATH", f'item=0 name="cron.d/x" nametype={nametype}'),
        ]
    )
    files = [row["TargetFilename"] for row in event.views.get("file_event", ())]
    assert files == ["/etc/cron.d/x"] * shown


# --- catalogue -----------------------------------------------------------------------------


def test_catalogue_names_every_field_that_samples_show() -> None:
    known = {(info.view, info.name) for info in SOURCE.fields}
    missing = set()
    for path in sorted(SAMPLES.glob("*/in.log")):
        if path.parent.name == "hostile":
            continue
        lines = [line for line in path.read_text().split("\n") if line.startswith(("type", "node"))]
        for event in events_of(lines):
            for view, rows in event.views.items():
                missing |= {(view, name) for row in rows for name in row} - known
    assert not missing


def rule_fields(item: object) -> set[str]:
    if isinstance(item, dict):
        return {str(key).split("|")[0] for key in item if str(key)[:1] != "|"}
    if isinstance(item, list):
        return set().union(*map(rule_fields, item))
    return set()


@pytest.mark.corpora
def test_public_rules_find_their_fields() -> None:
    if not RULES.is_dir():
        pytest.skip(f"{RULES} is absent")
    known: dict[str, set[str]] = {}
    for info in SOURCE.fields:
        known.setdefault(info.view, set()).add(info.name)
    wanted: dict[str, set[str]] = {route.view: set() for route in SOURCE.routes}
    count = 0
    for path in sorted(RULES.rglob("*.yml")):
        for rule in yaml.safe_load_all(path.read_text()):
            source = LogSource(**{
                key: value for key, value in rule["logsource"].items()
                if key in ("product", "category", "service")
            })  # fmt: skip
            routes = [route for route in SOURCE.routes if route.serves(source)]
            if len(routes) != 1:
                continue
            count += 1
            for name, part in rule["detection"].items():
                if name not in ("condition", "timeframe"):
                    wanted[routes[0].view] |= rule_fields(part)
    assert count > 180
    absent = {(view, name) for view, names in wanted.items() for name in names - known[view]}
    # The kernel knows addresses; that a name stood behind one is not in its records.
    assert absent == {("network_connection", "DestinationHostname")}


def test_what_has_stopped_growing_settles() -> None:
    records = [
        (
            b"type=SYSCALL msg=audit(1763000000.100:7): arch=c000003e syscall=59 success=yes "
            b'exit=0 pid=5 uid=0 auid=1000 comm="id" exe="/usr/bin/id"'
        ),
        b"type=PROCTITLE msg=audit(1763000000.100:7): proctitle=6964",
        b"type=USER_CMD msg=audit(1763000001.000:8): pid=6 uid=0 msg='cmd=\"id\" res=success'",
    ]
    decoder = Decoder(all_sources())
    given = []
    for number, record in enumerate(records, 1):
        given.append([*decoder.decode(RawRecord(record, Origin("-", number))), *decoder.settle()])
    given.append(list(decoder.settle()))
    # The first had grown at the second call, and not at the third; the second, at the fourth.
    assert [[item.document["serial"] for item in items] for items in given] == [[], [], [7], [8]]
    assert list(decoder.settle()) == []
    assert list(decoder.flush()) == []
