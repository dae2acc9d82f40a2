"""The options that say which rules to use, shared by `scan` and `rules`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trailhound.cli.console import complain
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.rulebooks import LoadedRules, cache_folder, chosen, load_rules

_SHORTCOMINGS_SHOWN = 10


def add_rule_options(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = command.add_argument_group("rules")
    group.add_argument(
        "-r",
        "--rules",
        action="append",
        default=[],
        metavar="PATH",
        help="rule file or folder, beside the built-in rules; may be given again",
    )
    group.add_argument("--no-builtin", action="store_true", help="leave the built-in rules out")
    group.add_argument(
        "--placeholders",
        metavar="FILE",
        help="YAML file with values for %%name%% in Sigma rules: a mapping of name to list",
    )
    group.add_argument(
        "--no-cache", action="store_true", help="compile rules anew and keep nothing on disk"
    )


def add_strict_option(command: argparse.ArgumentParser, effect: str) -> None:
    """Add `--strict`, which takes no rule that has an effect here only in part."""
    command.add_argument(
        "--strict",
        action="store_true",
        help=f"{effect} where a rule cannot be used, or a part of one has no effect here",
    )


def shortcomings(loaded: LoadedRules) -> list[str]:
    """Return what `--strict` refuses: each as `path:line:column: reason`."""
    ignored = [
        f"{note.at(rule)}: {note.text}"
        for rule in loaded.ruleset.rules
        for note in rule.notes
        if note.ignored
    ]
    return [*map(str, loaded.ruleset.errors), *ignored]


def refuse_shortcomings(loaded: LoadedRules) -> None:
    """Raise `TrailhoundError` where a rule is not supported in full."""
    found = shortcomings(loaded)
    if found:
        for text in found[:_SHORTCOMINGS_SHOWN]:
            complain(text)
        many = len(found) > _SHORTCOMINGS_SHOWN
        rest = "; `trailhound rules lint` tells all" if many else ""
        raise TrailhoundError(f"--strict: {len(found):,} rules or parts not supported{rest}")


def loaded_rules(options: argparse.Namespace) -> LoadedRules:
    """Load the rules that the options name."""
    if options.no_builtin and not options.rules:
        raise TrailhoundError("--no-builtin leaves no rules: name some with --rules")
    return load_rules(
        options.rules,
        builtin=not options.no_builtin,
        placeholders=_placeholders(options.placeholders),
        cache=None if options.no_cache else cache_folder(),
    )


def named_rules(names: Sequence[str], options: argparse.Namespace) -> LoadedRules:
    """Load rules by file, folder, title or id, with what they refer to.

    Titles and ids are looked for in the rules of `--rules`, and in the built-in ones.

    Raises:
        TrailhoundError: there is no such rule or file.
    """
    paths = [name for name in names if Path(name).exists()]
    titles = [name for name in names if not Path(name).exists()]
    loaded = load_rules(
        [*options.rules, *paths],
        builtin=bool(titles) and not options.no_builtin,
        placeholders=_placeholders(options.placeholders),
        cache=None if options.no_cache else cache_folder(),
    )
    return chosen(loaded, titles, paths)


def _placeholders(path: str | None) -> dict[str, tuple[str, ...]]:
    if path is None:
        return {}
    import yaml  # noqa: PLC0415 - few runs need it, and every start would pay for it

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrailhoundError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise TrailhoundError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise TrailhoundError(f"{path} must be a mapping of placeholder name to list of values")
    placeholders = {}
    for name, values in content.items():
        listed = values if isinstance(values, list) else [values]
        if not all(isinstance(value, str | int | float) for value in listed):
            raise TrailhoundError(f"{path}: the values of {name!r} must be texts or numbers")
        placeholders[str(name)] = tuple(str(value) for value in listed)
    return placeholders
