"""Wake-ups through the project's channel layer, for databases that can't tell other processes themselves.

Redis forgets, and drops what nobody fetches: a lost wake-up costs a poll interval, as everywhere.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from django.conf import settings
from django.db import connections, transaction

from .base import Hub
from .sender import Sender

GROUP_SECONDS = 3600.0
"""After so long the group is joined again: layers forget members (channels_redis after a day)."""
MOST_TOPICS = 500
"""In one message; with more, all waiters look."""


def is_configured() -> bool:
    """Has the project a channel layer that reaches other processes?"""
    layers: dict[str, Any] = getattr(settings, "CHANNEL_LAYERS", None) or {}
    backend = str(layers.get("default", {}).get("BACKEND", ""))
    return bool(backend) and not backend.endswith(".InMemoryChannelLayer")


class ChannelLayerNotifier(Hub):
    """Tells other processes after the commit, and hears them in a thread with an event loop of its own."""

    kind = "layer"

    def __init__(self, using: str) -> None:
        super().__init__(using)
        name = str(connections[using].settings_dict["NAME"])
        self._group = f"django_tasker.{blake2b(name.encode(), digest_size=12).hexdigest()}"
        self._id = uuid.uuid4().hex
        self._sender = Sender(f"django_tasker-sender-{using}", self._send_each)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look: asyncio.Event | None = None

    # -- telling --------------------------------------------------------------------------------------------------

    def is_busy(self) -> bool:
        return not self._sender.is_broken

    def send(self, topics: Iterable[str]) -> None:
        self._sender.send(topics)

    def wake(self, topics: Iterable[str]) -> None:
        topics = list(topics)
        super().wake(topics)
        if self.is_busy():
            transaction.on_commit(lambda: self.send(topics), using=self.using, robust=True)

    def _send_each(self, next_topics: Callable[[], list[str] | None]) -> None:
        layer = _layer()
        with asyncio.Runner() as runner:
            while (topics := next_topics()) is not None:
                told = topics if len(topics) <= MOST_TOPICS else ["*"]
                runner.run(layer.group_send(self._group, {"type": "tasker.wake", "by": self._id, "topics": told}))

    # -- hearing --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        asyncio.run(self._hear())

    async def _hear(self) -> None:
        layer = _layer()
        channel = await layer.new_channel()
        self._loop, self._look = asyncio.get_running_loop(), asyncio.Event()
        try:
            while not self._is_over():
                await layer.group_add(self._group, channel)
                self._went_live()
                await self._receive(layer, channel)
        finally:
            self._loop = None
            await layer.group_discard(self._group, channel)

    async def _receive(self, layer: Any, channel: str) -> None:
        """Pass wake-ups on, until it is over or time to join again."""
        assert self._look is not None
        until = asyncio.get_running_loop().time() + GROUP_SECONDS
        receiving = asyncio.ensure_future(layer.receive(channel))
        try:
            while not self._is_over() and asyncio.get_running_loop().time() < until:
                looking = asyncio.ensure_future(self._look.wait())
                await asyncio.wait((receiving, looking), timeout=self.linger, return_when=asyncio.FIRST_COMPLETED)
                looking.cancel()
                self._look.clear()
                if receiving.done():
                    message = receiving.result()
                    receiving = asyncio.ensure_future(layer.receive(channel))
                    if message.get("by") != self._id:
                        self.wake_here(message["topics"])
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    def _interrupt(self) -> None:
        loop, look = self._loop, self._look
        if loop is not None and look is not None:
            try:
                loop.call_soon_threadsafe(look.set)
            except RuntimeError:  # it was closed meanwhile
                pass

    def close(self) -> None:
        super().close()
        self._sender.close()


def _layer() -> Any:
    """A layer of this thread's own: one instance can't be received from by two event loops."""
    from channels.layers import ChannelLayerManager

    return ChannelLayerManager().make_backend("default")
