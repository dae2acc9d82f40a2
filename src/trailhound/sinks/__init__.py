"""Outlets: one file each, findings to text."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from trailhound.sinks.contract import Sink

_MODULES = {
    "table": "table",
    "json": "json_document",
    "ndjson": "ndjson",
    "ocsf": "ocsf",
    "csv": "csv_rows",
    "markdown": "markdown",
}


class _Sinks(Mapping[str, Sink]):
    """Imports an outlet when it is asked for: a run uses one, and some are slow to load."""

    def __getitem__(self, name: str) -> Sink:
        sink: Sink = import_module(f"{__name__}.{_MODULES[name]}").SINK
        return sink

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


SINKS: Mapping[str, Sink] = _Sinks()
"""Name of the format → sink; the first is the default."""
