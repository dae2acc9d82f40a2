"""What a message in an SQS queue says about objects, whoever sent it there.

Known are the notices of S3 itself
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html), of
EventBridge (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html) and of
CloudTrail (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-sns-notifications-for-cloudtrail.html),
each as it is or in the envelope of SNS.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson

from trailhound.intake.s3.work import Found

_CREATED = ("ObjectCreated:", "s3:ObjectCreated:")
_OTHER_EVENTS = ("Object", "Replication:", "Reduced", "Lifecycle", "Intelligent", "s3:", "Test")
_BRIDGE_CREATED = "Object Created"


class Unknown(Exception):
    """A message that is no notice; the text says why."""


def read_notice(body: str) -> list[Found]:
    """Return the objects that a message says were created; none where it tells of other things.

    Raises:
        Unknown: It is no notice of a kind known here.
    """
    return list(_objects(_parsed(body), enveloped=False))


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unknown(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unknown("no JSON object")
    return found


def _objects(notice: Mapping[str, Any], *, enveloped: bool) -> Iterator[Found]:
    if isinstance(inner := notice.get("Message"), str) and "TopicArn" in notice and not enveloped:
        yield from _objects(_parsed(inner), enveloped=True)
    elif isinstance(records := notice.get("Records"), list):
        for record in records:
            yield from _of_s3(record)
    elif notice.get("source") == "aws.s3" and isinstance(notice.get("detail"), dict):
        if notice.get("detail-type") == _BRIDGE_CREATED:
            yield _of_bridge(notice, notice["detail"])
    elif isinstance(keys := notice.get("s3ObjectKey"), list):
        for key in keys:
            yield Found(_text(notice.get("s3Bucket")), _text(key))
    elif notice.get("Event") != "s3:TestEvent":
        raise Unknown(
            f"neither S3 nor EventBridge nor CloudTrail: {', '.join(sorted(notice))[:200]}"
        )


def _of_s3(record: Any) -> Iterator[Found]:
    name = record.get("eventName") if isinstance(record, dict) else None
    if not isinstance(name, str) or not name.startswith((*_CREATED, *_OTHER_EVENTS)):
        raise Unknown("a record that is no event of S3")
    if not name.startswith(_CREATED):
        return
    try:
        bucket, thing = record["s3"]["bucket"]["name"], record["s3"]["object"]
        yield Found(
            bucket=_text(bucket),
            # Form-encoded: a blank is a plus sign.
            key=unquote_plus(_text(thing["key"])),
            etag=_text(thing.get("eTag", ""), empty=True),
            version=_text(thing.get("versionId") or "", empty=True),
            size_bytes=_size(thing.get("size")),
            modified_ns=_time_ns(record.get("eventTime")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Unknown(f"an event of S3 without its object: {error!r}") from None


def _of_bridge(notice: Mapping[str, Any], detail: Mapping[str, Any]) -> Found:
    try:
        thing = detail["object"]
        return Found(
            bucket=_text(detail["bucket"]["name"]),
            key=_text(thing["key"]),
            etag=_text(thing.get("etag", ""), empty=True),
            version=_text(thing.get("version-id") or "", empty=True),
            size_bytes=_size(thing.get("size")),
            modified_ns=_time_ns(notice.get("time")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Unknown(f"an event of EventBridge without its object: {error!r}") from None


def _text(value: Any, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise Unknown("a bucket, key, version or ETag that is no text")
    return value.strip('"') if empty else value


def _size(value: Any) -> int:
    # Of 0 bytes are the markers that consoles make for folders; -1: it does not say.
    return value if isinstance(value, int) and 0 <= value < 2**63 else -1


def _time_ns(value: Any) -> int:
    try:
        seconds = int(datetime.fromisoformat(value).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0
    return seconds * 1_000_000_000 if 0 <= seconds < 2**32 else 0
