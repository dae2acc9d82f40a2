"""Foreign Python against Panther's own: the same expressions and values, tests and verdicts.

panther_analysis_tool, and panther_core with it (80 packages; panther_core is under the AGPL), stand
in an environment of their own, `build/panther`, which the first run makes.
"""

import json
import re
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trailhound.pipeline.python_rules.workers import PythonWorkers
from trailhound.pipeline.rule_tests import run_tests
from trailhound.pipeline.rulebooks import load_rules

VERSION = "1.11.1"
CORE = "0.16.3"
ROOT = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "python_rules"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """The Python of an environment with panther_analysis_tool."""
    folder = ROOT / "build" / "panther"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    have = subprocess.run(
        [str(python), "-c", "import panther_analysis_tool.main"], check=False, capture_output=True
    )
    packages = [f"panther_analysis_tool=={VERSION}", f"panther_core=={CORE}"]
    command = [str(python), "-m", "pip", "install", "-q", *packages]
    if have.returncode and subprocess.run(command, check=False).returncode:
        pytest.skip(f"panther_analysis_tool {VERSION} cannot be installed here")
    return python


def test_panther_says_of_the_event_what_is_written_down(interpreter: Path) -> None:
    cases: list[dict[str, Any]] = yaml.safe_load((FOLDER / "event.yml").read_text("utf-8"))
    expected = {expression: value for case in cases for expression, value in case.items()}
    done = subprocess.run(
        [str(interpreter), str(FOLDER / "event_runner.py")],
        input=json.dumps(list(expected)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(expected, json.loads(done.stdout), strict=True)) == expected


def test_jsonpath_ng_finds_what_is_written_down(interpreter: Path) -> None:
    written = yaml.safe_load((FOLDER / "json_paths.yml").read_text("utf-8"))
    script = (
        "import json, sys\n"
        "from jsonpath_ng.ext import parse\n"
        "document, paths = json.load(sys.stdin)\n"
        "found = {p: [[str(m.full_path), m.value] for m in parse(p).find(document)]\n"
        "         for p in paths}\n"
        "json.dump(found, sys.stdout)\n"
    )
    done = subprocess.run(
        [str(interpreter), "-c", script],
        input=json.dumps([written["document"], list(written["paths"])]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == written["paths"]


def test_pat_comes_to_the_same_verdicts(interpreter: Path, tmp_path: Path) -> None:
    # It leaves rules in YAML, inline filters and correlation rules to a server.
    ruleset = load_rules([str(FOLDER / "pack")], builtin=False, placeholders={}, cache=None).ruleset
    with PythonWorkers() as workers:
        report = run_tests(ruleset, workers)
    ours = {(test.rule_id, test.name): test.passed for test in report.tests}
    shutil.copytree(FOLDER / "pack", tmp_path / "pack")
    done = subprocess.run(
        [str(interpreter), "-m", "panther_analysis_tool.main", "--skip-version-check", "test"],
        cwd=tmp_path / "pack",
        capture_output=True,
        text=True,
        check=False,
    )
    theirs = dict(_verdicts(done.stdout))
    assert len(theirs) > 80, done.stdout + done.stderr
    by_server = {key for key in theirs if "no filter for pat alone" in key[1]}
    assert {key: ours[key] for key in theirs if key not in by_server} == {
        key: passed for key, passed in theirs.items() if key not in by_server
    }


def _verdicts(output: str) -> Iterator[tuple[tuple[str, str], bool]]:
    rule_id = ""
    for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines():
        found = re.match(r"\t\[(PASS|FAIL)\] (.*)", line)
        if found:
            yield (rule_id, found[2]), found[1] == "PASS"
        elif line and not line.startswith("\t"):
            rule_id = line
