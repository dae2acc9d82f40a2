"""Findings drawn together for a report a person reads, in bounded memory."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from trailhound.model.findings import Finding, RuleInfo
from trailhound.model.levels import Level
from trailhound.sinks.attack import attack_of
from trailhound.sinks.escape import cut
from trailhound.sinks.wording import (
    NOBODY,
    deed,
    explanation_line,
    group_text,
    identity,
    is_window,
    moment,
    outcome,
    places,
    source_ip,
    subject,
    who,
)

GROUPS_LIMIT = 5_000
"""Groups of (rule, actor) that are kept apart in all."""
GROUPS_PER_RULE_LIMIT = 500
"""Groups of one rule, so that one noisy rule cannot crowd out the others."""
EXAMPLES_PER_GROUP = 3
TIMELINE_LIMIT = 30

_TIMELINE_TURNS = 3
_TEXT_LIMIT = 400
_KEY_LIMIT = 256
_PLACES_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Sighting:
    """One finding as a report shows it. Texts are cut to a showable length, not escaped."""

    time_ns: int
    start_ns: int
    who: str
    deed: str
    outcome: str
    src_ip: str
    device: str
    reason: str
    message: str
    group: str
    event_count: int
    places: tuple[str, ...]
    more_places: int
    window: bool


@dataclass(slots=True)
class Span:
    """The time range of some findings; those at an unknown time do not move it."""

    first_ns: int = 0
    last_ns: int = 0

    def take(self, start_ns: int, end_ns: int) -> None:
        """Widen the range to hold a finding."""
        for time_ns in (start_ns, end_ns):
            if moment(time_ns) is None:
                continue
            self.first_ns = min(self.first_ns, time_ns) if self.first_ns else time_ns
            self.last_ns = max(self.last_ns, time_ns) if self.last_ns else time_ns

    @property
    def order(self) -> tuple[bool, int]:
        """Sorts by first time, the unknown last."""
        return (self.first_ns == 0, self.first_ns)


@dataclass(slots=True)
class ActorGroup:
    """The findings of one rule about one actor."""

    actor: str
    count: int = 0
    span: Span = field(default_factory=Span)
    examples: list[Sighting] = field(default_factory=list)
    """The earliest, in order of time."""

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it as an example if it is among the earliest."""
        self.count += 1
        self.span.take(finding.start_ns, finding.time_ns)
        full = len(self.examples) == EXAMPLES_PER_GROUP
        if full and _order(finding.time_ns) >= _order(self.examples[-1].time_ns):
            return
        if full:
            self.examples.pop()
        self.examples.append(_sighting(finding))
        self.examples.sort(key=lambda example: _order(example.time_ns))


@dataclass(slots=True)
class RuleGroup:
    """The findings of one rule."""

    rule: RuleInfo
    explanation: str
    """Which part of the rule matched which value, in its first finding."""
    techniques: tuple[str, ...]
    tactics: tuple[str, ...]
    window: bool
    count: int = 0
    other_count: int = 0
    """Findings about actors that are not kept apart."""
    span: Span = field(default_factory=Span)
    actors: dict[str, ActorGroup] = field(default_factory=dict)

    def sorted_actors(self) -> list[ActorGroup]:
        """Actors in order of their first time."""
        return sorted(self.actors.values(), key=lambda group: group.span.order)


