"""The fields of the views, and the log sources of rules that they serve."""

from trailhound.model.logsource import FieldInfo, LogSource, Route
from trailhound.sources.linux_auth.messages import ACCOUNT_TOOLS

PROCESS_VIEW = "process_creation"

SERVICES = (
    *("syslog", "auth", "sshd", "sudo", "su", "pam", "login", "polkit"),
    *("cron", "systemd", "logind", "clamav", "guacamole", "vsftpd"),
    *ACCOUNT_TOOLS,
)
"""Services of rules, each with a view of its name."""

ROUTES = (
    *(Route(LogSource("linux", None, service), service) for service in SERVICES),
    Route(LogSource("linux", None, "systemd-logind"), "logind"),
    Route(LogSource("linux", "process_creation", None), PROCESS_VIEW),
)

_DOCUMENT = {
    "timestamp": "time as the header writes it; of a journal entry, in ISO 8601",
    "time": "the time in UTC, where the header left out its year or zone",
    "host": "host name in the header, or `_HOSTNAME`",
    "program": "tag of the line without its pid, or `SYSLOG_IDENTIFIER`",
    "pid": "process id in the tag, or `_PID`",
    "facility": "name of the facility, where a priority was written: `authpriv`",
    "severity": "name of the severity, where a priority was written: `notice`",
    "msgid": "MSGID of an RFC 5424 header",
    "message": "the message, without header and tag",
    "structured_data.*": "RFC 5424 structured data: element, parameter",
    "journal.*": "every field of a journal entry but MESSAGE, as written: `journal._COMM`",
    "repeats.program": "program of the line that `last message repeated` refers to",
    "repeats.pid": "its process id",
    "repeats.message": "its message",
    "repeat": "which of the repeats it is, from the second on, where one line stands for several",
    "continues": "sudo's message so far, where it cut a long command over several lines",
}
_PARSED = {
    "event": "what happened, a stable word: `ssh-login-failed`, `sudo`, `user-created`",
    "outcome": "`success` or `failure`",
    "repeated": "how many more times the message came, where the logger counted repeats",
    "reason": "why it failed or ended, in the program's words",
    "detail": "more of what the program said",
    "continued": "true where the command was put together from several lines",
    "attempts": "number of failed attempts in one message",
    "user": "the account that acts, logs in, or is being logged in to",
    "target_user": "the account it becomes (sudo, su), or that is created or changed",
    "by_user": "who opened the session (PAM)",
    "by_uid": "its user id",
    "invalid_user": "true where sshd knows no such account",
    "preauth": "true where sshd had not yet let the peer in",
    "logname": "login name (PAM)",
    "ruser": "the calling or remote user (PAM)",
    "uid": "user id",
    "euid": "effective user id (PAM)",
    "gid": "group id",
    "group": "group created, changed or joined; or sudo's GROUP",
    "home": "home directory of a new or changed account",
    "shell": "login shell of a new or changed account",
    "change": "what of the account changed: `uid`, `shell`, `name`",
    "old_value": "what it was",
    "new_value": "what it is now",
    "src_ip": "address of the peer",
    "src_host": "name of the peer, where a name was logged",
    "src_port": "port of the peer",
    "method": "way of authentication: `password`, `publickey`, `keyboard-interactive/pam`",
    "key_type": "type of the key or certificate",
    "key_fingerprint": "its fingerprint",
    "key_source": "file and line that allowed the key",
    "certificate_id": "key id of an ssh certificate",
    "certificate_serial": "its serial number",
    "ca_fingerprint": "fingerprint of the key that signed it",
    "kind": "kind of ssh session: `shell`, `command`, `subsystem 'sftp'`",
    "tty": "terminal",
    "pwd": "working directory (sudo, pkexec)",
    "command": "command line (sudo, pkexec, cron, polkit)",
    "chroot": "root directory (sudo)",
    "environment": "variables set on sudo's command line",
    "tsid": "id of sudo's session recording",
    "submit_host": "host that asked for the command (sudo)",
    "pam_module": "PAM module: `pam_unix`",
    "pam_service": "PAM service: `sshd`, `sudo`",
    "pam_type": "`auth`, `account`, `session`, `chauthtok`",
    "polkit_action": "action that polkit was asked for",
    "crontab": "crontab that cron read anew",
    "unit": "systemd unit",
    "unit_description": "description of the unit",
    "session": "id of the login session (logind)",
    "session_class": "class of the login session",
    "session_type": "type of the login session",
    "seat": "seat (logind)",
}
_PROCESS = {
    "Image": "first word of the command",
    "CommandLine": "the command with its arguments",
    "User": "the account that the command ran as",
    "CurrentDirectory": "working directory",
    "LogonUser": "the account that called sudo or pkexec",
    "host": "host name",
    "timestamp": "time as the header writes it",
}

FIELDS = (
    *(
        FieldInfo(name, description, view)
        for view in SERVICES
        for name, description in (_DOCUMENT | _PARSED).items()
    ),
    *(FieldInfo(name, description, PROCESS_VIEW) for name, description in _PROCESS.items()),
)
