"""Secrets in command lines, URLs and other text. The tables are in `docs/reference/redaction.md`.

All patterns run in RE2, so that no text can stall them. The arguments of a command that come
one by one (auditd, exec requests, arrays) are joined with NUL, which patterns take for a blank
that does not end an argument with blanks in it.
"""

import re
from collections.abc import Callable, Iterator

import re2
from msgspec import Struct

TOKEN = r"redacted:hmac-sha256:(?:[0-9a-f]{32}|-):(?:le[0-9]+|more)"
"""What stands in place of a secret."""

_B = r"[ \t\0]"
_WORD = r"""[^\s\0"'`&;|<>(){}\[\]][^\s\0"'`&;|<>()]*"""
_VALUE = rf"""(?:"([^"\0]*)"|'([^'\0]*)'|({_WORD}))"""
_ARGUMENT = rf"""(?:\0([^\0]+)|[ \t]+{_VALUE})"""
_REGISTRY_CLIENTS = "docker|podman|nerdctl|helm|crane|skopeo|buildah"
_SECRET = (
    r"(?:password|passwd|passphrase|secret|token|api[-_]?key|private[-_]?key|secret[-_]?key"
    r"|secret[-_]?access[-_]?key|account[-_]?key|auth[-_]?key|client[-_]?secret)"
)


class TextRule(Struct, frozen=True):
    """Secrets of one form in text."""

    what: str
    """For the documentation."""
    example: str
    """For the documentation, with the secret as `SECRET`; tests run it."""
    pattern: str
    """RE2; each group that matches is a secret."""
    hint: str
    """RE2 over the record as it arrived: true wherever the pattern can match."""


def _program(names: str, flag: str, value: str) -> str:
    return rf"(?i)\b(?:{names})\b[^|;&\n]{{0,500}}?{_B}{flag}{value}"


RULES = (
    TextRule(
        "private keys in PEM",
        "-----BEGIN PRIVATE KEY-----SECRET-----END PRIVATE KEY-----",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----([^\0]*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\0|\z)",
        "PRIVATE KEY--",
    ),
    TextRule(
        "JSON Web Tokens",
        "eyJhbGciOiJub25lIn0.SECRETSECRET.SECRET",
        r"(eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)",
        r"eyJ[A-Za-z0-9_-]{5,}\.",
    ),
    TextRule(
        "tokens that show whose they are: GitHub, GitLab, Slack, Google, Stripe, Vault, npm, age",
        "ghp_SECRETSECRETSECRETSECRET",
        r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
        r"|AIza[\w-]{30,}|[sr]k_live_\w{16,}|sk-(?:ant|proj)-[\w-]{16,}|hv[sb]\.[\w-]{16,}"
        r"|npm_\w{30,}|ya29\.[\w-]{16,}|AGE-SECRET-KEY-1\w{40,})",
        r"gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|[sr]k_live_|sk-(?:ant|proj)-|hv[sb]\."
        r"|npm_|ya29\.|AGE-SECRET",
    ),
    TextRule(
        "passwords in URLs",
        "postgres://app:SECRET@db/app",
        r"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@'\"\0]*:([^\s/'\"\0]+)@",
        r"(?i)(?::|%3a)(?://|%2f%2f)[^\s\"]*?(?::|%3a)[^\s\"]*?(?:@|%40)",
    ),
    TextRule(
        "headers",
        "Authorization: Bearer SECRET",
        r"(?i)\b(?:authorization|x-api-key|x-vault-token|x-auth-token|x-amz-security-token"
        r"|private-token|job-token|cookie)[\"']?\s*[:=]\s*[\"']?"
        r"(?:(?:bearer|basic|token|negotiate|digest|apikey)\s+)?([^\s\"'\0,;]+)",
        r"(?i)(?:authorization|x-api-key|x-vault-token|x-auth-token|x-amz-security-token"
        r"|private-token|job-token|cookie)[\\\"']*\s*(?:[:=]|%3[ad])",
    ),
    TextRule(
        "bearer tokens",
        "bearer SECRETSECRET",
        rf"(?i)\bbearer{_B}+([A-Za-z0-9._~+/=:-]{{8,}})",
        "(?i)bearer",
    ),
    TextRule(
        "options named like secrets",
        "deploy --db-password SECRET",
        rf"(?i)(?:^|[\s\0\"'])--?(?:[a-z0-9]+[-_.])*{_SECRET}(?:={_VALUE}|{_ARGUMENT})",
        rf"""(?i)-(?:[a-z0-9]+[-_.])*{_SECRET}(?:["'\\=&%\s\0]|$)""",
    ),
    TextRule(
        "assignments to names like secrets, and parameters of URLs",
        "DB_PASSWORD=SECRET",
        rf"""(?i)(?:^|[^a-z0-9])(?:[a-z0-9]+[-_.]?)*{_SECRET}["']?\s*[=:]\s*{_VALUE}""",
        rf"""(?i){_SECRET}["'\\]*\s*(?:[=:]|%3[ad])""",
    ),
    TextRule(
        "passwords in connection strings",
        "Server=db;Uid=app;Pwd=SECRET;",
        r"(?i);\s*pwd=([^\s\0\"'`&;|<>()/~][^\s\0\"'`&;|<>()]*)",
        r"(?i);\s*pwd=[^/~]",
    ),
    TextRule(
        "literals given to kubectl create secret",
        "kubectl create secret generic db --from-literal=user=SECRET",
        rf"--from-literal(?:=|{_B}+)[^\s\0=]+={_VALUE}",
        "from-literal",
    ),
    TextRule(
        "mysql, mariadb and their tools",
        "mysql -u root -pSECRET",
        _program(r"mysql\w*|mariadb[\w-]*", "-p", rf"({_WORD}|'[^'\0]*')"),
        "(?i)(?:mysql|mariadb).*-p",
    ),
    TextRule(
        "sshpass, useradd, usermod, mongo",
        "sshpass -p SECRET ssh host",
        _program(
            r"sshpass|useradd|usermod|mongo|mongosh|mongodump", "-p", rf"(?:{_VALUE}|{_ARGUMENT})"
        ),
        "(?i)(?:sshpass|useradd|usermod|mongo).*-p",
    ),
    TextRule(
        "logins to registries",
        "docker login -u app -p SECRET registry",
        _program(rf"(?:{_REGISTRY_CLIENTS})\b[^|;&\n]{{0,100}}?\blogin", "-p", _ARGUMENT),
        rf"(?i)(?:{_REGISTRY_CLIENTS})\W.*login",
    ),
    TextRule(
        "redis-cli",
        "redis-cli -h cache -a SECRET",
        _program("redis-cli", "-a", _ARGUMENT),
        "(?i)redis-cli.*-a",
    ),
    TextRule(
        "tools of LDAP",
        "ldapsearch -D cn=admin -w SECRET",
        _program(r"ldap\w+", "-w", rf"(?:{_VALUE}|{_ARGUMENT})"),
        "(?i)ldap.*-w",
    ),
    TextRule(
        "curl and wget with a user",
        "curl -u app:SECRET https://host",
        rf"(?i)\b(?:curl|wget)\b[^|;&\n]{{0,500}}?{_B}(?:-u|--user|-U|--proxy-user)(?:=|{_B})*"
        rf"[\"']?[^\s\0:\"']+:([^\s\0\"']+)",
        "(?i)(?:curl|wget).*(?:-u|--proxy-user)",
    ),
    TextRule(
        "openssl",
        "openssl rsa -passin pass:SECRET",
        rf"(?i)\bpass:({_WORD})",
        "(?i)pass:",
    ),
    TextRule(
        "tools of Samba",
        "smbclient -U app%SECRET //host/share",
        rf"(?i)\b(?:smbclient|rpcclient)\b[^|;&\n]{{0,500}}?{_B}-U{_B}*[^\s\0%]+%({_WORD})",
        "(?i)smbclient|rpcclient",
    ),
    TextRule(
        "passwords piped to chpasswd, passwd --stdin and sudo -S",
        "echo root:SECRET | chpasswd",
        rf"(?i)\becho{_B}+(?:-\w+{_B}+)?[\"']?(?:[\w.-]+:)?([^\s\0\"'|]+)[\"']?{_B}*\|{_B}*"
        rf"(?:sudo{_B}+)?(?:chpasswd|passwd{_B}+[^|;&]*--stdin|sudo{_B}+-S)",
        r"(?i)chpasswd|--stdin|sudo\W+-S",
    ),
)

