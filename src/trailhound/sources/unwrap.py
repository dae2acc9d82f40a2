"""What clouds and shippers wrap around a record, and how it comes off.

One call takes one wrapping off; whoever calls looks at what came out before it asks again,
because a record that some source knows is no wrapping, whatever its fields are called.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from trailhound.model.records import Origin, ParseFailure, Payload
from trailhound.sources.encoded import Aside, decoded

WRAPPINGS_TAKEN_OFF = 8
"""Wrappings inside one another that are taken off before a record counts as unknown."""


Content = tuple[Any, Mapping[str, Any]]
"""What was wrapped (an object, a text or an `Aside`), and what the wrapping knows of it."""

_Document = Mapping[str, Any]


def unwrap(payload: Payload, numbers: Iterator[int]) -> Iterator[Payload | ParseFailure] | None:
    """Take the outermost wrapping off a document; None where it wears none that is known.

    Args:
        payload: its `document` is set.
        numbers: gives the next `Origin.element`, for wrappings that hold several records.
    """
    document = payload.document or {}
    marked = {index for key in document for index in _BY_KEY.get(key, ())}
    for index in sorted(marked):
        name, holds_many, peel, _ = _WRAPPINGS[index]
        contents = peel(document)
        if contents is not None:
            return _payloads(payload, name, contents, numbers if holds_many else None)
    return None


def unwrap_array(
    values: list[Any], outer: Payload, numbers: Iterator[int]
) -> Iterator[Payload | ParseFailure]:
    """Take the elements out of a JSON array that stands where a record belongs."""
    return _payloads(outer, "array", ((value, {}) for value in values), numbers)


def _payloads(
    outer: Payload, name: str, contents: Iterable[Content], numbers: Iterator[int] | None
) -> Iterator[Payload | ParseFailure]:
    wrapping = (*outer.wrapping, name)
    origin = outer.origin
    for value, known in contents:
        if numbers is not None:
            origin = Origin(origin.path, origin.line, next(numbers))
        context = {**outer.context, **known}
        if isinstance(value, dict):
            yield Payload(origin=origin, document=value, wrapping=wrapping, context=context)
        elif isinstance(value, str):
            yield Payload(origin=origin, text=value, wrapping=wrapping, context=context)
        elif isinstance(value, Aside):
            yield ParseFailure(origin, value.reason, value.detail, value.lost)
        else:
            detail = f"{name} holds {kind_of(value)} where a record belongs"
            yield ParseFailure(origin, "unknown format", detail)


def host_in(context: Mapping[str, Any]) -> str:
    """Return the host that a wrapping names, empty where it names none.

    Syslog and journald (`_HOSTNAME`), Fluent Bit and Vector (`hostname`, `host`), Beats
    (`host.name`, Elastic Common Schema), Log Analytics (`Computer`).
    """
    host = context.get("host")
    inner = host if isinstance(host, Mapping) else {}
    found = (
        *(context.get("hostname"), context.get("_HOSTNAME"), host),
        *(inner.get("hostname"), inner.get("name"), context.get("Computer")),
    )
    return next((name for name in found if isinstance(name, str) and name), "")


def kind_of(value: object) -> str:
    """Return what JSON calls such a value, with its article."""
    for kinds, name in (
        (bool, "a boolean"),
        (int | float, "a number"),
        (str, "a string"),
        (list, "an array"),
        (dict, "an object"),
    ):
        if isinstance(value, kinds):
            return name
    return "null"


def _except(document: _Document, *names: str) -> _Document:
    return {key: value for key, value in document.items() if key not in names}


def _objects(value: object) -> list[dict[str, Any]] | None:
    """The value if it is an array that begins with an object, or is empty; else None."""
    if isinstance(value, list) and (not value or isinstance(value[0], dict)):
        return value
    return None


# --- Kubernetes ---------------------------------------------------------------------------


def _event_list(document: _Document) -> Iterable[Content] | None:
    """`EventList` of audit.k8s.io: what the webhook backend of the API server sends."""
    version = document.get("apiVersion")
    if document.get("kind") != "EventList" or not isinstance(version, str):
        return None
    if not version.startswith("audit.k8s.io/"):
        return None
    items = document.get("items")
    return ((item, {}) for item in items) if isinstance(items, list) else ()


# --- Amazon -------------------------------------------------------------------------------


def _cloudtrail_digest(document: _Document) -> Iterable[Content] | None:
    """CloudTrail User Guide, "CloudTrail digest file structure"."""
    if "digestStartTime" not in document or "previousDigestSignature" not in document:
        return None
    detail = "it signs log files and holds no events"
    return [(Aside("CloudTrail digest file", detail, lost=False), {})]


def _records(document: _Document) -> Iterable[Content] | None:
    """CloudTrail log files; also what S3, SNS and SQS hand to Lambda functions."""
    records = _objects(document.get("Records"))
    return None if records is None else ((record, {}) for record in records)


def _cloudwatch_subscription(document: _Document) -> Iterable[Content] | None:
    """CloudWatch Logs User Guide, "Real-time processing of log data with subscriptions"."""
    kind, events = document.get("messageType"), document.get("logEvents")
    if kind == "CONTROL_MESSAGE" and isinstance(events, list):
        return ()
    if kind != "DATA_MESSAGE" or not isinstance(events, list):
        return None
    return _log_events(events, _except(document, "messageType", "logEvents"))


def _cloudwatch_query(document: _Document) -> Iterable[Content] | None:
    """`aws logs filter-log-events` and `get-log-events`."""
    events = _objects(document.get("events"))
    if not events or "message" not in events[0]:
        return () if events == [] and "nextForwardToken" in document else None
    return _log_events(events, {})


def _log_events(events: list[Any], known: _Document) -> Iterator[Content]:
    for event in events:
        if isinstance(event, dict):
            yield event.get("message"), {**known, **_except(event, "message")}
        else:
            yield event, known


def _cloudwatch_insights(document: _Document) -> Iterable[Content] | None:
    """`aws logs get-query-results`: each row is a list of (field, value) objects."""
    rows = document.get("results")
    if not isinstance(rows, list) or not rows:
        return None
    cells = _objects(rows[0])
    return map(_insights_row, rows) if cells and "field" in cells[0] else None


def _insights_row(row: object) -> Content:
    cells = {
        cell["field"]: cell.get("value")
        for cell in (row if isinstance(row, list) else [])
        if isinstance(cell, dict) and isinstance(cell.get("field"), str)
    }
    return cells.get("@message"), _except(cells, "@message", "@ptr")


def _insights_export(document: _Document) -> Iterable[Content] | None:
    """One row of CloudWatch Logs Insights as its console exports it to JSON."""
    message = document.get("@message")
    if not isinstance(message, str | dict):
        return None
    return [(message, _except(document, "@message", "@ptr"))]


def _kinesis(document: _Document) -> Iterable[Content] | None:
    """Kinesis records as Lambda functions get them, and as `aws kinesis get-records` does."""
    inner = document.get("kinesis", document)
    if not isinstance(inner, dict):
        return None
    name = "data" if inner is not document else "Data"
    if not isinstance(inner.get(name), str) or (name == "Data" and "PartitionKey" not in inner):
        return None
    known = {**_except(document, "kinesis", "Data"), **_except(inner, name)}
    return ((content, known) for content in decoded(inner[name], "Kinesis record"))


def _firehose(document: _Document) -> Iterable[Content] | None:
    """Amazon Data Firehose: records for Lambda transformation and HTTP endpoints."""
    if not isinstance(document.get("data"), str) or not document.keys() <= _FIREHOSE_KEYS:
        return None
    known = _except(document, "data")
    return ((content, known) for content in decoded(document["data"], "Firehose record"))


_FIREHOSE_KEYS = {"data", "recordId", "approximateArrivalTimestamp", "kinesisRecordMetadata"}


def _awslogs(document: _Document) -> Iterable[Content] | None:
    """CloudWatch Logs subscriptions as Lambda functions get them."""
    inner = document.get("awslogs")
    if not isinstance(inner, dict) or not isinstance(inner.get("data"), str):
        return None
    return ((content, {}) for content in decoded(inner["data"], "CloudWatch Logs message"))


def _eventbridge(document: _Document) -> Iterable[Content] | None:
    """Amazon EventBridge User Guide, "Event structure"."""
    detail = document.get("detail")
    if not isinstance(detail, dict) or "detail-type" not in document:
        return None
    return [(detail, _except(document, "detail"))]


def _lookup_events(document: _Document) -> Iterable[Content] | None:
    """`aws cloudtrail lookup-events`: each record is a string beside its extract."""
    events = _objects(document.get("Events"))
    if events == [] and document.keys() <= {"Events", "NextToken"}:
        return ()
    if not events or "CloudTrailEvent" not in events[0]:
        return None
    return ((event, {}) for event in events)


def _looked_up_event(document: _Document) -> Iterable[Content] | None:
    record = document.get("CloudTrailEvent")
    return [(record, {})] if isinstance(record, str) else None


def _sns(document: _Document) -> Iterable[Content] | None:
    """Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format"; Lambda's `Sns`."""
    notification = document.get("Sns", document)
    if not isinstance(notification, dict) or notification.get("Type") != "Notification":
        return None
    message = notification.get("Message")
    return [(message, _except(notification, "Message"))] if isinstance(message, str) else None


