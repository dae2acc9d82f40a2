"""Splunk's HTTP Event Collector, as its senders speak it.

https://docs.splunk.com/Documentation/Splunk/latest/Data/HECRESTendpoints: events one after
another in a body, raw lines, health, and indexer acknowledgment by channel. An event counts as
acknowledged when it is on disk, which is before the answer; so every `ackId` is true at once.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from aiohttp import web

from trailhound.intake.arrivals import Accept, Arrival, Full
from trailhound.intake.http.body import lines_of, read_body, work_on
from trailhound.intake.http.contract import HttpRoute, arrivals_of
from trailhound.intake.http.json_lines import digest_of

_CHANNELS = 10_000
_BESIDE = ("host", "source", "sourcetype", "index", "time")
_json = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n,]*")
_NO_DATA = (400, {"text": "No data", "code": 5})
_INVALID = {"text": "Invalid data format", "code": 6}
_EVENT_MISSING = {"text": "Event field is required", "code": 12}
_EVENT_BLANK = {"text": "Event field cannot be blank", "code": 13}
_CHANNEL_MISSING = (400, {"text": "Data channel is missing", "code": 10})
_BUSY = (503, {"text": "Server is busy", "code": 9})


class _Refused(Exception):
    def __init__(self, answer: Mapping[str, Any], number: int) -> None:
        super().__init__(answer["text"])
        self.answer = {**answer, "invalid-event-number": number}


class _Channels:
    """The number of the next `ackId` of each channel; those used least go first."""

    def __init__(self) -> None:
        self._next: OrderedDict[str, int] = OrderedDict()

    def next(self, channel: str) -> int:
        number = self._next.pop(channel, 0)
        self._next[channel] = number + 1
        if len(self._next) > _CHANNELS:
            self._next.popitem(last=False)
        return number

    def known(self, channel: str, number: int) -> bool:
        return 0 <= number < self._next.get(channel, 0)


_channels = _Channels()


def events_of(body: bytes) -> list[tuple[bytes, dict[str, str]]]:
    """Return the events of a body, each with what came beside it.

    Raises:
        _Refused: One cannot be read; then none of the body is taken.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _Refused(_INVALID, 0) from None
    found: list[tuple[bytes, dict[str, str]]] = []
    at = _blank(text, 0)
    while at < len(text):
        number = len(found)
        if text[at] in "[]":  # some senders make an array of it
            at = _blank(text, at + 1)
            continue
        try:
            wrapped, end = _json.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise _Refused(_INVALID, number) from None
        if not isinstance(wrapped, dict):
            raise _Refused(_INVALID, number)
        if wrapped.get("event") is None:
            raise _Refused(_EVENT_MISSING, number)
        event = wrapped["event"]
        if event in ("", {}, []):
            raise _Refused(_EVENT_BLANK, number)
        found.append((_event(text[at:end].encode(), event), _beside(wrapped)))
        at = _blank(text, end)
    return found


class _Wrapped(msgspec.Struct):
    event: msgspec.Raw


_wrapped = msgspec.json.Decoder(_Wrapped)


def _event(data: bytes, event: Any) -> bytes:
    if isinstance(event, str):
        return event.encode(errors="surrogatepass")
    try:
        return bytes(_wrapped.decode(data).event)  # as it was written
    except (msgspec.MsgspecError, RecursionError):
        return json.dumps(event).encode()


def _beside(wrapped: Mapping[str, Any]) -> dict[str, str]:
    beside = {key: str(wrapped[key]) for key in _BESIDE if wrapped.get(key) is not None}
    if "host" in beside:
        beside["hostname"] = beside.pop("host")
    fields = wrapped.get("fields")
    if isinstance(fields, dict):
        beside |= {f"fields.{key}": str(value) for key, value in fields.items()}
    return beside


def _blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _channel(request: web.Request) -> str:
    named = request.headers.get("X-Splunk-Request-Channel", "") or request.query.get("channel", "")
    return named[:64]


async def _taken(request: web.Request, accept: Accept, arrivals: list[Arrival]) -> web.Response:
    if not arrivals:
        return _answer(_NO_DATA)
    try:
        await accept(arrivals)
    except Full:
        return _answer(_BUSY)  # the word that these senders know; they come again
    answer: dict[str, Any] = {"text": "Success", "code": 0}
    if channel := _channel(request):
        answer["ackId"] = _channels.next(channel)
    return _answer((200, answer))


async def _events(request: web.Request, accept: Accept) -> web.Response:
    body = await read_body(request)
    try:
        events = await work_on(body, events_of)
    except _Refused as refused:
        return _answer((400, refused.answer))
    position = digest_of(body)
    arrivals = [
        arrival
        for index, (data, beside) in enumerate(events)
        for arrival in arrivals_of(request, "splunk", [data], f"{position}/{index}", beside)
    ]
    return await _taken(request, accept, arrivals)


async def _raw(request: web.Request, accept: Accept) -> web.Response:
    body = await read_body(request)
    lines = [line for raw in lines_of(body) if (line := raw.rstrip(b"\r"))]
    beside = _beside({key: request.query.get(key) for key in _BESIDE})
    arrivals = arrivals_of(request, "splunk", lines, digest_of(body), beside)
    return await _taken(request, accept, arrivals)


async def _acks(request: web.Request, _accept: Accept) -> web.Response:
    channel = _channel(request)
    if not channel:
        return _answer(_CHANNEL_MISSING)
    try:
        asked = orjson.loads(await read_body(request))["acks"]
        numbers = [int(number) for number in asked]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return _answer((400, _INVALID))
    return _answer((200, {"acks": {str(n): _channels.known(channel, n) for n in numbers}}))


async def _health(_request: web.Request, _accept: Accept) -> web.Response:
    return _answer((200, {"text": "HEC is healthy", "code": 17}))


def _answer(answer: tuple[int, Mapping[str, Any]]) -> web.Response:
    status, content = answer
    return web.json_response(content, status=status)


_EVENTS = "Events for Splunk's HTTP Event Collector"
_RAW = "Lines for Splunk's HTTP Event Collector"
ROUTES = (
    HttpRoute("POST", "/services/collector", _events, _EVENTS),
    HttpRoute("POST", "/services/collector/event", _events, _EVENTS),
    HttpRoute("POST", "/services/collector/event/1.0", _events, _EVENTS),
    HttpRoute("POST", "/services/collector/raw", _raw, _RAW),
    HttpRoute("POST", "/services/collector/raw/1.0", _raw, _RAW),
    HttpRoute("POST", "/services/collector/ack", _acks, "Whether events are on disk"),
    HttpRoute("GET", "/services/collector/health", _health, "Health, as HEC says it", role=None),
    HttpRoute(
        "GET", "/services/collector/health/1.0", _health, "Health, as HEC says it", role=None
    ),
)
