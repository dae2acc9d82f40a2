"""Azure Activity Log, and Entra ID's audit, sign-in, risk and privileged identity logs.

As diagnostic settings send them to Event Hubs and storage (`records`, or one a line), as Azure
Monitor Logs keeps them in tables, and as the Azure Monitor REST API, `az monitor activity-log list`
and Microsoft Graph answer. Each log has a view: the record as written, with JSON text in columns
read, and in audit entries the new value of every changed property under its name.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from trailhound.model.events import Event
from trailhound.model.logsource import LogSource, Route
from trailhound.model.records import ParseFailure, Payload
from trailhound.sources.azure_activity.catalogue import FIELDS
from trailhound.sources.azure_activity.envelope import describe, time_ns
from trailhound.sources.azure_activity.kinds import (
    ACTIVITY,
    AUDIT,
    PIM,
    RISK,
    SIGN_IN,
    SIGN_IN_CATEGORIES,
    kind_of,
)
from trailhound.sources.azure_activity.views import view_of
from trailhound.sources.contract import Gate, Source
from trailhound.sources.members import unreadable_time


def _accepts(values: Sequence[Any]) -> bool:
    # Sign-ins are what there is most of; their view is the record itself.
    category, operation = values
    return category in SIGN_IN_CATEGORIES and operation == "Sign-in activity"


def _recognises(payload: Payload) -> bool:
    document = payload.document
    return document is not None and kind_of(document) is not None


class _Reader:
    """Every record is one event; nothing is held back."""

    def read(self, payload: Payload) -> Iterable[Event | ParseFailure]:
        document = payload.document
        if document is None or (kind := kind_of(document)) is None:
            return
        views = {kind: (view_of(kind, document),)}
        described = partial(describe, kind)
        yield Event("azure_activity", document, (payload.origin,), views, described)
        yield from unreadable_time(payload.origin, time_ns(document), "the record")

    def flush(self) -> Iterable[Event | ParseFailure]:
        return ()


SOURCE = Source(
    name="azure_activity",
    title="Azure Activity Log and Entra ID",
    recognises=_recognises,
    reader=_Reader,
    routes=(
        Route(LogSource(product="azure", service="activitylogs"), ACTIVITY),
        Route(LogSource(product="azure", service="auditlogs"), AUDIT),
        Route(LogSource(product="azure", service="signinlogs"), SIGN_IN),
        Route(LogSource(product="azure", service="riskdetection"), RISK),
        Route(LogSource(product="azure", service="pim"), PIM),
    ),
    fields=FIELDS,
    gate=Gate(
        signature=(("category",), ("operationName",)),
        accepts=_accepts,
        discriminators=(("category",), ("resultType",)),
        view=SIGN_IN,
    ),
)
