"""`trailhound rules`: list, check, explain, test and convert rules."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from trailhound.cli import rules_convert, rules_test
from trailhound.cli.console import EXIT_FINDINGS, Commands, complain, progress_bar
from trailhound.cli.ruleset import (
    add_rule_options,
    add_strict_option,
    loaded_rules,
    shortcomings,
)
from trailhound.engine.gates import program_of
from trailhound.intake.files import find_inputs
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.rulebooks import LoadedRules
from trailhound.rules.describe import describe
from trailhound.rules.describe_window import describe_window
from trailhound.rules.ir import And, AtLeast, Not, Note, Or, Predicate, Rule, Some, Text
from trailhound.sinks.escape import visible
from trailhound.sinks.wording import plural

if TYPE_CHECKING:
    from trailhound.pipeline.coverage import FieldCoverage, ViewCoverage

_WIDTH = 96
"""Of what a rule says of itself, in characters."""


def add_parser(commands: Commands) -> None:
    """Add the command and its subcommands to the command line."""
    command = commands.add_parser(
        "rules",
        help="list, check, explain, test and convert rules",
        description="List, check, explain, test and convert rules.",
        allow_abbrev=False,
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="list every rule", description="List every rule.", allow_abbrev=False
    )
    lint = actions.add_parser(
        "lint",
        help="tell what is wrong with rules",
        description="Tell what is wrong with rules, with file, line and column. "
        "Exits with 1 where a rule cannot be used.",
        allow_abbrev=False,
    )
    explain = actions.add_parser(
        "explain",
        help="tell what a rule asks and where its fields come from",
        description="Tell what a rule asks, where its fields come from, and which of them can "
        "never be present.",
        allow_abbrev=False,
    )
    explain.add_argument("rule", metavar="RULE", help="file, id, title or part of a title")
    explain.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="LOG",
        help="count in these logs how often each field is there",
    )
    for action in (listing, lint):
        action.add_argument(
            "paths",
            nargs="*",
            metavar="PATH",
            help="rule files or folders, without the built-in rules; none: those of --rules and "
            "the built-in ones",
        )
    rules_convert.add_parser(actions)
    for action, run in ((listing, _list), (lint, _lint), (explain, _explain)):
        add_rule_options(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        if action is lint:
            add_strict_option(action, "exit with 1 also")
        action.set_defaults(run=run)
    rules_test.add_parser(actions)


def _loaded(options: argparse.Namespace) -> LoadedRules:
    if options.paths:
        options.rules = [*options.paths, *options.rules]
        options.no_builtin = True
    return loaded_rules(options)


def _list(options: argparse.Namespace) -> int:
    loaded = _loaded(options)
    if loaded.ruleset.errors:
        what = plural(len(loaded.ruleset.errors), "error")
        complain(f"{what} in rule files: see `trailhound rules lint`")
    if options.json:
        print(orjson.dumps([_summary(rule) for rule in loaded.ruleset.rules]).decode())
        return 0
    for rule in loaded.ruleset.rules:
        reads = "window" if rule.window else visible(str(rule.logsource))
        if not rule.enabled:
            reads += ", switched off"
        print(f"{rule.info.level.label:13}  {visible(rule.info.title)}  ({reads})")
        print(f"{'':13}  {visible(rule.info.uid)}  {visible(rule.info.path)}:{rule.info.line}")
    return 0


def _lint(options: argparse.Namespace) -> int:
    loaded = _loaded(options)
    errors = loaded.ruleset.errors
    notes = [
        (rule, note) for rule in loaded.ruleset.rules for note in (*rule.notes, *_blind_spots(rule))
    ]
    if options.json:
        report = {
            "errors": msgspec.to_builtins(errors),
            "notes": [
                {
                    "path": rule.info.path,
                    "line": note.line or rule.info.line,
                    "column": (note.column or 1) if note.line else rule.column,
                    "text": note.text,
                    "ignored": note.ignored,
                }
                for rule, note in notes
            ],
        }
        print(orjson.dumps(report).decode())
    else:
        for error in errors:
            print(f"error: {visible(str(error))}")
        for rule, note in notes:
            kind = "ignored" if note.ignored else "note"
            print(f"{kind}: {visible(f'{note.at(rule)}: {note.text}')}")
        counts = (loaded.ruleset.rules, "rule"), (errors, "error"), (notes, "note")
        print(", ".join(plural(len(found), noun) for found, noun in counts))
    failed = shortcomings(loaded) if options.strict else errors
    return EXIT_FINDINGS if failed else 0


def _blind_spots(rule: Rule) -> list[Note]:
    """Tell what a rule asks for that can never be there."""
    if not rule.enabled:
        return [Note("switched off in its file: it never runs")]
    if rule.predicate is None:
        return []
    from trailhound.pipeline.coverage import coverage  # noqa: PLC0415 - `list` starts without it

    views = coverage(rule)
    if _holds_never(rule.predicate):
        if any("never matches" in note.text for note in rule.notes):
            return []
        return [Note("it never matches: a part of what it asks for holds of nothing")]
    if not views:
        return [Note(f"no source here serves {rule.logsource}: the rule can never match")]
    known = {field.name for view in views for field in view.fields if field.known}
    asked = dict.fromkeys(field.name for view in views for field in view.fields)
    return [
        Note(f"field {name!r} can never be present in {rule.logsource}")
        for name in asked
        if name not in known
    ]


def _holds_never(predicate: Predicate) -> bool:
    match predicate:
        case Or():
            return all(map(_holds_never, predicate.items))
        case And():
            return any(map(_holds_never, predicate.items))
        case _:
            return False


def _explain(options: argparse.Namespace) -> int:
    from trailhound.pipeline.coverage import coverage, coverage_against  # noqa: PLC0415

    loaded = _loaded_for(options)
    rules = _named(options.rule, loaded)
    titles = {rule.info.uid: rule.info.title for rule in loaded.ruleset.rules}
    files = find_inputs(options.against)
    if files:
        with progress_bar("reading", files, wanted=True) as progress:
            found = coverage_against(rules, files, progress)
    else:
        found = [coverage(rule) for rule in rules]
    reports = []
    for rule, views in zip(rules, found, strict=True):
        if options.json:
            reports.append({**_summary(rule), "views": msgspec.to_builtins(views)})
        else:
            _print_rule(rule, views, titles)
    if options.json:
        print(orjson.dumps(reports).decode())
    return 0


def _loaded_for(options: argparse.Namespace) -> LoadedRules:
    if Path(options.rule).is_file():
        options.rules = [*options.rules, options.rule]
    return loaded_rules(options)


def _named(wanted: str, loaded: LoadedRules) -> list[Rule]:
    rules = loaded.ruleset.rules
    chosen: Sequence[Rule] = [rule for rule in rules if wanted in (rule.info.path, rule.info.uid)]
    chosen = chosen or [rule for rule in rules if rule.info.title.lower() == wanted.lower()]
    chosen = chosen or [rule for rule in rules if wanted.lower() in rule.info.title.lower()]
    if not chosen:
        for error in loaded.ruleset.errors:
            if error.path == wanted:
                raise TrailhoundError(f"the rule cannot be used: {error}")
        raise TrailhoundError(f"no rule file, id or title fits {wanted!r}; see `rules list`")
    return _with_those_below(chosen, {rule.info.uid: rule for rule in rules})


def _with_those_below(chosen: Sequence[Rule], by_uid: Mapping[str, Rule]) -> list[Rule]:
    """Add, behind each window, the rules that it is over: they say what is counted."""
    found: dict[str, Rule] = {}
    stack = list(reversed(chosen))
    while stack:
        rule = stack.pop()
        if rule.info.uid not in found:
            found[rule.info.uid] = rule
            below = rule.window.rules if rule.window is not None else ()
            stack.extend(by_uid[uid] for uid in reversed(below))
    return list(found.values())


def _summary(rule: Rule) -> dict[str, Any]:
    info = msgspec.to_builtins(rule.info)
    return {
        **info,
        "level": rule.info.level.label,
        "logsource": msgspec.to_builtins(rule.logsource),
        "silent": rule.silent,
        "enabled": rule.enabled,
        "output": msgspec.to_builtins(rule.output),
        "notes": [note.text for note in rule.notes],
        "predicate": msgspec.to_builtins(rule.predicate),
        "window": msgspec.to_builtins(rule.window),
    }


def _print_rule(rule: Rule, views: Sequence["ViewCoverage"], titles: Mapping[str, str]) -> None:
    print(f"{visible(rule.info.title)}  [{rule.info.level.label}]")
    print(f"  {visible(rule.info.path)}:{rule.info.line}  id {visible(rule.info.uid)}")
    for paragraph in rule.info.description.splitlines():
        for line in wrap(visible(paragraph), _WIDTH):
            print(f"  {line}")
    if rule.info.tags:
        print(f"  tags {visible(', '.join(rule.info.tags))}")
    if not rule.enabled:
        print("  switched off in its file: it never runs")
    for note in rule.notes:
        print(f"  note: {visible(note.text)}")
    if rule.output is not None:
        parts = (p.text if isinstance(p, Text) else f"%{p.name}" for p in rule.output.parts)
        print(f"  says: {visible(''.join(parts))}")
    if rule.window is not None:
        window = rule.window
        first, *rest = describe_window(window)
        print(f"  {visible(first)} of rules")
        for uid in window.rules:
            print(f"    {visible(titles[uid])}  ({visible(uid)})")
        for line in rest:
            print(f"  {visible(line)}")
        if window.group_by:
            print(f"  grouped by {visible(', '.join(field.name for field in window.group_by))}")
    if rule.predicate is not None:
        print(f"  reads {visible(str(rule.logsource))}; matches when")
        _print_predicate(rule.predicate, 2)
    if rule.predicate is not None and not views:
        print(f"  no source here serves {visible(str(rule.logsource))}: the rule can never match")
    for (source, fields, seen), names in _alike(views, _asks_python(rule)).items():
        noun = "view" if len(names) == 1 else "views"
        print(f"  from {source}, {noun} {', '.join(names)}{seen}")
        for line in fields:
            print(f"    {line}")


def _alike(
    views: Sequence["ViewCoverage"],
    asks_python: bool,  # noqa: FBT001
) -> dict[tuple[str, tuple[str, ...], str], list[str]]:
    """Put views together of which the same is to be said: (source, fields, numbers) → names."""
    found: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for view in views:
        seen = "" if view.documents is None else f": {plural(view.documents, 'document')}"
        verdict = "passed on to its Python" if asks_python else "matched"
        seen += "" if view.matches is None else f", {view.matches:,} {verdict}"
        fields = dict.fromkeys(map(_field_line, view.fields))
        found.setdefault((view.source, tuple(fields), seen), []).append(view.view)
    return found


def _field_line(field: "FieldCoverage") -> str:
    verdict = field.description or "in the catalogue"
    if not field.known:
        verdict = "NOT a field of this view: it can never be present"
    through = f"  through {', '.join(field.computed)}" if field.computed else ""
    count = "" if field.present is None else f"  present in {field.present:,}"
    return visible(f"{field.path}{through}  {verdict}{count}")


def _asks_python(rule: Rule) -> bool:
    return rule.predicate is not None and program_of(rule.predicate) is not None


def _print_predicate(node: Predicate, depth: int) -> None:
    print("  " * depth + visible(describe(node)))
    match node:
        case And() | Or() | AtLeast():
            for item in node.items:
                _print_predicate(item, depth + 1)
        case Not() | Some():
            _print_predicate(node.item, depth + 1)
        case _:
            pass
