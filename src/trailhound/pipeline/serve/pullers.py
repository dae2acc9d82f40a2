"""Intakes that fetch from a server: checked first, then started, and ended with what they hold.

Their modules are imported only where the settings ask for them: each needs a client library
that is an extra.
"""

import asyncio
import contextlib
import importlib
import logging
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trailhound.intake.arrivals import Accept
from trailhound.intake.pulling import Progress
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.settings import NatsSettings, Settings

if TYPE_CHECKING:
    from trailhound.intake.kafka import Subscription
    from trailhound.intake.nats import Consumption
    from trailhound.intake.s3.places import Buckets

_log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See that the clients are there, and take the settings.

    Raises:
        TrailhoundError: One is not there, or does not.
    """
    if settings.kafka.brokers:
        _need("kafka", "confluent_kafka")
        from trailhound.intake import kafka  # noqa: PLC0415 - an extra

        kafka.check(_subscription(settings))
    if settings.nats.servers:
        _need("nats", "nats")
        if not settings.nats.stream:
            raise TrailhoundError("[nats] needs a stream")
        _consumption(settings)
    if settings.s3.buckets:
        _need("s3", "boto3")
        from trailhound.intake.s3 import bucket  # noqa: PLC0415 - an extra

        bucket.check(_buckets(settings))
    elif settings.s3.queues:
        raise TrailhoundError("[s3] needs the buckets that notices may name")


def start(
    settings: Settings, accept: Accept, progresses: list[Progress], closing: AsyncExitStack
) -> None:
    """Start every intake that the settings ask for; each is ended with `closing`."""
    for shown, pulling in _pulls(settings, accept):
        progresses += shown
        closing.push_async_callback(_end, asyncio.create_task(pulling))


def _pulls(
    settings: Settings, accept: Accept
) -> Iterator[tuple[tuple[Progress, ...], Coroutine[Any, Any, None]]]:
    if settings.kafka.brokers:
        from trailhound.intake import kafka  # noqa: PLC0415 - an extra

        _log.info("Kafka: %s as %s", ", ".join(settings.kafka.topics), settings.kafka.group)
        progress = Progress("kafka")
        yield (progress,), kafka.consume(_subscription(settings), accept, progress)
    if settings.nats.servers:
        from trailhound.intake import nats  # noqa: PLC0415 - an extra

        _log.info("NATS: %s as %s", settings.nats.stream, settings.nats.consumer)
        progress = Progress("nats")
        yield (progress,), nats.consume(_consumption(settings), accept, progress)
    if settings.s3.buckets:
        from trailhound.intake.s3 import bucket, work  # noqa: PLC0415 - an extra

        _log.info("S3: %s", ", ".join(settings.s3.buckets))
        kept = work.Work(Path(settings.state) / "s3.sqlite")
        progress, notices = Progress("s3"), Progress("sqs")
        yield (
            (progress, notices) if settings.s3.queues else (progress,),
            bucket.pull(_buckets(settings), kept, accept, progress, notices),
        )


def _subscription(settings: Settings) -> "Subscription":
    from trailhound.intake.kafka import Subscription  # noqa: PLC0415 - an extra

    kafka = settings.kafka
    return Subscription(kafka.brokers, kafka.topics, kafka.group, kafka.start, kafka.options)


def _consumption(settings: Settings) -> "Consumption":
    from trailhound.intake.nats import Consumption  # noqa: PLC0415 - an extra

    nats = settings.nats
    if not all(map(_is_nats, nats.servers)):
        # They may hold passwords, so none is shown.
        raise TrailhoundError("[nats] a server is no URL, such as nats://nats-1.example:4222")
    if nats.credentials and not Path(nats.credentials).is_file():
        raise TrailhoundError(f"[nats] there is no file {nats.credentials}")
    return Consumption(
        nats.servers,
        nats.stream,
        nats.consumer,
        nats.subjects,
        nats.start,
        nats.credentials,
        _tls(nats),
    )


def _is_nats(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return (
            parts.scheme in ("nats", "tls", "ws", "wss")
            and parts.port != 0
            and bool(parts.hostname)
        )
    except ValueError:
        return False


def _buckets(settings: Settings) -> "Buckets":
    from trailhound.intake.s3.places import Buckets, places_of  # noqa: PLC0415 - an extra

    s3 = settings.s3
    since_ns = 0
    if s3.since:
        try:
            day = datetime.strptime(s3.since, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise TrailhoundError(f"[s3] since: {s3.since!r} is no day, as 2026-11-01") from None
        since_ns = int(day.timestamp()) * 1_000_000_000
    if not s3.queues and s3.list_seconds <= 0:
        raise TrailhoundError("[s3] needs queues where buckets are not listed")
    return Buckets(
        places_of(s3.buckets), s3.queues, s3.list_seconds, since_ns, s3.endpoint, s3.region
    )


def _tls(nats: NatsSettings) -> ssl.SSLContext | None:
    if not (nats.server_ca or nats.tls_certificate):
        return None
    try:
        context = ssl.create_default_context(cafile=nats.server_ca or None)
        if nats.tls_certificate:
            context.load_cert_chain(nats.tls_certificate, nats.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise TrailhoundError(f"[nats] a certificate or key cannot be used: {error}") from None
    return context


def _need(extra: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError:
        raise TrailhoundError(
            f"[{extra}] needs a library that is not installed: pip install 'trailhound[{extra}]'"
        ) from None


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