def _sqs(document: _Document) -> Iterable[Content] | None:
    """Amazon SQS messages: `aws sqs receive-message`, and `body` where Lambda receives them."""
    for identity, body in (("MessageId", "Body"), ("messageId", "body")):
        if identity in document and isinstance(document.get(body), str):
            return [(document[body], _except(document, body))]
    return None


def _sqs_messages(document: _Document) -> Iterable[Content] | None:
    messages = _objects(document.get("Messages"))
    return ((message, {}) for message in messages) if messages else None


# --- Azure --------------------------------------------------------------------------------


def _azure_records(document: _Document) -> Iterable[Content] | None:
    """Azure Monitor, "diagnostic settings": event hubs carry batches of resource logs."""
    records = _objects(document.get("records"))
    return None if records is None else ((record, {}) for record in records)


def _log_analytics(document: _Document) -> Iterable[Content] | None:
    """Azure Monitor Logs, query API: tables of columns and rows."""
    tables = _objects(document.get("tables"))
    if not tables or not isinstance(tables[0].get("rows"), list):
        return None
    return itertools.chain.from_iterable(map(_rows, tables))


def _rows(table: object) -> Iterator[Content]:
    if not isinstance(table, dict) or not isinstance(table.get("rows"), list):
        yield table, {}
        return
    columns = table.get("columns")
    listed = columns if isinstance(columns, list) else []
    names = [column.get("name") if isinstance(column, dict) else None for column in listed]
    for row in table["rows"]:
        cells = row if isinstance(row, list) else []
        yield (
            {name: cell for name, cell in zip(names, cells, strict=False) if isinstance(name, str)},
            {},
        )


