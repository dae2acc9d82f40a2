"""Exceptions of Falco rules: values of fields for which a rule makes no finding."""

from dataclasses import dataclass, replace

from trailhound.dialects.falco.text import Entry, Place, required


@dataclass(frozen=True, slots=True)
class FalcoException:
    """Values of fields for which a rule makes no finding."""

    name: str
    place: Place
    fields: tuple[str, ...]
    operators: tuple[str, ...]
    single: bool
    """Whether `fields` is one text: then each value is one text, and all are compared at once."""
    values: tuple[tuple["str | tuple[str, ...]", ...], ...]


def read_exceptions(entry: Entry, before: tuple[FalcoException, ...]) -> tuple[FalcoException, ...]:
    """Read exceptions, beside those that a rule has already. Raises `Place`."""
    if entry.is_null:
        return before
    found = {exception.name: exception for exception in before}
    names: set[str] = set()
    for item in entry.items("exceptions"):
        members = item.mapping("an exception")
        name = required(members, "name", item).text("name")
        if name in names:
            raise item.problem(f"exception {name!r} stands twice")
        names.add(name)
        for key in members:
            if key not in ("name", "fields", "comps", "values"):
                raise members[key].problem(f"{key!r} is not known to an exception")
        known = found.get(name)
        if known is None:
            found[name] = _exception(name, item, members)
            continue
        for key in ("fields", "comps"):
            if key in members:
                raise members[key].problem(
                    f"exception {name!r} has its {key}; only values can be appended"
                )
        values = _values(members, known.fields, single=known.single)
        found[name] = replace(known, values=(*known.values, *values))
    return tuple(found.values())


def _exception(name: str, item: Entry, members: dict[str, Entry]) -> FalcoException:
    fields = required(members, "fields", item)
    comps = members.get("comps")
    single = fields.is_scalar
    if single:
        names: tuple[str, ...] = (fields.text("fields"),)
        operators: tuple[str, ...] = (comps.text("comps") if comps else "in",)
        if operators[0] not in ("in", "pmatch", "intersects"):
            raise (comps or fields).problem(
                "where `fields` is one field, `comps` is in, pmatch or intersects"
            )
    else:
        names = tuple(one.text("a field") for one in fields.items("fields"))
        operators = (
            tuple(one.text("an operator") for one in comps.items("comps"))
            if comps
            else ("=",) * len(names)
        )
        if len(names) != len(operators):
            raise (comps or fields).problem("`fields` and `comps` must be of equal length")
    values = _values(members, names, single=single)
    return FalcoException(name, item.problem(""), names, operators, single, values)


def _values(
    members: dict[str, Entry], fields: tuple[str, ...], *, single: bool
) -> tuple[tuple[str | tuple[str, ...], ...], ...]:
    if "values" not in members or members["values"].is_null:
        return ()
    rows: list[tuple[str | tuple[str, ...], ...]] = []
    for row in members["values"].items("values"):
        if single:
            rows.append((row.text("a value of an exception over one field"),))
            continue
        cells = row.items("a row of values")
        if len(cells) != len(fields):
            raise row.problem(f"{len(cells)} values for {len(fields)} fields")
        rows.append(
            tuple(
                cell.text("a value")
                if cell.is_scalar
                else tuple(one.text("a value") for one in cell.items("a value"))
                for cell in cells
            )
        )
    return tuple(rows)
