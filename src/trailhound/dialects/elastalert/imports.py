"""Files that a rule names: rules it imports, and lists of values.

`elastalert.loaders.RulesLoader.load_yaml`: what stands in the rule counts before what it
imports, of several imports the last counts, and filters of all of them must hold. Names are
relative to the folder of the rule file.
"""

from typing import Any

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.elastalert.types import file_of
from trailhound.dialects.yaml_text import read_documents

_FILES_LIMIT = 64


class BadImport(Exception):
    """A file that a rule imports cannot be used."""


def names(file: RuleFile) -> list[str]:
    """Return every file that a rule file and the files it imports name. Total."""
    if b"import" not in file.data and b"!file" not in file.data:
        return []
    found: dict[str, None] = {}
    for content in (_content(data) for data in (file.data, *file.siblings.values())):
        if content is not None:
            found.update(dict.fromkeys(imports_of(content)))
            found.update(dict.fromkeys(_lists_of(content)))
    return list(found)


def imports_of(content: dict[str, Any]) -> list[str]:
    """Return the rules that a rule imports."""
    value = content.get("import")
    listed = value if isinstance(value, list) else [value]
    return [name for name in listed if isinstance(name, str)]


def _lists_of(content: dict[str, Any]) -> list[str]:
    return [
        name
        for key in ("blacklist", "whitelist")
        for entry in (content[key] if isinstance(content.get(key), list) else [])
        if isinstance(entry, str) and entry.startswith("!file") and (name := file_of(entry))
    ]


def merged(content: dict[str, Any], file: RuleFile) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a rule with its imports, and for each key that came from one, from which.

    Raises `BadImport` with the reason.
    """
    rule = dict(content)
    origins: dict[str, str] = {}
    ahead = imports_of(rule)
    rule.pop("import", None)
    read = 0
    while ahead:
        name = ahead.pop()
        read += 1
        if read > _FILES_LIMIT:
            raise BadImport(f"imports lead in a circle, or are more than {_FILES_LIMIT}")
        data = file.siblings.get(name)
        loaded = _content(data) if data is not None else None
        if loaded is None:
            problem = "cannot be read" if data is None else "is not a mapping in YAML"
            raise BadImport(f"the imported file {name!r} {problem}")
        ahead.extend(imports_of(loaded))
        loaded.pop("import", None)
        for key, value in loaded.items():
            if key == "filter" and isinstance(rule.get(key), list) and isinstance(value, list):
                rule[key] = [*value, *rule[key]]
            elif key not in rule:
                rule[key] = value
                origins[key] = name
    return rule, origins


def _content(data: bytes) -> dict[str, Any] | None:
    documents, _ = read_documents(data.decode("utf-8-sig", "replace"))
    content = documents[0].content if documents else None
    return dict(content) if isinstance(content, dict) else None
