"""The OCSF envelope of an audit event."""

from collections.abc import Mapping
from typing import Any

from trailhound.model.events import Envelope, Outcome
from trailhound.sources.auditd.accounts import Known
from trailhound.sources.auditd.document import NOBODY, Record, arguments, first_of, id_name
from trailhound.sources.auditd.views import file_targets, plain_address, system_call, writes
from trailhound.sources.mapping import EnvelopeMap, is_time_ns

FILE, MODULE, PROCESS, ACCOUNT, LOGON, NETWORK = 1001, 1005, 1007, 3001, 3002, 4001
"""OCSF classes: File System, Module, Process, Network Activity, Account Change,
Authentication."""

_OF_CALLS = (
    "SYSCALL SOCKETCALL OPENAT2 URINGOP EXECVE BPRM_FCAPS CAPSET CWD PATH SOCKADDR FD_PAIR MMAP "
    "IPC IPC_SET_PERM MQ_OPEN MQ_SENDRECV MQ_NOTIFY MQ_GETSETATTR OBJ_PID PROCTITLE AVC AVC_PATH "
    "SELINUX_ERR KERN_MODULE SECCOMP FANOTIFY BPF MAC_TASK_CONTEXTS MAC_OBJ_CONTEXTS"
)
"""Records that belong to a system call; any other names what happened better than the call."""
_FELLOWS = frozenset(_OF_CALLS.split())

_BY_TYPE = {
    "LOGIN": (LOGON, 1),
    "USER_LOGIN": (LOGON, 1),
    "USER_START": (LOGON, 1),
    "USER_LOGOUT": (LOGON, 2),
    "USER_END": (LOGON, 2),
    "USER_AUTH": (LOGON, 99),
    "USER_ACCT": (LOGON, 99),
    "CRED_ACQ": (LOGON, 99),
    "CRED_REFR": (LOGON, 99),
    "CRED_DISP": (LOGON, 99),
    "GRP_AUTH": (LOGON, 99),
    "CHUSER_ID": (LOGON, 99),
    "USER_CMD": (PROCESS, 1),
    "ANOM_ABEND": (PROCESS, 2),
    "ADD_USER": (ACCOUNT, 1),
    "DEL_USER": (ACCOUNT, 6),
    "USER_CHAUTHTOK": (ACCOUNT, 3),
    "ACCT_LOCK": (ACCOUNT, 9),
    "ACCT_UNLOCK": (ACCOUNT, 2),
    "USER_MGMT": (ACCOUNT, 99),
    "ADD_GROUP": (ACCOUNT, 99),
    "DEL_GROUP": (ACCOUNT, 99),
    "GRP_MGMT": (ACCOUNT, 99),
    "GRP_CHAUTHTOK": (ACCOUNT, 99),
    "CHGRP_ID": (ACCOUNT, 99),
    "ROLE_ASSIGN": (ACCOUNT, 7),
    "ROLE_REMOVE": (ACCOUNT, 8),
}
"""Record type → OCSF class and activity; any other type is a Base Event."""

_BY_CALL = {
    "execve": (PROCESS, 1),
    "execveat": (PROCESS, 1),
    "clone": (PROCESS, 1),
    "clone3": (PROCESS, 1),
    "fork": (PROCESS, 1),
    "vfork": (PROCESS, 1),
    "kill": (PROCESS, 2),
    "tkill": (PROCESS, 2),
    "tgkill": (PROCESS, 2),
    "ptrace": (PROCESS, 4),
    "process_vm_writev": (PROCESS, 4),
    "setuid": (PROCESS, 5),
    "setreuid": (PROCESS, 5),
    "setresuid": (PROCESS, 5),
    "init_module": (MODULE, 1),
    "finit_module": (MODULE, 1),
    "delete_module": (MODULE, 2),
    "connect": (NETWORK, 1),
    "accept": (NETWORK, 1),
    "accept4": (NETWORK, 1),
    "bind": (NETWORK, 7),
    "listen": (NETWORK, 7),
    "sendto": (NETWORK, 6),
    "sendmsg": (NETWORK, 6),
    "sendmmsg": (NETWORK, 6),
}
_ON_FILES = {
    1: "creat mkdir mkdirat mknod mknodat link linkat symlink symlinkat",
    3: "truncate ftruncate",
    4: "unlink unlinkat rmdir",
    5: "rename renameat renameat2",
    6: "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat "
    "futimesat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    12: "mount move_mount fsmount",
    13: "umount umount2",
}
_FILE_ACTIVITY = {name: number for number, names in _ON_FILES.items() for name in names.split()}
_ON_GROUPS = ("ADD_GROUP", "DEL_GROUP", "GRP_MGMT", "GRP_CHAUTHTOK", "CHGRP_ID", "GRP_AUTH")
_BEFORE_LOGIN = ("USER_AUTH", "USER_ACCT", "CRED_ACQ")
"""Written before the login user is set: theirs is of whoever started the daemon."""
_SWITCHERS = ("su", "sudo", "runuser", "pkexec", "doas", "newgrp", "sg", "machinectl", "run0")
"""Programs by which somebody who is logged in becomes another."""
_CONFIG = ("CONFIG_CHANGE", "FEATURE_CHANGE", "USYS_CONFIG")
_OPERATIONS = {"add rule": "add_rule", "remove rule": "remove_rule"}
"""Operations as kernels before 3.11 write them."""


