"""A module of Python as syntax: what the names at its top surely mean. Nothing of it is run."""

import ast
import re
from collections.abc import Iterable

from trailhound.rules.ir import Path
from trailhound.rules.python import DataModel

_PLAIN_PATH = re.compile(r"(?:\$\.)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_CHANGING = frozenset(
    (
        *("append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault"),
        *("add", "discard", "popitem", "sort", "reverse", "difference_update"),
        *("intersection_update", "symmetric_difference_update", "__setitem__", "__delitem__"),
    )
)
_REBINDING = frozenset(("exec", "eval", "globals", "locals", "vars", "setattr", "delattr"))


class Modules:
    """The modules that rules may import, as syntax, and the data models they may ask."""

    def __init__(self) -> None:
        self._known: dict[str, Module] = {}
        self._mapped: dict[str, dict[str, str]] = {}

    def add(self, name: str, tree: ast.Module) -> None:
        """Add a module; the first of a name counts."""
        self._known.setdefault(name, Module(tree))

    def add_model(self, model: DataModel) -> None:
        """Add a data model; the first of a log type counts."""
        for log_type in model.log_types:
            # Of a name that is mapped twice the last counts.
            paths = {mapped.name: mapped.path for mapped in model.mappings}
            self._mapped.setdefault(log_type, paths)

    def path_of(self, log_type: str, name: str) -> Path | None:
        """Return the path that a name has in the data model of a log type, if it is a plain one."""
        text = self._mapped.get(log_type, {}).get(name, "")
        return tuple(text.removeprefix("$.").split(".")) if _PLAIN_PATH.fullmatch(text) else None

    def get(self, name: str) -> "Module | None":
        """Return the module of a name."""
        return self._known.get(name)


class Module:
    """What the names at the top of a module surely mean."""

    def __init__(self, tree: ast.Module) -> None:
        self.functions: dict[str, ast.FunctionDef] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        """Name → (module, its name there)."""
        self.constants: dict[str, ast.expr] = {}
        self.names_inside = any(isinstance(node, ast.NamedExpr) for node in ast.walk(tree))
        """Whether expressions bind names."""
        bound: dict[str, int] = {}
        for node in ast.walk(tree):
            for name in bound_by(node):
                bound[name] = bound.get(name, 0) + 1
        for node in tree.body:
            match node:
                case ast.FunctionDef() if not node.decorator_list:
                    self.functions[node.name] = node
                case ast.ImportFrom(module=str(module), level=0):
                    for alias in node.names:
                        self.imports[alias.asname or alias.name] = (module, alias.name)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.constants[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.constants[name] = value
        changed = _changed(tree)
        sure = not bound.keys() & {"*"} and not any(
            isinstance(node, ast.Name) and node.id in _REBINDING for node in ast.walk(tree)
        )
        for known in (self.functions, self.imports, self.constants):
            for name in [*known]:
                if not sure or bound.get(name) != 1 or name in changed:
                    del known[name]


def bound_by(node: ast.AST) -> Iterable[str]:
    """Yield the names that a node gives a value."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.alias():
            yield node.asname or node.name
        case ast.arg():
            yield node.arg
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.Global() | ast.Nonlocal():
            for name in node.names:
                yield from (name, name)


def _changed(tree: ast.Module) -> set[str]:
    """Return names whose values may be changed in place, or handed to who may change them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if attr in _CHANGING:
                found.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.AugAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Call(func=func, args=args, keywords=keywords):
                harmless = isinstance(func, ast.Name) and func.id in _HARMLESS
                if not harmless and not _asks_text(func):
                    handed = [*args, *(keyword.value for keyword in keywords)]
                    found.update(arg.id for arg in handed if isinstance(arg, ast.Name))
    return found


_HARMLESS = frozenset(
    ("any", "all", "len", "sorted", "set", "frozenset", "tuple", "list", "str", "bool", "sum")
)


def _asks_text(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute) and func.attr in (
        *("startswith", "endswith", "get", "deep_get", "join", "format"),
    )
