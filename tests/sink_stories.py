"""Findings built by hand, and the golden outputs they are compared with.

`python tests/sink_stories.py` writes the golden files anew; read the difference before you
commit it.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.findings import Explanation, Finding, RuleInfo, Status, finding_uid
from trailhound.model.levels import Level
from trailhound.model.records import Origin, ParseFailure
from trailhound.model.totals import FailureCount, RuleProblem, Totals
from trailhound.sinks import SINKS
from trailhound.sinks.contract import SinkOptions

SAMPLES = Path(__file__).parent / "samples" / "sinks"
SUFFIXES = {
    "table": "txt",
    "json": "json",
    "ndjson": "ndjson",
    "ocsf": "ndjson",
    "csv": "csv",
    "markdown": "md",
}
SECOND = 1_000_000_000
NIGHT = 1_772_503_200 * SECOND  # 2026-03-03T02:00:00Z


def event(
    source: str = "k8s_audit",
    *,
    at: int = NIGHT,
    place: str = "audit.log:1",
    document: dict[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    **envelope: Any,
) -> Event:
    """An event whose envelope is given; `place` is `path:line`, `path:first-last`, `path:n#m`."""
    path, _, lines = place.rpartition(":")
    lines, _, element = lines.partition("#")
    first, _, last = lines.partition("-")
    origins = tuple(
        Origin(path, line, int(element or 0)) for line in range(int(first), int(last or first) + 1)
    )
    written = document if document is not None else {"at": at, **envelope}
    return Event(source, written, origins, {}, lambda _: Envelope(time_ns=at, **envelope), notes)


def rule(title: str = "A rule", level: Level = Level.MEDIUM, **more: Any) -> RuleInfo:
    name = title.lower().replace(" ", "-")
    return RuleInfo(
        **{
            "uid": f"uid-{name}",
            "title": title,
            "level": level,
            "dialect": "sigma",
            "path": f"content/{name}.yml",
            "line": 1,
            **more,
        }
    )


def finding(info: RuleInfo, *events: Event, **more: Any) -> Finding:
    times = [one.envelope.time_ns for one in events] or [0]
    return Finding(
        **{
            "uid": finding_uid(ascii(info.uid), [one.uid for one in events]),
            "rule": info,
            "time_ns": max(times),
            "start_ns": min(times),
            "events": events,
            "event_count": len(events),
            **more,
        }
    )


def leaf(label: str, path: str, value: Any) -> Explanation:
    return Explanation(label, True, path, value)


# --- attack: from guessed password to stolen keys ----------------------------------------

GUESSED = rule(
    "SSH guessing followed by a success",
    Level.HIGH,
    path="content/linux/ssh_guess_success.yml",
    tags=("attack.credential-access", "attack.initial-access", "attack.t1110.001"),
    description="Many failed logins from one address, then one that succeeded.\n"
    "Check first: what the session did after the login, and whether the address is known.",
    false_positives=("A person who forgot a password.",),
    author="Trailhound",
    status="stable",
)
SUDO = rule(
    "Shell through sudo",
    Level.LOW,
    path="content/linux/sudo_shell.yml",
    tags=("attack.privilege_escalation", "attack.t1548.003"),
    description="Somebody opened a root shell with sudo. Check first whether that person is on "
    "the list of administrators.",
)
EXEC = rule(
    "Exec into a pod",
    Level.MEDIUM,
    path="content/kubernetes/exec.yml",
    tags=("attack.execution", "attack.t1609"),
    description="A command was run inside a running container.",
    references=("https://kubernetes.io/docs/reference/access-authn-authz/rbac/",),
)
SECRETS = rule(
    "Secrets read in bulk",
    Level.HIGH,
    path="content/kubernetes/secrets_bulk.yml",
    tags=("attack.credential-access", "attack.t1552.007"),
    description="One identity read many secrets in a short time.\n\n"
    "What to check first: whether this service account has any need to list secrets, and which "
    "of them were used afterwards.",
)
ADMIN = rule(
    "Binding to cluster-admin",
    Level.CRITICAL,
    path="content/kubernetes/bind_admin.yml",
    tags=("attack.privilege-escalation", "attack.persistence", "attack.t1098.006"),
    description="A role binding makes somebody administrator of the whole cluster.",
)
TRAIL = rule(
    "Trail switched off",
    Level.CRITICAL,
    path="content/aws/stop_logging.yml",
    tags=("attack.defense-impairment", "attack.t1685.002"),
    description="CloudTrail no longer records.",
)

_POD = "system:serviceaccount:shop:cart"


def attack() -> tuple[list[Finding], Totals]:
    guesses = [
        event(
            "linux_auth",
            at=NIGHT + (664 + 20 * index) * SECOND,
            place=f"logs/auth.log:{812 + index}",
            class_uid=3002,
            activity_id=1,
            action="ssh-login",
            actor_name="deploy",
            outcome=Outcome.FAILURE if index < 11 else Outcome.SUCCESS,
            src_ip="203.0.113.5",
            device="web-1",
        )
        for index in range(12)
    ]
    sudo = event(
        "auditd",
        at=NIGHT + 938 * SECOND + 250_000_000,
        place="logs/audit.log:4410-4414",
        class_uid=1007,
        activity_id=1,
        action="execve",
        actor_name="root",
        actor_uid="0",
        invoked_by="deploy",
        session_uid="41",
        target_type="process",
        target_name="/bin/bash -i",
        device="web-1",
        notes=("proctitle was hexadecimal",),
    )
    execs = [
        event(
            at=NIGHT + (1500 + 90 * index) * SECOND,
            place=f"logs/k8s-audit.log:{1200 + index}",
            class_uid=6003,
            activity_id=1,
            action="create",
            actor_name="kube-deployer",
            actor_groups=("system:authenticated",),
            target_type="pods/exec",
            target_namespace="shop",
            target_name=f"cart-{index}",
            outcome=Outcome.SUCCESS,
            src_ip="10.20.0.14",
            user_agent="kubectl/v1.31.2",
            device="prod-eu",
            request_uid=f"0c5e-{index}",
        )
        for index in range(5)
    ]
    reads = [
        event(
            at=NIGHT + (2040 + 3 * index) * SECOND,
            place=f"logs/k8s-audit.log:{1460 + 2 * index}",
            class_uid=6003,
            activity_id=2,
            action="get",
            actor_name=_POD,
            target_type="secrets",
            target_namespace="shop",
            target_name=f"db-{index}",
            outcome=Outcome.SUCCESS,
            src_ip="10.20.3.7",
            device="prod-eu",
            request_uid=f"77aa-{index}",
        )
        for index in range(6)
    ]
    bind = event(
        at=NIGHT + 2210 * SECOND,
        place="logs/k8s-audit.log:1533",
        class_uid=6003,
        activity_id=1,
        action="create",
        actor_name=_POD,
        target_type="clusterrolebindings",
        target_name="cart-admin",
        outcome=Outcome.SUCCESS,
        src_ip="10.20.3.7",
        device="prod-eu",
        request_uid="77aa-99",
    )
    trails = [
        event(
            "cloudtrail",
            at=NIGHT + (3301 + 4 * index) * SECOND,
            place=f"logs/111122223333_CloudTrail_eu-west-1.json.gz:1#{14 + index}",
            class_uid=6003,
            activity_id=4,
            action="StopLogging",
            actor_name="arn:aws:sts::111122223333:assumed-role/cart/i-0abc",
            actor_type="AssumedRole",
            invoked_by="arn:aws:iam::111122223333:role/cart",
            target_type="AWS::CloudTrail::Trail",
            target_name="main",
            outcome=Outcome.FAILURE if index == 0 else Outcome.SUCCESS,
            outcome_detail="AccessDenied" if index == 0 else "",
            src_ip="203.0.113.5",
            user_agent="aws-cli/2.17",
            device="111122223333/eu-west-1",
            request_uid=f"e1-{index}",
        )
        for index in range(2)
    ]
    findings = [
        finding(
            GUESSED,
            *guesses,
            event_count=12,
            group=(("src_ip", "203.0.113.5"),),
            reason="12 events in 3 min 40 s, condition: 10 or more failures, then a success",
        ),
        finding(
            SUDO,
            sudo,
            explanation=Explanation(
                "all of",
                True,
                children=(
                    leaf("CommandLine ends with 'bash -i'", "CommandLine", "sudo /bin/bash -i"),
                    leaf("auid is not '4294967295'", "auid", "1001"),
                ),
            ),
        ),
        *(
            finding(
                EXEC,
                one,
                explanation=Explanation(
                    "selection",
                    True,
                    children=(
                        Explanation(
                            "any of",
                            True,
                            children=(
                                leaf("verb is 'create'", "verb", "create"),
                                Explanation("verb is 'get'", False, "verb", "create"),
                            ),
                        ),
                        leaf("objectRef.subresource is 'exec'", "objectRef.subresource", "exec"),
                        Explanation(
                            "not",
                            True,
                            children=(Explanation("filter_system", False),),
                        ),
                    ),
                ),
            )
            for one in execs
        ),
        finding(
            SECRETS,
            *reads,
            group=(("user.username", _POD),),
            reason="6 different secrets in 15 s, condition: at least 5",
        ),
        finding(
            ADMIN,
            bind,
            explanation=leaf("roleRef.name is 'cluster-admin'", "roleRef.name", "cluster-admin"),
        ),
        *(finding(TRAIL, one) for one in trails),
    ]
    return findings, totals_of(
        findings,
        events={"k8s_audit": 40_112, "linux_auth": 1_904, "auditd": 6_001, "cloudtrail": 230},
        files_read=4,
        records_read=60_377,
        bytes_read=62_113_441,
        failures=(
            FailureCount(
                reason="invalid JSON",
                lost=7,
                examples=tuple(
                    ParseFailure(
                        Origin("logs/k8s-audit.log", line),
                        "invalid JSON",
                        "the line ends inside a string at column 8192",
                    )
                    for line in (77, 80, 81, 112, 400)
                ),
            ),
            FailureCount(
                reason="duplicate key",
                kept=1,
                examples=(
                    ParseFailure(
                        Origin("logs/k8s-audit.log", 901),
                        "duplicate key",
                        "'verb' stands twice; the last one, 'get', was used",
                        lost=False,
                    ),
                ),
            ),
        ),
        rules_loaded=57,
        rules_by_dialect={"sigma": 57},
        rules_ran=44,
        rule_problems=(RuleProblem("rules/bad.yml", 12, "unknown modifier 'containz'", "My rule"),),
        rules_blind=(
            RuleProblem(
                "rules/host_path.yml",
                3,
                "'hostPath' is no field of a Kubernetes audit event",
                "Container With A hostPath Mount Created",
            ),
        ),
        rules_spilling=(
            RuleProblem("rules/guessing.yml", 7, "a group of it was large", "Password Guessing"),
        ),
    )


# --- hostile: every text is an attack on the reader --------------------------------------

EVIL = (
    "=cmd|'/c calc'!A1\n| forged | row |\r\n<script>alert(1)</script>\x1b[2J\x1b]0;owned\x07"
    "\u202etxt.exe\u2066 [click](https://evil.example) `code` ![x](http://evil.example/p.png)"
    "\x00\x7f\x9b31m\u2028\ufeff\udcff www.evil.example a@evil.example &lt; ${7*7} {{7*7}}"
)


TEXT_FIELDS = (
    "action",
    "actor_name",
    "actor_uid",
    "actor_type",
    "invoked_by",
    "session_uid",
    "target_type",
    "target_name",
    "target_namespace",
    "outcome_detail",
    "src_ip",
    "user_agent",
    "device",
    "request_uid",
)
"""Every field of an envelope that takes any text."""


def hostile() -> tuple[list[Finding], Totals]:
    info = rule(
        EVIL,
        Level.HIGH,
        uid=EVIL,
        path=EVIL,
        description=f"{EVIL}\nCheck first: {EVIL}",
        tags=(EVIL, f"attack.{EVIL}", "attack.t1078"),
        references=(EVIL,),
        false_positives=(EVIL,),
        author=EVIL,
        status=EVIL,
        dialect=EVIL,
    )
    deep: Any = "bottom"
    for _ in range(300):
        deep = [deep]
    document = {
        EVIL: EVIL,
        "big": 2**80,
        "huge": 2**5000,
        "nan": float("nan"),
        "deep": deep,
        "1": True,
    }
    one = event(
        place=f"{EVIL}:7",
        document=document,
        notes=(EVIL,),
        class_uid=6003,
        activity_id=99,
        actor_groups=(EVIL, ""),
        outcome=Outcome.FAILURE,
        **{name: EVIL.replace("A1", name) for name in TEXT_FIELDS},
    )
    no_time = event(at=0, document={"x": "y" * 70_000}, class_uid=1007, target_name="=1+1")
    beyond = event(at=2**70, document={}, actor_name="\t=2+2", src_ip="::ffff:203.0.113.9")
    findings = [
        finding(
            info,
            one,
            group=((EVIL, EVIL),),
            reason=EVIL,
            message=EVIL,
            values=((EVIL, EVIL),),
            explanation=Explanation(EVIL, True, EVIL, EVIL),
        ),
        finding(rule("No time", Level.LOW), no_time),
        finding(rule("Far future", Level.INFORMATIONAL), beyond),
        finding(rule("No events"), event_count=3),
    ]
    return findings, totals_of(
        findings,
        events={EVIL: 3},
        files_read=1,
        records_read=3,
        bytes_read=999,
        failures=(
            FailureCount(
                reason=EVIL, lost=1, examples=(ParseFailure(Origin(EVIL, 1), EVIL, EVIL),)
            ),
        ),
        rules_loaded=4,
        rules_by_dialect={EVIL: 4},
        rules_ran=4,
        rule_problems=(RuleProblem(EVIL, 1, EVIL, EVIL),),
    )


# --- none: nothing was found -------------------------------------------------------------


def none() -> tuple[list[Finding], Totals]:
    return [], Totals(
        events={"k8s_audit": 1},
        files_read=1,
        records_read=1,
        bytes_read=1311,
        rules_loaded=1,
        rules_by_dialect={"sigma": 1},
        rules_ran=1,
        elapsed_s=0.25,
    )


def totals_of(findings: list[Finding], **more: Any) -> Totals:
    times = [time for one in findings for time in (one.start_ns, one.time_ns)]
    levels = [one.rule.level for one in findings]
    return Totals(
        findings={level: levels.count(level) for level in Level},
        first_ns=min(times),
        last_ns=max(times),
        **more,
    )


def changed() -> tuple[list[Finding], Totals]:
    """What a stream says again, since events came late."""
    logins = [
        event("linux_auth", at=NIGHT + n * SECOND, place=f"auth.log:{n + 1}", actor_name="root")
        for n in range(3)
    ]
    burst = finding(rule("Many failed logins", Level.HIGH), *logins, reason="3 events in 2 s")
    late = "an event of 2026-03-03 02:00:01 UTC arrived late"
    findings = [
        burst,
        replace(burst, status=Status.AMENDED, revision=1, change=late, reason="4 events in 2 s"),
        replace(burst, status=Status.WITHDRAWN, revision=2, change=late),
    ]
    return findings, totals_of(findings, events={"linux_auth": 4}, rules_loaded=1, rules_ran=1)


STORIES: dict[str, Callable[[], tuple[list[Finding], Totals]]] = {
    "attack": attack,
    "changed": changed,
    "hostile": hostile,
    "none": none,
}


def hostile_text(max_size: int) -> st.SearchStrategy[str]:
    """Any text, rich in what harms a terminal, a table, a spreadsheet or a page."""
    unprinted = "\x00\n\r\t\x1b\x7f\x85\x9b\xa0\u200b\u202e\u2066\u2028\ufeff\udcff\U000e0041"
    meaning = "|`<>[]()!*_#$=+-@'\"\\ "
    return st.text(st.characters() | st.sampled_from(unprinted + meaning), max_size=max_size)


def rendered(
    sink: str, findings: list[Finding], totals: Totals, options: SinkOptions | None = None
) -> str:
    """What a sink writes for these findings."""
    stream = io.StringIO(newline="")
    writer = SINKS[sink].writer(stream, options or SinkOptions(width=80, colour=False))
    for one in findings:
        writer.write(one)
    writer.close(totals)
    return stream.getvalue()


def golden(sink: str, story: str) -> Path:
    """Where the expected output of a sink for a story stands."""
    return SAMPLES / sink / story / f"expected.{SUFFIXES[sink]}"


if __name__ == "__main__":
    for sink_name in SINKS:
        for story_name, story in STORIES.items():
            path = golden(sink_name, story_name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rendered(sink_name, *story()), encoding="utf-8", newline="")
