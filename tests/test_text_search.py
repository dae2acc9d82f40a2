"""Passing over lines of text formats says what reading each of them says."""

import copy
import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.dialects import sigma
from trailhound.dialects.contract import RuleFile
from trailhound.engine.match import matcher
from trailhound.engine.matching import Hit
from trailhound.engine.needles import Each, Enough, Need, OneOf
from trailhound.engine.plan import Plan
from trailhound.engine.text_needles import need_in_text
from trailhound.intake.blocks import Block
from trailhound.intake.files import InputFile, pieces_of
from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.model.spelling import Spelling
from trailhound.pipeline import text_search
from trailhound.pipeline.reading import UnitReader
from trailhound.pipeline.rulebooks import BUILTIN, load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.pipeline.tally import Tally
from trailhound.pipeline.text_search import TextSearch
from trailhound.rules.book import link
from trailhound.rules.ir import AnyRun, Compare, Equals, Field, Keyword, Like, Regex, Rule, Text
from trailhound.sources import SOURCES, auditd
from trailhound.sources.auditd import assemble, skimming
from trailhound.sources.contract import Likely, Searched, Skimming, TextGate
from trailhound.sources.decode import Decoder

BY_NAME = {source.name: source for source in SOURCES}
SAMPLES = Path(__file__).parent / "samples" / "sources"
WRITTEN_NS = 1_741_000_000_000_000_000
_AT = "audit(1700000100.000"
OTHER_LINES = (
    b"",
    b" ",
    b"no log line at all",
    b'{"kind":"Event","apiVersion":"audit.k8s.io/v1"}',
    b"Mar  3 11:06:40 web-01 last message repeated 3 times",
    b"Mar  3 11:06:40 other last message repeated 2 times",
    b"Mar  3 11:06:41 web-01 sshd[7]: message repeated 2 times: [ Failed password for root]",
    b"Mar  3 11:06:42 web-01 sudo:   ana : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh -c ls",
    b"Mar  3 11:06:42 web-01 sudo:   ana : (command continued) /etc/shadow -rf",
    b"Mar  3 11:06:43 other su[3]: (to root) ana on pts/0",
    b"Feb 29 11:06:40 web-01 sshd[1]: Failed password for root from 192.0.2.1 port 1 ssh2",
    b"Feb 31 11:06:40 web-01 sshd[1]: Accepted password for root from 192.0.2.1 port 1 ssh2",
    b"2025-03-03T11:06:40Z info sshd[1]: Accepted password for root from 192.0.2.1 port 1 ssh2",
    b"2025-03-03T11:06:40Z web-01 gdm-password][5]: gkr-pam: unable to locate daemon",
    b"<86>1 - web-01 sshd 12 - - Accepted password for root from 192.0.2.1 port 1 ssh2",
    b'2025-03-03T11:06:40Z web-01 falco[1]: {"rule":"x","priority":"Error","output":"y"}',
    b"2025-03-03T11:06:40Z web-01 kernel: type=1400 audit(1700000000.1:1): apparmor=DENIED",
    b"2025-03-03T11:06:40Z web-01 clamd[1]: /tmp/x: Eicar-Signature FOUND",
    b"2025-03-03T11:06:40Z web-01 sshd\xff: broken",
    b"2025-03-03T11:06:40Z web-01 sshd[9]: Bad \xe2\x84\xaaEY \xc4\xb0",
    f"type=EOE msg={_AT}:77): ".encode(),
    f"type=EXECVE msg={_AT}:78): argc=2 a0=73682f a1=2D63".encode(),
    f'type=EXECVE msg={_AT}:78): argc=3 a0="sh" a1_len=9 a1[0]="/etc/sh" a1[1]="adow"'.encode(),
    f"type=SYSCALL msg={_AT}:78): arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=4"
    ' items=2 ppid=7 pid=8 auid=1000 uid=33 comm="sh" exe="/bin/sh" key=6B31016B32'.encode(),
    f"type=SYSCALL msg={_AT}:79): arch=c000003e syscall=56 success=yes exit=9 a0=1 a1=2 a2=3 a3=4"
    ' items=0 ppid=7 pid=8 auid=1000 uid=0 comm="sh" exe="/bin/sh"'.encode(),
    f"type=SYSCALL msg={_AT}:80): arch=c000003e syscall=257 success=yes exit=3 a0=1 a1=2 a2=1 a3=4"
    ' items=1 ppid=8 pid=9 auid=1000 uid=0 comm=FF6E63 exe="/bin/sh"\x1dARCH=x86_64'
    ' SYSCALL=openat AUID="ana"'.encode(),
    f"type=SYSCALL msg={_AT}:86): arch=c00000f3 syscall=221 success=yes exit=0 a0=1 a1=2 a2=3 a3=4"
    ' items=2 ppid=7 pid=8 auid=1000 uid=33 comm="sh" exe="/bin/sh"'.encode(),
    f'type=EXECVE msg={_AT}:86): argc=2 a0="sh" a1="/etc/shadow"'.encode(),
    f'type=CWD msg={_AT}:80): cwd="/etc"'.encode(),
    f"type=PATH msg={_AT}:80): item=0 name=2E2F736861646F77 nametype=NORMAL".encode(),
    f"type=PROCTITLE msg={_AT}:80): proctitle=7368002D63002F6574632F736861646F77".encode(),
    f"type=SOCKADDR msg={_AT}:81): saddr=02000050A9FEA9FE0000000000000000".encode(),
    f'type=SOCKADDR msg={_AT}:85): saddr="02000050A9FEA9FE0000000000000000"'.encode(),
    f'type=AVC msg={_AT}:82): comm="abavc:  denied {{ read }} for cd"'.encode(),
    b"type=USER_LOGIN msg=audit(9999999999.000:1): pid=1 res=success",
    b"node=other type=1300 msg=audit(1700000100.000:83): syscall=59 success=yes",
    f"node=other type=USER_CMD msg={_AT}:84): pid=1 msg='cmd=2F62696E res=success'\r".encode(),
)
DETECTIONS = {
    "linux_auth": (
        "{s: ['*authentic*', shadow], condition: s}",
        "{s: {event: [sudo, su, ssh-login]}, condition: s}",
        "{s: {event|startswith: 'group-'}, condition: s}",
        "{s: {user|re: '^(ro|de)(ot|ploy)$'}, condition: s}",
        "{s: {message|contains|all: [from, port]}, t: {user: root}, condition: s and not t}",
        "{s: {unit: [auditd.service, sshd.service]}, condition: s}",
        "{s: {src_port: 4242}, t: {reason|contains: PAM}, condition: 1 of s or t}",
        "{s: {program: clamd}, condition: s}",
    ),
    "auditd": (
        "{s: {name|contains: /etc/shadow}, t: {name|startswith: /run}, condition: s or t}",
        "{s: {type: EXECVE, a0|endswith: sh}, t: ['*shadow*', init], condition: s and t}",
        "{s: {syscall: [execve, openat]}, t: {comm: [sh, '\\\\xffnc']}, condition: s and t}",
        "{s: {SYSCALL|startswith: open, EXIT: EACCES}, condition: s}",
        "{s: {ARCH: x86_64, uid: 33}, condition: s}",
        "{s: {auid: unset, key: [k2, identity]}, condition: s}",
        "{s: {cmdline|contains: '-c /etc'}, t: {proctitle|contains: '/etc/sh'}, condition: s or t}",
        "{s: {cmdline|re: '(^|/)(ncat|(ba|z)sh) +-'}, condition: s}",
        "{s: ['*root*', '*inet*'], t: {type: [USER_LOGIN, USER_CMD]}, condition: s and t}",
        "{s: {AUID: ana}, t: {cwd: /etc}, condition: 1 of s or t}",
        "{s: {EXIT|re: '^E(ACCES|PERM)$'}, condition: s}",
        "{s: {laddr: 169.254.169.254}, condition: s}",
    ),
}
SERVICES = {"linux_auth": ("syslog", "auth", "sshd", "sudo"), "auditd": ("auditd",)}


