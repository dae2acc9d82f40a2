"""OpenTelemetry logs over HTTP (OTLP 1.x, `/v1/logs`), as protobuf or as JSON.

https://opentelemetry.io/docs/specs/otlp/#otlphttp. A body that is a map stays a nested document;
resource and scope attributes come beside it.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from trailhound.intake.arrivals import Accept, Arrival
from trailhound.intake.http.body import read_body, work_on
from trailhound.intake.http.contract import HttpRoute, arrivals_of
from trailhound.intake.http.json_lines import digest_of

PROTOBUF = "application/x-protobuf"
_DEPTH = 100


class _Malformed(Exception):
    """The body is no `ExportLogsServiceRequest`."""


def records_of(body: bytes, *, protobuf: bool) -> list[tuple[bytes, dict[str, str]]]:
    """Return the log records of an export request, each with what came beside it.

    Raises:
        _Malformed: It is no export request.
    """
    try:
        request = _from_protobuf(body) if protobuf else orjson.loads(body)
        return list(_records(request))
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise _Malformed(f"no ExportLogsServiceRequest: {error}") from None
    except RecursionError:
        raise _Malformed("nested too deep") from None


def _from_protobuf(body: bytes) -> Mapping[str, Any]:
    try:
        from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - an extra
        from google.protobuf.message import DecodeError  # noqa: PLC0415
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # noqa: PLC0415
            ExportLogsServiceRequest,
        )
    except ImportError:
        raise web.HTTPUnsupportedMediaType(
            text="protobuf needs `pip install trailhound[otlp]`; OTLP as JSON is read without\n"
        ) from None
    message = ExportLogsServiceRequest()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise _Malformed(f"no ExportLogsServiceRequest: {error}") from None
    parsed: Mapping[str, Any] = MessageToDict(message)
    return parsed


def _records(request: Mapping[str, Any]) -> Iterator[tuple[bytes, dict[str, str]]]:
    for resource_logs in request.get("resourceLogs", ()):
        resource = _attributes(resource_logs.get("resource", {}).get("attributes", ()))
        beside = {f"resource.{key}": _text(value) for key, value in resource.items()}
        if "host.name" in resource:
            beside["hostname"] = _text(resource["host.name"])
        for scope_logs in resource_logs.get("scopeLogs", ()):
            for record in scope_logs.get("logRecords", ()):
                yield _record(record, beside)


def _record(record: Mapping[str, Any], resource: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    attributes = _attributes(record.get("attributes", ()))
    beside = {
        **resource,
        **{f"attributes.{key}": _text(value) for key, value in attributes.items()},
    }
    time_ns = int(record.get("timeUnixNano") or record.get("observedTimeUnixNano") or 0)
    if 0 < time_ns < 2**63:
        seconds, rest = divmod(time_ns, 10**9)
        stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        beside["timestamp"] = f"{stamp}.{rest:09d}Z"
    body = _value(record.get("body", {}))
    if isinstance(body, str):
        return body.encode(errors="surrogatepass"), beside
    if body is None:
        body = attributes  # what events without a body say stands in their attributes
    return orjson.dumps(body, default=str), beside


def _attributes(listed: Sequence[Mapping[str, Any]], depth: int = 0) -> dict[str, Any]:
    return {str(item["key"]): _value(item.get("value", {}), depth) for item in listed}


def _value(value: Mapping[str, Any], depth: int = 0) -> Any:
    """Return an `AnyValue` as plain JSON (opentelemetry/proto/common/v1/common.proto)."""
    if depth > _DEPTH:
        raise RecursionError
    for key, inner in value.items():
        match key:
            case "stringValue":
                return str(inner)
            case "boolValue":
                return bool(inner)
            case "intValue":
                return int(inner)
            case "doubleValue":
                return float(inner)
            case "arrayValue":
                return [_value(item, depth + 1) for item in inner.get("values", ())]
            case "kvlistValue":
                items = inner.get("values", ())
                return {
                    str(item["key"]): _value(item.get("value", {}), depth + 1) for item in items
                }
            case "bytesValue":
                return base64.b64decode(inner).decode(errors="backslashreplace")
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


async def _logs(request: web.Request, accept: Accept) -> web.Response:
    protobuf = request.content_type == PROTOBUF
    body = await read_body(request)
    try:
        records = await work_on(body, records_of, protobuf=protobuf)
    except _Malformed as error:
        # OTLP/HTTP, "Failures": a google.rpc.Status; senders do not try a 400 again.
        if protobuf:
            message = str(error).encode()[:100]
            status = b"\x08\x03\x12" + bytes([len(message)]) + message
            return web.Response(status=400, body=status, content_type=PROTOBUF)
        return web.json_response({"code": 3, "message": str(error)}, status=400)
    position = digest_of(body)
    arrivals: list[Arrival] = []
    for index, (data, beside) in enumerate(records):
        arrivals += arrivals_of(request, "otlp", [data], f"{position}/{index}", beside)
    if arrivals:
        await accept(arrivals)
    if protobuf:
        return web.Response(body=b"", content_type=PROTOBUF)
    return web.json_response({})


ROUTES = (HttpRoute("POST", "/v1/logs", _logs, "Log records of OpenTelemetry (OTLP/HTTP)"),)
