"""Seccomp filters, written as BPF and handed to the kernel by prctl(2).

A filter is a list of what is allowed; whatever else is asked of the kernel fails with EPERM, so
Python raises `PermissionError` where the rule stands. Two filters are put on one after the other,
and the kernel obeys the stricter of them:

`LOADING`: for the import of modules of the standard library. Files may be read.
`RUNNING`: for the code of others. No file can be opened at all, no memory made executable; what is
left is to compute, to allocate, and to read and write what is open already.

Neither can open a socket, start a process or thread, trace or signal another process, or wait for
a clock. Format and semantics: linux/Documentation/userspace-api/seccomp_filter.rst, seccomp(2).
System call numbers: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_EPERM = 0x00050000 | 1
_KILL_PROCESS = 0x80000000

# Offsets in struct seccomp_data; arguments have 64 bits, and both machines are little-endian.
_NUMBER = 0
_ARCHITECTURE = 4
_ARGUMENTS = 16

_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PROT_EXEC = 4


class Machine(NamedTuple):
    """What differs between processors."""

    audit_architecture: int
    column: int
    """Of the tables below."""


MACHINES = {
    "x86_64": Machine(0xC000003E, 0),
    "aarch64": Machine(0xC00000B7, 1),
}

COMPUTING: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "close": (3, 57),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrandom": (318, 278),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "getrusage": (98, 165),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "membarrier": (324, 283),
}
READING: dict[str, tuple[int | None, int | None]] = {
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "fcntl": (72, 25),
    "pread64": (17, 67),
    # To leave what is left of root behind, and to put on the next filter.
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "prctl": (157, 167),
    "seccomp": (317, 277),
}
OPENING: dict[str, tuple[int | None, int | None]] = {"open": (2, None), "openat": (257, 56)}
MAPPING: dict[str, tuple[int | None, int | None]] = {"mmap": (9, 222), "mprotect": (10, 226)}
SIGNALLING: dict[str, tuple[int | None, int | None]] = {"tgkill": (234, 131)}

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


def loading_filter(machine: Machine) -> list[Instruction]:
    """Return the filter for the import of modules: files may be read, not written."""
    numbers = _numbers(COMPUTING, machine) + _numbers(READING, machine)
    program = _only_allowed(machine, numbers)
    for name, argument in (("open", 1), ("openat", 2)):
        number = OPENING[name][machine.column]
        if number is not None:
            program += _allowed_if(number, argument, _without(_WRITING))
    return [*program, *_to_itself(machine), (_RETURN, 0, 0, _EPERM)]


def running_filter(machine: Machine) -> list[Instruction]:
    """Return the filter for the code of others: what is open stays usable, nothing else opens."""
    program = _only_allowed(machine, _numbers(COMPUTING, machine))
    for number in _numbers(MAPPING, machine):
        program += _allowed_if(number, 2, _without(_PROT_EXEC))
    return [*program, *_to_itself(machine), (_RETURN, 0, 0, _EPERM)]


def machine_here() -> Machine:
    """Return what the filters are for.

    Raises:
        OSError: There is no seccomp for this system or processor here.
    """
    machine = MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or struct.calcsize("P") != 8:
        raise OSError(f"no seccomp filter for {sys.platform} on {platform.machine()}")
    return machine


def installer() -> Callable[[list[Instruction]], None]:
    """Return what puts a filter on this process, for good.

    What it returns raises OSError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = libc.prctl

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    def install(instructions: list[Instruction]) -> None:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
        program = Program(len(instructions), code)
        long = ctypes.c_ulong
        for option, argument, more in (
            (_PR_SET_NO_NEW_PRIVS, long(1), long(0)),
            (_PR_SET_SECCOMP, long(_SECCOMP_MODE_FILTER), ctypes.byref(program)),
        ):
            if prctl(option, argument, more, long(0), long(0)):
                number = ctypes.get_errno()
                raise OSError(number, f"the kernel takes no seccomp filter: {os.strerror(number)}")

    return install


def _numbers(table: dict[str, tuple[int | None, int | None]], machine: Machine) -> list[int]:
    columns = (numbers[machine.column] for numbers in table.values())
    return [number for number in columns if number is not None]


def _only_allowed(machine: Machine, numbers: Iterable[int]) -> list[Instruction]:
    # Another architecture (32 bits) has other numbers, so its calls mean something else.
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, machine.audit_architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in numbers:
        program += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    return program


def _allowed_if(number: int, argument: int, test: list[Instruction]) -> list[Instruction]:
    """Allow a call if the low half of an argument passes the test; then look no further."""
    body: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument), *test]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _without(bits: int) -> list[Instruction]:
    return [
        (_JUMP_ANY_BIT, 1, 0, bits),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _to_itself(machine: Machine) -> list[Instruction]:
    # abort() and fault handlers end the process by a signal that it sends to itself.
    test: list[Instruction] = [
        (_JUMP_EQUAL, 0, 1, os.getpid()),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]
    return [
        instruction
        for number in _numbers(SIGNALLING, machine)
        for instruction in _allowed_if(number, 0, test)
    ]
