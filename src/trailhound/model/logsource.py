"""Log sources as rules name them, and the routes from a rule to the events it reads."""

from msgspec import Struct


class LogSource(Struct, frozen=True):
    """What a rule says it reads (Sigma Rules Specification 2.1.0, "Log source")."""

    product: str | None = None
    category: str | None = None
    service: str | None = None

    def __str__(self) -> str:
        parts = {"product": self.product, "category": self.category, "service": self.service}
        return " ".join(f"{key}={value}" for key, value in parts.items() if value) or "any"


class Route(Struct, frozen=True):
    """One log source that an event source can serve, and the view that serves it.

    A rule takes a route when everything that the *rule* names equals what the route names;
    what the rule leaves open fits every route, so `product: linux` alone reads the records of
    every Linux log. Views that are defined by a category alone (`process_creation`) are derived
    from those records; only a rule that names the category reads them.
    """

    logsource: LogSource
    view: str
    """Name of the view in `Event.views` that such rules read."""

    def serves(self, wanted: LogSource) -> bool:
        """Whether a rule with log source `wanted` reads this route."""
        have = self.logsource
        if have.category and not have.service and wanted.category is None:
            return False
        return all(
            asked is None or asked == offered
            for asked, offered in (
                (wanted.product, have.product),
                (wanted.category, have.category),
                (wanted.service, have.service),
            )
        )


class FieldInfo(Struct, frozen=True):
    """One field of a view: an entry of the field catalogue."""

    name: str
    """Dotted path. A trailing `.*` says that anything may stand below it."""
    description: str = ""
    view: str = ""
    """The view it belongs to; empty: every view of the source."""
