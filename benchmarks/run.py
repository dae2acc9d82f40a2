"""Race `trailhound scan` against orjson and its peers: `make bench`.

Every figure is a ratio to the time that `for line in file: orjson.loads(line)` takes for the same
file in the same run on the same core. All of it is measured in child processes, in turn,
round after round; the best of the rounds counts.
"""

import argparse
import functools
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import datasets, matches, peers, product, rulesets
from benchmarks.measure import Contestant, Taken, cores, first_output, race, run
from benchmarks.table import Row, machine, markdown, write_readme

DATA = datasets.DATA
_BASELINE = Path(__file__).resolve().parent / "baseline.py"
_TITLES = {
    "k8s": "Kubernetes audit",
    "cloudtrail": "CloudTrail",
    "cloudtrail-roles": "CloudTrail, an account of role sessions",
    "auditd": "auditd",
    "auth": "auth log",
}
_MEMORY_GOAL_MB = 300.0


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
        return self.contestant(
            f"orjson {log.name}", (sys.executable, str(_BASELINE), str(log), "2")
        )

    def race(self, *contestants: Contestant) -> dict[str, Taken]:
        """Run them in turn; see `measure.race`."""
        return race(contestants, rounds=self.rounds, say=self.say)


def _reading(taken: dict[str, Taken], log: Path) -> float:
    return taken[f"orjson {log.name}"].own["reading_s"]


def speed(bench: Bench, kind: str) -> None:
    """Time for one log: ours with public rules and with our own pack, and every peer."""
    json_lines = kind in ("k8s", "cloudtrail", "cloudtrail-roles")
    events = bench.events if json_lines else bench.events // 5
    log = datasets.log(kind, events=events)
    measured = log if json_lines else datasets.log("k8s", events=bench.events)
    scale = log.stat().st_size / measured.stat().st_size
    rules = rulesets.for_source(kind.removesuffix("-roles"))
    racers = [bench.yardstick(measured)]
    out: dict[str, Contestant] = {}
    if reason := product.missing():
        bench.say(f"trailhound left out: {reason}")
    else:
        builtin = bench.contestant(f"builtin {kind}", product.command(log, None))
        racers.append(builtin)
        if rules:
            out["trailhound"] = bench.contestant(
                f"trailhound {kind}", product.command(log, rules.folder)
            )
            inside = bench.contestant(f"inside {kind}", product.inside(log, rules.folder))
            racers += [out["trailhound"], inside]
    raced: dict[str, tuple[peers.Peer, Path]] = {}
    if bench.with_peers and json_lines and rules:
        for peer in peers.PEERS:
            if env := peers.environment(peer, bench.say):
                raced[peer.name] = (peer, env)
                out[peer.name] = bench.contestant(
                    f"{peer.name} {kind}", peer.command(env, log, rules.folder)
                )
                racers.append(out[peer.name])
    taken = bench.race(*racers)
    base = _reading(taken, measured) * scale
    part = f"{_TITLES[kind]}: {events:,} events, {log.stat().st_size / 1e6:.0f} MB"
    if not json_lines:
        part += " (orjson's time for as many bytes of Kubernetes events)"
    parsing = taken[f"orjson {measured.name}"].own["parsing_s"] * scale
    bench.add(Row(part, "`orjson.loads` of every line, file read", 1.0))
    bench.add(Row(part, "the same, lines already in memory", parsing / base))
    _our_rows(bench, kind, part, taken, base, rules, judged=kind in ("k8s", "cloudtrail"))
    ours_s = taken[f"trailhound {kind}"].wall_s if f"trailhound {kind}" in taken else None
    found = matches.read("trailhound", out["trailhound"].out) if ours_s else None
    for name, (peer, env) in raced.items():
        if f"{name} {kind}" not in taken:
            continue
        theirs = taken[f"{name} {kind}"]
        seen = matches.read(name, out[name].out)
        note = f"{seen.total()} matches"
        if found is not None and ours_s:
            told, differing = matches.compare(found, seen)
            titles = rulesets.titles(rules) if rules else {}
            for rule, (mine, other) in differing.items():
                text = f"{_TITLES[kind]}, *{titles.get(rule, rule)}*: we {mine}, they {other}"
                bench.differences.setdefault(text, []).append(peer.name)
            note = f"{theirs.wall_s / ours_s:.1f} × our time; {told}"
        what = f"{peer.title} ({peers.version(peer, env)})"
        met = theirs.wall_s / ours_s >= 5 if ours_s else None
        goal = "≥ 5 × ours" if ours_s else ""
        bench.add(Row(part, what, theirs.wall_s / base, theirs.cpu_s / base, "", goal, met, note))


