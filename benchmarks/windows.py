"""The part `windows`: what a million live keys cost."""

from pathlib import Path

import orjson

from benchmarks import product
from benchmarks.datasets import DATA
from benchmarks.measure import race
from benchmarks.parts import Bench
from benchmarks.table import Row

KEYS_PER_EVENT = 10
"""The log has so many times the keys that other logs have events: a million by default."""

_RULE = """title: Secret read
id: 5ca1ab1e-0000-4000-8000-000000000001
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
    selection: {verb: get, objectRef.resource: secrets}
    condition: selection
level: low
"""
_WINDOW = """---
title: Status codes of one user that add up
id: 5ca1ab1e-0000-4000-8000-000000000002
correlation:
    type: value_sum
    rules: [secret_read]
    group-by: [user.username]
    timespan: 30d
    condition: {field: responseStatus.code, gte: 500}
level: high
"""
_COUNT = """---
title: Three secrets read by one user
id: 5ca1ab1e-0000-4000-8000-000000000003
correlation:
    type: event_count
    rules: [secret_read]
    group-by: [user.username]
    timespan: 30d
    condition: {gte: 3}
level: high
"""
_MEMORY_GOAL_MB = 2000.0


def live_keys(bench: Bench) -> None:
    """A log in which every event begins a group that stays alive, with and without a window.

    Behind a sum, since groups that a window counts too few events of are not begun at all; what
    that does is a row of its own.
    """
    if product.missing():
        return
    keys = bench.events * KEYS_PER_EVENT
    log = _log(keys)
    racers = []
    kinds = {"stateless": _RULE, "stateful": _RULE + _WINDOW, "counting": _RULE + _COUNT}
    for name, text in kinds.items():
        folder = DATA / "rules" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rule.yml").write_text(text)
        racers.append(bench.contestant(f"{name} keys", product.command(log, folder)))
    taken = race(racers, rounds=min(2, bench.rounds), say=bench.say)
    if len(taken) < len(racers):
        return
    plain, windowed, counting = (taken[racer.name] for racer in racers)
    part = f"Windows: {keys:,} live keys, one event each, {log.stat().st_size / 1e6:.0f} MB"
    bench.add(Row(part, "the rule by itself, a finding each", value=f"{plain.wall_s:.1f} s"))
    times, work = windowed.wall_s / plain.wall_s, windowed.cpu_s / plain.cpu_s
    bench.add(
        Row(
            part,
            "the rule behind a window by user (a sum)",
            value=f"{times:.2f} × that",
            goal="≤ 2",
            met=max(times, work) <= 2,
            note=f"cpu {work:.2f} ×",
        )
    )
    met = windowed.rss_mb <= _MEMORY_GOAL_MB
    bench.add(
        Row(part, "peak memory", value=f"{windowed.rss_mb:.0f} MB", goal="≤ 2000 MB", met=met)
    )
    times, work = counting.wall_s / plain.wall_s, counting.cpu_s / plain.cpu_s
    bench.add(
        Row(
            part,
            "behind a window that asks for three events of a user",
            value=f"{times:.2f} × that",
            note=f"cpu {work:.2f} ×, {counting.rss_mb:.0f} MB: no group has enough to be begun",
        )
    )


def _log(keys: int) -> Path:
    path = DATA / f"keys-{keys}.jsonl"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        for n in range(keys):
            file.write(orjson.dumps(_event(n), option=orjson.OPT_APPEND_NEWLINE))
    partial.rename(path)
    return path


def _event(n: int) -> dict[str, object]:
    second, micro = divmod(n * 37, 1_000_000)
    stamp = (
        f"2026-03-03T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}.{micro:06}Z"
    )
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"5ca1ab1e-0000-4000-a000-{n:012x}",
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/team-{n % 97}/secrets/token-{n % 1009}",
        "verb": "get",
        "user": {"username": f"user-{n:07}@example.com", "groups": ["system:authenticated"]},
        "sourceIPs": [f"198.51.100.{n % 250}"],
        "userAgent": "kubectl/v1.33.1 (linux/amd64) kubernetes/1f5d1a0",
        "objectRef": {
            "resource": "secrets",
            "namespace": f"team-{n % 97}",
            "name": f"token-{n % 1009}",
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": stamp,
        "stageTimestamp": stamp,
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }
