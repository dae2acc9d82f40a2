"""The process that cells come from: it has imported what rules need, and never runs a rule.

It is started as a fresh interpreter without environment, site packages or secrets in memory. Asked
for a cell, it forks: a child that has one socket open, which locks itself in, loads one program
and judges events with it, until the socket is closed. Every program has a process of its own.

Frames on the socket of a cell: four bytes of length, big-endian, then that many bytes. To the
cell: `marshal`, from a parent that is trusted. From the cell: JSON, trusted by nobody.
"""

import _strptime  # type: ignore[import-not-found]  # noqa: F401 - `strptime` wants it later, when no file can be opened
import ast  # noqa: F401
import base64  # noqa: F401
import calendar  # noqa: F401
import collections.abc  # noqa: F401
import dataclasses  # noqa: F401
import decimal  # noqa: F401
import encodings.ascii
import encodings.cp1252
import encodings.idna
import encodings.latin_1
import encodings.punycode
import encodings.unicode_escape
import encodings.utf_8_sig
import encodings.utf_16
import encodings.utf_16_le
import encodings.utf_32  # noqa: F401
import faulthandler
import fnmatch  # noqa: F401
import gc
import hashlib
import html  # noqa: F401
import ipaddress  # noqa: F401
import itertools  # noqa: F401
import json
import logging
import marshal
import os
import random  # noqa: F401
import re  # noqa: F401
import signal
import socket
import string  # noqa: F401
import sys
import time
import traceback  # noqa: F401
import unicodedata  # noqa: F401
import urllib.parse
import uuid  # noqa: F401
from typing import Any, NoReturn

from trailhound.pipeline.python_rules.cell import judge
from trailhound.pipeline.python_rules.cell.lock import Lock, die_with_parent, limit
from trailhound.pipeline.python_rules.cell.program import Program, load_imports

_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

_CELL = 3
"""The descriptor that a cell talks on."""
_LOADING = 2
"""How many times the processor time of a function loading may take."""
_IMPORTS_CPU_S = 10.0
"""Processor time for the modules of the standard library that a program names."""
_exit = os._exit


def main(control: int) -> NoReturn:
    """Serve requests for cells until the control socket is closed."""
    talk = socket.socket(fileno=control)
    apart = _leave_network()
    # Loads what each of these loads late.
    hashlib.sha256(b"").digest()
    time.localtime()
    "".encode("idna")
    urllib.parse.quote("")
    lock = Lock()
    weakness = lock.reason or _trial_of(lock)
    talk.sendall(json.dumps({"no_seccomp": weakness, "namespaces": apart}).encode() + b"\n")
    # What starts told of its own failure until here; rules are not heard.
    os.dup2(1, 2)
    os.environ.clear()
    os.environ["TZ"] = "UTC"
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    while True:
        request, descriptors, _, _ = socket.recv_fds(talk, 1024, 1)
        if not request:
            _exit(0)
        verb, _, argument = request.decode().partition(" ")
        if verb == "new":
            wanted = json.loads(argument)
            if wanted["mode"] == "mock":
                # Slow, and for some tests only; here it is there for all cells to come.
                import unittest.mock  # noqa: F401, PLC0415
            pid = os.fork()
            if pid == 0:
                _cell(talk, descriptors[0], lock, wanted)
            for descriptor in descriptors:
                os.close(descriptor)
            children.add(pid)
            reply = pid
        elif int(argument) not in children:
            reply = -1
        elif verb == "ask":
            os.kill(int(argument), signal.SIGUSR1)
            reply = 0
        else:
            os.kill(int(argument), signal.SIGKILL)
            reply = os.waitstatus_to_exitcode(os.waitpid(int(argument), 0)[1])
            children.discard(int(argument))
        talk.sendall(b"%d\n" % reply)


def _leave_network() -> bool:
    """Move to namespaces without network, if the kernel lets us; say whether it did."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - not everywhere

    flags = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    if os.geteuid() != 0:
        flags |= _CLONE_NEWUSER
    return bool(ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(flags)) == 0)


def _trial_of(lock: Lock) -> str:
    """Return why the filters cannot be put on; empty if they can."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock.for_loading()
            os.write(writer, b"-")
        except OSError as error:
            os.write(writer, str(error).encode()[:200])
        _exit(0)
    os.close(writer)
    said = os.read(reader, 200).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    return "" if said == "-" else said or "the process that tried them died"


def _cell(talk: socket.socket, descriptor: int, lock: Lock, limits: dict[str, Any]) -> NoReturn:
    """Be a cell; never return to the loop of the zygote."""
    try:
        die_with_parent()
        talk.detach()
        os.dup2(descriptor, _CELL)
        os.closerange(_CELL + 1, 256)
        _be_first_to_go()
        signal.signal(signal.SIGPROF, judge.expire)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open(_CELL, "wb", buffering=0, closefd=False) as trace:
            # Where C does not listen, these still tell the line; written beside the frames.
            faulthandler.enable(trace, all_threads=False)
            faulthandler.register(signal.SIGUSR1, trace, all_threads=False)
            faulthandler.register(signal.SIGVTALRM, trace, all_threads=False, chain=True)
            _serve(lock, limits)
    except BaseException:  # noqa: S110 - the other end sees that it is gone
        pass
    _exit(0)


def _serve(lock: Lock, limits: dict[str, Any]) -> None:
    cpu_s = limits["cpu_s"]
    described = _read()
    limit(memory_bytes=limits["memory_bytes"], cpu_s=limits["life_cpu_s"])
    logging.disable(logging.CRITICAL)
    lock.for_loading()
    judge.with_timers(_IMPORTS_CPU_S)
    load_imports(described, limits["folders"])
    judge.with_timers(0)
    lock.for_running()
    try:
        try:
            judge.with_timers(_LOADING * cpu_s)
            program = Program(described)
        finally:
            judge.with_timers(0)
        if not hasattr(program.module, "rule"):
            raise AttributeError("there is no function rule(event)")
    except BaseException as error:
        reason, line = judge.described(error, described["path"], _LOADING * cpu_s)
        _write({"failed": judge.failure("", reason, line)})
        return
    _write({})
    while True:
        request = _read()
        for packed in request["documents"]:
            document = marshal.loads(packed)  # noqa: S302 - as above
            if limits["mode"] == "judge":
                _write(judge.answer(program, document, cpu_s))
            else:
                _write(judge.trial(program, document, request["mocks"], cpu_s))


def _be_first_to_go() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass


def _read() -> Any:
    size = int.from_bytes(_exactly(4), "big")
    return marshal.loads(_exactly(size))  # noqa: S302 - written by the process that keeps us


def _exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(_CELL, min(size, 1 << 20))
        if not part:
            _exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(value: dict[str, Any]) -> None:
    if len(value) == 1 and "cost_ns" in value:
        # Most events do not match.
        body = b'{"cost_ns":%d}' % value["cost_ns"]
    else:
        # Half of a surrogate pair is no text outside Python.
        body = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    frame = len(body).to_bytes(4, "big") + body
    while frame:
        frame = frame[os.write(_CELL, frame) :]
