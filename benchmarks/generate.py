"""Write a made-up log: `python -m benchmarks.generate k8s --events 100000 --seed 1 --out FILE`."""

import argparse
import gzip
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.shapes import auditd, cloudtrail, k8s_audit, linux_auth

KINDS: dict[str, Callable[[int], Iterator[str]]] = {
    "k8s": k8s_audit.lines,
    "cloudtrail": cloudtrail.lines,
    "cloudtrail-roles": cloudtrail.lines_of_roles,
    "auditd": auditd.events,
    "auth": linux_auth.lines_iso,
    "auth-rfc3164": linux_auth.lines_rfc3164,
}
"""Name → endless stream of events for a seed; an auditd event is several lines."""

_BATCH = 2_000


def write(
    kind: str, out: Path, *, seed: int, events: int = 0, size_bytes: int = 0
) -> tuple[int, int]:
    """Write a log of so many events, or of at least so many bytes; flat in memory.

    Returns:
        Events and bytes written.
    """
    stream = KINDS[kind](seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    done = written = 0
    with partial.open("wb") as file:
        while (done < events) if events else (written < size_bytes):
            count = min(_BATCH, events - done) if events else _BATCH
            block = "\n".join(itertools.islice(stream, count)) + "\n"
            written += file.write(block.encode())
            done += count
    partial.replace(out)
    return done, written


def write_records(folder: Path, *, seed: int, events: int, per_file: int = 400) -> int:
    """Write CloudTrail as it lies in S3: gzip files of `{"Records":[…]}` under dated folders.

    Returns:
        Files written.
    """
    stream = cloudtrail.lines(seed)
    files = 0
    while events > 0:
        count = min(per_file, events)
        records = list(itertools.islice(stream, count))
        path = folder / cloudtrail.object_key(records[-1], files)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            packed.write(f'{{"Records":[{",".join(records)}]}}'.encode())
        events -= count
        files += 1
    return files


def _size(text: str) -> int:
    units = {"k": 10**3, "m": 10**6, "g": 10**9}
    unit = units.get(text[-1:].lower(), 1)
    return int(float(text.rstrip("kKmMgG")) * unit)


def main(argv: list[str] | None = None) -> int:
    """Write one log as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, "cloudtrail-gz"])
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--events", type=int, default=0, help="how many events (default 100000)")
    amount.add_argument("--size", type=_size, default=0, help="at least so many bytes: 500M, 1G")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, required=True, help="a file; a folder for cloudtrail-gz"
    )
    args = parser.parse_args(argv)
    events = args.events or (0 if args.size else 100_000)
    begun = time.perf_counter()
    if args.kind == "cloudtrail-gz":
        if not events:
            parser.error("cloudtrail-gz takes --events")
        count = write_records(args.out, seed=args.seed, events=events)
        told = f"{events} events in {count} files"
    else:
        done, written = write(
            args.kind, args.out, seed=args.seed, events=events, size_bytes=args.size
        )
        told = f"{done} events, {written / 1e6:.1f} MB, {written / done:.0f} bytes an event"
    print(f"{args.out}: {told}, {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
