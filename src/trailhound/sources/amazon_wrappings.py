"""What Amazon wraps around records: one function takes one wrapping off, or returns None."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from trailhound.sources.contents import Aside, Content, Document, all_but, objects
from trailhound.sources.encoded import decoded


def cloudtrail_digest(document: Document) -> Iterable[Content] | None:
    """CloudTrail User Guide, "CloudTrail digest file structure"."""
    if "digestStartTime" not in document or "previousDigestSignature" not in document:
        return None
    detail = "it signs log files and holds no events"
    return [(Aside("CloudTrail digest file", detail, lost=False), {})]


def records(document: Document) -> Iterable[Content] | None:
    """CloudTrail log files; also what S3, SNS and SQS hand to Lambda functions."""
    records = objects(document.get("Records"))
    return None if records is None else ((record, {}) for record in records)


def cloudwatch_subscription(document: Document) -> Iterable[Content] | None:
    """CloudWatch Logs User Guide, "Real-time processing of log data with subscriptions"."""
    kind, events = document.get("messageType"), document.get("logEvents")
    if kind == "CONTROL_MESSAGE" and isinstance(events, list):
        return ()
    if not isinstance(events, list) or kind not in ("DATA_MESSAGE", None):
        return None
    if kind is None and not _are_log_events(events):
        return None  # else its keys are in order, and it was cut up at its elements
    return _log_events(events, all_but(document, "messageType", "logEvents"))


def cloudwatch_query(document: Document) -> Iterable[Content] | None:
    """`aws logs filter-log-events` and `get-log-events`."""
    events = document.get("events")
    if events == [] and not _BESIDE_EVENTS.isdisjoint(document):
        return ()
    return _log_events(events, {}) if _are_log_events(events) else None


_BESIDE_EVENTS = frozenset(
    ("nextForwardToken", "nextBackwardToken", "nextToken", "searchedLogStreams")
)


def _are_log_events(value: object) -> TypeGuard[list[Any]]:
    events = objects(value)
    return events is not None and events != [] and "message" in events[0]


def _log_events(events: list[Any], known: Document) -> Iterator[Content]:
    for event in events:
        if isinstance(event, dict):
            yield event.get("message"), {**known, **all_but(event, "message")}
        else:
            yield event, known


def cloudwatch_insights(document: Document) -> Iterable[Content] | None:
    """`aws logs get-query-results`: each row is a list of (field, value) objects."""
    rows = document.get("results")
    if rows == [] and {"statistics", "status"} <= document.keys():
        return ()
    if not isinstance(rows, list) or not rows:
        return None
    cells = objects(rows[0])
    return map(_insights_row, rows) if cells and "field" in cells[0] else None


def _insights_row(row: object) -> Content:
    cells = {
        cell["field"]: cell.get("value")
        for cell in (row if isinstance(row, list) else [])
        if isinstance(cell, dict) and isinstance(cell.get("field"), str)
    }
    return cells.get("@message"), all_but(cells, "@message", "@ptr")


def insights_export(document: Document) -> Iterable[Content] | None:
    """One row of CloudWatch Logs Insights as its console exports it to JSON."""
    message = document.get("@message")
    if not isinstance(message, str | dict):
        return None
    return [(message, all_but(document, "@message", "@ptr"))]


def kinesis(document: Document) -> Iterable[Content] | None:
    """Kinesis records as Lambda functions get them, and as `aws kinesis get-records` does."""
    inner = document.get("kinesis", document)
    if not isinstance(inner, dict):
        return None
    name = "data" if inner is not document else "Data"
    if not isinstance(inner.get(name), str) or (name == "Data" and "PartitionKey" not in inner):
        return None
    known = {**all_but(document, "kinesis", "Data"), **all_but(inner, name)}
    return ((content, known) for content in decoded(inner[name], "Kinesis record"))


def firehose(document: Document) -> Iterable[Content] | None:
    """Amazon Data Firehose: records for Lambda transformation and HTTP endpoints."""
    if not isinstance(document.get("data"), str) or not document.keys() <= _FIREHOSE_KEYS:
        return None
    known = all_but(document, "data")
    return ((content, known) for content in decoded(document["data"], "Firehose record"))


_FIREHOSE_KEYS = {"data", "recordId", "approximateArrivalTimestamp", "kinesisRecordMetadata"}


def awslogs(document: Document) -> Iterable[Content] | None:
    """CloudWatch Logs subscriptions as Lambda functions get them."""
    inner = document.get("awslogs")
    if not isinstance(inner, dict) or not isinstance(inner.get("data"), str):
        return None
    return ((content, {}) for content in decoded(inner["data"], "CloudWatch Logs message"))


def eventbridge(document: Document) -> Iterable[Content] | None:
    """Amazon EventBridge User Guide, "Event structure"."""
    detail = document.get("detail")
    if not isinstance(detail, dict) or "detail-type" not in document:
        return None
    return [(detail, all_but(document, "detail"))]


def lookup_events(document: Document) -> Iterable[Content] | None:
    """`aws cloudtrail lookup-events`: each record is a string beside its extract."""
    events = objects(document.get("Events"))
    if events == [] and document.keys() <= {"Events", "NextToken"}:
        return ()
    if not events or "CloudTrailEvent" not in events[0]:
        return None
    return ((event, {}) for event in events)


def looked_up_event(document: Document) -> Iterable[Content] | None:
    """One event of its answer."""
    record = document.get("CloudTrailEvent")
    return [(record, {})] if isinstance(record, str) else None


def sns(document: Document) -> Iterable[Content] | None:
    """Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format"; Lambda's `Sns`."""
    notification = document.get("Sns", document)
    if not isinstance(notification, dict) or notification.get("Type") != "Notification":
        return None
    message = notification.get("Message")
    return [(message, all_but(notification, "Message"))] if isinstance(message, str) else None


def sqs(document: Document) -> Iterable[Content] | None:
    """Amazon SQS messages: `aws sqs receive-message`, and `body` where Lambda receives them."""
    for identity, body in (("MessageId", "Body"), ("messageId", "body")):
        if identity in document and isinstance(document.get(body), str):
            return [(document[body], all_but(document, body))]
    return None


def sqs_messages(document: Document) -> Iterable[Content] | None:
    """The whole answer of `aws sqs receive-message`."""
    messages = objects(document.get("Messages"))
    return ((message, {}) for message in messages) if messages else None
