"""The fast path of clouds' and identity providers' logs says what the exact path says."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_cloud_sources import NAMES, SAMPLES, source_of, spoilt
from test_sieve import exactly, searched, sifted, taught_by
from trailhound.engine.plan import Plan
from trailhound.intake.blocks import Block
from trailhound.pipeline.prefilter import Prefilter
from trailhound.pipeline.rulebooks import BUILTIN, load_rules
from trailhound.pipeline.scan import plan_for

CONTENT = {
    "okta_system": "okta",
    "github_audit": "github",
    "gcp_audit": "gcp",
    "azure_activity": "azure",
}
GATED = pytest.mark.parametrize("name", [name for name in NAMES if source_of(name).gate])


@cache
def plan() -> Plan:
    return plan_for(load_rules([], builtin=True, placeholders={}, cache=None).ruleset.rules)


@cache
def lines_of(name: str) -> tuple[bytes, ...]:
    """Lines of the samples, wrapped and hostile ones included, and of the rules' cases."""
    files = [*(SAMPLES / name).glob("*/in.*"), *(BUILTIN / CONTENT[name]).glob("*.jsonl")]
    return tuple(
        line for path in sorted(files) for line in path.read_bytes().splitlines() if line.strip()
    )


@GATED
def test_there_is_something_to_compare(name: str) -> None:
    data = b"\n".join(lines_of(name)) + b"\n"
    found = exactly(plan(), data)
    assert len({title for title, *_ in found.hits}) >= 6
    assert sifted(plan(), name, data) == found


@GATED
@settings(max_examples=40)
@given(data=st.data())
def test_the_sieve_agrees_with_the_exact_path(name: str, data: st.DataObject) -> None:
    odd = spoilt(name).map(lambda document: json.dumps(document).encode())
    lines = data.draw(st.lists(st.sampled_from(lines_of(name)) | odd, min_size=1, max_size=6))
    text = b"\n".join(lines) + b"\n"
    assert sifted(plan(), name, text) == exactly(plan(), text)


@cache
def taught(name: str) -> Prefilter:
    return taught_by(plan(), name, lines_of(name))


@GATED
@settings(max_examples=30)
@given(data=st.data())
def test_the_search_loses_nothing(name: str, data: st.DataObject) -> None:
    odd = spoilt(name).map(lambda document: json.dumps(document).encode())
    lines = data.draw(st.lists(st.sampled_from(lines_of(name)) | odd, min_size=1, max_size=6))
    text = b"\n".join(lines) + b"\n"
    assert searched(plan(), taught(name), name, text) == exactly(plan(), text)


def test_some_of_them_are_searched() -> None:
    assert any(
        taught(name).find(Block(line, 1)) is not None
        for name in NAMES
        if source_of(name).gate
        for line in lines_of(name)
    )
