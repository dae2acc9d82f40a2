"""The timeline of one group: its feeds in order, and what its fold says of them.

The verdict on a group is the fold of its feeds by time and uid, each once. Where feeds come in
that order (a scan sorts them), the state after the last one is all there is to keep. Where
they may come late, a timeline keeps in addition the feeds that are not yet final, the state
before them, and a few states between: a late one is put in its place, and only what follows
it is folded again.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from types import GenericAlias
from typing import Any, Generic

import msgspec
from msgspec import Struct, field

from trailhound.engine.windows.contract import AnyFold, Feed, Fired, Outcome, State
from trailhound.engine.windows.paged import Paged, Shelf

REQUEST_SPAN_NS = 3600 * 1_000_000_000
"""Events of one request count once where they lie no further apart than this."""

REQUESTS_HELD = 4096
"""Requests of one group that are known in memory; the older ones are in pages."""

FEEDS_RETAINED = 100_000
"""Feeds of one group that can still be joined by late ones; beyond, the oldest are final. A late
one has all behind it folded again, so this bounds what one event can ask for."""

TOLD_RETAINED = 10_000
"""The same of what the fold of a group said: each may still have to be withdrawn."""

_FEW_VALUES = 16
_TEXT_BYTES = 60
_MARK_EVERY = 32
_MARKS_BEHIND = 4
_BYTES_A_FEED = 64
"""A state is written down once for so many of its bytes, so that this costs each feed the same."""
_INLINE_BYTES = 4096
"""A state of more is put on the shelf."""

Told = Outcome | Fired
Place = tuple[int, str, int]


class Feeds(Paged[Feed]):
    """Feeds in order."""

    @classmethod
    def weight(cls, entry: Feed) -> int:
        """See `Paged`: an event may have many values, and a rule may say much of it."""
        said = entry.said
        size = 0
        if said is not None:
            size = len(said.message) + sum(len(text) for _, text in said.values)
        if sum(map(len, entry.values)) > _FEW_VALUES:
            size += sum(len(text) + _TEXT_BYTES for found in entry.values for text in found)
        return size


class RequestNames(Paged[tuple[str, int]]):
    """Requests, and when."""


class RequestTimes(Paged[tuple[int, str]]):
    """When, and which request."""


class Requests(Struct, array_like=True):
    """Which requests have counted in the last hour."""

    recent: dict[str, int]
    """Request → event time; in the order of time."""
    last_ns: int
    """Event time of the last of them."""
    names: RequestNames | None = None
    """Those before, where there are many; and some that are older than need be known."""
    times: RequestTimes | None = None
    before_ns: int = 0
    """Event time of the last of those."""


class Mark(Struct, array_like=True):
    """The state after some of the feeds, to begin again from."""

    feeds: int
    """So many of the retained feeds are in it."""
    told: int
    """So much had been told by then."""
    saved: bytes
    """The state; empty where it is on the shelf."""
    page: int = 0
    """The page that holds it."""
    size: int = 0
    """How many bytes it is."""


class Said(Struct, array_like=True):
    """A finding that went out."""

    outcome: Outcome
    revision: int = 0
    withdrawn: bool = False


class History(Struct, array_like=True):
    """What it takes to put a late feed in its place."""

    marks: list[Mark]
    """The first is the state before all retained feeds; it is final."""
    feeds: Feeds = field(default_factory=Feeds)
    """Not yet final."""
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
    requests: Requests | None = None
    """None: there are none."""
    history: History | None = None
    """None where feeds come in order."""
    wake_ns: int = 0
    """Event time at which the group wants to be woken."""
    queued_ns: int = -1
    """Event time for which it is queued, for whoever holds the groups; -1: it is not."""
    full: int = 0
    """How often a bound made feeds final early since this was last asked."""
    pages: list[int] | None = None
    """Its pages on the shelf, and some that nothing refers to any more."""
    alive: int = 0
    """How many of them were referred to when that was last found out."""


AnyLine = Timeline[Any]


def begin(fold: AnyFold, *, late: bool) -> AnyLine:
    """Return the timeline of a group that has seen nothing; `late`: feeds may come late."""
    line = Timeline(fold.fresh())
    if late:
        line.history = History([Mark(0, 0, save(line.state, line.requests))])
    return line


def place(feed: Feed) -> Place:
    """Return what feeds of a group are ordered by, and told apart."""
    return feed[:3]


def take(fold: AnyFold, line: AnyLine, feed: Feed, shelf: Shelf) -> list[Told]:
    """Fold the next feed in; return what was told."""
    state = line.state
    told: list[Told] = []
    if fold.due(state) <= feed.time_ns:
        told.extend(fold.until(state, feed.time_ns, shelf))
    if not (feed.request and _repeats(line, feed, shelf)):
        told.extend(fold.take(state, feed, shelf))
    return told


def ask(fold: AnyFold, line: AnyLine, now_ns: int, shelf: Shelf) -> list[Told]:
    """Ask the state what is over by an event time."""
    if fold.due(line.state) > now_ns:
        return []
    if line.history is not None:
        line.history.asked_ns = now_ns
    return list(fold.until(line.state, now_ns, shelf))


def insert(fold: AnyFold, line: AnyLine, feed: Feed, shelf: Shelf) -> list[Told] | None:
    """Put a feed in its place.

    Returns what had been told and is no longer, since the state was set back to before the
    feed; `advance` folds again. None for a feed that is there already.
    """
    history = _history(line)
    if history.feeds.get(place(feed), shelf) is not None:
        return None
    at = history.feeds.rank(place(feed), shelf)
    history.feeds.add(feed, shelf)
    if at < history.folded or feed.time_ns < history.asked_ns:
        return _set_back(fold, line, at, shelf)
    return []


def remove(fold: AnyFold, line: AnyLine, feed: Feed, shelf: Shelf) -> list[Told]:
    """Take a feed out again; return what is no longer told, as `insert` does."""
    history = _history(line)
    if history.feeds.get(place(feed), shelf) is None:
        return []
    at = history.feeds.rank(place(feed), shelf)
    untold = _set_back(fold, line, at, shelf) if at < history.folded else []
    history.feeds.discard(place(feed), shelf)
    return untold


def advance(fold: AnyFold, line: AnyLine, latest_ns: int, now_ns: int, shelf: Shelf) -> list[Told]:
    """Fold what is not in the state yet; return what was told.

    Args:
        fold: how the group counts.
        line: its timeline.
        latest_ns: feeds after this event time have to wait.
        now_ns: the event time to which all sources have come: what is missing by then is
            missing.
        shelf: where its pages are.
    """
    history = _history(line)
    told: list[Told] = []
    while history.folded < len(history.feeds):
        feed = history.feeds.at(history.folded, shelf)
        if feed.time_ns > latest_ns:
            break
        taken = take(fold, line, feed, shelf)
        told.extend(taken)
        history.told.extend(_kept(taken))
        history.folded += 1
        last = history.marks[-1]
        if history.folded - last.feeds >= max(_MARK_EVERY, last.size // _BYTES_A_FEED):
            saved = save(line.state, line.requests)
            history.marks.append(_mark(history.folded, len(history.told), saved, shelf))
            _thin(history.marks)
    missing = ask(fold, line, now_ns, shelf)
    history.told.extend(_kept(missing))
    return [*told, *missing]


def settle(fold: AnyFold, line: AnyLine, horizon_ns: int, shelf: Shelf) -> None:
    """Let go of feeds before an event time, up to the last mark among them."""
    history = _history(line)
    final = min(history.feeds.rank((horizon_ns,), shelf), history.folded)
    if final == len(history.feeds):
        _settle_all(fold, line, horizon_ns, shelf)
    else:
        mark = max((m for m in history.marks if m.feeds <= final), key=_feeds_in)
        _begin_at(history, mark, shelf)
    if history.floor is not None and history.floor[0] < horizon_ns:
        history.floor = None
    for identity, said in list(history.said.items()):
        if said.withdrawn and said.outcome.end_ns < horizon_ns:
            del history.said[identity]


def hold_to_bound(line: AnyLine, shelf: Shelf) -> None:
    """Make the oldest feeds final before their time, where there are too many."""
    history = _history(line)
    if len(history.feeds) > FEEDS_RETAINED:
        at_least = FEEDS_RETAINED // 4
        mark = next((m for m in history.marks if m.feeds >= at_least), history.marks[-1])
    elif len(history.told) > TOLD_RETAINED:
        at_least = TOLD_RETAINED // 4
        mark = next((m for m in history.marks if m.told >= at_least), history.marks[-1])
    else:
        return
    if mark.feeds:
        line.full += 1
        history.floor = place(history.feeds.at(mark.feeds - 1, shelf))
        _begin_at(history, mark, shelf)


def is_spent(fold: AnyFold, line: AnyLine) -> bool:
    """Tell whether the group is as if it had never been."""
    if line.requests is not None or line.state != fold.fresh():
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


def tidy(fold: AnyFold, line: AnyLine, shelf: Shelf) -> int:
    """Note the pages that a timeline has made, all that were made since; return how many.

    Those that nothing refers to are forgotten, now and then: each page costs the same.
    """
    made = len(shelf.made)
    if not made:
        return 0
    line.pages = line.pages or []
    line.pages += shelf.made
    shelf.made.clear()
    if len(line.pages) > 2 * line.alive + 64:
        alive = set(_pages_of(line.state)) | set(_pages_of(line.requests))
        history = line.history
        if history is not None:
            alive.update(_pages_of(history.feeds))
            for mark in history.marks:
                alive.update((mark.page, *_pages_of(load(fold, _saved(mark, shelf)))))
        shelf.free(page for page in line.pages if page not in alive)
        line.pages = [page for page in line.pages if page in alive]
        line.alive = len(line.pages)
    return made


def change_marks(fold: AnyFold, line: AnyLine, change: Callable[[Any], Any], shelf: Shelf) -> None:
    """Change the states that a late feed begins again from."""
    history = _history(line)
    for number, mark in enumerate(history.marks):
        state, requests = load(fold, _saved(mark, shelf))
        changed = save(change(state), requests)
        history.marks[number] = _mark(mark.feeds, mark.told, changed, shelf)


def release(line: AnyLine, shelf: Shelf) -> None:
    """Forget all pages of a timeline that will not be used any more."""
    if line.pages:
        shelf.free(line.pages)
        line.pages = None


def _pages_of(value: Any) -> Iterator[int]:
    """Yield the pages that a state refers to; see `Fold` for where they may stand in it."""
    if isinstance(value, Paged):
        yield from value.shelved()
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _pages_of(getattr(value, name))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Struct):
        for item in value:
            yield from _pages_of(item)


def _history(line: AnyLine) -> History:
    assert line.history is not None  # noqa: S101 - only asked of timelines begun with `late`
    return line.history


def _repeats(line: AnyLine, feed: Feed, shelf: Shelf) -> bool:
    """Tell whether the request has counted; of its stages, the earliest does."""
    forget_requests(line, feed.time_ns)
    known = line.requests
    if known is None:
        known = line.requests = Requests({}, feed.time_ns)
    name = f"{feed.rule}:{feed.request}"
    if name in known.recent:
        return True
    if known.names is not None:
        before = known.names.get((name,), shelf)
        if before is not None and before[1] >= feed.time_ns - REQUEST_SPAN_NS:
            return True
    known.recent[name] = known.last_ns = feed.time_ns
    if len(known.recent) > REQUESTS_HELD:
        _put_by(known, feed.time_ns, shelf)
    return False


def _put_by(known: Requests, now_ns: int, shelf: Shelf) -> None:
    """Put the older half of the requests in memory into pages, and take out what is too old.

    All by name, so that each page is changed once.
    """
    names = known.names = known.names or RequestNames()
    times = known.times = known.times or RequestTimes()
    old = times.rank((now_ns - REQUEST_SPAN_NS,), shelf)
    for name in sorted(name for _, name in times.between(0, old, shelf)):
        names.discard((name,), shelf)
    times.drop(old)
    moved = [(n, known.recent.pop(n)) for n in list(known.recent)[: len(known.recent) // 2]]
    for name, time_ns in sorted(moved):
        earlier = names.discard((name,), shelf)
        if earlier is not None:
            times.discard((earlier[1], name), shelf)
        names.add((name, time_ns), shelf)
    for name, time_ns in moved:
        times.add((time_ns, name), shelf)
    known.before_ns = moved[-1][1]


def forget_requests(line: AnyLine, now_ns: int) -> None:
    """Forget requests of which no further event counts as the same."""
    known, since_ns = line.requests, now_ns - REQUEST_SPAN_NS
    if known is None:
        return
    if known.last_ns < since_ns:
        line.requests = None
        return
    while (oldest := next(iter(known.recent))) and known.recent[oldest] < since_ns:
        del known.recent[oldest]
    if known.before_ns < since_ns:
        known.names = known.times = None


def _kept(told: list[Told]) -> list[Told]:
    # A condition that holds is of no use to anybody where no window stands over this one.
    return [item for item in told if isinstance(item, Outcome) or item.feed.onward]


def _set_back(fold: AnyFold, line: AnyLine, at: int, shelf: Shelf) -> list[Told]:
    """Return to the last mark before a feed; return what had been told since."""
    history = _history(line)
    while history.marks[-1].feeds > at:
        del history.marks[-1]
    mark = history.marks[-1]
    line.state, line.requests = load(fold, _saved(mark, shelf))
    untold = history.told[mark.told :]
    del history.told[mark.told :]
    history.folded = mark.feeds
    history.asked_ns = 0
    return untold


def _settle_all(fold: AnyFold, line: AnyLine, horizon_ns: int, shelf: Shelf) -> None:
    history = _history(line)
    mark = history.marks[-1]
    state, requests = load(fold, _saved(mark, shelf))
    base: AnyLine = Timeline(state, requests)
    told, count = mark.told, len(history.feeds)
    for feed in history.feeds.between(mark.feeds, count, shelf):
        told += len(_kept(take(fold, base, feed, shelf)))
    told += len(_kept(ask(fold, base, horizon_ns, shelf)))
    forget_requests(base, horizon_ns)
    _begin_at(history, _mark(count, told, save(base.state, base.requests), shelf), shelf)
    history.base = max(history.base or (0, "", -1), (horizon_ns, "", -1))


def _begin_at(history: History, mark: Mark, shelf: Shelf) -> None:
    """Make a mark the first one; what came before it is final."""
    for item in history.told[: mark.told]:
        if isinstance(item, Outcome):
            history.said.pop(item.identity, None)
    del history.told[: mark.told]
    if mark.feeds:
        history.base = place(history.feeds.at(mark.feeds - 1, shelf))
    if history.copies:
        for feed in history.feeds.between(0, mark.feeds, shelf):
            history.copies.pop(copy_name(feed), None)
    history.feeds.drop(mark.feeds)
    history.folded -= mark.feeds
    later = [m for m in history.marks if m.feeds > mark.feeds]
    first = (mark.feeds, mark.told)
    for m in (mark, *later):
        m.feeds, m.told = m.feeds - first[0], m.told - first[1]
    history.marks = [mark, *later]


def _mark(feeds: int, told: int, saved: bytes, shelf: Shelf) -> Mark:
    if len(saved) <= _INLINE_BYTES:
        return Mark(feeds, told, saved, size=len(saved))
    return Mark(feeds, told, b"", shelf.put(saved), len(saved))


def _saved(mark: Mark, shelf: Shelf) -> bytes:
    return shelf.get(mark.page) if mark.page else mark.saved


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


def save(state: Any, requests: Requests | None) -> bytes:
    """Return a state and the requests it knows as bytes; `load` is its inverse."""
    return msgspec.msgpack.encode((state, requests))


def load(fold: AnyFold, saved: bytes) -> tuple[Any, Requests | None]:
    """Read what `save` wrote."""
    kind: type[Struct] = type(fold.fresh())
    state, requests = _decoder(kind).decode(saved)
    return state, requests


@lru_cache(maxsize=64)
def _decoder(kind: type[Struct]) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(GenericAlias(tuple, (kind, Requests | None)))
