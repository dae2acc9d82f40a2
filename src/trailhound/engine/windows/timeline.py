"""The timeline of one group: its feeds in order, and what its fold says of them.

The verdict on a group is the fold of its feeds by time and uid, each once. Where feeds come in
that order (a scan sorts them), the state after the last one is all there is to keep. Where
they may come late, a timeline keeps in addition the feeds that are not yet final, the state
before them, and a few states between: a late one is put in its place, and only what follows
it is folded again.
"""

import bisect
from collections.abc import Iterable
from functools import lru_cache
from types import GenericAlias
from typing import Any, Generic

import msgspec
from msgspec import Struct, field

from trailhound.engine.windows.contract import AnyFold, Feed, Fired, Full, Outcome, State

REQUEST_SPAN_NS = 3600 * 1_000_000_000
"""Events of one request count once where they lie no further apart than this."""

FEEDS_RETAINED = 10_000
"""Feeds of one group that can still be joined by late ones; beyond, the oldest are final."""

_MARK_EVERY = 32
_MARKS_BEHIND = 4

Told = Outcome | Fired
Place = tuple[int, str, int]


class Mark(Struct, array_like=True):
    """The state after some of the feeds, to begin again from."""

    feeds: int
    """So many of the retained feeds are in it."""
    told: int
    """So much had been told by then."""
    saved: bytes


class Said(Struct, array_like=True):
    """A finding that went out."""

    outcome: Outcome
    revision: int = 0
    withdrawn: bool = False


class History(Struct, array_like=True):
    """What it takes to put a late feed in its place."""

    marks: list[Mark]
    """The first is the state before all retained feeds; it is final."""
    feeds: list[Feed] = field(default_factory=list)
    """Not yet final, in order."""
    folded: int = 0
    """So many of them are in the state; the others lie in the future."""
    asked_ns: int = 0
    """The event time for which `until` was last asked of the state."""
    floor: Place | None = None
    """The last feed that was made final before its time, since there were too many."""
    base: Place | None = None
    """The state of the first mark has come so far: nothing can be put before it any more."""
    told: list[Told] = field(default_factory=list)
    """What the fold said since the first mark."""
    said: dict[str, Said] = field(default_factory=dict)
    """Identity → a finding that went out and may still change."""
    open: tuple[str, ...] = ()
    """Those of them that were not over yet."""
    copies: dict[str, int] = field(default_factory=dict)
    """Feeds that several groups of an inner window sent → how many more than one."""


class Timeline(Struct, Generic[State], array_like=True):
    """The state of one group of one window."""

    state: State
    """What the fold keeps; a struct of the fold's own."""
    requests: dict[str, int] | None = None
    """Requests of the last hour → event time."""
    history: History | None = None
    """None where feeds come in order."""
    wake_ns: int = 0
    """Event time at which the group wants to be woken."""
    queued_ns: int = -1
    """Event time for which it is queued, for whoever holds the groups; -1: it is not."""
    full: int = 0
    """How often a bound made the group let go of something since this was last asked."""


AnyLine = Timeline[Any]


def begin(fold: AnyFold, *, late: bool) -> AnyLine:
    """Return the timeline of a group that has seen nothing; `late`: feeds may come late."""
    line = Timeline(fold.fresh())
    if late:
        line.history = History([Mark(0, 0, save(line.state, line.requests))])
    return line


def place(feed: Feed) -> Place:
    """Return what feeds of a group are ordered by, and told apart."""
    return feed.time_ns, feed.uid, feed.rule


def take(fold: AnyFold, line: AnyLine, feed: Feed) -> list[Told]:
    """Fold the next feed in; return what was told."""
    told: list[Told | Full] = []
    if fold.due(line.state) <= feed.time_ns:
        told.extend(fold.until(line.state, feed.time_ns))
    if not (feed.request and _repeats(line, feed)):
        told.extend(fold.take(line.state, feed))
    return _without_full(line, told)


def ask(fold: AnyFold, line: AnyLine, now_ns: int) -> list[Told]:
    """Ask the state what is over by an event time."""
    if fold.due(line.state) > now_ns:
        return []
    if line.history is not None:
        line.history.asked_ns = now_ns
    return _without_full(line, fold.until(line.state, now_ns))


