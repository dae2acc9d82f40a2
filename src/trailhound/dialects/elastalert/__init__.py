"""ElastAlert 2: rules over documents of Elasticsearch, run without it (elastalert2 2.19)."""

import re
from collections.abc import Iterable

from trailhound.dialects.contract import Dialect, Placeholders, RuleFile
from trailhound.rules.book import RuleBook

_TYPE = re.compile(
    rb"""^type:[ \t]*["']?(?:any|blacklist|whitelist|change|frequency|spike|flatline|new_term|"""
    rb"""cardinality|metric_aggregation|spike_aggregation|percentage_match|[A-Za-z_]\w*\.[\w.]+)"""
    rb"""["']?[ \t]*(?:\#.*)?\r?$""",
    re.MULTILINE,
)
_OTHER = re.compile(rb"^(?:detection|correlation|AnalysisType):", re.MULTILINE)
_IMPORTS = re.compile(rb"^import:", re.MULTILINE)
_OWN = re.compile(rb"^(?:index|alert|filter|realert|query_key|num_events):", re.MULTILINE)


def _recognises(file: RuleFile) -> bool:
    data = file.data
    if _OTHER.search(data):
        return False
    # A rule may have its type from a file that it imports.
    return bool(_TYPE.search(data) or (_IMPORTS.search(data) and _OWN.search(data)))


def _read(file: RuleFile, placeholders: Placeholders) -> RuleBook:
    from trailhound.dialects.elastalert.read import read_file  # noqa: PLC0415 - see `_siblings`

    return read_file(file, placeholders)


def _siblings(file: RuleFile) -> Iterable[str]:
    if b"import" not in file.data and b"!file" not in file.data:
        return ()
    # Not needed by a run whose compiled rules are in the cache.
    from trailhound.dialects.elastalert.imports import names  # noqa: PLC0415

    return names(file)


DIALECT = Dialect(
    name="elastalert", recognises=_recognises, read=_read, siblings=_siblings, version=4
)
