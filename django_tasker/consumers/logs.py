"""`ws/tasker/tasks/<uuid>/logs/?after=<seq>&max_level=<level>`: the log of one task, until it has ended.

Frames: `log` for each entry, each once and in order; at last `ended` with the task's status, and close code 1000.
Who was cut off connects again with `after` set to the last `seq` they have.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from ..listening import level_number, log_tail
from . import codes
from .base import FrameConsumer
from .codes import Refused
from .frames import ended_frame, log_frame


class LogConsumer(FrameConsumer):
    parameters = ("after", "max_level")
    _after = 0
    _level = 0

    def subject(self) -> UUID:
        uuid: UUID = self.scope["url_route"]["kwargs"]["uuid"]
        return uuid

    def read_parameters(self, given: dict[str, str]) -> None:
        after = given.get("after") or "0"
        if not (after.isascii() and after.isdigit() and len(after) <= 10):
            raise Refused(codes.BAD_REQUEST, f"after must be the number of an entry, not {after[:30]!r}")
        self._after = int(after)
        level = given.get("max_level") or "debug"
        self._level = level_number(int(level) if level.isascii() and level.isdigit() and len(level) < 4 else level)

    async def frames(self) -> AsyncGenerator[str, None]:
        last = self._after
        async with (
            log_tail(self.subject()) as tail,
            aclosing(tail.read(after=self._after, max_level=self._level)) as batches,  # type: ignore[type-var]
        ):
            async for batch in batches:
                for entry in batch:
                    yield log_frame(entry)
                last = batch[-1].seq
            yield ended_frame(self.subject(), tail.status or "deleted", last)
