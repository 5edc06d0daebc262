"""What all websockets have in common: who may connect, frames from the client, pace, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from urllib.parse import parse_qsl
from uuid import UUID

from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError

from .. import access
from ..databases import alias
from ..errors import InvalidQuery, TaskNotFound, UnknownEvent
from ..listening.hubs import FellBehind
from ..listening.reading import in_database_thread
from . import codes
from .codes import Refused
from .flow import Flow
from .origin import is_origin_allowed
from .watching import watch

MAX_FRAME = 1_000
"""Characters that a client's frame may have."""
SEND_SECONDS = 60.0
"""How long a server may hold back one frame because the client does not read."""
MAX_REASON = 120
"""Bytes of a reason: the protocol allows 123."""

logger = logging.getLogger(__name__)


class Gone(Exception):
    """The client has left, and the server says so before it tells."""


class FrameConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Sends the frames that `frames()` makes, until they end, the client leaves or may view them no more.

    The client may send `{"type": "ack"}` (all was read: send on at full speed) and `{"type": "ping"}` (answered by
    `{"type": "pong"}`). Anything else ends the connection.
    """

    # None: with a layer, Channels would give each connection a channel and a task that waits for its messages.
    channel_layer_alias = ""
    parameters: tuple[str, ...] = ()
    """Those that the query string may have."""
    _work: asyncio.Task[None] | None = None
    _ending: asyncio.Task[None] | None = None
    _flow: Flow

    def frames(self) -> AsyncGenerator[str, None]:
        """The frames, as JSON text."""
        raise NotImplementedError

    def subject(self) -> UUID | None:
        """The only task that this is about, if so."""
        return None

    def read_parameters(self, given: dict[str, str]) -> None:
        """Take the parameters, or raise Refused."""

    # -- the life of a connection ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        if not is_origin_allowed(self.scope):
            logger.warning("Websocket refused, wrong origin path=%s", self.scope.get("path"))
            raise DenyConnection
        await self.accept()
        self._flow = Flow()
        self._work = asyncio.create_task(self._run())

    async def disconnect(self, code: int) -> None:
        await self._stop()

    async def _stop(self) -> None:
        # More than once: a call of the database that is under way may swallow the first.
        while self._work is not None and not self._work.done():
            self._work.cancel()
            await asyncio.wait((self._work,), timeout=1)

    def refuse(self, refused: Refused) -> None:
        """End the connection, from the outside of its work."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(refused))

    async def _end(self, refused: Refused) -> None:
        await self._stop()
        await self._close(refused.code, refused.reason)

    async def _close(self, code: int, reason: str) -> None:
        log = logger.debug if code == codes.ENDED else logger.info
        log("Websocket closed code=%s path=%s reason=%s", code, self.scope.get("path"), reason)
        with suppress(Exception):  # the client may have gone
            await self.close(code, reason.encode()[:MAX_REASON].decode(errors="ignore"))

    async def _run(self) -> None:
        outcome = await self._outcome()
        if outcome is not None and self._ending is None:
            await self._close(*outcome)

    async def _outcome(self) -> tuple[int, str] | None:
        """Serve until the end; the close code and its reason, or None when the client has gone."""
        try:
            await self._serve()
        except Gone:
            return None
        except Refused as refused:
            return refused.code, refused.reason
        except (InvalidQuery, UnknownEvent) as error:
            return codes.BAD_REQUEST, str(error)
        except TaskNotFound:
            return codes.NOT_FOUND, "no task has this uuid"
        except FellBehind:
            return codes.TOO_SLOW, "too slow: events were lost"
        except (OperationalError, InterfaceError) as error:
            logger.warning("A websocket lost the database path=%s error=%s", self.scope.get("path"), error)
            return codes.TRY_LATER, "the database is away"
        except Exception:
            logger.exception("A websocket failed path=%s", self.scope.get("path"))
            return codes.BROKEN, "an error of the server"
        return codes.ENDED, "ended"

    async def _serve(self) -> None:
        self.read_parameters(self._parameters())
        await self.check()
        open_ones = watch()
        open_ones.add(self)
        try:
            async with aclosing(self.frames()) as frames:
                async for frame in frames:
                    await self._flow.room_for(len(frame))
                    await self._transmit(frame)
        finally:
            open_ones.remove(self)

    async def _transmit(self, frame: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self.send(text_data=frame)
        except TimeoutError:
            raise Refused(codes.TOO_SLOW, "the client does not read") from None
        except Exception as error:  # each server has its own for a client that has gone
            raise Gone from error

    # -- who and what -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Raise Refused unless the user may view this, as the database has it now."""
        code = await in_database_thread(alias(), self._check)
        if code == codes.NOT_LOGGED_IN:
            raise Refused(code, "not logged in")
        if code == codes.FORBIDDEN:
            raise Refused(code, f"the permission {access.VIEW} is missing")

    def _check(self) -> int | None:
        user = access.user_now(self.scope.get("user"), self.scope.get("session"))
        if user is None:
            return codes.NOT_LOGGED_IN
        return None if access.may(user, access.VIEW, uuid=self.subject()) else codes.FORBIDDEN

    def _parameters(self) -> dict[str, str]:
        try:
            text = self.scope.get("query_string", b"").decode("ascii")
            given = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20, errors="strict"))
        except ValueError:
            raise Refused(codes.BAD_REQUEST, "the query string is malformed") from None
        for name in given:
            if name not in self.parameters:
                known = ", ".join(self.parameters)
                raise Refused(codes.BAD_REQUEST, f"unknown parameter {name[:30]!r}; known are {known}")
        return given

    # -- frames of the client -----------------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            if not self._flow.may_receive():
                raise Refused(codes.TOO_MANY, "too many frames")
            kind = self._kind_of(text_data)
        except Refused as refused:
            self.refuse(refused)
            return
        if kind == "ack":
            self._flow.acknowledge()
        else:
            with suppress(Exception):  # the client may have gone
                await self.send(text_data='{"type": "pong"}')

    def _kind_of(self, text: str | None) -> str:
        if text is None:
            raise Refused(codes.NOT_TEXT, "frames must be text")
        if len(text) > MAX_FRAME:
            raise Refused(codes.TOO_LARGE, f"a frame may have {MAX_FRAME} characters")
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        kind = frame.get("type") if isinstance(frame, dict) else None
        if kind not in ("ack", "ping"):
            raise Refused(codes.BAD_REQUEST, 'a frame must be {"type": "ack"} or {"type": "ping"}')
        return str(kind)
