"""Loads a program: the rule, its helpers and its data models, as modules of this process."""

import ast
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from trailhound.pipeline.python_rules.cell import event, packages
from trailhound.pipeline.python_rules.cell.event import Model
from trailhound.pipeline.python_rules.cell.lock import REFUSED


def load_imports(program: dict[str, Any], folders: Sequence[str]) -> None:
    """Import the modules that the program names, of the standard library and `packages`.

    Only import statements are read. What cannot be imported is left: the rule will be told.
    """
    names = list(dict.fromkeys(_imports(program)))
    packages.load(names, folders)
    for name in names:
        parts = name.split(".")
        if parts[0] not in sys.stdlib_module_names or REFUSED.intersection(parts):
            continue
        if "__main__" in parts:
            continue
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: S112 - its own import statement says it again
            continue
    if "zoneinfo" in sys.modules:
        _keep_time_zones()


class Program:
    """The modules of a program, ready to be asked.

    Raises:
        BaseException: Whatever the code of the program raises while it is loaded.
    """

    def __init__(self, program: dict[str, Any]):
        self.path: str = program["path"]
        helpers = dict(program["helpers"])
        # Behind the finders of the standard library, as the folder of helpers is in Panther.
        sys.meta_path[-1:-1] = [_Helpers(helpers), packages.StandIns()]
        for name in ("panther_core", "panther_core.enriched_event", "panther_core.immutable"):
            _announce(name)
        self.module = ModuleType("rule")
        self.module.__file__ = self.path
        _run(program["source"], self.path, self.module)
        self.models = {
            log_type: model
            for described in program["models"]
            for model in (_model(described),)
            for log_type in described["log_types"]
        }


class _Helpers(Loader, MetaPathFinder):
    """Finds the helpers of the program."""

    def __init__(self, sources: dict[str, str]):
        self.sources = sources

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in self.sources else None

    def exec_module(self, module: ModuleType) -> None:
        _run(self.sources[module.__name__], f"{module.__name__}.py", module)


def _run(source: str, path: str, module: ModuleType) -> None:
    exec(compile(source, path, "exec", dont_inherit=True), vars(module))  # noqa: S102 - the purpose


def _model(described: dict[str, Any]) -> Model:
    module = ModuleType(described["model_id"])
    if described["source"]:
        _run(described["source"], described["path"], module)
    mappings = described["mappings"]
    methods = {}
    for mapping in mappings:
        if mapping["method"]:
            if not hasattr(module, mapping["method"]):
                raise AttributeError(
                    f"data model {described['model_id']} has no function {mapping['method']}"
                )
            methods[mapping["name"]] = getattr(module, mapping["method"])
    paths = {mapping["name"]: mapping["path"] for mapping in mappings if mapping["path"]}
    return Model(described["model_id"], paths, methods)


def _announce(name: str) -> None:
    """Offer the names of panther_core that rules import."""
    module = ModuleType(name)
    module.__path__ = []
    for offered in (
        event.PantherEvent,
        event.ImmutableCaseInsensitiveDict,
        event.ImmutableList,
        event.json_encoder,
    ):
        setattr(module, offered.__name__, offered)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _imports(program: dict[str, Any]) -> Iterator[str]:
    sources = [program["source"], *(source for _, source in program["helpers"])]
    sources += [model["source"] for model in program["models"]]
    for source in sources:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module
                # `from xml.etree import ElementTree` may name a module, too.
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"


def _keep_time_zones() -> None:
    import zoneinfo  # noqa: PLC0415 - most rules do without

    _TIME_ZONES.extend(map(zoneinfo.ZoneInfo, zoneinfo.available_timezones()))


_TIME_ZONES: list[Any] = []
