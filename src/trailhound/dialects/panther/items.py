"""One item of analysis: what its YAML says, with the place of each part."""

import os
from collections.abc import Mapping
from typing import Any

from trailhound.dialects.contract import RuleFile
from trailhound.dialects.yaml_text import Document, Place
from trailhound.model.levels import Level

_LEVELS = {
    "info": Level.INFORMATIONAL,
    "low": Level.LOW,
    "medium": Level.MEDIUM,
    "high": Level.HIGH,
    "critical": Level.CRITICAL,
}


class Rejected(Exception):
    """An item, or a part of it, that cannot be used."""

    def __init__(self, reason: str, *where: object) -> None:
        """Make one; `where` is a key path, and a value at the end that says it more closely."""
        super().__init__(reason)
        self.reason = reason
        self.where = where


class Item:
    """One document of a file that has an `AnalysisType`."""

    def __init__(
        self,
        file: RuleFile,
        document: Document,
        content: Mapping[str, Any],
        folder: str | None = None,
    ) -> None:
        self.file = file
        self.document = document
        self.content = content
        self.folder = os.path.dirname(file.path) if folder is None else folder
        """Where the Python that it names is."""

    @property
    def kind(self) -> str:
        """Its `AnalysisType`."""
        return str(self.content.get("AnalysisType"))

    @property
    def title(self) -> str:
        """What it is called, for errors."""
        names = ("RuleID", "DataModelID", "GlobalID", "PolicyID", "QueryName", "LookupName")
        return next((str(self.content[name]) for name in names if name in self.content), "")

    @property
    def detection_id(self) -> str:
        """The id of a rule or policy; `Rejected` where it has none."""
        return self.need("PolicyID" if self.kind == "policy" else "RuleID")

    def place(self, *where: object) -> Place:
        """Return line and column of the deepest part that is known."""
        texts = [str(part) for part in where]
        if len(texts) > 1 and texts[-1] in self.document.values:
            return self.document.values[texts[-1]]
        return self.document.place_of(*texts)

    def line(self, *where: object) -> int:
        """Return the line of the deepest part that is known."""
        return self.place(*where)[0]

    def text(self, key: str, default: str = "") -> str:
        """Return the text at a key; `Rejected` where something else stands there."""
        value = self.content.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            if isinstance(value, int | float) and not isinstance(value, bool):
                return str(value)
            raise Rejected(f"{key} must be text", key)
        return value.strip()

    def need(self, key: str) -> str:
        """Return the text at a key that must be there."""
        value = self.text(key)
        if not value:
            raise Rejected(f"{key} is missing", key)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the boolean at a key."""
        value = self.content.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise Rejected(f"{key} must be true or false", key)
        return value

    def whole(self, key: str, default: int) -> int:
        """Return the number at a key: whole, above 0."""
        return whole(self.content, key, default, key)

    def texts(self, key: str) -> list[str]:
        """Return the list of texts at a key; one text is a list of one."""
        value = self.content.get(key)
        if value is None:
            return []
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) for entry in listed):
            raise Rejected(f"{key} must be a list of texts", key)
        return [entry.strip() for entry in listed]

    def listed(self, key: str) -> list[Any]:
        """Return the list at a key."""
        value = self.content.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise Rejected(f"{key} must be a list", key)
        return value

    def level(self) -> Level:
        """Return its severity."""
        return level_of(self.need("Severity"), "Severity")


def whole(content: Mapping[str, Any], key: str, default: int, *where: object) -> int:
    """Return the number at a key of a mapping: whole, above 0, below a billion."""
    value = content.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1_000_000_000:
        raise Rejected(f"{key} must be a whole number above 0", *where)
    return value


def level_of(text: object, *where: object) -> Level:
    """Return the level that a severity is."""
    level = _LEVELS.get(str(text).strip().lower())
    if level is None:
        raise Rejected(f"severity {str(text)!r} is none of {', '.join(_LEVELS)}", *where)
    return level
