"""A ledger that is forwarded while it grows: to another Trailhound, and to places that fail."""

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from serving import Serving, event_list, sealed
from trailhound.cli.main import main
from trailhound.intake.arrivals import Arrival
from trailhound.intake.http.access import add_grant, load_access
from trailhound.intake.http.server import application
from trailhound.ledger.forward import TargetError
from trailhound.ledger.targets import open_target
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.receiving import Receiving
from trailhound.pipeline.serve.settings import load_settings

DEMO = Path(__file__).parents[1] / "examples/demo/kubernetes/audit.log"


def until(serving: Serving, name: str, value: float, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while serving.metric(name) != value:
        assert time.monotonic() < end, serving.get("/status").decode() + serving.log
        time.sleep(0.05)


def test_another_trailhound_follows_and_may_fail(tmp_path: Path, capsys) -> None:
    lines = DEMO.read_bytes().splitlines()
    access = tmp_path / "access.toml"
    token = add_grant(access, "host-1", ("ledger",))
    reading = {"Authorization": f"Bearer {add_grant(access, 'me', ('read',))}"}
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    keeper = Serving(tmp_path / "keeper", f'builtin = false\naccess = "{access}"').start()
    keeper.wait()
    url, worm = f"http://127.0.0.1:{keeper.port}", tmp_path / "worm"
    sender = Serving(
        tmp_path / "sender",
        f'builtin = false\n[ledger]\nname = "host-1"\nhead_seconds = 1\nforward = ["{url}", '
        f'"{worm}"]\nforward_token_file = "{tmp_path / "token"}"',
    ).start()
    sender.wait()
    assert sender.post("/kubernetes/audit", event_list(lines[:300])).status == 200
    until(sender, f'forwarded_records{{place="{url}"}}', 300)
    # The folder is not there: said, and tried again.
    until(sender, f'forward_failing{{place="{worm}"}}', 1)
    (there, folder) = json.loads(sender.get("/status"))["forwarding"]
    assert (there["failing"], there["failures"]) == (None, 0)
    assert folder["failing"] == f"no such folder: {worm}"
    worm.mkdir()

    keeper.kill()
    began = time.monotonic()
    assert sender.post("/kubernetes/audit", event_list(lines[300:400])).status == 200
    assert time.monotonic() - began < 5  # nobody waits for a place
    until(sender, f'forward_failing{{place="{url}"}}', 1)
    until(sender, f'forwarded_records{{place="{worm}"}}', 400)
    keeper.start()
    until(sender, f'forwarded_records{{place="{url}"}}', 400)
    until(sender, f'forward_failing{{place="{url}"}}', 0)
    assert "up to date again" in sender.log
    # Nothing comes, and heads do: from another machine, a quiet log is told from a stopped one.
    received = keeper.folder / "state/received/host-1/heads"
    count = len(list(received.glob("*/*-400")))
    end = time.monotonic() + 40
    while len(list(received.glob("*/*-400"))) < count + 2:
        assert time.monotonic() < end, sender.log
        time.sleep(0.05)
    metrics = keeper.ask("GET", "/metrics", headers=reading).body.decode()
    assert 'trailhound_received_head_timestamp_seconds{sender="host-1"} ' in metrics
    assert "trailhound_received_refused_total 0\n" in metrics

    sender.post("/kubernetes/audit", event_list(lines[400:450]))
    assert sender.stop() == 0  # and what came last is there as well
    assert len(sealed(sender)) == 450
    assert keeper.stop() == 0
    key = tmp_path / "sender/state/ledger/key.pub"
    capsys.readouterr()
    for copy in (keeper.folder / "state/received/host-1", worm):
        assert main(["verify", "ledger", str(copy), "--key", str(key)]) == 0
        assert "host-1: 450 records" in capsys.readouterr().out


PATHS = (
    "ledger.json", "key.pub", "heads/2026-11-26/010203.000000001-300", "tile/0/000",
    "tile/entries/x001/x234/067.p/5", "records/000.p/255", "tile/7/000",
)  # fmt: skip
NO_PATHS = (
    "", "checkpoint", "../ledger.json", "tile/0/000/../001", "tile/8/000", "tile/0/0", "heads/x",
    "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/x/000", "records/000.p/5/6", ".parts/x",
    "heads/2026-11-26/010203.000000001-300.new", "key.pub\n", "key.pub\0", "tile//000",
    "tile/0/" + "x000/" * 6 + "000",
)  # fmt: skip


def test_what_came_stays_whatever_is_sent(tmp_path: Path) -> None:
    access = tmp_path / "access.toml"
    tokens = {
        name: {"Authorization": f"Bearer {add_grant(access, name, (role,))}"}
        for name, role in (("a", "ledger"), ("..", "ledger"), ("b/c", "ledger"), ("d", "ingest"))
    }
    known = load_access(access)
    receiving = Receiving(tmp_path / "received", known)

    async def accept(_arrivals: list[Arrival]) -> None: ...

    async def ask() -> None:
        app = application(accept, known, [receiving.route()])
        async with TestClient(TestServer(app)) as client:

            async def put(path: str, data: bytes, who: str = "a") -> int:
                url = URL(f"{client.make_url('/ledger/')}{quote(path)}", encoded=True)
                answer = await client.session.put(url, data=data, headers=tokens[who])
                return answer.status

            for path in PATHS:
                assert await put(path, b"first") == 201
                assert await put(path, b"first") == 200
                for other in (b"other", b"", b"first and more"):
                    assert await put(path, other) == 409
                assert (tmp_path / "received/a" / path).read_bytes() == b"first"
                for who in ("..", "b/c"):
                    assert await put(path, b"mine", who) == 201
                assert await put(path, b"x", "d") == 403
                assert (await client.put(f"/ledger/{path}", data=b"x")).status == 401
                for method in ("GET", "POST", "DELETE", "PATCH"):
                    answer = await client.request(method, f"/ledger/{path}", headers=tokens["a"])
                    assert answer.status == 405
            for path in NO_PATHS:
                assert await put(path, b"x") in (400, 404)

            async def breaks_off():
                yield b"half"
                raise ConnectionError

            with pytest.raises(ClientError):
                await client.put("/ledger/tile/1/000", data=breaks_off(), headers=tokens["a"])

    asyncio.run(ask())
    found = {path for path in tmp_path.rglob("*") if path.is_file() and path != access}
    assert len(found) == 3 * len(PATHS)
    assert {path.relative_to(tmp_path / "received").parts[0] for path in found} == {
        "a", "%2E%2E", "b%2Fc",
    }  # fmt: skip
    assert receiving.files == 3 * len(PATHS)
    assert receiving.refused == 3 * len(PATHS)


def test_urls_that_are_none() -> None:
    for url, reason in (
        ("https://", "no URL"),
        ("https://host:99999", "no URL"),
        ("https://host/?q", "no URL"),
        ("https://:th_token@host", "in a file of its own"),
    ):
        with pytest.raises(TargetError, match=reason):
            open_target(url)
    with pytest.raises(TargetError, match=r"cannot reach 127\.0\.0\.1: "):
        open_target("http://127.0.0.1:9").put("key.pub", b"")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[ledger]\nenabled = false\nforward = ["/mnt"]', "needs a ledger"),
        ('[ledger]\nname = "two words"', "name"),
        ("[ledger]\nhead_seconds = 61", "head_seconds"),
        ("[lake]\nkeep_days = { k8s_audit = 0 }", "keep_days"),
        ('findings_format = "csv"', "findings_format"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(TrailhoundError, match=reason):
        load_settings(tmp_path / "settings.toml")