def insert(fold: AnyFold, line: AnyLine, feed: Feed) -> list[Told] | None:
    """Put a feed in its place.

    Returns what had been told and is no longer, since the state was set back to before the
    feed; `advance` folds again. None for a feed that is there already.
    """
    history = _history(line)
    at = bisect.bisect_left(history.feeds, place(feed), key=place)
    if at < len(history.feeds) and place(history.feeds[at]) == place(feed):
        return None
    history.feeds.insert(at, feed)
    if at < history.folded or feed.time_ns < history.asked_ns:
        return _set_back(fold, line, at)
    return []


def remove(fold: AnyFold, line: AnyLine, feed: Feed) -> list[Told]:
    """Take a feed out again; return what is no longer told, as `insert` does."""
    history = _history(line)
    at = bisect.bisect_left(history.feeds, place(feed), key=place)
    if at == len(history.feeds) or place(history.feeds[at]) != place(feed):
        return []
    untold = _set_back(fold, line, at) if at < history.folded else []
    del history.feeds[at]
    return untold


def advance(fold: AnyFold, line: AnyLine, latest_ns: int, now_ns: int) -> list[Told]:
    """Fold what is not in the state yet; return what was told.

    Args:
        fold: how the group counts.
        line: its timeline.
        latest_ns: feeds after this event time have to wait.
        now_ns: the event time to which all sources have come: what is missing by then is
            missing.
    """
    history = _history(line)
    told: list[Told] = []
    while history.folded < len(history.feeds):
        feed = history.feeds[history.folded]
        if feed.time_ns > latest_ns:
            break
        taken = take(fold, line, feed)
        told.extend(taken)
        history.told.extend(_kept(taken))
        history.folded += 1
        if history.folded - history.marks[-1].feeds >= _MARK_EVERY:
            history.marks.append(
                Mark(history.folded, len(history.told), save(line.state, line.requests))
            )
            _thin(history.marks)
    missing = ask(fold, line, now_ns)
    history.told.extend(_kept(missing))
    return [*told, *missing]


def settle(fold: AnyFold, line: AnyLine, horizon_ns: int) -> None:
    """Let go of feeds before an event time, up to the last mark among them."""
    history = _history(line)
    final = bisect.bisect_left(history.feeds, horizon_ns, key=lambda feed: feed.time_ns)
    final = min(final, history.folded)
    if final == len(history.feeds):
        _settle_all(fold, line, horizon_ns)
    else:
        _begin_at(history, max((m for m in history.marks if m.feeds <= final), key=_feeds_in))
    if history.floor is not None and history.floor[0] < horizon_ns:
        history.floor = None
    for identity, said in list(history.said.items()):
        if said.withdrawn and said.outcome.end_ns < horizon_ns:
            del history.said[identity]


