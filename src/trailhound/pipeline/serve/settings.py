"""Settings of `trailhound serve`: one TOML file, every key known, every value checked."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from trailhound.model.errors import TrailhoundError

GIB = 1024**3


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
    queue_bytes: int = 4 * GIB
    """Disk that records may take while they wait to be judged; then senders are told to wait."""
    http: HttpSettings = HttpSettings()
    forward: ForwardSettings = ForwardSettings()
    syslog: SyslogSettings = SyslogSettings()
    files: FilesSettings = FilesSettings()
    kafka: KafkaSettings = KafkaSettings()
    nats: NatsSettings = NatsSettings()


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Paths in it are relative to the file's folder.

    Raises:
        TrailhoundError: It cannot be read, or a key or a value in it is not understood.
    """
    try:
        settings = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Settings)
    except OSError as error:
        raise TrailhoundError(f"the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise TrailhoundError(f"the settings file {path}: {error}") from None
    return settings


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
