"""What an outlet is: the contract between findings and whoever reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from trailhound.model.findings import Finding
from trailhound.model.totals import Totals


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What a caller may say about the form of the output. Sinks ignore what is not theirs."""

    width: int | None = None
    """Columns of the table; None: those of the terminal, 80 where there is none."""
    colour: bool | None = None
    """None: only on a terminal, and never where NO_COLOR is set (https://no-color.org)."""
    created_ns: int | None = None
    """When this scan makes its findings, UTC nanoseconds, for formats that tell it. None
    leaves it out, so that the output depends on the input alone."""


class Writer(Protocol):
    """Writes the findings of one scan to one stream. It never closes the stream."""

    def write(self, finding: Finding) -> None:
        """Take one finding. Formats that stream write it now and keep nothing."""
        ...

    def close(self, totals: Totals) -> None:
        """Write what is left; no further finding follows. Called once, also after none."""
        ...


@dataclass(frozen=True, slots=True)
class Sink:
    """One output format."""

    name: str
    """What `--format` calls it."""
    description: str
    """One line for people."""
    media_type: str
    """RFC 6838 media type of the whole output."""
    writer: Callable[[TextIO, SinkOptions], Writer]
    """Starts an output on a stream opened as UTF-8 and with `newline=""`."""