KNOWN: dict[str, Callable[[bytes], bool]] = {
    "linux_auth": lambda line: b"audit(" not in line,
    "auditd": lambda line: b"audit(" in line,
}
"""Which of the lines that samples hold are of the source; they come first."""


PLAIN = {"linux_auth": re.compile(b"[^<]"), "auditd": re.compile(rb"(?:node=\S+ )?type=[A-Z_]+ ")}
"""How lines begin that may be passed over."""


def _logs(source: str) -> list[Path]:
    return sorted((*SAMPLES.glob(f"{source}/*/in.log"), *BUILTIN.glob("linux/*.log")))


@cache
def lines_of(source: str) -> list[bytes]:
    lines = [line for path in _logs(source) for line in path.read_bytes().split(b"\n")]
    known = KNOWN[source]
    lines = [line for line in dict.fromkeys(lines) if line and len(line) < 5_000]
    return [line for line in lines if known(line)] + [line for line in lines if not known(line)]


@cache
def odd_rules(source: str) -> tuple[Rule, ...]:
    documents = [
        f"title: odd {number} {service}\nlogsource: {{product: linux, service: {service}}}\n"
        f"detection: {detection}\n"
        for number, detection in enumerate(DETECTIONS[source])
        for service in SERVICES[source]
    ]
    rules = link([sigma.DIALECT.read(RuleFile("odd.yml", "---\n".join(documents).encode()), {})])
    assert rules.errors == ()
    return rules.rules


