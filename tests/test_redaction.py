# ruff: noqa: E501 - samples on one line each
"""Secrets are out of what is stored, equal ones stay equal, and nothing else changes."""

import base64
import gzip
import json
import re
from urllib.parse import quote_plus

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.ledger import redaction
from trailhound.ledger.json_spans import scalars, string_token, string_value
from trailhound.ledger.redaction import Redactor, blanked, keyed_hash
from trailhound.ledger.secret_fields import FIELDS, HINTS, SECRET_KEY_ENDS, SECRET_KEYS, When
from trailhound.ledger.secret_text import RULES

KEY = b"k" * 32
REDACTOR = Redactor(KEY)
SECRET = "s3cr3tV4lue"
PLAIN = st.text("abcdefgh XYZ0123456789_", max_size=12)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret_manifest() -> str:
    return json.dumps({"kind": "Secret", "data": {"pw": b64(SECRET)}, "stringData": {"x": SECRET}})


def exec_uri(*arguments: str) -> str:
    command = "&".join(f"command={quote_plus(one)}" for one in arguments)
    return f"/api/v1/namespaces/shop/pods/db-0/exec?{command}&container=db&stdout=true"


K8S_SECRETS = {"kind": "Event", "objectRef": {"resource": "secrets", "name": "db"}}

DOCUMENTS = {
    "secret created": {**K8S_SECRETS, "requestObject": json.loads(secret_manifest())},
    "secrets listed": {
        **K8S_SECRETS,
        "responseObject": {"kind": "SecretList", "items": [{"data": {"a": b64(SECRET)}}]},
    },
    "secret patched": {**K8S_SECRETS, "requestObject": {"data": {"pw": b64(SECRET)}}},
    "secret patched by operations": {
        **K8S_SECRETS,
        "requestObject": [{"op": "replace", "path": "/data/pw", "value": b64(SECRET)}],
    },
    "secret in a list of any kind": {
        "requestObject": {"kind": "List", "items": [json.loads(secret_manifest())]}
    },
    "last applied": {
        **K8S_SECRETS,
        "requestObject": {
            "metadata": {
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": secret_manifest()
                }
            }
        },
    },
    "last applied, elsewhere": {
        "responseObject": {"metadata": {"annotations": {"last": secret_manifest()}}}
    },
    "token request": {"responseObject": {"kind": "TokenRequest", "status": {"token": SECRET}}},
    "token review": {"requestObject": {"kind": "TokenReview", "spec": {"token": SECRET}}},
    "environment": {
        "requestObject": {"spec": {"containers": [{"env": [{"name": "PGPASSWORD", "value": SECRET}]}]}}
    },
    "arguments": {"requestObject": {"command": ["sh", "-c", f"mysql -p{SECRET} shop"]}},
    "arguments apart": {"requestObject": {"args": ["--db-password", SECRET, "--verbose"]}},
    "exec": {"requestURI": exec_uri("mysql", "-u", "root", f"-p{SECRET}")},
    "exec in a shell": {"requestURI": exec_uri("sh", "-c", f"curl -H 'X-Api-Key: {SECRET}' http://x")},
    "secret string": {"requestParameters": {"secretString": json.dumps({"pw": SECRET})}},
    "credentials": {
        "responseElements": {"credentials": {"secretAccessKey": SECRET, "sessionToken": SECRET}}
    },
    "access key": {"responseElements": {"accessKey": {"secretAccessKey": SECRET}}},
    "master password": {"requestParameters": {"masterUserPassword": SECRET}},
    "secure parameter": {"requestParameters": {"value": SECRET, "type": "SecureString"}},
    "a number": {"requestParameters": {"password": 3141592653589793}},
    "commands of SSM": {"requestParameters": {"parameters": {"commands": [f"sshpass -p {SECRET} ssh h"]}}},
    "a shipped line": {"log": json.dumps({"password": SECRET}) + "\n", "stream": "stdout"},
    "twice inside": {"message": json.dumps({"log": json.dumps({"api_key": SECRET})})},
    "base64": {"message": {"data": b64(json.dumps({"password": SECRET}))}},
    "base64 of gzip": {"data": base64.b64encode(gzip.compress(json.dumps({"token": SECRET}).encode())).decode()},
    "user data": {"userData": b64(f"#!/bin/sh\nexport DB_PASSWORD={SECRET}\n")},
}  # fmt: skip

