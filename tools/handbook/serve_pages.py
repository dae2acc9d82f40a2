"""The pages of `serve`: its settings from their structs, its HTTP routes from their table."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from handbook.text import HEAD, table
from trailhound.intake.http import hooks, server
from trailhound.intake.http.access import Access
from trailhound.intake.http.contract import HttpRoute
from trailhound.pipeline.serve import monitor
from trailhound.pipeline.serve import settings as settings_module
from trailhound.pipeline.serve.condition import Condition
from trailhound.pipeline.serve.receiving import Receiving
from trailhound.pipeline.serve.settings import Settings

_ANSWERS = """\
Bodies may be compressed (`Content-Encoding`: gzip, deflate, zstd). 200 means that all is on disk;
429 and 503, that none of it was taken and it should be sent again; `Retry-After` says when.
"""


def settings() -> str:
    """Return `docs/reference/settings.md`."""
    parts = [
        f"{HEAD}# Settings of `serve`\n",
        "A TOML file, named with `--config`. A key that is not here is a mistake, and told.\n",
        table(("key", "type", "default", "meaning"), _rows(Settings, top=True)),
    ]
    for name, kind in get_type_hints(Settings).items():
        if _is_section(kind):
            parts.append(f"## `[{name}]`\n")
            parts.append(f"{inspect.getdoc(kind)}\n")
            parts.append(table(("key", "type", "default", "meaning"), _rows(kind)))
    return "\n".join(parts)


def routes() -> str:
    """Return `docs/reference/http.md`."""
    rows = [*map(_route, server.INTAKE_ROUTES)]
    hooked = [_route(route) for make in hooks.HOOKS.values() for route in make("")]
    head = ("method", "path", "what", "who may")
    return "\n".join(
        [
            f"{HEAD}# HTTP routes of `serve`\n",
            _ANSWERS,
            table(head, rows),
            "## Hooks\n",
            "There where `[http.hooks]` has their secret. They sign, so they need no token.\n",
            table(head, hooked),
            "## Of the service itself\n",
            table(head, [*map(_route, _service_routes())]),
        ]
    )


def _service_routes() -> Iterator[HttpRoute]:
    receiving = Receiving(Path("received"), Access(()))
    yield receiving.route()
    yield from monitor.routes(Condition(), Settings(), receiving, lambda: 0, lambda: 1)


def _route(route: HttpRoute) -> tuple[str, str, str, str]:
    who = f"role `{route.role}`" if route.role else "everybody"
    return route.method, f"`{route.path.replace(':.+', '')}`", route.summary, who


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _rows(kind: type[msgspec.Struct], *, top: bool = False) -> list[tuple[str, str, str, str]]:
    meanings = _docstrings(settings_module, kind.__name__)
    hints = get_type_hints(kind)
    rows = []
    for field in msgspec.structs.fields(kind):
        if top and _is_section(hints[field.name]):
            continue
        default = field.default
        if default is msgspec.NODEFAULT:
            default = field.default_factory() if callable(field.default_factory) else ""
        shown = _toml(default)
        rows.append((f"`{field.name}`", _type(hints[field.name]), shown, meanings[field.name]))
    return rows


def _toml(value: Any) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case tuple() | list():
            return "`[]`"
        case dict():
            return "none"
        case _:
            return f"`{value}`"


def _type(kind: Any) -> str:
    names = {str: "text", bool: "true or false", int: "number", float: "number"}
    if kind in names:
        return names[kind]
    if get_origin(kind) is tuple:
        return "list of texts"
    if get_origin(kind) is dict:
        return "table of texts"
    choices = get_args(kind)
    return ", ".join(f"`{choice}`" for choice in choices) if choices else str(kind)


def _docstrings(module: ModuleType, name: str) -> dict[str, str]:
    """Return what stands below each field of a class."""
    tree = ast.parse(inspect.getsource(module))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    found: dict[str, str] = {}
    for field, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = below.value if isinstance(below, ast.Expr) else None
            text = said.value if isinstance(said, ast.Constant) else ""
            found[field.target.id] = " ".join(str(text).split())
    return found
