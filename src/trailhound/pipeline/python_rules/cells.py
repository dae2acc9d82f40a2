"""Processes that judge events with one program each, and what is said over their sockets."""

import marshal
import re
import select
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from trailhound.pipeline.python_rules.zygotes import Limits, Mode, Zygote, resident_bytes
from trailhound.rules.python import (
    FUNCTIONS,
    Function,
    PythonAnswer,
    PythonError,
    PythonProgram,
)

_FRAME_BYTES = 1 << 20
_LAST_WORDS_BYTES = 1 << 16
_LAST_WORDS_S = 0.5
# What a fault handler begins with, where a frame would begin with its length.
_WORDS = (b"Fatal Python error", b"Current thread", b"Stack (most recent")
# What the cell cuts its answers to, with room for how it says so.
_TEXT_CHARACTERS = 1000
_DESTINATIONS = 10
_REASON_CHARACTERS = 1000
_SEVERITIES = ("INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "DEFAULT")
_FRAME_OF_TRACE = re.compile(r'File "([^"\n]*)", line (\d+) in (\S+)')
_Said = TypeVar("_Said")


class Trial(Struct, frozen=True):
    """What every function of a program returned in a test."""

    outputs: dict[str, Any]
    """By function; a function that is missing or failed is not there."""
    errors: tuple[PythonError, ...]


class _Start(Struct):
    failed: PythonError | None = None


class CellEnded(Exception):
    """A cell died, hung, or said what no cell says."""

    def __init__(self, error: PythonError):
        place = f", line {error.line}" if error.line else ""
        super().__init__(error.reason + place)
        self.error = error


class NotLoaded(CellEnded):
    """A program cannot be loaded, and never will."""


class Cell:
    """One process with one program, judging events in the order in which they come.

    Raises:
        NotLoaded: The program raises while it is loaded; the cell is gone then.
        CellEnded: The cell ended while the program was loaded.
        OSError: The zygote is gone.
    """

    def __init__(
        self,
        zygote: Zygote,
        limits: Limits,
        program: PythonProgram,
        mode: Mode = "judge",
    ):
        self.program = program
        self.used_s = 0.0
        self._since = time.monotonic()
        self._zygote = zygote
        self._limits = limits
        self._answers = msgspec.json.Decoder(PythonAnswer)
        self._trials = msgspec.json.Decoder(Trial)
        self._heard = bytearray()
        self._pid, self._socket = zygote.cell(limits, mode)
        self._send(marshal.dumps(msgspec.to_builtins(program)))
        start = self._receive(msgspec.json.Decoder(_Start))
        if start.failed is not None:
            self.end()
            raise NotLoaded(start.failed)

    def answers(self, documents: Sequence[bytes]) -> Iterator[PythonAnswer]:
        """Judge documents, each in `marshal` format; yield an answer for each, in order.

        Raises:
            CellEnded: At the document that it ended at; the cell is gone then.
        """
        self._send(marshal.dumps({"documents": documents}))
        for _ in documents:
            answer = self._receive(self._answers)
            if not _plausible(answer):
                raise self._lied()
            yield answer
        if self._heard:
            raise self._lied()

    def trial(self, document: bytes, mocks: Sequence[tuple[str, Any]]) -> Trial:
        """Ask every function about a document, with these names of the program replaced.

        Raises:
            CellEnded: As for `answers`.
        """
        self._send(marshal.dumps({"documents": [document], "mocks": list(mocks)}))
        return self._receive(self._trials)

    @property
    def usable(self) -> bool:
        """Whether it can be asked again: alive, silent, and not near the end of its time."""
        if self._heard or self.used_s > self._limits.life_cpu_s / 2:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def memory_bytes(self) -> int:
        """Return about how much memory it has beyond what it shares with the zygote."""
        return max(resident_bytes(self._pid) - self._zygote.memory_bytes, 0)

    def end(self) -> int:
        """Kill it; return how it ended: exit code, or minus the signal."""
        self._socket.close()
        return self._zygote.end(self._pid)

    def _send(self, body: bytes) -> None:
        began = time.monotonic()
        self._socket.settimeout(self._limits.wall_s)
        try:
            self._socket.sendall(len(body).to_bytes(4, "big") + body)
        except TimeoutError:
            raise self._hung() from None
        except OSError:
            raise self._died() from None
        finally:
            self.used_s += time.monotonic() - began

    def _receive(self, decoder: msgspec.json.Decoder[_Said]) -> _Said:
        self._since = began = time.monotonic()
        until = began + self._limits.wall_s
        heard = self._heard
        while True:
            size = int.from_bytes(heard[:4], "big") if len(heard) >= 4 else 0
            if size > _FRAME_BYTES:
                raise self._died() if heard.startswith(_WORDS) else self._lied()
            if len(heard) >= 4 + size and size:
                break
            if not self._hear(until):
                raise self._died()
            if time.monotonic() > until:
                raise self._hung()
        self.used_s += time.monotonic() - began
        frame = bytes(heard[4 : size + 4])
        del heard[: size + 4]
        try:
            return decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._lied() from None

    def _hear(self, until: float) -> bool:
        """Wait for more of what it writes; say whether there can be any."""
        self._socket.settimeout(max(until - time.monotonic(), 0.001))
        try:
            part = self._socket.recv(1 << 16)
        except TimeoutError:
            return True
        except OSError:
            return False
        self._heard += part
        return bool(part)

    def _died(self) -> CellEnded:
        """Tell of a cell that ended by itself, or was ended by the kernel."""
        took_s = time.monotonic() - self._since
        where = self._last_words()
        status = self.end()
        if status == -signal.SIGVTALRM:
            reason = f"over {2 * self._limits.cpu_s:g} s of processor time, without a pause"
        elif status == -signal.SIGXCPU:
            reason = f"over {self._limits.life_cpu_s} s of processor time in all"
        elif status == -signal.SIGKILL:
            reason = "the process was killed, or closed its socket"
        elif status < 0:
            reason = f"the process died of {signal.Signals(-status).name}"
            if took_s > self._limits.cpu_s:
                # Telling the line of what does not listen can itself fail.
                reason += f" after {took_s:.1f} s"
        else:
            reason = "the process ended itself"
        return self._ended(reason, where)

    def _hung(self) -> CellEnded:
        self._zygote.last_words(self._pid)
        where = self._last_words()
        self.end()
        return self._ended(f"over {self._limits.wall_s:g} s without an answer", where)

    def _lied(self) -> CellEnded:
        self.end()
        return CellEnded(PythonError("", "it wrote to its socket what is no answer"))

    def _last_words(self) -> str:
        """Return what the fault handler says, which is written beside the frames."""
        until = time.monotonic() + _LAST_WORDS_S
        while len(self._heard) < _LAST_WORDS_BYTES and time.monotonic() < until:
            if not self._hear(until):
                break
        return bytes(self._heard[:_LAST_WORDS_BYTES]).decode(errors="replace")

    def _ended(self, reason: str, where: str) -> CellEnded:
        function: Function | Literal[""] = ""
        line = 0
        for path, number, name in _FRAME_OF_TRACE.findall(where):
            if path == self.program.path:
                line = line or int(number)
                # The outermost is the last that names one.
                function = next((known for known in FUNCTIONS if known == name), function)
        return CellEnded(PythonError(function, reason, line))


def _plausible(answer: PythonAnswer) -> bool:
    """Say whether an honest cell can have written this."""
    if answer == PythonAnswer(cost_ns=answer.cost_ns):
        # Most events do not match.
        return True
    texts = (
        answer.title,
        answer.dedup,
        answer.unique,
        answer.severity,
        answer.description,
        answer.reference,
        answer.runbook,
        *(answer.destinations or ()),
    )
    return (
        all(text is None or len(text) <= _TEXT_CHARACTERS for text in texts)
        and len(answer.destinations or ()) <= _DESTINATIONS
        and len(answer.errors) <= len(FUNCTIONS)
        and all(len(error.reason) <= _REASON_CHARACTERS for error in answer.errors)
        and (answer.severity is None or answer.severity in _SEVERITIES)
    )
