"""Queues are asked for notices, and the objects that they name are written down."""

import time
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from trailhound.intake.arrivals import Arrival
from trailhound.intake.pulling import Hand, Progress
from trailhound.intake.s3.listing import write_down
from trailhound.intake.s3.notices import Unknown, read_notice
from trailhound.intake.s3.places import Buckets
from trailhound.intake.s3.work import Found, Work

_IDLE_SECONDS = 1.0
_NOTICE_SECONDS = 4
"""How long a queue is asked for notices at a time."""
_NOTICES_WAITING = 100_000
"""With more objects to read than this, notices stay in their queue."""
_MEASURE_SECONDS = 30.0
_KEPT_BYTES = 1024 * 1024


class Asker:
    """Takes notices from a queue."""

    def __init__(
        self,
        client: Any,
        buckets: Buckets,
        queue: str,
        work: Work,
        progress: Progress,
        notices: Progress,
    ) -> None:
        self._client = client
        self._buckets = buckets
        self._queue = queue
        self._work = work
        self._progress = progress
        self._notices = notices
        self._measured_s = float("-inf")

    def run(self, hand: Hand) -> None:
        """Ask until told to stop."""
        while not hand.stopping.is_set():
            self._measure()
            if sum(self._work.waiting.values()) > _NOTICES_WAITING:
                hand.stopping.wait(_IDLE_SECONDS)
                continue
            answer = self._client.receive_message(
                QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=_NOTICE_SECONDS
            )
            self._notices.connected = True
            messages = answer.get("Messages", ())
            if not messages or not self._take(messages, hand):
                continue
            self._client.delete_message_batch(
                QueueUrl=self._queue,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                    for number, message in enumerate(messages)
                ],
            )

    def _take(self, messages: Sequence[dict[str, str]], hand: Hand) -> bool:
        found: list[Found] = []
        unknown: list[Arrival] = []
        name = self._queue.rpartition("/")[2]
        for message in messages:
            body, uid = message["Body"], message["MessageId"]
            try:
                named = read_notice(body)
                if outside := [item for item in named if not self._buckets.has(item)]:
                    where = f"s3://{outside[0].bucket}/{outside[0].key}"
                    raise Unknown(f"no bucket of the settings has what it names: {where}")
                found += named
            except Unknown as error:
                failure = "unknown notice", f"{error} (message {uid})"
                data = body.encode(errors="replace")[:_KEPT_BYTES]
                unknown.append(
                    Arrival(data, f"sqs/{name}", time.time_ns(), f"sqs:{uid}", {}, failure)
                )
        write_down(found, self._buckets, self._work, self._progress)
        return not unknown or hand.deliver(unknown, self._notices)

    def _measure(self) -> None:
        if time.monotonic() - self._measured_s < _MEASURE_SECONDS:
            return
        self._measured_s = time.monotonic()
        self._work.forget()
        try:
            answer = self._client.get_queue_attributes(
                QueueUrl=self._queue, AttributeNames=["ApproximateNumberOfMessages"]
            )
        except ClientError:
            return  # may be that only this is not allowed
        count = int(answer["Attributes"]["ApproximateNumberOfMessages"])
        self._notices.lag = {**self._notices.lag, self._queue.rpartition("/")[2]: count}
