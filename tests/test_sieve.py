"""The fast path says what the exact path says, whatever the lines are."""

import json
import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile_lines import (
    OTHER_LINES,
    AsIs,
    Change,
    changed,
    changes,
    members_of,
    real_lines,
    set_field,
    written,
)
from trailhound.dialects import sigma
from trailhound.dialects.contract import RuleFile
from trailhound.engine.matching import Hit
from trailhound.engine.needles import ODD, example_of, need_of, patterns_of, repeats_of
from trailhound.engine.plan import Plan
from trailhound.intake.blocks import Block
from trailhound.intake.files import InputFile
from trailhound.model.records import Origin, ParseFailure, RawRecord
from trailhound.pipeline import prefilter, reading, telling
from trailhound.pipeline.prefilter import Prefilter
from trailhound.pipeline.reading import UnitReader
from trailhound.pipeline.rulebooks import load_rules
from trailhound.pipeline.scan import plan_for
from trailhound.pipeline.tally import Tally
from trailhound.rules.book import link
from trailhound.rules.ir import Rule
from trailhound.sources import SOURCES
from trailhound.sources.decode import Decoder

FILE = InputFile("log", 0)
BY_NAME = {source.name: source for source in SOURCES}

# Rules that gate on fields the built-in ones do not, or on none at all.
ODD_DETECTIONS = {
    "k8s_audit": """
user: {s: {user.username|startswith: 'system:'}, condition: s}
user_exactly: {s: {user.username: evil}, condition: s}
addresses: {s: {sourceIPs|cidr: 10.8.0.0/16}, condition: s}
address_in_words: {s: {sourceIPs: 10.8.0.21}, condition: s}
uri: {s: {requestURI|re: '/exec\\?.*command='}, condition: s}
uri_look_ahead: {s: {requestURI|re: '^/api(?!s)'}, condition: s}
nothing_but_not: {s: {verb: [get, list, watch, create]}, condition: not s}
neither: {s: {verb: create}, t: {objectRef.resource: pods}, condition: not s and not t}
words: {s: ['anonymous', '*evil*'], condition: s}
word_and_field: {s: ['*command=*'], t: {verb: get}, condition: s and t}
same: {s: {user.username|fieldref: objectRef.name}, condition: s}
same_gates: {s: {verb|fieldref|startswith: objectRef.resource}, condition: s}
code: {s: {responseStatus.code|gte: 400}, condition: s}
code_exactly: {s: {responseStatus.code: 403}, condition: s}
code_as_text: {s: {responseStatus.code|contains: '40'}, condition: s}
there: {s: {objectRef.subresource|exists: true, verb: get}, condition: s}
not_there: {s: {objectRef.subresource|exists: false, verb: get}, condition: s}
nothing: {s: {objectRef.resource: null, verb: get}, condition: s}
empty: {s: {objectRef.resource: ''}, condition: s}
one_letter: {s: {objectRef.resource: '?'}, condition: s}
any_text: {s: {objectRef.subresource: '*'}, condition: s}
one_or_other: {s: {verb: delete}, t: {user.username: evil}, condition: s or t}
groups: {s: {user.groups|contains: masters}, condition: s}
agent: {s: {userAgent|contains: [curl, python, İ]}, condition: s}
whole_object: {s: {objectRef|contains: exec}, condition: s}
deep: {s: {annotations.authorization.k8s.io/decision: forbid}, condition: s}
case: {s: {verb|cased: create}, condition: s}
true_verb: {s: {verb: true}, condition: s}
one_verb: {s: {verb: 1}, condition: s}
one_verb_text: {s: {verb: '1'}, condition: s}
stage: {s: {stage: [RequestReceived, Panic]}, condition: s}
strangers: {s: {user.username|startswith: 'system:'}, condition: not s}
strangers_write: {s: {user.username|startswith: 'system:'}, t: {verb: get}, condition: not (s or t)}
""",
    "cloudtrail": """
reads: {s: {readOnly: true}, condition: s}
writes: {s: {readOnly: 'false', eventSource: iam.amazonaws.com}, condition: s}
one: {s: {readOnly: 1}, condition: s}
one_as_text: {s: {readOnly|startswith: '1'}, condition: s}
who: {s: {userIdentity.type: Root}, condition: s}
arn: {s: {userIdentity.arn|endswith: ':root'}, condition: s}
name_or_error: {s: {eventName: ConsoleLogin}, t: {errorCode|contains: Denied}, condition: s or t}
error_there: {s: {errorCode|exists: true}, condition: s}
address: {s: {sourceIPAddress|cidr: '198.51.100.0/24'}, condition: s}
nothing_but_not: {s: {eventName|startswith: [Get, List, Describe]}, condition: not s}
words: {s: ['*Access*', evil], condition: s}
same: {s: {userIdentity.userName|fieldref: requestParameters.userName}, condition: s}
whole: {s: {userIdentity|contains: root}, condition: s}
kind: {s: {eventType: AwsConsoleSignIn}, condition: s}
nothing: {s: {errorCode: null, eventName: CreateAccessKey}, condition: s}
hour: {s: {eventTime|hour: 0}, condition: s}
numbers: {s: {eventVersion|gt: 1}, condition: s}
roles: {s: {userIdentity.type: [IAMUser, AWSService]}, condition: not s}
elsewhere: {s: {awsRegion: eu-central-1}, t: {eventName|startswith: Get}, condition: not (s or t)}
""",
}
UNGATED = {
    *("nothing_but_not", "neither", "not_there", "nothing", "words", "word_and_field", "there"),
    *("same_gates", "any_text", "one_letter", "empty", "deep", "error_there"),
    *("strangers", "strangers_write", "roles", "elsewhere"),
}
"""Rules that no field, or only one of an ordinary event, holds back."""
TOLD = {
    "k8s_audit": {"nothing_but_not", "neither", "strangers", "strangers_write"},
    "cloudtrail": {"nothing_but_not", "roles", "elsewhere"},
}
"""Rules that say only what must not be, of fields that every record has."""
LOGSOURCES = {
    "k8s_audit": "{product: kubernetes, service: audit}",
    "cloudtrail": "{product: aws, service: cloudtrail}",
}


