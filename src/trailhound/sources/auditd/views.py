"""What rules read of an audit event, in the field names their taxonomies use.

Field names: Sigma taxonomy appendix 2.1.0, which follows Sysmon; where Sysmon for Linux
gives a field its own meaning (`LogonId` is the user id, `TerminalSessionId` the audit
session), that meaning is kept, since public rules are written against it.
"""

import ipaddress
import posixpath
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from trailhound.model.events import View
from trailhound.sources.auditd.accounts import Known
from trailhound.sources.auditd.document import Record, arguments, first_of, id_name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NONE: Known = MappingProxyType({})
_LENT_NAMES = (
    "exe comm pid ppid auid uid gid euid suid fsuid egid sgid fsgid tty ses success exit arch "
    "syscall syscall_number key subj AUID UID GID EUID SUID FSUID EGID SGID FSGID ARCH SYSCALL EXIT"
)
_LENT = tuple(_LENT_NAMES.split())
"""Fields of the SYSCALL record that its fellow records are given."""
LAUNCHES = ("execve", "execveat")
"""System calls that start a program."""
FORKS = ("fork", "vfork", "clone", "clone3")
"""System calls that start a process."""
_SENDS = ("connect", "sendto", "sendmsg", "sendmmsg")
_SOCKETCALLS = {"3": "connect", "b": "sendto", "10": "sendmsg", "14": "sendmmsg"}
_UNDER_WAY = "-115"
"""EINPROGRESS: a connection that does not block has been begun."""
OPENS = {"open": "a1", "openat": "a2", "open_by_handle_at": "a2"}
_TARGET_DIRECTORY = {"renameat": "a2", "renameat2": "a2", "linkat": "a2", "symlinkat": "a1"}
_AT_CALLS = (
    "openat openat2 mkdirat mknodat unlinkat fchmodat fchmodat2 fchownat renameat renameat2 linkat "
    "symlinkat futimesat utimensat readlinkat faccessat faccessat2 newfstatat statx execveat"
)
_FROM_DIRECTORY = frozenset(_AT_CALLS.split())
_HERE = ("ffffff9c", "ffffffffffffff9c")
"""AT_FDCWD (-100) as an argument: relative to the working directory."""
_PROCESSES = 16_384
_PARENT_TEXT = 4096


class Launch(NamedTuple):
    """The last program a process started."""

    when: tuple[int, int]
    image: str
    command_line: str
    login: str


class Unread:
    """A launch whose records are read when somebody asks for it."""

    __slots__ = ("_read", "login", "when")

    def __init__(
        self, when: tuple[int, int], login: str, read: Callable[[], tuple[str, str]]
    ) -> None:
        """Make one; `read` gives image and command line, and may be called several times."""
        self.when = when
        self.login = login
        self._read = read

    def launch(self) -> Launch:
        """Read it."""
        image, command_line = self._read()
        return Launch(self.when, image, command_line[:_PARENT_TEXT], self.login)

    def moved(self, when: tuple[int, int]) -> "Unread":
        """Return the same at another time."""
        return Unread(when, self.login, self._read)


class Processes:
    """The last exec of each process, as far back as memory allows (least recent first out)."""

    def __init__(self) -> None:
        self._launches: OrderedDict[tuple[str, str], Launch | Unread] = OrderedDict()
        self.host = ""
        """Name of the host whose event is at hand."""

    def put(self, pid: str, launch: Launch | Unread) -> None:
        """Remember what a process runs."""
        self._launches[self.host, pid] = launch
        self._launches.move_to_end((self.host, pid))
        if len(self._launches) > _PROCESSES:
            self._launches.popitem(last=False)

    def get(self, pid: str, when: tuple[int, int], login: str) -> Launch | None:
        """What a process ran at a time; None if unknown.

        The number of a process is used again, so its launch must lie before, and be of the
        same login or of none (a daemon that logs somebody in).
        """
        launch = self._last(pid, when, login)
        return launch.launch() if isinstance(launch, Unread) else launch

    def inherit(self, pid: str, child: str, when: tuple[int, int], login: str) -> None:
        """Let a new process run what the one does that forked it, until it starts its own."""
        own = self._last(pid, when, login)
        if own is not None and child.isdigit() and child != "0":
            moved = own.moved(when) if isinstance(own, Unread) else own._replace(when=when)
            self.put(child, moved)

    def _last(self, pid: str, when: tuple[int, int], login: str) -> Launch | Unread | None:
        launch = self._launches.get((self.host, pid))
        if launch is None or launch.when > when or launch.login not in ("", login):
            return None
        return launch


