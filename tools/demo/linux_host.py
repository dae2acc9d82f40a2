"""One Linux host: processes, logins, and what rsyslog and auditd write of them."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from demo.clock import SECOND, Dice

UNSET = 4294967295
Record = tuple[str, str, str]
"""An audit record: type, body, and the enrichment that follows 0x1d."""

_LOADER = "/lib64/ld-linux-x86-64.so.2"
_STATIC = ("runc", "busybox", "healthcheck", "grpc_health_probe", "kubectl", "push-metrics")
"""Programs without a dynamic loader: one PATH record instead of two."""
_EXEC_LIMIT = 7500
"""`MAX_EXECVE_AUDIT_LEN` of the kernel (kernel/auditsc.c): longer arguments are split."""


@dataclass
class Login:
    """One login session, or what stands in for it (cron, a container)."""

    user: str = "root"
    uid: int = 0
    auid: int = UNSET
    session: int = UNSET
    tty: str = "(none)"
    address: str = "?"
    port: int = 0
    daemon_pid: int = 0
    """The sshd or cron process that opened it."""
    shell_pid: int = 0
    cwd: str = "/"
    subj: str = "unconfined"

    @property
    def terminal(self) -> str:
        """The terminal as programs name it: `pts/1`."""
        return f"pts/{self.tty[3:]}" if self.tty.startswith("pts") else self.tty


def untrusted(text: str) -> str:
    """Encode as the kernel's `audit_log_untrustedstring`: quoted, or upper-case hex."""
    data = text.encode()
    if any(byte <= 0x20 or byte > 0x7E or byte == 0x22 for byte in data):
        return data.hex().upper()
    return f'"{text}"'


def execve_bodies(argv: Sequence[str]) -> list[str]:
    """Return the EXECVE records of a command line, the long argument split over several."""
    bodies: list[str] = []
    body = f"argc={len(argv)}"
    for number, argument in enumerate(argv):
        encoded = untrusted(argument)
        if len(encoded) <= _EXEC_LIMIT - len(body) - 100:
            body += f" a{number}={encoded}"
            continue
        body += f" a{number}_len={len(encoded)}"
        rest, part = encoded, 0
        while rest:
            room = (_EXEC_LIMIT - len(body)) // 2 * 2
            body += f" a{number}[{part}]={rest[:room]}"
            rest, part = rest[room:], part + 1
            if rest:
                bodies.append(body)
                body = ""
    return [*bodies, body]


