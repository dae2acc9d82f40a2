"""Outlets: one file each, findings to text."""

from trailhound.sinks import csv_rows, json_document, markdown, ndjson, ocsf, table
from trailhound.sinks.contract import Sink

SINKS: dict[str, Sink] = {
    module.SINK.name: module.SINK
    for module in (table, json_document, ndjson, ocsf, csv_rows, markdown)
}
"""Name of the format → sink; the first is the default."""