def hold_to_bound(line: AnyLine) -> None:
    """Make the oldest feeds final before their time, where there are too many."""
    history = _history(line)
    if len(history.feeds) <= FEEDS_RETAINED:
        return
    mark = next((m for m in history.marks if m.feeds >= FEEDS_RETAINED // 4), history.marks[-1])
    if mark.feeds:
        line.full += 1
        history.floor = place(history.feeds[mark.feeds - 1])
        _begin_at(history, mark)


def is_spent(fold: AnyFold, line: AnyLine) -> bool:
    """Tell whether the group is as if it had never been."""
    if line.requests or line.state != fold.fresh():
        return False
    history = line.history
    if history is None:
        return True
    if history.feeds or history.said or history.floor:
        return False
    return history.marks[0].saved == save(fold.fresh(), None)


def opened(fold: AnyFold, line: AnyLine) -> list[Outcome]:
    """Return what is open: what the fold would say if the input ended now."""
    state, _ = load(fold, save(line.state, line.requests))
    return [item for item in fold.finish(state) if isinstance(item, Outcome)]


def _history(line: AnyLine) -> History:
    assert line.history is not None  # noqa: S101 - only asked of timelines begun with `late`
    return line.history


def _repeats(line: AnyLine, feed: Feed) -> bool:
    """Tell whether the request has counted; of its stages, the earliest does."""
    known = line.requests
    if known is None:
        known = line.requests = {}
    forget_requests(line, feed.time_ns)
    name = f"{feed.rule}:{feed.request}"
    if name in known:
        return True
    known[name] = feed.time_ns
    return False


def forget_requests(line: AnyLine, now_ns: int) -> None:
    """Forget requests of which no further event counts as the same."""
    known = line.requests
    while known:
        oldest = next(iter(known))
        if known[oldest] >= now_ns - REQUEST_SPAN_NS:
            return
        del known[oldest]


def _without_full(line: AnyLine, told: Iterable[Told | Full]) -> list[Told]:
    kept: list[Told] = []
    for item in told:
        if isinstance(item, Full):
            line.full += 1
        else:
            kept.append(item)
    return kept


def _kept(told: list[Told]) -> list[Told]:
    # A condition that holds is of no use to anybody where no window stands over this one.
    return [item for item in told if isinstance(item, Outcome) or item.feed.onward]


def _set_back(fold: AnyFold, line: AnyLine, at: int) -> list[Told]:
    """Return to the last mark before a feed; return what had been told since."""
    history = _history(line)
    while history.marks[-1].feeds > at:
        del history.marks[-1]
    mark = history.marks[-1]
    line.state, line.requests = load(fold, mark.saved)
    untold = history.told[mark.told :]
    del history.told[mark.told :]
    history.folded = mark.feeds
    history.asked_ns = 0
    return untold


def _settle_all(fold: AnyFold, line: AnyLine, horizon_ns: int) -> None:
    history = _history(line)
    mark = history.marks[-1]
    state, requests = load(fold, mark.saved)
    base: AnyLine = Timeline(state, requests)
    told = mark.told
    for feed in history.feeds[mark.feeds :]:
        told += len(_kept(take(fold, base, feed)))
    told += len(_kept(ask(fold, base, horizon_ns)))
    forget_requests(base, horizon_ns)
    _begin_at(history, Mark(len(history.feeds), told, save(base.state, base.requests)))
    history.base = max(history.base or (0, "", -1), (horizon_ns, "", -1))


def _begin_at(history: History, mark: Mark) -> None:
    """Make a mark the first one; what came before it is final."""
    for item in history.told[: mark.told]:
        if isinstance(item, Outcome):
            history.said.pop(item.identity, None)
    del history.told[: mark.told]
    if mark.feeds:
        history.base = place(history.feeds[mark.feeds - 1])
    for feed in history.feeds[: mark.feeds]:
        history.copies.pop(copy_name(feed), None)
    del history.feeds[: mark.feeds]
    history.folded -= mark.feeds
    later = [m for m in history.marks if m.feeds > mark.feeds]
    history.marks = [
        Mark(m.feeds - mark.feeds, m.told - mark.told, m.saved) for m in (mark, *later)
    ]


def copy_name(feed: Feed) -> str:
    """Return the name of a feed in `History.copies`."""
    return f"{feed.time_ns}:{feed.rule}:{feed.uid}"


def _thin(marks: list[Mark]) -> None:
    # The further back, the fewer: a late feed mostly comes a little late.
    at = len(marks) - 1 - _MARKS_BEHIND
    while at > 0:
        gap = marks[at + 1].feeds - marks[at - 1].feeds
        if gap * 2 <= marks[-1].feeds - marks[at + 1].feeds:
            del marks[at]
        at -= 1


def _feeds_in(mark: Mark) -> int:
    return mark.feeds


def save(state: Any, requests: dict[str, int] | None) -> bytes:
    """Return a state and the requests it knows as bytes; `load` is its inverse."""
    return msgspec.msgpack.encode((state, requests))


def load(fold: AnyFold, saved: bytes) -> tuple[Any, dict[str, int] | None]:
    """Read what `save` wrote."""
    kind: type[Struct] = type(fold.fresh())
    state, requests = _decoder(kind).decode(saved)
    return state, requests


@lru_cache(maxsize=64)
def _decoder(kind: type[Struct]) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(GenericAlias(tuple, (kind, dict[str, int] | None)))