def _our_rows(
    bench: Bench,
    kind: str,
    part: str,
    taken: dict[str, Taken],
    base: float,
    rules: rulesets.RuleSet | None,
    *,
    judged: bool,
) -> None:
    whole, inside = taken.get(f"trailhound {kind}"), taken.get(f"inside {kind}")
    if whole and rules:
        what = f"`trailhound scan`, all {rules.count} {rules.label} rules"
        ratio = whole.wall_s / base
        goal, met = ("≤ 0.8", ratio <= 0.8) if judged else ("", None)
        bench.add(Row(part, what, ratio, whole.cpu_s / base, "", goal, met))
    if inside:
        ratio = inside.own["inside_s"] / base
        bench.add(Row(part, "the same without interpreter start and imports", ratio))
    if own := taken.get(f"builtin {kind}"):
        ratio = own.wall_s / base
        what = "`trailhound scan`, built-in rules"
        bench.add(Row(part, what, ratio, own.cpu_s / base))


def many_rules(bench: Bench) -> None:
    """500 rules against 50."""
    for kind in ("k8s", "cloudtrail"):
        rules = rulesets.for_source(kind)
        if product.missing() or rules is None:
            continue
        log = datasets.log(kind, events=bench.events)
        racers = [bench.yardstick(log)]
        for count in (50, 500):
            made = rulesets.multiply(rules, count, DATA / "rules" / f"{kind}-{count}")
            racers.append(bench.contestant(f"{count} {kind}", product.command(log, made.folder)))
        taken = bench.race(*racers)
        if len(taken) < len(racers):
            continue
        base = _reading(taken, log)
        part = f"Many rules: {_TITLES[kind]}, real ones multiplied with changed values"
        small, large = taken[f"50 {kind}"], taken[f"500 {kind}"]
        bench.add(Row(part, "50 rules", small.wall_s / base, small.cpu_s / base))
        times = large.wall_s / small.wall_s
        bench.add(
            Row(part, "500 rules", large.wall_s / base, large.cpu_s / base, "",
                "≤ 1.5 × 50 rules", times <= 1.5, f"{times:.2f} × 50 rules")
        )  # fmt: skip


def memory(bench: Bench, size_bytes: int) -> None:
    """Time and peak memory for one large log."""
    rules = rulesets.for_source("k8s")
    if product.missing() or rules is None:
        return
    log = datasets.path_of("k8s", size_bytes=size_bytes)
    free = shutil.disk_usage(DATA).free
    if not log.exists() and free < size_bytes * 1.3:
        bench.say(f"skipped the {size_bytes / 1e9:.0f} GB log: {free / 1e9:.0f} GB of disk free")
        return
    datasets.log("k8s", size_bytes=size_bytes)
    part = (
        f"Large log: Kubernetes audit, {size_bytes / 1e9:g} GB, {rules.count} {rules.label} rules"
    )
    one = bench.contestant("large", product.command(log, rules.folder))
    rounds = 1 if size_bytes > 2 * 10**9 else 2
    taken = race([bench.yardstick(log), one], rounds=rounds, say=bench.say)
    if "large" not in taken:
        return
    base = _reading(taken, log)
    single = taken["large"]
    ratio = single.wall_s / base
    speed_told = f"{size_bytes / 1e6 / single.wall_s:.0f} MB/s"
    bench.add(
        Row(part, "one core", ratio, single.cpu_s / base, "", "≤ 0.8", ratio <= 0.8, speed_told)
    )
    peak = f"{single.rss_mb:.0f} MB"
    met = single.rss_mb <= _MEMORY_GOAL_MB
    bench.add(Row(part, "peak memory", value=peak, goal="≤ 300 MB", met=met))
    if size_bytes > 2 * 10**9:
        log.unlink()  # too large to keep


