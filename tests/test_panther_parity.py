"""Foreign Python against Panther's own: the same expressions over an event, the same values.

panther_analysis_tool, and panther_core with it (80 packages; panther_core is under the AGPL), stand
in an environment of their own, `build/panther`, which the first run makes.
"""

import json
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

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
