"""Run `trailhound` inside this interpreter and time it without the interpreter's start.

Usage: python benchmarks/inprocess.py scan PATH…; the time is the last line of standard error.
"""

import json
import sys
import time

from trailhound.cli.main import main


def timed(argv: list[str]) -> tuple[int, float]:
    """Exit code and seconds."""
    begun = time.perf_counter()
    try:
        code = main(argv)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 2
    sys.stdout.flush()
    return int(code or 0), time.perf_counter() - begun


if __name__ == "__main__":
    returned, seconds = timed(sys.argv[1:])
    print(json.dumps({"inside_s": seconds}), file=sys.stderr)
    raise SystemExit(returned)
