"""Windows of Panther against slow readings of what its documentation says."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trailhound.engine.windows.contract import Feed, Outcome
from trailhound.engine.windows.paged import Shelf
from trailhound.engine.windows.panther.deduplicated import DeduplicatedFold
from trailhound.engine.windows.panther.sequence import SequenceFold
from trailhound.engine.windows.panther.together import TogetherFold
from trailhound.rules.ir import Deduplicated, Sequence, Signal, Together

END = 1000
SHELF = Shelf()
Rows = list[tuple[int, int]]
rows = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=14).map(sorted)


def told(fold: object, found: Rows) -> list[Outcome]:
    state, outcomes = fold.fresh(), []
    for number, (time, rule) in enumerate(found):
        if fold.due(state) <= time:
            outcomes += fold.until(state, time, SHELF)
        feed = Feed(time, f"{number:04}", rule, 0, (), ((f"v{rule}",),), at=number)
        outcomes += fold.take(state, feed, SHELF)
    outcomes += fold.until(state, END, SHELF)
    outcomes += fold.finish(state)
    assert state == fold.fresh()
    return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]


@given(rows, st.integers(1, 4), st.booleans())
def test_alerts_are_periods_that_reach_the_threshold(found: Rows, least: int, unique: bool) -> None:
    window = Deduplicated(rules=("a", "b", "c"), period_ns=10, threshold=least, unique=unique)
    periods: list[Rows] = []
    for row in found:
        if not periods or row[0] >= periods[-1][0][0] + 10:
            periods.append([])
        periods[-1].append(row)
    expected = [
        (period[0][0], period[-1][0], len(period))
        for period in periods
        if (len({rule for _, rule in period}) if unique else len(period)) >= least
    ]
    outcomes = told(DeduplicatedFold(window, ("a", "b", "c")), found)
    assert [(o.start_ns, o.end_ns, o.count) for o in outcomes] == expected


def first_sequence(found: Rows, counts: tuple[int, int], within: int, span: int) -> int | None:
    """The first match at which a sequence of two signals ends, by trying all of them."""
    for end in range(len(found)):
        if found[end][1] != 1:
            continue
        firsts = [n for n in range(end + 1) if found[n][1] == 0]
        seconds = [n for n in range(end + 1) if found[n][1] == 1]
        for a, b in itertools.product(firsts, firsts):
            if a > b or len([n for n in firsts if a <= n <= b]) < counts[0]:
                continue
            if found[end][0] - found[a][0] > span:
                continue
            for c in seconds:
                enough = len([n for n in seconds if c <= n <= end]) >= counts[1]
                if enough and c > b and found[c][0] - found[b][0] <= within:
                    return end
    return None


@given(rows, st.integers(1, 3), st.integers(1, 3), st.integers(2, 20))
def test_the_first_sequence_is_found_where_there_is_one(
    found: Rows, first: int, second: int, within: int
) -> None:
    window = Sequence(
        rules=("a", "b", "c"),
        signals=(
            Signal(name="a", rules=(0,), at_least=first),
            Signal(name="b", rules=(1,), at_least=second, within_ns=within),
        ),
        timespan_ns=20,
    )
    expected = first_sequence(found, (first, second), within, 20)
    outcomes = told(SequenceFold(window, ("a", "b", "c")), found)
    assert bool(outcomes) == (expected is not None)
    if expected is not None:
        assert outcomes[0].end_ns == found[expected][0]
        assert outcomes[0].evidence[-1] == expected
        assert outcomes[0].count >= first + second


@given(rows, st.integers(1, 12))
def test_what_is_absent_at_the_end_is_waited_for(found: Rows, within: int) -> None:
    window = Sequence(
        rules=("a", "b", "c"),
        signals=(
            Signal(name="a", rules=(0,)),
            Signal(name="no", rules=(1,), at_most=0, within_ns=within),
        ),
        timespan_ns=12,
    )
    outcomes = told(SequenceFold(window, ("a", "b", "c")), found)
    starts = {outcome.start_ns for outcome in outcomes}
    for number, (time, rule) in enumerate(found):
        later = found[number + 1 :]
        barred = any(r == 1 and t - time <= within for t, r in later)
        if rule == 0 and barred and not any(t == time and r == 0 for t, r in later):
            # Only one that waited already may have taken it in.
            assert time not in starts
    lonely = [
        time
        for number, (time, rule) in enumerate(found)
        if rule == 0
        and not any(
            r != 2 and 0 <= abs(t - time) <= within for t, r in found[:number] + found[number + 1 :]
        )
    ]
    assert set(lonely) <= starts


@given(rows, st.integers(1, 3))
def test_a_group_is_found_when_all_of_it_lies_in_one_window(found: Rows, least: int) -> None:
    window = Together(
        rules=("a", "b", "c"),
        signals=(
            Signal(name="a", rules=(0,), at_least=least),
            Signal(name="b", rules=(1,)),
        ),
        timespan_ns=9,
    )
    expected = next(
        (
            time
            for number, (time, _) in enumerate(found)
            for seen in [[r for t, r in found[: number + 1] if t >= time - 9]]
            if seen.count(0) >= least and seen.count(1) >= 1
        ),
        None,
    )
    outcomes = told(TogetherFold(window, ("a", "b", "c")), found)
    assert (outcomes[0].end_ns if outcomes else None) == expected


@given(rows)
def test_a_group_is_none_where_what_must_be_absent_is_near(found: Rows) -> None:
    window = Together(
        rules=("a", "b", "c"),
        signals=(
            Signal(name="a", rules=(0,)),
            Signal(name="no", rules=(1,), at_most=0),
        ),
        timespan_ns=9,
    )
    outcomes = told(TogetherFold(window, ("a", "b", "c")), found)
    for outcome in outcomes:
        start = outcome.start_ns
        assert not any(rule == 1 and start - 9 <= time <= start + 9 for time, rule in found)
    alone = [
        t
        for t, rule in found
        if rule == 0 and not any(r == 1 and abs(other - t) <= 18 for other, r in found)
    ]
    assert bool(outcomes) or not alone


def test_reasons_say_what_was_asked() -> None:
    window = Sequence(
        rules=("a", "b"),
        signals=(
            Signal(name="Failed", rules=(0,), at_least=2),
            Signal(name="Push", rules=(1,), at_most=0, within_ns=900_000_000_000),
        ),
        timespan_ns=1_800_000_000_000,
    )
    (outcome,) = told_at(window, [(0, 0), (60, 0)])
    assert outcome.reason == "2 matches in 1 min: 2 × Failed → no Push in 15 min"


def told_at(window: Sequence, found: list[tuple[int, int]]) -> list[Outcome]:
    fold = SequenceFold(window, window.rules)
    state, outcomes = fold.fresh(), []
    for number, (seconds, rule) in enumerate(found):
        outcomes += fold.take(
            state, Feed(seconds * 10**9, f"{number:04}", rule, 0, (), at=number), SHELF
        )
    outcomes += fold.until(state, 10**15, SHELF)
    return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
