"""The event as Panther hands it to a rule: it behaves as `panther_core.PantherEvent` does.

What is the same, and was compared (tests/test_panther_parity.py, panther-core 0.16.3): look-up of
keys without regard to case (`deep_walk` and JSON paths excepted), what `deep_get` and `deep_walk`
return where nothing is there, which of data model, `p_udm` and event answers `udm`, equality,
what has a `json_encoder` and what does not.

What differs on purpose: what is handed out raw there (a slice of a list, what `deep_walk` finds)
is a copy or immutable here, so no function of a rule changes what the next one sees;
`event_time_epoch` reads ISO 8601, with any number of fractional digits, and is 0 for other texts.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from trailhound.pipeline.python_rules.cell.json_path import JsonPath


class PantherError(Exception):
    """What Panther raises where a data model is asked for and there is none."""

    def __str__(self) -> str:
        first, *rest = self.args
        return f"{first}: {', '.join(map(str, rest))}" if rest else str(first)


class _Immutable:
    """What both kinds of containers share."""

    _container: Any

    def __getitem__(self, key: Any) -> Any:
        return immutable(self._container[key])

    def __len__(self) -> int:
        return len(self._container)

    def __iter__(self) -> Iterator[Any]:
        return map(immutable, self._container)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._container})"


class ImmutableCaseInsensitiveDict(_Immutable, Mapping):  # type: ignore[type-arg]
    """A mapping that cannot be changed; of keys that differ in case only, the first answers."""

    def __init__(self, container: Any):
        # Panther wraps whatever a rule gives it.
        self._container = container.copy() if hasattr(type(container), "copy") else container
        self._by_lower: dict[str, str] | None = None

    def __getitem__(self, key: Any) -> Any:
        if key in self._container or not self._container:
            return immutable(self._container[key])
        if self._by_lower is None:
            self._by_lower = {}
            for written in self._container:
                self._by_lower.setdefault(written.lower(), written)
        written = self._by_lower.get(key.lower())
        if written is None:
            raise KeyError(key)
        return immutable(self._container[written])

    def copy(self) -> dict[str, Any]:
        """Return a copy, changeable at all depths."""
        return dict(copy.deepcopy(self._container))

    def to_dict(self) -> dict[str, Any]:
        """Return a copy, changeable at all depths."""
        return self.copy()

    def raw_view(self) -> Any:
        """Return a copy: Panther returns the original, and asks not to change it."""
        return copy.deepcopy(self._container)

    def deep_get(self, *keys: str, default: Any = None) -> Any:
        """Follow keys through mappings; where one is missing or null, return the default."""
        found = reduce(
            lambda value, key: value.get(key, default) if isinstance(value, Mapping) else default,
            keys,
            self,
        )
        return default if found is None else found


class ImmutableList(_Immutable, Sequence):  # type: ignore[type-arg]
    """A list that cannot be changed; equal to any list or tuple with the same items."""

    def __init__(self, container: Any):
        self._container = tuple(container)

    def __getitem__(self, index: Any) -> Any:
        found = self._container[index]
        return tuple(map(immutable, found)) if isinstance(index, slice) else immutable(found)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ImmutableList):
            return bool(self._container == other._container)
        return isinstance(other, list | tuple) and self._container == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> list[Any]:
        """Return a copy, changeable at all depths."""
        return list(copy.deepcopy(self._container))

    def as_list(self) -> list[Any]:
        """Return a copy, changeable at all depths."""
        return self.copy()


def immutable(value: Any) -> Any:
    """Wrap a plain dict or list; anything else is returned as it is."""
    if type(value) is dict:
        return ImmutableCaseInsensitiveDict(value)
    if type(value) is list:
        return ImmutableList(value)
    return value


def json_encoder(value: Any) -> Any:
    """Return what `json.dumps(..., default=json_encoder)` needs for immutable containers."""
    if isinstance(value, _Immutable):
        return value._container  # noqa: SLF001 - of its own module
    raise TypeError(f"object of type {type(value)} is not JSON serializable")


class Model:
    """A data model: which path or function stands for a name."""

    def __init__(
        self, model_id: str, paths: dict[str, str], methods: dict[str, Callable[[Any], Any]]
    ):
        self.model_id = model_id
        self.methods = methods
        self._paths = paths
        self._read: dict[str, JsonPath] = {}

    def knows(self, name: str) -> bool:
        """Say whether the name is mapped at all."""
        return name in self._paths or name in self.methods

    def found(self, name: str, container: Any) -> tuple[str, Any] | None:
        """Return place and value of what the path of a name leads to, if it has one.

        Raises:
            Exception: The path leads to several places; ValueError: it is not understood.
        """
        if name not in self._paths:
            return None
        if name not in self._read:
            self._read[name] = JsonPath(self._paths[name])
        places = self._read[name].find(container)
        if len(places) > 1:
            # Of no class of its own in Panther either.
            raise Exception(
                f"JSONPath [{self._paths[name]}] in DataModel [{self.model_id}], "
                "matched multiple fields."
            )
        return places[0] if places else None


class PantherEvent(ImmutableCaseInsensitiveDict):
    """An event, with what its data model makes of it."""

    json_encoder = staticmethod(json_encoder)

    def __init__(self, event: Any, data_model: Model | None = None):
        super().__init__(event)
        self.data_model = data_model

    def udm(self, *key: str, default: Any = None) -> Any:
        """Return what the data model says a name stands for.

        A name that the model maps is answered by the model alone. Any other is looked for below
        `p_udm`, then in the event; what is empty or zero counts as not there.
        """
        model = self.data_model
        if len(key) == 1 and model is not None:
            name = key[0]
            found = model.found(name, self._container)
            if found is not None:
                return immutable(found[1])
            if name in model.methods:
                return immutable(model.methods[name](immutable(self._container)))
            if model.knows(name):
                return default
        if not key:
            return default
        return self.deep_get("p_udm", *key) or self.deep_get(*key) or default

    def udm_path(self, key: str) -> str | None:
        """Return the path that a name was found at, or the name of its function."""
        model = self.data_model
        if model is None:
            raise PantherError(
                "a data model hasn't been specified for log type", self._container.get("p_log_type")
            )
        found = model.found(key, self._container)
        if found is not None:
            return found[0]
        method = model.methods.get(key)
        return None if method is None else getattr(method, "__name__", repr(method))

    def lookup(self, lookup_name: str, lookup_key: str) -> Any:
        """Return what a test says a lookup table holds; there are no lookup tables here."""
        return self.deep_get("_mocked_lookup_data_", lookup_name, lookup_key)

    def deep_walk(self, *keys: str, default: Any = None, return_val: str = "all") -> Any:
        """Follow keys through mappings, and through every item of lists.

        Returns:
            The only thing found, or all of them, each once; the first or the last of them.
        """
        return copy.deepcopy(_walk(self._container, keys, default, return_val))

    def event_time_epoch(self, force_utc: bool = True) -> int:  # noqa: FBT001, FBT002 - Panther's
        """Return `p_event_time` in seconds since 1970; 0 where it is missing or not understood."""
        text = str(self.get("p_event_time") or "").strip()
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            return 0
        if time.tzinfo is None and force_utc:
            time = time.replace(tzinfo=UTC)
        return int(time.timestamp())


def _walk(value: Any, keys: tuple[str, ...], default: Any, return_val: str) -> Any:
    if isinstance(value, _Immutable):
        value = value._container  # noqa: SLF001 - of its own module
    if not keys:
        return default if value is None or _nothing_in(value) else value
    if isinstance(value, Mapping):
        return _walk(value.get(keys[0], default), keys[1:], default, return_val)
    found: dict[Any, None] = {}
    if _is_list(value):
        for item in value:
            below = _walk(item, keys, default, return_val)
            if below is not None:
                found.update(dict.fromkeys(below if _is_list(below) else (below,)))
    if not found:
        return default
    everything = list(found)
    return {
        "first": everything[0],
        "last": everything[-1],
        "all": everything[0] if len(everything) == 1 else everything,
    }.get(return_val, "all")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _nothing_in(value: Any) -> bool:
    """Say whether a list holds nothing, or nothing but such lists."""
    return _is_list(value) and all(map(_nothing_in, value))
