"""The parts of the benchmark: each measures one thing and adds its rows to the table."""

import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import datasets, dialects, matches, peers, product, rulesets
from benchmarks.measure import Contestant, Taken, cores, first_output, race, run, together
from benchmarks.table import Row

DATA = datasets.DATA
_BASELINE = Path(__file__).resolve().parent / "baseline.py"
TITLES = {
    "k8s": "Kubernetes audit",
    "cloudtrail": "CloudTrail",
    "cloudtrail-roles": "CloudTrail, an account of role sessions",
    "auditd": "auditd",
    "auth": "auth log",
}
_READING = "import orjson, sys\nfor line in open(sys.argv[1], 'rb'): orjson.loads(line)"
_WITH_GOALS = ("k8s", "cloudtrail")
_TEXT = {"auditd": 5, "auth": 1}
"""Formats that orjson cannot read → part of the events that is enough to measure them."""
_MEMORY_GOAL_MB = 300.0
_HUGE_BYTES = 2 * 10**9
_WHOLE_EVENTS = 100_000
"""With fewer, a run is a trial, in which nothing is measured over 1 GB."""


@dataclass
class Bench:
    """One run of the benchmark."""

    events: int
    rounds: int
    with_peers: bool
    rows: list[Row] = field(default_factory=list)
    differences: dict[str, list[str]] = field(default_factory=dict)
    """What differs between us and a peer → the peers of which that is true."""
    core: int = field(default_factory=lambda: cores()[-1])

    def say(self, text: str) -> None:
        """Progress goes to standard error; the table alone to standard output."""
        print(text, file=sys.stderr, flush=True)

    def add(self, row: Row) -> None:
        """Keep a row of the table, and show it."""
        self.rows.append(row)
        figure = row.value or ("" if row.wall is None else f"{row.wall:.2f} × orjson")
        self.say(f"[{row.part}] {row.what}: {figure} {row.note}")

    def contestant(self, name: str, argv: tuple[str, ...], cpus: int = 1) -> Contestant:
        """A command pinned to the core, or free on so many of them."""
        chosen = {self.core} if cpus == 1 else set(cores()[:cpus])
        out = DATA / "out" / (name.replace("/", "-").replace(" ", "-") + ".ndjson")
        out.parent.mkdir(parents=True, exist_ok=True)
        return Contestant(name, argv, out, frozenset(chosen), product.ENV)

    def yardstick(self, log: Path) -> Contestant:
        """orjson over every line of the log."""
        argv = (sys.executable, str(_BASELINE), str(log), "2")
        return self.contestant(f"orjson {log.name}", argv)

    def race(self, *contestants: Contestant) -> dict[str, Taken]:
        """Run them in turn; see `measure.race`."""
        return race(contestants, rounds=self.rounds, say=self.say)

    def rules(self, kind: str) -> rulesets.RuleSet | None:
        """Rules for a log that only `trailhound` is to read; None where it cannot run."""
        return None if product.missing() else rulesets.for_source(kind)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What orjson took for a log."""

    wall_s: float
    cpu_s: float

    @classmethod
    def of(cls, taken: dict[str, Taken], log: Path, scale: float = 1.0) -> "Yardstick":
        """Read it out of a race; `scale` stretches it to a log of another size."""
        own = taken[f"orjson {log.name}"].own
        return cls(own["reading_s"] * scale, own["reading_cpu_s"] * scale)

    def row(self, part: str, what: str, taken: Taken, goal: str = "", **more: Any) -> Row:
        """A row with both ratios; a goal that is a bare number is one for both of them."""
        wall, cpu = taken.wall_s / self.wall_s, taken.cpu_s / self.cpu_s
        limit = re.fullmatch(r"≤ ([\d.]+)", goal)
        met = max(wall, cpu) <= float(limit[1]) if limit else None
        return Row(part, what, wall, cpu, **{"goal": goal, "met": met, **more})


def _memory_row(part: str, what: str, peak_mb: float) -> Row:
    met = peak_mb <= _MEMORY_GOAL_MB
    return Row(part, what, value=f"{peak_mb:.0f} MB", goal="≤ 300 MB", met=met)


def speed(bench: Bench, kind: str) -> None:
    """Time for one log: ours with public rules and with our own pack, and every peer."""
    events = bench.events // _TEXT.get(kind, 1)
    log = datasets.log(kind, events=events)
    measured = datasets.log("k8s", events=bench.events) if kind in _TEXT else log
    rules = rulesets.for_source(kind.removesuffix("-roles"))
    ours: dict[str, Contestant] = {}
    if reason := product.missing():
        bench.say(f"trailhound left out: {reason}")
    else:
        ours["own"] = bench.contestant(f"builtin {kind}", product.command(log, None))
        if rules:
            argv = product.command(log, rules.folder)
            ours["all"] = bench.contestant(f"trailhound {kind}", argv)
            argv = product.inside(log, rules.folder)
            ours["inside"] = bench.contestant(f"inside {kind}", argv)
    raced = _raced(bench, log, rules) if kind not in _TEXT else []
    runners = [bench.yardstick(measured), *ours.values(), *(r.contestant for r in raced)]
    taken = bench.race(*runners)
    size = log.stat().st_size
    scale = size / measured.stat().st_size
    base = Yardstick.of(taken, measured, scale)
    part = f"{TITLES[kind]}: {events:,} events, {size / 1e6:.0f} MB"
    if kind in _TEXT:
        part += " (orjson's time for as many bytes of Kubernetes events)"
    parsing_s = taken[f"orjson {measured.name}"].own["parsing_s"] * scale
    bench.add(Row(part, "`orjson.loads` of every line, file read", 1.0, 1.0))
    bench.add(Row(part, "the same, lines already in memory", parsing_s / base.wall_s))
    done = {name: taken[c.name] for name, c in ours.items() if c.name in taken}
    if "all" in done and rules:
        what = f"`trailhound scan`, all {rules.count} {rules.label} rules"
        goal = "≤ 0.8" if kind in _WITH_GOALS else ""
        bench.add(base.row(part, what, done["all"], goal))
    if "inside" in done:
        ratio = done["inside"].own["inside_s"] / base.wall_s
        bench.add(Row(part, "the same without interpreter start and imports", ratio))
    if "own" in done:
        bench.add(base.row(part, "`trailhound scan`, built-in rules", done["own"]))
    _peer_rows(bench, kind, part, base, raced, taken, ours.get("all"))


@dataclass(frozen=True, slots=True)
class _Raced:
    """A peer in a race."""

    peer: peers.Peer
    env: Path
    contestant: Contestant


def _raced(bench: Bench, log: Path, rules: rulesets.RuleSet | None) -> list[_Raced]:
    """Every peer that can be run, over a log."""
    if not bench.with_peers or rules is None:
        return []
    return [
        _Raced(peer, env, bench.contestant(f"{peer.name} {log.stem}", argv))
        for peer in peers.PEERS
        if (env := peers.environment(peer, bench.say))
        and (argv := peer.command(env, log, rules.folder))
    ]


def _peer_rows(
    bench: Bench,
    kind: str,
    part: str,
    base: Yardstick,
    raced: list[_Raced],
    taken: dict[str, Taken],
    ours: Contestant | None,
) -> None:
    """Rows of the peers: what they took and found, next to ours."""
    rules = rulesets.for_source(kind.removesuffix("-roles"))
    mine = taken.get(ours.name) if ours else None
    for entry in raced:
        if entry.contestant.name not in taken:
            continue
        theirs = taken[entry.contestant.name]
        what = f"{entry.peer.title} ({peers.version(entry.peer, entry.env)})"
        seen = matches.read(entry.peer.name, entry.contestant.out)
        if mine is None or ours is None or rules is None:
            bench.add(base.row(part, what, theirs, note=f"{seen.total()} matches"))
            continue
        told, differing = matches.compare(matches.read("trailhound", ours.out), seen)
        titles = rulesets.titles(rules)
        for rule, (found, other) in differing.items():
            text = f"{part.partition(':')[0]}, *{titles.get(rule, rule)}*: we {found}, they {other}"
            bench.differences.setdefault(text, []).append(entry.peer.name)
        times = theirs.wall_s / mine.wall_s
        judged: dict[str, Any] = {}
        if kind in _WITH_GOALS:
            judged = {"goal": "≥ 5 × ours", "met": min(times, theirs.cpu_s / mine.cpu_s) >= 5}
        bench.add(base.row(part, what, theirs, note=f"{times:.1f} × our time; {told}", **judged))


def many_rules(bench: Bench) -> None:
    """500 rules against 50."""
    for kind in _WITH_GOALS:
        rules = bench.rules(kind)
        if rules is None:
            continue
        log = datasets.log(kind, events=bench.events)
        racers = [bench.yardstick(log)]
        for count in (50, 500):
            made = rulesets.multiply(rules, count, DATA / "rules" / f"{kind}-{count}")
            racers.append(bench.contestant(f"{count} {kind}", product.command(log, made.folder)))
        taken = bench.race(*racers)
        if len(taken) < len(racers):
            continue
        base = Yardstick.of(taken, log)
        part = f"Many rules: {TITLES[kind]}, real ones multiplied with changed values"
        small, large = taken[f"50 {kind}"], taken[f"500 {kind}"]
        times = large.wall_s / small.wall_s
        work = large.cpu_s / small.cpu_s
        met = max(times, work) <= 1.5
        note = f"{times:.2f} × 50 rules; cpu {work:.2f} ×"
        bench.add(base.row(part, "50 rules", small))
        bench.add(base.row(part, "500 rules", large, "≤ 1.5 × 50 rules", met=met, note=note))


def all_dialects(bench: Bench) -> None:
    """Rules of every dialect at once, 500 and more, over one log; and without the start."""
    if product.missing():
        return
    for kind in _WITH_GOALS:
        for repeating in (False, True):
            _all_dialects(bench, kind, repeating=repeating)


def _all_dialects(bench: Bench, kind: str, *, repeating: bool) -> None:
    name = f"{kind}-dialects" + "-repeating" * repeating
    folder = DATA / "rules" / name
    made = dialects.mixed(kind, 500, folder, repeating=repeating)
    named = ", ".join(f"{count} {dialect}" for dialect, count in made.items())
    part = f"All dialects together: {TITLES[kind]}, {sum(made.values())} rules: {named}"
    logs = {f"{bench.events:,} events": datasets.log(kind, events=bench.events)}
    if not repeating and bench.events >= _WHOLE_EVENTS:
        logs["1 GB"] = datasets.log(kind, size_bytes=10**9)
    for size, log in logs.items():
        ours = bench.contestant(f"{name} {size}", product.command(log, folder))
        rounds = bench.rounds if size != "1 GB" else min(bench.rounds, 2)
        taken = race((bench.yardstick(log), ours), rounds=rounds, say=bench.say)
        if ours.name not in taken:
            continue
        what = f"{size}, copies that repeat what their originals find" if repeating else size
        with ours.out.open("rb") as file:
            found = sum(1 for _ in file)
        note = f"{found:,} findings"
        base = Yardstick.of(taken, log)
        bench.add(base.row(part, what, taken[ours.name], "≤ 1.0", note=note))


def large(bench: Bench, kind: str, size_bytes: int) -> None:
    """Time and peak memory for one large log, where the start no longer counts; and the peers."""
    rules = bench.rules(kind)
    if rules is None:
        return
    log = datasets.path_of(kind, size_bytes=size_bytes)
    free = shutil.disk_usage(DATA).free
    if not log.exists() and free < size_bytes * 1.3:
        bench.say(f"skipped the {size_bytes / 1e9:g} GB log: {free / 1e9:.0f} GB of disk free")
        return
    datasets.log(kind, size_bytes=size_bytes)
    part = f"{TITLES[kind]}, {size_bytes / 1e9:g} GB: {rules.count} {rules.label} rules"
    huge = size_bytes > _HUGE_BYTES
    one = bench.contestant(f"large {kind}", product.command(log, rules.folder))
    raced = [] if huge else _raced(bench, log, rules)
    runners = [bench.yardstick(log), one, *(r.contestant for r in raced)]
    taken = race(runners, rounds=1 if huge else 2, say=bench.say)
    if huge:
        log.unlink()  # too large to keep
    if one.name not in taken:
        return
    single = taken[one.name]
    base = Yardstick.of(taken, log)
    note = f"{size_bytes / 1e6 / single.wall_s:.0f} MB/s"
    bench.add(base.row(part, "`trailhound scan`, one core", single, "≤ 0.8", note=note))
    bench.add(_memory_row(part, "peak memory", single.rss_mb))
    _peer_rows(bench, kind, part, base, raced, taken, one)


def workers(bench: Bench) -> None:
    """What a second core brings: to one log, and to a folder of four."""
    rules = bench.rules("k8s")
    if rules is None:
        return
    if len(cores()) < 2:
        bench.say("skipped --jobs 2: there is only one core")
        return
    folder = DATA / "four"
    folder.mkdir(parents=True, exist_ok=True)
    log = datasets.log("k8s", events=bench.events)
    for name in ("alder", "birch", "cedar", "douglas"):
        link = folder / f"{name}.log"
        link.unlink(missing_ok=True)
        link.hardlink_to(log)
    for what, path, logs in (("one log", log, 1), ("a folder of four logs", folder, 4)):
        racers = []
        for jobs in (1, 2):
            argv = product.command(path, rules.folder, jobs=jobs)
            racers.append(bench.contestant(f"jobs {jobs} {path.name}", argv, jobs))
        taken = bench.race(bench.yardstick(log), *racers)
        if len(taken) < 3:
            continue
        part = f"Two cores: {what}, {bench.events:,} Kubernetes events in each"
        base = Yardstick.of(taken, log, logs)
        one, two = (taken[racer.name] for racer in racers)
        bench.add(base.row(part, "`--jobs 1`", one))
        # The kernel does not add the workers' processor time to that of the command.
        note = f"{one.wall_s / two.wall_s:.2f} × as fast as one"
        bench.add(Row(part, "`--jobs 2`", two.wall_s / base.wall_s, note=note))
        peak = run(racers[1], whole_tree=True).rss_mb
        bench.add(_memory_row(part, "peak memory, all processes", peak))
    part = "Two cores: the yardstick by itself, twice at once"
    reading = (sys.executable, "-c", _READING, str(log))
    alone, both = (
        min(together(reading, [{core} for core in cores()[:count]]) for _ in range(bench.rounds))
        for count in (1, 2)
    )
    # Cores of a virtual machine may be halves of one.
    note = f"two processes at once do {2 * alone / both:.2f} × the work of one in the same time"
    bench.add(Row(part, "one on each core", both / alone, note=note))


def first_finding(bench: Bench) -> None:
    """From the start of the command to the first finding printed."""
    rules = bench.rules("k8s")
    if rules is None:
        return
    log = datasets.log("k8s", size_bytes=10**9)
    command = bench.contestant("first", product.command(log, rules.folder))
    part = "Start to first finding, 1 GB Kubernetes audit"
    shutil.rmtree(product.ENV["XDG_CACHE_HOME"], ignore_errors=True)
    cold = first_output(command)
    warm = [s for _ in range(max(2, bench.rounds)) if (s := first_output(command)) is not None]
    if cold is None or not warm:
        bench.say("no finding was printed")
        return
    least = min(warm)
    bench.add(
        Row(part, "rules compiled before", value=f"{least:.2f} s", goal="< 1.5 s", met=least < 1.5)
    )
    bench.add(Row(part, "rules compiled now", value=f"{cold:.2f} s"))
