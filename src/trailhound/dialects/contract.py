"""What a rule dialect is: text in, rule books out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trailhound.rules.book import RuleBook

Placeholders = Mapping[str, tuple[str, ...]]
"""Values that the user gives for placeholders in rules: name → values."""


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One rule file as it lies on disk."""

    path: str
    """As the user named it; shown in findings and errors."""
    data: bytes
    siblings: Mapping[str, bytes] = field(default_factory=dict)
    """Files that it names (`Dialect.siblings`), by the name it uses; one that cannot be read is
    not there."""


def _no_siblings(_file: RuleFile) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """One rule language."""

    name: str
    recognises: Callable[[RuleFile], bool]
    """Whether the file is of this language. Cheap, total."""
    read: Callable[[RuleFile, Placeholders], RuleBook]
    """Total: what cannot be used is an error in the book, never an exception."""
    read_together: Callable[[Sequence[RuleFile], Placeholders], list[RuleBook]] | None = None
    """For a language whose files build on each other: reads all files of a run at once, in the
    order in which the user named them, and gives a book for each. Total as well."""
    version: int = 1
    """Raised when the meaning of the same text changes; part of the cache key."""
    suffixes: tuple[str, ...] = field(default=(".yml", ".yaml"))
    siblings: Callable[[RuleFile], Iterable[str]] = _no_siblings
    """Other files without which a rule file cannot be read: imports, lists of values. Names
    are as written; relative ones start from the folder of the rule file. Asked again with
    what was found, for files that name files. Cheap, total."""
