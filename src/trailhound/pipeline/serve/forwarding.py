"""What is sealed goes to other places at once; one that fails holds up nothing and nobody.

A thread for each place, in the detector: it reads only files that are signed and final.
"""

import logging
import re
import threading
import time
from pathlib import Path

from trailhound.ledger.forward import Target, followed, forward
from trailhound.ledger.keys import read_secret
from trailhound.ledger.log import CHECKPOINT
from trailhound.ledger.targets import open_target
from trailhound.model.errors import TrailhoundError
from trailhound.pipeline.serve import talk
from trailhound.pipeline.serve.settings import LedgerSettings

_AGAIN_S = (1.0, 5.0, 15.0, 60.0, 300.0)
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
_log = logging.getLogger(__name__)


class Forwarding:
    """Every place that the settings name."""

    def __init__(self, folder: Path, settings: LedgerSettings) -> None:
        """Begin to bring every place up to the last head of the ledger in `folder`."""
        self._places = [_Place(folder, place, settings) for place in settings.forward]
        self._told: tuple[talk.Place, ...] = ()

    def notify(self) -> None:
        """Say that a head was signed."""
        for place in self._places:
            place.notify()

    def states(self) -> tuple[talk.Place, ...]:
        """Return how each place does."""
        return tuple(place.state for place in self._places)

    def has_news(self) -> bool:
        """Whether a place does otherwise than when this was last asked."""
        before, self._told = self._told, self.states()
        return self._told != before

    def stop(self, seconds: float) -> None:
        """End; wait so long for places that are being brought up."""
        until = time.monotonic() + seconds
        for place in self._places:
            place.end()
        for place in self._places:
            place.join(max(0.0, until - time.monotonic()))


class _Place(threading.Thread):
    def __init__(self, folder: Path, place: str, settings: LedgerSettings) -> None:
        super().__init__(name=f"forward to {shown(place)}", daemon=True)
        self._folder = folder
        self._place = place
        self._settings = settings
        self._target: Target | None = None
        self._changed = threading.Condition()
        self._due = True
        self._ending = False
        self.state = talk.Place(shown(place))
        self.start()

    def notify(self) -> None:
        with self._changed:
            self._due = True
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()

    def run(self) -> None:
        failed = 0
        while self._wait(_AGAIN_S[min(failed, len(_AGAIN_S)) - 1] if failed else None):
            failed = 0 if self._bring() else failed + 1
            with self._changed:
                if self._ending:
                    return

    def _wait(self, pause_s: float | None) -> bool:
        """Wait until there is something to send, or it is time to try again."""
        with self._changed:
            if pause_s is not None:
                # News do not make a place better that has just failed.
                self._changed.wait_for(lambda: self._ending, pause_s)
                return not self._ending
            self._changed.wait_for(lambda: self._due or self._ending)
            due, self._due = self._due, False
            return due

    def _bring(self) -> bool:
        state = self.state
        try:
            if not (self._folder / CHECKPOINT).exists():
                return True
            if self._target is None:
                self._target = self._open()
            forward(self._folder, self._target)
            records = followed(self._folder, self._target)
        except Exception as error:  # a place must not end the thread, whatever its library raises
            self._target = None
            reason = shown(str(error) or type(error).__name__)
            _log.warning("forwarding to %s: %s", state.place, reason)
            if not isinstance(error, TrailhoundError | OSError):
                _log.exception("forwarding to %s", state.place)
            failures = state.failures + 1
            self.state = talk.Place(state.place, state.records, failures, reason)
            return False
        if state.reason:
            _log.info("forwarding to %s: it is up to date again", state.place)
        self.state = talk.Place(state.place, records, state.failures, "")
        return True

    def _open(self) -> Target:
        settings = self._settings
        token_file = settings.forward_token_file
        token = read_secret(Path(token_file)) if token_file else ""
        return open_target(self._place, retain_days=settings.retain_days, token=token)


def shown(text: str) -> str:
    """Return text without the passwords of URLs in it."""
    return _PASSWORD.sub("…@", text)