def make_views(
    document: Mapping[str, Any], processes: Processes, host: str = "", known: Known = _NONE
) -> dict[str, View]:
    """Compute the views of an event, and remember what process it started.

    Args:
        document: the event.
        processes: what its host and others are known to run.
        host: what tells its processes from those of other hosts.
        known: names of accounts that the event does not hold.

    Returns:
        View name → mappings; only views that have any.
    """
    processes.host = host
    call = first_of(document, "SYSCALL")
    cwd = first_of(document, "CWD").get("cwd", "")
    views: dict[str, View] = {"records": _records(document, call, cwd)}
    if known and call:
        call = {**call, **known}
    name = system_call(document, call)
    happened = call.get("success") != "no"
    if happened and name in LAUNCHES:
        execve = first_of(document, "EXECVE")
        views["process_creation"] = (_launch(document, call, execve, cwd, processes),)
        return views
    if happened and name in FORKS:
        processes.inherit(call.get("pid", ""), call.get("exit", ""), *_at(document, call))
    if happened:
        written = _written(document, call, name, processes)
        if written:
            views["file_event"] = written
    if name in _SENDS and (happened or call.get("exit") == _UNDER_WAY):
        connections = _connections(document, call, processes)
        if connections:
            views["network_connection"] = connections
    return views


def system_call(document: Mapping[str, Any], call: Record) -> str:
    """Name the system call of an event, also behind i386's `socketcall`.

    On architectures whose numbers are not in the tables, arguments tell that it started a program.
    """
    name = call.get("SYSCALL", "")
    if (not name or name.startswith("unknown")) and first_of(document, "EXECVE"):
        return "execve"
    if name == "socketcall":
        inner = first_of(document, "SOCKETCALL")
        return _SOCKETCALLS.get(call.get("a0") or inner.get("a0", ""), name)
    return name


def _records(document: Mapping[str, Any], call: Record, cwd: str) -> View:
    lent = {name: call[name] for name in _LENT if name in call}
    if cwd:
        lent["cwd"] = cwd
    base = None
    rows = []
    for record in document["records"]:
        row: dict[str, Any] = {**lent, **record}
        number = record.get("syscall") or call.get("syscall")
        if number is not None:
            row["syscall"] = row.get("SYSCALL", number)
            row["syscall_number"] = number
        key = row.get("key", "")
        if key == "(null)":
            del row["key"]
        elif "\x01" in key:
            row["key"] = [part for part in key.split("\x01") if part]
        if record["type"] == "EXECVE":
            row["cmdline"] = " ".join(arguments(record))
        elif record["type"] == "PATH":
            base = base or _base(call, cwd)
            name = record.get("name", "")
            whole = _absolute(name, base)
            if whole not in ("", name):
                row["name"] = [name, whole]
        rows.append(row)
    return tuple(rows)


def _base(call: Record, cwd: str) -> str:
    """Directory that relative names of the event start from; empty if it is not known."""
    name = call.get("SYSCALL", "")
    if name in _FROM_DIRECTORY:
        start = call.get(_TARGET_DIRECTORY.get(name, "a0"), "")
        if start not in _HERE:
            return ""
    return cwd


def _absolute(name: str, base: str) -> str:
    """Make a file name absolute and plain; empty where that is not possible."""
    if not name or name == "(null)":
        return ""
    if not name.startswith("/"):
        if not base.startswith("/"):
            return ""
        name = f"{base}/{name}"
    plain = posixpath.normpath("/" + name.lstrip("/"))
    return plain + "/" if name.endswith("/") and plain != "/" else plain


def file_targets(document: Mapping[str, Any]) -> list[tuple[Record, str]]:
    """Pair the PATH records that name a file (no parent directory) with their full names."""
    call = first_of(document, "SYSCALL")
    base = _base(call, first_of(document, "CWD").get("cwd", ""))
    paths = [record for record in document["records"] if record["type"] == "PATH"]
    if not base:  # relative to an open directory, whose full name its PARENT record may give
        parents = [path.get("name", "") for path in paths if path.get("nametype") == "PARENT"]
        base = next((name for name in parents if name.startswith("/")), "")
    return [
        (path, _absolute(path.get("name", ""), base) or path.get("name", ""))
        for path in paths
        if path.get("nametype") != "PARENT" and path.get("name", "(null)") != "(null)"
    ]


