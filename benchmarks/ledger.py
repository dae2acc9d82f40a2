"""What sealing costs, in multiples of `orjson.loads`: `python -m benchmarks.ledger`.

In one process, in processor time, best of the rounds; the disk is left out of it but for the
calls themselves. Lines and batches are as a server would have them: one record each, 500 a batch.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from benchmarks.datasets import DATA
from trailhound.ledger.audit import audit
from trailhound.ledger.leaf import Sealed, seal
from trailhound.ledger.log import Ledger, create
from trailhound.ledger.notes import Signer
from trailhound.ledger.redaction import Redactor

_BATCH = 500


def main() -> None:
    """Print a table for each log."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="per log (default 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="best of so many (default 3)")
    args = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    for kind in ("k8s", "cloudtrail"):
        log = DATA / f"ledger-{kind}-{args.events}.log"
        if not log.exists():
            asked = ("--events", str(args.events), "--seed", "1", "--out", str(log))
            command = [sys.executable, "-m", "benchmarks.generate", kind, *asked]
            subprocess.run(command, check=True)
        lines = _records(log)
        print(f"\n{kind}: {len(lines):,} records of {sum(map(len, lines)) // len(lines):,} bytes")
        print("| what | × orjson |\n|---|---|")
        _table(lines, args.rounds)


def _records(log: Path) -> list[bytes]:
    lines = log.read_bytes().splitlines()
    if len(lines) == 1:  # a file of CloudTrail: one line
        return [orjson.dumps(record) for record in orjson.loads(lines[0])["Records"]]
    return lines


def _table(lines: list[bytes], rounds: int) -> None:
    redactor = Redactor(b"k" * 32)
    signer = Signer("bench.example", bytes(32))
    sealed: list[Sealed] = []

    def redact() -> None:
        for line in lines:
            redactor.redact(line)

    def make() -> None:
        sealed[:] = [
            seal(line, source="bench", place=str(n), received_ns=n, redactor=redactor)
            for n, line in enumerate(lines)
        ]

    def append(folder: Path, *, keep_records: bool) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        create(folder, signer, keep_records=keep_records)
        with Ledger(folder, signer) as ledger:
            for at in range(0, len(sealed), _BATCH):
                ledger.append(sealed[at : at + _BATCH])
            ledger.sign_head(1)

    unit = _best(lambda: [orjson.loads(line) for line in lines], rounds)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "ledger"
        for what, run in (
            ("find and replace secrets", redact),
            ("the same, and make entries", make),
            ("append entries, sign", lambda: append(folder, keep_records=False)),
            ("append entries and records, sign", lambda: append(folder, keep_records=True)),
            ("verify all of it", lambda: audit(folder, signer.verifier)),
        ):
            print(f"| {what} | {_best(run, rounds) / unit:.2f} |", flush=True)


def _best(run: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


if __name__ == "__main__":
    main()
