"""What a service manager is told: ready, still alive, stopping (systemd's ``Type=notify``).

The protocol is one datagram to a socket named in the environment, and systemd promises to keep it
so (sd_notify(3)); where no manager asked, nothing is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

BETWEEN_S = 1.0


class Notifier:
    """Tells the service manager about this process.

    address: of the manager's socket, '' for none · watchdog_s: the manager kills a process that
    was silent for so long, 0 for never.
    """

    def __init__(self, address: str, watchdog_s: float) -> None:
        # '@' stands for the zero byte that begins the name of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Notifier:
        """As systemd asked for it."""
        watchdog_us = environment.get("WATCHDOG_USEC", "")
        return cls(
            environment.get("NOTIFY_SOCKET", ""),
            int(watchdog_us) / 1e6 if watchdog_us.isdecimal() else 0.0,
        )

    @asynccontextmanager
    async def telling(
        self, waiting_for: Callable[[], str], stop: asyncio.Event
    ) -> AsyncIterator[None]:
        """Tell how it goes until the block ends, for as long as the event loop turns.

        waiting_for: empty while all is well, else what is being waited for.
        """
        task = asyncio.create_task(self._tell(waiting_for, stop))
        try:
            yield
        finally:
            task.cancel()

    async def _tell(self, waiting_for: Callable[[], str], stop: asyncio.Event) -> None:
        pause_s = min(BETWEEN_S, self._watchdog_s / 3 or BETWEEN_S)
        ready = False
        while self._address:
            reason = " ".join(waiting_for().split())
            said = ["WATCHDOG=1", f"STATUS=waiting for: {reason}" if reason else "STATUS=serving"]
            if stop.is_set():
                said.append("STOPPING=1")
            elif not (ready or reason):
                said.append("READY=1")
                ready = True
            self._send("\n".join(said))
            await _until(stop, pause_s)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A manager that went away must not take the daemon with it.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), self._address)


async def _until(stop: asyncio.Event, seconds: float) -> None:
    """Sleep; a stop that comes meanwhile ends it."""
    if stop.is_set():
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
