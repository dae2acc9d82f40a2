"""The yardstick: parse every line of a file with orjson. The seconds go to standard error, as JSON.

Usage: python benchmarks/baseline.py FILE [PASSES]
"""

import json
import sys
import time

import orjson

_CHUNK_BYTES = 20_000_000


def with_reading(path: str) -> tuple[float, float]:
    """Wall and processor seconds for the plain loop over the file."""
    begun, worked = time.perf_counter(), time.process_time()
    with open(path, "rb") as file:
        for line in file:
            orjson.loads(line)
    return time.perf_counter() - begun, time.process_time() - worked


def without_reading(path: str) -> float:
    """Seconds for the parsing alone; the lines are read before the clock starts."""
    spent = 0.0
    with open(path, "rb") as file:
        while lines := file.readlines(_CHUNK_BYTES):
            begun = time.perf_counter()
            for line in lines:
                orjson.loads(line)
            spent += time.perf_counter() - begun
    return spent


def main() -> None:
    """Time both, several passes each, and print the least of each."""
    path = sys.argv[1]
    passes = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    loops = [with_reading(path) for _ in range(passes)]
    print(
        json.dumps(
            {
                "reading_s": min(wall for wall, _ in loops),
                "reading_cpu_s": min(worked for _, worked in loops),
                "parsing_s": min(without_reading(path) for _ in range(passes)),
            }
        ),
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
