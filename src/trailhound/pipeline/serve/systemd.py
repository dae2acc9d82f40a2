"""What a service manager is told: that we are ready, alive, and about to end.

The protocol of sd_notify(3): datagrams of `KEY=VALUE` lines to the socket in `NOTIFY_SOCKET`.
"""

import asyncio
import contextlib
import os
import socket


def notify(state: str) -> None:
    """Tell the service manager something, such as `READY=1`; nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract one
        address = "\0" + address[1:]
    # That nobody listens must not end a service.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)


async def keep_alive() -> None:
    """Say that we are alive, twice as often as `WATCHDOG_USEC` asks, until cancelled."""
    period_us = os.environ.get("WATCHDOG_USEC", "")
    if not period_us.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(
        os.getpid()
    ):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(period_us) / 2_000_000)
