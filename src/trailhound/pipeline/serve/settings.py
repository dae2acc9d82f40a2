"""Settings of `trailhound serve`: one TOML file, every key known, every value checked."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.logs import LogFormat
from trailhound.pipeline.serve.settings_errors import unknown_key, wrong_value

GIB = 1024**3


class LakeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where events are kept, to hunt in."""

    enabled: bool = True
    """Whether events are kept."""
    path: str = ""
    """Folder of the lake. Empty: `lake` in the state folder."""
    keep_days: dict[str, Annotated[int, msgspec.Meta(ge=1, le=36500)]] = {}
    """Source → days for which its events are kept; `"*"` stands for sources not named. What is
    said here holds for the lake; a source of which nothing is said is kept for ever."""


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where records are sealed, so that later changes can be proven."""

    enabled: bool = True
    """Whether records are sealed."""
    path: str = ""
    """Folder of the ledger, which must be for `serve` alone. Empty: `ledger` in the state
    folder. Made if missing."""
    name: Annotated[str, msgspec.Meta(pattern=r"^[^\s+\x00-\x1f]*$")] = ""
    """Names a ledger that is made: `audit.example.com/host-1`. Empty: the name of this host."""
    key_file: str = ""
    """Private key that signs. Empty: beside the ledger, `ledger.key`. Made if missing."""
    keep_records: bool = True
    """Whether a ledger that is made keeps the redacted records beside their hashes."""
    keep_days: Annotated[
        dict[
            Annotated[str, msgspec.Meta(min_length=1, max_length=256)],
            Annotated[int, msgspec.Meta(ge=1, le=36500)],
        ],
        msgspec.Meta(max_length=20),
    ] = {}
    """Sender → days for which its records are kept; `forward/*` stands for all that begin so, and
    `"*"` for those not named. Of a record that is let go the hash stays. A sender of which nothing
    is said is kept for ever."""
    head_seconds: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60
    """How often a head is signed, whether anything came or not."""
    forward: tuple[str, ...] = ()
    """Places to which heads and what is under them are sent at once: a folder,
    `s3://bucket/prefix`, `git:REMOTE`, or `https://host:9610`, another Trailhound."""
    forward_token_file: str = ""
    """File with the token that another Trailhound asks for; nobody else may read it."""
    retain_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = 365
    """Days for which S3 lets nobody delete what is sent."""


class RedactionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Secrets are replaced by keyed hashes before anything but the queue holds them."""

    enabled: bool = True
    """Whether secrets are replaced."""
    key_file: str = ""
    """Key of the hashes. Empty: beside the ledger, `ledger.redaction-key`. Made if missing."""


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kubernetes webhooks, JSON, and everything else that comes over HTTP."""

    listen: str = "127.0.0.1:9610"
    """Address and port."""
    tls_certificate: str = ""
    """PEM file: certificate of this server. With it, only TLS is spoken."""
    tls_key: str = ""
    """PEM file: its private key."""
    client_ca: str = ""
    """PEM file: who signs certificates of clients. With it, every client must have one."""
    hooks: dict[Literal["okta", "github"], str] = {}
    """Secrets of event hooks, by service; a hook without one is not there."""


class ForwardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The forward protocol of Fluentd and Fluent Bit."""

    listen: str = ""
    """Address and port, such as 127.0.0.1:24224. Empty: not listened to."""
    shared_key: str = ""
    """What senders must know; asked for in a handshake."""
    shared_key_file: str = ""
    """A file that holds the shared key, instead of it."""
    users: dict[str, str] = {}
    """User name → password, asked for as well."""
    tls_certificate: str = ""
    """PEM file: certificate of this server. With it, only TLS is spoken."""
    tls_key: str = ""
    """PEM file: its private key."""
    client_ca: str = ""
    """PEM file: who signs certificates of clients. With it, every client must have one."""


class FilesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files that grow and rotate."""

    paths: tuple[str, ...] = ()
    """Files or patterns. One should also fit the names that rotation gives:
    `/var/log/audit/audit.log*`."""


class SyslogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Syslog, RFC 3164 and RFC 5424."""

    udp: str = ""
    """Address and port for datagrams, such as 127.0.0.1:5514. Empty: not listened to."""
    tcp: str = ""
    """Address and port for streams."""
    tls: str = ""
    """Address and port for streams in TLS (RFC 5425)."""
    tls_certificate: str = ""
    """PEM file: certificate of this server."""
    tls_key: str = ""
    """PEM file: its private key."""
    client_ca: str = ""
    """PEM file: who signs certificates of clients. With it, every client must have one."""
    open_to_network: bool = False
    """Syslog has no passwords: addresses that others can reach need this, or a `client_ca`."""


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Topics of Kafka, consumed as a member of a group. Needs `pip install 'trailhound[kafka]'`."""

    brokers: tuple[str, ...] = ()
    """Host and port of some brokers, such as kafka-1:9092. Empty: nothing is consumed."""
    topics: tuple[str, ...] = ()
    """Names; a name that begins with `^` is a regular expression."""
    group: str = "trailhound"
    """The consumer group. Several servers with the same one share the partitions."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin in a partition of which the group has committed nothing."""
    options: dict[str, str] = {}
    """Properties of librdkafka, as for TLS and SASL: `"security.protocol" = "SASL_SSL"`."""