LINES = {
    "execve": f'type=EXECVE msg=audit(1.0:1): argc=3 a0="mysql" a1="-u" a2="-p{SECRET}"',
    "execve in hex": "type=EXECVE msg=audit(1.0:1): argc=3 a0=\"sh\" a1=\"-c\" a2="
    + f"mysql -p{SECRET} shop".encode().hex().upper(),
    "option and value": f'type=EXECVE msg=audit(1.0:1): argc=3 a0="x" a1="--token" a2="{SECRET}"',
    "title": "type=PROCTITLE msg=audit(1.0:1): proctitle="
    + f"mysql\0-u\0root\0-p{SECRET}".encode().hex().upper(),
    "sudo": f"Nov 12 19:30:01 h sudo: a : PWD=/srv ; USER=root ; COMMAND=/usr/bin/mysql -p{SECRET}",
    "user_cmd": "type=USER_CMD msg=audit(1.0:1): pid=1 msg='cwd=\"/\" cmd="
    + f"redis-cli -a {SECRET}".encode().hex().upper()
    + " terminal=pts/0 res=success'",
    "journal": json.dumps({"MESSAGE": f'EXECVE msg=audit(1.0:1): argc=2 a0="mysql" a1="-p{SECRET}"'}),
    "container runtime": f'2026-11-12T19:30:00Z stdout F {{"password":"{SECRET}"}}',
    "broken": f'{{"requestObject":{{"password":"{SECRET}","x":',
    "not UTF-8": "password=" + SECRET + " \udcff",
    "escaped key": '{"p\\u0061ssword":"' + SECRET + '"}',
    "key twice": f'{{"password":"","password":"{SECRET}"}}',
}  # fmt: skip


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def leaks(data: bytes, secret: str = SECRET) -> bool:
    raw = secret.encode()
    forms = (raw, raw.hex().encode().upper(), base64.b64encode(raw), b"3141592653589793")
    return any(form in data for form in forms)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_secret_of_a_document_survives(name: str) -> None:
    record = json.dumps(DOCUMENTS[name]).encode()
    safe = REDACTOR.redact(record)
    assert safe.paths
    assert not leaks(safe.data)
    assert not leaks(safe.masked)
    for text in (safe.data, safe.masked):
        document = json.loads(text)
        assert set(document) == set(DOCUMENTS[name])
    assert REDACTOR.redact(safe.data).data == safe.data
    assert Redactor(None).redact(record).data == safe.masked


@pytest.mark.parametrize("name", LINES)
def test_no_secret_of_a_line_survives(name: str) -> None:
    record = encoded(LINES[name])
    safe = REDACTOR.redact(record)
    assert safe.paths
    assert not leaks(safe.data)
    assert REDACTOR.redact(safe.data).data == safe.data
    assert Redactor(None).redact(record).data == safe.masked


