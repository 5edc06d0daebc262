"""How many tasks have which status, counted once for all viewers in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

from django.db.models import Count

from ..databases import alias
from ..listening.reading import Looker
from ..models import Task
from ..notify import notifier
from ..statuses import Status

LEAST_SECONDS = 1.0
"""Between two counts; longer where counting takes long."""
SHARE = 0.05
"""Of the time that counting may take."""


class Counts:
    """The newest counts."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._looker = Looker(alias())
        self._counts: dict[str, int] = {}
        self._until = 0.0

    async def get(self) -> dict[str, int]:
        """As they are now, or were a moment ago."""
        async with self._lock:
            began = time.monotonic()
            if began >= self._until:
                self._counts = await self._looker.alook(_count, self._counts)
                now = time.monotonic()
                self._until = now + max(LEAST_SECONDS, (now - began) / SHARE)
        return self._counts

    @property
    def pause(self) -> float:
        """Seconds until `get` counts again."""
        return max(0.0, self._until - time.monotonic())


def _count() -> dict[str, int]:
    found = dict(Task.objects.using(alias()).order_by().values_list("status").annotate(count=Count("id")))
    return {status: found.get(status, 0) for status in Status.values}


_counts: WeakKeyDictionary[asyncio.AbstractEventLoop, Counts] = WeakKeyDictionary()


async def changing_counts() -> AsyncGenerator[dict[str, int], None]:
    """The counts of now, and again whenever they have changed."""
    counts = _counts.setdefault(asyncio.get_running_loop(), Counts())
    told: dict[str, int] = {}
    with notifier(alias()).subscribe("queue") as subscription:
        while True:
            now = await counts.get()
            if now != told:
                told = now
                yield now
            await asyncio.sleep(counts.pause)
            await subscription.await_(5.0)