class S3Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objects in S3 buckets, each read once. Needs `pip install 'trailhound[s3]'`."""

    buckets: tuple[str, ...] = ()
    """Buckets, or prefixes in them: s3://bucket/prefix. Empty: nothing is read."""
    queues: tuple[str, ...] = ()
    """URLs of SQS queues that get notices of new objects, from S3, EventBridge or CloudTrail, by
    SNS or not. What they name must lie in `buckets`."""
    list_seconds: float = 60
    """How often buckets are listed. 0: never, where notices are enough."""
    since: str = ""
    """Day, such as 2026-11-01: objects that were last written before it (UTC) are not read."""
    endpoint: str = ""
    """URL of another server that speaks S3. Empty: Amazon's."""
    region: str = ""
    """Empty: from the AWS configuration, as are credentials."""


class NatsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stream of NATS JetStream. Needs `pip install 'trailhound[nats]'`."""

    servers: tuple[str, ...] = ()
    """URLs, such as nats://nats-1:4222 or tls://nats-1:4222. Empty: nothing is consumed."""
    stream: str = ""
    """Name of the stream."""
    consumer: str = "trailhound"
    """Durable pull consumer; made where it is missing. Several servers may share one."""
    subjects: tuple[str, ...] = ()
    """Which subjects a consumer that is made is given. Empty: all of the stream."""
    start: Literal["all", "new"] = "all"
    """Where a consumer that is made begins."""
    credentials: str = ""
    """Credentials file (`.creds`) with a JWT and its seed."""
    server_ca: str = ""
    """PEM file: who signs the certificates of servers. Empty: whom the system trusts."""
    tls_certificate: str = ""
    """PEM file: our certificate, where servers ask for one."""
    tls_key: str = ""
    """PEM file: its private key."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that `trailhound serve` can be told."""

    state: str = "/var/lib/trailhound"
    """Folder for the queue, checkpoints, and what is kept. Made if missing."""
    rules: tuple[str, ...] = ()
    """Files and folders of rules."""
    builtin: bool = True
    """Whether the built-in rules run as well."""
    access: str = ""
    """Access file: tokens and client certificates, made by `trailhound token`. Without one,
    intakes listen on loopback only."""
    findings_format: Literal["ndjson", "ocsf"] = "ndjson"
    """What a line of the findings is: as `scan --format` writes it."""
    queue_bytes: Annotated[int, msgspec.Meta(ge=64 * 1024)] = 4 * GIB
    """Disk that records may take while they wait to be judged; then senders are told to wait. A
    batch is taken whole while half of this is free, so it may be exceeded by one."""
    log_format: LogFormat = "text"
    """What is written to standard error: `text` for a person, or `json`, an object a line."""
    lake: LakeSettings = LakeSettings()
    ledger: LedgerSettings = LedgerSettings()
    redaction: RedactionSettings = RedactionSettings()
    http: HttpSettings = HttpSettings()
    forward: ForwardSettings = ForwardSettings()
    syslog: SyslogSettings = SyslogSettings()
    files: FilesSettings = FilesSettings()
    kafka: KafkaSettings = KafkaSettings()
    nats: NatsSettings = NatsSettings()
    s3: S3Settings = S3Settings()

    @property
    def lake_folder(self) -> Path:
        """Where the lake lies."""
        return Path(self.lake.path or Path(self.state) / "lake")

    @property
    def ledger_folder(self) -> Path:
        """Where the ledger lies."""
        return Path(self.ledger.path or Path(self.state) / "ledger")


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Paths in it are relative to the folder in which the command runs.

    Raises:
        TrailhoundError: It cannot be read, or a key or a value in it is not understood.
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = tomllib.loads(text)
    except OSError as error:
        raise TrailhoundError(f"the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrailhoundError(f"the settings file {path}: {error}") from None
    if wrong := unknown_key(text, given, Settings):
        raise TrailhoundError(f"the settings file {path}{wrong}")
    try:
        settings = msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise TrailhoundError(f"the settings file {path}{wrong_value(text, str(error))}") from None
    if settings.ledger.forward and not settings.ledger.enabled:
        raise TrailhoundError(f"the settings file {path}: forward in [ledger] needs a ledger")
    return settings


def shared_key_of(settings: ForwardSettings) -> str:
    """Return the shared key of the forward intake; empty where it has none.

    Raises:
        TrailhoundError: Its file cannot be read, or holds nothing; or it is given twice.
    """
    if not settings.shared_key_file:
        return settings.shared_key
    if settings.shared_key:
        raise TrailhoundError("[forward] shared_key and shared_key_file: one of them")
    path = Path(settings.shared_key_file)
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrailhoundError(f"[forward] shared_key_file {path}: {error}") from None
    if not key:
        raise TrailhoundError(f"[forward] shared_key_file {path} holds nothing")
    return key


def address_of(listen: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:9610` or `[::1]:9610`.

    Raises:
        TrailhoundError: It is no address with a port.
    """
    host, _, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not port.isdecimal() or int(port) > 65535 or (":" in bare and bare == host):
        raise TrailhoundError(f"{listen!r} is no address to listen on, such as 127.0.0.1:9610")
    return bare, int(port)
