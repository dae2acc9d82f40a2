"""`--format ndjson`: one finding a line, and nothing else."""

from typing import TextIO

from trailhound.model.findings import Finding
from trailhound.model.totals import Totals
from trailhound.sinks.contract import Sink, SinkOptions
from trailhound.sinks.native import finding_json


class _NdjsonWriter:
    def __init__(self, stream: TextIO, _options: SinkOptions) -> None:
        self._stream = stream

    def write(self, finding: Finding) -> None:
        """Write one line."""
        self._stream.write(finding_json(finding) + "\n")

    def close(self, totals: Totals) -> None:
        """Write nothing: a line that is no finding would have to be told apart."""


SINK = Sink(
    name="ndjson",
    description="One finding in full a line, for jq, a shipper or a database",
    media_type="application/x-ndjson",
    writer=_NdjsonWriter,
)
