"""What clouds and shippers wrap around a record, and how it comes off.

One call takes one wrapping off; whoever calls looks at what came out before it asks again,
because a record that some source knows is no wrapping, whatever its fields are called.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from trailhound.model.records import Origin, ParseFailure, Payload
from trailhound.sources import amazon_wrappings as amazon
from trailhound.sources import azure_wrappings as azure
from trailhound.sources import github_wrappings as github
from trailhound.sources import google_wrappings as google
from trailhound.sources import okta_wrappings as okta
from trailhound.sources.contents import Aside, Content, Document, all_but

WRAPPINGS_TAKEN_OFF = 8
"""Wrappings inside one another that are taken off before a record counts as unknown."""


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


# --- Kubernetes ---------------------------------------------------------------------------


def _event_list(document: Document) -> Iterable[Content] | None:
    """`EventList` of audit.k8s.io: what the webhook backend of the API server sends.

    Of one that was cut up at its elements, and has its keys in order, `kind` comes too late.
    """
    version = document.get("apiVersion")
    if document.get("kind", "EventList") != "EventList" or not isinstance(version, str):
        return None
    if not version.startswith("audit.k8s.io/") or not document.keys() & {"kind", "items"}:
        return None
    items = document.get("items")
    return ((item, {}) for item in items) if isinstance(items, list) else ()


# --- shippers -----------------------------------------------------------------------------


def _shipped(document: Document) -> Iterable[Content] | None:
    """Fluentd, Fluent Bit, Beats, Docker json-file: the line under a name among metadata."""
    found = [name for name in _LINE_NAMES if isinstance(document.get(name), str | dict)]
    if not found:
        return None
    # Beats describe the file they read in an object `log` beside the text `message`.
    name = min(found, key=lambda name: _unlikely_line(document[name]))
    if "__REALTIME_TIMESTAMP" in document and _unlikely_line(document[name]):
        return None  # a journal entry is a record of its own
    return [(document[name], all_but(document, name))]


_LINE_NAMES = ("log", "message", "MESSAGE")


def _unlikely_line(value: object) -> int:
    if not isinstance(value, str):
        return 2
    return 0 if value.lstrip()[:1] == "{" else 1


_Peel = Callable[[Document], Iterable[Content] | None]

_WRAPPINGS: tuple[tuple[str, bool, _Peel, tuple[str, ...]], ...] = (
    # name, whether it holds several records, how it comes off, keys of which it has one
    ("eventlist", True, _event_list, ("kind", "apiVersion")),
    ("records", True, amazon.records, ("Records",)),
    ("cloudwatch", True, amazon.cloudwatch_subscription, ("messageType", "logEvents")),
    ("azure", True, azure.azure_records, ("records",)),
    ("log-analytics", True, azure.log_analytics, ("tables",)),
    ("azure-answer", True, azure.answer, ("value",)),
    ("aks", False, azure.aks, ("properties", "log_s")),
    ("kinesis", False, amazon.kinesis, ("kinesis", "Data")),
    ("awslogs", False, amazon.awslogs, ("awslogs",)),
    ("okta-hook", True, okta.event_hook, ("data",)),
    ("firehose", False, amazon.firehose, ("data",)),
    ("eventbridge", False, amazon.eventbridge, ("detail",)),
    ("cloudwatch-query", True, amazon.cloudwatch_query, ("events",)),
    ("cloudwatch-insights", True, amazon.cloudwatch_insights, ("results",)),
    ("cloudwatch-insights", False, amazon.insights_export, ("@message",)),
    ("lookup-events", True, amazon.lookup_events, ("Events",)),
    ("lookup-events", False, amazon.looked_up_event, ("CloudTrailEvent",)),
    ("digest", False, amazon.cloudtrail_digest, ("digestStartTime",)),
    ("sns", False, amazon.sns, ("Message", "Sns")),
    ("sqs", False, amazon.sqs, ("Body", "body")),
    ("sqs", True, amazon.sqs_messages, ("Messages",)),
    ("github-webhook", False, github.webhook, ("request",)),
    ("github-webhook", False, github.proxied_webhook, ("headers",)),
    ("pubsub", False, google.pubsub, ("message",)),
    ("cloud-logging", True, google.cloud_logging_list, ("entries",)),
    ("cloud-logging", False, google.cloud_logging, ("logName",)),
    ("activities", True, google.activities, ("items",)),
    ("cloudevent", False, google.cloud_event, ("specversion",)),
    ("log", False, _shipped, _LINE_NAMES),
)

_BY_KEY = {
    key: tuple(index for index, wrapping in enumerate(_WRAPPINGS) if key in wrapping[3])
    for key in itertools.chain(*(wrapping[3] for wrapping in _WRAPPINGS))
}