@cache
def plan_of(source: str, kind: str) -> Plan:
    builtin = load_rules([], builtin=True, placeholders={}, cache=None).ruleset.rules
    odd = odd_rules(source)
    return plan_for({"builtin": builtin, "odd": odd, "all": (*builtin, *odd)}[kind])


@dataclass(slots=True)
class Recorder(Tally):
    """A tally that keeps every failure."""

    failures_seen: list[ParseFailure] = field(default_factory=list)

    def fail(self, failure: ParseFailure) -> None:
        self.failures_seen.append(failure)


@dataclass(frozen=True)
class Verdict:
    """What a run over lines comes to."""

    hits: list[tuple[Any, ...]]
    failures: list[tuple[Origin, str]]
    records: int
    events: dict[str, int]
    views: set[tuple[str, str]]


def known_of(event: Event) -> tuple[int, str, Envelope]:
    """Return what readers may know of an event before its envelope does."""
    known = event.time_ns, event.request, event.envelope
    args = event.source, event.document, event.origins, event.views, event.described_by
    again = Event(*args)
    assert known == (again.time_ns, again.request, again.envelope)
    return known


def verdict_of(plan: Plan, read: Callable[[UnitReader], Iterator[Hit]]) -> Verdict:
    reader = UnitReader(plan, SOURCES)
    reader.tally = tally = Recorder()
    hits = [
        (
            *known_of(hit.event),
            plan.rules[hit.rule].info.title,
            hit.event.uid,
            hit.event.origins,
            dict(hit.document),
            hit.event.notes,
        )
        for hit in read(reader)
    ]
    failures = [(failure.origin, failure.reason) for failure in tally.failures_seen]
    events = {name: count for name, count in tally.events.items() if count}
    views = {view for view, count in tally.views.items() if count and view in plan.views}
    return Verdict(hits, failures, tally.records, events, views)


def exactly(plan: Plan, file: InputFile, data: bytes) -> Verdict:
    """Every line through the decoder, every event past every rule."""

    def read(reader: UnitReader) -> Iterator[Hit]:
        decoder = Decoder(SOURCES)
        for number, line in enumerate(data.split(b"\n"), 1):
            if line:
                record = RawRecord(line, Origin(file.path, number), file.modified_ns)
                yield from reader._decode(decoder, record)
        yield from reader._match(decoder.flush())

    return verdict_of(plan, read)


def skimmed(
    plan: Plan, source: str, search: TextSearch, file: InputFile, data: bytes, cuts: Sequence[int]
) -> Verdict:
    """The same in blocks that end after the given numbers of lines, each behind a search."""

    def read(reader: UnitReader) -> Iterator[Hit]:
        reader._searches[source] = search
        decoder = Decoder(SOURCES)
        for block in blocks_of(data, cuts):
            yield from reader._by_search(file, block, decoder, BY_NAME[source])
        yield from reader._match(decoder.flush())

    return verdict_of(plan, read)


