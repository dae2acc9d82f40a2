"""Falco's conditions as trees, and their text; `falco.parser` makes them from text."""

import re
from dataclasses import dataclass, field

TRANSFORMERS = ("tolower", "toupper", "b64", "basename", "len")
NUMBER_OPERATORS = ("<=", "<", ">=", ">")
SIGN_OPERATORS = ("==", "=", "!=")
WORD_OPERATORS = (
    "glob",
    "iglob",
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "bstartswith",
    "endswith",
    "regex",
)
LIST_OPERATORS = ("intersects", "in", "pmatch")
OPERATORS = (*NUMBER_OPERATORS, *SIGN_OPERATORS, *WORD_OPERATORS, *LIST_OPERATORS, "exists")

ARGUMENT = re.compile(r"""[^\]\["' \t\n\v\f\r]+""")
"""A field argument that needs no quotes."""
_ESCAPED = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field, with its argument in brackets if it has one."""

    name: str
    argument: str | None = None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A transformer applied to a field."""

    name: str
    inner: "FieldRef | Call"
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Value:
    """A literal. One that is not quoted may be the name of a list."""

    text: str
    quoted: bool = False
    at: int = field(default=0, compare=False)


Operand = FieldRef | Call


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison; `exists` has no right side."""

    left: Operand
    operator: str
    right: tuple[Value, ...] | Operand = ()
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Named:
    """A macro."""

    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Negation:
    """`not`."""

    item: "Node"


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` over two conditions or more."""

    word: str
    items: tuple["Node", ...]


Node = Check | Named | Negation | Junction


def shown(node: Node) -> str:
    """Write a condition; `parser.parse` is the inverse."""
    match node:
        case Junction():
            return f" {node.word} ".join(_part(item, node.word) for item in node.items)
        case Negation():
            return f"not {_part(node.item, 'not')}"
        case Named():
            return node.name
        case Check():
            return _comparison(node)


def _part(node: Node, word: str) -> str:
    bare = isinstance(node, Check | Named) or (isinstance(node, Negation) and word != "not")
    bare = bare or (word == "or" and isinstance(node, Junction) and node.word == "and")
    return shown(node) if bare else f"({shown(node)})"


def _comparison(node: Check) -> str:
    left = shown_operand(node.left)
    if node.operator == "exists":
        return f"{left} exists"
    right = node.right
    if isinstance(right, FieldRef):
        return f"{left} {node.operator} val({shown_operand(right)})"
    if isinstance(right, Call):
        return f"{left} {node.operator} {shown_operand(right)}"
    if node.operator in LIST_OPERATORS:
        return f"{left} {node.operator} ({', '.join(map(_literal_text, right))})"
    if node.operator in NUMBER_OPERATORS:
        return f"{left} {node.operator} {right[0].text}"
    return f"{left} {node.operator} {_literal_text(right[0])}"


def shown_operand(operand: Operand) -> str:
    """Write a field or a transformer over one."""
    if isinstance(operand, Call):
        return f"{operand.name}({shown_operand(operand.inner)})"
    if operand.argument is None:
        return operand.name
    argument = operand.argument
    if not argument or ARGUMENT.fullmatch(argument) is None:
        argument = _in_quotes(argument)
    return f"{operand.name}[{argument}]"


def _literal_text(value: Value) -> str:
    return _in_quotes(value.text) if value.quoted else value.text


def _in_quotes(text: str) -> str:
    return '"' + "".join(_ESCAPED.get(c, '\\"' if c == '"' else c) for c in text) + '"'
