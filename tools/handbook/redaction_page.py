"""The page of what is redacted, from the tables that find it."""

from collections.abc import Iterable

from handbook.text import HEAD, table
from trailhound.ledger.redaction import Redactor
from trailhound.ledger.secret_fields import (
    FIELDS,
    NOT_SECRET_NAME_ENDS,
    PLACEHOLDERS,
    SECRET_KEY_ENDS,
    SECRET_KEYS,
    SECRET_NAME_PARTS,
)
from trailhound.ledger.secret_text import RULES


def page() -> str:
    """Return `docs/reference/redaction.md`."""
    return "\n".join(
        (
            f"{HEAD}# What is redacted\n",
            (
                f"Version {Redactor.TABLES_VERSION} of the tables. What it means: "
                "[redaction](../redaction.md).\n"
            ),
            "## Fields\n",
            (
                "`**` stands for any number of keys. What stands before the first key may be "
                "anything, and lists are seen through.\n"
            ),
            table(
                ("logs", "field", "what it holds", "where"),
                (
                    (field.source, f"`{field.path}`", field.what, field.when.value or "always")
                    for field in FIELDS
                ),
            ),
            "## Keys in any log\n",
            (
                "Their text or number is a secret. A blank stands for `_`, `-`, `.` or nothing; "
                "capitals do not matter.\n"
            ),
            f"- keys: {_listed(SECRET_KEYS)}",
            f"- keys that end so: {_listed(SECRET_KEY_ENDS)}",
            (
                f"- values beside a `name` or `key` with one of these in it: "
                f"{_listed(SECRET_NAME_PARTS)}; but not where it ends with "
                f"{_listed(NOT_SECRET_NAME_ENDS)}"
            ),
            (
                f"- left as it is: {_listed(sorted(PLACEHOLDERS))}, rows of `*`, `true`, `false`, "
                "`null`, empty text\n"
            ),
            "## Text\n",
            "Command lines, URLs, headers, messages. `SECRET` is what is replaced.\n",
            table(
                ("what", "for example"),
                ((rule.what, f"`{rule.example}`") for rule in RULES),
            ),
        )
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
