"""A settings file that is not understood: the message says where, and what would be right."""

from pathlib import Path

import pytest

from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve.settings import load_settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('statee = "x"', ":1: statee: no setting has this name; did you mean state? (known: ac"),
        (
            '[files]\npath = ["a"]',
            ":2: [files] path: no setting has this name; did you mean paths?",
        ),
        ('[lake]\npath = "a"\n[ledger]\npaht = "b"', ":4: [ledger] paht: no setting"),
        ("[httpp]\nx = 1", ":1: httpp: no setting has this name; did you mean http?"),
        ("qqq = 1", ":1: qqq: no setting has this name (known: access"),
        ('state = "x"\n\n[http]\nlisten = 5', ":4: [http] listen: expected str, got int"),
        ("queue_bytes = 5", ":1: queue_bytes: expected int >= 65536"),
        ("files.paths = [1]", ": [files] paths: expected str, got int"),
        ("files = 3", ":1: files: expected object, got int"),
        ("state = [", ": Invalid value (at end of document)"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "trailhound.toml"
    path.write_text(text)
    with pytest.raises(TrailhoundError) as error:
        load_settings(path)
    assert str(error.value).startswith(f"the settings file {path}{told}")
