"""Laws that hold for every kind of window; a new kind adds a window to `WINDOWS`."""

import itertools
import math
import random
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.engine.windows import paged
from trailhound.engine.windows.chances import Chances, least_feeds
from trailhound.engine.windows.contract import NEVER, AnyFold, Feed, Fired, Outcome
from trailhound.engine.windows.folds import FOLDS
from trailhound.engine.windows.paged import Paged, Shelf
from trailhound.rules.ir import (
    Aggregate,
    Cardinality,
    Change,
    Condition,
    Correlation,
    Deduplicated,
    Field,
    Flatline,
    Frequency,
    Gathered,
    Matches,
    Metric,
    NewTerm,
    Realert,
    Sequence,
    Signal,
    Spike,
    Together,
    Window,
)

VALUES = ("1", "2", "3", "4", "x", "-0.1", "1e200", "1e999", "nan", "9" * 400)
RULES = ("rule-0", "rule-1", "rule-2")
VALUE = Field("v", (("v",),))


def correlation(kind: str, *bounds: tuple[str, float], value: bool = False) -> Correlation:
    return Correlation(
        kind=kind,  # type: ignore[arg-type]
        rules=RULES,
        timespan_ns=10,
        conditions=tuple(Condition(op, number) for op, number in bounds),  # type: ignore[arg-type]
        field=VALUE if value else None,
        percentile=90 if kind == "value_percentile" else None,
    )


WINDOWS: list[Window] = [
    correlation("event_count", ("gte", 3)),
    correlation("event_count", ("gt", 1), ("lte", 2)),
    correlation("event_count", ("lt", 2)),
    correlation("event_count", ("lte", 0)),
    correlation("event_count", ("neq", 2)),
    correlation("value_count", ("eq", 0), value=True),
    correlation("value_count", ("gte", 2), value=True),
    correlation("value_sum", ("gt", 5), value=True),
    correlation("value_avg", ("gt", 2), value=True),
    correlation("value_median", ("gte", 2), value=True),
    correlation("value_percentile", ("gte", 3), value=True),
    correlation("temporal"),
    correlation("temporal", ("gte", 2)),
    correlation("temporal_ordered"),
    Matches(rules=RULES),
    Matches(rules=RULES, realert=Realert(10)),
    Matches(rules=RULES, realert=Realert(4, 20)),
    Gathered(rules=RULES, within_ns=10),
    Frequency(rules=RULES, count=3, timespan_ns=10),
    Frequency(rules=RULES, count=2, timespan_ns=10, realert=Realert(15)),
    *(
        Flatline(rules=RULES, threshold=number, timespan_ns=7, every_ns=3, forget=forget)
        for number in (1, 3)
        for forget in (False, True)
    ),
    *(
        Spike(rules=RULES, timespan_ns=span_ns, every_ns=3, height=2, direction="both", **more)
        for span_ns in (6, 7)
        for more in (
            {},
            {"group_by": (VALUE,)},
            {"least_before": 1, "least_now": 1, "realert": Realert(9)},
            {"field": VALUE},
            {"metric": Metric(kind="avg", field=VALUE, span_ns=5)},
        )
    ),
    Change(rules=RULES, fields=(VALUE,)),
    Change(rules=RULES, fields=(VALUE,), timespan_ns=5, ignore_absent=True, realert=Realert(9)),
    NewTerm(rules=RULES, terms=((VALUE,),), baseline_ns=10),
    NewTerm(rules=RULES, terms=((VALUE,),), baseline_ns=0, absent=True, realert=Realert(9)),
    Cardinality(rules=RULES, field=VALUE, timespan_ns=9, at_most=2, realert=Realert(9)),
    Cardinality(rules=RULES, field=VALUE, timespan_ns=9, at_least=2, every_ns=4),
    *(
        Aggregate(
            rules=RULES,
            metric=Metric(kind=kind, field=VALUE, span_ns=8, aligned=aligned),  # type: ignore[arg-type]
            at_least=2,
            at_most=3,
            every_ns=3,
            realert=Realert(5),
        )
        for kind in ("min", "max", "avg", "sum", "cardinality", "value_count", "percentiles")
        for aligned in (False, True)
    ),
    Aggregate(rules=RULES, metric=Metric(kind="percentage", span_ns=8), at_most=50, every_ns=3),
    Deduplicated(rules=RULES, period_ns=10),
    Deduplicated(rules=RULES, period_ns=10, threshold=3),
    Deduplicated(rules=RULES, period_ns=10, threshold=2, unique=True),
    *(
        kind(rules=RULES, signals=signals, timespan_ns=12)
        for kind in (Sequence, Together)
        for signals in (
            (Signal(name="a", rules=(0,)), Signal(name="b", rules=(1,))),
            (Signal(name="a", rules=(0,), at_least=2), Signal(name="b", rules=(1, 2), within_ns=4)),
            (Signal(name="a", rules=(0,)), Signal(name="no", rules=(1,), at_most=0, within_ns=5)),
            (Signal(name="no", rules=(1,), at_most=0), Signal(name="a", rules=(0,))),
            (
                Signal(name="a", rules=(0,)),
                Signal(name="no", rules=(1,), at_most=0),
                Signal(name="b", rules=(2,), at_least=2),
            ),
        )
    ),
    Together(
        rules=RULES,
        signals=(
            Signal(name="a", rules=(0,), at_most=2),
            Signal(name="b", rules=(1,)),
        ),
        timespan_ns=12,
    ),
]


