"""Falco's sources: which log each one is here, and which fields its rules may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from trailhound.dialects.falco import cloudtrail, gcp, github, kubernetes, okta
from trailhound.dialects.falco.fields import (
    FalcoField,
    Readings,
    below,
    constant,
    either,
)
from trailhound.model.logsource import LogSource
from trailhound.rules.ir import Field, Path, Reading, Step

SYSCALL = "syscall"
"""The source of rules that name none. Its events are system calls, of which there are none here."""


@dataclass(frozen=True, slots=True)
class FalcoSource:
    """One event source of Falco."""

    name: str
    logsource: LogSource
    plugin: str
    fields: tuple[FalcoField, ...]
    times: tuple[Path, ...]
    """Where its events have their time, ISO 8601."""


SOURCES: tuple[FalcoSource, ...] = (
    FalcoSource(
        "k8s_audit",
        LogSource(product="kubernetes", service="audit"),
        "k8saudit",
        kubernetes.FIELDS,
        (("stageTimestamp",),),
    ),
    FalcoSource(
        "aws_cloudtrail",
        LogSource(product="aws", service="cloudtrail"),
        "cloudtrail",
        cloudtrail.FIELDS,
        (("eventTime",),),
    ),
    FalcoSource(
        "okta",
        LogSource(product="okta", service="okta"),
        "okta",
        okta.FIELDS,
        (("published",),),
    ),
    FalcoSource(
        "github",
        LogSource(product="github", service="webhook"),
        "github",
        github.FIELDS,
        (("repository", "updated_at"),),
    ),
    FalcoSource(
        "gcp_auditlog",
        LogSource(product="gcp", service="gcp.audit"),
        "gcpaudit",
        gcp.FIELDS,
        (("timestamp",),),
    ),
)
_BY_NAME = {source.name: source for source in SOURCES}


def source_named(name: str) -> FalcoSource | None:
    """Return a source by the name that rules give it; None where no log here is that."""
    return _BY_NAME.get(name)


@cache
def fields_of_source(name: str) -> Mapping[str, FalcoField]:
    """Return the fields of a source by name, those that all sources share included."""
    source = _BY_NAME[name]
    return {field.name: field for field in (*source.fields, *shared_fields(source))}


def shared_fields(source: FalcoSource) -> tuple[FalcoField, ...]:
    """Return the fields of `evt.*`, `json.*` and `jevt.*`, for one source."""
    whole = below(via=(Step("json"),))

    def when(form: str) -> Callable[[str], Readings]:
        return either(*source.times, via=(Step("time", (form,)),))

    return (
        FalcoField(
            "evt.num",
            "Number of the event, from 1 on. Only what holds for every event can be asked.",
            constant("1"),
            number=True,
        ),
        FalcoField("evt.type", "Always `pluginevent`.", constant("pluginevent")),
        FalcoField("evt.source", "Name of the source.", constant(source.name)),
        FalcoField("evt.pluginname", "Name of the plugin.", constant(source.plugin)),
        FalcoField("evt.plugininfo", "The event in short; here its JSON.", whole),
        FalcoField("evt.is_async", "Always `false`.", constant("false")),
        FalcoField("evt.time", "Time of day, UTC.", when("clock")),
        FalcoField("evt.time.s", "The same.", when("clock")),
        FalcoField("evt.time.iso8601", "Time in ISO 8601, UTC.", when("iso8601")),
        FalcoField("evt.datetime", "Date and time, UTC.", when("datetime")),
        FalcoField("evt.rawtime", "Nanoseconds since 1970.", when("ns"), number=True),
        FalcoField("evt.rawtime.s", "Seconds since 1970.", when("s"), number=True),
        FalcoField(
            "json.value",
            "Value at a JSON pointer (RFC 6901): `json.value[/user/name]`.",
            pointer,
            argument="key",
            required=True,
        ),
        FalcoField("json.obj", "The event as JSON.", whole),
        FalcoField("json.rawtime", "Nanoseconds since 1970.", when("ns"), always=True),
        FalcoField(
            "jevt.value",
            "The same as `json.value`.",
            pointer,
            argument="key",
            required=True,
        ),
        FalcoField("jevt.obj", "The event as JSON.", whole),
        FalcoField("jevt.time", "Time of day, UTC.", when("clock")),
        FalcoField("jevt.rawtime", "Nanoseconds since 1970.", when("ns"), always=True),
        FalcoField("jevt.time.iso8601", "Time in ISO 8601, UTC.", when("iso8601")),
    )


def pointer(argument: str) -> Readings:
    """Read what a JSON pointer names; the first slash may be missing, as in the plugin."""
    steps = tuple(
        step.replace("~1", "/").replace("~0", "~") for step in argument.removeprefix("/").split("/")
    )
    return (Reading(Field("/".join(steps), (steps,))),)
