"""Texts of rules and users inside SQL: quoted, so that nothing in them is ever read as SQL.

DuckDB, "Literal Types": inside `'…'` and `"…"` only the quote itself is special, and is doubled;
a backslash is an ordinary character.
"""


class Unquotable(ValueError):
    """A text that SQL cannot hold."""


def literal(text: str) -> str:
    """Return a text as a string literal.

    Raises:
        Unquotable: it holds a NUL or a lone surrogate.
    """
    if "\0" in text:
        raise Unquotable("a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Unquotable("half of a surrogate pair")
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as a quoted identifier. Raises `Unquotable` as `literal` does."""
    literal(name)
    return '"' + name.replace('"', '""') + '"'


def pointer(*keys: str) -> str:
    """Return a JSON pointer (RFC 6901) to a nested key as a string literal."""
    return literal("".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys))


def in_like(text: str) -> str:
    r"""Escape a text for `LIKE … ESCAPE '\'`."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


def texts(items: list[str]) -> str:
    """Return a list of literals."""
    return "[" + ", ".join(map(literal, items)) + "]"
