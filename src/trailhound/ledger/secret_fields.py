"""Tables of fields that hold secrets. `docs/reference/redaction.md` is made from them.

A path names keys from left to right: `*` stands for one key, `**` for any number, and what
stands before the first may be anything, so that wrappings do not matter. Arrays are seen through.
"""

from enum import Enum
from functools import lru_cache

import re2
from msgspec import Struct


class When(Enum):
    """What else must hold for a field to count as secret."""

    ALWAYS = ""
    SECRET_OBJECT = "the object it is in has `kind: Secret`"
    SECRET_REQUEST = "the event's `objectRef.resource` is `secrets`"
    SECURE_TYPE = "beside it stands `type: SecureString`"
    SECRET_NAME = "beside it stands a `name` or `key` that says so"


class SecretField(Struct, frozen=True):
    """Fields of one kind that hold secrets."""

    source: str
    """Whose logs have it, for the documentation."""
    path: str
    what: str
    """What it holds, for the documentation."""
    when: When = When.ALWAYS
    base64: bool = False
    """Its value is base64; what counts for equality is what that says."""


_K8S = "Kubernetes audit"
_AWS = "CloudTrail"

FIELDS = (
    SecretField(_K8S, "data.**", "values of a Secret", When.SECRET_OBJECT, base64=True),
    SecretField(_K8S, "stringData.**", "values of a Secret", When.SECRET_OBJECT),
    SecretField(
        _K8S, "requestObject.**.data.**", "values of a Secret", When.SECRET_REQUEST, base64=True
    ),
    SecretField(
        _K8S, "responseObject.**.data.**", "values of Secrets", When.SECRET_REQUEST, base64=True
    ),
    SecretField(_K8S, "requestObject.**.stringData.**", "values of a Secret", When.SECRET_REQUEST),
    SecretField(_K8S, "responseObject.**.stringData.**", "values of Secrets", When.SECRET_REQUEST),
    SecretField(
        _K8S,
        "requestObject.**.value.**",
        "values in a JSON patch of a Secret",
        When.SECRET_REQUEST,
        base64=True,
    ),
    SecretField(_K8S, "spec.token", "the token of a TokenReview"),
    SecretField(_K8S, "status.token", "the token that a TokenRequest gave"),
    SecretField(
        _K8S, "env.value", "environment of a container, named like a secret", When.SECRET_NAME
    ),
    SecretField(_AWS, "secretString", "Secrets Manager"),
    SecretField(_AWS, "secretBinary", "Secrets Manager"),
    SecretField(_AWS, "secretAccessKey", "access keys, temporary credentials"),
    SecretField(_AWS, "sessionToken", "temporary credentials"),
    SecretField(_AWS, "keyMaterial", "private key of a key pair"),
    SecretField(_AWS, "plaintext", "data key of KMS"),
    SecretField(_AWS, "authorizationToken", "registries (ECR, CodeArtifact)"),
    SecretField(_AWS, "requestParameters.value", "Parameter Store", When.SECURE_TYPE),
    SecretField(_AWS, "parameterValue", "parameters of a stack", When.SECRET_NAME),
    SecretField("any", "value", "pairs of name and value", When.SECRET_NAME),
)

SECRET_KEYS = (
    *("password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "authorization"),
    *("cookie", "set cookie", "connection string"),
)
"""Keys whose scalar is secret in any log; a blank stands for `_`, `-`, `.` or nothing."""

SECRET_KEY_ENDS = (
    *("password", "passwd", "passphrase", "client secret", "secret key", "api key", "private key"),
    *("access token", "auth token", "bearer token", "refresh token", "id token", "api token"),
    *("secret access key", "session token", "security token", "webhook secret", "shared secret"),
)
"""Ends of such keys: `masterUserPassword`, `aws_session_token`."""

SECRET_NAME_PARTS = (
    *("password", "passwd", "passphrase", "secret", "token", "api key", "private key"),
)
"""Parts of a `name` whose `value` is secret: `DB_PASSWORD`, `GITHUB_TOKEN`."""

NOT_SECRET_NAME_ENDS = ("file", "path", "name", "dir", "url", "ref", "ttl", "id")
"""Ends of names that say where a secret is, or which: `TOKEN_FILE`."""

PLACEHOLDERS = frozenset(
    ("HIDDEN_DUE_TO_SECURITY_REASONS", "REDACTED", "[REDACTED]", "<sensitiveDataRemoved>")
)
"""What sources write in place of secrets themselves; left as it is, as are rows of stars."""


NAME_KEYS = ("name", "key", "ParameterKey")
"""Keys of such names."""


def _any_of(words: tuple[str, ...]) -> str:
    return "|".join(re2.escape(word).replace(r"\ ", "[-_.]?") for word in words)


_LATIN = re2.Options()
_LATIN.encoding = re2.Options.Encoding.LATIN1  # bytes that are not UTF-8 must hide nothing


def _compiled(pattern: str) -> "re2._Regexp":
    return re2.compile(pattern.encode(), _LATIN)


_KEY = _compiled(rf"(?i)^(?:{_any_of(SECRET_KEYS)}|.*(?:{_any_of(SECRET_KEY_ENDS)}))$")
_NAME = _compiled(rf"(?i){_any_of(SECRET_NAME_PARTS)}")
_NO_NAME = _compiled(rf"(?i)(?:{_any_of(NOT_SECRET_NAME_ENDS)})$")

_Q = r"""\\*\""""
_KEY_HINTS = (
    rf"(?i:{_Q}(?:{_any_of(SECRET_KEYS)}){_Q})",
    rf"(?i:(?:{_any_of(SECRET_KEY_ENDS)}){_Q})",
    rf"(?i:{_Q}(?:"
    + "|".join(sorted({f.path.rpartition(".")[2] for f in FIELDS if f.when is When.ALWAYS}))
    + rf"){_Q})",
)
_NAME_HINT = (
    rf"(?i:{_Q}(?:{'|'.join(NAME_KEYS)}){_Q}\s*:?\s*{_Q}[^\"]*(?:{_any_of(SECRET_NAME_PARTS)}))"
)
_KIND_HINTS = (
    rf"{_Q}(?:Secret|SecretList|SecureString){_Q}",
    rf"{_Q}secrets{_Q}(?s:.*)(?:requestObject|responseObject){_Q}",
    rf"(?:requestObject|responseObject){_Q}(?s:.*){_Q}secrets{_Q}",
)
HINTS = (*_KEY_HINTS, _NAME_HINT, *_KIND_HINTS)
"""RE2 over a record as it arrived: one is true wherever a field of these tables can be in it."""

JSON_HINTS = (*(rf"{hint}\s*:" for hint in _KEY_HINTS), *_KIND_HINTS)
"""The same for records that are JSON, without JSON inside their strings: there, what could be a
key is one only before a colon. Names are left out: see `NAMED_HINTS`."""

NAMED_HINTS = (
    _NAME_HINT,
    r"(?i:\""
    + "|".join(
        sorted({f.path.rpartition(".")[2] for f in FIELDS if f.when is When.SECRET_NAME})
    ).join(("(?:", ")"))
    + r"\"\s*:)",
)
"""In such records, both are true wherever a value is secret by the name beside it."""


@lru_cache(4096)
def is_secret_key(key: str) -> bool:
    """Whether a scalar under this key is secret in any log."""
    return _KEY.search(key.encode("utf-8", "surrogatepass")) is not None


@lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """Whether a value that is given this name is secret."""
    data = name.encode("utf-8", "surrogatepass")
    return _NAME.search(data) is not None and _NO_NAME.search(data) is None