_ENVELOPE = EnvelopeMap({})
"""All of it depends on which record of the event leads."""


def describe(document: Mapping[str, Any]) -> Envelope:
    """Compute the envelope of an audit event from its document."""
    return describe_named({}, document)


def describe_named(known: Known, document: Mapping[str, Any]) -> Envelope:
    """Compute the envelope, with names of accounts that the event itself does not hold."""
    call = first_of(document, "SYSCALL")
    main = _main(document, call)
    by = call or main
    if known:
        main = main if call else {**main, **known}
        by = {**by, **known}
    values: dict[str, Any] = {
        "time_ns": time_ns_in(document["time"]),
        "device": document["node"],
        "request_uid": f"{document['time']}:{document['serial']}",
        "session_uid": _known(by.get("ses", "")),
    }
    values |= _action(document, call, main)
    values |= _actor(by, main, values["class_uid"])
    values |= _outcome(main, call)
    values |= _target(document, main, values["class_uid"])
    values["src_ip"] = _source(document, main, values["action"])
    return _ENVELOPE(document, values)


def _main(document: Mapping[str, Any], call: Record) -> Record:
    for record in document["records"]:
        if record["type"] not in _FELLOWS:
            found: Record = record
            return found
    first: Record = document["records"][0] if document["records"] else {}
    return call or first


def time_ns_in(time: str) -> int | None:
    """Read `seconds.milliseconds`; None where 64 bits do not hold it (after the year 2262)."""
    seconds, _, fraction = time.partition(".")
    time_ns = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    return time_ns if is_time_ns(time_ns) else None


def _known(value: str) -> str:
    return "" if value in NOBODY else value


def _action(document: Mapping[str, Any], call: Record, main: Record) -> dict[str, Any]:
    kind = main.get("type", "")
    if kind == "EXECVE":  # its SYSCALL record was lost
        return {"class_uid": PROCESS, "activity_id": 1, "action": "execve"}
    if kind != "SYSCALL":
        class_uid, activity = _BY_TYPE.get(kind, (0, 0))
        action = _operation(main) if kind in _CONFIG or kind.startswith("DAEMON_") else ""
        return {"class_uid": class_uid, "activity_id": activity, "action": action or kind}
    name = system_call(document, call)
    known = _BY_CALL.get(name)
    if known is not None:
        return {"class_uid": known[0], "activity_id": known[1], "action": name}
    paths = [record for record in document["records"] if record["type"] == "PATH"]
    opens = name.startswith("open")
    class_uid = FILE if paths or opens or name in _FILE_ACTIVITY else 0
    activity = _FILE_ACTIVITY.get(name, 0)
    if opens:
        created = any(path.get("nametype") == "CREATE" for path in paths)
        activity = 1 if created else 3 if writes(document, call, name) else 2
    return {
        "class_uid": class_uid,
        "activity_id": activity or (99 if class_uid else 0),
        "action": name or call.get("syscall", "") or kind,
    }


def _actor(by: Record, main: Record, class_uid: int) -> dict[str, str]:
    login = id_name(by, "auid")
    actor, uid = id_name(by, "uid"), _known(by.get("uid", ""))
    if class_uid == LOGON:
        # The daemon that logs somebody in runs as root; who is meant is the account.
        account = _known(main.get("acct", "")) or id_name(main, "id")
        program = main.get("exe", "").rpartition("/")[2]
        if program in _SWITCHERS:
            uid = uid if account in ("", actor) else _known(main.get("id", ""))
        else:
            account = account or login
            own = _known(main.get("id", ""))
            if not own and main["type"] not in _BEFORE_LOGIN:
                own = _known(by.get("auid", ""))
            uid = own or (uid if account and account == actor else "")
            # A failed login of nobody it knows: the daemon's own account is not who tried.
            actor = login = account
        uid = "0" if account == "root" else uid
        actor = account or actor
    if not actor:
        actor, uid = login, uid or (_known(by.get("auid", "")) if login else "")
    return {
        "actor_name": actor,
        "actor_uid": uid,
        "actor_type": "user" if actor else "",
        "invoked_by": login if login != actor else "",
    }


