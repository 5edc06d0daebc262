"""What ends the sleep of one thread, from others and from signal handlers."""

from __future__ import annotations

import queue


class Bell:
    """Like `threading.Event`, but a signal handler may ring it at any moment.

    The main thread may hold an Event's lock just when it is interrupted, by the second of two signals too: the
    handler would wait for ever. `SimpleQueue.put` is made to be interrupted by itself.
    """

    __slots__ = ("_strokes",)

    def __init__(self) -> None:
        self._strokes: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        if self._strokes.empty():
            self._strokes.put(None)

    def wait(self, timeout: float) -> bool:
        """Sleep until it is rung, at most `timeout` seconds; False if it was not. One sleeper at a time."""
        try:
            self._strokes.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def clear(self) -> None:
        """Forget that it was rung."""
        while self.wait(0):
            pass
