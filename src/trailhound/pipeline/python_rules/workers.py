"""Judges events with rules that are Python of others, and bounds what each rule may cost."""

import marshal
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.python_rules.cells import Cell, CellEnded, NotLoaded, Trial
from trailhound.pipeline.python_rules.zygotes import Limits, Mode, Zygote
from trailhound.rules.python import PythonAnswer, PythonError, PythonProgram

_CELLS = 256
_IDLE_BYTES = 1 << 30
_BATCH_DOCUMENTS = 128
_BATCH_BYTES = 1 << 20
_FIRST_EVENTS = 1000
_ALLOWANCE_S = 10.0
_ALLOWANCE_EVENT_S = 0.02
_NOT_JSON = "the event is not plain JSON data"

_Key = tuple[str, Mode]
"""Rule, and what its process is for."""


class RuleCost(Struct):
    """What one rule did and took so far."""

    events: int = 0
    matches: int = 0
    failed: int = 0
    """Events with an error in at least one function."""
    restarts: int = 0
    """How often its process ended and another took its place."""
    cost_ns: int = 0
    """Processor time, as its process measures it."""
    wall_s: float = 0.0
    """Time spent waiting for it, as we measure it, starts of processes included."""
    off: str = ""
    """Why it was switched off; empty while it runs."""
    unjudged: int = 0
    """Events that came after that."""


