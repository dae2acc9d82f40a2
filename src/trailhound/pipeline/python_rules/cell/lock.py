"""Takes from a process what the code of others must not have."""

import os
import resource
import sys
from collections.abc import Callable
from typing import Any

from trailhound.pipeline.python_rules.cell import seccomp

_NOBODY = 65534
_FILES = 32
# `import` of these would hand out what the filters take, or do something when it is read.
REFUSED = frozenset({"antigravity", "ctypes", "_ctypes", "_posixsubprocess", "faulthandler"})
# What Python tells of before it does it, and what code that only computes may do.
_HARMLESS = frozenset(
    {
        "array.__new__",
        "builtins.id",
        "code.__new__",
        "compile",
        "exec",
        "function.__new__",
        "import",
        "marshal.dumps",
        "marshal.loads",
        "object.__delattr__",
        "object.__getattr__",
        "object.__setattr__",
        "os.putenv",
        "os.unsetenv",
        "pickle.find_class",
        "setopencodehook",
        "sys._getframe",
        "sys._getframemodulename",
        "sys.unraisablehook",
    }
)


def limit(*, memory_bytes: int, cpu_s: int) -> None:
    """Bound memory and processor time; no file to write, no process to start, no core dump."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    if sys.platform == "linux":
        # Elsewhere it counts all processes of the user, and so may be passed already.
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


class Lock:
    """The filters of this process, made before the code of others is near.

    `install` is None where the kernel or the machine has no seccomp for us, and `reason` says why.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.install: Callable[[list[seccomp.Instruction]], None] | None = None
        try:
            self.machine = seccomp.machine_here()
            self.install = seccomp.installer()
        except (OSError, AttributeError) as error:
            self.reason = str(error)

    def for_loading(self) -> None:
        """From now on: read files, and no more."""
        if self.install is not None:
            self.install(seccomp.loading_filter(self.machine))

    def for_running(self) -> None:
        """From now on: compute, and no more."""
        _leave_root()
        if self.install is not None:
            self.install(seccomp.running_filter(self.machine))
        self.install = None
        _forget_refused()
        _say_no_in_python()


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that made it ends (Linux)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - not everywhere, and nobody else's

        ctypes.CDLL(None).prctl(1, ctypes.c_ulong(9), 0, 0, 0)


def _leave_root() -> None:
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        # In a user namespace without that user; the namespace is the fence then.
        return
    # The kernel forgets it where the user changes.
    die_with_parent()


class _Refusing:
    """Says why a module is not there, before and after all who could find it."""

    def __init__(self, *, last: bool) -> None:
        self.last = last

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        top = name.partition(".")[0]
        if top in REFUSED:
            raise ImportError(f"a rule may not import {top}", name=name)
        if not self.last:
            return
        if top in sys.stdlib_module_names:
            raise ModuleNotFoundError(
                f"No module named {name!r}: of the standard library, only what import statements "
                "name is read, before the rule runs",
                name=name,
            )
        raise ModuleNotFoundError(
            f"No module named {name!r}: rules have the standard library and their own helpers",
            name=name,
        )


def _forget_refused() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in REFUSED or name == seccomp.__name__:
            del sys.modules[name]
    vars(seccomp).clear()
    sys.meta_path.insert(0, _Refusing(last=False))
    sys.meta_path.append(_Refusing(last=True))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("a rule may not end its process")

    for module in (os, sys.modules["posix"]):
        for name in ("_exit", "abort"):
            setattr(module, name, refused)


def _say_no_in_python() -> None:
    """A second fence, in Python itself: it has no hole that the kernel's would need to have."""

    def hook(event: str, _arguments: tuple[Any, ...], harmless: frozenset[str] = _HARMLESS) -> None:
        if event not in harmless:
            raise PermissionError(f"a rule may not do this: {event}")

    sys.addaudithook(hook)
