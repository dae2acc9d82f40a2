"""S3 buckets: objects are listed, or named by notices in SQS, and each is read once.

Listings and notices only write down what is to be read (`work.py`); a notice is deleted from its
queue when it stands there, on disk. Readers take from it the oldest first, stream each object,
and note how far they are behind what the queue has synced.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from trailhound.intake.arrivals import Accept
from trailhound.intake.pulling import Hand, Progress, in_thread, keep_pulling
from trailhound.intake.s3.asking import Asker
from trailhound.intake.s3.listing import Lister
from trailhound.intake.s3.places import Buckets
from trailhound.intake.s3.reading import Reader
from trailhound.intake.s3.work import Work
from trailhound.model.errors import TrailhoundError

_READERS = 4


def check(buckets: Buckets) -> None:
    """See that clients can be made of the settings.

    Raises:
        TrailhoundError: They cannot.
    """
    for queue in buckets.queues:
        if urlsplit(queue).scheme not in ("http", "https"):
            raise TrailhoundError(f"[s3] {queue!r} is no URL of a queue")
    _client(buckets)


def _client(buckets: Buckets) -> Any:
    return _made("s3", buckets.region, buckets.endpoint)


def _queue_client(buckets: Buckets, queue: str) -> Any:
    host = urlsplit(queue).hostname or ""
    parts = host.split(".")
    if ".amazonaws." in host and parts[0] == "sqs":
        return _made("sqs", parts[1], "")
    return _made("sqs", buckets.region, f"{urlsplit(queue).scheme}://{urlsplit(queue).netloc}")


def _made(service: str, region: str, endpoint: str) -> Any:
    configuration = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=_READERS + 2,
        # Servers of others know buckets by path, not by host name.
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    try:
        return boto3.Session().client(
            service,
            region_name=region or None,
            endpoint_url=endpoint or None,
            config=configuration,
        )
    except (BotoCoreError, ValueError) as error:
        raise TrailhoundError(f"[s3] {error}") from None


async def pull(
    buckets: Buckets, work: Work, accept: Accept, progress: Progress, notices: Progress
) -> None:
    """Hand over what is in the buckets, until cancelled; then close `work`.

    Args:
        buckets: what to read.
        work: what is known of it.
        accept: takes records in.
        progress: how listing and reading do.
        notices: how the queues of notices do.
    """
    client = _client(buckets)
    parts: list[tuple[Callable[[Hand], None], Progress]] = []
    if buckets.list_seconds:
        parts += [
            (Lister(client, buckets, place, work, progress).run, progress)
            for place in buckets.places
        ]
    for queue in buckets.queues:
        asker = Asker(_queue_client(buckets, queue), buckets, queue, work, progress, notices)
        parts.append((asker.run, notices))
    parts += [(Reader(client, work, progress).run, progress)] * _READERS
    failing = (BotoCoreError, ClientError, OSError, sqlite3.Error)
    tasks = [
        asyncio.create_task(
            keep_pulling(partial(in_thread, f"s3-{number}", run, accept), shown, failing)
        )
        for number, (run, shown) in enumerate(parts)
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        work.close()
