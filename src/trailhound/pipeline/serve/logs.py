"""What `serve` logs: lines for a person, or JSON for a machine, on standard error.

Whatever senders wrote may stand in a message: it is shown as visible text, on one line.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from trailhound.sinks.escape import visible

LogFormat = Literal["text", "json"]


def set_up(form: LogFormat, process: str) -> None:
    """Log in a form, from now on.

    Args:
        form: `text`, or `json`: an object a line with `time`, `level`, `process`, `logger`,
            `message`, and `exception` where there is one.
        process: which of the two processes this is.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(process) if form == "json" else _Text(process))
    logging.basicConfig(handlers=[handler], level="INFO", force=True)
    logging.getLogger("aiohttp.server").addFilter(_in_a_line)


def _in_a_line(record: logging.LogRecord) -> bool:
    """Say in a line that a request was no HTTP: aiohttp takes it for an error of ours."""
    kind = record.exc_info[0] if record.exc_info else None
    if kind is not None and kind.__module__ == "aiohttp.http_exceptions":
        record.msg, record.args = f"{record.getMessage()}: it is no HTTP", ()
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
    return True


class _Text(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the trace of a bug below it."""
        line = f"{_time(record)} {record.levelname} {self._process}: "
        line += visible(record.getMessage())
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "\n" + "\n".join(visible(part) for part in trace)
        return line


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object, all of it ASCII."""
        said = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said)


def _time(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
