"""Steps: what a field does with the values at its paths before they are compared.

Each is a pure function from nodes of the document to nodes. What cannot be read is left out.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from trailhound.engine.texts import text_of
from trailhound.rules.ir import Step, StepName

Take = Callable[[list[Any]], list[Any]]

_DECODED_LIMIT = 1024 * 1024
_PARAMETERS_LIMIT = 1000
_JOINED_LIMIT = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def taken(steps: tuple[Step, ...]) -> Take:
    """Compile steps to one function, to be taken in their order."""
    functions = [_STEPS[step.name](step.arguments) for step in steps]

    def take(nodes: list[Any]) -> list[Any]:
        for function in functions:
            nodes = function(nodes)
        return nodes

    return take


def json_text(value: Any) -> str:
    """Return a value as text: strings as they are, null as `null`, the rest as compact JSON."""
    text = text_of(value)
    return "null" if text is None else text


def _each(change: Callable[[Any], Any]) -> Take:
    """Change every node; None leaves one out."""
    return lambda nodes: [new for node in nodes if (new := change(node)) is not None]


def _texts(change: Callable[[str], str | None]) -> Take:
    """Change every value as text, lists opened."""
    return _each_opened(lambda node: change(json_text(node)))


def _each_opened(change: Callable[[Any], Any]) -> Take:
    change_all = _each(change)
    return lambda nodes: change_all(list(_opened(nodes)))


def _opened(nodes: Iterable[Any]) -> Iterator[Any]:
    stack = list(nodes)[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, list | tuple):
            stack.extend(reversed(node))
        else:
            yield node


def _decoded(text: str) -> str | None:
    # Padding may be missing; anything outside the alphabet makes it no base64.
    if len(text) > _DECODED_LIMIT:
        return None
    bare = text.rstrip("=")
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.decode("utf-8", "replace")


def _ascii_lower(text: str) -> str:
    return re.sub("[A-Z]+", lambda found: found[0].lower(), text)


def _ascii_upper(text: str) -> str:
    return re.sub("[a-z]+", lambda found: found[0].upper(), text)


def _repository(image: str) -> str:
    return image.split(":", 1)[0].split("@", 1)[0]


def _unescaped(text: str) -> str:
    raw = text.replace("+", " ").encode("utf-8", "replace")
    plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes((int(found[1], 16),)), raw)
    return plain.decode("utf-8", "replace")


def _query_parameter(key: str) -> Callable[[str], str | None]:
    def read(uri: str) -> str | None:
        query = uri.partition("#")[0].partition("?")[2]
        for pair in query.split("&", _PARAMETERS_LIMIT)[:_PARAMETERS_LIMIT]:
            name, _, value = pair.partition("=")
            if _unescaped(name) == key:
                return _unescaped(value)
        return None

    return read


def _path_part(start: str, place: str) -> Callable[[str], str | None]:
    """The part at a place (0-based) of a path that begins with the part `start`."""

    def part(text: str) -> str | None:
        parts = text.split("/")[1:]
        fits = text.startswith(f"/{start}/") and len(parts) > int(place)
        return parts[int(place)] if fits else None

    return part


def _get(keys: tuple[str, ...]) -> Callable[[Any], Any]:
    def get(node: Any) -> Any:
        for key in keys:
            if not isinstance(node, dict):
                return None
            node = node.get(key)
        return node

    return get


def _where(key: str, value: str) -> Take:
    def where(nodes: list[Any]) -> list[Any]:
        return [n for n in _opened(nodes) if isinstance(n, dict) and n.get(key) == value]

    return where


def _pair(first: str, second: str, between: str) -> Callable[[Any], str | None]:
    def pair(node: Any) -> str | None:
        if not isinstance(node, dict) or first not in node or second not in node:
            return None
        return f"{json_text(node[first])}{between}{json_text(node[second])}"

    return pair


def _host_ports(nodes: list[Any]) -> list[Any]:
    ports = [node for node in _opened(nodes) if isinstance(node, dict)]
    found = [port.get("hostPort", port.get("containerPort")) for port in ports]
    return [json_text(port) for port in found if port is not None]


def _keys_except(left_out: tuple[str, ...]) -> Take:
    def keys(nodes: list[Any]) -> list[Any]:
        objects = [node for node in _opened(nodes) if isinstance(node, dict)]
        return [key for node in objects for key in node if key not in left_out]

    return keys


def _container_identity(arguments: tuple[str, ...]) -> Take:
    """What containers run as: their own setting, that of the pod, or 0.

    Arguments: the name of the list, the setting, and the place in the list or nothing.
    """
    containers, setting, place = arguments
    own = _get(("securityContext", setting))

    def read(nodes: list[Any]) -> list[Any]:
        found: list[Any] = []
        for spec in nodes:
            listed = spec.get(containers) if isinstance(spec, dict) else None
            if not isinstance(listed, list | tuple):
                continue
            inherited = own(spec)
            chosen = listed[int(place) : int(place) + 1] if place else listed
            for container in chosen:
                value = own(container)
                value = inherited if value is None else value
                found.append("0" if value is None else json_text(value))
        return found

    return read


def _committed_secrets(what: str) -> Take:
    """Where secrets were found in a push: `files` by name, or `links` to their lines."""

    def places(document: Any) -> Iterator[str]:
        repository = _get(("repository", "html_url"))(document)
        commit = _get(("head_commit", "id"))(document)
        for file in _objects(_get(("files",))(document)):
            name = json_text(file.get("name", ""))
            for match in _objects(file.get("matches")):
                if what == "files":
                    yield name
                else:
                    line = json_text(match.get("line", 0))
                    yield f"{repository or ''}/blob/{commit or ''}/{name}/#L{line}"

    def read(nodes: list[Any]) -> list[Any]:
        return [
            place for document in nodes if isinstance(document, dict) for place in places(document)
        ]

    return read


def _objects(node: Any) -> list[Mapping[str, Any]]:
    return [item for item in _opened([node]) if isinstance(item, dict)]


def _join(arguments: tuple[str, ...]) -> Take:
    separator, *options = arguments

    def join(nodes: list[Any]) -> list[Any]:
        texts = [json_text(node) for node in _opened(nodes)][:_JOINED_LIMIT]
        if "distinct" in options:
            texts = list(dict.fromkeys(texts))
        return [separator.join(texts)] if nodes else []

    return join


def _sum(nodes: list[Any]) -> list[Any]:
    numbers = [
        int(node)
        for node in _opened(nodes)
        if isinstance(node, int | float) and not isinstance(node, bool) and abs(node) < 2**64
    ]
    return [sum(numbers)] if numbers else []


def _count(nodes: list[Any]) -> list[Any]:
    values = list(_opened(nodes))
    return [len(values)] if values else []


@lru_cache(maxsize=1024)
def _moment(text: str) -> tuple[datetime, int] | None:
    """Read a time as the second that it lies in, UTC, and nanoseconds; many rules ask for one."""
    found = re.fullmatch(r"(.*?\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(.*)", text.strip())
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1] + found[3])
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment, int((found[2] or "").ljust(9, "0"))


def _time(form: str) -> Take:
    """A time in ISO 8601 as `ns` or `s` since 1970, as `iso8601`, `datetime` or `clock`, UTC."""

    def read(node: Any) -> str | None:
        known = _moment(node) if isinstance(node, str) and len(node) <= 64 else None
        if known is None:
            return None
        moment, nanoseconds = known
        seconds = int((moment - _EPOCH).total_seconds())
        match form:
            case "ns":
                return str(seconds * 1_000_000_000 + nanoseconds)
            case "s":
                return str(seconds)
            case "clock":
                return f"{moment:%H:%M:%S}.{nanoseconds:09}"
            case "datetime":
                return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds:09}"
            case _:
                return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}+0000"

    return _each_opened(read)


def _without_end(count: int) -> Callable[[str], str | None]:
    return lambda text: text[:-count] if len(text) > count else (text or None)


def _length(node: Any) -> int:
    return len(json_text(node).encode("utf-8", "replace"))


_STEPS: dict[StepName, Callable[[tuple[str, ...]], Take]] = {
    "base64": lambda _: _texts(_decoded),
    "basename": lambda _: _texts(lambda text: text.rpartition("/")[2]),
    "committed-secrets": lambda arguments: _committed_secrets(arguments[0]),
    "container-identity": _container_identity,
    "count": lambda _: _count,
    "get": lambda keys: _each(_get(keys)),
    "host-port": lambda _: _host_ports,
    "image-repository": lambda _: _texts(_repository),
    "join": _join,
    "json": lambda _: _each(json_text),
    "keys-except": _keys_except,
    "last": lambda _: lambda nodes: nodes[-1:],
    "length": lambda _: _each_opened(_length),
    "lower": lambda _: _texts(_ascii_lower),
    "pair": lambda arguments: _each_opened(_pair(*arguments)),
    "path-part": lambda arguments: _texts(_path_part(*arguments)),
    "query-parameter": lambda arguments: _texts(_query_parameter(arguments[0])),
    "sum": lambda _: _sum,
    "time": lambda arguments: _time(arguments[0]),
    "trim-end": lambda arguments: _texts(lambda text: text.removesuffix(arguments[0])),
    "trim-start": lambda arguments: _texts(lambda text: text.removeprefix(arguments[0])),
    "upper": lambda _: _texts(_ascii_upper),
    "where": lambda arguments: _where(arguments[0], arguments[1]),
    "with-start": lambda arguments: _texts(lambda text: arguments[0] + text),
    "without-end": lambda arguments: _texts(_without_end(int(arguments[0]))),
}