def _outcome(main: Record, call: Record) -> dict[str, Any]:
    word = main.get("res") or main.get("result") or main.get("success") or call.get("success", "")
    outcome = Outcome.UNKNOWN
    if call.get("EXIT") == "EINPROGRESS":  # a connection begun; how it ended is not logged
        word = ""
    denied = main.get("seresult") == "denied" and main.get("permissive") != "1"
    if denied or main.get("apparmor") == "DENIED":
        outcome = Outcome.FAILURE
    elif word in ("success", "yes", "1"):
        outcome = Outcome.SUCCESS
    elif word in ("failed", "fail", "no", "0"):
        outcome = Outcome.FAILURE
    detail = call.get("EXIT", "")
    return {"outcome": outcome, "outcome_detail": detail or main.get("reason", "")}


def _target(document: Mapping[str, Any], main: Record, class_uid: int) -> dict[str, str]:
    kind, name = "", ""
    if class_uid == PROCESS:
        kind, name = "process", main.get("exe", "")
        if main.get("success") == "no" and main.get("SYSCALL", "").startswith("execve"):
            name = _file(document)  # `exe` is still the program that tried
        if main.get("type") == "USER_CMD":
            name = main.get("cmd", "") or name
        elif not name:
            name = " ".join(arguments(first_of(document, "EXECVE"))[:1])
        victim = first_of(document, "OBJ_PID")
        if victim:
            name = _known(victim.get("ocomm", "")) or victim.get("opid", "")
    elif class_uid == FILE:
        kind, name = "file", _file(document)
    elif class_uid == NETWORK and main.get("SYSCALL", "").startswith("accept"):
        kind, name = "process", main.get("exe", "")
    elif class_uid == NETWORK:
        address = first_of(document, "SOCKADDR")
        if "laddr" in address:
            kind = "endpoint"
            host = plain_address(address["laddr"])
            name = f"[{host}]" if ":" in host else host
            name += f":{address.get('lport', '')}"
        elif "path" in address:
            kind, name = "socket", address["path"]
    elif class_uid in (LOGON, ACCOUNT):
        kind = "account"
        name = _known(main.get("acct", "")) or id_name(main, "id") or id_name(main, "auid")
        if main["type"] in _ON_GROUPS:
            kind, name = "group", _known(main.get("grp", "")) or name
    elif class_uid == MODULE:
        kind, name = "module", first_of(document, "KERN_MODULE").get("name", "")
    elif main.get("type") in _CONFIG:
        kind, name = _configured(main)
    elif main.get("type", "").startswith("DAEMON_"):
        kind, name = "service", "auditd"
    elif main.get("type", "").startswith("SERVICE_"):
        kind, name = "service", main.get("unit", "")
    elif _known(main.get("key", "")):
        kind, name = "audit rule", main["key"]
    elif main.get("exe"):
        kind, name = "process", main["exe"]
    name = _known(name)
    return {"target_type": kind if name else "", "target_name": name}


def _operation(main: Record) -> str:
    """What was done to auditing: `set audit_enabled=0`, `remove_rule`; of auditd, `terminate`."""
    setting = _setting(main)
    if setting:
        return f"set {setting}={main[setting]}"
    if main["type"] == "FEATURE_CHANGE" and "feature" in main:
        return f"set {main['feature']}={main.get('new', '?')}"
    operation = main.get("op", "")
    return _OPERATIONS.get(operation, operation)


def _setting(main: Record) -> str:
    """Name the setting of the kernel's audit that a record says was set; empty if none."""
    return next((name for name in main if name.startswith("audit_")), "")


def _configured(main: Record) -> tuple[str, str]:
    """Kind and name of what a change of the audit configuration is about."""
    setting = _setting(main) or main.get("feature", "")
    if setting:
        return "audit setting", setting
    for field in ("key", "path", "watch", "dir"):
        if name := _known(main.get(field, "")):
            return "audit rule", name.replace("\x01", ", ")
    number = main.get("list", "")
    return "audit rule", f"list {number}" if number else ""


def _file(document: Mapping[str, Any]) -> str:
    """The file a call was about: the one it made or removed, else the first it names."""
    targets = file_targets(document)
    for wanted in ("CREATE", "DELETE", "NORMAL"):
        for path, name in targets:
            if path.get("nametype") == wanted:
                return name
    return targets[0][1] if targets else ""


def _source(document: Mapping[str, Any], main: Record, action: str) -> str:
    for field in ("addr", "hostname"):
        address = plain_address(main.get(field, ""))
        if address:
            return address
    if action in ("accept", "accept4"):
        return plain_address(first_of(document, "SOCKADDR").get("laddr", ""))
    return ""
