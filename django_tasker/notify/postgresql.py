"""PostgreSQL: LISTEN and NOTIFY, on a connection of the hub's own. The only module that imports psycopg."""

from __future__ import annotations

import os
import secrets
import selectors
import socket
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import psycopg
from django.db import connections

from .base import Hub
from .sender import Sender

CHANNEL = "django_tasker"  # channels belong to one database already
MAX_PAYLOAD_BYTES = 7900  # NOTIFY takes less than 8000
MAX_PAYLOADS = 4
"""For the topics of one transaction; with more of them, all waiters look. A chunk of a bulk move fits."""
CHECK_SECONDS = 15.0
"""How long the connection may be silent before it is asked whether it still stands."""
CONNECTION = {
    "application_name": "django_tasker listener",
    "connect_timeout": 10,
    # A host that is gone without a word would be noticed after a quarter of an hour.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""What libpq is told unless OPTIONS say otherwise."""


class PostgreSQLNotifier(Hub):
    """Topics travel as the payload of NOTIFY, in the transaction they tell of; PostgreSQL delivers at commit."""

    kind = "listen"

    def __init__(self, using: str) -> None:
        super().__init__(using)
        # Marks our own notifications, which `wake_here` made needless. Made after a fork, so a child has its own.
        self._token = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._sender = Sender(f"django_tasker-send-{using}", self._send_all)
        self._waker, self._wakeable = socket.socketpair()
        self._waker.setblocking(False)
        self._wakeable.setblocking(False)

    def announce(self, topics: Iterable[str], question: str = "NULL") -> Any:
        payloads = self._payloads(topics)
        if not payloads:
            return super().announce(topics, question)
        with connections[self.using].cursor() as cursor:
            told = ", pg_notify(%s, %s)" * len(payloads)
            cursor.execute(f"SELECT {question}{told}", [part for each in payloads for part in (CHANNEL, each)])
            return cursor.fetchone()[0]

    def _payloads(self, topics: Iterable[str]) -> list[str]:
        """Our token and some of the topics each."""
        payloads: list[str] = []
        for topic in topics:
            if payloads and len(payloads[-1]) + 1 + len(topic) <= MAX_PAYLOAD_BYTES:
                payloads[-1] += f" {topic}"
            else:
                payloads.append(f"{self._token} {topic}")
        return payloads if len(payloads) <= MAX_PAYLOADS else [f"{self._token} *"]

    def is_busy(self) -> bool:
        return self._sender.is_needed()

    def send(self, topics: Iterable[str]) -> None:
        self._sender.send(topics)

    def _send_all(self, next_topics: Callable[[], list[str] | None]) -> None:
        with self._connect() as connection:
            # A wake-up that a crash of the server loses is no loss: nobody has to wait for the disk.
            connection.execute("SET synchronous_commit = off")
            while (topics := next_topics()) is not None:
                for payload in self._payloads(topics):
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))

    def _watch(self) -> None:
        with self._connect() as connection, selectors.DefaultSelector() as selector:
            connection.add_notify_handler(lambda notify: self._heard(notify.payload))
            connection.execute(f"LISTEN {CHANNEL}")
            selector.register(connection.pgconn.socket, selectors.EVENT_READ)
            selector.register(self._wakeable, selectors.EVENT_READ)
            if _is_direct(connection):
                self._went_live()
            while not self._is_over():
                if not selector.select(CHECK_SECONDS if self._count else self.linger):
                    connection.execute("SELECT 1")
                self._drain_waker()
                self._read(connection)

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection with Django's parameters, outside its pool and without its adapters."""
        parameters = connections[self.using].get_connection_params()
        for ours in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(ours, None)
        return psycopg.connect(**{**CONNECTION, **parameters}, autocommit=True)

    def _read(self, connection: psycopg.Connection[Any]) -> None:
        connection.pgconn.consume_input()  # raises when the server has gone
        while (notify := connection.pgconn.notifies()) is not None:
            self._heard(notify.extra.decode())
            if not self.is_live:
                self._went_live()  # the pooler does pass on what nobody asked for

    def _heard(self, payload: str) -> None:
        token, *topics = payload.split(" ")
        if token != self._token:
            self.wake_here(topics)

    def _drain_waker(self) -> None:
        try:
            while self._wakeable.recv(64):
                pass
        except BlockingIOError:
            pass

    def _interrupt(self) -> None:
        try:
            self._waker.send(b"x")
        except OSError:  # full, hence awake already; or closed
            pass

    def close(self) -> None:
        self._sender.close()
        super().close()
        with closing(self._waker), closing(self._wakeable):
            pass


def _is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Is this the server's own connection?

    A pooler between invents the process id that clients are told. One that pools transactions accepts LISTEN and
    passes nothing on, so until something has been heard through it, waits go by the clock.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] == connection.info.backend_pid
