"""Asks the functions of a program about an event, as Panther does.

Panther's rules of what a function may return (panther-core 0.16.3, `panther_core/rule.py`; and
https://docs.panther.com/detections/rules/python): `rule` a bool and nothing else; texts a `str`,
cut to 1,000 characters; `severity` one of five, or DEFAULT, in any case; `destinations` a list of
texts or None, an empty one means that nobody is told, and at most 10 count; `alert_context` a
mapping that is JSON of at most 200 KiB. Where the event does not match, no other function runs.
A function that fails never stops the others, and never hides an alert.
"""

import json
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from trailhound.pipeline.python_rules.cell.event import PantherEvent, json_encoder
from trailhound.pipeline.python_rules.cell.program import Program

TEXT_CHARACTERS = 1000
DESTINATIONS = 10
CONTEXT_CHARACTERS = 200 * 1024
REASON_CHARACTERS = 500
_CUT = "... (truncated)"
_SEVERITIES = ("INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "DEFAULT")


class OverTime(BaseException):
    """Raised inside a function that has used its processor time up."""


class WrongType(Exception):
    """A function returned what Panther does not take."""


def expire(_signal: int, _frame: object) -> None:
    """Handle the signal of the timer."""
    raise OverTime


def answer(program: Program, document: Any, cpu_s: float) -> dict[str, Any]:
    """Return the fields of `PythonAnswer` for a document, as JSON knows them."""
    began = time.thread_time_ns()
    said: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    event = _event(program, document)
    if _asked(program, "rule", event, cpu_s, errors) is True:
        said["matched"] = True
        for name in _AFTER_RULE:
            if hasattr(program.module, name):
                value = _asked(program, name, event, cpu_s, errors)
                if value is not None:
                    said[name] = value
    if errors:
        said["errors"] = errors
    said["cost_ns"] = time.thread_time_ns() - began
    return said


def trial(
    program: Program, document: Any, mocks: list[tuple[str, Any]], cpu_s: float
) -> dict[str, Any]:
    """Ask every function, whatever `rule` says, as for a test.

    Returns:
        What each function returned, and the errors of those that failed.
    """
    errors: list[dict[str, Any]] = []
    said: dict[str, Any] = {}
    event = _event(program, document)
    absent = [name for name, _ in mocks if not hasattr(program.module, name)]
    if absent:
        reason = f"AttributeError: a mock is of {absent[0]!r}, which the rule does not have"
        return {"outputs": said, "errors": [failure("", reason[:REASON_CHARACTERS])]}
    real = {name: getattr(program.module, name) for name, _ in mocks}
    if mocks:
        from unittest.mock import MagicMock  # noqa: PLC0415 - slow, and only tests need it

        for name, value in mocks:
            setattr(program.module, name, MagicMock(return_value=value))
    try:
        for name in ("rule", *_AFTER_RULE):
            if hasattr(program.module, name):
                value = _asked(program, name, event, cpu_s, errors)
                if value is not None:
                    said[name] = value
    finally:
        for name, value in real.items():
            setattr(program.module, name, value)
    return {"outputs": said, "errors": errors}


def _event(program: Program, document: Any) -> PantherEvent:
    log_type = document.get("p_log_type") if isinstance(document, dict) else None
    model = program.models.get(log_type) if isinstance(log_type, str) else None
    return PantherEvent(document, model)


def _asked(
    program: Program, name: str, event: Any, cpu_s: float, errors: list[dict[str, Any]]
) -> Any:
    """Return what a function of the program returns, or None and its failure among the errors."""
    try:
        try:
            with_timers(cpu_s)
            returned = getattr(program.module, name)(event)
            return _TAKEN[name](name, returned)
        finally:
            with_timers(0)
    except BaseException as error:
        errors.append(failure(name, *described(error, program.path, cpu_s)))
        return None


def with_timers(cpu_s: float) -> None:
    """Start the two timers, or stop them with 0.

    The first raises `OverTime`, once. The second ends the process: where that was caught, or in C
    that does not listen.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * cpu_s)


def described(error: BaseException, path: str, cpu_s: float) -> tuple[str, int]:
    """Return the reason, on one line, and the line of the program's file that it came from."""
    line = 0
    elsewhere = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if name == path:
            line, elsewhere = number, ""
        elif name.endswith(".py") and "/" not in name:
            # A helper; modules of the standard library have paths.
            elsewhere = f" ({name}:{number} in {frame.f_code.co_name})"
    if isinstance(error, OverTime):
        return _over(cpu_s) + elsewhere, line
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno or 0
    try:
        text = str(error)
    except BaseException:
        text = "(its text cannot be had)"
    if isinstance(error, WrongType):
        return _one_line(text), line
    kind = type(error).__name__
    return _one_line(f"{kind}: {text}" if text else kind) + elsewhere[:200], line


def failure(function: str, reason: str, line: int = 0) -> dict[str, Any]:
    """Return the fields of `PythonError`."""
    return {"function": function, "reason": reason, "line": line}


def _over(cpu_s: float) -> str:
    return f"over {cpu_s:g} s of processor time"


def _one_line(text: str) -> str:
    return " ".join(text[:REASON_CHARACTERS].split())


def _verdict(name: str, returned: Any) -> bool:
    if not isinstance(returned, bool):
        raise WrongType(f"{name}() returned {type(returned).__name__}, not bool")
    return returned


def _text(name: str, returned: Any) -> str:
    if not isinstance(returned, str):
        raise WrongType(f"{name}() returned {type(returned).__name__}, not str")
    text = str(returned)
    if len(text) > TEXT_CHARACTERS:
        text = text[: TEXT_CHARACTERS - len(_CUT)] + _CUT
    return text


def _severity(name: str, returned: Any) -> str:
    text = _text(name, returned).upper()
    if text not in _SEVERITIES:
        raise WrongType(f"severity() returned {text[:100]!r}, not one of {', '.join(_SEVERITIES)}")
    return text


def _destinations(name: str, returned: Any) -> list[str] | None:
    if returned is None:
        return None
    # Panther lets truth values through here, and then knows no such destination.
    if not isinstance(returned, list) or not set(map(type, returned)) <= {str, bool}:
        raise WrongType(f"{name}() returned {type(returned).__name__}, not a list of texts")
    if not returned:
        return ["SKIP"]
    places = list(dict.fromkeys(returned))[:DESTINATIONS]
    return [_text(name, str(place)) for place in places]


def _context(name: str, returned: Any) -> Any:
    if not isinstance(returned, Mapping):
        raise WrongType(f"{name}() returned {type(returned).__name__}, not a mapping")
    text = json.dumps(returned, default=json_encoder, allow_nan=False)
    if len(text) > CONTEXT_CHARACTERS:
        raise WrongType(
            f"alert_context() returned {len(text)} characters of JSON, "
            f"more than {CONTEXT_CHARACTERS}"
        )
    return json.loads(text)


_TAKEN: dict[str, Callable[[str, Any], Any]] = {
    "rule": _verdict,
    "title": _text,
    "dedup": _text,
    "unique": _text,
    "severity": _severity,
    "description": _text,
    "reference": _text,
    "runbook": _text,
    "destinations": _destinations,
    "alert_context": _context,
}
# Panther's order.
_AFTER_RULE = (
    "title",
    "description",
    "reference",
    "severity",
    "runbook",
    "destinations",
    "dedup",
    "alert_context",
    "unique",
)