_LATIN = re2.Options()
_LATIN.encoding = re2.Options.Encoding.LATIN1  # bytes that are not UTF-8 must hide nothing
_COMPILED = tuple(re2.compile(rule.pattern.encode(), _LATIN) for rule in RULES)
_TOKENS = re.compile(TOKEN.encode())
_IS_TOKEN = re.compile(TOKEN)

Replace = Callable[[str], str]
"""From a secret to what stands in its place."""


def redact_text(text: str, replace: Replace) -> str:
    """Return text with every secret in it replaced."""
    data = text.encode("utf-8", "surrogatepass")
    if not TEXT_HINT.search(data):
        return text
    whole = data
    for pattern in _COMPILED:
        parts: list[bytes] = []
        at = 0
        for start, end in _secrets(pattern, data):
            secret = data[start:end].decode("utf-8", "replace")
            parts += (data[at:start], replace(secret).encode())
            at = end
        if parts:
            data = b"".join((*parts, data[at:]))
    return text if data is whole else data.decode("utf-8", "surrogatepass")


def redact_arguments(arguments: list[str], replace: Replace) -> list[str]:
    """Return the arguments of a command with every secret in them replaced."""
    if not arguments or any("\0" in argument for argument in arguments):
        return [redact_text(argument, replace) for argument in arguments]
    return redact_text("\0".join(arguments), replace).split("\0")


def is_token(text: str) -> bool:
    """Whether text is what stands in place of a secret, and nothing else."""
    return _IS_TOKEN.fullmatch(text) is not None


def _secrets(pattern: "re2._Regexp", data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where secrets stand that are not replaced yet, in order."""
    tokens: list[tuple[int, int]] | None = None
    next_token = 0
    last = 0
    for found in pattern.finditer(data):
        spans = sorted(found.span(group) for group in range(1, pattern.groups + 1))
        for start, end in spans:
            if start < last or start >= end:
                continue
            if tokens is None:
                tokens = [token.span() for token in _TOKENS.finditer(data)]
            while next_token < len(tokens) and tokens[next_token][1] <= start:
                next_token += 1
            if next_token == len(tokens) or tokens[next_token][0] >= end:
                yield start, end
                last = end


TEXT_HINT = re2.compile("|".join(f"(?:{rule.hint})" for rule in RULES).encode(), _LATIN)