@dataclass(slots=True)
class ActorSummary:
    """The findings about one actor over all rules."""

    actor: str
    level: Level = Level.INFORMATIONAL
    count: int = 0
    window: bool = False
    span: Span = field(default_factory=Span)
    rules: list[tuple[RuleGroup, ActorGroup]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline: the first finding of a group, and how many there are."""

    rule: RuleGroup
    group: ActorGroup
    first: Sighting

    @property
    def who(self) -> str:
        """Who acted; where nobody is named, the place, as the summary of actors says it."""
        if self.first.who == NOBODY and self.group.actor:
            return self.group.actor
        return self.first.who


class Summary:
    """Collects findings; keeps counts of all and the texts of a few.

    Where there are more groups than limits allow, findings of new groups are counted as
    others. A group of a higher level displaces one of a lower level, so that a flood of small
    findings, which anyone who writes to the log can cause, hides nothing worse.
    """

    def __init__(
        self, groups_limit: int = GROUPS_LIMIT, groups_per_rule_limit: int = GROUPS_PER_RULE_LIMIT
    ) -> None:
        self.count = 0
        self.levels: Counter[Level] = Counter()
        self.others: Counter[Level] = Counter()
        """Findings in no group, by level."""
        self.span = Span()
        self._groups_limit = groups_limit
        self._groups_per_rule_limit = groups_per_rule_limit
        self._rules: dict[tuple[str, str, int], RuleGroup] = {}
        self._places: dict[Level, dict[tuple[tuple[str, str, int], str], None]] = {
            level: {} for level in Level
        }

    def add(self, finding: Finding) -> None:
        """Take one finding."""
        level = finding.rule.level
        self.count += 1
        self.levels[level] += 1
        self.span.take(finding.start_ns, finding.time_ns)
        rule_key = (finding.rule.uid, finding.rule.path, finding.rule.line)
        rule = self._rules.get(rule_key)
        if rule is None:
            rule = self._rules[rule_key] = _rule_group(finding)
        rule.count += 1
        rule.window = rule.window or is_window(finding)
        rule.span.take(finding.start_ns, finding.time_ns)
        actor = identity(finding)
        actor_key = _actor_key(actor)
        group = rule.actors.get(actor_key)
        if group is None:
            if len(rule.actors) >= self._groups_per_rule_limit or not self._make_room(level):
                rule.other_count += 1
                self.others[level] += 1
                return
            group = rule.actors[actor_key] = ActorGroup(cut(actor, _TEXT_LIMIT))
            self._places[level][(rule_key, actor_key)] = None
        group.add(finding)

    def rules(self) -> list[RuleGroup]:
        """Rules with findings, in order of their first time."""
        return sorted(self._rules.values(), key=lambda rule: rule.span.order)

    def actors(self) -> list[ActorSummary]:
        """Actors, the worst first: by level, windows, count of findings, first time."""
        found: dict[str, ActorSummary] = {}
        for rule, key, group in self._groups():
            actor = found.setdefault(key, ActorSummary(group.actor))
            actor.level = max(actor.level, rule.rule.level)
            actor.count += group.count
            actor.window = actor.window or rule.window
            actor.span.take(group.span.first_ns, group.span.last_ns)
            actor.rules.append((rule, group))
        for actor in found.values():
            actor.rules.sort(key=lambda pair: (-pair[0].rule.level, pair[1].span.order))
        return sorted(
            found.values(),
            key=lambda actor: (-actor.level, not actor.window, -actor.count, actor.span.order),
        )

    def timeline(self, limit: int = TIMELINE_LIMIT) -> list[Moment]:
        """The most important groups by their first finding, in order of time.

        Important is a high level, then a window. A rule comes more than three times only
        after every other rule had its turn, for the timeline is to tell the whole story.
        """
        ranked = [
            (
                rank >= _TIMELINE_TURNS,
                -rule.rule.level,
                not rule.window,
                group.span.order,
                rule,
                group,
            )
            for rule in self.rules()
            for rank, group in enumerate(rule.sorted_actors())
        ]
        ranked.sort(key=lambda entry: entry[:4])
        chosen = [Moment(rule, group, group.examples[0]) for *_, rule, group in ranked[:limit]]
        return sorted(chosen, key=lambda one: _order(one.first.time_ns))

    @property
    def group_count(self) -> int:
        """Groups of (rule, actor) kept apart."""
        return sum(len(places_) for places_ in self._places.values())

    def worst(self) -> Moment | None:
        """Where to start: the first finding of the highest level, windows before others."""
        candidates = [
            (-rule.rule.level, not rule.window, group.span.order, rule, group)
            for rule, _, group in self._groups()
        ]
        if not candidates:
            return None
        *_, rule, group = min(candidates, key=lambda entry: entry[:3])
        return Moment(rule, group, group.examples[0])

    def _groups(self) -> Iterator[tuple[RuleGroup, str, ActorGroup]]:
        for rule in self._rules.values():
            for key, group in rule.actors.items():
                yield rule, key, group

    def _make_room(self, level: Level) -> bool:
        """Whether a new group of this level may be kept, displacing a lesser one if need be."""
        if self.group_count < self._groups_limit:
            return True
        lowest = next(low for low in Level if self._places[low])
        if lowest >= level:
            return False
        (rule_key, actor_key), _ = self._places[lowest].popitem()
        rule = self._rules[rule_key]
        displaced = rule.actors.pop(actor_key)
        rule.other_count += displaced.count
        self.others[lowest] += displaced.count
        return True


def _rule_group(finding: Finding) -> RuleGroup:
    attack = attack_of(finding.rule.tags)
    return RuleGroup(
        rule=finding.rule,
        explanation=cut(explanation_line(finding.explanation), 2 * _TEXT_LIMIT),
        techniques=attack.techniques,
        tactics=tuple(tactic.name for tactic in attack.tactics),
        window=is_window(finding),
    )


def _sighting(finding: Finding) -> Sighting:
    envelope = subject(finding)
    shown, more = places(finding.events, _PLACES_LIMIT)
    return Sighting(
        time_ns=finding.time_ns,
        start_ns=finding.start_ns,
        who=cut(who(finding.actor, envelope.invoked_by), _TEXT_LIMIT),
        deed=cut(deed(envelope), _TEXT_LIMIT),
        outcome=cut(outcome(envelope), _TEXT_LIMIT),
        src_ip=cut(source_ip(finding), _TEXT_LIMIT),
        device=cut(envelope.device, _TEXT_LIMIT),
        reason=cut(_reason(finding), _TEXT_LIMIT),
        message=cut(finding.message, _TEXT_LIMIT),
        group=cut(group_text(finding), _TEXT_LIMIT),
        event_count=finding.event_count,
        places=tuple(shown),
        more_places=more,
        window=is_window(finding),
    )


def _reason(finding: Finding) -> str:
    if not finding.change:
        return finding.reason
    return f"{finding.status.value}, {finding.change}: {finding.reason}"


def _order(time_ns: int) -> tuple[bool, int]:
    return (moment(time_ns) is None, time_ns)


def _actor_key(actor: str) -> str:
    """The actor, or for a very long one its beginning and a digest, to bound memory."""
    if len(actor) <= _KEY_LIMIT:
        return actor
    digest = blake2b(actor.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{actor[:_KEY_LIMIT]}\0{digest}"
