"""The page of Falco's fields, from the catalogue of the dialect."""

from handbook.text import HEAD, table
from trailhound.dialects.falco.catalogue import SOURCES, FalcoSource, shared_fields
from trailhound.dialects.falco.fields import FalcoField
from trailhound.rules.ir import Field


def page() -> str:
    """Return `docs/reference/falco-fields.md`."""
    parts = [
        f"{HEAD}# Falco's fields\n",
        (
            "What rules of the [dialect `falco`](../falco.md) may ask for. *Read from* is the path "
            "in the event; a field that is computed names what it is computed from. `#` is the "
            "place of an index: `ka.req.pod.containers.image[0]`.\n"
        ),
        table(
            ("`source:` in Falco", "log source here", "fields"),
            [
                (f"`{source.name}`", f"`{source.logsource}`", str(len(source.fields)))
                for source in SOURCES
            ],
        ),
    ]
    for source in SOURCES:
        parts += [f"## {source.name}\n", _fields(source.fields)]
    parts += [
        "## Every source\n",
        "Times are read from the field that the source has its time in; here that of Kubernetes.\n",
        _fields(shared_fields(_kubernetes())),
    ]
    return "\n".join(parts)


def _kubernetes() -> FalcoSource:
    return SOURCES[0]


def _fields(fields: tuple[FalcoField, ...]) -> str:
    return table(
        ("field", "type", "what it is", "read from"),
        [(_name(one), _type(one), one.description, _places(one)) for one in fields],
    )


def _name(one: FalcoField) -> str:
    if one.argument == "key":
        return f"`{one.name}[…]`"
    return f"`{one.name}[#]`" if one.argument == "index" and one.required else f"`{one.name}`"


def _type(one: FalcoField) -> str:
    kind = "number" if one.number else "text"
    if one.listed:
        kind = "list"
    return f"{kind}, index" if one.argument == "index" else kind


def _places(one: FalcoField) -> str:
    argument = {"index": "#", "key": "…"}.get(one.argument, "")
    if one.argument == "index" and one.name.endswith(("_user", "_group")) and "eff_" in one.name:
        argument = "0"
    paths: dict[str, None] = {}
    for reading in one.read(argument):
        if isinstance(reading.value, Field):
            for path in reading.value.paths:
                paths.setdefault(".".join(path) or "the whole event")
    return ", ".join(f"`{path}`" if " " not in path else path for path in paths) or "—"
