"""What a Linux host does around logins: sshd, sudo and cron, in syslog and in auditd."""

from collections.abc import Callable, Sequence

from demo.clock import SECOND
from demo.linux_host import UNSET, LinuxHost, Login, untrusted

SSHD = "/usr/sbin/sshd"
KNOWN_USERS = ("root", "deploy", "marta", "jonas", "priya", "ubuntu", "backup", "www-data")


def _pam(
    host: LinuxHost,
    kind: str,
    login: Login,
    pid: int,
    operation: str,
    exe: str,
    *,
    account: str = "",
    modules: str = "pam_unix",
    passed: bool = True,
    uid: int = 0,
) -> None:
    terminal = {SSHD: "ssh", "/usr/sbin/cron": "cron"}.get(exe, f"/dev/{login.terminal}")
    where = login.address if exe == SSHD else "?"
    host.user_record(
        kind,
        login,
        pid,
        f"op=PAM:{operation} grantors={modules if passed else '?'} "
        f'acct={untrusted(account or login.user)} exe="{exe}" hostname={where} addr={where} '
        f"terminal={terminal} res={'success' if passed else 'failed'}",
        uid,
    )


def ssh_refused(host: LinuxHost, user: str, address: str, *, polite: bool = False) -> None:
    """Somebody tries a password and is refused."""
    pid, port = host.new_pid(), host.dice.randint(33000, 60900)
    login = Login(user=user, address=address)
    known = user in KNOWN_USERS
    named = user if known else f"invalid user {user}"
    if not known:
        host.log("sshd", pid, f"Invalid user {user} from {address} port {port}")
        host.log("sshd", pid, "pam_unix(sshd:auth): check pass; user unknown")
    host.log(
        "sshd",
        pid,
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
        f"rhost={address} " + (f" user={user}" if known else ""),
    )
    _pam(
        host,
        "USER_AUTH",
        login,
        pid,
        "authentication",
        SSHD,
        account=user if known else "?",
        passed=False,
    )
    host.pause(1400, 2600)
    host.log("sshd", pid, f"Failed password for {named} from {address} port {port} ssh2")
    host.pause(20, 200)
    whom = f"authenticating user {user}" if known else named
    if polite:
        host.log(
            "sshd", pid, f"Received disconnect from {address} port {port}:11: Bye Bye [preauth]"
        )
        host.log("sshd", pid, f"Disconnected from {whom} {address} port {port} [preauth]")
    else:
        host.log("sshd", pid, f"Connection closed by {whom} {address} port {port} [preauth]")
    host.user_record(
        "USER_LOGIN",
        login,
        pid,
        f'op=login acct={untrusted(user if known else "(invalid user)")} exe="{SSHD}" hostname=? '
        f"addr={address} terminal=sshd res=failed",
    )


def ssh_login(host: LinuxHost, user: str, uid: int, address: str, key: str = "") -> Login:
    """Somebody logs in, with a password or with the key of that fingerprint."""
    pid, port = host.new_pid(), host.dice.randint(33000, 60900)
    before = Login(user=user, address=address)
    method = f"publickey for {user}" if key else f"password for {user}"
    tail = f"ssh2: ED25519 SHA256:{key}" if key else "ssh2"
    _pam(
        host,
        "USER_AUTH",
        before,
        pid,
        "pubkey_auth" if key else "authentication",
        SSHD,
        modules="auth-key" if key else "pam_permit,pam_cap",
    )
    _pam(host, "USER_ACCT", before, pid, "accounting", SSHD, modules="pam_permit")
    host.log("sshd", pid, f"Accepted {method} from {address} port {port} {tail}")
    _pam(host, "CRED_ACQ", before, pid, "setcred", SSHD, modules="pam_permit,pam_cap")
    session = host.new_session()
    login = Login(
        user,
        uid,
        uid,
        session,
        f"pts{host.dice.randint(0, 3)}",
        address,
        port,
        pid,
        cwd="/root" if user == "root" else f"/home/{user}",
    )
    _login_record(host, login, pid)
    host.log(
        "sshd",
        pid,
        f"pam_unix(sshd:session): session opened for user {user}(uid={uid}) by {user}(uid=0)",
    )
    host.log("systemd-logind", 702, f"New session {session} of user {user}.")
    _pam(
        host,
        "USER_START",
        login,
        pid,
        "session_open",
        SSHD,
        modules="pam_selinux,pam_loginuid,pam_keyinit,pam_permit,pam_unix,pam_systemd,pam_env",
    )
    for kind in ("USER_LOGIN", "USER_START"):
        host.user_record(
            kind,
            login,
            pid,
            f'op=login id={uid} exe="{SSHD}" hostname={address} addr={address} '
            f"terminal=/dev/{login.terminal} res=success",
        )
    host.pause(30, 90)
    login.shell_pid = host.exec(login, ["-bash"], "/usr/bin/bash", ppid=host.new_pid())
    return login