def writes(document: Mapping[str, Any], call: Record, name: str) -> bool:
    """Whether a call opens a file for writing (`O_WRONLY` or `O_RDWR` among its flags)."""
    if name == "creat":
        return True
    try:
        if name == "openat2":
            flags = int(first_of(document, "OPENAT2").get("oflag", "0")[:20], 8)
        else:
            flags = int(call.get(OPENS.get(name, ""), "0")[:20], 16)
    except ValueError:
        return False
    return flags & 3 in (1, 2)


def _written(document: Mapping[str, Any], call: Record, name: str, processes: Processes) -> View:
    opened = writes(document, call, name)
    common = None
    rows = []
    for path, target in file_targets(document):
        if path.get("nametype") == "CREATE" or (opened and path.get("nametype") == "NORMAL"):
            common = common or _actor(document, call, processes)
            rows.append(common | {"TargetFilename": target})
    return tuple(rows)


def _connections(document: Mapping[str, Any], call: Record, processes: Processes) -> View:
    rows = []
    for record in document["records"]:
        if record["type"] != "SOCKADDR" or record.get("saddr_fam") not in ("inet", "inet6"):
            continue
        address = plain_address(record.get("laddr", ""))
        if not address:
            continue
        row = _actor(document, call, processes)
        row["DestinationIp"] = address
        row["DestinationPort"] = record.get("lport", "")
        row["DestinationIsIpv6"] = "true" if ":" in address else "false"
        row["Initiated"] = "true"
        rows.append(row)
    return tuple(rows)


def plain_address(written: str) -> str:
    """Normalise an IP address, an IPv4 one inside IPv6 to IPv4; empty if it is none."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _actor(document: Mapping[str, Any], call: Record, processes: Processes) -> dict[str, str]:
    """Fields that every view over the process at work has in common."""
    row = {
        "UtcTime": _utc(document["time"]),
        "Computer": document["node"],
        "ProcessId": call.get("pid", ""),
        "Image": call.get("exe", ""),
        "User": id_name(call, "uid"),
        "LogonUser": id_name(call, "auid"),
        "ParentProcessId": call.get("ppid", ""),
    }
    own = processes.get(call.get("pid", ""), *_at(document, call))
    if own is not None and own.image == row["Image"]:
        row["CommandLine"] = own.command_line
    else:
        row["CommandLine"] = first_of(document, "PROCTITLE").get("proctitle", "")
    return {name: value for name, value in row.items() if value and value != "(null)"}


def _launch(
    document: Mapping[str, Any], call: Record, execve: Record, cwd: str, processes: Processes
) -> dict[str, str]:
    image, command_line = launched(document, call, execve)
    row = _actor(document, call, processes) | {
        "Image": image,
        "CommandLine": command_line,
        "CurrentDirectory": cwd,
        "EffectiveUser": id_name(call, "euid"),
        "LogonId": call.get("uid", ""),
        "LogonUserId": call.get("auid", ""),
        "TerminalSessionId": call.get("ses", ""),
        "Terminal": call.get("tty", ""),
    }
    when, login = _at(document, call)
    parent = processes.get(call.get("ppid", ""), when, login)
    if parent is not None:
        row["ParentImage"] = parent.image
        row["ParentCommandLine"] = parent.command_line
    if call.get("pid"):
        launch = Launch(when, image, command_line[:_PARENT_TEXT], login)
        processes.put(call["pid"], launch)
    return {name: value for name, value in row.items() if value and value != "(null)"}


def launch_fields(call: Record, parent: Launch | None) -> dict[str, str]:
    """Return what a launch has in its view that its own system call and its parent say.

    The texts are empty where the view has no such field.
    """
    fields = {
        "Image": call.get("exe", ""),
        "User": id_name(call, "uid"),
        "LogonUser": id_name(call, "auid"),
        "ParentImage": parent.image if parent is not None else "",
    }
    return {name: "" if value == "(null)" else value for name, value in fields.items()}


def launched(document: Mapping[str, Any], call: Record, execve: Record) -> tuple[str, str]:
    """Image and command line of a program that an event started."""
    command_line = " ".join(arguments(execve))
    if not command_line:
        command_line = first_of(document, "PROCTITLE").get("proctitle", "")
    image = call.get("exe", "")
    if not call:
        image = next((name for _, name in file_targets(document)), "")
    return image, command_line


def _at(document: Mapping[str, Any], call: Record) -> tuple[tuple[int, int], str]:
    seconds, _, fraction = document["time"].partition(".")
    login = call.get("auid", "")
    moment = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    return (moment, document["serial"]), "" if login == "unset" else login


def _utc(time: str) -> str:
    seconds, _, fraction = time.partition(".")
    whole = _second(int(seconds))
    return f"{whole}.{fraction}" if whole else ""


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    try:
        return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return ""
