"""The pages of log sources, wrappings and output formats."""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Sequence

from handbook.text import HEAD, anchor, sentence, table
from trailhound.model.events import Envelope, Event, Outcome
from trailhound.model.findings import Explanation, Finding, RuleInfo
from trailhound.model.levels import Level
from trailhound.model.logsource import FieldInfo
from trailhound.model.records import Origin
from trailhound.sinks import SINKS
from trailhound.sinks.csv_rows import COLUMNS
from trailhound.sinks.native import finding_json
from trailhound.sources import SOURCES
from trailhound.sources.contract import Source
from trailhound.sources.unwrap import _WRAPPINGS

_LINES = (
    ("cri", "A line as container runtimes write it: stamp, stream, tag, the record."),
    ("stamp", "A line of a CloudWatch Logs export to S3: stamp, space, the record."),
    ("syslog", "A syslog line whose message is a JSON object of a source: Falco's, or forwarded."),
    ("array", "A JSON array of records."),
)


def sources() -> str:
    """Return `docs/reference/sources.md`."""
    parts = [
        f"{HEAD}# Log sources\n",
        (
            "A *view* is what a rule reads of an event. A rule goes to every view whose log source "
            "fits the rule's. `trailhound sources NAME` prints the same.\n"
        ),
        table(
            ("source", "what", "views"),
            [
                (
                    f"[{source.name}](#{anchor(_heading(source))})",
                    source.title,
                    str(len(dict.fromkeys(route.view for route in source.routes))),
                )
                for source in SOURCES
            ],
        ),
        "## What every event has\n",
        (
            f"{sentence(Envelope.__doc__)} Findings, and later incidents and reports, speak of an "
            "event in these words, whatever its source. Rules read the source's own fields.\n"
        ),
        table(("field", "meaning"), _attributes(Envelope)),
    ]
    for source in SOURCES:
        parts.append(f"## {_heading(source)}\n")
        parts.append(sentence(sys.modules[f"trailhound.sources.{source.name}"].__doc__) + "\n")
        parts.append(
            table(
                ("a rule with", "reads view"),
                [(f"`{route.logsource}`", f"`{route.view}`") for route in source.routes],
            )
        )
        parts.extend(_fields(source))
    return "\n".join(parts)


def _heading(source: Source) -> str:
    return f"`{source.name}`: {source.title}"


def _fields(source: Source) -> list[str]:
    """Tables of fields; views with the same fields share one."""
    views = list(dict.fromkeys(route.view for route in source.routes))
    tables: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for view in views:
        held: Sequence[FieldInfo] = [f for f in source.fields if f.view in ("", view)]
        tables.setdefault(tuple((f.name, f.description) for f in held), []).append(view)
    parts = []
    for fields, sharing in tables.items():
        named = ", ".join(f"`{view}`" for view in sharing)
        noun = "View" if len(sharing) == 1 else "Views"
        parts.append(f"**{noun} {named}**\n")
        parts.append(table(("field", "meaning"), [(f"`{name}`", text) for name, text in fields]))
    return parts


def _attributes(kind: type) -> list[tuple[str, str]]:
    """Attributes of a class with the text under them; those without text go with the next."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - for the type checker
    rows: list[tuple[list[str], str]] = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            rows.append(([item.target.id], ""))
        elif isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and rows:
            rows[-1] = (rows[-1][0], " ".join(str(item.value.value).split()))
    return [(", ".join(f"`{name}`" for name in names), text) for names, text in rows]


def wrappings() -> str:
    """Return `docs/reference/wrappings.md`."""
    found: dict[str, list[str]] = {name: [sentence(text)] for name, text in _LINES}
    marks: dict[str, list[str]] = {}
    for name, _, peel, keys in _WRAPPINGS:
        found.setdefault(name, []).append(sentence(peel.__doc__))
        marks.setdefault(name, []).extend(keys)
    rows = [
        (
            f"`{name}`",
            " ".join(f"`{key}`" for key in dict.fromkeys(marks.get(name, ()))),
            " ".join(filter(None, texts)),
        )
        for name, texts in sorted(found.items())
    ]
    return (
        f"{HEAD}# Wrappings\n\n"
        "What clouds and shippers put around a record. Each comes off by itself, one inside "
        "the other, so the same record gives the same event however it arrived. A record that "
        "a source knows is never taken for a wrapping. Compression is not listed here: gzip, "
        "zstd, bzip2 and xz are recognised by their first bytes.\n\n"
        + table(("wrapping", "told by its keys", "what it is"), rows)
    )


def sinks() -> str:
    """Return `docs/reference/output.md`."""
    return "\n".join(
        [
            f"{HEAD}# Output formats\n",
            table(
                ("`--format`", "what", "media type"),
                [(f"`{s.name}`", s.description, f"`{s.media_type}`") for s in SINKS.values()],
            ),
            "## Columns of `csv`\n",
            "Names and order are fixed; new columns go to the end.\n",
            table(("column", "meaning"), [(f"`{name}`", c[0]) for name, c in COLUMNS.items()]),
            "## A finding in `ndjson`\n",
            (
                "One line each; shown here over several. `json` holds a list of the same under "
                "`findings`, and the totals of the scan.\n"
            ),
            f"```json\n{_indented(finding_json(_example()))}\n```\n",
        ]
    )


def _indented(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def _example() -> Finding:
    document = {
        "eventVersion": "1.11",
        "eventTime": "2026-11-12T20:36:44Z",
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": "StopLogging",
        "eventID": "0d0c1a1e-52a4-4a5c-9a53-0f6c2b8d7e11",
    }
    envelope = Envelope(
        time_ns=1_794_515_804_000_000_000,
        action="StopLogging",
        actor_name="harbor-crossplane-admin/session",
        invoked_by="arn:aws:iam::111122223333:role/harbor-crossplane-admin",
        target_type="AWS::CloudTrail::Trail",
        target_name="harbor-main",
        outcome=Outcome.SUCCESS,
        src_ip="203.0.113.77",
        device="111122223333/eu-west-1",
        request_uid="0d0c1a1e-52a4-4a5c-9a53-0f6c2b8d7e11",
    )
    view = {"cloudtrail": (document,)}
    origin = Origin("AWSLogs/trail.json.gz", 1, 254)
    event = Event("cloudtrail", document, (origin,), view, lambda _: envelope)
    rule = RuleInfo(
        uid="6a0d3f0e-0000-4000-8000-000000000000",
        title="CloudTrail switched off",
        level=Level.CRITICAL,
        dialect="sigma",
        path="rules/cloudtrail_switched_off.yml",
        line=1,
        description="The trail was stopped. Check first: who stopped it.",
        tags=("attack.defense-evasion", "attack.t1562.008"),
    )
    part = Explanation(
        "eventName is 'StopLogging'", matched=True, path="eventName", value="StopLogging"
    )
    return Finding(
        uid="4f1c2d3e4f5061728394a5b6c7d8e9f0",
        rule=rule,
        time_ns=envelope.time_ns,
        start_ns=envelope.time_ns,
        events=(event,),
        explanation=Explanation("selection", matched=True, children=(part,)),
    )
