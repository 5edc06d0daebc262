"""Asks again who may view: of each open websocket once a minute, of all when users change in this process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from .. import access
from .codes import Refused

SETTLE_SECONDS = 0.3
"""Between the word of a change and the question: a logout is told before the session is gone."""

logger = logging.getLogger(__name__)


class Watched(Protocol):
    async def check(self) -> None:
        """Raise Refused if the user may not view this any more."""

    def refuse(self, refused: Refused) -> None:
        """End the connection."""


class Watch:
    """The open websockets of an event loop, the one that was asked longest ago first."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked_at: dict[Watched, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, consumer: Watched) -> None:
        """Watch one that has just been asked."""
        self._asked_at[consumer] = time.monotonic()
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    def remove(self, consumer: Watched) -> None:
        self._asked_at.pop(consumer, None)
        if not self._asked_at and self._task is not None:
            self._task.cancel()
            self._task = None

    def tell_changed(self) -> None:
        """Let all be asked. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:  # the loop was closed
            pass

    async def _run(self) -> None:
        while True:
            await self._pause()
            now = time.monotonic()
            for consumer, asked_at in list(self._asked_at.items()):
                if asked_at + access.RECHECK_SECONDS <= now and consumer in self._asked_at:
                    del self._asked_at[consumer]
                    self._asked_at[consumer] = time.monotonic()
                    await self._ask(consumer)

    async def _pause(self) -> None:
        """Wait until the next one is due, or there was a change."""
        due = next(iter(self._asked_at.values())) + access.RECHECK_SECONDS
        try:
            async with asyncio.timeout(max(0.01, due - time.monotonic())):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_SECONDS)
        self._changed.clear()
        self._asked_at = dict.fromkeys(self._asked_at, -access.RECHECK_SECONDS)

    async def _ask(self, consumer: Watched) -> None:
        try:
            await consumer.check()
        except Refused as refused:
            consumer.refuse(refused)
        except Exception as error:  # an outage: nothing can be read meanwhile either
            logger.warning("Permissions can't be checked now error=%s", error)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()
_guard = threading.Lock()


def watch() -> Watch:
    """The running event loop's."""
    with _guard:
        return _watches.setdefault(asyncio.get_running_loop(), Watch())


def _tell_changed() -> None:
    with _guard:
        watches = list(_watches.values())
    for each in watches:
        each.tell_changed()


def _on_users(*, using: str | None = None, update_fields: Any = None, created: bool = False, **_: Any) -> None:
    if _watches and not created and set(update_fields or ()) != {"last_login"}:
        transaction.on_commit(_tell_changed, using=using, robust=True)


def _on_links(*, model: Any = None, using: str | None = None, action: str = "", **_: Any) -> None:
    if action.startswith("post_") and model in (Permission, Group, get_user_model()):
        _on_users(using=using)


def _on_logout(**_: Any) -> None:
    _tell_changed()


def connect_signals() -> None:
    """Hear of changes to users, groups and permissions. Safe to call twice."""
    name = "django_tasker.consumers"
    for signal in (post_save, post_delete):
        signal.connect(_on_users, sender=get_user_model(), dispatch_uid=name)
    m2m_changed.connect(_on_links, dispatch_uid=name)
    user_logged_out.connect(_on_logout, dispatch_uid=name)


connect_signals()
