"""A Git remote, which should refuse forced pushes and deleted branches."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

from trailhound.ledger.forward import TargetError

_BRANCH = "ledger"
_TIMEOUT_S = 300
_WHO = ("-c", "user.name=trailhound", "-c", "user.email=trailhound@localhost")


class GitTarget:
    """Commits files to the branch `ledger` and pushes, never by force."""

    def __init__(self, remote: str) -> None:
        """Make one; `remote` is whatever `git push` takes."""
        if not remote or remote.startswith("-"):
            raise TargetError(f"no Git remote: {remote!r}")
        self.name = f"git-{hashlib.sha256(remote.encode()).hexdigest()[:12]}"
        self._work = Path(tempfile.mkdtemp(prefix="trailhound-git-"))
        weakref.finalize(self, shutil.rmtree, self._work, ignore_errors=True)
        self._git("init", "--quiet", f"--initial-branch={_BRANCH}")
        self._git("remote", "add", "origin", remote)
        known = self._git("ls-remote", "--heads", "origin", _BRANCH)
        if known.strip():
            # The last commit alone, and, where the server can, without the files themselves:
            # their hashes are enough to know that none of them changes.
            self._git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", _BRANCH)
            self._git("update-ref", f"refs/heads/{_BRANCH}", "FETCH_HEAD")
            self._git("read-tree", _BRANCH)

    def put(self, path: str, data: bytes) -> None:
        """Add a file to the next commit: `Target.put`."""
        there = self._git("ls-files", "--stage", "--", path).split()
        blob = self._git("hash-object", "-w", "--stdin", data=data).strip()
        if there and there[1] != blob:
            raise TargetError(f"{path} is there with other content: the remote was changed")
        self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")

    def finish(self) -> None:
        """Commit and push: `Target.finish`."""
        tree = self._git("write-tree", "--missing-ok").strip()
        parent = self._git("rev-parse", "--quiet", "--verify", _BRANCH, check=False).strip()
        parents = ("-p", parent) if parent else ()
        commit = self._git(*_WHO, "commit-tree", tree, *parents, "-m", "Sealed").strip()
        self._git("push", "--quiet", "origin", f"{commit}:refs/heads/{_BRANCH}")
        self._git("update-ref", f"refs/heads/{_BRANCH}", commit)

    def _git(self, *arguments: str, data: bytes | None = None, check: bool = True) -> str:
        environment = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_DIR": str(self._work / ".git"),
            "GIT_WORK_TREE": str(self._work),
        }
        try:
            done = subprocess.run(  # noqa: S603 - no shell; arguments of our own
                ["git", *arguments],  # noqa: S607 - whichever git the user has
                cwd=self._work,
                env=environment,
                input=data,
                stdin=subprocess.DEVNULL if data is None else None,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise TargetError("git is not installed") from None
        except subprocess.TimeoutExpired:
            raise TargetError(f"git {arguments[0]} did not end in {_TIMEOUT_S} s") from None
        if done.returncode and check:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            raise TargetError(f"git {arguments[0]} failed: {reason[-1] if reason else 'no reason'}")
        return done.stdout.decode()