def _aks(document: _Document) -> Iterable[Content] | None:
    """AKS control plane logs: `properties.log`; in the AzureDiagnostics table `log_s`."""
    properties = document.get("properties")
    if isinstance(properties, dict) and isinstance(properties.get("log"), str | dict):
        known = {**_except(document, "properties"), **_except(properties, "log")}
        if "category" in document or "stream" in properties:
            return [(properties["log"], known)]
    if isinstance(document.get("log_s"), str) and (
        "Category" in document or "stream_s" in document
    ):
        return [(document["log_s"], _except(document, "log_s"))]
    return None


# --- Google -------------------------------------------------------------------------------


def _pubsub(document: _Document) -> Iterable[Content] | None:
    """Pub/Sub push deliveries and pulled messages: `message.data` in base64."""
    message = document.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("data"), str):
        return None
    known = _except(message, "data")
    return ((content, known) for content in decoded(message["data"], "Pub/Sub message"))


def _cloud_logging_list(document: _Document) -> Iterable[Content] | None:
    """Cloud Logging API, `entries.list`."""
    entries = _objects(document.get("entries"))
    if not entries or "logName" not in entries[0]:
        return None
    return ((entry, {}) for entry in entries)


def _cloud_logging(document: _Document) -> Iterable[Content] | None:
    """A `LogEntry` that only carries what a program wrote; an audit log's is a record itself."""
    if "logName" not in document:
        return None
    for name in ("jsonPayload", "textPayload"):
        if isinstance(document.get(name), str | dict):
            return [(document[name], _except(document, name))]
    return None


