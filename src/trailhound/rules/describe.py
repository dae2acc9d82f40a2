"""The IR in words, for explanations and for `rules explain`."""

from trailhound.rules.ir import (
    And,
    Any1,
    AnyRun,
    AtLeast,
    Compare,
    Equals,
    Exists,
    Field,
    InNetwork,
    IsNull,
    Keyword,
    Like,
    Not,
    Number,
    Or,
    Order,
    Predicate,
    PythonCall,
    Regex,
    SameAs,
    Some,
    Test,
    Text,
    TimePart,
)

_SIGNS = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥"}
_PLACES = {"lt": "before", "lte": "at or before", "gt": "after", "gte": "at or after"}


def describe(node: Predicate) -> str:
    """Return one predicate node in words, without its children."""
    match node:
        case And():
            return node.label or "all of"
        case Or():
            return node.label or "any of"
        case Not():
            return "not"
        case AtLeast():
            return node.label or f"at least {node.count} of"
        case Compare():
            return f"{node.field.name} {describe_test(node.test)}"
        case Keyword():
            return f"any text {describe_test(node.test)}"
        case Exists():
            return f"{node.field.name} is present"
        case Some():
            how = "every element" if node.every else "one element"
            how = "one element and no other" if node.once else how
            return f"{how} of {node.field.name}"
        case PythonCall():
            return f"rule(event) of {node.program} returns True"


def describe_test(test: Test) -> str:
    """Return a test in words: `is 'create'`, `starts with '/tmp/'`."""
    match test:
        case Equals():
            shown = f"'{test.value}'" if isinstance(test.value, str) else str(test.value).lower()
            return f"is {shown}" + (" (case-sensitive)" if test.cased else "")
        case Like():
            return _like(test) + (" (case-sensitive)" if test.cased else "")
        case Regex():
            flags = "".join(
                letter
                for letter, on in (
                    ("i", test.ignore_case),
                    ("m", test.multiline),
                    ("s", test.dotall),
                )
                if on
            )
            return f"matches /{test.pattern}/{flags}"
        case InNetwork():
            return f"is in network {test.network}"
        case Number():
            return f"{_SIGNS[test.op]} {test.value}"
        case Order():
            return f"is {_PLACES[test.op]} '{test.value}' in the order of text"
        case IsNull():
            return "is null or absent"
        case SameAs():
            return f"{_SIGNS.get(test.how, test.how)} field {test.other.name}"
        case TimePart():
            sign = "" if test.op == "is" else f"{_SIGNS[test.op]} "
            return f"has {test.part} {sign}{test.value}"


def fields_of(node: Predicate) -> list[Field]:
    """Return every field a predicate reads, each once, in order.

    Fields inside `Some` come with the path of the list in front.
    """
    found: dict[Field, None] = {}

    def visit(node: Predicate, prefix: Field | None) -> None:
        match node:
            case And() | Or() | AtLeast():
                for item in node.items:
                    visit(item, prefix)
            case Not():
                visit(node.item, prefix)
            case Some():
                outer = _below(prefix, node.field)
                found.setdefault(outer)
                visit(node.item, outer)
            case Compare():
                found.setdefault(_below(prefix, node.field))
                if isinstance(node.test, SameAs):
                    found.setdefault(_below(prefix, node.test.other))
            case Exists():
                found.setdefault(_below(prefix, node.field))
            case Keyword() | PythonCall():
                pass

    visit(node, None)
    return list(found)


def _below(prefix: Field | None, field: Field) -> Field:
    if prefix is None:
        return field
    return Field(
        f"{prefix.name}[].{field.name}",
        tuple((*outer, *inner) for outer in prefix.paths for inner in field.paths),
        field.via,
    )


def _like(test: Like) -> str:
    match test.parts:
        case (AnyRun(),):
            return "is present and not null"
        case (Text(text), AnyRun()):
            return f"starts with '{text}'"
        case (AnyRun(), Text(text)):
            return f"ends with '{text}'"
        case (AnyRun(), Text(text), AnyRun()):
            return f"contains '{text}'"
    shown = "".join(
        part.text if isinstance(part, Text) else ("?" if isinstance(part, Any1) else "*")
        for part in test.parts
    )
    return f"is like '{shown}'"
