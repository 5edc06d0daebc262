"""`ws/tasker/events/?pattern=task.*`: events of all processes as they happen.

Frames: `listening` once, from which on nothing is missed; `event` for each event whose name matches; with `counts=1`
also `counts`, how many tasks have which status, at first and when it changed, at most once a second. Events can't be
asked for again: who was cut off looks at the tasks. A client too slow for them is closed with code 4408.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from ..listening.hubs import event_hub
from ..listening.patterns import check_pattern, uuid_of
from . import codes
from .base import FrameConsumer
from .codes import Refused
from .counts import changing_counts
from .frames import event_frame, frame


class EventConsumer(FrameConsumer):
    parameters = ("pattern", "counts")
    _pattern = ""
    _with_counts = False

    def subject(self) -> UUID | None:
        return None if self._with_counts else uuid_of(self._pattern)

    def read_parameters(self, given: dict[str, str]) -> None:
        self._pattern = check_pattern(given.get("pattern") or "*")
        counts = given.get("counts", "0")
        if counts not in ("0", "1"):
            raise Refused(codes.BAD_REQUEST, f"counts must be 0 or 1, not {counts[:30]!r}")
        self._with_counts = counts == "1"

    async def frames(self) -> AsyncGenerator[str, None]:
        async with event_hub(self._pattern) as hub:
            place = hub.place
            counting = asyncio.create_task(self._count()) if self._with_counts else None
            try:
                yield frame("listening", pattern=self._pattern)
                async with aclosing(hub.read(place)) as batches:  # type: ignore[type-var]
                    async for batch in batches:
                        for event in batch:
                            yield event_frame(event)
            finally:
                if counting is not None:
                    counting.cancel()
                    await asyncio.gather(counting, return_exceptions=True)

    async def _count(self) -> None:
        """Send counts beside the events."""
        async with aclosing(changing_counts()) as all_counts:
            async for counts in all_counts:
                await self._transmit(frame("counts", counts=counts))
