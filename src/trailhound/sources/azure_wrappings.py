"""What Azure wraps around records: one function takes one wrapping off, or returns None."""

import itertools
from collections.abc import Iterable, Iterator

from trailhound.sources.contents import Content, Document, all_but, objects


def azure_records(document: Document) -> Iterable[Content] | None:
    """Azure Monitor, "diagnostic settings": event hubs carry batches of resource logs."""
    records = objects(document.get("records"))
    return None if records is None else ((record, {}) for record in records)


def log_analytics(document: Document) -> Iterable[Content] | None:
    """Azure Monitor Logs, query API: tables of columns and rows."""
    tables = objects(document.get("tables"))
    if not tables or not isinstance(tables[0].get("rows"), list):
        return None
    return itertools.chain.from_iterable(map(_rows, tables))


def _rows(table: object) -> Iterator[Content]:
    if not isinstance(table, dict) or not isinstance(table.get("rows"), list):
        yield table, {}
        return
    columns = table.get("columns")
    listed = columns if isinstance(columns, list) else []
    names = [column.get("name") if isinstance(column, dict) else None for column in listed]
    for row in table["rows"]:
        cells = row if isinstance(row, list) else []
        yield (
            {name: cell for name, cell in zip(names, cells, strict=False) if isinstance(name, str)},
            {},
        )


def aks(document: Document) -> Iterable[Content] | None:
    """AKS control plane logs: `properties.log`; in the AzureDiagnostics table `log_s`."""
    properties = document.get("properties")
    if isinstance(properties, dict) and isinstance(properties.get("log"), str | dict):
        known = {**all_but(document, "properties"), **all_but(properties, "log")}
        if "category" in document or "stream" in properties:
            return [(properties["log"], known)]
    if isinstance(document.get("log_s"), str) and (
        "Category" in document or "stream_s" in document
    ):
        return [(document["log_s"], all_but(document, "log_s"))]
    return None


def answer(document: Document) -> Iterable[Content] | None:
    """Answers of Azure Resource Manager and Microsoft Graph: a page of a collection in `value`."""
    values = objects(document.get("value"))
    if values is None or not document.keys() <= _PAGE_KEYS:
        return None
    return ((value, {}) for value in values)


_PAGE_KEYS = {
    *("value", "nextLink", "count"),
    *("@odata.context", "@odata.nextLink", "@odata.count", "@odata.deltaLink"),
}
