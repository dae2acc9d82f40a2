"""Text from logs, made safe for the medium it is shown in.

A log line is written by whoever attacks the machine. Shown raw it could move the cursor of a
terminal, reorder a line with bidi overrides, forge a second line, or become a formula, a link
or HTML. Nothing is taken away: what cannot be shown stands there as a visible escape.
"""

import re

_FORMULA_STARTS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_BACKTICKS = re.compile("`+")
# Beyond CommonMark: `$` is mathematics, `@` and `#` are references, and `www.` and `://` are
# links without any brackets in GitHub Flavored Markdown.
_MARKDOWN_SPECIAL = re.compile(
    r"[\\`*_\[\]<>#|~&$@]|:(?=/)|(?<=[wW]{3})\.|^[-+=]|(?<=^[0-9])[.)]|(?<=^[0-9]{2})[.)]"
)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""Return `text` on one line, with every character that does not print as an escape.

    That is everything of the Unicode categories Cc (controls, ESC of ANSI sequences), Cf
    (bidi overrides and isolates, zero-width characters), Cs (lone surrogates), Co, Cn, Zl, Zp,
    and spaces other than the plain one. They become `\n`, `\x1b`, `\u202e`, `\U000e0041`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def cut(text: str, limit: int) -> str:
    """Return `text`, or its first `limit` characters and how many were cut off."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… (+{len(text) - limit:,} characters)"


def prose(text: str) -> str:
    """Return text of a rule file, its lines joined and what does not print escaped."""
    return visible(" ".join(text.split()))


def csv_cell(text: str) -> str:
    """Return `text` so that no spreadsheet reads it as a formula.

    Cells that begin (after spaces) with `=`, `+`, `-`, `@`, their full-width forms, TAB, CR or
    LF get a leading apostrophe (OWASP, "CSV Injection"); what does not print is escaped.
    """
    stripped = text.lstrip(" ")
    shown = visible(text)
    return f"'{shown}" if stripped[:1] in _FORMULA_STARTS and stripped else shown


def markdown_code(text: str) -> str:
    r"""Return a value from a log as a code span for a table cell, empty for empty text.

    Inside a code span neither HTML nor links, entities or emphasis mean anything (CommonMark
    0.31, section 6.1), but a pipe still ends the cell unless it is escaped (GitHub Flavored
    Markdown 0.29, section 4.10). After a backslash, readers disagree on what escapes what, so
    there the pipe becomes `\x7c`.
    """
    return markdown_code_line(text).replace("\\|", "\\\\x7c").replace("|", "\\|")


def markdown_code_line(text: str) -> str:
    """Return a value from a log as a code span for use outside tables."""
    if not text:
        return ""
    shown = visible(text)
    fence = "`" * (max((len(run) for run in _BACKTICKS.findall(shown)), default=0) + 1)
    # One space on each side is taken off again, where either end is a backtick or a space.
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    if not shown.strip(" "):
        pad = ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def markdown_text(text: str) -> str:
    """Return prose of a rule file as Markdown text that is only text, on one line."""
    return _MARKDOWN_SPECIAL.sub(r"\\\g<0>", prose(text))


def _escape(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