def ssh_logout(host: LinuxHost, login: Login) -> None:
    """The session ends."""
    child = login.daemon_pid + 60
    where = f"{login.address} port {login.port}"
    host.log("sshd", child, f"Received disconnect from {where}:11: disconnected by user")
    host.log("sshd", child, f"Disconnected from user {login.user} {where}")
    host.log(
        "sshd", login.daemon_pid, f"pam_unix(sshd:session): session closed for user {login.user}"
    )
    _pam(host, "USER_END", login, login.daemon_pid, "session_close", SSHD)
    _pam(host, "CRED_DISP", login, login.daemon_pid, "setcred", SSHD, modules="pam_permit,pam_cap")
    number = login.session
    host.log("systemd-logind", 702, f"Session {number} logged out. Waiting for processes to exit.")
    host.log("systemd-logind", 702, f"Removed session {number}.")


def sudo(
    host: LinuxHost, login: Login, argv: Sequence[str], exe: str, *, stays: bool = False
) -> int:
    """Run a command as root through sudo; returns its pid. `stays`: an interactive shell."""
    pid = host.exec(login, ["sudo", *(["-i"] if stays else argv)], "/usr/bin/sudo")
    command = " ".join([exe, *argv[1:]])
    host.user_record(
        "USER_CMD",
        login,
        pid,
        f'cwd="{login.cwd}" cmd={untrusted(command)} exe="/usr/bin/sudo" terminal={login.terminal} '
        "res=success",
        login.uid,
    )
    host.log(
        "sudo",
        0,
        f"{login.user:>8} : TTY={login.terminal} ; PWD={login.cwd} ; USER=root ; COMMAND={command}",
    )
    service = "sudo-i" if stays else "sudo"
    by = f"{login.user}(uid={login.uid})"
    host.log("sudo", 0, f"pam_unix({service}:session): session opened for user root(uid=0) by {by}")
    _pam(
        host,
        "USER_START",
        login,
        pid,
        "session_open",
        "/usr/bin/sudo",
        account="root",
        modules="pam_limits,pam_permit,pam_umask,pam_unix",
        uid=login.uid,
    )
    merged = f"/usr{exe}" if exe.startswith("/bin/") else exe
    started = host.exec(login, list(argv), merged, ppid=pid, uid=0)
    if not stays:
        host.pause(60, 700)
        sudo_closed(host, login, pid)
    return started


def sudo_closed(host: LinuxHost, login: Login, pid: int, service: str = "sudo") -> None:
    """The command that sudo ran has ended."""
    host.log("sudo", 0, f"pam_unix({service}:session): session closed for user root")
    _pam(
        host,
        "USER_END",
        login,
        pid,
        "session_close",
        "/usr/bin/sudo",
        account="root",
        uid=login.uid,
    )


def run_as_typed(
    host: LinuxHost, login: Login, argv: Sequence[str], exe: str
) -> Callable[[], None]:
    """Return the action of typing a command; `sudo` in front runs it as root."""

    def act() -> None:
        if argv[0] == "sudo":
            sudo(host, login, argv[1:], exe)
        else:
            host.exec(login, argv, exe)

    return act


def cron_job(
    host: LinuxHost, command: str, runs: Sequence[tuple[Sequence[str], str]], lasts_us: int = SECOND
) -> None:
    """Cron runs a job of root: PAM lines in auth, the command in the daemon log, its programs."""
    pid = host.new_pid()
    login = Login(tty="cron", daemon_pid=pid, cwd="/root")
    cron = "/usr/sbin/cron"
    _pam(host, "USER_ACCT", login, pid, "accounting", cron, modules="pam_permit")
    _pam(host, "CRED_ACQ", login, pid, "setcred", cron, modules="pam_permit,pam_cap")
    session = host.new_session()
    job = Login(auid=0, session=session, daemon_pid=pid, cwd="/root")
    _login_record(host, job, pid)
    host.log(
        "CRON", pid, "pam_unix(cron:session): session opened for user root(uid=0) by root(uid=0)"
    )
    shell = host.new_pid()
    host.log("CRON", shell, f"(root) CMD ({command})", auth=False)
    job.shell_pid = host.exec(job, ["/bin/sh", "-c", command], "/usr/bin/dash", ppid=pid)
    for argv, exe in runs:
        host.exec(job, argv, exe)
    host.pause(80, max(90, lasts_us // 1000))
    _pam(host, "CRED_DISP", job, pid, "setcred", cron, modules="pam_permit,pam_cap")
    _pam(
        host,
        "USER_END",
        job,
        pid,
        "session_close",
        cron,
        modules="pam_loginuid,pam_env,pam_permit,pam_umask,pam_unix,pam_limits",
    )
    host.log("CRON", pid, "pam_unix(cron:session): session closed for user root")


def _login_record(host: LinuxHost, login: Login, pid: int) -> None:
    body = (
        f"pid={pid} uid=0 subj=unconfined old-auid={UNSET} auid={login.auid} tty=(none) "
        f"old-ses={UNSET} ses={login.session} res=1"
    )
    name = host.names.get(login.auid, "?")
    host.record([("LOGIN", body, f'UID="root" OLD-AUID="unset" AUID="{name}"')])
