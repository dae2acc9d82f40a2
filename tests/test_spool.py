"""What feeds wait in until all are there: in the order of time, and their events with them."""

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from trailhound.engine.windows.chances import Chances
from trailhound.engine.windows.contract import Feed
from trailhound.model.events import Envelope, Event
from trailhound.model.records import Origin
from trailhound.pipeline import spool
from trailhound.pipeline.spool import Fed, Spool
from trailhound.rules.ir import Condition, Correlation


def _describe(document: Mapping[str, Any]) -> Envelope:
    return Envelope(time_ns=document["t"], request_uid=document.get("r", ""))


def _device(device: str, document: Mapping[str, Any]) -> Envelope:
    return Envelope(time_ns=document["t"], device=device)


def _event(
    number: int,
    describe: Callable[[Mapping[str, Any]], Envelope] = _describe,
    time_ns: int | None = None,
) -> Event:
    document = {
        "t": number,
        "big": 2**70,
        "lone": "\ud800",
        "r": f"r{number}",
        "l": [1, {"a": 1.5}],
    }
    origins = (Origin("a.log", number), Origin("a.log", number + 1, 2))
    views = {"one": (document,), "two": ({**document, "more": True}, document)}
    return Event("x", document, origins, views, describe, ("odd",), time_ns=time_ns)


def _told(event: Event) -> tuple[Any, ...]:
    shown = (event.source, event.document, event.origins, dict(event.views), event.notes)
    return (*shown, event.envelope, event.uid, event.request, event.time_ns)


@pytest.mark.parametrize("describe", [_describe, partial(_device, "web-01")], ids=["plain", "own"])
@pytest.mark.parametrize("send", [lambda event: event, lambda e: pickle.loads(pickle.dumps(e))])
def test_events_come_back_as_they_were(
    describe: Callable[[Mapping[str, Any]], Envelope], send: Callable[[Event], Event]
) -> None:
    event = _event(7, describe)
    with Spool(Chances({})) as held:
        held.add(Fed(send(_event(7, describe)), (Feed(7, event.uid, 0, 1, ("k",)),)))
        (feed,) = held.sorted()
        found = held.event(feed.at)
    assert _told(found) == _told(event)
    assert found.views["two"][1] is found.views["one"][0] is found.document


def test_a_written_document_comes_back_with_its_bytes() -> None:
    document = {"t": 3}
    event = Event("x", document, (Origin("a", 1),), {"one": (document,)}, _describe)
    event.written = b'{"t":3}'
    with Spool(Chances({})) as held:
        held.add(Fed(event, (Feed(3, event.uid, 0, 1, ()),)))
        (feed,) = held.sorted()
        found = held.event(feed.at)
    assert (found.written, found.document, found.views["one"]) == (
        b'{"t":3}',
        {"t": 3},
        ({"t": 3},),
    )


def test_feeds_come_by_time_wherever_they_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_RUN_BYTES", 2000)
    times = [(number * 37) % 101 for number in range(101)]
    with Spool(Chances({})) as held:
        for number in times:
            event = _event(number, time_ns=number)
            feeds = tuple(Feed(number, event.uid, 0, window, ("k" * 100,)) for window in (1, 2))
            held.add(Fed(event, feeds))
        found = list(held.sorted())
        assert [(feed.time_ns, feed.window) for feed in found] == [
            (number, window) for number in range(101) for window in (1, 2)
        ]
        assert all(held.event(feed.at).document["t"] == feed.time_ns for feed in found)


def test_describers_that_are_made_anew_for_each_event_are_not_kept() -> None:
    with Spool(Chances({})) as held:
        for number in range(200):
            event = _event(number, partial(_device, f"host-{number}"))
            held.add(Fed(event, (Feed(number, event.uid, 0, 1, ()),)))
        devices = [held.event(feed.at).envelope.device for feed in held.sorted()]
    assert devices == [f"host-{number}" for number in range(200)]


def _grown(origins: tuple[Origin, ...], number: int) -> Event:
    event = _event(number)
    event.origins = origins
    event.seed = _grown, (number,)
    return event


def _wordy(origins: tuple[Origin, ...], number: int, _text: str) -> Event:
    return _grown(origins, number)


@pytest.mark.parametrize("size", [10, 100_000])
def test_only_small_events_stay_at_hand(size: int) -> None:
    event = _grown((Origin("b.log", 1),), 1)
    event.seed = _wordy, (1, "x" * size)
    with Spool(Chances({})) as held:
        held.add(Fed(event, (Feed(1, event.uid, 0, 1, ()),)))
        (feed,) = held.sorted()
        assert (held.event(feed.at) is held.event(feed.at)) == (size == 10)


@pytest.mark.parametrize("run_bytes", [2000, 10**9])
def test_events_are_made_again_of_their_seeds(
    run_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_RUN_BYTES", run_bytes)
    with Spool(Chances({})) as held:
        for number in range(40):
            event = _grown((Origin("b.log", number + 5),), number)
            onward = (Feed(0, "", 1, 2, ("k",), (("v",),)),)
            held.add(Fed(event, (Feed(number, event.uid, 0, 1, ("k",), onward=onward),)))
            held.add(Fed(event, (Feed(number, event.uid, 1, 1, ("k",)),)))
        feeds = list(held.sorted())
        assert [(feed.time_ns, feed.rule) for feed in feeds] == [
            (number, rule) for number in range(40) for rule in (0, 1)
        ]
        assert all(feed.onward == (() if feed.rule else onward) for feed in feeds)
        assert all(isinstance(feed, Feed) for fed in feeds for feed in (fed, *fed.onward))
        for feed in reversed(feeds):
            found, event = held.event(feed.at), _event(feed.time_ns)
            event.origins = (Origin("b.log", feed.time_ns + 5),)
            assert _told(found) == _told(event)
            assert _told(pickle.loads(pickle.dumps(found))) == _told(event)
        assert held.last_ns == 39


def test_feeds_of_groups_that_cannot_say_anything_are_left_out() -> None:
    window = Correlation(
        kind="event_count", rules=("r",), timespan_ns=9, conditions=(Condition("gte", 3),)
    )
    outer = Correlation(kind="temporal", rules=("w", "q"), timespan_ns=9)
    with Spool(Chances({1: window, 2: outer}, silent=[1])) as held:
        for number in range(12):
            event = _event(number)
            key = ("often",) if number % 4 else ("seldom" if number else "alone",)
            onward = (Feed(0, "", 0, 2, key),)
            held.add(Fed(event, (Feed(number, event.uid, 0, 1, key, onward=onward),)))
        event = _event(50)
        held.add(Fed(event, (Feed(50, event.uid, 1, 2, ("often",)),)))
        # Nothing else has both what the outer window asks for and enough for the inner one.
        assert {feed.key for feed in held.sorted()} == {("often",)}
        assert held.last_ns == 50