def blocks_of(data: bytes, cuts: Sequence[int]) -> Iterator[Block]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    lines = lines if lines[-1] else lines[:-1]
    places = sorted({0, len(lines), *(cut % (len(lines) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield Block(b"".join(lines[start:end]), start + 1)


@cache
def _learnt(source: str, kind: str) -> TextSearch:
    search = TextSearch(BY_NAME[source], plan_of(source, kind))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_search, "SAMPLE_BYTES", 1)
        lines = [line for line in lines_of(source) if line.strip(b"\0")]
        plain = b"\n".join(lines).decode(errors="ignore").replace("\0", "").encode()
        assert search.find(Block(plain, 1), ()) is None
    return search


def taught(source: str, kind: str) -> TextSearch:
    """A search that learnt from ordinary lines; what it has seen of views is its own."""
    learnt = _learnt(source, kind)
    assert learnt._search is not None
    search = copy.copy(learnt)
    search._unseen = dict(learnt._unseen)
    search._search = copy.copy(learnt._search)
    search._search._shows = dict(learnt._search._shows)
    return search


BOUNDS = ("SETTLED", "STALE", "MAX_EVENTS", "MAX_LINES", "MAX_EVENT_LINES", "_REMEMBERED")
"""Of what auditd's records wait for each other."""
SOURCE = pytest.mark.parametrize("source", sorted(DETECTIONS))
Bent = tuple[int, int, int, int]
bent_lines: st.SearchStrategy[list[Bent]] = st.lists(
    st.tuples(
        st.integers(-len(OTHER_LINES), 1500),
        st.integers(0, 9),
        st.integers(0, 400),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=12,
)


def bent(source: str, recipe: list[Bent]) -> bytes:
    """Lines, some as they are and some with a change of one byte or a stretch."""
    real = lines_of(source)
    lines = []
    for number, how, where, what in recipe:
        line = OTHER_LINES[-number - 1] if number < 0 else real[number % len(real)]
        at = where % (len(line) + 1)
        if how > 6 and number >= 0:  # an event may have several lines
            at = number % len(real)
            lines += real[at : at + 1 + what % 6]
            continue
        if how == 0:
            line = line[:at] + bytes((what,)) + line[at + 1 :]
        elif how == 1:
            line = line[:at]
        elif how == 2:
            line = line[:at] + OTHER_LINES[what % len(OTHER_LINES)] + line[at:]
        elif how == 3:
            line = line.upper() if what % 2 else line.swapcase()
        elif how == 4:
            line = line[:at] + b" " + real[what % len(real)][-60:]
        lines.append(line)
    return b"\n".join(lines)


@SOURCE
def test_there_is_something_to_compare(source: str) -> None:
    plan = plan_of(source, "all")
    data = b"\n".join(lines_of(source))
    file = InputFile("log", 0, modified_ns=WRITTEN_NS)
    found = exactly(plan, file, data)
    assert len({title for _, _, _, title, *_ in found.hits}) > 20
    cuts = range(0, data.count(b"\n"), 7)
    assert skimmed(plan, source, taught(source, "all"), file, data, cuts) == found


@SOURCE
@settings(max_examples=60)
@given(
    recipe=bent_lines,
    kind=st.sampled_from(["builtin", "odd", "all"]),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    modified_ns=st.sampled_from([WRITTEN_NS, 0]),
    bounds=st.tuples(*(st.sampled_from([1, 3, 5, 4000]) for _ in BOUNDS)),
)
def test_passing_over_lines_loses_nothing(
    source: str,
    recipe: list[Bent],
    kind: str,
    cuts: list[int],
    modified_ns: int,
    bounds: tuple[int, ...],
) -> None:
    data = bent(source, recipe)
    plan = plan_of(source, kind)
    file = InputFile("log", 0, modified_ns=modified_ns)
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in zip(BOUNDS, bounds, strict=True):
            patch.setattr(assemble, name, bound)
        found = skimmed(plan, source, taught(source, kind), file, data, cuts)
        assert found == exactly(plan, file, data)


def _foreseen(data: bytes) -> int:
    """Compare what is known of launches before they are read with what their events hold."""
    told: list[Mapping[str, str]] = []

    def possible(_marks: int, known: Mapping[str, Mapping[str, str] | None]) -> bool:
        told.append(known["process_creation"] or {})
        return True

    reader = BY_NAME["auditd"].reader()
    assert isinstance(reader, Skimming)
    ends = Block(data, 1).ends
    compared = 0
    for item in reader.skim(Searched(data, ends, "log", 1, {}, {}, lambda _: True, possible)):
        if isinstance(item, Likely) and told:
            known = told.pop()
            (row,) = item.event.views["process_creation"]
            assert set(item.event.views) == {"records", "process_creation"}
            assert known == {name: row.get(name, "") for name in known}
            compared += 1
        assert not told
    return compared


def test_what_is_foreseen_of_a_launch_is_what_its_event_holds() -> None:
    lines = [line.decode(errors="ignore") for line in lines_of("auditd")]
    assert _foreseen("\n".join(lines * 2).replace("\0", "").encode()) > 100


@settings(max_examples=150)
@given(recipe=bent_lines)
def test_what_is_foreseen_of_a_bent_launch_is_what_its_event_holds(recipe: list[Bent]) -> None:
    data = b"\n".join([bent("auditd", recipe), *lines_of("auditd")[:300]])
    _foreseen(data.decode(errors="ignore").replace("\0", "").encode())


def test_a_call_that_repeats_who_made_it_is_looked_through_once() -> None:
    call = (
        b"type=SYSCALL msg=audit(1700000000.000:1): arch=c000003e syscall=59 success=yes exit=0 "
        b"a0=1 a1=2 a2=3 a3=4 items=2"
    )
    who = b" ppid=1 pid=2 auid=3 uid=4 gid=0"
    assert skimming._who_in(call + who * 30_000) is None
    assert skimming._who_in(call + who * 30_000 + b' exe="/bin/x"') == {
        "ppid": "1",
        "auid": "3",
        "uid": "4",
        "exe": "/bin/x",
    }


def test_a_launch_that_no_rule_can_match_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    call = (
        "type=SYSCALL msg=audit(170000{0:02}00.000:{0}): arch=c000003e syscall=59 success=yes "
        "exit=0 a0=1 a1=2 a2=3 a3=4 items=2 ppid={1} pid={2} auid=4294967295 uid={3} gid=0 "
        'comm="x" exe="{4}" key=(null)\n'
        'type=EXECVE msg=audit(170000{0:02}00.000:{0}): argc=1 a0="x"'
    )
    made = [
        call.format(1, 1, 20, 0, "/usr/sbin/nginx"),
        call.format(2, 1, 21, 0, "/usr/sbin/cron"),
        call.format(3, 20, 30, 0, "/usr/bin/whoami"),
        call.format(4, 21, 31, 0, "/usr/bin/whoami"),
        call.format(5, 21, 32, 33, "/usr/bin/whoami"),
        call.format(6, 99, 33, 0, "/usr/bin/whoami"),
    ]
    read: list[int] = []
    whole = auditd.make_document

    def make_document(lines: list[Any]) -> Any:
        read.append(lines[0].serial)
        return whole(lines)

    monkeypatch.setattr(auditd, "make_document", make_document)
    monkeypatch.setattr(assemble, "SETTLED", 1)
    data = "\n".join(made + [call.format(7, 1, 40, 0, "/bin/true")] * 2).encode()
    plan = plan_of("auditd", "builtin")
    search = taught("auditd", "builtin")
    assert search._search is not None
    search._unseen, search._search._shows = {}, {}
    found = skimmed(plan, "auditd", search, InputFile("log", 0), data, [])
    assert [title for _, _, _, title, *_ in found.hits] == [
        "Web server starts a shell or a network tool"
    ] * 2
    assert read[:2] == [3, 5]
    assert not {1, 2, 4, 6} & set(read)


def test_a_chain_of_forks_is_followed_to_its_program_however_long() -> None:
    def call(serial: int, number: int, result: int, parent: int, pid: int, name: str) -> str:
        return (
            f"type=SYSCALL msg=audit(1700000200.000:{serial}): arch=c000003e syscall={number} "
            f"success=yes exit={result} a0=0 a1=0 a2=0 a3=0 items=0 ppid={parent} pid={pid} "
            f'auid=1000 uid=0 comm="{name}" exe="/bin/{name}"'
        )

    depth = 3000
    lines = [
        call(1, 59, 0, 1, 10, "nginx"),
        *(call(serial, 57, serial + 9, 1, serial + 8, "nginx") for serial in range(2, depth)),
        call(depth, 59, 0, depth + 8, depth + 9, "whoami"),
    ]
    data = "\n".join(lines).encode()
    plan = plan_of("auditd", "builtin")
    file = InputFile("log", 0, modified_ns=WRITTEN_NS)
    found = skimmed(plan, "auditd", taught("auditd", "builtin"), file, data, ())
    assert found == exactly(plan, file, data)
    assert any(document.get("ParentImage") == "/bin/nginx" for *_, document, _ in found.hits)


@pytest.mark.parametrize(
    ("detection", "fields"),
    [
        # Names that the reader writes in capitals, asked for with regard to case.
        ("{s: {EXIT|re: '^EACCES$'}, condition: s}", "syscall=2 success=no exit=-13"),
        ("{s: {EXIT|cased: EACCES}, condition: s}", "syscall=2 success=no exit=-13"),
        ("{s: {laddr: 169.254.169.254}, condition: s}", 'saddr="02000050A9FEA9FE0000000000000000"'),
        ("{s: {laddr: 169.254.169.254}, condition: s}", "saddr='02000050A9FEA9FE0000000000000000'"),
    ],
)
def test_what_the_reader_makes_of_a_record_is_found(detection: str, fields: str) -> None:
    rule = f"title: t\nlogsource: {{product: linux, service: auditd}}\ndetection: {detection}\n"
    rules = link([sigma.DIALECT.read(RuleFile("t.yml", rule.encode()), {})])
    assert rules.errors == ()
    plan = plan_for(rules.rules)
    search = TextSearch(BY_NAME["auditd"], plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_search, "SAMPLE_BYTES", 1)
        search.find(Block(b"\n".join(lines_of("auditd")), 1), ())
    data = f"type=SYSCALL msg={_AT}:90): arch=c000003e {fields}".encode()
    found = skimmed(plan, "auditd", search, InputFile("log", 0), data, ())
    assert len(found.hits) == 1
    assert found == exactly(plan, InputFile("log", 0), data)


def test_needles_are_chosen_by_all_of_a_log(tmp_path: Path) -> None:
    rule = (
        "title: odd\nlogsource: {product: linux, service: syslog}\n"
        "detection: {s: {message|contains|all: [refused, zebra]}, condition: s}\n"
    )
    rules = link([sigma.DIALECT.read(RuleFile("odd.yml", rule.encode()), {})]).rules
    plan = plan_for(rules)
    at = "2025-03-03T11:06:40Z web-01 app: "
    log = tmp_path / "a.log"
    log.write_text(f"{at}a zebra came\n" * 8_000 + f"{at}it was refused\n" * 80_000)
    file = InputFile(str(log), log.stat().st_size)
    pieces = pieces_of(file, 3, 64 * 1024)
    assert [piece.data.splitlines()[0].decode() for piece in pieces] == [f"{at}it was refused"] * 3
    wanted = []
    for ahead in ((), pieces):
        search = TextSearch(BY_NAME["linux_auth"], plan, ahead)
        first, last = (
            Block(f"{at}{text}\n".encode() * 8_000, 1)
            for text in ("a zebra came", "it was refused")
        )
        assert search.find(first, ["syslog"]) is None
        marks = search.find(last, ["syslog"])
        assert marks is not None
        wanted.append(sum(map(search.wanted, marks.values())))
    assert wanted == [8_000, 0]
    assert pieces_of(InputFile("-", file.size_bytes), 3, 64) == []
    assert pieces_of(InputFile(str(tmp_path / "gone"), 10**9), 3, 64) == []
    assert pieces_of(InputFile(str(log), 1000), 3, 64) == []


@SOURCE
def test_a_line_that_is_full_of_needles_does_not_fill_memory(source: str) -> None:
    search = taught(source, "builtin")
    views = list(search._unseen)
    tracemalloc.start()
    try:
        search.find(Block(b"/./ksh" * 500_000 + b"\n", 1), views)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


# --- what sources declare --------------------------------------------------------------------


def found_in(need: Need, text: bytes) -> bool:
    match need:
        case OneOf():
            return any(needle in text.lower() for needle in need.patterns)
        case Each():
            return all(found_in(part, text) for part in need.needs)
        case Enough():
            return sum(found_in(part, text) for part in need.needs) >= need.count


def events_of(source: str) -> Iterator[tuple[Event, bytes]]:
    """Events of every sample that are not odd, each with the text it was read from."""
    gate = gate_of(source)
    for path in _logs(source):
        decoder = Decoder(SOURCES)
        lines = path.read_bytes().split(b"\n")
        records = [RawRecord(line, Origin("log", n)) for n, line in enumerate(lines, 1) if line]
        items = [item for record in records for item in decoder.decode(record)]
        for item in (*items, *decoder.flush()):
            # Nor is a line that stands for another one passed over.
            if isinstance(item, Event) and item.source == source and "repeats" not in item.document:
                text = b"\n".join(lines[origin.line - 1] for origin in item.origins) + b"\n"
                plain = all(map(PLAIN[source].match, text.split(b"\n")[:-1]))
                text += b"\n".join(map(gate.decoded, text.split(b"\n"))) if gate.coded else b""
                if plain and not found_in(OneOf(frozenset(gate.odd)), text):
                    yield item, text


def gate_of(source: str) -> TextGate:
    gate = BY_NAME[source].text
    assert gate is not None
    return gate


def _fields(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, str | int) and not isinstance(each, bool):
                yield name, str(each)


@SOURCE
def test_values_stand_in_lines_as_declared(source: str) -> None:
    gate = gate_of(source)
    asked: set[tuple[str, str, str]] = set()
    for event, text in events_of(source):
        for view, documents in event.views.items():
            spell = gate.spelling(view)
            assert view not in gate.shows or found_in(OneOf(frozenset(gate.shows[view])), text)
            for document in documents:
                for name, value in _fields(document):
                    if (view, name, value) in asked:
                        continue
                    asked.add((view, name, value))
                    where = Field(name, ((name,),))
                    middle = value[len(value) // 3 : len(value) // 3 + 8]
                    for predicate in (
                        Compare(where, Equals(value)),
                        Compare(where, Like((Text(value[:9]), AnyRun()))),
                        Compare(where, Like((AnyRun(), Text(middle or "?"), AnyRun()))),
                        Compare(where, Regex(f"{re.escape(value[:5])}.*|xyzzy")),
                        Compare(where, Equals(value, cased=True)),
                        Keyword(Equals(value)),
                        Keyword(Like((AnyRun(), Text(middle or "?"), AnyRun()))),
                    ):
                        need = need_in_text(predicate, spell)
                        if need is None or not matcher(predicate)(document):
                            continue
                        assert found_in(need, text), (view, name, value, need)
    assert len(asked) > 1000


@pytest.mark.parametrize(
    ("pattern", "texts_found", "missed"),
    [
        ("(?:wget|wput) -q", ["WGET -q", "xx wput -q"], ["wge", "curl -q"]),
        ("^/dev/(tcp|udp)/", ["/dev/tcp/1", "/DEV/UDP/"], ["/dev/shm/"]),
        ("nc(at)? -e", ["nc -e", "ncat -e"], ["xx"]),
        ("a{3,}bcd", ["aaaabcd"], ["abc"]),
        ("x.*", ["anything"], []),
        ("xb{,1}y", ["xb{,1}y"], []),
    ],
)
def test_needles_of_regular_expressions(
    pattern: str, texts_found: list[str], missed: list[str]
) -> None:
    predicate = Compare(Field("f", (("f",),)), Regex(pattern))
    need = need_in_text(predicate, lambda _: Spelling())
    if not missed:
        assert need is None
        return
    assert need is not None
    assert all(found_in(need, text.encode()) for text in texts_found)
    assert not any(found_in(need, text.encode()) for text in missed)
