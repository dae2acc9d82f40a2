"""The process that cells are forked from, and what it is asked."""

import importlib.util
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

import trailhound
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.python_rules.cell.packages import COMPUTING

_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from trailhound.pipeline.python_rules.cell import zygote; "
    "sys.path.remove(sys.argv[1]); zygote.main(int(sys.argv[2]))"
)
_START_S = 60.0
_END_S = 0.5

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


class Fences(Struct):
    """What the kernel here gives to hold foreign code."""

    no_seccomp: str
    """Why there is no seccomp; empty where there is."""
    namespaces: bool
    """Whether the network of the machine is out of sight, too."""


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
        self.memory_bytes = resident_bytes(self._process.pid)
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
            self._process.wait(_END_S)
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


def _folders_of(packages: Iterable[str]) -> list[str]:
    """Return where those packages are that are installed."""
    found: dict[str, None] = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations if spec else None) or ():
            found[str(Path(place).parent)] = None
    return list(found)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has; 0 where that is not to be known."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except OSError:
        # It is gone, or this is no Linux.
        return 0
    return int(pages) * resource.getpagesize()
