"""Processes that judge events with one program each, and what is said over their sockets."""

import importlib.util
import json
import marshal
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

import trailhound
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.python_rules.cell.packages import COMPUTING
from trailhound.rules.python import (
    FUNCTIONS,
    Function,
    PythonAnswer,
    PythonError,
    PythonProgram,
)

_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from trailhound.pipeline.python_rules.cell import zygote; "
    "sys.path.remove(sys.argv[1]); zygote.main(int(sys.argv[2]))"
)
_FRAME_BYTES = 1 << 20
_LAST_WORDS_BYTES = 1 << 16
_LAST_WORDS_S = 0.5
_START_S = 60.0
# What a fault handler begins with, where a frame would begin with its length.
_WORDS = (b"Fatal Python error", b"Current thread", b"Stack (most recent")
# What the cell cuts its answers to, with room for how it says so.
_TEXT_CHARACTERS = 1000
_DESTINATIONS = 10
_REASON_CHARACTERS = 1000
_SEVERITIES = ("INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "DEFAULT")
_FRAME_OF_TRACE = re.compile(r'File "([^"\n]*)", line (\d+) in (\S+)')
_Said = TypeVar("_Said")

Mode = Literal["judge", "test", "mock"]
"""What a process is for: events; tests; tests in which names are replaced."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one program may use."""

    cpu_s: float = 1.0
    """Processor time of one function on one event; in C code that does not listen, twice that."""
    wall_s: float = 20.0
    """Time until an answer, which ends what waits instead of computing."""
    memory_bytes: int = 512 << 20
    """Address space, the interpreter included."""
    life_cpu_s: int = 120
    """Processor time of a process; it is replaced well before."""


class Trial(Struct, frozen=True):
    """What every function of a program returned in a test."""

    outputs: dict[str, Any]
    """By function; a function that is missing or failed is not there."""
    errors: tuple[PythonError, ...]


class _Start(Struct):
    failed: PythonError | None = None


class Fences(Struct):
    """What the kernel here gives to hold foreign code."""

    no_seccomp: str
    """Why there is no seccomp; empty where there is."""
    namespaces: bool
    """Whether the network of the machine is out of sight, too."""


class CellEnded(Exception):
    """A cell died, hung, or said what no cell says."""

    def __init__(self, error: PythonError):
        place = f", line {error.line}" if error.line else ""
        super().__init__(error.reason + place)
        self.error = error


class NotLoaded(CellEnded):
    """A program cannot be loaded, and never will."""


class Zygote:
    """The process that cells are forked from. It lives until it is closed.

    Raises:
        TrailhoundError: It does not start.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(trailhound.__file__).parent.parent)
        environment = {"TZ": "UTC"}
        if "LD_LIBRARY_PATH" in os.environ:
            # Some interpreters do not start without; it is taken away once they have.
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, root, str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )
        self._lock = threading.Lock()
        self._talk = ours
        ours.settimeout(_START_S)
        try:
            self.fences = msgspec.json.decode(self._line(), type=Fences)
        except (OSError, msgspec.MsgspecError):
            ours.close()
            self._process.kill()
            _, complaint = self._process.communicate()
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            reason = last[0] if last else f"exit code {self._process.returncode}"
            raise TrailhoundError(f"rules in Python cannot run: {reason}") from None
        if self._process.stderr is not None:
            self._process.stderr.close()
        self.resident_bytes = _resident_bytes(self._process.pid)
        self._folders = _folders_of(COMPUTING)

    def cell(self, limits: Limits, mode: Mode) -> tuple[int, socket.socket]:
        """Fork a cell; return its process id and our end of its socket."""
        ours, theirs = socket.socketpair()
        wanted = {
            "mode": mode,
            "folders": self._folders,
            "cpu_s": limits.cpu_s,
            "memory_bytes": limits.memory_bytes,
            "life_cpu_s": limits.life_cpu_s,
        }
        request = b"new " + json.dumps(wanted).encode()
        try:
            with theirs, self._lock:
                socket.send_fds(self._talk, [request], [theirs.fileno()])
                return int(self._line()), ours
        except OSError:
            ours.close()
            raise

    def last_words(self, pid: int) -> None:
        """Have a cell tell where it is, if it still can."""
        self._asked(b"ask", pid)

    def end(self, pid: int) -> int:
        """Kill a cell, if it still lives; return how it ended: exit code, or minus the signal."""
        return self._asked(b"end", pid)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and with it every cell."""
        self._talk.close()
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _asked(self, verb: bytes, pid: int) -> int:
        try:
            with self._lock:
                self._talk.sendall(b"%b %d" % (verb, pid))
                return int(self._line())
        except OSError:
            # Cells end with it.
            return -signal.SIGKILL

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            part = self._talk.recv(4096)
            if not part:
                raise ConnectionError("the process that starts rules in Python has ended")
            line += part
        return line


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
        described = msgspec.to_builtins(msgspec.structs.replace(program, defaults=()))
        self._send(marshal.dumps(described))
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
        return max(_resident_bytes(self._pid) - self._zygote.resident_bytes, 0)

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


def _folders_of(packages: Iterable[str]) -> list[str]:
    """Return where those packages are that are installed."""
    found: dict[str, None] = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations if spec else None) or ():
            found[str(Path(place).parent)] = None
    return list(found)


def _resident_bytes(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except OSError:
        # It is gone, or this is no Linux.
        return 0
    return int(pages) * resource.getpagesize()


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
