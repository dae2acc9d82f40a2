"""The watch itself: sightings and the time in, findings out.

Pure: the time is told with every sighting, and by `advance` while none comes. The same sightings
and times give the same findings, however they are cut into batches and whenever it is saved.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from trailhound.engine.watch import delays, rhythm, serials, stages, volume
from trailhound.engine.watch.contract import (
    EVERYTHING,
    MINUTE_NS,
    SECOND_NS,
    Key,
    Sighting,
    Stage,
    parents,
)
from trailhound.engine.watch.missing import (
    Missed,
    kinds_back,
    kinds_missed,
    silence_over,
    silence_seen,
)
from trailhound.engine.watch.senders import RIPE_MIN, Episode, Scope, Senders
from trailhound.engine.watch.telling import tell
from trailhound.engine.windows.wording import duration, moment
from trailhound.model.findings import Finding
from trailhound.model.levels import Level

UNWATCHED_MIN = 3
"""Who tells the time tells it more often. A longer step is time in which nobody watched."""
_OVER_NS = 60 * MINUTE_NS
"""Without more of it for so long, a row of gaps is over."""


class Watch:
    """Watches senders."""

    def __init__(self, minute: int = 0, scopes: Iterable[tuple[Key, Scope]] = ()) -> None:
        """Begin anew, or where another left off: with its `minute` and its scopes."""
        self.minute = minute
        """Minute since 1970 up to which all was judged; 0: not begun."""
        self.senders = Senders(scopes)
        self._due: dict[Key, int] = {}
        """Minute before which nobody need look whether somebody is silent: a pause grows by a
        minute in a minute at most, and a short one is never amiss."""

    def advance(self, now_ns: int) -> Iterator[Finding]:
        """Say what time it is; yield what is amiss by then.

        Args:
            now_ns: our clock, UTC nanoseconds. Nothing that arrived before it is to come still.
        """
        minute = now_ns // MINUTE_NS
        if minute <= self.minute:
            return
        step, self.minute = minute - self.minute, minute
        if step == minute:  # the first time
            return
        if step > UNWATCHED_MIN:
            self._unwatched(minute - step + 1, minute)
        yield from self._silent(now_ns)
        for key, scope in list(self.senders.scopes.items()):
            if scope.serials is not None and (scope.serials.holes or "serials" in scope.open):
                lost = serials.lost_by(scope.serials, now_ns)
                yield from self._holes(key, scope, lost, now_ns)
                if scope.serials.unfit and "unnumbered" not in scope.open:
                    yield from self._unfit(key, scope, scope.serials.unfit, now_ns)
            if scope.stages is not None and (scope.stages.open or "unended" in scope.open):
                yield from self._unended(key, scope, now_ns)

    def skip(self) -> None:
        """Take note that events went by unseen: what they began, ended or numbered is unknown."""
        for key, scope in self.senders.scopes.items():
            if scope.serials is not None:
                scope.serials.high, scope.serials.holes = 0, []
            if scope.stages is not None:
                scope.stages.open = {}
            self.senders.changed.add(key)

    def observe(self, seen: Sighting) -> Iterator[Finding]:
        """Take note of an event; yield what that says."""
        yield from self.advance(seen.arrived_ns)
        away = self.senders.turned_away[2]
        for one in _chain(seen):
            scope = self.senders.of(one, seen)
            if scope is None:
                break
            if one[1] and not one[2]:
                yield from self._sender(one, scope, seen)
            # Who sends again what was there before may want to seem alive.
            if not seen.repeat:
                yield from self._heard(one, scope, seen)
        if self.senders.turned_away[2] > away:
            yield from self._crowd(seen)

    def observe_all(self, sightings: Iterable[Sighting]) -> Iterator[Finding]:
        """Take note of events one after the other, as `observe` does; faster for many alike.

        What follows on a sighting of the same key, at the same moment, only moves counts and
        bounds: these are added up, and noted at once.
        """
        alike: dict[Key, _Alike] = {}
        senders: dict[Key, _Sender] = {}
        moment_ns = 0
        for at, seen in enumerate(sightings):
            key = seen.source, seen.sender, seen.kind
            group = alike.get(key)
            fits = bool(seen.time_ns) and not (seen.repeat or seen.serial)
            if group is not None and fits and seen.arrived_ns == moment_ns and group.has_room():
                group.add(at, seen)
                continue
            of = (*key[:2], "")
            sender = (senders.get(of) or self._sender_of(of)) if fits else None
            # For a key that is new, one that is there may have to go.
            is_new = sender is None or key not in self.senders.scopes
            if is_new or group is not None or seen.arrived_ns != moment_ns:
                self._note(alike, senders)
            if sender is not None:
                sender.settle()
            moment_ns = seen.arrived_ns
            yield from self.observe(seen)
            if not is_new and (sender := senders.get(of) or self._sender_of(of)) is not None:
                senders[of] = sender
                alike[key] = _Alike(at, seen, sender)
        self._note(alike, senders)

    def _sender_of(self, key: Key) -> "_Sender | None":
        scope = self.senders.scopes.get(key)
        if scope is None or scope.volume is None or scope.delay is None:
            return None
        return _Sender(scope, scope.volume, scope.delay, volume.flood_at(scope.volume, self.minute))

    def _note(self, alike: "dict[Key, _Alike]", senders: "dict[Key, _Sender]") -> None:
        for group in sorted(alike.values(), key=_last_at):
            for key in _chain(group.seen):
                scope = self.senders.scopes[key]
                scope.events += group.count
                scope.event_ns, scope.origin = group.seen.time_ns, group.seen.origin
                self.senders.changed.add(key)
        for sender in senders.values():
            sender.settle()
        alike.clear()
        senders.clear()

    # --- who is heard -------------------------------------------------------------------------

    def _heard(self, key: Key, scope: Scope, seen: Sighting) -> Iterator[Finding]:
        minute = max(self.minute, seen.arrived_ns // MINUTE_NS)
        scope.events += 1
        if minute > scope.rhythm.last_min:
            episode = scope.open.pop("silence", None)
            missed = episode is not None or self._missed_in(key)
            rhythm.beat(scope.rhythm, minute, learn=not missed)
            if scope.rhythm.active_min == RIPE_MIN:
                self.senders.ripened(key)
            if episode is not None:
                self._excuse_parts(key, minute)
                yield silence_over(key, scope, episode, seen)
            elif missed and key[2]:
                yield from kinds_back(self.senders, key, seen)
        scope.last_ns = max(scope.last_ns, seen.arrived_ns)
        scope.event_ns = seen.time_ns
        scope.origin = seen.origin

    def _excuse_parts(self, key: Key, minute: int) -> None:
        """All were silent: who of them is not heard from now on is a silence of its own."""
        for part in self.senders.parts.get(key, ()):
            self._excuse_parts(part, minute)
            scope = self.senders.scopes[part]
            if "silence" not in scope.open and scope.rhythm.last_min < minute - 1:
                rhythm.excuse(scope.rhythm, scope.rhythm.last_min + 1, minute, learn=False)
                self.senders.changed.add(part)
                self._due.pop(part, None)

    def _unwatched(self, begin: int, end: int) -> None:
        for key, scope in self.senders.scopes.items():
            rhythm.excuse(scope.rhythm, begin, end, learn=not self._missed_in(key))
            if scope.volume is not None:
                scope.volume.whole = False
            self.senders.changed.add(key)
        self._due.clear()

    def _missed_in(self, key: Key) -> bool:
        """Whether it is missed already: by itself, or as a part of what is."""
        for wider in (*parents(key), key):
            scope = self.senders.scopes.get(wider)
            if scope is not None and "silence" in scope.open:
                return True
        if key[2]:
            sender = self.senders.scopes.get((*key[:2], ""))
            episode = sender.open.get("kinds") if sender is not None else None
            return episode is not None and key[2] in episode.names
        return False

    def _silent(self, now_ns: int) -> Iterator[Finding]:
        minute = self.minute
        senders = self.senders
        missed: list[Missed] = []
        for key in sorted(senders.scopes):
            scope = senders.scopes.get(key)
            if scope is None or self._due.get(key, 0) > minute:
                continue
            if minute - scope.rhythm.last_min > rhythm.FORGOTTEN_MIN:
                yield from self._forget(key, scope, now_ns)
                continue
            if "silence" in scope.open or self._missed_in(key):
                continue
            pause = rhythm.wait(scope.rhythm, minute)
            if pause.missed < pause.allowed:
                self._due[key] = minute + max(1, int(rhythm.STEADY_WAIT - pause.missed))
            elif key[2]:
                missed.append(Missed(key, scope, pause))
            else:
                yield from silence_seen(senders, Missed(key, scope, pause), minute, now_ns)
        yield from kinds_missed(senders, missed, minute, now_ns)

    def _forget(self, key: Key, scope: Scope, now_ns: int) -> Iterator[Finding]:
        episode = scope.open.get("silence")
        if episode is not None:
            source = self.senders.scopes.get((key[0], "", ""))
            if key[1] and source is not None:
                source.departed += 1
                self.senders.changed.add((key[0], "", ""))
            pause = duration(now_ns - scope.last_ns)
            reason = f"Nothing came for {pause}; it is not awaited any more"
            yield tell("silence", key, scope, episode, now_ns, reason, "it did not come back")
        self.senders.drop(key)
        self._due.pop(key, None)

    # --- what a sender sends ------------------------------------------------------------------

    def _sender(self, key: Key, scope: Scope, seen: Sighting) -> Iterator[Finding]:
        scope.repeats += seen.repeat
        if not seen.repeat and seen.time_ns:
            yield from self._delayed(key, scope, seen)
        yield from self._counted(key, scope, seen)
        if seen.serial and not seen.repeat:
            scope.serials = scope.serials or serials.Serials()
            yield from self._numbered(key, scope, scope.serials, seen)
        if seen.request and seen.stage is not Stage.WHOLE:
            _follow(scope, seen)

    def _delayed(self, key: Key, scope: Scope, seen: Sighting) -> Iterator[Finding]:
        minute = self.minute
        late_s = (seen.arrived_ns - seen.time_ns) // SECOND_NS
        if scope.delay is None:
            scope.delay = delays.Delay(minute, late_s, late_s)
            return
        delay = scope.delay
        least_s, most_s, limit_s = delay.least_s, delay.most_s, delay.limit_s
        wrong = "late" in scope.open or "ahead" in scope.open
        match delays.measure(delay, minute, late_s, wrong=wrong):
            case delays.Turn.LATE:
                episode = _new(scope, "late", seen, Level.LOW)
                least = duration(least_s * SECOND_NS)
                reason = (
                    f"Events of {_minutes(delay.late)} were at least {least} old when they "
                    f"arrived; {duration(limit_s * SECOND_NS)} would still be usual"
                )
                yield tell("late", key, scope, episode, seen.arrived_ns, reason)
            case delays.Turn.AHEAD:
                episode = _new(scope, "ahead", seen, Level.MEDIUM)
                reason = (
                    f"Every event of {_minutes(delay.ahead)} is stamped "
                    f"{duration(-most_s * SECOND_NS)} or more after it arrived"
                )
                yield tell("ahead", key, scope, episode, seen.arrived_ns, reason)
            case delays.Turn.GOOD:
                for name in ("late", "ahead"):
                    episode = scope.open.pop(name, Episode(0))
                    if episode.told:
                        pause = duration(seen.arrived_ns - episode.begun_ns)
                        reason = f"Events arrive in time again, after {pause}"
                        change = f"since {moment(seen.arrived_ns)} they do"
                        yield tell(name, key, scope, episode, seen.arrived_ns, reason, change)
            case delays.Turn.NONE:
                pass

    def _counted(self, key: Key, scope: Scope, seen: Sighting) -> Iterator[Finding]:
        counted = scope.volume
        if counted is None:
            return
        amiss = "fewer" in scope.open or "flood" in scope.open or "silence" in scope.open
        closed = volume.close_hour(counted, self.minute, learn=not amiss)
        now_ns = seen.arrived_ns
        if closed is not None:
            fewer, flood = scope.open.get("fewer"), scope.open.get("flood")
            if fewer is None and closed.fewer:
                fewer = _new(scope, "fewer", seen, Level.MEDIUM)
                reason = (
                    f"{closed.events:,} events in the hour from "
                    f"{moment(closed.hour * 60 * MINUTE_NS)}; "
                    f"the same hour of other weeks had about {closed.usual:,}"
                )
                facts = (("expected", str(closed.usual)), ("seen", str(closed.events)))
                yield tell("fewer", key, scope, fewer, now_ns, reason, facts=facts)
            elif fewer is not None and closed.enough and closed.usual:
                del scope.open["fewer"]
                reason = f"{closed.events:,} events in an hour, about as many as usual again"
                yield tell("fewer", key, scope, fewer, now_ns, reason, "the events are back")
            if flood is not None and closed.events < max(1, flood.count // 2):
                del scope.open["flood"]
                reason = f"{closed.events:,} events in an hour: the flood is over"
                yield tell("flood", key, scope, flood, now_ns, reason, "it is over")
        counted.events += 1
        limit = volume.flood_at(counted, self.minute)
        if limit and counted.events == limit and "flood" not in scope.open:
            episode = _new(scope, "flood", seen, Level.MEDIUM)
            episode.count = limit
            reason = f"{limit:,} events within an hour; the most so far was {counted.most:,}"
            facts = (("expected", str(counted.most)), ("seen", str(limit)))
            yield tell("flood", key, scope, episode, now_ns, reason, facts=facts)

    def _numbered(
        self, key: Key, scope: Scope, numbers: serials.Serials, seen: Sighting
    ) -> Iterator[Finding]:
        unfit = numbers.unfit
        step = serials.follow(numbers, seen.serial, seen.time_ns, seen.arrived_ns)
        if step.set_back_ns:
            episode = _new(scope, "clock set back", seen, Level.HIGH)
            del scope.open["clock set back"]
            reason = (
                f"Event {seen.serial} is stamped {moment(seen.time_ns)}, "
                f"{duration(step.set_back_ns)} before one with a lower number"
            )
            yield tell("clock set back", key, scope, episode, seen.arrived_ns, reason)
        yield from self._holes(key, scope, step.lost, seen.arrived_ns)
        if numbers.unfit != unfit:
            yield from self._unfit(key, scope, numbers.unfit, seen.arrived_ns)

    def _holes(
        self, key: Key, scope: Scope, lost: tuple[serials.Hole, ...], now_ns: int
    ) -> Iterator[Finding]:
        if lost:
            self.senders.changed.add(key)
        episode = scope.open.get("serials")
        if lost and episode is None:
            hole = lost[0]
            since_ns = hole.after_ns or hole.before_ns
            episode = scope.open["serials"] = Episode(hole.noticed_ns, since_ns=since_ns)
        if episode is None:
            return
        for hole in lost:
            episode.noticed_ns = now_ns
            episode.count += hole.missing
            episode.last_ns = hole.before_ns
            episode.names[f"{hole.first}-{hole.last}"] = hole.missing
            if len(episode.names) > 8:
                del episode.names[min(episode.names, key=lambda name: episode.names[name])]
        if lost and episode.count >= 2 * episode.told_count:
            episode.told_count = episode.count
            episode.level = Level.HIGH if episode.count >= 20 else Level.MEDIUM
            reason = (
                f"{_plural(episode.count, 'number')} between {moment(episode.since_ns)} and "
                f"{moment(episode.last_ns)} never came: {', '.join(episode.names)}"
            )
            change = "more are missing" if episode.told else ""
            facts = (("missing", str(episode.count)), ("serials", ", ".join(episode.names)))
            yield tell("serials", key, scope, episode, now_ns, reason, change, facts)
        if not lost and now_ns - episode.noticed_ns > _OVER_NS:
            del scope.open["serials"]
            self.senders.changed.add(key)
            if episode.count > episode.told_count:
                reason = f"{_plural(episode.count, 'number')} never came in all"
                yield tell("serials", key, scope, episode, now_ns, reason, "more were missing")

    def _unfit(self, key: Key, scope: Scope, why: str, now_ns: int) -> Iterator[Finding]:
        self.senders.changed.add(key)
        episode = scope.open["unnumbered"] = Episode(now_ns, since_ns=now_ns, level=Level.LOW)
        yield tell("unnumbered", key, scope, episode, now_ns, f"Not watched by numbers: {why}")

    def _unended(self, key: Key, scope: Scope, now_ns: int) -> Iterator[Finding]:
        assert scope.stages is not None  # noqa: S101 - the caller asked
        over = stages.unended_by(scope.stages, now_ns)
        if over:
            self.senders.changed.add(key)
        if scope.stages.unfit:
            scope.open.pop("unended", None)
            if "unnumbered" not in scope.open:
                yield from self._unfit(key, scope, scope.stages.unfit, now_ns)
            return
        episode = scope.open.get("unended")
        if over and episode is None:
            episode = scope.open["unended"] = Episode(over[0][1], since_ns=over[0][1])
        if episode is None:
            return
        for request, begun_ns in over:
            episode.count += 1
            episode.last_ns, episode.noticed_ns = begun_ns, now_ns
            if len(episode.names) < 5:
                episode.names[request] = begun_ns
        if over and episode.count >= 2 * episode.told_count:
            episode.told_count = episode.count
            episode.level = Level.MEDIUM if episode.count >= 10 else Level.LOW
            reason = (
                f"{_plural(episode.count, 'request')} that came between "
                f"{moment(episode.since_ns)} and {moment(episode.last_ns)} never ended in the log, "
                f"such as {', '.join(episode.names)}"
            )
            change = "more of them have no end" if episode.told else ""
            facts = (("missing", str(episode.count)), ("audit_ids", ", ".join(episode.names)))
            yield tell("unended", key, scope, episode, now_ns, reason, change, facts)
        elif not over and now_ns - episode.noticed_ns > _OVER_NS:
            del scope.open["unended"]
            self.senders.changed.add(key)

    def _crowd(self, seen: Sighting) -> Iterator[Finding]:
        everything = self.senders.scopes.get(EVERYTHING)
        if everything is None:
            return
        episode = everything.open.get("crowd")
        if episode is not None and seen.arrived_ns - episode.begun_ns < 24 * _OVER_NS:
            return
        episode = _new(everything, "crowd", seen, Level.MEDIUM)
        reason = (
            f"{len(self.senders.scopes):,} senders and kinds of events are watched; there is no "
            f"room for one more sender of {seen.source}"
        )
        yield tell("crowd", EVERYTHING, everything, episode, seen.arrived_ns, reason)


class _Sender(Struct):
    """What is added up of one sender."""

    scope: Scope
    volume: volume.Volume
    delay: delays.Delay
    flood_at: int
    count: int = 0
    """Events that its volume does not have yet."""

    def settle(self) -> None:
        """Put them into its volume."""
        self.volume.events += self.count
        self.count = 0


class _Alike:
    """Sightings of one key at one moment, behind the first, which was observed by itself."""

    def __init__(self, at: int, seen: Sighting, sender: _Sender) -> None:
        self.at = at
        self.seen = seen
        """The last of them."""
        self.count = 0
        self._sender = sender

    def has_room(self) -> bool:
        """Whether one more says nothing new: with some event, they are a flood."""
        sender = self._sender
        return sender.volume.events + sender.count + 1 != sender.flood_at

    def add(self, at: int, seen: Sighting) -> None:
        """Add a sighting."""
        self.at, self.seen = at, seen
        self.count += 1
        self._sender.count += 1
        delay, late_s = self._sender.delay, (seen.arrived_ns - seen.time_ns) // SECOND_NS
        if late_s < delay.least_s:
            delay.least_s = late_s
        elif late_s > delay.most_s:
            delay.most_s = late_s
        if seen.request and seen.stage is not Stage.WHOLE:
            _follow(self._sender.scope, seen)


def _last_at(group: _Alike) -> int:
    return group.at


def _chain(seen: Sighting) -> tuple[Key, ...]:
    """Return what a sighting is heard of, widest first."""
    key = (seen.source, seen.sender, seen.kind)
    return (*parents(key), key) if seen.kind else parents((*key[:2], "*"))


def _follow(scope: Scope, seen: Sighting) -> None:
    """Follow a request through its stages."""
    if seen.stage is Stage.BEGUN and not seen.repeat:
        scope.stages = scope.stages or stages.Stages()
        stages.begin(scope.stages, seen.request, seen.arrived_ns)
    elif seen.stage is Stage.ENDED and scope.stages is not None:
        stages.end(scope.stages, seen.request)


def _new(scope: Scope, name: str, seen: Sighting, level: Level) -> Episode:
    episode = Episode(seen.arrived_ns, since_ns=seen.time_ns or seen.arrived_ns, level=level)
    scope.open[name] = episode
    return episode


def _minutes(count: int) -> str:
    """Say of how many minutes something holds."""
    return f"the last {count} minutes"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
