"""Race `trailhound scan` against orjson and its peers: `make bench`.

Every figure is a ratio to the time that `for line in file: orjson.loads(line)` takes for the same
file in the same run on the same core. All of it is measured in child processes, in turn,
round after round; the best of the rounds counts.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks import lake, parts, product, windows
from benchmarks.table import machine, markdown, write_readme


def main(argv: list[str] | None = None) -> int:
    """Run the parts asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="per log (default 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="best of so many (default 5)")
    names = (
        *parts.TITLES,
        "rules",
        "dialects",
        "windows",
        "large",
        "large-cloudtrail",
        "jobs",
        "first",
        "lake",
        "huge",
        "lake-huge",
    )
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="PART", default=[], help=", ".join(names)
    )
    parser.add_argument("--no-peers", action="store_true", help="leave Tenzir and the like out")
    parser.add_argument(
        "--huge", action="store_true", help="also a 10 GB log, a lake of 100 million"
    )
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    args = parser.parse_args(argv)
    bench = parts.Bench(args.events, args.rounds, with_peers=not args.no_peers)
    if reason := product.missing():
        bench.say(f"`trailhound scan` is not measured: {reason}")
    known: dict[str, Callable[[parts.Bench], None]] = {
        kind: functools.partial(parts.speed, kind=kind) for kind in parts.TITLES
    }
    known |= {
        "rules": parts.many_rules,
        "dialects": parts.all_dialects,
        "windows": windows.live_keys,
        "large": functools.partial(parts.large, kind="k8s", size_bytes=10**9),
        "large-cloudtrail": functools.partial(parts.large, kind="cloudtrail", size_bytes=10**9),
        "jobs": parts.workers,
        "first": parts.first_finding,
        "lake": functools.partial(lake.hunting, events=10**7),
        "lake-huge": functools.partial(lake.hunting, events=10**8),
        "huge": functools.partial(parts.large, kind="k8s", size_bytes=10**10),
    }
    chosen = args.only or [name for name in names if args.huge or not name.endswith("huge")]
    begun = time.perf_counter()
    loads = [os.getloadavg()[0]]
    for name in chosen:
        known[name](bench)
        loads.append(os.getloadavg()[0])
    taken_min = (time.perf_counter() - begun) / 60
    text = markdown(
        bench.rows,
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, best of {args.rounds}, {taken_min:.0f} min, "
        f"load {min(loads):.1f} to {max(loads):.1f} (1 is ours).",
    )
    if bench.differences:
        text += "\n\nMatches that differ from a peer's:\n\n"
        text += "\n".join(f"- {t} ({', '.join(p)})" for t, p in sorted(bench.differences.items()))
    print(text)
    if args.write_readme:
        write_readme(text)
    missed = sum(row.met is False for row in bench.rows)
    bench.say(f"{missed} goals missed" if missed else "all goals met")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
