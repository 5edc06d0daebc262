"""Messages over a socket between a worker and its child processes: length, then pickle."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from typing import Any

_HEADER = struct.Struct("!I")
_READ_BYTES = 256 * 1024


class Pipe:
    """One end. Any thread may send; one thread at a time reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.is_unread = False  # the other side ended without having read all that was sent to it
        self._received = bytearray()
        self._unsent = bytearray()
        self._lock = threading.RLock()

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: Any) -> None:
        """Send, and wait until all is out."""
        with self._lock:
            self._unsent += _packed(message)
            # Not sendall(): a signal handler of the runner may raise here, and what is left must follow later.
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent)]

    def post(self, message: Any) -> bool:
        """Send as much as goes at once and keep the rest for `flush`; whether all is out. Never waits."""
        data = _packed(message)
        with self._lock:
            if not self._unsent:
                try:
                    sent = self.socket.send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    self.is_unread = True
                    return True  # the other side is gone: whoever reads finds out
                if sent == len(data):
                    return True
                data = data[sent:]
            self._unsent += data
            return False

    def flush(self) -> bool:
        """Send more of what `post` kept; whether all is out. Never waits."""
        with self._lock:
            try:
                while self._unsent:
                    del self._unsent[: self.socket.send(self._unsent, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                return False
            except OSError:
                self._unsent.clear()
            return True

    def receive(self) -> Any:
        """The next message; waits for it. None: the other side is gone."""
        while True:
            if (message := self._next()) is not None:
                return message
            data = self._read(0)
            if not data:
                return None
            self._received += data

    def receive_available(self) -> tuple[list[Any], bool]:
        """All messages that are there, and whether the other side is gone. Never waits."""
        messages: list[Any] = []
        while True:
            try:
                data = self._read(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages, False
            if not data:
                return messages, True
            self._received += data
            while (message := self._next()) is not None:
                messages.append(message)
            if len(data) < _READ_BYTES:
                return messages, False

    def _read(self, flags: int) -> bytes:
        try:
            return self.socket.recv(_READ_BYTES, flags)
        except ConnectionError:
            # Linux tells this of an end that was closed with unread data in it (and only after all it had sent).
            self.is_unread = True
            return b""

    def _next(self) -> Any:
        """Take one whole message from what was received; None: there is none yet."""
        received = self._received
        if len(received) < _HEADER.size:
            return None
        end = _HEADER.size + _HEADER.unpack_from(received)[0]
        if len(received) < end:
            return None
        with memoryview(received) as view:
            message = pickle.loads(view[_HEADER.size : end])
        del received[:end]
        return message

    def close(self) -> None:
        with self._lock:  # nobody sends to a descriptor that is someone else's by now
            self.socket.close()


def _packed(message: Any) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _HEADER.pack(len(body)) + body
