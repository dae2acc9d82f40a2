"""Log lines as an attacker would bend them: real ones, and small changes to them.

A change is three numbers: what is done, where, and with what. So Hypothesis can shrink them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trailhound.pipeline.rulebooks import BUILTIN

SAMPLES = Path(__file__).parent / "samples" / "sources"
Pairs = list[tuple[str, Any]]
Change = tuple[int, int, int]

GATE_FIELDS = {
    "k8s_audit": (
        "kind",
        "apiVersion",
        "verb",
        "objectRef.resource",
        "objectRef.subresource",
        "objectRef",
        "objectRef.namespace",
        "user",
        "user.username",
        "user.groups",
        "impersonatedUser.username",
        "responseStatus.code",
        "sourceIPs",
        "requestURI",
        "userAgent",
        "stage",
        "auditID",
        "annotations",
    ),
    "cloudtrail": (
        "eventVersion",
        "eventSource",
        "eventName",
        "userIdentity",
        "userIdentity.type",
        "userIdentity.userName",
        "userIdentity.arn",
        "errorCode",
        "readOnly",
        "sourceIPAddress",
        "userAgent",
        "requestParameters",
        "eventType",
        "eventTime",
    ),
}
"""Fields that tell a record's source, or by which rules are held back, and some that do not."""

VALUES: tuple[Any, ...] = (
    "create",
    "get",
    "CREATE",
    " create",
    "pods",
    "secrets",
    "exec",
    "Event",
    "EventList",
    "audit.k8s.io/v1",
    "1.09",
    "iam.amazonaws.com",
    "CreateAccessKey",
    "ConsoleLogin",
    "Root",
    "AccessDenied",
    "system:anonymous",
    "system:admin",
    "10.8.0.21",
    "evil",
    "",
    "\0",
    "\ufffd",
    "a\nb",
    "İ",
    None,
    True,
    False,
    1,
    0,
    1.0,
    -0.0,
    403,
    403.0,
    "403",
    2**63,
    2**70,
    [],
    {},
    ["pods"],
    ["get", "secrets", ["create"]],
    [None],
    [True, 1, "1"],
    {"resource": "pods", "subresource": "exec"},
    {"username": "system:anonymous"},
    [{"resource": "secrets"}, {"username": "evil"}],
    [["exec"], {"type": "Root"}],
)

OTHER_LINES = (
    b"",
    b"  ",
    b"\t\r",
    b"\0\0",
    b"Jan  5 10:00:00 host sshd[1]: Failed password for root from 1.2.3.4 port 1 ssh2",
    b"type=SYSCALL msg=audit(1700000000.1:1): arch=c000003e syscall=59 success=yes pid=1",
    b"no log line at all",
    b"[]",
    b"{}",
    b"[{}, 1]",
    b"null",
    b'{"a": 1}',
    b'{"Records": []}',
    b"}",
    b"{",
    b'"',
    b"\xff\xfe",
    b'{"kind":"Event","apiVersion":"audit.k8s.io/v1"}',
    b'{"eventVersion":"1.09","eventSource":"iam.amazonaws.com"}',
)


def real_lines(source: str) -> list[bytes]:
    """Lines that built-in rules hit or narrowly miss, and every story of the source."""
    product = {"k8s_audit": "kubernetes", "cloudtrail": "aws"}[source]
    files = [*BUILTIN.glob(f"{product}/*.jsonl"), *SAMPLES.glob(f"{source}/*/in.jsonl")]
    lines = [line for file in sorted(files) for line in file.read_bytes().split(b"\n")]
    return [line for line in dict.fromkeys(lines) if line.strip() and len(line) < 20_000]


# --- changes to the document, whose objects are lists of pairs ---------------------------


class AsIs(str):
    """JSON that is already written."""

    __slots__ = ()


class Members(list):  # type: ignore[type-arg]
    """The members of an object, in order; keys may repeat."""


def members_of(line: bytes) -> Any:
    """Parse with repeated keys kept; None where that is not possible."""
    try:
        document = json.loads(line, object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, Members) else None


def as_members(value: Any) -> Any:
    if isinstance(value, dict):
        return Members((key, as_members(item)) for key, item in value.items())
    return [as_members(item) for item in value] if isinstance(value, list) else value


def written(node: Any) -> str:
    if isinstance(node, Members):
        return "{" + ",".join(f"{json.dumps(k)}:{written(v)}" for k, v in node) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(written, node)) + "]"
    if isinstance(node, AsIs):
        return str(node)
    return json.dumps(node, ensure_ascii=False)


def depth_of(node: Any) -> int:
    depth, level = 0, [node]
    while level := [item for item in level if isinstance(item, list)]:
        depth += 1
        level = [part[1] if isinstance(item, Members) else part for item in level for part in item]
    return depth


