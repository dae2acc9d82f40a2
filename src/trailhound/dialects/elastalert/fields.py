"""Fields as a rule names them, and where the records have them."""

from trailhound.dialects.elastalert.logs import DATASET_FIELDS, Index, Log
from trailhound.rules.ir import And, Compare, Equals, Exists, Field, Or, Path, Predicate

_POSTFIXES = (".keyword", ".raw", ".text")


def path_of(name: str) -> Path:
    """Split a dotted name. Keys that contain dots are put together when they are read."""
    return tuple(name.split("."))


def plain(name: str) -> str:
    """Return the field itself for one of its multi-fields: `user.name.keyword` → `user.name`."""
    for postfix in _POSTFIXES:
        if name.endswith(postfix) and len(name) > len(postfix):
            return name.removesuffix(postfix)
    return name


def field_of(index: Index, name: str) -> Field:
    """Return the field of that name, with every place in a record where it may stand."""
    own = plain(name)
    places = dict.fromkeys(place for log in index.logs for place in log.paths_of(own))
    prefixes = index.logs[0].prefixes if len(index.logs) == 1 else ()
    if not places or not own.startswith(prefixes):
        # What has the prefix of its log stands in the log's records without it, and only so.
        places = {own: None, **places}
    return Field(own, tuple(map(path_of, places)))


def derived(index: Index, name: str, value: str) -> Predicate | None:
    """Return what stands for `name: value` where that is not in the record as it is.

    None where the field is to be compared as it stands.
    """
    own = plain(name)
    found: list[tuple[Log, Predicate]] = []
    for log in index.logs:
        if own in DATASET_FIELDS:
            if value in log.datasets or value in {d.partition(".")[0] for d in log.datasets}:
                found.append((log, And(())))
        elif (known := log.derived.get((own, value))) is not None:
            found.append((log, known))
    if not found:
        return None
    label = f"{own} is {value!r}"
    alone = len(index.logs) == 1
    parts = [
        known if alone else (log.marks if known == And(()) else And((log.marks, known)))
        for log, known in found
    ]
    if not alone and own not in DATASET_FIELDS:
        # A document may have the field as it is: whoever indexed it may have written it out.
        plain_field = field_of(index, own)
        parts.append(And((Exists(plain_field), Compare(plain_field, Equals(value, cased=True)))))
    return Or(tuple(parts), label) if len(parts) != 1 else And(tuple(parts), label)


def log_named(index: Index, name: str, value: str) -> Log | None:
    """Return the log that a condition on the data set names, where it is one only."""
    if plain(name) not in DATASET_FIELDS:
        return None
    logs = [
        log
        for log in index.logs
        if value in log.datasets or value in {d.partition(".")[0] for d in log.datasets}
    ]
    return logs[0] if len(logs) == 1 else None
