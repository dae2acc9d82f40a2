"""What tests of intakes that fetch hand records to, and how they wait."""

import asyncio
from collections.abc import Callable, Sequence

from trailhound.intake.arrivals import Arrival, Full


class Taken:
    """An `Accept` that keeps what it gets, and has no room while it is full."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.full = False

    async def __call__(self, arrivals: Sequence[Arrival]) -> None:
        if self.full:
            raise Full("not now", 1)
        self.arrivals += arrivals

    @property
    def data(self) -> list[bytes]:
        return [arrival.data for arrival in self.arrivals]


async def until(true: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)