def set_field(top: Members, path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    for at, (key, below) in enumerate(top):
        if key == first:
            if rest and isinstance(below, Members):
                set_field(below, rest, value)
            else:
                top[at] = (key, Members([(rest, value)]) if rest else value)
            return
    top.append((first, Members([(rest, value)]) if rest else value))


def _replace(top: Members, path: str, value: Any) -> None:
    set_field(top, path, value)


def _remove(top: Members, path: str, _value: Any) -> None:
    first, _, rest = path.partition(".")
    for key, below in top:
        if key == first and rest and isinstance(below, Members):
            below[:] = [pair for pair in below if pair[0] != rest]
    if not rest:
        top[:] = [pair for pair in top if pair[0] != first]


def _repeat_after(top: Members, path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    outer = next((below for key, below in top if key == first), None)
    if rest and isinstance(outer, Members):
        outer.append((rest, value))
    else:
        top.append((first, value))


def _repeat_before(top: Members, path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    outer = next((below for key, below in top if key == first), None)
    if rest and isinstance(outer, Members):
        outer.insert(0, (rest, value))
    else:
        top.insert(0, (first, value))


def _repeat_outer(top: Members, path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    again = Members([(rest, value)]) if rest else value
    top.insert(0 if value is None else len(top), (first, again))


def _repeat_other(top: Members, path: str, value: Any) -> None:
    key = ("level", "requestID", "metadata", "x")[len(path) % 4]
    top.append((key, value))
    top.append((key, "again"))


def _dotted(top: Members, path: str, value: Any) -> None:
    top.append((path, value))


def _list_around(top: Members, path: str, value: Any) -> None:
    for at, (key, below) in enumerate(top):
        if key == path.partition(".")[0]:
            top[at] = (key, [below, value])


def _wrap(top: Members, path: str, value: Any) -> None:
    inner = Members(top)
    how = len(path) % 4
    if how == 0:
        top[:] = [("Records", [inner])]
    elif how == 1:
        top[:] = [("kind", "EventList"), ("apiVersion", "audit.k8s.io/v1"), ("items", [inner])]
    elif how == 2:
        top[:] = [("log", written(inner)), ("stream", "stdout"), ("time", value)]
    else:
        top.append(("message", written(inner)))


def _deep(top: Members, path: str, value: Any) -> None:
    levels = (30, 98, 103, 1000)[len(path) % 4]
    text = '[{"a":' * levels + written(value) + "}]" * levels
    top.insert(len(path) % (len(top) + 1), ("deep", AsIs(text)))


DOCUMENT_CHANGES: tuple[Callable[[Members, str, Any], None], ...] = (
    _replace,
    _replace,
    _replace,
    _remove,
    _repeat_after,
    _repeat_before,
    _repeat_outer,
    _repeat_other,
    _dotted,
    _list_around,
    _wrap,
    _deep,
)

# --- changes to the bytes ----------------------------------------------------------------


def _byte(line: bytes, where: int, what: int) -> bytes:
    at = where % max(1, len(line))
    return line[:at] + bytes([what % 256]) + line[at + 1 :]


def _insert(line: bytes, where: int, what: int) -> bytes:
    odd = (
        *(b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\\", b'"'),
        *(b"\n", b"\r", b" ", b"\t", b"\xef\xbb\xbf", b",", b"}", b"{", b"[", b"1e999", b"//"),
    )
    at = where % (len(line) + 1)
    return line[:at] + odd[what % len(odd)] + line[at:]


def _cut(line: bytes, where: int, what: int) -> bytes:
    at = where % (len(line) + 1)
    return line[:at] if what % 2 else line[at:]


def _ends(line: bytes, where: int, what: int) -> bytes:
    around = (b"\r", b" ", b" \r", b"\0", b"\n", b"\t\n\r", b",", b"\x0b", b"\xef\xbb\xbf")
    odd = around[what % len(around)]
    return odd + line if where % 2 else line + odd


def _escape(line: bytes, where: int, what: int) -> bytes:
    """One letter of the line as JSON may also write it."""
    letters = [at for at, byte in enumerate(line) if chr(byte).isalpha()]
    if not letters:
        return line
    at = letters[where % len(letters)]
    # Most letters of a long line are in values; every second time take one of the first keys.
    if what % 2:
        at = letters[where % min(len(letters), 60)]
    return line[:at] + f"\\u{line[at]:04x}".encode() + line[at + 1 :]


def _escape_word(line: bytes, where: int, what: int) -> bytes:
    words = (b"verb", b"exec", b"resource", b"eventName", b"pods", b"objectRef", b"username")
    word = words[what % len(words)]
    at = where % len(word)
    return line.replace(word, word[:at] + f"\\u{word[at]:04X}".encode() + word[at + 1 :])


def _blanks(line: bytes, where: int, what: int) -> bytes:
    blank = (b" ", b"\t", b"\n", b"\r\n", b"  ")[what % 5]
    return line.replace((b":", b",", b"{", b"}")[where % 4], blank + b":,{}"[where % 4 :][:1])


def _numbers(line: bytes, where: int, what: int) -> bytes:
    number = (b"1e999", b"1" * 40, b"-0", b"1.0", b"01", b"1" * 5000, b"NaN", b"1E400")[what % 8]
    digits = [at for at in range(1, len(line)) if line[at - 1 : at] == b":" and line[at] in b"0123"]
    if not digits:
        return line[:-1] + b',"n":' + number + line[-1:]
    at = digits[where % len(digits)]
    return line[:at] + number + line[at + 1 :]


BYTE_CHANGES: tuple[Callable[[bytes, int, int], bytes], ...] = (
    _byte,
    _insert,
    _insert,
    _cut,
    _ends,
    _escape,
    _escape_word,
    _blanks,
    _numbers,
)

CHANGES = len(DOCUMENT_CHANGES) + len(BYTE_CHANGES)
changes: st.SearchStrategy[Change] = st.tuples(
    st.integers(0, CHANGES - 1), st.integers(0, 4000), st.integers(0, 300)
)


def changed(line: bytes, source: str, how: Change) -> bytes:
    """Return the line after one change."""
    what, where, value = how
    if what >= len(DOCUMENT_CHANGES):
        return BYTE_CHANGES[what - len(DOCUMENT_CHANGES)](line, where, value)
    document = members_of(line)
    if document is None or depth_of(document) > 80:  # `written` calls itself
        return line
    fields = GATE_FIELDS[source]
    path = fields[where % len(fields)]
    DOCUMENT_CHANGES[what](document, path, as_members(VALUES[value % len(VALUES)]))
    return written(document).encode("utf-8", "surrogatepass")
