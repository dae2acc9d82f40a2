"""What sshd says (OpenSSH: auth.c, auth2.c, packet.c, sshd.c and their siblings).

A client chooses its user name, its software string, its certificate's key id, its reasons for
leaving. Where such text stands left of an address, the address is read from the right end;
where it stands right of it, from the left. Where both are possible and both readings make
sense, both are given, and a rule that fits either one fires.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from trailhound.sources.linux_auth.peers import failures, peer

Fields = dict[str, Any]

_END = re.compile(r" from (\S{1,255}) port (\d{1,5})(?: ssh2)?\Z", re.ASCII)
_MIDDLE = re.compile(r" from (\S{1,255}) port (\d{1,5}) ssh2: ", re.ASCII)
_END_BARE = re.compile(r"(?:\A| )(\S{1,255}) port (\d{1,5})\Z", re.ASCII)
_MIDDLE_BARE = re.compile(r"(?:\A| )(\S{1,255}) port (\d{1,5}): ", re.ASCII)
_START = re.compile(r"(\S{1,255}?)(?: port (\d{1,5}))?(?=[:, ]|\Z)", re.ASCII)
_CERTIFICATE = re.compile(
    r"(\S+) (\S+) ID (.*) \(serial (\d{1,20})\) CA (\S+) (\S+?)(?:, .*)?\Z", re.ASCII | re.DOTALL
)
_KEY = re.compile(r"([A-Za-z0-9@.-]{1,64}) ((?:SHA256:|MD5:|[0-9a-f]{2}:)[^\s,]{1,256})", re.ASCII)
_FOUND_KEY = re.compile(r"key (\S{1,64}) (\S{1,256}) found at (.*)\Z", re.ASCII | re.DOTALL)
_SIGNED = re.compile(
    r'certificate ID "(.*)" \(serial (\d{1,20})\) signed by (\S{1,64}) CA (\S{1,256})',
    re.ASCII | re.DOTALL,
)
_DISCONNECT = re.compile(r"(\S{1,255}?)(?: port (\d{1,5}))?: ?(\d{1,10}): ", re.ASCII)
_REVERSE = re.compile(r"getaddrinfo for (\S{1,255}) \[(\S{1,64})\] failed", re.ASCII)
_IP = re.compile(r"\bip=([^\s,)]{1,64})", re.ASCII)
_DROPPED = re.compile(r"from \[(\S{1,64})\]:(\d{1,5})", re.ASCII)
_CLIENT_STATES = ("authenticating user ", "invalid user ", "user ")


def read(message: str) -> list[Fields]:
    """Return the readings of a message: none where it says nothing known, mostly one."""
    text = message.strip(" ")
    for level in ("error: ", "fatal: ", "info: "):
        text = text.removeprefix(level)
    if text.startswith("/"):  # newer versions name the authorized_keys line first
        _, joint, tried = text.partition(": Authentication tried for ")
        text = "Authentication tried for " + tried if joint else text
    preauth = text.endswith(" [preauth]")
    if preauth:
        text = text[:-10]
    word, _, rest = text.partition(" ")
    reader = _READERS.get(word)
    readings = reader(word, rest) if reader is not None else []
    if preauth:
        for reading in readings:
            reading["preauth"] = True
    return readings


def _attempt(word: str, rest: str) -> list[Fields]:
    """`Accepted|Failed|Partial|Postponed METHOD for [invalid user] USER from … port … ssh2`."""
    if word == "Accepted" and (found := _FOUND_KEY.match(rest)):
        key = {"key_type": found[1], "key_fingerprint": found[2], "key_source": found[3]}
        return [{"event": "ssh-key-accepted", **key}]
    if word == "Accepted" and (found := _SIGNED.match(rest)):
        fields: Fields = {"event": "ssh-certificate-accepted", "certificate_id": found[1]}
        fields.update(certificate_serial=found[2], ca_fingerprint=found[4])
        return [fields]
    method, joint, who = rest.partition(" for ")
    if not joint:
        return []
    event, outcome = _ATTEMPTS[word]
    base: Fields = {"event": event, "method": method}
    if outcome:
        base["outcome"] = outcome
    user, invalid = _user(who)
    if (found := _END.search(user)) is not None:
        return [base | _account(user[: found.start()], invalid=invalid) | peer(found[1], found[2])]
    readings = []
    for found in _two(_MIDDLE, user, last_first=invalid):
        extra = _key(user[found.end() :])
        named = _account(user[: found.start()], invalid=invalid)
        readings.append(base | named | peer(found[1], found[2]) | extra)
    return readings or [base | _account(user, invalid=invalid)]


def _user(text: str) -> tuple[str, bool]:
    for prefix in ("invalid user ", "illegal user "):
        if text.startswith(prefix):
            return text[len(prefix) :], True
    return text, False


def _account(user: str, *, invalid: bool) -> Fields:
    return {"user": user, "invalid_user": True} if invalid else {"user": user}


def _key(text: str) -> Fields:
    fields: Fields = {}
    if (found := _CERTIFICATE.match(text)) is not None:
        fields.update(key_type=found[1], key_fingerprint=found[2], certificate_id=found[3])
        fields.update(certificate_serial=found[4], ca_fingerprint=found[6])
    elif (found := _KEY.match(text)) is not None:
        fields.update(key_type=found[1], key_fingerprint=found[2])
    else:
        fields["detail"] = text
    return fields


def _two(pattern: re.Pattern[str], text: str, *, last_first: bool) -> list[re.Match[str]]:
    """The first and the last match: of what lies between, nothing could be said."""
    first = last = None
    for found in pattern.finditer(text):
        first = first or found
        last = found
    if first is None or last is None:
        return []
    if first is last:
        return [first]
    return [last, first] if last_first else [first, last]


def _invalid_user(_word: str, rest: str) -> list[Fields]:
    fields: Fields = {"event": "ssh-invalid-user", "outcome": "failure", "invalid_user": True}
    for prefix in ("user ", "invalid user "):
        if rest.startswith(prefix):
            name = rest[len(prefix) :]
            break
    else:
        return []
    if (found := _END.search(name)) is not None:
        return [fields | {"user": name[: found.start()]} | peer(found[1], found[2])]
    user, joint, host = name.rpartition(" from ")
    if joint and " " not in host:
        return [fields | {"user": user} | peer(host)]
    return [fields | {"user": name}]


def _connection(word: str, rest: str) -> list[Fields]:
    if word == "Disconnected":
        return _left("ssh-disconnect", rest.removeprefix("from "))
    for verb in ("closed by ", "reset by "):
        if rest.startswith(verb):
            return _left("ssh-disconnect", rest[len(verb) :])
    if rest.startswith("from ") and (found := _START.match(rest, 5)) is not None:
        return [{"event": "ssh-connection", **peer(found[1], found[2])}]
    return []


def _left(event: str, text: str) -> list[Fields]:
    """`[authenticating user|invalid user|user NAME ]ADDRESS[ port N]`, the address at the end."""
    fields: Fields = {"event": event}
    state = next((known for known in _CLIENT_STATES if text.startswith(known)), "")
    text = text[len(state) :]
    if (found := _END_BARE.search(text)) is None:
        return [fields | peer(text)] if text and " " not in text else [fields]
    if state:
        fields |= _account(text[: found.start()], invalid=state.startswith("invalid"))
    return [fields | peer(found[1], found[2])]


def _disconnecting(_word: str, rest: str) -> list[Fields]:
    state = next((known for known in _CLIENT_STATES if rest.startswith(known)), "")
    invalid = state.startswith("invalid")
    text = rest[len(state) :]
    readings = []
    for found in _two(_MIDDLE_BARE, text, last_first=invalid):
        fields: Fields = {"event": "ssh-disconnect"}
        if state:
            fields |= _account(text[: found.start()], invalid=invalid)
        readings.append(fields | peer(found[1], found[2]) | {"reason": text[found.end() :]})
    return readings or [{"event": "ssh-disconnect", "reason": rest}]


def _received(_word: str, rest: str) -> list[Fields]:
    if rest.startswith("signal "):
        return [{"event": "ssh-server-stopped", "reason": rest}]
    if not rest.startswith("disconnect from "):
        return []
    found = _DISCONNECT.match(rest, 16)
    if found is None:
        return [{"event": "ssh-disconnect"}]
    reason = rest[found.end() :]
    return [{"event": "ssh-disconnect", **peer(found[1], found[2]), "reason": reason}]


def _maximum(_word: str, rest: str) -> list[Fields]:
    who = rest.partition("exceeded for ")[2]
    if not who:
        return []
    user, invalid = _user(who)
    fields: Fields = {"event": "ssh-max-attempts", "outcome": "failure"}
    if (found := _END.search(user)) is None:
        return [fields | _account(user, invalid=invalid)]
    named = _account(user[: found.start()], invalid=invalid)
    return [fields | named | peer(found[1], found[2])]


def _denied(word: str, rest: str) -> list[Fields]:
    fields: Fields = {"event": "ssh-user-denied", "outcome": "failure"}
    if word == "ROOT":
        found = _START.match(rest.partition(" FROM ")[2])
        return [fields | {"user": "root"} | (peer(found[1], found[2]) if found else {})]
    if word == "Authentication":
        user, joint, tail = rest.removeprefix("tried for ").partition(" with ")
        if joint and "not from a permitted host" in tail:
            found = _IP.search(tail)
            return [fields | {"user": user, "reason": tail} | (peer(found[1]) if found else {})]
        refused, _, reason = rest.partition(": ")
        return [fields | {"reason": reason}] if refused == "refused" else []
    if word == "Access":
        user, joint, _ = rest.removeprefix("denied for user ").rpartition(" by PAM account")
        return [fields | {"user": user, "reason": "PAM account configuration"}] if joint else []
    head, joint, reason = rest.partition(" not allowed because ")
    if not joint:
        return []
    user, joint, host = head.rpartition(" from ")
    named: Fields = {"user": user, **peer(host)} if joint else {"user": head}
    return [fields | named | {"reason": reason}]


def _pam(_word: str, rest: str) -> list[Fields]:
    """`PAM N more authentication failures; …` and `PAM: Authentication failure for … from …`."""
    fields: Fields = {"event": "auth-failure", "outcome": "failure"}
    count, joint, pairs = rest.partition(" more authentication failure")
    if joint and count.isascii() and count.isdigit() and len(count) < 10:
        fields["attempts"] = int(count)
        return [fields | named for named in failures(pairs.partition("; ")[2])]
    reason, joint, who = rest.partition(" for ")
    if not joint:
        return []
    user, invalid = _user(who)
    name, joint, host = user.rpartition(" from ")
    named = _account(name if joint else user, invalid=invalid) | (peer(host) if joint else {})
    return [fields | named | {"reason": reason}]


def _probe(word: str, rest: str) -> list[Fields]:
    """Peers that do not speak SSH, or not long enough to be let in."""
    fields: Fields = {"event": "ssh-probe", "outcome": "failure"}
    if word in ("Did", "Bad"):
        if (found := _END.search(rest)) is not None:
            return [fields | peer(found[1], found[2])]
        host = rest.rpartition(" from ")[2]
        return [fields | (peer(host) if " " not in host else {})]
    rest = rest.removeprefix("exchange: ")
    fields["reason"] = rest
    if rest.startswith("Connection from ") and (found := _START.match(rest, 16)) is not None:
        fields |= peer(found[1], found[2])
    return [fields]


def _protocol(word: str, rest: str) -> list[Fields]:
    fields: Fields = {"event": "ssh-negotiation-failed", "outcome": "failure"}
    if word == "Unable":
        found = _START.match(rest.removeprefix("to negotiate with "))
        where = peer(found[1], found[2]) if found else {}
        return [fields | where | {"reason": rest.partition(": ")[2]}]
    if word == "Timeout":
        fields["event"] = "ssh-timeout"
        who = rest.partition(" for ")[2].removeprefix("connection from ")
        found = _START.match(who)
        return [fields | (peer(found[1], found[2]) if found else {})]
    if word == "drop":
        found = _DROPPED.search(rest)
        return [{"event": "ssh-throttled"} | (peer(found[1], found[2]) if found else {})]
    readings = _disconnecting(word, rest.removeprefix("Connection from "))
    return [reading | fields for reading in readings]


def _reverse(word: str, rest: str) -> list[Fields]:
    fields: Fields = {"event": "ssh-reverse-mapping"}
    if word == "reverse" and (found := _REVERSE.search(rest)) is not None:
        return [fields | {"src_host": found[1]} | peer(found[2])]
    if word == "Address":
        address, _, more = rest.partition(" maps to ")
        return [fields | {"src_host": more.partition(",")[0]} | peer(address)]
    if word == "Nasty":
        address = rest.rpartition(" is set up for ")[2].partition(",")[0]
        return [fields | peer(address)]
    return []


def _session(word: str, rest: str) -> list[Fields]:
    """`Starting session: …` and `Close session: …`, said at LogLevel VERBOSE."""
    text = rest.removeprefix("session: ")
    if text is rest or not rest.startswith("session: "):
        return []
    opened = word == "Starting"
    fields: Fields = {"event": "ssh-session-started" if opened else "ssh-session-closed"}
    text = text.rpartition(" id ")[0] or text
    if (found := _END.search(text)) is not None:
        fields |= peer(found[1], found[2])
        text = text[: found.start()]
    if not opened:
        return [fields | {"user": text.removeprefix("user ")}]
    kind, _, user = text.rpartition(" for ")
    named, joint, tty = kind.rpartition(" on ")
    if joint and " " not in tty:
        kind, fields["tty"] = named, tty
    return [fields | {"kind": kind, "user": user}]


def _server(_word: str, rest: str) -> list[Fields]:
    return [{"event": "ssh-server-listening"}] if rest.startswith("listening on ") else []


def _subsystem(_word: str, rest: str) -> list[Fields]:
    kind, joint, user = rest.removeprefix("request for ").partition(" by user ")
    return [{"event": "ssh-session-started", "kind": kind, "user": user}] if joint else []


_ATTEMPTS: Mapping[str, tuple[str, str]] = {
    "Accepted": ("ssh-login", "success"),
    "Failed": ("ssh-login-failed", "failure"),
    "Partial": ("ssh-login-partial", ""),
    "Postponed": ("ssh-login-partial", ""),
}
_READERS: Mapping[str, Callable[[str, str], list[Fields]]] = {
    **dict.fromkeys(_ATTEMPTS, _attempt),
    **dict.fromkeys(("Invalid", "Illegal", "input_userauth_request:"), _invalid_user),
    **dict.fromkeys(("Connection", "Disconnected"), _connection),
    **dict.fromkeys(("Disconnecting", "Disconnecting:"), _disconnecting),
    **dict.fromkeys(("User", "ROOT", "Authentication", "Access"), _denied),
    **dict.fromkeys(("PAM", "PAM:"), _pam),
    **dict.fromkeys(("Did", "Bad", "banner", "kex_exchange_identification:", "Protocol"), _probe),
    **dict.fromkeys(("Unable", "Timeout", "drop", "ssh_dispatch_run_fatal:"), _protocol),
    **dict.fromkeys(("reverse", "Address", "Nasty"), _reverse),
    **dict.fromkeys(("Starting", "Close"), _session),
    "Received": _received,
    "maximum": _maximum,
    "Server": _server,
    "subsystem": _subsystem,
}