def workers(bench: Bench) -> None:
    """What a second core brings: to one log, and to a folder of four."""
    rules = rulesets.for_source("k8s")
    if product.missing() or rules is None:
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
    for what, path in (("one log", log), ("a folder of four logs", folder)):
        part = f"Two cores: {what} of {bench.events:,} Kubernetes events each"
        racers = [
            bench.contestant(
                f"jobs {jobs} {path.name}", product.command(path, rules.folder, jobs=jobs), jobs
            )
            for jobs in (1, 2)
        ]
        taken = bench.race(bench.yardstick(log), *racers)
        if len(taken) < 3:
            continue
        base = _reading(taken, log) * (4 if path is folder else 1)
        one, two = (taken[racer.name] for racer in racers)
        bench.add(Row(part, "`--jobs 1`", one.wall_s / base, one.cpu_s / base))
        note = f"{one.wall_s / two.wall_s:.2f} × as fast as one"
        # The kernel does not add the workers' processor time to that of the command.
        bench.add(Row(part, "`--jobs 2`", two.wall_s / base, note=note))
        peak = run(racers[1], whole_tree=True).rss_mb
        bench.add(Row(part, "peak memory, all processes", value=f"{peak:.0f} MB", goal="≤ 300 MB",
                      met=peak <= _MEMORY_GOAL_MB))  # fmt: skip


def first_finding(bench: Bench) -> None:
    """From the start of the command to the first finding printed."""
    rules = rulesets.for_source("k8s")
    if product.missing() or rules is None:
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
    bench.add(Row(part, "rules compiled before", value=f"{min(warm):.2f} s", goal="< 1.5 s",
                  met=min(warm) < 1.5))  # fmt: skip
    bench.add(Row(part, "rules compiled now", value=f"{cold:.2f} s"))


def main(argv: list[str] | None = None) -> int:
    """Run the parts asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="per log (default 100000)")
    parser.add_argument("--rounds", type=int, default=5)
    names = (*_TITLES, "rules", "memory", "jobs", "first", "huge")
    parser.add_argument("--only", nargs="+", metavar="PART", default=[], help=", ".join(names))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--huge", action="store_true", help="also a 10 GB log")
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    args = parser.parse_args(argv)
    bench = Bench(args.events, args.rounds, with_peers=not args.no_peers)
    if reason := product.missing():
        bench.say(f"`trailhound scan` is not measured: {reason}")
    parts: dict[str, Callable[[], None]] = {
        kind: functools.partial(speed, bench, kind) for kind in _TITLES
    }
    parts["rules"] = functools.partial(many_rules, bench)
    parts["memory"] = functools.partial(memory, bench, 10**9)
    parts["jobs"] = functools.partial(workers, bench)
    parts["first"] = functools.partial(first_finding, bench)
    if args.huge or "huge" in args.only:
        parts["huge"] = functools.partial(memory, bench, 10**10)
    if unknown := set(args.only) - parts.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    begun = time.perf_counter()
    for name, part in parts.items():
        if not args.only or name in args.only:
            part()
    taken_min = (time.perf_counter() - begun) / 60
    heading = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, best of {args.rounds}, {taken_min:.0f} min"
    )
    text = markdown(bench.rows, heading)
    if bench.differences:
        text += "\n\nMatches that differ from a peer's:\n\n"
        text += "\n".join(f"- {t} ({', '.join(p)})" for t, p in sorted(bench.differences.items()))
    print(text)
    if args.write_readme:
        write_readme(text)
    missed = [row for row in bench.rows if row.met is False]
    bench.say(f"{len(missed)} goals missed" if missed else "all goals met")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