class PythonWorkers:
    """Runs foreign Python: each program in a process of its own, several of them at a time.

    What stands between a rule and the rest (Linux on x86-64 or arm64; see docs/python-rules.md):

    - The process is forked from a fresh interpreter without environment, site packages or other
      memory of ours, and has one descriptor beside `/dev/null`: the socket it answers on.
    - Seccomp: no socket, no file, no other process or thread, no signal to others, no executable
      memory. Modules of the standard library that import statements name are read before the code
      of the rule runs; after that, nothing can be opened, for reading either. Root becomes nobody.
    - Bounds on memory, on processor time of each function, and on the time until an answer.
    - What it answers is checked for type and size; it is data, and only about this rule.

    Rules share nothing, for they share no process: neither modules nor helpers of theirs. Within a
    rule, what one event leaves in its globals is there for the next one, as in Panther.

    A rule that cannot be loaded, that failed on each of its first 1,000 events, or that takes more
    than 10 s and 20 ms an event in all, is switched off: `costs` says why and counts what it has
    not judged. Failures alone do not switch a rule off that ever judged an event, or whoever
    writes the log could.

    Safe to use from several threads.

    Raises:
        TrailhoundError: From the first use on, where no process can be started.
    """

    def __init__(
        self, jobs: int = 1, limits: Limits | None = None, *, allowance_s: float = _ALLOWANCE_S
    ):
        self.costs: dict[str, RuleCost] = {}
        """By rule."""
        self.jobs = jobs
        self._allowance_s = allowance_s
        self._limits = limits or Limits()
        self._zygote: Zygote | None = None
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="python-rules")
        # Processes that wait for a batch, the least recently used first, and their memory.
        self._cells: dict[_Key, Cell] = {}
        self._held: dict[_Key, int] = {}
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        for cell in self._cells.values():
            cell.end()
        self._cells.clear()
        if self._zygote is not None:
            self._zygote.close()

    @property
    def weakness(self) -> str:
        """Why rules are held less firmly here than elsewhere; empty if they are not.

        To be told once to whoever runs foreign rules.
        """
        reason = self._started().fences.no_seccomp
        return f"rules in Python run without seccomp: {reason}" if reason else ""

    def judge(self, program: PythonProgram, documents: Sequence[Any]) -> list[PythonAnswer]:
        """Return what a program says of each document, in order.

        Args:
            program: The rule.
            documents: Events as plain JSON data.

        Returns:
            As many answers as documents. One that could not be judged has an error.
        """
        with self._turn(program.rule_id):
            return self._judged(program, documents)

    def judge_all(
        self, batches: Iterable[tuple[PythonProgram, Sequence[Any]]]
    ) -> list[list[PythonAnswer]]:
        """Judge batches of different programs, `jobs` at a time; return answers in their order."""
        return list(self._pool.map(lambda batch: self.judge(*batch), batches))

    def trial(
        self,
        program: PythonProgram,
        document: Any,
        mocks: Sequence[tuple[str, Any]] = (),
    ) -> Trial:
        """Ask every function of a program about one document, as a test does.

        Args:
            program: The rule.
            document: An event, as plain JSON data.
            mocks: Name in the program's module, and what the object of that name returns instead.

        Raises:
            NotLoaded: The program cannot be loaded.
            CellEnded: Its process ended over this document.
        """
        key: _Key = (program.rule_id, "mock" if mocks else "test")
        with self._turn(program.rule_id):
            cell = self._taken(program, key)
            trial = cell.trial(marshal.dumps(document), mocks)
            self._given_back(key, cell)
            return trial

    def _judged(self, program: PythonProgram, documents: Sequence[Any]) -> list[PythonAnswer]:
        cost = self.costs.setdefault(program.rule_id, RuleCost())
        answers: list[PythonAnswer] = []
        while len(answers) < len(documents):
            if cost.off:
                left = len(documents) - len(answers)
                cost.unjudged += left
                answers += [_failed(f"switched off: {cost.off}")] * left
                break
            batch = _batch(documents, len(answers))
            began = time.monotonic()
            said = self._answers(program, batch, cost) if batch else [_failed(_NOT_JSON)]
            cost.wall_s += time.monotonic() - began
            cost.events += len(said)
            cost.matches += sum(answer.matched for answer in said)
            cost.failed += sum(bool(answer.errors) for answer in said)
            cost.cost_ns += sum(answer.cost_ns for answer in said)
            if not cost.off:
                cost.off = _too_much(cost, self._allowance_s)
            answers += said
        return answers

    def _answers(
        self, program: PythonProgram, batch: list[bytes], cost: RuleCost
    ) -> list[PythonAnswer]:
        """Return answers to the first documents of a batch, up to one that its process ended at."""
        key: _Key = (program.rule_id, "judge")
        answers: list[PythonAnswer] = []
        # What the whole batch adds to the allowance is there at its end only.
        allowed_s = self._allowance_s + _ALLOWANCE_EVENT_S * (cost.events + len(batch))
        until = time.monotonic() + allowed_s - cost.wall_s
        try:
            cell = self._taken(program, key)
            for answer in cell.answers(batch):
                answers.append(answer)
                if time.monotonic() > until:
                    cell.end()
                    return answers
        except CellEnded as ended:
            if not self._started().alive:
                # Something else ended them all: the rest is judged again, by a new process.
                return answers
            # One that ends when all is answered has said more than that.
            answers = [*answers[: len(batch) - 1], PythonAnswer(errors=(ended.error,))]
            cost.restarts += 1
            if isinstance(ended, NotLoaded):
                cost.off = f"it cannot be loaded: {ended}"
        else:
            self._given_back(key, cell)
        return answers

    def _turn(self, rule_id: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(rule_id, threading.Lock())

    def _started(self) -> Zygote:
        with self._lock:
            if self._zygote is None:
                self._zygote = Zygote()
            return self._zygote

    def _taken(self, program: PythonProgram, key: _Key) -> Cell:
        """Take the process of a program, or start one.

        Raises:
            CellEnded: The program cannot be loaded.
            TrailhoundError: No process can be started.
        """
        with self._lock:
            cell = self._cells.pop(key, None)
            self._held.pop(key, None)
        if cell is not None:
            if cell.usable and cell.program == program:
                return cell
            cell.end()
        zygote = self._started()
        try:
            return Cell(zygote, self._limits, program, key[1])
        except OSError:
            # The machine ran out of something and ended it. Its cells have ended with it.
            zygote.close()
            with self._lock:
                if self._zygote is zygote:
                    self._zygote = None
        try:
            return Cell(self._started(), self._limits, program, key[1])
        except OSError as error:
            raise TrailhoundError(f"rules in Python cannot run: {error}") from None

    def _given_back(self, key: _Key, cell: Cell) -> None:
        """Keep a process for the next batch; end the least recently used of too many."""
        surplus = []
        with self._lock:
            self._cells[key] = cell
            self._held[key] = cell.memory_bytes()
            while len(self._cells) > _CELLS or sum(self._held.values()) > _IDLE_BYTES:
                oldest = next(iter(self._cells))
                surplus.append(self._cells.pop(oldest))
                del self._held[oldest]
        for each in surplus:
            each.end()


def _batch(documents: Sequence[Any], start: int) -> list[bytes]:
    """Pack documents, up to the bounds of a batch or one that cannot be packed."""
    batch: list[bytes] = []
    size = 0
    for document in documents[start : start + _BATCH_DOCUMENTS]:
        try:
            packed = marshal.dumps(document)
        except ValueError:
            break
        size += len(packed)
        if batch and size > _BATCH_BYTES:
            break
        batch.append(packed)
    return batch


def _failed(reason: str) -> PythonAnswer:
    return PythonAnswer(errors=(PythonError("", reason),))


def _too_much(cost: RuleCost, allowance_s: float) -> str:
    if cost.events == cost.failed >= _FIRST_EVENTS:
        return f"it failed on each of its first {cost.failed:,} events"
    if cost.wall_s > allowance_s + _ALLOWANCE_EVENT_S * cost.events:
        return f"it took {cost.wall_s:.0f} s for {cost.events:,} events"
    return ""