@dataclass
class LinuxHost:
    """A host whose actions run in time order, so that pids and serials grow with time."""

    name: str
    dice: Dice
    names: dict[int, str]
    """uid → user name, for enrichment."""
    enriched: bool
    pid: int
    session: int
    serial: int
    audit_until_us: int = 1 << 62
    """The kernel records nothing after this."""
    now_us: int = 0
    syslog: list[tuple[int, str, str]] = field(default_factory=list)
    """(time, facility `auth` or `daemon`, `program[pid]: message`)."""
    audit: list[tuple[int, int, list[Record]]] = field(default_factory=list)
    """(time, own serial or 0, records of one event)."""
    _queue: list[tuple[int, int, Callable[[], object]]] = field(default_factory=list)
    _planned: int = 0

    def plan(self, time_us: int, action: Callable[[], object]) -> None:
        """Have something happen at a time; a whole second gets a fraction."""
        if time_us % SECOND == 0:
            time_us += self.dice.between(2000, SECOND * 4 // 5)
        self._planned += 1
        heapq.heappush(self._queue, (time_us, self._planned, action))

    def run(self) -> None:
        """Let everything planned happen, in order."""
        while self._queue:
            self.now_us, _, action = heapq.heappop(self._queue)
            action()

    def pause(self, low_ms: int = 1, high_ms: int = 9) -> None:
        """Let a little time pass within an action."""
        self.now_us += self.dice.randint(low_ms * 1000, high_ms * 1000)

    def new_pid(self) -> int:
        """Return the pid of a new process."""
        self.pid += self.dice.randint(1, 4)
        return self.pid

    def new_session(self) -> int:
        """Return the next audit session id, which logind uses too."""
        self.session += 1
        return self.session

    def log(self, program: str, pid: int, message: str, *, auth: bool = True) -> None:
        """Write a syslog line."""
        tag = f"{program}[{pid}]" if pid else program
        self.syslog.append((self.now_us, "auth" if auth else "daemon", f"{tag}: {message}"))
        self.now_us += self.dice.randint(40, 900)

    def record(self, records: list[Record], serial: int = 0) -> None:
        """Write an audit event, unless auditing is off."""
        if self.now_us < self.audit_until_us:
            self.audit.append((self.now_us, serial, records))
        self.now_us += self.dice.randint(200, 2500)

    def user_record(self, kind: str, login: Login, pid: int, message: str, uid: int = 0) -> None:
        """Write a record that a trusted program sends (`USER_*`, `CRED_*`, `SERVICE_*`)."""
        body = (
            f"pid={pid} uid={uid} auid={login.auid} ses={login.session} subj={login.subj} "
            f"msg='{message}'"
        )
        extra = f'UID="{self._name(uid)}" AUID="{self._name(login.auid)}"'
        self.record([(kind, body, extra)])

    def exec(
        self,
        login: Login,
        argv: Sequence[str],
        exe: str,
        *,
        ppid: int = 0,
        uid: int | None = None,
        key: str = "exec",
    ) -> int:
        """Start a program: SYSCALL, EXECVE, CWD, PATH and PROCTITLE. Returns its pid."""
        pid = self.new_pid()
        named = PurePosixPath(argv[0].removeprefix("-")).name
        program = argv[0] if argv[0].startswith("/") else str(PurePosixPath(exe).with_name(named))
        records = [
            self.syscall(
                login, "execve", 59, ppid or login.shell_pid, pid, exe, key, uid, comm=named
            )
        ]
        records += [("EXECVE", body, "") for body in execve_bodies(argv)]
        records.append(("CWD", f"cwd={untrusted(login.cwd)}", ""))
        paths = (program,) if PurePosixPath(exe).name in _STATIC else (program, _LOADER)
        if len(paths) == 1:
            records[0] = (records[0][0], records[0][1].replace("items=2", "items=1"), records[0][2])
        records += [self.path(at, path, "NORMAL", 0o100755) for at, path in enumerate(paths)]
        records.append(self.proctitle(argv))
        self.record(records)
        return pid

    def syscall(
        self,
        login: Login,
        name: str,
        number: int,
        ppid: int,
        pid: int,
        exe: str,
        key: str,
        uid: int | None = None,
        *,
        result: int = 0,
        arguments: Sequence[str] = (),
        comm: str = "",
    ) -> Record:
        """Return a SYSCALL record of x86_64."""
        owner = login.uid if uid is None else uid
        effective = 0 if exe == "/usr/bin/sudo" else owner
        given = list(arguments) or [f"{self.dice.getrandbits(44) | 1 << 44:x}" for _ in range(4)]
        ids = (
            f"uid={owner} gid={owner} euid={effective} suid={effective} fsuid={effective} "
            f"egid={owner} sgid={owner} fsgid={owner}"
        )
        shown = (comm or PurePosixPath(exe).name)[:15]
        body = (
            f"arch=c000003e syscall={number} success={'yes' if result >= 0 else 'no'} "
            f"exit={result} a0={given[0]} a1={given[1]} a2={given[2]} a3={given[3]} "
            f"items={2 if name == 'execve' else 0} ppid={ppid} pid={pid} auid={login.auid} {ids} "
            f"tty={login.tty} ses={login.session} comm={untrusted(shown)} "
            f"exe={untrusted(exe)} subj={login.subj} key={untrusted(key) if key else '(null)'}"
        )
        who, acting = self._name(owner), self._name(effective)
        extra = (
            f'ARCH=x86_64 SYSCALL={name} AUID="{self._name(login.auid)}" UID="{who}" GID="{who}" '
            f'EUID="{acting}" SUID="{acting}" FSUID="{acting}" EGID="{who}" SGID="{who}" '
            f'FSGID="{who}"'
        )
        return "SYSCALL", body, extra

    def path(self, item: int, name: str, kind: str, mode: int) -> Record:
        """Return a PATH record."""
        inode = 1000 + sum(ord(letter) * place for place, letter in enumerate(name, 7)) * 13
        body = (
            f"item={item} name={untrusted(name)} inode={inode} dev=103:01 mode={mode:07o} ouid=0 "
            f"ogid=0 rdev=00:00 nametype={kind} cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
        )
        return "PATH", body, 'OUID="root" OGID="root"'

    def proctitle(self, argv: Sequence[str]) -> Record:
        """Return a PROCTITLE record: the first 128 bytes of the command line, NUL between."""
        title = "\0".join(argv).encode()[:128].decode(errors="ignore")
        return "PROCTITLE", f"proctitle={untrusted(title)}", ""

    def write_file(
        self,
        login: Login,
        argv: Sequence[str],
        exe: str,
        pid: int,
        name: str,
        key: str,
        *,
        created: bool = False,
        read: bool = False,
    ) -> None:
        """A watched file is opened: SYSCALL openat, CWD, PATH, PROCTITLE."""
        flags = "0" if read else "241"
        kind, body, extra = self.syscall(
            login,
            "openat",
            257,
            login.shell_pid,
            pid,
            exe,
            key,
            0,
            result=3,
            arguments=("ffffff9c", f"{self.dice.getrandbits(44):x}", flags, "1a4"),
        )
        parent = str(PurePosixPath(name).parent)
        items = [self.path(0, parent, "PARENT", 0o040755)] if created else []
        items.append(self.path(len(items), name, "CREATE" if created else "NORMAL", 0o100600))
        body = body.replace("items=0", f"items={len(items)}")
        where = ("CWD", f"cwd={untrusted(login.cwd)}", "")
        self.record([(kind, body, extra), where, *items, self.proctitle(argv)])

    def connect(
        self, login: Login, argv: Sequence[str], exe: str, pid: int, address: str, port: int
    ) -> None:
        """A program connects to an IPv4 address: SYSCALL, SOCKADDR, PROCTITLE."""
        octets = bytes(int(part) for part in address.split("."))
        saddr = b"\x02\x00" + port.to_bytes(2, "big") + octets + bytes(8)
        call = self.syscall(
            login,
            "connect",
            42,
            login.shell_pid,
            pid,
            exe,
            "netconn",
            result=-115 if port == 443 else 0,
            arguments=("5", f"{self.dice.getrandbits(44):x}", "10", "0"),
        )
        inet = f"SADDR={{ saddr_fam=inet laddr={address} lport={port} }}"
        sockaddr = ("SOCKADDR", f"saddr={saddr.hex().upper()}", inet)
        self.record([call, sockaddr, self.proctitle(argv)])

    def audit_lines(self) -> list[str]:
        """Return `audit.log`: serials grow with time, the daemon's own events keep theirs."""
        lines = []
        serial = self.serial
        for time_us, own, records in sorted(self.audit, key=lambda event: event[0]):
            if not own:
                serial += 1
            stamp = f"{time_us // SECOND}.{time_us % SECOND // 1000:03d}:{own or serial}"
            for kind, body, extra in records:
                suffix = f"\x1d{extra}" if self.enriched and extra else ""
                lines.append(f"type={kind} msg=audit({stamp}): {body}{suffix}")
        return lines

    def _name(self, uid: int) -> str:
        return "unset" if uid == UNSET else self.names.get(uid, f"unknown({uid})")
