"""Where correlations find the fields they group and count by: where the rules they count do.

A correlation names fields in the taxonomy of its rules (Sigma Correlation Rules Specification
2.1.0, "Grouping"), which only a linked rule set knows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace as replaced

from msgspec.structs import replace

from trailhound.dialects.sigma.taxonomy import Taxonomy, path_of
from trailhound.model.logsource import LogSource
from trailhound.rules.book import RuleSet
from trailhound.rules.ir import Correlation, Field, Note, Path, Rule


def placed(ruleset: RuleSet) -> RuleSet:
    """Return the rule set with the fields of Sigma correlations in the places of their rules."""
    by_uid = {rule.info.uid: rule for rule in ruleset.rules}
    return replaced(ruleset, rules=tuple(_placed(rule, by_uid) for rule in ruleset.rules))


def paths_of(name: str, logsources: Iterable[LogSource]) -> tuple[Path, ...]:
    """Return every path that a name stands for in one of some log sources."""
    found = (path for logsource in logsources for path in Taxonomy(logsource).field(name).paths)
    return tuple(dict.fromkeys(found)) or (path_of(name),)


def logsources_of(uids: Iterable[str], rules: Mapping[str, Rule]) -> list[LogSource]:
    """Return the log sources of rules, and of the rules that those count."""
    found: dict[LogSource, None] = {}
    for uid in uids:
        rule = rules[uid]
        inner = [rule.logsource] if rule.window is None else logsources_of(rule.window.rules, rules)
        found |= dict.fromkeys(inner)
    return list(found)


def _placed(rule: Rule, rules: Mapping[str, Rule]) -> Rule:
    window = rule.window
    if rule.info.dialect != "sigma" or not isinstance(window, Correlation):
        return rule
    logsources = logsources_of(window.rules, rules)
    aliased = {alias.name for alias in window.aliases}
    notes: list[Note] = []

    def place(field: Field, sources: Iterable[LogSource]) -> Field:
        paths = paths_of(field.name, sources)
        if paths != field.paths and field.paths == (path_of(field.name),):
            shown = [".".join(path) for path in paths]
            if field.name not in shown:
                notes.append(Note(f"field {field.name!r} is read as {', '.join(shown)}"))
            return Field(field.name, paths)
        return field

    there = replace(
        window,
        group_by=tuple(
            field if field.name in aliased else place(field, logsources)
            for field in window.group_by
        ),
        aliases=tuple(
            replace(
                alias,
                fields=tuple(
                    (uid, place(field, logsources_of([uid], rules))) for uid, field in alias.fields
                ),
            )
            for alias in window.aliases
        ),
        field=place(window.field, logsources) if window.field is not None else None,
    )
    return replace(rule, window=there, notes=(*rule.notes, *notes))