def odd_rules(source: str) -> tuple[Rule, ...]:
    documents = [
        f"title: odd {name}\nlogsource: {LOGSOURCES[source]}\ndetection: {detection.strip()}\n"
        for name, _, detection in (
            line.partition(":") for line in ODD_DETECTIONS[source].strip().splitlines()
        )
    ]
    file = RuleFile(f"{source}.yml", "---\n".join(documents).encode())
    rules = link([sigma.DIALECT.read(file, {})])
    assert rules.errors == ()
    assert len(rules.rules) == len(documents)
    return rules.rules


@cache
def plan_of(source: str, kind: str) -> Plan:
    """Built-in rules alone, with the odd ones, or those of the odd ones that gates hold back."""
    builtin = load_rules([], builtin=True, placeholders={}, cache=None).ruleset.rules
    odd = odd_rules(source)
    if kind == "builtin":
        return plan_for(builtin)
    if kind == "all":
        return plan_for((*builtin, *odd))
    if kind == "needles":
        rules = (*builtin, *odd)
        return plan_for([r for r in rules if not r.predicate or need_of(r.predicate) is not None])
    titles = {rule.info.title.partition(" ")[2]: rule for rule in odd}
    if kind == "told":
        return plan_for((*builtin, *(titles[title] for title in sorted(TOLD[source]))))
    return plan_for([rule for title, rule in titles.items() if title not in UNGATED])


@dataclass(slots=True)
class Recorder(Tally):
    """A tally that keeps every failure."""

    failures_seen: list[ParseFailure] = field(default_factory=list)

    def fail(self, failure: ParseFailure) -> None:
        self.failures_seen.append(failure)


@dataclass(frozen=True)
class Verdict:
    """What a run over lines comes to."""

    hits: list[tuple[str, int, int]]
    """(title of the rule, line, element), in the order they came."""
    lost: list[tuple[int, int, str]]
    events: dict[str, int]


def verdict_of(plan: Plan, read: Callable[[UnitReader], Iterator[Hit]]) -> Verdict:
    reader = UnitReader(plan, SOURCES)
    reader.tally = tally = Recorder()
    hits = [
        (plan.rules[hit.rule].info.title, origin.line, origin.element)
        for hit in read(reader)
        for origin in hit.event.origins[:1]
    ]
    lost = [
        (failure.origin.line, failure.origin.element, failure.reason)
        for failure in tally.failures_seen
        if failure.lost
    ]
    return Verdict(hits, lost, {name: count for name, count in tally.events.items() if count})


def exactly(plan: Plan, data: bytes) -> Verdict:
    """Every line through the decoder, every event past every rule."""

    def read(reader: UnitReader) -> Iterator[Hit]:
        decoder = Decoder(SOURCES)
        for number, line in enumerate(_lines(data), 1):
            record = RawRecord(line.removesuffix(b"\n"), Origin(FILE.path, number))
            yield from reader._decode(decoder, record)
        yield from reader._match(decoder.flush())

    return verdict_of(plan, read)


