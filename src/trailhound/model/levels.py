"""Severity levels, as Sigma names them."""

from enum import IntEnum


class Level(IntEnum):
    """Severity of a rule and its findings, ordered.

    Names: Sigma Rules Specification 2.1.0, "Level". The integer equals OCSF 1.5
    `severity_id` (1 Informational … 5 Critical), so it needs no table at the outlet.
    """

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def label(self) -> str:
        """Lower-case name, as rule files write it."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> "Level":
        """Return the level a rule or an option names; `ValueError` where there is none."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            names = ", ".join(level.label for level in cls)
            raise ValueError(f"unknown level {text!r}; expected one of {names}") from None
