"""The page of commands, from the parser itself.

It does not use argparse's own help text, which differs between versions of Python.
"""

import argparse
from collections.abc import Iterator

from handbook.text import HEAD, table
from trailhound.cli.main import parser


def page() -> str:
    """Return `docs/reference/cli.md`."""
    root = parser()
    parts = [
        f"{HEAD}# Commands\n",
        f"{_prose(root.description)}\n",
        "Every command has `--help`. What exit codes mean: [exit codes](../exit-codes.md).\n",
    ]
    for name, command in _commands(root):
        parts.append(f"## `{name}`\n")
        parts.append(f"{_prose(command.description)}\n")
        parts.append(f"```\n{_usage(name, command)}\n```\n")
        for group in command._action_groups:  # noqa: SLF001 - argparse has no other way
            rows = [_row(command, action) for action in group._group_actions]  # noqa: SLF001
            if rows and group.title:
                parts.append(f"**{group.title.capitalize()}**\n")
                parts.append(table(("argument", "meaning"), rows))
        if command.epilog:
            parts.append(f"```\n{command.epilog.strip()}\n```\n")
    return "\n".join(parts)


def _commands(root: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in root._actions:  # noqa: SLF001 - as above
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        for command in action.choices.values():
            below = list(_commands(command))
            yield from below or [(command.prog, command)]


def _prose(text: str | None) -> str:
    """Indented lines, such as examples, become a code block."""
    blocks = []
    for paragraph in (text or "").strip("\n").split("\n\n"):
        lines = paragraph.rstrip().split("\n")
        code = all(line.startswith("  ") for line in lines)
        blocks.append("```\n" + "\n".join(map(str.strip, lines)) + "\n```" if code else paragraph)
    return "\n\n".join(blocks).rstrip()


def _usage(name: str, command: argparse.ArgumentParser) -> str:
    words = [name, "[options]"]
    for action in command._get_positional_actions():  # noqa: SLF001 - as above
        shown = str(action.metavar or action.dest)
        words.append({"+": f"{shown} ...", "?": f"[{shown}]"}.get(str(action.nargs), shown))
    return " ".join(words)


def _row(command: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    value = ""
    if action.choices is not None:
        value = f" `{'` `'.join(map(str, action.choices))}`"
    elif action.metavar and action.option_strings:
        value = f" {action.metavar}"
    name = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar}`"
    meaning = (action.help or "") % {**vars(action), "prog": command.prog}
    return name + value, meaning
