"""The page of built-in rules, from the rule files."""

from collections.abc import Sequence
from pathlib import Path

from handbook.text import HEAD, anchor, table
from trailhound.model.levels import Level
from trailhound.pipeline.rulebooks import BUILTIN, load_rules
from trailhound.rules.ir import Rule, Window
from trailhound.sinks.attack import attack_of
from trailhound.sinks.wording import duration

_ATTACK = "https://attack.mitre.org/techniques"
_CONTENT = "../../src/trailhound/content"
_SIGNS = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "eq": "=", "neq": "≠"}
_COUNTED = {
    "value_count": "different values of",
    "value_sum": "the sum of",
    "value_avg": "the average of",
    "value_median": "the median of",
}


def page() -> str:
    """Return `docs/reference/rules.md`."""
    loaded = load_rules([], builtin=True, placeholders={}, cache=None).ruleset.rules
    rules = sorted((rule for rule in loaded if not rule.silent), key=_place)
    titles = {rule.info.uid: rule.info.title for rule in loaded}
    products = list(dict.fromkeys(_product(rule) for rule in rules))
    parts = [
        f"{HEAD}# Built-in rules\n",
        (
            f"{len(rules)} rules come with Trailhound and run unless `--no-builtin` is given. "
            "`◆` marks rules over several events. Another "
            f"{len(loaded) - len(rules)} only feed these and make no findings of their own.\n"
        ),
        table(
            ("product", "rules", *(level.label for level in reversed(Level))),
            [_counts(product, rules) for product in products],
        ),
    ]
    for product in products:
        chosen = [rule for rule in rules if _product(rule) == product]
        parts.append(f"## {product}\n")
        parts.append(
            table(
                ("level", "rule", "ATT&CK"),
                [(rule.info.level.label, _link(rule), _techniques(rule)) for rule in chosen],
            )
        )
        parts.extend(_section(rule, titles) for rule in chosen)
    return "\n".join(parts)


def _place(rule: Rule) -> tuple[str, int, str]:
    return _product(rule), -rule.info.level, rule.info.title


def _product(rule: Rule) -> str:
    return Path(rule.info.path).parent.name


def _counts(product: str, rules: Sequence[Rule]) -> tuple[str, ...]:
    levels = [rule.info.level for rule in rules if _product(rule) == product]
    of_level = (str(levels.count(level) or "") for level in reversed(Level))
    return (f"[{product}](#{anchor(product)})", str(len(levels)), *of_level)


def _link(rule: Rule) -> str:
    mark = "◆ " if rule.window else ""
    return f"{mark}[{rule.info.title}](#{anchor(rule.info.title)})"


def _techniques(rule: Rule) -> str:
    techniques = attack_of(rule.info.tags).techniques
    return " ".join(f"[{name}]({_ATTACK}/{name.replace('.', '/')}/)" for name in techniques)


def _section(rule: Rule, titles: dict[str, str]) -> str:
    info = rule.info
    path = Path(info.path).relative_to(BUILTIN).as_posix()
    about, found, advice = " ".join(info.description.split()).partition(" Check first: ")
    facts = [f"**{info.level.label}**", f"[`{path}`]({_CONTENT}/{path})", f"`{info.uid}`"]
    lines = [f"### {info.title}\n", f"{' · '.join(facts)}\n", f"{about}\n"]
    if found:
        lines.append(f"**Check first:** {advice}\n")
    lines.append(f"Reads {_reads(rule, titles)}\n")
    if info.false_positives:
        lines.append(f"May be harmless: {' '.join(map(_ended, info.false_positives))}\n")
    return "\n".join(lines)


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _reads(rule: Rule, titles: dict[str, str]) -> str:
    if rule.window is None:
        return f"`{rule.logsource}`."
    return _window(rule.window, titles)


def _window(window: Window, titles: dict[str, str]) -> str:
    fed = [f"*{titles[uid]}*" for uid in window.rules]
    within = f"within {duration(window.timespan_ns)}"
    group = ", ".join(f"`{field.name}`" for field in window.group_by)
    same = f", for the same {group}" if group else ""
    bounds = " and ".join(f"{_SIGNS[bound.op]} {bound.value:g}" for bound in window.conditions)
    if window.kind in ("temporal", "temporal_ordered"):
        order = " in this order" if window.kind == "temporal_ordered" else " together"
        return f"{', '.join(fed)}{order} {within}{same}."
    if window.kind == "event_count":
        return f"events of {' or '.join(fed)}: {bounds} {within}{same}."
    field = window.field.name if window.field else ""
    counted = _COUNTED.get(window.kind, f"percentile {window.percentile} of")
    return f"events of {' or '.join(fed)}: {counted} `{field}` {bounds} {within}{same}."
