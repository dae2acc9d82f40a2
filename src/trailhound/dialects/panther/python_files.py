"""The Python that a YAML file names, as text and as syntax. It is not run."""

import ast
import os
import re
import warnings

from trailhound.dialects.panther.items import Item, Rejected
from trailhound.rules.ir import Note

_SIZE_LIMIT = 512 * 1024
_NOT_HERE = re.compile(r"\bp_(?:any_\w+|enrichment|source_label|source_id)\b")
_LOOKUP = re.compile(r"\.lookup\(")


def source_of(item: Item) -> str:
    """Return the Python that an item names."""
    name = item.need("Filename")
    data = item.file.siblings.get(name)
    if data is None:
        raise Rejected(f"Filename {name!r} is no file beside it that can be read", "Filename")
    if len(data) > _SIZE_LIMIT:
        raise Rejected(f"{name} is over {_SIZE_LIMIT:,} bytes: not a rule", "Filename")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Rejected(f"{name} is not valid UTF-8", "Filename") from None


def path_of(item: Item) -> str:
    """Return where that file is, as shown to people."""
    return os.path.join(item.folder, item.text("Filename"))


def parsed(item: Item, source: str) -> ast.Module:
    """Return the syntax of a source; `Rejected` where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in its texts, which are its own affair
            return ast.parse(source)
    except SyntaxError as error:
        name = item.text("Filename")
        reason = f"{name}:{error.lineno or 1}: not valid Python: {error.msg}"
        raise Rejected(reason, "Filename") from None
    except (ValueError, RecursionError, MemoryError) as error:
        name = item.text("Filename")
        raise Rejected(f"{name} is not valid Python: {error}", "Filename") from None


def functions_of(tree: ast.Module) -> set[str]:
    """Return the names that a module gives its functions, also by import and assignment."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.alias():
                found.add(node.asname or node.name)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
    return found


def notes_of(item: Item, source: str) -> list[Note]:
    """Say what a source asks for that events do not have here."""
    line = item.line("Filename")
    notes = []
    names = sorted(set(_NOT_HERE.findall(source)))
    if names:
        text = f"{', '.join(names)}: Panther adds this to events; here it is absent"
        notes.append(Note(text, line))
    if _LOOKUP.search(source):
        notes.append(Note("asks lookup tables, and there are none here", line, ignored=True))
    return notes
