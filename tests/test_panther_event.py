"""The event that Python rules are given, against what Panther's own says of the same."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trailhound.pipeline.python_rules.cell import event as ours
from trailhound.pipeline.python_rules.cell.json_path import JsonPath

FOLDER = Path(__file__).parent / "python_rules"
CASES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "event.yml").read_text("utf-8"))
EXPECTED = {expression: value for case in CASES for expression, value in case.items()}
PATHS: dict[str, Any] = yaml.safe_load((FOLDER / "json_paths.yml").read_text("utf-8"))


def _runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("event_runner", FOLDER / "event_runner.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUNNER = _runner()


def _model() -> ours.Model:
    functions: dict[str, Any] = {}
    exec(RUNNER.MODEL["body"], functions)
    mappings = RUNNER.MODEL["mappings"]
    return ours.Model(
        "model",
        {each["name"]: each["path"] for each in mappings if "path" in each},
        {each["name"]: functions[each["method"]] for each in mappings if "method" in each},
    )


@pytest.mark.parametrize("expression", EXPECTED)
def test_event(expression: str) -> None:
    names = {
        "PantherEvent": ours.PantherEvent,
        "ImmutableList": ours.ImmutableList,
        "ImmutableCaseInsensitiveDict": ours.ImmutableCaseInsensitiveDict,
        "bare": ours.PantherEvent(RUNNER.DOCUMENT),
    }
    event = ours.PantherEvent(RUNNER.DOCUMENT, _model())
    before = json.dumps(RUNNER.DOCUMENT)
    assert RUNNER.evaluate(event, names, expression) == EXPECTED[expression]
    assert json.dumps(RUNNER.DOCUMENT) == before


def test_what_is_handed_out_changes_no_event() -> None:
    event = ours.PantherEvent({"list": [{"a": [1]}], "map": {"b": {}}})
    event.deep_walk("list")[0]["a"].append(2)
    event.deep_walk("map")["b"]["c"] = 1
    event.raw_view()["map"]["b"]["c"] = 1
    event.to_dict()["list"].clear()
    with pytest.raises(TypeError):
        event.get("list")[0:1][0]["a"] = 5
    assert event.to_dict() == {"list": [{"a": [1]}], "map": {"b": {}}}


@pytest.mark.parametrize("path", PATHS["paths"])
def test_json_paths(path: str) -> None:
    found = [[place, value] for place, value in JsonPath(path).find(PATHS["document"])]
    assert found == PATHS["paths"][path]


@pytest.mark.parametrize("path", PATHS["refused"])
def test_json_paths_not_understood(path: str) -> None:
    with pytest.raises(ValueError, match="JSON path not understood"):
        JsonPath(path)


@given(
    st.text(alphabet="$.[]*'\"ab01?()@=:-& ", max_size=20) | st.text(max_size=20),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda item: st.lists(item, max_size=3) | st.dictionaries(st.sampled_from("ab"), item),
        max_leaves=8,
    ),
)
def test_any_text_is_a_path_or_said_to_be_none(text: str, document: Any) -> None:
    try:
        path = JsonPath(text)
    except ValueError:
        return
    path.find(document)
