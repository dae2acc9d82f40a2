"""Run a command on given cores and say what it took. Everything measured is a child process:
the runner stays small, so that a child's peak memory is its own (Linux starts it at the
memory of whoever forked it)."""

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took."""

    wall_s: float
    cpu_s: float
    """User and system time, of the child and of those it waited for."""
    rss_mb: float
    """Peak resident memory: of the largest process, or of all together where sampled."""
    code: int
    told: str
    """The end of what it wrote to standard error."""
    own: Mapping[str, float]
    """Seconds it measured itself: a JSON object on its last line of standard error."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One thing to measure."""

    name: str
    argv: tuple[str, ...]
    out: Path
    """Where its standard output goes."""
    cpus: frozenset[int]
    env: Mapping[str, str] | None = None


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def _pinned(cpus: Iterable[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(argv: Sequence[str], cpus: Iterable[int], **options: object) -> subprocess.Popen[bytes]:
    """Start a child on these cores; it and its children inherit them."""
    with _pinned(cpus):
        return subprocess.Popen(argv, **options)  # type: ignore[call-overload,no-any-return]


def run(contestant: Contestant, *, whole_tree: bool = False) -> Taken:
    """Run it once. With `whole_tree`, memory is the sum over its processes, sampled."""
    peak = [0.0]
    with tempfile.TemporaryFile() as errors, contestant.out.open("wb") as out:
        begun = time.perf_counter()
        child = start(
            contestant.argv,
            contestant.cpus,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env=None if contestant.env is None else {**os.environ, **contestant.env},
        )
        watcher = None
        if whole_tree:
            watcher = threading.Thread(target=_watch, args=(child.pid, peak), daemon=True)
            watcher.start()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if watcher is not None:
            watcher.join()
        errors.seek(0)
        told = errors.read()[-2000:].decode(errors="replace")
    return Taken(
        wall_s=wall,
        cpu_s=used.ru_utime + used.ru_stime,
        rss_mb=peak[0] if whole_tree else used.ru_maxrss / 1024,
        code=child.returncode,
        told=told,
        own=_own(told),
    )


def together(argv: Sequence[str], cpus: Sequence[Iterable[int]]) -> float:
    """Run a command several times at once, each on its own cores; return the wall seconds."""
    begun = time.perf_counter()
    for child in [start(argv, each, stdout=subprocess.DEVNULL) for each in cpus]:
        child.wait()
    return time.perf_counter() - begun


def _own(told: str) -> dict[str, float]:
    last = told.rstrip().rpartition("\n")[2]
    if not last.startswith("{"):
        return {}
    return {key: float(value) for key, value in json.loads(last).items()}


def _watch(root: int, peak: list[float]) -> None:
    while True:
        total = sum(_proportional_kb(pid) for pid in _family(root))
        if not total:
            return
        peak[0] = max(peak[0], total / 1024)
        time.sleep(_SAMPLE_S)


def _family(root: int) -> list[int]:
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def _proportional_kb(pid: int) -> int:
    """Memory of a process, what it shares divided by those who share it; 0 once it is gone."""
    with contextlib.suppress(OSError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def best(takes: Iterable[Taken]) -> Taken:
    """The fastest wall time, the least processor time and the highest memory of several runs."""
    kept = list(takes)
    return Taken(
        wall_s=min(t.wall_s for t in kept),
        cpu_s=min(t.cpu_s for t in kept),
        rss_mb=max(t.rss_mb for t in kept),
        code=kept[-1].code,
        told=kept[-1].told,
        own={key: min(t.own[key] for t in kept) for key in kept[0].own},
    )


def race(
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    say: Callable[[str], None],
    slow_s: float = 8.0,
    accepted: frozenset[int] = frozenset({0, 1}),
) -> dict[str, Taken]:
    """Run all of them in turn, round after round, and keep the best of each.

    Whoever takes longer than `slow_s` runs twice only. Whoever fails is left out, with a word.
    """
    takes: dict[str, list[Taken]] = {c.name: [] for c in contestants}
    failed: set[str] = set()
    for number in range(rounds):
        for contestant in contestants:
            done = takes[contestant.name]
            if contestant.name in failed or (number > 1 and done[0].wall_s > slow_s):
                continue
            taken = run(contestant)
            if taken.code not in accepted:
                failed.add(contestant.name)
                say(f"{contestant.name}: exit code {taken.code}: {taken.told.strip()[-500:]}")
                continue
            done.append(taken)
            say(f"  {number + 1}/{rounds} {contestant.name}: {taken.wall_s:.2f} s")
    return {name: best(done) for name, done in takes.items() if done and name not in failed}


def first_output(contestant: Contestant, marker: bytes = b"\n") -> float | None:
    """Seconds from the start of the command to the first `marker` it prints, None if none."""
    begun = time.perf_counter()
    child = start(
        contestant.argv,
        contestant.cpus,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=None if contestant.env is None else {**os.environ, **contestant.env},
    )
    assert child.stdout is not None
    seen = b""
    waited: float | None = None
    while piece := os.read(child.stdout.fileno(), 65536):
        seen += piece
        if marker in seen:
            waited = time.perf_counter() - begun
            break
    child.kill()
    child.wait()
    child.stdout.close()
    return waited
