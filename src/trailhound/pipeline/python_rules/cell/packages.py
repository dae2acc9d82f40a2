"""Packages that Panther gives its rules besides the standard library.

What only computes is real, where it is installed beside Trailhound. What would ask the network, or
is not installed, is a stand-in: it can be imported, for most rules import helpers that import it
and never call what needs it, and whoever uses it is told that it is not there.
"""

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

COMPUTING = ("dateutil", "policyuniverse")
"""Those that may be real."""
KNOWN = frozenset(
    {
        *COMPUTING,
        *("boto3", "botocore", "jsonpath_ng", "panther_detection_helpers", "pycountry"),
        "requests",
    }
)


def load(names: Iterable[str], folders: Sequence[str]) -> None:
    """Import those of the modules that are real here, before files are out of reach.

    Args:
        names: modules that the program names.
        folders: where packages of `COMPUTING` are.
    """
    sys.path.extend(folders)
    for name in names:
        if folders and name.partition(".")[0] in COMPUTING:
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: S112 - its own import statement says it again
                continue
    del sys.path[len(sys.path) - len(folders) :]


class StandIns(Loader, MetaPathFinder):
    """Finds a stand-in for what is known, and not there."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        top = name.partition(".")[0]
        if top not in KNOWN or getattr(sys.modules.get(top), "__file__", None):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See `importlib.abc.Loader`."""
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(f"{self.__name__}.{name}")


class _Absent(type):
    """The class of what a stand-in holds: classes, so that they can be caught and derived from."""

    path: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(f"{cls.path}.{name}")

    def __call__(cls, *_: Any, **__: Any) -> NoReturn:
        package = cls.path.partition(".")[0]
        raise ModuleNotFoundError(f"{cls.path}: rules cannot use {package} here", name=package)


def _absent(path: str) -> Any:
    return _Absent(path.rpartition(".")[2], (Exception,), {"path": path})