every_window = pytest.mark.parametrize(
    "window", WINDOWS, ids=lambda w: getattr(w, "kind", type(w).__name__)
)


@st.composite
def streams(draw: st.DrawFn) -> list[Feed]:
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 60), st.integers(0, 2), st.sampled_from(VALUES)), max_size=25
        )
    )
    feeds = [
        Feed(time, f"{n:032x}", rule, 0, (), ((value,),), at=n)
        for n, (time, rule, value) in enumerate(rows)
    ]
    return sorted(feeds, key=lambda feed: feed[:2])


def fold_of(window: Window) -> AnyFold:
    return FOLDS[type(window)](window, tuple(f"title {uid}" for uid in window.rules))


def folded(
    fold: AnyFold,
    feeds: Iterable[Feed],
    end_ns: int,
    between: Callable[[msgspec.Struct], msgspec.Struct] = lambda state: state,
    ask: Iterable[int] = (),
) -> tuple[list[Outcome], list[Fired], msgspec.Struct]:
    """Fold as the engine does; `ask` are times at which `until` is asked besides."""
    state, shelf, told = fold.fresh(), Shelf(), []
    moments = sorted([*((f.time_ns, 1, f) for f in feeds), *((t, 0, None) for t in ask)], key=str)
    moments.sort(key=lambda moment: moment[:2])
    for time_ns, _, feed in moments:
        if fold.due(state) <= time_ns or feed is None:
            told += fold.until(state, time_ns, shelf)
            assert fold.due(state) > time_ns
        if feed is not None:
            told += fold.take(state, feed, shelf)
        state = between(state)
    if fold.due(state) <= end_ns:
        told += fold.until(state, end_ns, shelf)
    told += fold.finish(state)
    outcomes = [item for item in told if isinstance(item, Outcome)]
    return outcomes, [item for item in told if isinstance(item, Fired)], state


def test_every_kind_of_window_has_a_fold_and_stands_here() -> None:
    kinds = set(typing.get_args(Window)) or {Window}
    assert set(FOLDS) == kinds
    assert {type(window) for window in WINDOWS} == kinds


@every_window
@settings(max_examples=40)
@given(feeds=streams(), asked=st.lists(st.integers(0, 80), max_size=5))
def test_a_state_can_be_saved_at_any_moment_and_asked_at_any_time(
    window: Window, feeds: list[Feed], asked: list[int]
) -> None:
    fold = fold_of(window)
    kind = type(fold.fresh())

    def saved(state: msgspec.Struct) -> msgspec.Struct:
        copy = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind)
        assert copy == state
        return copy

    whole = folded(fold, feeds, 60)
    assert folded(fold, feeds, 60, saved)[:2] == whole[:2]
    asked = [time_ns for time_ns in asked if time_ns <= 60]
    assert folded(fold, feeds, 60, ask=asked)[:2] == whole[:2]


