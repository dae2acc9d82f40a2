"""Sigma correlations (Sigma Correlation Rules Specification 2.1.0).

Each group keeps the hits of the last `timespan`. After every hit the condition is asked of the
trailing window [t - timespan, t]. Windows that follow on each other and all fulfil the
condition are one *episode* and give one finding, so that a thousand failed logins are one line
and not a thousand.

A condition that fewer events fulfil (`lt: 5`, `eq: 0`) is asked again as events leave the
window: the moment it comes to hold is a finding of its own, a *silence*. A group that was never
heard of is not silent.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from trailhound.engine.windows.contract import NEVER, Feed, Fired, Outcome
from trailhound.engine.windows.extract import Extract
from trailhound.engine.windows.paged import Paged, Shelf
from trailhound.engine.windows.tally import Asked, Held, Hits, Tally, held_of
from trailhound.engine.windows.wording import condition_text, duration, moment
from trailhound.model.findings import EVENTS_KEPT
from trailhound.rules.ir import And, Condition, Correlation, Exists, Not, Or, Predicate


class Places(Paged[tuple[int, int]]):
    """Rule, and which of all hits of the group was one of its own."""


class Episode(Struct):
    """Windows that follow on each other and fulfil the condition."""

    extract: Extract
    rules: dict[int, int]
    """Rule → how many of the hits are its own, where that matters."""
    result: float = 0
    """The greatest number that the condition was asked of."""

    def add(self, held: Held) -> None:
        """Take in one event."""
        self.extract.add(held.time_ns, held.at)
        self.rules[held.rule] = self.rules.get(held.rule, 0) + 1


class Group(Struct):
    """The state of one group: the hits of the last timespan, and the episode that is open."""

    hits: Hits = field(default_factory=Hits)
    first_ns: int = 0
    """Time of the first of them."""
    last_ns: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    """Rule → how many of its hits are in the window, where that matters."""
    tally: Tally | None = None
    """Of their values, where they matter."""
    places: Places | None = None
    """Where the order of the hits of different rules matters."""
    left: int = 0
    """How many hits have left the window."""
    episode: Episode | None = None
    began: str = ""
    """Uid of the first event of the last episode."""
    turns: int = 0
    """Episodes so far that began with it."""
    silent: bool = False
    """Whether the silence that lasts has been told."""
    last: Feed | None = None
    """The newest hit, where silence matters."""


_ASKED: dict[str, Asked] = {
    "value_count": "distinct",
    "value_sum": "sum",
    "value_avg": "sum",
    "value_median": "rank",
    "value_percentile": "rank",
}


class CorrelationFold:
    """Counts the groups of one correlation."""

    def __init__(self, window: Correlation, titles: tuple[str, ...]) -> None:
        self._window = window
        self._span_ns = window.timespan_ns
        self._titles = titles
        self._all = len(set(window.rules))
        self._asked = _ASKED.get(window.kind, "")
        self._is_temporal = window.kind in ("temporal", "temporal_ordered")
        self._minds_order = window.kind == "temporal_ordered"
        self._minds_silence = window.kind in ("event_count", "value_count") and all(
            _holds(bound, 0) for bound in window.conditions
        )

    def fresh(self) -> Group:
        """Return the state of a group that has seen nothing."""
        return Group()

    def due(self, state: Group) -> int:
        """Return when the newest hit leaves the window; the oldest, where silence matters."""
        hits = state.hits
        if not hits.held and hits.book is None:  # asked twice for each feed
            return NEVER
        oldest = self._minds_silence and not state.silent
        return (state.first_ns if oldest else state.last_ns) + self._span_ns + 1

    def take(self, state: Group, feed: Feed, shelf: Shelf) -> Sequence[Outcome | Fired]:
        """Take a hit in; return the episode that it ended, if any."""
        held = held_of(feed, self._asked)
        self._expire(state, feed.time_ns, shelf)
        self._enter(state, held, shelf)
        result = self._result(state, shelf)
        episode = state.episode
        if self._minds_silence:
            state.last, state.silent = feed, result is not None
        if result is None:
            if episode is None:
                return ()
            state.episode = None
            return (self._outcome(episode),)
        if episode is None:
            episode = state.episode = self._begin(state, shelf)
        else:
            episode.add(held)
        episode.result = max(episode.result, result)
        return (Fired(feed),)

    def until(self, state: Group, now_ns: int, shelf: Shelf) -> Iterator[Outcome | Fired]:
        """Yield the episode that is over, since nothing came for a timespan; and silence."""
        while (due_ns := self.due(state)) <= now_ns:
            self._expire(state, due_ns, shelf)
            if self._minds_silence and not state.silent and self._result(state, shelf) is not None:
                state.silent = True
                yield from self._silence(state, due_ns)
            if not state.hits:
                if state.episode is not None:
                    yield self._outcome(state.episode)
                state.tally = state.places = None
                state.counts = {}
                state.episode = state.last = None
                state.first_ns = state.last_ns = state.left = 0
                state.began, state.turns, state.silent = "", 0, False

    def finish(self, state: Group) -> Iterator[Outcome]:
        """Yield the episode that is open."""
        if state.episode is not None:
            yield self._outcome(state.episode)
            state.episode = None

    def _begin(self, state: Group, shelf: Shelf) -> Episode:
        """Begin an episode with the hits that are in the window."""
        hits = state.hits
        first = hits.at(0, shelf)
        state.turns = state.turns + 1 if state.began == first.uid else 1
        state.began = first.uid
        identity = first.uid if state.turns == 1 else f"{first.uid}#{state.turns}"
        extract = Extract(first.time_ns, identity)
        ends = min(len(hits), EVENTS_KEPT)
        for held in hits.between(0, ends // 2, shelf):
            extract.add(held.time_ns, held.at)
        for held in hits.between(len(hits) - ends + ends // 2, len(hits), shelf):
            extract.add(held.time_ns, held.at)
        extract.count = len(hits)
        return Episode(extract, dict(state.counts))

    def _expire(self, state: Group, now_ns: int, shelf: Shelf) -> None:
        hits, since_ns = state.hits, now_ns - self._span_ns
        while state.first_ns < since_ns and hits:
            self._leave(state, hits.pop(shelf), shelf)
            if hits:
                state.first_ns = hits.at(0, shelf).time_ns

    def _enter(self, state: Group, held: Held, shelf: Shelf) -> None:
        hits = state.hits
        if not hits:
            state.first_ns = held.time_ns
        state.last_ns = held.time_ns
        hits.add(held, shelf)
        if self._is_temporal:
            state.counts[held.rule] = state.counts.get(held.rule, 0) + 1
        if not (self._minds_order or self._asked):
            return
        turn = state.left + len(state.hits)
        if self._minds_order:
            places = state.places = state.places or Places()
            places.add((held.rule, turn), shelf)
        if self._asked:
            tally = state.tally = state.tally or Tally()
            tally.enter(self._asked, held, turn, shelf)

    def _leave(self, state: Group, held: Held, shelf: Shelf) -> None:
        state.left += 1
        if self._is_temporal:
            state.counts[held.rule] -= 1
            if not state.counts[held.rule]:
                del state.counts[held.rule]
        if state.places is not None:
            state.places.discard((held.rule, state.left), shelf)
        if state.tally is not None:
            state.tally.leave(self._asked, held, state.left, shelf)

    def _result(self, state: Group, shelf: Shelf) -> float | None:
        """Return the number the condition was asked of, or None where it does not hold."""
        window = self._window
        kind = window.kind
        tally = state.tally
        if self._is_temporal:
            return self._temporal(state, shelf)
        if kind == "event_count":
            number: float = len(state.hits)
        elif kind == "value_count":
            number = len(tally.distinct or ()) if tally is not None else 0
        elif tally is None or not tally.values:
            return None
        elif kind == "value_sum":
            number = tally.sum()
        elif kind == "value_avg":
            number = tally.sum() / tally.values
        else:
            percentile = 50 if kind == "value_median" else window.percentile or 0
            number = tally.number_at(percentile, shelf)
        for bound in window.conditions:
            if not _holds(bound, number):
                return None
        return number

    def _temporal(self, state: Group, shelf: Shelf) -> float | None:
        window = self._window
        present = state.counts.keys()
        if window.expression is not None:
            if not _expression(window.expression, {window.rules[rule] for rule in present}):
                return None
        elif window.conditions:
            if not all(_holds(bound, len(present)) for bound in window.conditions):
                return None
        elif len(present) < self._all:
            return None
        if self._minds_order and not self._in_order(state, shelf):
            return None
        return len(present)

    def _in_order(self, state: Group, shelf: Shelf) -> bool:
        # The earliest possible place for each rule in turn is always right.
        places, at = state.places or Places(), 0
        for rule in (self._window.rules.index(uid) for uid in self._window.rules):
            if rule in state.counts:
                following = places.find((rule, at + 1), shelf)
                if following is None or following[0] != rule:
                    return False
                at = following[1]
        return True

    def _silence(self, state: Group, now_ns: int) -> Iterator[Outcome | Fired]:
        last = state.last
        assert last is not None  # noqa: S101 - kept where silence matters
        count = len(state.hits)
        asked = f"rule: {condition_text(self._window.conditions)}"
        span = duration(self._window.timespan_ns)
        yield Outcome(
            identity=f"{last.uid}#silence",
            start_ns=last.time_ns,
            end_ns=now_ns,
            evidence=(last.at,),
            count=count,
            reason=f"only {count:,} events within {span}, the last one at "
            f"{moment(last.time_ns)} ({asked} within {span})",
        )
        yield Fired(last._replace(time_ns=now_ns))

    def _outcome(self, episode: Episode) -> Outcome:
        return episode.extract.outcome(self._reason(episode, episode.extract))

    def _reason(self, episode: Episode, extract: Extract) -> str:
        window = self._window
        span = duration(extract.end_ns - extract.start_ns)
        if self._is_temporal:
            seen = ", ".join(f"{self._titles[r]} ({n})" for r, n in sorted(episode.rules.items()))
            how = "in this order" if window.kind == "temporal_ordered" else "together"
            return f"{how} within {span}: {seen}"
        name = window.field.name if window.field is not None else ""
        what = {
            "event_count": "events",
            "value_count": f"different values of {name}",
            "value_sum": f"sum of {name}",
            "value_avg": f"average of {name}",
            "value_median": f"median of {name}",
            "value_percentile": f"percentile {window.percentile} of {name}",
        }[window.kind]
        asked = f"rule: {condition_text(window.conditions)} within {duration(window.timespan_ns)}"
        if window.kind == "event_count":
            return f"{extract.count:,} events in {span} ({asked})"
        return f"{episode.result:,.6g} {what}, {extract.count:,} events in {span} ({asked})"


def _expression(node: Predicate, present: set[str]) -> bool:
    match node:
        case Exists():
            return node.field.name in present
        case And():
            return all(_expression(item, present) for item in node.items)
        case Or():
            return any(_expression(item, present) for item in node.items)
        case Not():
            return not _expression(node.item, present)
        case _:
            raise TypeError(f"{type(node).__name__} in the condition of a window")


def _holds(bound: Condition, number: float) -> bool:
    match bound.op:
        case "lt":
            return number < bound.value
        case "lte":
            return number <= bound.value
        case "gt":
            return number > bound.value
        case "gte":
            return number >= bound.value
        case "eq":
            return number == bound.value
        case "neq":
            return number != bound.value
