"""Which rules and tests `trailhound rules test` runs."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from trailhound.model.errors import TrailhoundError

FILTERS = ("RuleID", "Severity", "LogTypes", "Tags", "Status", "Test")


class Filter(Struct, frozen=True):
    """Which rules, or which tests, to run: `Tags=aws,iam`, `Severity!=Info`."""

    key: str
    values: frozenset[str]
    """In lower case; one of them must be there, or none."""
    wanted: bool

    @classmethod
    def read(cls, text: str) -> "Filter":
        """Read a filter as `pat` does: a key of the rule file, and values between commas.

        Raises:
            TrailhoundError: It is none, or of a key that is not one of `FILTERS`.
        """
        key, equals, values = text.partition("=")
        wanted = not key.endswith("!")
        known = {name.lower(): name for name in FILTERS}
        name = known.get(key.removesuffix("!").strip().lower())
        if not equals or name is None:
            raise TrailhoundError(
                f"--filter {text}: must be KEY=VALUE or KEY!=VALUE, KEY one of {', '.join(FILTERS)}"
            )
        listed = (value.strip().lower() for value in values.split(","))
        return cls(name, frozenset(listed), wanted)

    def lets(self, facts: Mapping[str, Sequence[str]]) -> bool:
        """Say whether it lets something through."""
        found = {value.lower() for value in facts[self.key]}
        return bool(found & self.values) is self.wanted