def sifted(plan: Plan, source: str, data: bytes, cuts: tuple[int, ...] = ()) -> Verdict:
    """The same through the sieve, in blocks that end after the given numbers of lines."""

    def read(reader: UnitReader) -> Iterator[Hit]:
        decoder = Decoder(SOURCES)
        for block in blocks_of(data, cuts):
            reader._by_sieve(FILE, block, BY_NAME[source])
        yield from reader._read_held(decoder)
        yield from reader._match(decoder.flush())

    return verdict_of(plan, read)


def blocks_of(data: bytes, cuts: tuple[int, ...]) -> Iterator[Block]:
    lines = _lines(data)
    places = sorted({0, len(lines), *(cut % (len(lines) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield Block(b"".join(lines[start:end]), start + 1)


def _lines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


@cache
def lines_of(source: str) -> list[bytes]:
    return real_lines(source)


Bent = tuple[int, list[Change]]
bent_lines: st.SearchStrategy[list[Bent]] = st.lists(
    st.tuples(st.integers(-len(OTHER_LINES), 1500), st.lists(changes, max_size=3)),
    min_size=1,
    max_size=8,
)


def bent(source: str, recipe: list[Bent]) -> bytes:
    real = lines_of(source)
    lines = []
    for number, how in recipe:
        line = OTHER_LINES[-number - 1] if number < 0 else real[number % len(real)]
        for change in how:
            line = changed(line, source, change)
        lines.append(line)
    return b"\n".join(lines) + (b"\n" if recipe[0][0] % 2 else b"")


def searched(
    plan: Plan, search: Prefilter, source: str, data: bytes, *, whole: bool = False
) -> Verdict:
    """Behind a search that has learnt from ordinary lines; each line a block, or all in one."""

    def read(reader: UnitReader) -> Iterator[Hit]:
        reader._sieves[source]._prefilter = search
        decoder = Decoder(SOURCES)
        for block in blocks_of(data, () if whole else tuple(range(data.count(b"\n") + 1))):
            reader._by_sieve(FILE, block, BY_NAME[source])
        yield from reader._read_held(decoder)
        yield from reader._match(decoder.flush())

    return verdict_of(plan, read)


PLAIN = {"k8s_audit": b'{"kind":"Event",', "cloudtrail": b'{"eventVersion":"1.'}


def plain_lines(source: str) -> list[bytes]:
    return [line for line in lines_of(source) if line.startswith(PLAIN[source])]


@cache
def taught(source: str, kind: str, *, pairs: bool = False) -> Prefilter:
    """A search that learnt from the first block, and goes on however much it finds."""
    search = taught_by(plan_of(source, kind), source, plain_lines(source), pairs=pairs)
    assert search._search is not None
    return search


def taught_by(plan: Plan, source: str, lines: Sequence[bytes], *, pairs: bool = False) -> Prefilter:
    gate = BY_NAME[source].gate
    assert gate is not None
    search = Prefilter(BY_NAME[source], plan.views[source, gate.view])
    proof = prefilter._Proof(BY_NAME[source], telling.Telling())
    lines = [line for line in lines if proof.read(Block(line, 1)) is not None]
    with pytest.MonkeyPatch.context() as patch:
        blocks = [b"\n".join(lines[at : at + 200]) for at in range(0, len(lines), 200)]
        patch.setattr(prefilter, "SAMPLE_BYTES", sum(map(len, blocks)))
        patch.setattr(prefilter, "_SHARE_LIMIT", 2)
        patch.setattr(telling, "_WORTH", 1)
        for block in blocks:
            search.find(Block(block, 1))
        if pairs:
            patch.setattr(prefilter, "_FREQUENT_SHARE", 0)
            patch.setattr(prefilter, "_PAIRS_OF_PARTS_LIMIT", 100)
            patch.setattr(prefilter, "_PAIRS_LIMIT", 10_000)
            assert search._unpaired is not None
            search._pair(search._unpaired, prefilter._PAIRED_AFTER_BYTES)
    # It goes on, whatever it finds.
    search._rest = lambda: None  # type: ignore[method-assign]
    return search


GATED = pytest.mark.parametrize("source", ["k8s_audit", "cloudtrail"])


@GATED
def test_there_is_something_to_compare(source: str) -> None:
    lines = lines_of(source)
    plan = plan_of(source, "all")
    found = exactly(plan, b"\n".join(lines))
    assert len(lines) > 50
    assert len({title for title, *_ in found.hits}) > 20
    assert sifted(plan, source, b"\n".join(lines)) == found


@GATED
@settings(max_examples=150)
@given(recipe=bent_lines, kind=st.sampled_from(["builtin", "all", "gated"]))
def test_the_sieve_agrees_with_the_exact_path(source: str, recipe: list[Bent], kind: str) -> None:
    data = bent(source, recipe)
    plan = plan_of(source, kind)
    assert sifted(plan, source, data) == exactly(plan, data)


@GATED
@settings(max_examples=60)
@given(recipe=bent_lines, cuts=st.lists(st.integers(0, 8), max_size=3).map(tuple))
def test_the_arrangement_into_blocks_does_not_matter(
    source: str, recipe: list[Bent], cuts: tuple[int, ...]
) -> None:
    data = bent(source, recipe)
    plan = plan_of(source, "gated")
    assert sifted(plan, source, data, cuts) == exactly(plan, data)


@GATED
def test_the_search_holds_lines_back(source: str) -> None:
    found = [taught(source, "builtin").find(Block(line, 1)) for line in plain_lines(source)]
    known = [hit for hit in found if hit is not None]
    assert len(known) > len(found) * 0.9
    assert sum(not hit.candidates for hit in known) > 20


@GATED
@settings(max_examples=30)
@given(
    recipe=bent_lines,
    kind=st.sampled_from(["builtin", "gated", "needles", "told"]),
    pairs=st.booleans(),
)
def test_the_search_loses_nothing(
    source: str, recipe: list[Bent], kind: str, *, pairs: bool
) -> None:
    data = bent(source, recipe)
    plan = plan_of(source, kind)
    assert searched(plan, taught(source, kind, pairs=pairs), source, data) == exactly(plan, data)


@GATED
def test_a_search_for_pairs_finds_the_same_lines(source: str) -> None:
    single, paired = taught(source, "builtin"), taught(source, "builtin", pairs=True)
    assert paired._search is not None
    assert any(b"[^\\n]*" in pattern for pattern in paired._search._haystack.patterns)
    lines = [line for line in plain_lines(source) if single.find(Block(line, 1)) is not None]
    # A needle in one line and its other in the next are no pair.
    block = b"\n".join(lines)
    assert paired.find(Block(block, 1)) == single.find(Block(block, 1))


def test_what_needles_end_in_and_logs_are_full_of_is_not_searched_for() -> None:
    lines = plain_lines("cloudtrail")
    search = taught_by(plan_of("cloudtrail", "builtin"), "cloudtrail", lines)
    assert search._search is not None
    patterns = search._search._haystack.patterns
    assert sum(pattern.endswith(b"\\.ama") for pattern in patterns) > 2
    assert not any(pattern.endswith(b'\\.amazonaws\\.com"') for pattern in patterns)


def test_long_logs_are_searched_for_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefilter, "_PAIRED_AFTER_BYTES", 1)
    lines = plain_lines("k8s_audit")
    search = taught_by(plan_of("k8s_audit", "builtin"), "k8s_audit", lines)
    single = search._search
    found = [search.find(Block(line, 1)) for line in lines]
    assert search._search not in (single, None)
    assert [search.find(Block(line, 1)) for line in lines] == found


@GATED
def test_rules_that_say_what_must_not_be_are_told_from_fields(source: str) -> None:
    plan = plan_of(source, "told")
    search = taught(source, "told")
    told = {plan.rules[rule.index].info.title: rule for rule in search._telling.rules}
    found = [search.find(Block(line, 1)) for line in plain_lines(source)]
    alive = [{rule for _, rules in hit.candidates for rule in rules} for hit in found if hit]
    for title in TOLD[source]:
        held_back = sum(told[f"odd {title}"] not in rules for rules in alive)
        assert 50 < held_back < len(alive), title


SYSTEM = b'"user":{"username":"system:node:a"}'
CALM_USER = (
    b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","verb":"watch",'
    + SYSTEM
    + b',"stageTimestamp":"2026-03-01T00:00:00Z"}'
)
OTHER_USERS = (
    b'"user":{"username":"evil"}',
    b'"user":{"username":"system:node:a","username":"evil"}',
    b'"user":{"username":"evil","username":"system:node:a"}',
    b'"user":{"username" : "system:node:a","username" :"evil"}',
    SYSTEM + b',"user":{"username":"evil"}',
    SYSTEM + b',"user":{}',
    SYSTEM + b',"user":null',
    SYSTEM + b',"user" :"evil"',
    SYSTEM + b',"user.username":"evil"',
    SYSTEM + b',"user\\u002eusername":"evil"',
    SYSTEM + b',"us\\u0065r":{"username":"evil"}',
    b'"user":[{"username":"system:node:a"},{"username":"evil"}]',
    b'"user":{"username":["system:node:a","evil"]}',
    b'"user":{"username":[]}',
    b'"user":{"username":null}',
    b'"user":{"username":true}',
    b'"user":{"username":1}',
    b'"user":{"username":{"a":"system:node:a"}}',
    b'"user":{"username":""}',
    b'"user":{"username":"system\\u003anode"}',
    b'"user":{"username":"\\u0073ystem:node"}',
    b'"user":{"username":"system:\\ud800"}',
    b'"user":"system:node:a"',
    b'"user":{"name":"system:node:a"}',
    b'"requestObject":{"user":{"username":"system:node:a"}}',
    SYSTEM + b',"requestObject":{"user":{"username":"evil"}}',
)


@pytest.mark.parametrize("condition", ["not s", "not s and not t", "s", "t and not s"])
def test_a_field_that_may_say_more_than_one_thing_tells_nothing(condition: str) -> None:
    detection = "{s: {user.username|startswith: 'system:'}, t: {verb: get}, condition: "
    plan = one_rule(detection + condition + "}")
    taught = [CALM_USER.replace(b":a", b":%d" % at) for at in range(300)]
    search = taught_by(plan, "k8s_audit", [*taught, *plain_lines("k8s_audit")])
    for user in OTHER_USERS:
        odd = CALM_USER.replace(SYSTEM, user)
        for lines in ([odd], [CALM_USER, odd, CALM_USER], [odd, CALM_USER, odd]):
            data = b"\n".join(lines) + b"\n"
            found = searched(plan, search, "k8s_audit", data, whole=True)
            assert found == exactly(plan, data), user


def test_a_key_of_the_same_name_elsewhere_is_no_doubt() -> None:
    plan = one_rule("{s: {user.username|startswith: 'system:'}, condition: not s}")
    lines = [CALM_USER.replace(b":a", b":%d" % at) for at in range(300)]
    search = taught_by(plan, "k8s_audit", lines)
    body = b',"requestObject":{"user":{"username":"evil"},"user.username":"evil"}'
    for members, doubtful in (
        (body, False),
        (body + b',"user":{}', True),
        (body + b',"user.username":1', True),
        (body.replace(b"evil", b"\\u0065vil"), False),
    ):
        found = search.find(Block(CALM_USER.replace(SYSTEM, SYSTEM + members), 1))
        assert found is not None
        assert bool(found.candidates or found.odd) == (doubtful or b"\\u" in members), members


@GATED
def test_every_pattern_is_found_in_its_example(source: str) -> None:
    gate = BY_NAME[source].gate
    assert gate is not None
    rules = plan_of(source, "builtin").views[source, gate.view].rules
    needs = [need for rule in rules if (need := need_of(rule.predicate)) is not None]
    patterns = {pattern for need in needs for pattern in patterns_of(need)}
    assert len(patterns) > 20
    patterns.update(pattern for path in gate.discriminators for pattern in repeats_of(path))
    for pattern in (*patterns, *ODD, prefilter._NAN, *prefilter._UNEVEN):
        assert re.fullmatch(pattern, example_of(pattern), re.IGNORECASE), pattern


@GATED
def test_a_search_that_misses_is_not_used(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = prefilter._Haystack.places

    def places_but_one(self: prefilter._Haystack, data: bytes) -> Mapping[int, list[int]]:
        return {**places(self, data), 0: []}

    monkeypatch.setattr(prefilter._Haystack, "places", places_but_one)
    search = taught_by(plan_of(source, "builtin"), source, plain_lines(source))
    assert not is_searching(search)


# --- lists of records on one line, as CloudTrail writes them ------------------------------


def unwrapped(plan: Plan, data: bytes) -> Verdict:
    """Line by line, but with lists taken apart and sifted."""

    def read(reader: UnitReader) -> Iterator[Hit]:
        decoder = Decoder(SOURCES)
        if data:
            yield from reader._by_line(FILE, Block(data, 1), decoder)
        yield from reader._match(decoder.flush())

    return verdict_of(plan, read)


def roughly(verdict: Verdict) -> Verdict:
    """Without the numbers of elements, which differ for wrappings in wrappings."""
    hits = [(title, line, 0) for title, line, _ in verdict.hits]
    return Verdict(hits, [(line, 0, reason) for line, _, reason in verdict.lost], verdict.events)


@pytest.fixture
def every_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_WORTH_UNWRAPPING", 0)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    recipe=bent_lines,
    joints=st.lists(
        st.sampled_from((b",", b",", b",", b", ", b"", b",,", b",1,", b"],[")), max_size=3
    ),
    outer=st.sampled_from(
        (
            (b'{"Records":[', b"]}"),
            (b'{"Records":[', b"]}\r"),
            (b'{"Records":[', b'],"Records":[]}'),
            (b'{"Records":[],"Records":[', b"]}"),
            (b'{"Records":[', b'],"owner":"x"}'),
            (b'{"Records": [', b"]}"),
            (b' {"Records":[', b"]}"),
            (b'{"Rec\\u006frds":[', b"]}"),
            (b'{"Records":[[', b"]]}"),
            (b'{"Records":[', b"]}]"),
            (b"[", b"]"),
        )
    ),
)
def test_lists_on_one_line(
    every_list: None, recipe: list[Bent], joints: list[bytes], outer: tuple[bytes, bytes]
) -> None:
    lines = bent("cloudtrail", recipe).split(b"\n")
    joined = lines[0] + b"".join(
        (joints[at % len(joints)] if joints else b",") + line for at, line in enumerate(lines[1:])
    )
    data = outer[0] + joined + outer[1] + b"\n"
    plan = plan_of("cloudtrail", "gated")
    assert roughly(unwrapped(plan, data)) == roughly(exactly(plan, data))


STRAY = {
    "texts": b'"%s"' % lines_of("cloudtrail")[0].replace(b"\\", b"\\\\").replace(b'"', b'\\"'),
    "lists": b"[%s]" % lines_of("cloudtrail")[0],
    "wrappings": b'{"Records":[%s]}' % lines_of("cloudtrail")[0],
    "numbers": b"1",
    "nothing": b"null",
    "blanks": b" ",
}


def test_elements_of_a_list_have_numbers(every_list: None) -> None:
    plan = plan_of("cloudtrail", "all")
    data = b'{"Records":[' + b",".join(lines_of("cloudtrail")[:40]) + b"]}\n"
    found = unwrapped(plan, data)
    assert found == exactly(plan, data)
    assert len({element for _, _, element in found.hits}) > 20


@pytest.mark.parametrize("name", STRAY)
def test_lists_of_something_else(every_list: None, name: str) -> None:
    plan = plan_of("cloudtrail", "all")
    real = lines_of("cloudtrail")[1]
    for elements in ([STRAY[name]], [real, STRAY[name]], [STRAY[name], real, real]):
        data = b'{"Records":[' + b",".join(elements) + b"]}\n"
        assert roughly(unwrapped(plan, data)) == roughly(exactly(plan, data))


# --- what once went wrong, or nearly ------------------------------------------------------

EVIL = (
    b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","auditID":"e",'
    b'"verb":"create","user":{"username":"evil"},"sourceIPs":["203.0.113.9"],'
    b'"objectRef":{"resource":"pods","subresource":"exec","name":"p"},'
    b'"stageTimestamp":"2026-03-01T00:00:00Z"}'
)
CALM = EVIL.replace(b"create", b"watch").replace(b'"exec"', b'"log"').replace(b"evil", b"anna")


@cache
def one_rule(detection: str, source: str = "k8s_audit") -> Plan:
    text = f"title: r\nlogsource: {LOGSOURCES[source]}\ndetection: {detection}\n"
    rules = link([sigma.DIALECT.read(RuleFile("r.yml", text.encode()), {})])
    assert rules.errors == ()
    return plan_for(rules.rules)


EXEC = "{s: {verb: create, objectRef.subresource: exec}, condition: s}"
USER = "{s: {user.username: evil}, condition: s}"
JOINED_OR_SPLIT = {
    "two on a line, then an empty one": CALM + EVIL + b"\n\n",
    "an empty line, then two on a line": b"\n" + CALM + EVIL + b"\n",
    "blanks for a line": CALM + b" " + EVIL + b"\n \n",
    "one over two lines, two on a third": CALM.replace(b',"verb"', b'\n,"verb"')
    + b"\n"
    + CALM
    + EVIL
    + b"\n",
    "three on a line, two empty ones": CALM + b"\n" + CALM + CALM + EVIL + b"\n\n\n",
    "an object of the evil one on a line of its own": EVIL.replace(b"{", b"\n{"),
    "an empty line first, and no line end last": b"\n" + CALM + EVIL,
    "carriage returns": CALM + EVIL + b"\r\n\r\n" + CALM + b"\r\n",
    "the halves of two lines": CALM + EVIL[:40] + b"\n" + EVIL[40:] + CALM + b"\n\n",
}


@pytest.mark.parametrize("name", JOINED_OR_SPLIT)
@pytest.mark.parametrize("detection", [EXEC, USER])
def test_records_that_are_not_one_to_a_line(name: str, detection: str) -> None:
    data = JOINED_OR_SPLIT[name]
    plan = one_rule(detection)
    assert sifted(plan, "k8s_audit", data) == exactly(plan, data)
    search = taught_by(plan, "k8s_audit", plain_lines("k8s_audit"))
    assert search._search is not None
    assert searched(plan, search, "k8s_audit", data, whole=True) == exactly(plan, data)


def with_member(line: bytes, member: bytes) -> bytes:
    return line[:-1] + b"," + member + b"}"


OTHERWISE_PARSED = {
    **{
        f"the number {number.decode()}": with_member(EVIL, b'"n":%s' % number)
        for number in (
            *(b"NaN", b"nan", b"-NaN", b"Infinity", b"-Infinity", b"INF", b"-inf", b"infinit"),
            *(b"1e999", b"1" * 40, b"1" * 5000, b"18446744073709551616", b"01", b"1.", b"- 1"),
        )
    },
    "NaN behind a blank": with_member(EVIL, b'"n": NaN '),
    "NaN in a list": with_member(EVIL, b'"n":[1,NaN]'),
    "NaN first in a list": with_member(EVIL, b'"n":[NaN]'),
    "half a character, escaped": with_member(EVIL, b'"n":"\\ud800"'),
    "half a character": with_member(EVIL, b'"n":"\xed\xa0\x80"'),
    "no UTF-8": with_member(EVIL, b'"n":"\xff"'),
    "a NUL": with_member(EVIL, b'"n":"\0"'),
    "a tab in a text": with_member(EVIL, b'"n":"\t"'),
    "NULs behind it": EVIL + b"\0\0",
    "a mark of UTF-8 before it": b"\xef\xbb\xbf" + EVIL,
    "a key of journal entries, with a record in it": with_member(
        EVIL, b'"MESSAGE":' + json.dumps(CALM.decode()).encode()
    ),
    "half a line": EVIL[:-20],
    "a comma behind it": EVIL + b",",
    "a comment": EVIL + b" // evil",
    "a vertical tab": EVIL + b"\v",
    "blanks around it": b" \t" + EVIL + b" \r",
    **{
        f"{levels} levels": with_member(EVIL, b'"n":' + b"[" * levels + b"]" * levels)
        for levels in (150, 1000, 1022, 1023, 1030, 10_000)
    },
    **{
        f"{member.decode()} {place}": with_member(EVIL, member)
        if place == "last"
        else b"{" + member + b"," + EVIL[1:]
        for member in (
            *(b'"kind":"Event"', b'"kind":"Pod"', b'"kind":null', b'"kind":["Event"]'),
            *(b'"apiVersion":"v1"', b'"apiVersion":"audit.k8s.io/v2"', b'"k\\u0069nd":"Pod"'),
            # In one of its readings, what follows is a record of CloudTrail.
            b'"kind":"Pod","auditID":null,"eventVersion":"1.09","eventSource":"iam.amazonaws.com"',
        )
        for place in ("first", "last")
    },
}


@pytest.mark.parametrize("detection", [EXEC, USER, "{s: {n|contains: nfi}, condition: s}"])
def test_lines_that_parsers_read_differently(detection: str) -> None:
    """The parser of the search takes more than JSON, and the first of repeated keys."""
    plan = one_rule(detection)
    search = taught_by(plan, "k8s_audit", plain_lines("k8s_audit"))
    assert search._search is not None
    for name, evil in OTHERWISE_PARSED.items():
        calm = evil.replace(b"create", b"watch").replace(b'"exec"', b'"log"')
        calm = calm.replace(b"evil", b"anna")
        for lines in ([evil], [calm], [calm, CALM], [CALM, evil, CALM], [evil, calm, EVIL]):
            for data in (b"\n".join(lines) + b"\n", b"\r\n".join(lines)):
                found = searched(plan, search, "k8s_audit", data, whole=True)
                assert found == exactly(plan, data), (name, data)


def test_long_values_that_tell_a_source_are_not_remembered() -> None:
    proof = prefilter._Proof(BY_NAME["cloudtrail"], telling.Telling())
    tracemalloc.start()
    try:
        for number in range(50):
            service = f"{number}.{'x' * 100_000}"
            line = f'{{"eventVersion":"1.08","eventSource":"{service}","eventName":"A"}}\n'
            assert proof.read(Block(line.encode(), 1)) is not None
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def is_searching(search: Prefilter) -> bool:
    return search._search is not None


def test_the_search_rests_where_its_parser_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind numbers that it leaves to `json`: there it begins anew, whatever still comes.

    What a block takes is added up with what those before it took; one alone says nothing.
    """
    plan = plan_of("k8s_audit", "builtin")
    gate = BY_NAME["k8s_audit"].gate
    assert gate is not None
    search = Prefilter(BY_NAME["k8s_audit"], plan.views["k8s_audit", gate.view])
    calm = b"\n".join([CALM] * 2000) + b"\n"
    while not is_searching(search):
        search.find(Block(calm, 1))
    assert search.find(Block(calm[:200_000].rpartition(b"\n")[0], 1)) is not None
    astray = b"\n".join([with_member(CALM, b'"n":1e999')] * 1500)
    clock = iter(n * 0.9 for n in range(99))  # two looks at it for each block
    monkeypatch.setattr(prefilter, "thread_time", lambda: next(clock))
    for _ in range(4):
        search.find(Block(astray, 1))
        assert is_searching(search)
    assert search.find(Block(astray, 1)) is None
    assert not is_searching(search)
    data = with_member(EVIL, b'"n":1e999') + b"\n" + astray
    assert sifted(plan, "k8s_audit", data) == exactly(plan, data)


@GATED
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_search_takes_blocks_of_plain_lines(source: str, end: bytes) -> None:
    search = taught(source, "builtin")
    plain = [line for line in plain_lines(source) if search.find(Block(line, 1)) is not None]
    plain = plain[:150]
    whole = search.find(Block(end.join(plain), 1))
    assert whole is not None
    alone = [search.find(Block(line, 1)) for line in plain]
    assert [line for line, _ in whole.candidates] == [
        number for number, found in enumerate(alone) if found is not None and found.candidates
    ]


def test_short_lines_that_wait_take_no_more_memory_than_long_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is no record, and has to be read; of such lines a megabyte holds half a million."""
    plan = one_rule(EXEC)
    record = with_member(CALM, b'"pad":"%s"' % (b"x" * 180_000)) + b"\n"
    log = tmp_path / "log"
    log.write_bytes(CALM + b"\n" + (record + b"1\n" * 3000) * 5)
    monkeypatch.setattr(reading, "_HELD_BYTES", 256 * 1024)
    held: list[int] = []
    read_held = UnitReader._read_held

    def watched(self: UnitReader, decoder: Decoder) -> Iterator[Hit]:
        held.append(len(self._held))
        return read_held(self, decoder)

    monkeypatch.setattr(UnitReader, "_read_held", watched)
    reader = UnitReader(plan, SOURCES)
    reader.tally = tally = Recorder()
    file = InputFile(str(log), log.stat().st_size)
    assert list(reader.read((file,), lambda _: None)) == []
    assert tally.events == {"k8s_audit": 6}
    assert len(tally.failures_seen) == 15_000
    assert 0 < max(held) <= 6000  # of one block


ALIKE = (b"1", b"true", b"1.0", b'"1"', b'"true"', b'"1.0"', b"0", b"false", b"-0.0", b"0.0", b"-0")


@pytest.mark.parametrize("path", ["verb", "user.username", "responseStatus.code", "sourceIPs"])
@pytest.mark.parametrize("value", ["true", "1", "'1.0'", "'-0.0'", "'1'", "false", "0"])
def test_values_that_python_holds_for_equal(path: str, value: str) -> None:
    """`1 == 1.0 == True` in Python, and all three hash alike; a rule tells them apart."""
    for modifier in ("", "|startswith"):
        if modifier and value[0] != "'":
            continue
        plan = one_rule(f"{{s: {{{path}{modifier}: {value}}}, condition: s}}")
        for order in (ALIKE, ALIKE[::-1], (*ALIKE[3:], *ALIKE[:3])):
            lines = []
            for alike in order:
                document = members_of(CALM)
                set_field(document, path, AsIs(alike.decode()))
                lines.append(written(document).encode())
            data = b"\n".join(lines)
            one_by_one = [
                hit for at, line in enumerate(lines, 1) for hit in one_hit(plan, line, at)
            ]
            assert exactly(plan, data).hits == one_by_one
            assert sifted(plan, "k8s_audit", data).hits == one_by_one
            assert sifted(plan, "k8s_audit", data, tuple(range(20))).hits == one_by_one


def one_hit(plan: Plan, line: bytes, number: int) -> list[tuple[str, int, int]]:
    """The hits of one line, from a plan that has seen nothing before."""
    fresh = plan_for(plan.rules)
    return [(title, number, 0) for title, *_ in exactly(fresh, line).hits]


DOTTED = (
    b'"objectRef.subresource":"exec"',
    b'"objectRef.subresource":"\\u0000"',
    b'"objectRef.subresource":["exec"]',
    b'"user.username":"evil"',
    b'"user.username":null',
)


@pytest.mark.parametrize("added", DOTTED)
@pytest.mark.parametrize(
    "detection",
    [
        "{s: {objectRef.subresource: exec}, condition: s}",
        "{s: {user.username: evil}, condition: s}",
        "{s: {verb: watch}, t: {objectRef.subresource: '?'}, condition: s and t}",
        "{s: {verb: watch}, t: {objectRef.subresource: log}, condition: s and not t}",
        "{s: {objectRef.subresource|re: '^.$'}, condition: s}",
    ],
)
def test_keys_with_dots(added: bytes, detection: str) -> None:
    data = CALM[:-1] + b"," + added + b"}\n" + CALM + b"\n"
    plan = one_rule(detection)
    assert sifted(plan, "k8s_audit", data) == exactly(plan, data)
