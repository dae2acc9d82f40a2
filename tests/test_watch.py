"""Silence, gaps, clocks: what the watch says of senders whose story is known."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.engine.watch import senders as limits
from trailhound.engine.watch import volume
from trailhound.engine.watch.contract import HOUR_MIN, MINUTE_NS, SECOND_NS, Key, Sighting, Stage
from trailhound.engine.watch.senders import Scope
from trailhound.engine.watch.watching import Watch
from trailhound.model.findings import Finding, Status
from trailhound.model.levels import Level
from trailhound.model.records import Origin

MONDAY = int(datetime(2026, 5, 4, tzinfo=UTC).timestamp()) * SECOND_NS
HOUR = 60 * MINUTE_NS
DAY = 24 * HOUR
WEEK = 7 * DAY


def seen(at_ns: int, sender: str = "node-1", source: str = "auditd", **more: object) -> Sighting:
    values = {
        "source": source,
        "sender": sender,
        "time_ns": at_ns,
        "arrived_ns": at_ns,
        "origin": Origin(f"forward/{sender}", 1),
        **more,
    }
    return Sighting(**values)  # type: ignore[arg-type]


def run(watch: Watch, sightings: Sequence[Sighting], until_ns: int = 0) -> list[Finding]:
    """Give sightings in, in order of arrival, with a clock that ticks every minute."""
    found: list[Finding] = []
    clock = watch.minute or (sightings[0].arrived_ns // MINUTE_NS if sightings else 0)
    for one in sorted(sightings, key=lambda one: one.arrived_ns):
        while clock < one.arrived_ns // MINUTE_NS:
            clock += 1
            found += watch.advance(clock * MINUTE_NS)
        found += watch.observe(one)
    while clock < until_ns // MINUTE_NS:
        clock += 1
        found += watch.advance(clock * MINUTE_NS)
    return found


def steady(sender: str, start_ns: int, end_ns: int, **more: object) -> list[Sighting]:
    return [seen(at, sender, **more) for at in range(start_ns, end_ns, MINUTE_NS)]


def names(found: Sequence[Finding]) -> list[str]:
    return [f"{f.rule.uid.removeprefix('trailhound-watch-')} {f.status.value}" for f in found]


def at_work(start_ns: int, weeks: int, sender: str = "okta") -> Iterator[Sighting]:
    """People: on working days, from eight to six, in half of the minutes."""
    rng = random.Random(sender)
    for day in range(7 * weeks):
        if day % 7 < 5:
            for minute in range(8 * 60, 18 * 60):
                if rng.random() < 0.5:
                    yield seen(start_ns + day * DAY + minute * MINUTE_NS, sender, "okta_system")


def test_an_agent_that_is_killed_while_others_go_on() -> None:
    others = [
        *steady("node-2", MONDAY, MONDAY + 2 * DAY),
        *steady("node-3", MONDAY, MONDAY + 2 * DAY),
    ]
    gone = steady("node-1", MONDAY, MONDAY + DAY + 3 * HOUR)
    back = steady("node-1", MONDAY + DAY + 5 * HOUR, MONDAY + 2 * DAY)
    found = run(Watch(), [*others, *gone, *back])
    assert names(found) == ["silence new", "silence amended"]
    told, over = found
    assert dict(told.group) == {"source": "auditd", "sender": "node-1"}
    assert told.rule.level is Level.MEDIUM
    assert told.time_ns - gone[-1].arrived_ns <= 12 * MINUTE_NS
    assert "2 of 2 other senders of auditd are heard" in told.reason
    assert "Nothing since 2026-05-05 02:59:00 UTC, for 11 min" in told.reason
    assert over.uid == told.uid
    assert over.revision == 1
    assert "after 121 min" in over.reason or "after 2" in over.reason
    assert "nothing is known of the time between" in over.reason
    assert over.rule.level is Level.MEDIUM


def test_what_was_held_back_is_told_apart_from_what_is_missing() -> None:
    gone = steady("node-1", MONDAY, MONDAY + 2 * DAY)
    late = [
        seen(MONDAY + 2 * DAY + 3 * HOUR, time_ns=at)
        for at in range(MONDAY + 2 * DAY, MONDAY + 2 * DAY + 3 * HOUR, MINUTE_NS)
    ]
    found = run(Watch(), [*gone, *late])
    assert names(found) == ["silence new", "silence amended"]
    assert "was held back, and comes now" in found[1].reason
    assert found[1].rule.level is Level.LOW


def test_nights_and_weekends_are_quiet_and_a_quiet_working_day_is_not() -> None:
    weeks = list(at_work(MONDAY, 4))
    assert run(Watch(), weeks, MONDAY + 4 * WEEK) == []
    tuesday = MONDAY + 3 * WEEK + DAY
    dead = [one for one in weeks if not tuesday <= one.arrived_ns < tuesday + DAY]
    found = run(Watch(), dead, MONDAY + 4 * WEEK)
    assert names(found) == ["silence new", "silence amended"]
    assert found[0].rule.level is Level.HIGH
    opened = datetime.fromtimestamp(found[0].time_ns // SECOND_NS, UTC)
    assert (opened.weekday(), opened.hour) in {(1, 8), (1, 9)}
    assert "at this hour of the week" in found[0].reason


def test_switched_off_on_a_friday_evening_is_told_on_monday_morning() -> None:
    weeks = list(at_work(MONDAY, 3))
    found = run(Watch(), weeks, MONDAY + 3 * WEEK + 12 * HOUR)
    assert names(found) == ["silence new"]
    opened = datetime.fromtimestamp(found[0].time_ns // SECOND_NS, UTC)
    assert (opened.weekday(), opened.hour) in {(0, 8), (0, 9)}


def test_a_power_cut_is_one_finding_and_who_stays_away_is_another() -> None:
    nodes = [f"node-{number}" for number in range(12)]
    before = [s for node in nodes for s in steady(node, MONDAY, MONDAY + DAY)]
    cloud = steady("acct", MONDAY, MONDAY + DAY, source="cloudtrail")
    back = MONDAY + DAY + 2 * HOUR
    after = [s for node in nodes[1:] for s in steady(node, back, back + HOUR)]
    found = run(
        Watch(), [*before, *cloud, *after, *steady("acct", back, back + HOUR, source="cloudtrail")]
    )
    assert names(found) == ["silence new", "silence amended", "silence new"]
    assert found[0].group == ()
    assert "of 2 sources" in found[0].reason
    assert dict(found[2].group)["sender"] == "node-0"


def test_time_in_which_nobody_watched_is_no_silence() -> None:
    watch = Watch()
    run(watch, steady("node-1", MONDAY, MONDAY + 2 * DAY))
    assert list(watch.advance(MONDAY + 3 * DAY)) == []
    assert run(watch, [], MONDAY + 3 * DAY + 8 * MINUTE_NS) == []
    assert names(run(watch, [], MONDAY + 3 * DAY + 20 * MINUTE_NS)) == ["silence new"]


def test_a_kind_of_event_that_an_audit_policy_no_longer_tells_of() -> None:
    until = MONDAY + 3 * DAY
    pods = steady("cluster", MONDAY, until, source="k8s_audit", kind="pods")
    secrets = steady("cluster", MONDAY, MONDAY + 2 * DAY, source="k8s_audit", kind="secrets")
    roles = steady("cluster", MONDAY, MONDAY + 2 * DAY + HOUR, source="k8s_audit", kind="roles")
    found = run(Watch(), [*pods, *secrets, *roles])
    assert names(found) == ["kinds new", "kinds amended"]
    assert "no longer tells of secrets (last 2026-05-05 23:59:00 UTC" in found[0].reason
    assert dict(found[1].values)["missing"] == "secrets, roles"
    assert found[0].rule.level is Level.MEDIUM


def test_numbers_that_never_come_are_events_that_are_missing() -> None:
    numbers = [number for number in range(1, 400) if not 200 <= number < 230]
    numbers[50], numbers[51] = numbers[51], numbers[50]
    events = [seen(MONDAY + n * 10 * SECOND_NS, serial=n) for n in numbers]
    events.sort(key=lambda one: numbers.index(one.serial))
    found = run(Watch(), events)
    assert names(found) == ["serials new"]
    assert (
        "30 numbers between 2026-05-04 00:33:10 UTC and 2026-05-04 00:38:20 UTC never came: 200-229"
        in found[0].reason
    )
    assert found[0].rule.level is Level.HIGH


def test_what_comes_late_and_what_boots_anew_is_no_gap() -> None:
    boot = [seen(MONDAY + n * SECOND_NS, serial=n) for n in range(1, 300)]
    late = [
        seen(one.time_ns, serial=one.serial, arrived_ns=one.arrived_ns + 4 * MINUTE_NS)
        if 100 <= one.serial < 150
        else one
        for one in boot
    ]
    again = [seen(MONDAY + HOUR + n * SECOND_NS, serial=n) for n in range(1, 3000)]
    assert run(Watch(), [*late, *again], MONDAY + 3 * HOUR) == []


def test_a_filter_before_us_is_told_once() -> None:
    rng = random.Random(5)
    part = [seen(MONDAY + n * SECOND_NS, serial=n) for n in range(1, 5000) if rng.random() < 0.3]
    found = run(Watch(), part, part[-1].arrived_ns)
    assert names(found) == ["unnumbered new"]
    assert found[0].rule.level is Level.LOW


def test_a_clock_that_is_set_back() -> None:
    events = [seen(MONDAY + n * SECOND_NS, serial=n) for n in range(1, 100)]
    back = [
        seen(MONDAY + n * SECOND_NS - 2 * HOUR, serial=n, arrived_ns=MONDAY + n * SECOND_NS)
        for n in range(100, 200)
    ]
    found = run(Watch(), [*events, *back])
    assert names(found) == ["clock-set-back new"]
    assert "120 min before" in found[0].reason


def test_requests_without_an_end() -> None:
    def request(number: int, *, ended: bool = True) -> list[Sighting]:
        at = MONDAY + number * SECOND_NS
        more = {"source": "k8s_audit", "request": f"id-{number}"}
        begun = seen(at, "cluster", stage=Stage.BEGUN, **more)
        end = seen(at, "cluster", stage=Stage.ENDED, **more)
        # Batches overtake each other.
        return [begun, end][:: -1 if number % 2 else 1] if ended else [begun]

    events = [s for n in range(1000) for s in request(n, ended=not 600 <= n < 615)]
    watch = Watch()
    found = [f for one in events for f in watch.observe(one)]
    found += run(watch, [], MONDAY + 2 * HOUR)
    assert "unended new" in names(found)
    assert dict(found[-1].values).get("missing") in {"15", None}
    policy = [s for n in range(1000) for s in request(n, ended=n % 2 == 0)]
    watch = Watch()
    found = [f for one in policy for f in watch.observe(one)] + run(watch, [], MONDAY + 2 * HOUR)
    assert names(found)[0] == "unnumbered new"


def test_a_clock_that_is_ahead_and_events_that_come_late() -> None:
    right = steady("fw", MONDAY, MONDAY + 2 * HOUR, source="syslog")
    wrong = [
        seen(at, "fw", "syslog", time_ns=at + HOUR)
        for at in range(MONDAY + 2 * HOUR, MONDAY + 3 * HOUR, MINUTE_NS)
    ]
    held_up = [
        seen(at, "fw", "syslog", time_ns=at - 2 * HOUR)
        for at in range(MONDAY + 4 * HOUR, MONDAY + 5 * HOUR, MINUTE_NS)
    ]
    again = steady("fw", MONDAY + 3 * HOUR, MONDAY + 4 * HOUR, source="syslog")
    found = run(Watch(), [*right, *wrong, *again, *held_up])
    assert names(found) == ["ahead new", "ahead amended", "late new"]
    assert "stamped 60 min" in found[0].reason or "stamped 1 h" in found[0].reason


def test_one_forged_stamp_says_nothing() -> None:
    events = steady("fw", MONDAY, MONDAY + 3 * HOUR, source="syslog")
    forged = [
        seen(MONDAY + HOUR + n * 7 * SECOND_NS, "fw", "syslog", time_ns=0x7FFF << 48)
        for n in range(99)
    ]
    assert run(Watch(), [*events, *forged]) == []


def test_a_flood_and_a_trickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def hour(start: int, events: int) -> list[Sighting]:
        return [seen(start + n * HOUR // events) for n in range(events)]

    monkeypatch.setattr(volume, "_FLOOD_LEAST", 2000)
    monkeypatch.setattr(volume, "_FEWER_LEAST", 100)
    monkeypatch.setattr(volume, "FEWER_TIMES", 3)
    start = MONDAY + 24 * 9 * HOUR
    watch = Watch()
    assert run(watch, [s for n in range(24 * 9) for s in hour(MONDAY + n * HOUR, 120)]) == []
    flood = hour(start, 3_000)
    trickle = [s for n in range(1, 4) for s in hour(start + n * HOUR, 24)]
    normal = [s for n in range(4, 7) for s in hour(start + n * HOUR, 120)]
    found = run(watch, [*flood, *trickle, *normal])
    assert names(found) == ["flood new", "fewer new", "flood amended", "fewer amended"]
    assert "2,400 events within an hour; the most so far was 120" in found[0].reason
    assert "24 events in the hour" in found[1].reason


def test_made_up_senders_push_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT", (1, 4, 50, 50))
    watch = Watch()
    run(watch, steady("node-1", MONDAY, MONDAY + DAY))
    found = run(watch, [seen(MONDAY + DAY + n * SECOND_NS, f"made-up-{n}") for n in range(2000)])
    assert ("auditd", "node-1", "") in watch.senders.scopes
    assert len(watch.senders.scopes) < 60
    assert "silence new" in names(found)
    ripe = [
        seen(MONDAY + DAY + HOUR + n * MINUTE_NS, f"ripe-{m}") for n in range(9) for m in range(60)
    ]
    found += run(watch, ripe)
    assert names(found).count("crowd new") == 1


def test_machines_that_live_for_a_while_only_are_told_low() -> None:
    def life(number: int) -> list[Sighting]:
        start = MONDAY + number * 2 * HOUR
        return [seen(at, f"node-{number}") for at in range(start, start + 26 * HOUR, MINUTE_NS)]

    forever = [seen(at) for at in range(MONDAY, MONDAY + 12 * DAY, 5 * MINUTE_NS)]
    last = [seen(at, "node-9") for at in range(MONDAY + 9 * DAY, MONDAY + 11 * DAY, MINUTE_NS)]
    found = run(Watch(), [*forever, *life(2), *life(3), *life(4), *last])
    told = [f for f in found if f.status is Status.NEW]
    assert [(dict(f.group)["sender"], f.rule.level) for f in told] == [
        ("node-2", Level.MEDIUM),
        ("node-3", Level.MEDIUM),
        ("node-4", Level.MEDIUM),
        ("node-9", Level.LOW),
    ]
    assert "3 never came back before" in told[3].reason
    assert [f.change for f in found if f.status is Status.AMENDED] == ["it did not come back"] * 3


def test_repeats_do_not_seem_alive() -> None:
    events = steady("node-1", MONDAY, MONDAY + DAY)
    again = [seen(s.time_ns + DAY, time_ns=s.time_ns, repeat=True) for s in events]
    assert names(run(Watch(), [*events, *again]))[0] == "silence new"


Told = list[tuple[object, ...]]


def told(found: Sequence[Finding]) -> Told:
    return [
        (f.uid, f.status, f.revision, f.rule.level, f.time_ns, f.reason, f.change, f.values)
        for f in found
    ]


stories = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["", "x", "y"]),
        st.integers(-400, 400),
        st.integers(0, 40),
        st.sampled_from(list(Stage)),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=25, deadline=None)
@given(stories, st.sets(st.integers(0, 60), max_size=6))
def test_saving_and_batches_change_nothing(story: list[tuple], cuts: set[int]) -> None:
    """The law: the same sightings and times give the same findings, saved and loaded anywhere."""
    begun = steady("a", MONDAY, MONDAY + 2 * HOUR, kind="x") + steady(
        "b", MONDAY, MONDAY + 2 * HOUR
    )
    clock, sightings = MONDAY + 2 * HOUR, []
    for step, sender, kind, off, number, stage, repeat in story:
        clock += step * MINUTE_NS // 4
        sightings.append(
            seen(
                clock,
                sender,
                kind=kind,
                time_ns=clock + off * SECOND_NS,
                serial=number,
                request=str(number),
                stage=stage,
                repeat=repeat,
            )
        )
    whole = Watch()
    expected = told(run(whole, begun)) + [t for s in sightings for t in told(run(whole, [s]))]
    expected += told(run(whole, [], clock + 30 * MINUTE_NS))
    watch, rows = Watch(), dict[Key, bytes]()
    found = told(run(watch, begun))
    for number, one in enumerate(sightings):
        if number in cuts:
            watch = reloaded(watch, rows)
        found += told(run(watch, [one]))
    watch = reloaded(watch, rows)
    found += told(run(watch, [], clock + 30 * MINUTE_NS))
    assert found == expected
    assert all(f[1] is not Status.WITHDRAWN for f in found)


crowds = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 0, 0, 1, 30, 70]),
        st.sampled_from(["a", "a", "a", "b", "c", "d", ""]),
        st.sampled_from(["", "x", "x", "y", "z"]),
        st.integers(-2000, 2000),
        st.sampled_from([0, 0, 0, 0, 7]),
        st.sampled_from(list(Stage)),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(crowds, st.sampled_from([1, 3, 50]), st.booleans())
def test_many_at_once_are_seen_as_one_by_one(story: list[tuple], flood: int, full: bool) -> None:
    """The law: the same findings, and the same is known of everybody afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volume, "flood_at", lambda _volume, _minute: flood)
        if full:
            patch.setattr(limits, "KEPT", (1, 2, 3, 4))
            patch.setattr(limits, "PARTS_KEPT", (2, 2, 2))
        clock, sightings = MONDAY, []
        for number, (step, sender, kind, off, serial, stage, repeat) in enumerate(story):
            clock += step * SECOND_NS
            more = {"kind": kind, "serial": serial, "stage": stage, "repeat": repeat}
            time_ns = clock + off * SECOND_NS if off % 7 else 0
            request, origin = str(number % 9), Origin("p", number)
            sightings.append(
                seen(clock, sender, time_ns=time_ns, origin=origin, request=request, **more)
            )
        one, many = Watch(), Watch()
        expected = told([f for s in sightings for f in one.observe(s)])
        assert told(list(many.observe_all(sightings))) == expected
        assert many.senders.scopes == one.senders.scopes
        assert list(many.senders.scopes) == list(one.senders.scopes)
        assert many.senders.changed == one.senders.changed
        assert many.senders.turned_away == one.senders.turned_away


def reloaded(watch: Watch, rows: dict[Key, bytes]) -> Watch:
    """Write what has changed, and only that; read all of it again."""
    for key in watch.senders.gone:
        rows.pop(key, None)
    for key in watch.senders.changed:
        rows[key] = msgspec.msgpack.encode(watch.senders.scopes[key])
    watch.senders.changed.clear()
    watch.senders.gone.clear()
    assert rows.keys() == watch.senders.scopes.keys()
    decode = msgspec.msgpack.Decoder(Scope).decode
    return Watch(watch.minute, [(key, decode(row)) for key, row in rows.items()])


def test_the_hour_is_sixty_minutes() -> None:
    assert HOUR_MIN * MINUTE_NS == HOUR