def test_nested_secrets_are_found_in_gzip() -> None:
    text = json.loads(REDACTOR.redact(json.dumps(DOCUMENTS["base64 of gzip"]).encode()).data)[
        "data"
    ]
    assert b"redacted:hmac" in gzip.decompress(base64.b64decode(text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_examples_of_the_tables(rule) -> None:
    for wrap in (lambda text: text, lambda text: json.dumps({"a": {"b": text}})):
        record = wrap(rule.example).encode()
        assert re2.compile(rule.hint).search(record)
        safe = REDACTOR.redact(record)
        assert b"SECRET" not in safe.data
        assert b"redacted:hmac-sha256:" in safe.data


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.path} {field.when.name}")
def test_fields_of_the_tables(field) -> None:
    keys = [key if key not in ("*", "**") else "deep" for key in field.path.split(".")]
    value: object = SECRET
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    holder = value
    for key in keys[:-1]:
        holder = holder[key]
    if field.when is When.SECRET_OBJECT:
        value["kind"] = "Secret"
    elif field.when is When.SECRET_REQUEST:
        value["objectRef"] = {"resource": "secrets"}
    elif field.when is When.SECURE_TYPE:
        holder["type"] = "SecureString"
    elif field.when is When.SECRET_NAME:
        holder["name"] = "DB_PASSWORD"
    assert not leaks(REDACTOR.redact(json.dumps({"outer": value}).encode()).data)


@pytest.mark.parametrize("key", [*SECRET_KEYS, *(f"my {end}" for end in SECRET_KEY_ENDS)])
def test_keys_of_the_tables(key: str) -> None:
    words = key.split()
    camel = words[0] + "".join(word.title() for word in words[1:])
    for written in (camel, "_".join(words), "-".join(words).upper()):
        assert not leaks(REDACTOR.redact(json.dumps({written: SECRET}).encode()).data), written


@pytest.mark.parametrize("odd", [rb"\ud800", rb"\udc80", b"\xff", b"\xed\xa0\x80"])
@pytest.mark.parametrize(
    "record",
    [
        b'{"%s":"x","password":"s3cr3tV4lue"}',
        b'{"%spassword":"s3cr3tV4lue"}',
        b'{"a":{"%s":1,"env":[{"name":"%s_PASSWORD","value":"s3cr3tV4lue"}]}}',
        b'{"text":"{\\"%spassword\\":\\"s3cr3tV4lue\\"}"}',
    ],
)
def test_keys_and_names_that_are_no_text_hide_nothing(record: bytes, odd: bytes) -> None:
    redacted = REDACTOR.redact(record.replace(b"%s", odd))
    assert SECRET.encode() not in redacted.data
    assert redacted.paths


def test_equal_values_have_equal_hashes() -> None:
    """Across logs and encodings: the value is what counts."""
    wanted = keyed_hash(KEY, SECRET).encode()
    for name in (
        "secret created",
        "environment",
        "exec",
        "arguments apart",
        "credentials",
        "base64",
    ):
        data = REDACTOR.redact(json.dumps(DOCUMENTS[name]).encode()).data
        if name == "base64":
            data = base64.b64decode(json.loads(data)["message"]["data"])
        assert wanted in data, name
    assert wanted in REDACTOR.redact(LINES["execve"].encode()).data
    other = Redactor(b"j" * 32).redact(json.dumps({"password": SECRET}).encode()).data
    assert wanted not in other
    assert blanked(other) == blanked(
        REDACTOR.redact(json.dumps({"password": SECRET}).encode()).data
    )


HARMLESS = [
    '{"kind":"Event","objectRef":{"resource":"configmaps"},"requestObject":{"data":{"a":"b"}}}',
    '{"objectRef":{"resource":"secrets","name":"db"},"verb":"get","user":{"username":"eve"}}',
    '{"requestParameters":{"secretId":"prod/db","nextToken":"abc"},"userIdentity":{"accessKeyId":"AKIAIOSFODNN7EXAMPLE"}}',
    '{"annotations":{"authorization.k8s.io/decision":"allow"},"stage":"ResponseComplete"}',
    '{"password":null,"token":"","secret":true,"pwd":"****","apiKey":"HIDDEN_DUE_TO_SECURITY_REASONS"}',
    '{"env":[{"name":"TOKEN_FILE","value":"/var/run/token"},{"name":"REGION","value":"eu"}]}',
    "Nov 12 19:30:01 h sshd[1]: Failed password for root from 10.0.0.1 port 22 ssh2",
    "Nov 12 19:30:01 h sudo: a : TTY=pts/0 ; PWD=/home/a ; USER=root ; COMMAND=/bin/ls -p /tmp",
    'type=EXECVE msg=audit(1.0:1): argc=2 a0="ls" a1=2D6C61',
    '{"secretName":"tls","volumes":[{"secret":{"secretName":"tls"}}]}',
    '{"message":"see https://example.com:8443/path and mail a@b"}',
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays_byte_for_byte(text: str) -> None:
    safe = REDACTOR.redact(text.encode())
    assert safe.data == text.encode()
    assert not safe.paths


def test_all_other_bytes_stay() -> None:
    record = b'{ "a" : 1.50, "b":[1e400, "\\u00e9\\/"],\t"password" : "x1" , "a":2 }  '
    safe = REDACTOR.redact(record)
    assert safe.data == record.replace(b'"x1"', f'"{keyed_hash(KEY, "x1")}"'.encode())
    assert safe.paths == ("password",)


def test_paths_say_where() -> None:
    safe = REDACTOR.redact(json.dumps(DOCUMENTS["secret in a list of any kind"]).encode())
    assert safe.paths == ("requestObject.items[0].data.pw", "requestObject.items[0].stringData.x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["a", "kind", "data", "name", "value", "env", "log", "args", "objectRef"]
            )
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
KEYS = st.sampled_from(["password", "sessionToken", "client_secret", "secretString", "apiKey"])


@given(JSON, KEYS, st.text("abcDEF0189+/", min_size=9, max_size=40), st.integers(0, 3))
@settings(max_examples=150, derandomize=True)
def test_no_secret_survives_anywhere(document, key: str, secret: str, depth: int) -> None:
    """Put a secret into any document, in strings of JSON in strings of JSON."""
    value: object = {key: secret, "beside": document}
    for _ in range(depth):
        value = {"log": json.dumps(value), "n": [document]}
    record = json.dumps(value).encode()
    others = record.count(secret.encode()) - 1
    safe = REDACTOR.redact(record)
    assert safe.data.count(secret.encode()) <= others
    assert keyed_hash(KEY, secret).encode() in safe.data
    again = REDACTOR.redact(safe.data)
    assert again.data == safe.data
    assert not again.paths


NOISE = st.sampled_from(
    [
        *(rule.example for rule in RULES),
        *(json.dumps(document) for document in DOCUMENTS.values()),
        *LINES.values(),
        *HARMLESS,
    ]
)


@given(
    st.lists(NOISE | st.text(max_size=20), min_size=1, max_size=3),
    st.integers(0, 400),
    st.integers(0, 400),
)
@settings(max_examples=200, derandomize=True)
def test_the_prefilter_hides_nothing(parts: list[str], start: int, length: int) -> None:
    """Cut-up records: with the prefilter and without it the same is found; twice changes nothing."""
    record = encoded("".join(parts)[start : start + length] or "x")
    safe = REDACTOR.redact(record)
    walk = redaction._Pass(KEY)
    assert safe.data == walk.record(record)
    assert REDACTOR.redact(safe.data).data == safe.data


HINTING = st.recursive(
    st.sampled_from(
        [
            *("token", "db-password", "TOKEN_FILE", "secrets", "Secret", "plain", "", "a & b"),
            *(r"by \"token\":x", '{"token":"abc"}', ' ["password"]', '"token": "abc"', "{}", 'a"b'),
            *(json.dumps({"name": "API_TOKEN", "value": "abc"}), 7, None, True),
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["token", "name", "Key", "value", "parameterValue", "env", "resource", "x", "kind"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["a", "name", "value", "objectRef"]), HINTING), st.booleans()
)
@settings(max_examples=300, derandomize=True)
def test_a_hint_is_dismissed_only_where_there_is_no_secret(document: dict, go: bool) -> None:
    record = json.dumps(document, separators=(",", ":")).encode()
    if go:
        record = record.replace(b"&", b"\\u0026")
    safe, walk = REDACTOR.redact(record), redaction._Pass(KEY)
    assert safe.data == walk.record(record)
    assert safe.paths == tuple(walk.paths)


def test_hints_are_dismissed() -> None:
    """Values that look like keys, names without values, and text in quotes inside text."""
    harmless = {
        "objectRef": {"subresource": "token", "name": "app-password-1"},
        "annotations": {"reason": 'by "token" of "x"'},
        "env": [{"name": "DB_PASSWORD", "valueFrom": {}}, {"name": "A", "value": "b"}],
    }
    assert redaction._holds_nothing(json.dumps(harmless, separators=(",", ":")).encode())


@given(
    st.lists(st.tuples(st.lists(NOISE, min_size=1, max_size=2), st.integers(0, 300)), max_size=8)
)
@settings(max_examples=150, derandomize=True)
def test_many_records_are_redacted_as_each(parts: list[tuple[list[str], int]]) -> None:
    odd = ("\n", "\v", "", "\x85", "\r", "\0")
    records = [encoded(odd[at % 6].join(two)[at : at + 400]) for two, at in parts]
    records += [b"", b"pwd", b"--token"]
    assert REDACTOR.redact_many(records) == [REDACTOR.redact(record) for record in records]


def test_every_hint_can_be_searched_for_in_blocks() -> None:
    """In `hinting` a class of what is no blank is written out, where it begins with that."""
    for hint in (*redaction._IN_TEXT, *HINTS):
        assert all(found.startswith(r"[^\s") for found in re.findall(r"\[\^[^\]]*\\s", hint))
        assert r"\S" not in hint


@given(st.lists(st.sampled_from([*DOCUMENTS.values(), {"eventID": "x" * 500}]), max_size=12))
@settings(max_examples=30)
def test_long_lists_are_redacted_alike(elements: list) -> None:
    """Element by element, and as one document."""
    elements = [*elements, {"pad": "y" * 5000}]
    record = json.dumps({"Records": elements}, separators=(",", ":")).encode()
    by_element, whole = redaction._Pass(KEY), redaction._Pass(KEY)
    assert by_element.record(record) == whole._json(record, "", 0, secret=False)
    assert sorted(by_element.paths) == sorted(whole.paths)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_no_bytes_raise(data: bytes) -> None:
    for record in (
        data,
        b'{"password":' + data,
        b'{"log":"{' + data,
        b"EXECVE msg=audit( a0=" + data,
    ):
        safe = REDACTOR.redact(record)
        assert bool(safe.paths) == (safe.data != record) or not safe.paths
    for scalar in scalars(data):
        token = data[scalar.start : scalar.end]
        if scalar.is_string:
            value = string_value(token)
            assert string_value(string_token(value)) == value


@pytest.mark.parametrize(
    "record",
    [
        b'{"password":' * 5_000,
        b"[" * 100_000 + b'"token=x"',
        b'{"a":"' + b"mysql " * 20_000 + b' -px"}',
        b"password=" * 20_000,
        b"type=EXECVE msg=audit(1:1): " + b"a0=41 " * 20_000,
        b'{"log":"' + b"\\\\" * 50_000 + b'"secret"',
        b"eyJ" * 30_000,
    ],
)
def test_hostile_records_take_no_time(record: bytes) -> None:
    REDACTOR.redact(record)
