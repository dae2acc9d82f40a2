"""Who is missing: one finding for each silence, and one for all kinds of events of a sender."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trailhound.engine.watch import rhythm
from trailhound.engine.watch.contract import DAY_MIN, EVERYTHING, MINUTE_NS, WEEK_MIN, Key, Sighting
from trailhound.engine.watch.senders import RIPE_MIN, Episode, Scope, Senders
from trailhound.engine.watch.telling import tell
from trailhound.engine.windows.wording import duration, moment
from trailhound.model.findings import Finding
from trailhound.model.levels import Level

_HELD_BACK_NS = 5 * MINUTE_NS
_COME_AND_GO = 3
"""So many senders of a source that never came back are machines that live for a while only."""


class Missed(NamedTuple):
    """Somebody who should have been heard by now."""

    key: Key
    scope: Scope
    pause: rhythm.Wait


def silence_seen(senders: Senders, missed: Missed, minute: int, now_ns: int) -> Iterator[Finding]:
    """Tell that a sender, a source or everything is silent.

    Where there is one part only, the part is told: its name says more.
    """
    key, scope, pause = missed
    parts = [
        part
        for part in senders.parts.get(key, ())
        if senders.scopes[part].rhythm.active_min >= RIPE_MIN and part[2] == ""
    ]
    if not key[1] and len(parts) < 2:
        return
    senders.changed.add(key)
    age = scope.rhythm.age_min(minute)
    level = Level.LOW
    if age >= rhythm.KNOWN_MIN + WEEK_MIN:
        level = Level.HIGH
    elif age >= DAY_MIN:
        level = Level.MEDIUM
    others = _others(senders, key, minute)
    departed = senders.scopes[key[0], "", ""].departed if key[1] else 0
    if departed >= _COME_AND_GO and level > Level.LOW:
        level = Level.LOW
        others += f"; senders of {key[0]} come and go: {departed} never came back before"
    episode = scope.open["silence"] = Episode(scope.last_ns, since_ns=scope.last_ns, level=level)
    whom = f"of {len(parts)} {'senders' if key[0] else 'sources'}" if parts else ""
    expected = f"{pause.missed:.0f} active minutes"
    reason = (
        f"Nothing {whom + ' ' if whom else ''}since {moment(scope.last_ns)}, for "
        f"{duration(now_ns - scope.last_ns)}. Usually heard "
        f"{rhythm.usual(scope.rhythm, scope.rhythm.last_min)}, so about {expected} are missing; "
        f"{pause.allowed:.0f} would be no reason to worry. {others}"
    )
    facts = (
        ("expected", expected),
        ("seen", "nothing"),
        ("watched_for", duration(age * MINUTE_NS)),
        *((("missing", ", ".join(part[1] or part[0] for part in parts[:20])),) if parts else ()),
    )
    yield tell("silence", key, scope, episode, now_ns, reason.strip(), facts=facts)


def silence_over(key: Key, scope: Scope, episode: Episode, seen: Sighting) -> Finding:
    """Tell that somebody who was silent is heard again."""
    now_ns = seen.arrived_ns
    away = duration(now_ns - episode.begun_ns)
    first = f"The first event is of {moment(seen.time_ns)}"
    reason = f"Heard again at {moment(now_ns)}, after {away}. {first}: "
    if seen.time_ns and seen.time_ns < episode.begun_ns + _HELD_BACK_NS:
        episode.level = Level.LOW
        reason += "what happened meanwhile was held back, and comes now"
    else:
        reason += "nothing is known of the time between"
    return tell("silence", key, scope, episode, now_ns, reason, "logs came back")


def kinds_missed(
    senders: Senders, missed: Sequence[Missed], minute: int, now_ns: int
) -> Iterator[Finding]:
    """Tell which kinds of events no longer come, of senders that go on."""
    by_sender: dict[Key, list[Missed]] = {}
    for one in missed:
        if one.scope.rhythm.age_min(minute) >= DAY_MIN:
            by_sender.setdefault((*one.key[:2], ""), []).append(one)
    for key, kinds in by_sender.items():
        scope = senders.scopes[key]
        if minute - scope.rhythm.last_min > _shortest(kinds, minute) // 2:
            continue  # the sender itself is hardly heard; that is another finding
        senders.changed.add(key)
        episode = scope.open.get("kinds")
        change = "another kind is missing" if episode is not None else ""
        if episode is None:
            first_ns = min(one.scope.last_ns for one in kinds)
            episode = Episode(now_ns, since_ns=first_ns, level=Level.MEDIUM)
            scope.open["kinds"] = episode
        for one in kinds:
            episode.names[one.key[2]] = one.scope.last_ns
        said = "; ".join(
            f"{one.key[2]} (last {moment(one.scope.last_ns)}, usually heard "
            f"{rhythm.usual(one.scope.rhythm, one.scope.rhythm.last_min)})"
            for one in kinds[:5]
        )
        more = f" and {len(kinds) - 5} more" if len(kinds) > 5 else ""
        reason = f"The sender goes on, but no longer tells of {said}{more}"
        facts = (("missing", ", ".join(episode.names)),)
        yield tell("kinds", key, scope, episode, now_ns, reason, change, facts)


def kinds_back(senders: Senders, key: Key, seen: Sighting) -> Iterator[Finding]:
    """Take note that a kind of event comes again; tell it when all do."""
    sender: Key = (*key[:2], "")
    scope = senders.scopes.get(sender)
    episode = scope.open.get("kinds") if scope is not None else None
    if scope is None or episode is None or key[2] not in episode.names:
        return
    del episode.names[key[2]]
    senders.changed.add(sender)
    if not episode.names:
        del scope.open["kinds"]
        reason = f"All kinds of events come again since {moment(seen.arrived_ns)}"
        yield tell("kinds", sender, scope, episode, seen.arrived_ns, reason, "they came back")


def _shortest(kinds: Sequence[Missed], minute: int) -> int:
    """Return the shortest pause of some, minutes."""
    return min(minute - one.scope.rhythm.last_min for one in kinds)


def _others(senders: Senders, key: Key, minute: int) -> str:
    if not key[1]:
        return ""
    others = [other for other in senders.parts.get((key[0], "", ""), ()) if other != key]
    heard = sum(minute - senders.scopes[other].rhythm.last_min <= 5 for other in others)
    if heard:
        return f"{heard} of {len(others)} other senders of {key[0]} are heard"
    sources = [source for source in senders.parts.get(EVERYTHING, ()) if source[0] != key[0]]
    if any(minute - senders.scopes[source].rhythm.last_min <= 5 for source in sources):
        return f"No other sender of {key[0]} is heard, but other sources are"
    return "Nothing else is heard either"
