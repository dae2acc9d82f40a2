"""Names in a query that no kept event has: what nobody writes cannot be found."""

from collections.abc import Iterable
from difflib import get_close_matches

from trailhound.lake.lake import Lake
from trailhound.lake.query import NAMES
from trailhound.lake.select import ENVELOPE_STEP
from trailhound.pipeline.coverage import covers
from trailhound.pipeline.hunt import Asked, answer, ask
from trailhound.rules.describe import fields_of
from trailhound.sources import SOURCES

_ALIKE = 3


def absent_fields(lake: Lake, asked: Asked, now_ns: int) -> dict[str, list[str]]:
    """Return each field of a query that no event of its sources and times has → names like it.

    A field that stands in a catalogue of the sources is not looked for: it is one, whether it is
    there today or not. What a catalogue leaves open (`requestObject.*`) is.
    """
    sources = [source for source in SOURCES if source.name in asked.selections]
    infos = [info for source in sources for info in source.fields]
    closed = [info for info in infos if not info.name.endswith(".*")]
    absent: dict[str, list[str]] = {}
    for field in fields_of(asked.query.predicate):
        (path, *_) = field.paths
        if path[0] == ENVELOPE_STEP or any(covers(info, ".".join(path)) for info in closed):
            continue
        there = ask(
            lake, f"source:{','.join(asked.selections)} {field.name}:*", asked.times, now_ns
        )
        if next(answer(lake, there, now_ns, limit=1), None) is None:
            known = dict.fromkeys((*NAMES, *(info.name.removesuffix(".*") for info in infos)))
            absent[field.name] = _alike(field.name, known)
    return absent


def _alike(name: str, known: Iterable[str]) -> list[str]:
    """Return names that end like one, or are written like it, the closest first."""
    by_folded = {each.lower(): each for each in known}
    last = name.lower().rpartition(".")[2]
    same_end = [each for each in by_folded if each.rpartition(".")[2] == last]
    close = get_close_matches(name.lower(), by_folded, n=_ALIKE)
    return [by_folded[each] for each in dict.fromkeys((*close, *same_end))][:_ALIKE]
