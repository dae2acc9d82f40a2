"""`--format json`: one document with all findings and the totals."""

from typing import TextIO

from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.encode import json_text
from trailhound.sinks.native import finding_json, totals_document


class _JsonWriter:
    """Writes the document piece by piece: the findings are never held together."""

    def __init__(self, stream: TextIO, _options: SinkOptions) -> None:
        self._stream = stream
        self._begun = False

    def write(self, finding: Finding) -> None:
        """Write one element of `findings`."""
        self._stream.write(",\n" if self._begun else '{"findings":[\n')
        self._stream.write(finding_json(finding))
        self._begun = True

    def close(self, totals: Totals) -> None:
        """Write `totals` and end the document."""
        self._stream.write("\n],\n" if self._begun else '{"findings":[],\n')
        self._stream.write(f'"totals":{json_text(totals_document(totals))}}}\n')


SINK = Sink(
    name="json",
    description="One JSON document: all findings in full, then the totals",
    media_type="application/json",
    writer=_JsonWriter,
)
