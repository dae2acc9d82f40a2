"""Evaluates expressions over an event; imports neither Trailhound nor pytest.

`tests/test_panther_event.py` uses it with our event, and runs it as a program in an environment
that has panther_core, to see what Panther's own says.
"""

import json
import sys
from collections.abc import Mapping, Sequence

MODEL = {
    "mappings": [
        {"name": "actor", "path": "$.user.name"},
        {"name": "plain", "path": "status"},
        {"name": "dotted", "path": "user.name"},
        {"name": "first_ip", "path": "$.ips[0]"},
        {"name": "all_ips", "path": "$.ips[*]"},
        {"name": "one", "path": "$.one[*]"},
        {"name": "named", "path": "$.params[?(@.name == 'size')].value"},
        {"name": "zero", "path": "$.zero"},
        {"name": "absent", "path": "$.not.there"},
        {"name": "ip_count", "method": "count"},
        {"name": "nothing", "method": "none"},
        {"name": "list", "method": "listed"},
        {"name": "wrapped", "method": "kind"},
    ],
    "body": "def count(event):\n    return len(event.get('IPS', []))\n"
    "def none(event):\n    return None\n"
    "def listed(event):\n    return [{'a': 1}]\n"
    "def kind(event):\n    return type(event).__name__\n",
}

DOCUMENT = {
    "p_log_type": "AWS.CloudTrail",
    "p_event_time": "2026-11-12 22:30:05.123456789",
    "user": {"Name": "root", "name": "eve", "TAGS": {"Team": "x"}},
    "status": "ok",
    "Status": "other",
    "zero": 0,
    "empty": "",
    "none": None,
    "flag": False,
    "ips": ["192.0.2.1", "192.0.2.2"],
    "one": ["only"],
    "nested": [[1, 2], [3, [4]], []],
    "emptied": [[], [[]]],
    "params": [{"name": "size", "value": 5}, {"name": "kind", "value": "k"}],
    "items": [{"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 1}}, {"a": {}}, {"a": None}, 7],
    "deep": {"list": [{"x": [{"y": 1}, {"y": 2}]}, {"x": [{"y": 3}]}], "text": "abc"},
    "p_udm": {"source": {"ip": "198.51.100.1"}, "zero": 0, "status": "udm"},
    "p_any_ip_addresses": ["192.0.2.1"],
    "_mocked_lookup_data_": {"table": {"key": {"found": True}}},
    "empty_map": {},
    "x.y": 1,
}


def plain(value):
    """Return what JSON has for a value, and its type where that matters to rules."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def evaluate(event, names, expression):
    try:
        value = eval(expression, {"event": event, "json": json, **names})
    except Exception as error:
        return f"raises {type(error).__name__}"
    return plain(value)


def of_panther(expressions):
    from panther_core.data_model import DataModel  # noqa: PLC0415 - only there
    from panther_core.enriched_event import PantherEvent  # noqa: PLC0415
    from panther_core.immutable import (  # noqa: PLC0415
        ImmutableCaseInsensitiveDict,
        ImmutableList,
    )

    model = DataModel({"id": "Model.Of.Trailhound.Tests", "versionId": "", **MODEL})
    names = {
        "PantherEvent": PantherEvent,
        "ImmutableList": ImmutableList,
        "ImmutableCaseInsensitiveDict": ImmutableCaseInsensitiveDict,
        "bare": PantherEvent(DOCUMENT, None),
    }
    return [evaluate(PantherEvent(DOCUMENT, model), names, text) for text in expressions]


if __name__ == "__main__":
    json.dump(of_panther(json.load(sys.stdin)), sys.stdout)
