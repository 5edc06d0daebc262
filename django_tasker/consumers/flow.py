"""How fast frames may be sent to a client, so that what it has not read yet stays small.

Some servers (daphne) take any number of frames into memory. So a client is sent a burst at once and then a steady
rate, unless it acknowledges: each `{"type": "ack"}` allows the next burst. Nothing is lost by waiting: the log is in
the database. A client that reads more slowly than the rate fails to answer the server's pings, which closes it.
"""

from __future__ import annotations

import asyncio
import time

BURST = 1_000_000
"""Characters that may be under way unacknowledged."""
RATE = 200_000
"""Characters a second that are taken for read without an acknowledgement."""
FRAMES = 100
"""Frames that a client may send at once; and one in `FRAME_SECONDS` in the long run."""
FRAME_SECONDS = 0.1


class Flow:
    """A leaky bucket; one a connection."""

    __slots__ = ("_at", "_free_at", "_news", "_under_way")

    def __init__(self) -> None:
        self._under_way = 0.0
        self._at = time.monotonic()
        self._news: asyncio.Event | None = None
        self._free_at = 0.0

    def may_receive(self) -> bool:
        """Count a frame of the client; are there not too many? An answer to each would fill the server's memory."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + FRAME_SECONDS
        return self._free_at <= now + FRAMES * FRAME_SECONDS

    def acknowledge(self) -> None:
        """The client has read everything."""
        self._under_way = 0.0
        if self._news is not None:
            self._news.set()

    async def room_for(self, size: int) -> None:
        """Wait until a frame of so many characters may be sent."""
        self._under_way += size
        if self._under_way <= BURST:
            return
        self._drain()
        while self._under_way > BURST + size:  # the frame itself may be larger than a burst
            self._news = asyncio.Event()
            try:
                async with asyncio.timeout((self._under_way - BURST - size) / RATE + 0.01):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._drain()
        self._news = None

    def _drain(self) -> None:
        now = time.monotonic()
        self._under_way = max(0.0, self._under_way - (now - self._at) * RATE)
        self._at = now
