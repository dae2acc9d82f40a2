"""Rules of any dialect to other forms: Sigma, SQL over the lake, the IR as JSON."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trailhound.dialects.sigma.correlations import as_correlation
from trailhound.dialects.sigma.spelling import Unsayable
from trailhound.dialects.sigma.write import Document, text_of, write
from trailhound.lake.statement import statement
from trailhound.model.logsource import LogSource
from trailhound.rules.book import RuleBook, dump_books
from trailhound.rules.ir import Rule, RuleError
from trailhound.sinks.escape import prose
from trailhound.sources import all_sources

Target = Literal["sigma", "sql", "ir"]
SUFFIXES: dict[Target, str] = {"sigma": ".yml", "sql": ".sql", "ir": ".json"}
_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Converted:
    """A rule in its new form."""

    rule: Rule
    differs: tuple[str, ...] = ()
    """What is told otherwise than by the rule it was."""
    documents: tuple[Document, ...] = ()
    """Sigma: the rules that it counts, and itself."""
    sql: str = ""


@dataclass(slots=True)
class Conversion:
    """What became of the rules of a run."""

    target: Target
    converted: list[Converted] = field(default_factory=list)
    refused: list[RuleError] = field(default_factory=list)
    """Rules that cannot be said in the target, each with the reason."""


def convert(rules: Iterable[Rule], target: Target) -> Conversion:
    """Convert rules of a linked rule set.

    Rules that only feed windows come with those windows, and are not counted by themselves.
    """
    by_uid = {rule.info.uid: rule for rule in rules}
    conversion = Conversion(target)
    places = _Places(by_uid.values())
    change = _CHANGES[target]
    for rule in by_uid.values():
        if rule.silent and target != "ir":
            continue
        try:
            conversion.converted.append(change(rule, by_uid))
        except Unsayable as error:
            conversion.refused.append(places.refusal(rule, error))
    return conversion


def text_in(target: Target, converted: Iterable[Converted]) -> str:
    """Return converted rules as one text."""
    if target == "sigma":
        return text_of(document for one in converted for document in one.documents)
    if target == "sql":
        return "\n".join(one.sql for one in converted)
    books: dict[str, list[Rule]] = {}
    for one in converted:
        books.setdefault(one.rule.info.path, []).append(one.rule)
    listed = [RuleBook(path, tuple(rules)) for path, rules in books.items()]
    return dump_books(listed).decode() + "\n"


def files_of(conversion: Conversion) -> dict[str, str]:
    """Return converted rules as files: relative name → text.

    A file for each rule file; of SQL, where one statement is asked at a time, one for each rule.
    """
    grouped: dict[str, list[Converted]] = {}
    for one in conversion.converted:
        grouped.setdefault(one.rule.info.path, []).append(one)
    if not grouped:
        return {}
    top = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in grouped])
    files: dict[str, str] = {}
    for path, group in grouped.items():
        stem = os.path.splitext(os.path.relpath(os.path.abspath(path), top))[0]
        single = conversion.target != "sql" or len(group) == 1
        for part in [group] if single else [[one] for one in group]:
            name = stem if single else f"{stem}-{_slug(part[0].rule.info.title)}"
            files[_free(name, SUFFIXES[conversion.target], files)] = text_in(
                conversion.target, part
            )
    return files


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:_NAME_LENGTH] or "rule"


def _free(name: str, suffix: str, taken: Mapping[str, str]) -> str:
    found, number = f"{name}{suffix}", 1
    while found in taken:
        number += 1
        found = f"{name}-{number}{suffix}"
    return found


# --- targets ---------------------------------------------------------------------------------


def _to_sigma(rule: Rule, rules: Mapping[str, Rule]) -> Converted:
    written = write(rule, rules)
    return Converted(rule, written.differs, documents=written.documents)


def _to_ir(rule: Rule, _rules: Mapping[str, Rule]) -> Converted:
    return Converted(rule)


def _to_sql(rule: Rule, rules: Mapping[str, Rule]) -> Converted:
    try:
        said, differs = as_correlation(rule, rules)
    except Unsayable:
        said, differs = rule, ()
    if said.predicate is None:
        raise Unsayable(
            "it counts events over time, which the engine does (hunt --rule); SQL selects events: "
            "convert the rules that it counts"
        )
    views = _views_of(said.logsource)
    if not views:
        raise Unsayable(f"no source here serves {said.logsource}: the lake has nothing to ask")
    info = rule.info
    heading = [
        prose(info.title),
        prose(f"{info.dialect} rule {info.uid}, {info.path}:{info.line}"),
        'Run it with: trailhound hunt --lake DIR --sql "$(cat FILE)"',
        "Of events that are not `exact`, on which SQL has no verdict, it selects none.",
    ]
    made = statement(said.predicate, views, heading)
    if isinstance(made, str):
        return Converted(rule, differs, sql=made)
    what = made[0]
    at = getattr(getattr(what.node, "field", None), "name", "")
    raise Unsayable(what.reason if at in what.reason else f"{at}: {what.reason}", at)


_CHANGES: dict[Target, Callable[[Rule, Mapping[str, Rule]], Converted]] = {
    "sigma": _to_sigma,
    "sql": _to_sql,
    "ir": _to_ir,
}


def _views_of(logsource: LogSource) -> dict[str, list[str]]:
    """Source → its views that rules of a log source read."""
    views: dict[str, list[str]] = {}
    for source in all_sources():
        for route in source.routes:
            if route.serves(logsource) and route.view not in views.get(source.name, ()):
                views.setdefault(source.name, []).append(route.view)
    return views


class _Places:
    """Finds in rule files where something stands that could not be converted."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._lines: dict[str, list[str]] = {}
        self._starts: dict[str, list[int]] = {}
        for rule in rules:
            self._starts.setdefault(rule.info.path, []).append(rule.info.line)

    def refusal(self, rule: Rule, error: Unsayable) -> RuleError:
        """Return the reason with the place of what it is about; else of the rule."""
        info = rule.info
        found = self._find(info.path, info.line, error.word)
        line, column = found or (info.line, rule.column)
        return RuleError(info.path, line, error.reason, column, info.title)

    def _find(self, path: str, start: int, word: str) -> tuple[int, int] | None:
        lines = self._of(path)
        end = min((at for at in self._starts[path] if at > start), default=len(lines) + 1)
        for at in range(start, min(end, len(lines) + 1)) if word else ():
            column = lines[at - 1].find(word)
            if column >= 0:
                return at, column + 1
        return None

    def _of(self, path: str) -> list[str]:
        if path not in self._lines:
            try:
                text = Path(path).read_text(encoding="utf-8", errors="replace")
            except (OSError, ValueError):  # what was read is gone, or its name is no name
                text = ""
            self._lines[path] = text.splitlines()
        return self._lines[path]