# --- shippers -----------------------------------------------------------------------------


def _shipped(document: _Document) -> Iterable[Content] | None:
    """Fluentd, Fluent Bit, Beats, Docker json-file: the line under a name among metadata."""
    found = [name for name in _LINE_NAMES if isinstance(document.get(name), str | dict)]
    if not found:
        return None
    # Beats describe the file they read in an object `log` beside the text `message`.
    name = min(found, key=lambda name: _unlikely_line(document[name]))
    if "__REALTIME_TIMESTAMP" in document and _unlikely_line(document[name]):
        return None  # a journal entry is a record of its own
    return [(document[name], _except(document, name))]


_LINE_NAMES = ("log", "message", "MESSAGE")


def _unlikely_line(value: object) -> int:
    if not isinstance(value, str):
        return 2
    return 0 if value.lstrip()[:1] == "{" else 1


_Peel = Callable[[_Document], Iterable[Content] | None]

_WRAPPINGS: tuple[tuple[str, bool, _Peel, tuple[str, ...]], ...] = (
    # name, whether it holds several records, how it comes off, keys of which it has one
    ("eventlist", True, _event_list, ("kind",)),
    ("records", True, _records, ("Records",)),
    ("cloudwatch", True, _cloudwatch_subscription, ("messageType",)),
    ("azure", True, _azure_records, ("records",)),
    ("log-analytics", True, _log_analytics, ("tables",)),
    ("aks", False, _aks, ("properties", "log_s")),
    ("kinesis", False, _kinesis, ("kinesis", "Data")),
    ("awslogs", False, _awslogs, ("awslogs",)),
    ("firehose", False, _firehose, ("data",)),
    ("eventbridge", False, _eventbridge, ("detail",)),
    ("cloudwatch-query", True, _cloudwatch_query, ("events",)),
    ("cloudwatch-insights", True, _cloudwatch_insights, ("results",)),
    ("cloudwatch-insights", False, _insights_export, ("@message",)),
    ("lookup-events", True, _lookup_events, ("Events",)),
    ("lookup-events", False, _looked_up_event, ("CloudTrailEvent",)),
    ("digest", False, _cloudtrail_digest, ("digestStartTime",)),
    ("sns", False, _sns, ("Message", "Sns")),
    ("sqs", False, _sqs, ("Body", "body")),
    ("sqs", True, _sqs_messages, ("Messages",)),
    ("pubsub", False, _pubsub, ("message",)),
    ("cloud-logging", True, _cloud_logging_list, ("entries",)),
    ("cloud-logging", False, _cloud_logging, ("logName",)),
    ("log", False, _shipped, _LINE_NAMES),
)

_BY_KEY = {
    key: tuple(index for index, wrapping in enumerate(_WRAPPINGS) if key in wrapping[3])
    for key in itertools.chain(*(wrapping[3] for wrapping in _WRAPPINGS))
}