@contextmanager
def little_memory() -> Iterator[None]:
    """Let lists of more than a few entries go to the shelf."""
    with pytest.MonkeyPatch.context() as patch:
        for name, number in (("HELD_ENTRIES", 4), ("PAGE_ENTRIES", 3), ("PAGES_HELD", 2)):
            patch.setattr(paged, name, number)
        yield


@every_window
@settings(max_examples=40)
@given(feeds=streams())
def test_what_goes_to_the_shelf_changes_nothing(window: Window, feeds: list[Feed]) -> None:
    fold = fold_of(window)
    whole = folded(fold, feeds, 60)
    with little_memory():
        assert folded(fold, feeds, 60)[:2] == whole[:2]


@every_window
def test_a_burst_does_not_make_a_state_grow(window: Window) -> None:
    def size_after(count: int) -> int:
        fold, shelf = fold_of(window), Shelf()
        state = fold.fresh()
        for n in range(count):
            values = ((str(n),),) * len(window.value_fields)
            list(fold.take(state, Feed(2, f"{n:032x}", n % 3, 0, (), values, at=n % 9), shelf))
        for part in paged_of(state):
            pages = part.book.pages if part.book is not None else []
            assert len(part.held) <= 4
            assert sum(page.entries is not None for page in pages) <= 2
            part.held, part.book = [], None
        return len(msgspec.msgpack.encode(state))

    with little_memory():
        assert size_after(3000) <= size_after(150) + 200  # numbers have more digits


def paged_of(value: object) -> Iterator[Paged[Any]]:
    if isinstance(value, Paged):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from paged_of(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from paged_of(item)


@every_window
@settings(max_examples=40)
@given(feeds=streams(), seed=st.integers(0, 9))
def test_outcomes_are_told_apart_and_carry_their_evidence(
    window: Window, feeds: list[Feed], seed: int
) -> None:
    places = {feed.at: feed for feed in feeds}
    outcomes, fired, _ = folded(fold_of(window), feeds, 60)
    assert len({outcome.identity for outcome in outcomes}) == len(outcomes)
    for outcome in outcomes:
        assert outcome.start_ns <= outcome.end_ns
        assert outcome.reason
        assert outcome.evidence or isinstance(window, Correlation)
        times = [places[at].time_ns for at in outcome.evidence]
        assert times == sorted(times)
    for before, after in itertools.pairwise(fired):
        assert before.feed.time_ns <= after.feed.time_ns
    random.Random(seed).shuffle(feeds)
    again = folded(fold_of(window), sorted(feeds, key=lambda feed: feed[:2]), 60)
    assert again[:2] == (outcomes, fired)


@every_window
@settings(max_examples=60)
@given(feeds=streams())
def test_a_group_without_a_chance_says_nothing(window: Window, feeds: list[Feed]) -> None:
    chances = Chances({0: window})
    chances.add(feeds)
    assert len({chances.possible(feed) for feed in feeds}) <= 1
    if feeds and not chances.possible(feeds[0]):
        assert folded(fold_of(window), feeds, 60)[:2] == ([], [])


@pytest.mark.parametrize(
    ("window", "least"),
    [
        (correlation("event_count", ("gt", 2.5), ("lt", 9)), 3),
        (correlation("event_count", ("eq", 0)), 1),
        (correlation("event_count", ("gte", math.inf)), 1),
        (correlation("temporal"), 3),
        (correlation("value_sum", ("gt", 5), value=True), 1),
        (Frequency(rules=RULES, count=50, timespan_ns=10), 50),
        (Flatline(rules=RULES, threshold=3, timespan_ns=7), 1),
        (Deduplicated(rules=RULES, period_ns=10, threshold=3), 3),
    ],
)
def test_how_many_feeds_a_group_needs(window: Window, least: int) -> None:
    assert least_feeds(window) == least


@every_window
def test_a_fresh_state_waits_for_nothing(window: Window) -> None:
    fold = fold_of(window)
    assert fold.fresh() == fold.fresh()
    assert fold.due(fold.fresh()) == NEVER
    assert list(fold.finish(fold.fresh())) == []
