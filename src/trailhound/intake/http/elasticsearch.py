"""Elasticsearch's bulk API, as Filebeat, Logstash, Fluent Bit and Vector speak it.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk: lines of an action and
a document. Clients first ask who is there: the version, the header `X-Elastic-Product`, the
license; Beats and Logstash also set up templates and life-cycle policies, which mean nothing here
and are accepted.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from aiohttp import web

from trailhound.intake.arrivals import Accept, Arrival
from trailhound.intake.http.body import lines_of, read_body, work_on
from trailhound.intake.http.contract import HttpRoute, arrivals_of
from trailhound.intake.http.json_lines import digest_of

VERSION = "8.17.0"
"""The version that clients are told; those of 7 and 8 work with it."""
_HEADERS = {"X-Elastic-Product": "Elasticsearch"}
_ACTIONS = ("index", "create", "update", "delete")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def items_of(body: bytes, index: str) -> list[tuple[str, str, str, bytes | None]]:
    """Return the items of a body: action, index, id, and the document; None where none fits.

    Raises:
        web.HTTPBadRequest: A line that should be an action is none.
        Full: There are too many lines.
    """
    lines = [line for raw in lines_of(body) if (line := raw.rstrip(b"\r"))]
    found: list[tuple[str, str, str, bytes | None]] = []
    at = 0
    while at < len(lines):
        try:
            ((action, meta),) = orjson.loads(lines[at]).items()
            named = meta.get("_index", index), meta.get("_id", "")
        except (orjson.JSONDecodeError, AttributeError, ValueError, TypeError):
            action, named = "", ("", "")
        if action not in _ACTIONS:
            detail = f"Malformed action/metadata line [{at + 1}]"
            raise web.HTTPBadRequest(
                text=orjson.dumps(_error("illegal_argument_exception", detail, 400)).decode(),
                content_type="application/json",
                headers=_HEADERS,
            )
        at += 1
        document: bytes | None = None
        if action != "delete":
            document = lines[at] if at < len(lines) else None
            at += 1
        found.append((action, str(named[0]), str(named[1]), document))
    return found


def _error(kind: str, reason: str, status: int) -> dict[str, Any]:
    return {"error": {"type": kind, "reason": reason}, "status": status}


async def _bulk(request: web.Request, accept: Accept) -> web.Response:
    body = await read_body(request)
    position = digest_of(body)
    arrivals: list[Arrival] = []
    answers: list[Mapping[str, Any]] = []
    errors = False
    items = await work_on(body, items_of, request.match_info.get("index", ""))
    for number, (action, index, name, document) in enumerate(items):
        answer: dict[str, Any] = {"_index": index, "_id": name or f"{position[5:]}-{number}"}
        refused = _refused(action, document)
        if refused is not None:
            errors = True
            answer |= refused
        else:
            assert document is not None  # noqa: S101 - else it was refused
            where = f"es:{index}/{name}" if name else f"{position}/{number}"
            arrivals += arrivals_of(request, "elasticsearch", [document], where, {"index": index})
            answer |= {"_version": 1, "result": "created", "status": 201, "_seq_no": number}
        answers.append({action: answer})
    if arrivals:
        await accept(arrivals)
    return _answer({"took": 1, "errors": errors, "items": answers})


def _refused(action: str, document: bytes | None) -> dict[str, Any] | None:
    if action not in ("index", "create"):
        return _error("illegal_argument_exception", f"nothing is changed here: {action}", 400)
    try:
        _object.decode(document or b"")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return _error("document_parsing_exception", f"failed to parse: {error}", 400)
    return None


async def _one(request: web.Request, accept: Accept) -> web.Response:
    body = (await read_body(request)).strip()
    refused = _refused("index", body)
    if refused is not None:
        return _answer(refused, 400)
    index, name = request.match_info["index"], request.match_info.get("id", "")
    where = f"es:{index}/{name}" if name else digest_of(body)
    await accept(arrivals_of(request, "elasticsearch", [body], where, {"index": index}))
    content = {"_index": index, "_id": name or digest_of(body)[5:], "result": "created"}
    return _answer(content, 201)


async def _root(_request: web.Request, _accept: Accept) -> web.Response:
    version = {
        "number": VERSION,
        "build_flavor": "default",
        "minimum_wire_compatibility_version": "7.17.0",
        "minimum_index_compatibility_version": "7.0.0",
    }
    return _answer(
        {
            "name": "trailhound",
            "cluster_name": "trailhound",
            "cluster_uuid": "trailhound",
            "version": version,
            "tagline": "You Know, for Search",
        }
    )


async def _license(_request: web.Request, _accept: Accept) -> web.Response:
    held = {"status": "active", "uid": "trailhound", "type": "basic", "mode": "basic"}
    return _answer({"license": held})


async def _xpack(_request: web.Request, _accept: Accept) -> web.Response:
    return _answer({"license": {"status": "active", "type": "basic"}, "features": {}})


async def _accepted(_request: web.Request, _accept: Accept) -> web.Response:
    return _answer({"acknowledged": True})


def _answer(content: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers=_HEADERS)


_BULK = "Documents for Elasticsearch's bulk API"
_SET_UP = "What Beats and Logstash set up first; means nothing here"
ROUTES = (
    HttpRoute("GET", "/", _root, "Who is there, as Elasticsearch says it"),
    HttpRoute("GET", "/_license", _license, "A license, as Elasticsearch says it"),
    HttpRoute("GET", "/_xpack", _xpack, "Features, as Elasticsearch says it"),
    HttpRoute("POST", "/_bulk", _bulk, _BULK),
    HttpRoute("PUT", "/_bulk", _bulk, _BULK),
    HttpRoute("POST", "/{index}/_bulk", _bulk, _BULK),
    HttpRoute("PUT", "/{index}/_bulk", _bulk, _BULK),
    HttpRoute("POST", "/{index}/_doc", _one, "A document for Elasticsearch"),
    HttpRoute("PUT", "/{index}/_doc/{id}", _one, "A document for Elasticsearch"),
    HttpRoute("PUT", "/{index}/_create/{id}", _one, "A document for Elasticsearch"),
    HttpRoute("PUT", "/_ilm/policy/{name}", _accepted, _SET_UP),
    HttpRoute("GET", "/_ilm/policy/{name}", _accepted, _SET_UP),
    HttpRoute("PUT", "/_index_template/{name}", _accepted, _SET_UP),
    HttpRoute("GET", "/_index_template/{name}", _accepted, _SET_UP),
    HttpRoute("PUT", "/_template/{name}", _accepted, _SET_UP),
    HttpRoute("GET", "/_template/{name}", _accepted, _SET_UP),
    HttpRoute("PUT", "/_data_stream/{name}", _accepted, _SET_UP),
    HttpRoute("PUT", "/_ingest/pipeline/{name}", _accepted, _SET_UP),
)
