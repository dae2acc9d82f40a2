"""All dialects together: one log, and rules of every language that can read it.

Public rules where the corpora are there, and copies of them, until there are as many as asked for.
What a copy asks for is still of the shape of real rules: it shares verbs, resources and names with
real traffic. It is narrowed to one namespace or account, as the rule of one team is, and finds
nothing new; or, where copies are to repeat what they find, changed in what seldom tells.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks import rulesets

_CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
_FALCO = {
    "k8s": _CORPORA / "falco" / "k8s_audit_rules.yaml",
    "cloudtrail": _CORPORA / "falco" / "aws_cloudtrail_rules.yaml",
}
_INDEX = {"k8s": "filebeat-kubernetes-audit-*", "cloudtrail": "filebeat-cloudtrail-*"}
_PREFIXES = {"k8s": "kubernetes.audit.", "cloudtrail": "aws.cloudtrail."}
_QUERIES = {
    "k8s": (
        "@verb: create AND @objectRef.resource: clusterrolebindings",
        "@objectRef.resource: pods AND @objectRef.subresource: exec",
        "@verb: (delete OR deletecollection) AND NOT @user.username: system*",
        "@objectRef.resource: secrets AND @verb: (get OR list)",
        "@responseStatus.code: [401 TO 403]",
        r"@user.username: system\:anonymous AND NOT @requestURI: \/healthz*",
    ),
    "cloudtrail": (
        "@event_name: ConsoleLogin AND @error_message: *",
        "@event_source: iam.amazonaws.com AND @event_name: (CreateUser OR CreateAccessKey)",
        "@event_name: Delete* AND @error_code: AccessDenied",
        "@event_name: (StopLogging OR DeleteTrail OR UpdateTrail)",
        "@user_identity.type: Root AND NOT @event_type: AwsServiceEvent",
        "@event_name: PutBucketPolicy AND @aws_region: eu-*",
    ),
}
"""Queries as people write them; `@` stands for what an index has in front of its fields."""
_TYPES: tuple[dict[str, Any], ...] = (
    {"type": "any"},
    {"type": "frequency", "num_events": 20, "timeframe": {"minutes": 5}},
    {"type": "cardinality", "max_cardinality": 10, "timeframe": {"minutes": 10}},
)
_KEYS = {"k8s": "kubernetes.audit.user.username", "cloudtrail": "aws.cloudtrail.user_identity.arn"}
_TEAM = {
    "k8s": (
        "ka.target.namespace = team-{}",
        "kubernetes.audit.objectRef.namespace: team-{}",
    ),
    "cloudtrail": (
        'ct.user.accountid = "90{:010}"',
        'cloud.account.id: "90{:010}"',
    ),
}
"""What a rule of one team asks besides, in Falco's words and in those of a query."""
_SHARES = {"sigma": 0.6, "falco": 0.3, "elastalert": 0.1}
"""Part of the copies that each dialect has."""
_WORD = r"[A-Za-z0-9_./:*-]+"
_NAME, _END = r"(?<![\w.])", r"(?![\w.])"
"""What a macro's name stands between: it may be a part of a field's."""
_LITERAL = re.compile(rf"(=|startswith |contains |endswith )({_WORD})")


def mixed(kind: str, count: int, out: Path, *, repeating: bool = False) -> dict[str, int]:
    """Write at least so many rules of all dialects into a folder; return how many of each.

    Args:
        kind: of the log.
        count: how many.
        out: the folder, which is emptied first.
        repeating: many copies of Falco's rules and of queries find what their originals find.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    made: dict[str, int] = {}
    public = rulesets.for_source(kind)
    if public is not None:
        wanted = max(public.count, int(count * _SHARES["sigma"]))
        made["sigma"] = rulesets.multiply(public, wanted, out / "sigma").count
    own = rulesets.files(rulesets.OURS[kind])
    for path in own:
        (out / "own").mkdir(exist_ok=True)
        shutil.copy(path, out / "own")
    made["built-in"] = len(own)
    if _FALCO[kind].is_file():
        team = "" if repeating else _TEAM[kind][0]
        made["falco"] = _falco(_FALCO[kind], int(count * _SHARES["falco"]), out / "falco", team)
    team = "" if repeating else _TEAM[kind][1]
    wanted = int(count * _SHARES["elastalert"])
    made["elastalert"] = _elastalert(kind, wanted, out / "elastalert", team)
    return made


def _falco(source: Path, count: int, out: Path, team: str) -> int:
    """Copies of the rules of a file: each narrowed to a team, or with macros of its own."""
    entries = yaml.safe_load(source.read_text("utf-8"))
    macros = {e["macro"]: e["condition"] for e in entries if "macro" in e}
    rules = [e for e in entries if "rule" in e and e.get("enabled", True) and "condition" in e]
    copies: list[dict[str, Any]] = []
    made = len(rules)
    for turn in range(1, 1 + count // max(1, len(rules))):
        for rule in rules:
            if made >= count:
                break
            if team:
                condition = f"({rule['condition']}) and {team.format(turn)}"
                copies.append({**rule, "rule": f"{rule['rule']} ({turn})", "condition": condition})
            else:
                copies.extend(_changed(rule, macros, turn))
            made += 1
    out.mkdir(parents=True)
    # The copies name macros and lists of the original: Falco reads files in their order.
    (out / "a-original.yaml").write_text(source.read_text("utf-8"), "utf-8")
    (out / "b-copies.yaml").write_text(yaml.safe_dump(copies, sort_keys=False), "utf-8")
    return made


def _changed(rule: dict[str, Any], macros: dict[str, str], turn: int) -> Iterator[dict[str, Any]]:
    name = f"{rule['rule']} ({turn})"
    condition = " ".join(str(rule["condition"]).split())
    named = [m for m in dict.fromkeys(re.findall(rf"{_NAME}(\w+){_END}", condition)) if m in macros]
    fitting = [m for m in named if _LITERAL.search(macros[m])]
    if _LITERAL.search(condition) or not fitting:
        yield {**rule, "rule": name, "condition": _other(condition, turn)}
        return
    macro = fitting[turn % len(fitting)]
    own = f"{macro}_{turn}_{re.sub(r'[^a-z0-9]+', '_', str(rule['rule']).lower())}"
    yield {"macro": own, "condition": _other(" ".join(macros[macro].split()), turn)}
    yield {**rule, "rule": name, "condition": re.sub(rf"{_NAME}{macro}{_END}", own, condition)}


def _other(condition: str, turn: int) -> str:
    return _LITERAL.sub(lambda found: f"{found[1]}{found[2]}x{turn}", condition, count=1)


def _elastalert(kind: str, count: int, out: Path, team: str) -> int:
    out.mkdir(parents=True)
    for number in range(count):
        query = _QUERIES[kind][number % len(_QUERIES[kind])].replace("@", _PREFIXES[kind])
        turn = number // len(_QUERIES[kind])
        if turn and team:
            query += f" AND {team.format(turn)}"
        elif turn:
            words = query.split(" AND ")
            words[turn % len(words)] += f" AND NOT {_KEYS[kind]}: team{turn}*"
            query = " AND ".join(words)
        rule = {
            "name": f"Query {number}",
            "index": _INDEX[kind],
            **_TYPES[number % len(_TYPES)],
            "query_key": _KEYS[kind],
            "filter": [{"query": {"query_string": {"query": query}}}],
        }
        if rule["type"] == "cardinality":
            rule["cardinality_field"] = "source.ip"
        (out / f"{number:04d}.yaml").write_text(yaml.safe_dump(rule, sort_keys=False), "utf-8")
    return count
