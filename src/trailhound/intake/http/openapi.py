"""The OpenAPI document of the HTTP side, from its routes."""

import re
from collections.abc import Iterable
from typing import Any

import trailhound
from trailhound.intake.http.contract import HttpRoute

_ANY_BODY = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_RESPONSES = {
    "200": {"description": "Done; all that was handed over is on disk."},
    "201": {"description": "Created: it is on disk."},
    "202": {"description": "Accepted."},
    "204": {"description": "Done; there is nothing to say."},
    "400": {"description": "The body is not what it should be; nothing was taken."},
    "401": {"description": "Nobody known, or a signature that does not fit."},
    "403": {"description": "Somebody who may not."},
    "408": {"description": "The body did not come in time."},
    "413": {"description": "Larger than allowed."},
    "415": {"description": "A content encoding or type that is not read here."},
    "429": {"description": "Full; `Retry-After` says when to come again."},
    "503": {"description": "Not ready, or busy; come again."},
}


def document(routes: Iterable[HttpRoute]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation: dict[str, Any] = {
            "summary": route.summary,
            "responses": _RESPONSES,
            "security": [{"token": []}] if route.role else [],
            **route.operation,
        }
        # What aiohttp lets a part of a path be is not for OpenAPI.
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ]
        if parameters:
            operation["parameters"] = parameters
        if route.method in ("POST", "PUT"):
            operation["requestBody"] = _ANY_BODY
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trailhound",
            "version": trailhound.__version__,
            "description": "Takes audit logs in as senders send them, and tells how it does.",
        },
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
