"""Rules in foreign Python: what they can do, and that they can do nothing else."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trailhound.pipeline.python_rules.cell import seccomp
from trailhound.pipeline.python_rules.workers import PythonWorkers
from trailhound.pipeline.python_rules.zygotes import Limits
from trailhound.rules.python import PythonProgram

FOLDER = Path(__file__).parent / "python_rules"
ATTACKS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "attacks.yml").read_text("utf-8"))
LIMITS = Limits(cpu_s=0.2, wall_s=60, memory_bytes=192 << 20)
IMPATIENT = Limits(cpu_s=0.2, wall_s=2, memory_bytes=192 << 20)
BYSTANDER = PythonProgram(
    rule_id="bystander",
    path="bystander.py",
    source="from shared import low\n"
    "def rule(event):\n    return low(event.get('user', '')) == 'root'\n"
    "def title(event):\n    return 'by ' + event['user']\n",
    helpers=(("shared", "def low(text):\n    return text.lower()\n"),),
)


@pytest.fixture(scope="module")
def workers() -> Iterator[PythonWorkers]:
    with PythonWorkers(limits=LIMITS) as started:
        yield started


@pytest.fixture(scope="module")
def impatient() -> Iterator[PythonWorkers]:
    with PythonWorkers(limits=IMPATIENT) as started:
        yield started


def program(source: str, rule_id: str = "rule", **more: Any) -> PythonProgram:
    return PythonProgram(rule_id=rule_id, path="rules/it.py", source=source, **more)


def hostile(attack: dict[str, Any]) -> PythonProgram:
    body = "".join(f"    {line}\n" for line in attack["code"].splitlines())
    guard = "" if attack.get("every") else "    if not event.get('attack'):\n        return True\n"
    return program(f"def rule(event):\n{guard}{body}", rule_id=attack["name"])


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(attack, id=attack["name"], marks=[pytest.mark.slow] * attack.get("slow", 0))
        for attack in ATTACKS
    ],
)
def test_an_attack_harms_only_its_own_answer(
    attack: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    workers = request.getfixturevalue("impatient" if attack.get("slow") else "workers")
    rule = hostile(attack)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        event = {"attack": True, "port": port, "file": str(tmp_path / "made")}
        before, struck, after = workers.judge(rule, [{}, event, {}])
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not list(tmp_path.iterdir())
    assert struck.matched is False
    (error,) = struck.errors
    assert re.search(attack["error"], error.reason), error
    lines = [n for n, line in enumerate(rule.source.splitlines(), 1) if line.endswith("#!")]
    if lines:
        assert (error.function, error.line) == ("rule", lines[0])
    if not attack.get("every"):
        assert before.matched
        assert after.matched
        assert not before.errors + after.errors
    (seen,) = workers.judge(BYSTANDER, [{"user": "Root"}])
    assert (seen.title, seen.errors) == ("by Root", ())
    assert workers.costs[rule.rule_id].off == ""


@settings(max_examples=25)
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda item: (
            st.lists(item, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["matched", "title", "errors", "cost_ns", "alert_context", "failed"]
                ),
                item,
            )
        ),
        max_leaves=6,
    ).map(lambda value: framed(json.dumps(value).encode()))
)
def test_whatever_a_rule_writes_on_its_socket_is_about_itself(
    workers: PythonWorkers, written: bytes
) -> None:
    source = (
        "import os\ndef rule(event):\n"
        "    os.write(3, bytes.fromhex(event.get('hex', '')))\n    return True\n"
    )
    answers = workers.judge(program(source, "writer"), [{"hex": written.hex()}, {}])
    assert len(answers) == 2
    seen = workers.judge(BYSTANDER, [{"user": "root"}, {"user": "eve"}])
    assert [(answer.title, answer.errors) for answer in seen] == [("by root", ()), (None, ())]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _cut(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    suffix = "... (truncated)"
    return str(loader.construct_scalar(node)) * (1000 - len(suffix)) + suffix


class AnswersLoader(yaml.SafeLoader):
    """Knows the two texts that are too long to write down."""


AnswersLoader.add_constructor("!cut", _cut)
AnswersLoader.add_constructor("!whole", lambda loader, node: loader.construct_scalar(node) * 1000)
ANSWERS: list[dict[str, Any]] = yaml.load(
    (FOLDER / "answers.yml").read_text("utf-8"), Loader=AnswersLoader
)


@pytest.mark.parametrize("case", ANSWERS, ids=[case["name"] for case in ANSWERS])
def test_answers(case: dict[str, Any], workers: PythonWorkers) -> None:
    rule = program(f"def rule(event):\n    return True\n{case['source']}", rule_id=case["name"])
    (answer,) = workers.judge(rule, [{"user": "eve", "request": {"ip": "192.0.2.1"}}])
    said = json.loads(msgspec.json.encode(answer))
    assert said.pop("matched") is True
    assert said.pop("cost_ns") > 0
    errors = [f"{e['function']} {e['line']}: {e['reason']}" for e in said.pop("errors")]
    wanted = case.get("errors", [])
    assert len(errors) == len(wanted), errors
    for error, pattern in zip(errors, wanted, strict=True):
        assert fnmatch(error, pattern) if pattern.endswith("*") else error == pattern
    answered = {name: value for name, value in said.items() if value is not None}
    assert answered == case["answer"]


BROKEN = {
    "def rule(event)\n": r"SyntaxError: expected ':'.*, line 1",
    "import yaml\ndef rule(event): return True": r"ModuleNotFoundError: .*'yaml'.*, line 1",
    "import boto3\nboto3.client('s3')": r"boto3.client: rules cannot use boto3 here, line 2",
    "def title(event): return 't'": r"there is no function rule\(event\)",
    "\n1 / 0": "ZeroDivisionError: division by zero, line 2",
    "while True: pass": "over 0.4 s of processor time, line 1",
    "raise SystemExit": "SystemExit, line 1",
    "x = '\\x00'\0": "(SyntaxError|ValueError)",
    "(" * 100_000: "(SyntaxError|MemoryError|RecursionError)",
}


@pytest.mark.parametrize("source", BROKEN, ids=[source[:20] for source in BROKEN])
def test_a_program_that_cannot_be_loaded_is_switched_off(
    source: str, workers: PythonWorkers
) -> None:
    rule = program(source, rule_id=source[:30])
    answers = workers.judge(rule, [{}, {}, {}])
    assert [len(answer.errors) for answer in answers] == [1, 1, 1]
    cost = workers.costs[rule.rule_id]
    assert re.search(BROKEN[source], cost.off), cost.off
    assert (cost.events, cost.unjudged) == (1, 2)
    assert cost.off in answers[2].errors[0].reason


def test_rules_share_no_helper(workers: PythonWorkers) -> None:
    tamper = program(
        "import shared, sys\n"
        "shared.low = lambda text: 'root'\n"
        "sys.modules['json'].dumps = None\n"
        "sys.modules['shared'] = None\n"
        "import builtins\n"
        "builtins.str = None\n"
        "def rule(event):\n    return True\n",
        rule_id="tamper",
        helpers=BYSTANDER.helpers,
    )
    workers.judge(tamper, [{}])
    assert [a.matched for a in workers.judge(BYSTANDER, [{"user": "x"}, {"user": "ROOT"}])] == [
        False,
        True,
    ]


def test_a_rule_that_always_fails_is_switched_off_and_one_that_ever_judged_is_not(
    workers: PythonWorkers,
) -> None:
    source = "def rule(event):\n    return event['there']\n"
    never, once = program(source, "never"), program(source, "once")
    assert all(answer.errors for answer in workers.judge(never, [{}] * 1100))
    cost = workers.costs["never"]
    assert cost.off == "it failed on each of its first 1,024 events"
    assert (cost.events, cost.failed, cost.unjudged) == (1024, 1024, 76)
    assert sum(a.matched for a in workers.judge(once, [{"there": True}] + [{}] * 1100)) == 1
    assert workers.costs["once"].off == ""
    assert workers.costs["once"].failed == 1100


def test_a_rule_that_takes_too_long_is_switched_off() -> None:
    rule = program("def rule(event):\n    while True: pass\n")
    with PythonWorkers(limits=Limits(cpu_s=0.1), allowance_s=0.1) as workers:
        answers = workers.judge(rule, [{}] * 10)
        assert re.search("it took .* s for .* events", workers.costs["rule"].off)
    assert all(answer.errors for answer in answers)
    assert workers.costs["rule"].unjudged > 0


def test_several_rules_at_a_time() -> None:
    source = "def rule(event):\n    return event['n'] % {} == 0\n"
    documents = [{"n": n} for n in range(300)]
    with PythonWorkers(jobs=4) as workers:
        rules = [program(source.format(n), f"every {n}") for n in range(1, 9)]
        answers = workers.judge_all([(rule, documents) for rule in rules])
    for n, said in enumerate(answers, 1):
        assert [answer.matched for answer in said] == [k % n == 0 for k in range(300)]


def test_memory_that_rules_keep_is_bounded_over_all_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trailhound.pipeline.python_rules.workers._IDLE_BYTES", 100 << 20)
    source = "kept = bytearray(b'x' * (40 << 20))\ndef rule(event):\n    return True\n"
    with PythonWorkers() as workers:
        for n in range(4):
            (answer,) = workers.judge(program(source, f"hoarder {n}"), [{}])
            assert answer.matched
            assert len(workers._cells) <= 2
        assert all(not cost.failed for cost in workers.costs.values())


def test_what_is_no_json_is_an_error_of_that_event(workers: PythonWorkers) -> None:
    rule = program("def rule(event):\n    return True\n", "plain")
    odd: list[Any] = [{"a": 1}, {"a": object()}, {"a": 1 << 70, "b": "\ud800"}]
    assert [answer.matched for answer in workers.judge(rule, odd)] == [True, False, True]


def test_workers_go_on_where_the_zygote_was_killed() -> None:
    with PythonWorkers() as workers:
        assert workers.judge(BYSTANDER, [{"user": "root"}])[0].matched
        assert workers._zygote is not None
        workers._zygote._process.kill()
        workers._zygote._process.wait()
        assert workers.judge(BYSTANDER, [{"user": "root"}])[0].matched


def test_no_process_outlives_the_one_that_wanted_it() -> None:
    script = (
        "import sys, time\n"
        "from trailhound.pipeline.python_rules.workers import PythonWorkers\n"
        "from trailhound.rules.python import PythonProgram\n"
        "rule = PythonProgram(rule_id='r', path='r.py',\n"
        "    source='def rule(event):\\n    return True')\n"
        "with PythonWorkers() as workers:\n"
        "    workers.judge(rule, [{}])\n"
        "    pid = workers._cells['r', 'judge']._pid\n"
        "    print(workers._zygote._process.pid, pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        pids = [int(pid) for pid in process.stdout.readline().split()]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while any(_running(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.02)


def _running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_python_itself_says_no_where_there_is_no_seccomp(tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from trailhound.pipeline.python_rules.cell import judge, lock, seccomp, zygote\n"
        "seccomp.MACHINES.clear()\n"
        "held = lock.Lock()\n"
        "said = [held.reason]\n"
        "attacks = json.loads(sys.stdin.read())\n"
        "held.for_loading()\n"
        "import socket, subprocess, os, _socket, threading, io\n"
        "held.for_running()\n"
        "for code in attacks:\n"
        "    try:\n"
        "        exec(code, {'event': {'port': 9, 'file': '/tmp/x'}})\n"
        "        said.append('done')\n"
        "    except Exception as error:\n"
        "        said.append(type(error).__name__)\n"
        "print(json.dumps(said))\n"
    )
    names = {
        "socket to loopback",
        "name look-up",
        "write a file",
        "write a file, by descriptor",
        "read a secret",
        "read a secret, by io",
        "list a folder",
        "subprocess",
        "os.system",
        "fork",
        "exec",
        "kill the parent",
        "ctypes, found in memory",
    }
    code = [a["code"].replace("return ", "_ = ") for a in ATTACKS if a["name"] in names]
    assert len(code) == len(names)
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    reason, *said = json.loads(done.stdout)
    assert reason.startswith("no seccomp filter for linux on")
    assert set(said) == {"PermissionError"}


@pytest.mark.parametrize(
    ("header", "column", "prefix"),
    [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 0, "__NR_"),
        ("/usr/include/asm-generic/unistd.h", 1, "__NR(?:3264)?_"),
    ],
)
def test_numbers_of_system_calls_are_those_of_the_kernel(
    header: str, column: int, prefix: str
) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header} here")
    pattern = rf"#define {prefix}(\w+)\s+(\d+)"
    numbers = {name: int(n) for name, n in re.findall(pattern, Path(header).read_text())}
    # The generic header has 64-bit names for what is newfstatat and the like.
    numbers.setdefault("newfstatat", numbers.get("fstatat", 79))
    for table in (
        seccomp.COMPUTING,
        seccomp.READING,
        seccomp.OPENING,
        seccomp.MAPPING,
        seccomp.SIGNALLING,
    ):
        for name, columns in table.items():
            assert columns[column] in (numbers.get(name), None), name
