"""`trailhound rules convert`: rules of any dialect to Sigma, SQL or the IR."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from trailhound.cli.console import EXIT_FINDINGS, Commands, complain
from trailhound.cli.ruleset import add_rule_options, named_rules
from trailhound.model.errors import TrailhoundError

if TYPE_CHECKING:
    from trailhound.pipeline.convert import Conversion, Converted
    from trailhound.pipeline.rulebooks import LoadedRules

_DESCRIPTION = """\
Write rules in another form. A rule that the form cannot say is not converted, and told with
the place and the reason; what a converted rule tells otherwise is told as well.

  sigma  Sigma rules and correlations, specification 2.1
  sql    one SELECT for each rule, for `trailhound hunt --sql`
  ir     what every dialect is read as, as JSON
"""
_EPILOG = """\
examples:
  trailhound rules convert k8s_audit_rules.yaml --to sigma -o sigma/
  trailhound rules convert my-rules/ --to sql -o sql/
  trailhound rules convert "Privileged container created" --to sql
  trailhound rules convert my-rules/ --to sigma --json | jq '.refused'

exit codes:
  0  every rule is converted
  1  some rule is not
  2  the command was not understood, or something it names is missing
"""


def add_parser(actions: Commands) -> None:
    """Add the action to `trailhound rules`."""
    command = actions.add_parser(
        "convert",
        help="write rules as Sigma, SQL or JSON",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "rule",
        nargs="+",
        metavar="RULE",
        help="rule file or folder, or title or id of a rule that --rules or Trailhound has",
    )
    add_rule_options(command)
    command.add_argument(
        "--to", required=True, choices=("sigma", "sql", "ir"), help="form to write"
    )
    output = command.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="file to write; or folder, if it is one or ends with a slash: a file for each rule "
        "file, of SQL for each rule. Without it: standard output",
    )
    output.add_argument(
        "--json",
        action="store_true",
        help="print what became of each rule as JSON, with its text",
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from trailhound.pipeline.convert import convert, files_of, text_in  # noqa: PLC0415

    loaded = named_rules(options.rule, options)
    conversion = convert(loaded.ruleset.rules, options.to)
    if options.output is not None:
        if os.path.isdir(options.output) or options.output.endswith(("/", os.sep)):
            _store_all(Path(options.output), files_of(conversion))
        else:
            _store(Path(options.output), text_in(options.to, conversion.converted))
    if options.json:
        print(orjson.dumps(_report(conversion, loaded)).decode())
    else:
        if options.output is None and conversion.converted:
            print(text_in(options.to, conversion.converted), end="")
            sys.stdout.flush()
        _tell(conversion, loaded)
    return EXIT_FINDINGS if conversion.refused or loaded.ruleset.errors else 0


def _tell(conversion: "Conversion", loaded: "LoadedRules") -> None:
    for error in loaded.ruleset.errors:
        complain(f"error: {error}")
    for refused in conversion.refused:
        complain(f"not converted: {_named(refused.rule)}{refused}")
    differs = Counter(text for one in conversion.converted for text in one.differs)
    for text, count in differs.most_common():
        complain(f"differs, in {count:,} {_rules(count)}: {text}")
    done, left = len(conversion.converted), len(conversion.refused)
    partly = sum(bool(one.differs) for one in conversion.converted)
    told = f", {partly:,} of them with a difference" if partly else ""
    missing = f"; {left:,} not" if left else ""
    complain(f"{done:,} of {done + left:,} {_rules(done + left)} converted{told}{missing}")


def _named(title: str) -> str:
    return f"{title!r}: " if title else ""


def _rules(count: int) -> str:
    return "rule" if count == 1 else "rules"


def _report(conversion: "Conversion", loaded: "LoadedRules") -> dict[str, Any]:
    from trailhound.pipeline.convert import text_in  # noqa: PLC0415

    def entry(one: "Converted") -> dict[str, Any]:
        info = one.rule.info
        return {
            "uid": info.uid,
            "title": info.title,
            "dialect": info.dialect,
            "path": info.path,
            "line": info.line,
            "differs": one.differs,
            "text": text_in(conversion.target, [one]),
        }

    return {
        "to": conversion.target,
        "converted": [entry(one) for one in conversion.converted],
        "refused": msgspec.to_builtins(conversion.refused),
        "errors": msgspec.to_builtins(loaded.ruleset.errors),
    }


def _store_all(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        _store(folder / name, text, create=True)


def _store(path: Path, text: str, *, create: bool = False) -> None:
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrailhoundError(f"cannot write {path}: {error.strerror}") from None
