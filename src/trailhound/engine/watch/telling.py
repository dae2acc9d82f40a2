"""What the watch says, as findings."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from trailhound.engine.watch.contract import Key
from trailhound.engine.watch.senders import Episode, Scope
from trailhound.model.events import Envelope, Event
from trailhound.model.findings import Finding, RuleInfo, Status, finding_uid
from trailhound.model.levels import Level

SOURCE = "trailhound"
"""Source of the observations that these findings have as evidence."""
_TAGS = ("attack.defense-impairment", "attack.t1685")

_TEXTS = {
    "silence": (
        "A sender of logs fell silent",
        """\
Nothing arrives any more of somebody who was heard regularly until now. Logging was switched off,
its agent was stopped, the machine is down, or the way from there to here is.
Check first: does the machine run, and does its agent (`systemctl status auditd`, the DaemonSet's
pod on that node, the API server's flags)? Then the last events before the silence: who was logged
in, and did what to auditd, rsyslog, the agent or the audit policy? If others of the same source
go on, it is hardly the network.""",
    ),
    "kinds": (
        "A kind of event no longer comes",
        """\
A sender goes on, but without a kind of event that it always sent. An audit policy or a rule that
leaves it out does so, and so does an end to what caused the events.
Check first: changes of the audit policy, of audit rules (`auditctl -l`), of a trail's event
selectors or of a shipper's filter shortly before the last event of that kind; who made them?""",
    ),
    "serials": (
        "Audit events are missing from a host's log",
        """\
The kernel numbers audit events without a gap. Numbers that never came are events that happened
and are not here: auditd was stopped while the kernel went on, the log was edited or truncated,
or the way from there to here dropped them.
Check first: `ausearch --start … --end …` on the host for the time of the gap. If the events are
there, the way here lost them; if they are not, look who was root then, and at DAEMON_END,
DAEMON_START and SERVICE_STOP around it. `auditctl -s` shows `lost` and `backlog`.""",
    ),
    "unnumbered": (
        "The numbers of a log say nothing",
        """\
Missing events cannot be found by their numbers for this sender, and are not looked for.
Check first: whether several hosts send under one name (give each its own: `name_format` in
auditd.conf), or whether a filter before Trailhound leaves events out; then see that it leaves out
what it should, and no more.""",
    ),
    "clock set back": (
        "A host's clock was set back",
        """\
An event with a higher number than one before it bears an earlier time. Whoever sets a clock back
makes later events look earlier, and old ones out of what is searched.
Check first: who was root on the host then; `settimeofday`, `clock_settime` and `adjtimex` in its
audit log; and whether its time service reports a step.""",
    ),
    "ahead": (
        "A sender's clock is ahead",
        """\
Every event of this sender bears a time that lies in the future when it arrives. Its clock is
wrong, or its time zone is.
Check first: `timedatectl` on the sender. Stamps without a zone (RFC 3164 syslog) are read as UTC:
a difference of whole hours is a time zone.""",
    ),
    "late": (
        "Events arrive late",
        """\
Every event of this sender is much older when it arrives than it used to be. It is found late, or
after it was dealt with. Its agent is held up, the way here is slow, or its clock was set back.
Check first: is the queue of the agent growing, and is the delay? A delay that stays the same from
one minute to the next is a clock.""",
    ),
    "flood": (
        "Far more events than ever before",
        """\
A sender sends many times what it ever sent in an hour. Who wants to hide something, or to fill a
disk until logging stops, makes much noise; so does a loop in some program.
Check first: which events are so many, who causes them, and what else that host or account did in
the meantime.""",
    ),
    "fewer": (
        "Far fewer events than usual",
        """\
A sender is still heard, but sends a small part of what it sent in the same hour of other weeks. A
part of its logs is left out, or less happens.
Check first: changes of audit rules, policy and filters; then whether the machine does its work.""",
    ),
    "unended": (
        "Requests to an API server have no end in its log",
        """\
The log says that requests came, and not how they were answered. The API server stopped in
between, could not send its audit events in time and dropped them, or somebody takes them out.
Check first: did the API server start anew? Its metrics `apiserver_audit_error_total` and
`apiserver_audit_requests_rejected_total` count what it dropped; the log on its disk has it.""",
    ),
    "crowd": (
        "More senders than can be watched",
        """\
More names of senders arrive than are watched, so for some a silence would not be seen. Somebody
may be making names up, to be overlooked among them.
Check first: which names are new, and by which intake and token they come.""",
    ),
}
"""Rule → title and description."""

RULES = tuple(_TEXTS)


def rule_of(name: str, level: Level) -> RuleInfo:
    """Return what findings say of a rule of the watch."""
    title, description = _TEXTS[name]
    return RuleInfo(
        uid=f"trailhound-watch-{name.replace(' ', '-')}",
        title=title,
        level=level,
        dialect="trailhound",
        path="docs/watch.md",
        line=1,
        description=description,
        tags=_TAGS,
        author="Trailhound developers",
        status="stable",
    )


def tell(
    name: str,
    key: Key,
    scope: Scope,
    episode: Episode,
    time_ns: int,
    reason: str,
    change: str = "",
    facts: Sequence[tuple[str, str]] = (),
    *,
    void: bool = False,
) -> Finding:
    """Return the finding of an episode, and count it as told.

    Args:
        name: the rule.
        key: whom it concerns.
        scope: what is known of that.
        episode: what is amiss.
        time_ns: by our clock.
        reason: one sentence: what was expected, and what was seen.
        change: why it is told again.
        facts: the same as (name, value).
        void: that it turned out to be nothing.
    """
    rule = rule_of(name, Level(episode.level))
    about = tuple(pair for pair in zip(("source", "sender", "kind"), key, strict=True) if pair[1])
    document = {
        "observation": name,
        **dict(about),
        "begun": episode.begun_ns,
        "reason": reason,
        "last_heard": scope.last_ns,
        "last_event": scope.event_ns,
        **dict(facts),
    }
    describe = partial(_describe, time_ns, name, key)
    status = Status.AMENDED if episode.told else Status.NEW
    finding = Finding(
        uid=finding_uid(rule.uid, (*key, str(episode.begun_ns))),
        rule=rule,
        time_ns=time_ns,
        start_ns=min(episode.since_ns, time_ns) or time_ns,
        events=(Event(SOURCE, document, (scope.origin,), {}, describe),),
        event_count=max(1, episode.count),
        group=about,
        reason=reason,
        status=Status.WITHDRAWN if void and episode.told else status,
        revision=episode.told,
        change=change,
        values=tuple(facts),
    )
    episode.told += 1
    return finding


def _describe(time_ns: int, name: str, key: Key, _document: Mapping[str, Any]) -> Envelope:
    return Envelope(
        time_ns=time_ns,
        action=name,
        target_type=key[0],
        target_name=key[2],
        device=key[1],
    )
