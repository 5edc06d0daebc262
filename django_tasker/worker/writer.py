"""Has reports written: at once, or by a thread on a connection of its own while the dispatcher claims."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from django.db import DatabaseError, connections

from ..databases import database
from .held import HeldTask
from .recorder import Recorder, Report

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Between two tries while the database fails."""


class Writer:
    """Takes one batch of reports at a time; used by the dispatcher's thread alone.

    What leads a task back to new is always written at once, by the dispatcher itself: it could claim the task again
    before the thread has told of it.

    Args:
        wake: called when the thread has written a batch.
    """

    def __init__(self, using: str, wake: Callable[[], None]) -> None:
        self._using = using
        self._wake = wake
        self._writes_beside = database(using).writes_beside
        self._batch: list[Report] = []
        self._recorder: Recorder | None = None
        self._is_beside = False  # is the batch the thread's?
        self._lost: list[HeldTask] | None = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._handed_over = threading.Semaphore(0)
        self._closed = threading.Event()

    @property
    def batch(self) -> Sequence[Report]:
        """What was handed over and is not known to be written."""
        return self._batch

    def hand_over(self, reports: list[Report], recorder: Recorder) -> None:
        """Have reports written by `recorder`; only when there is no batch."""
        self._batch, self._recorder = reports, recorder
        self._is_beside = self._writes_beside and all(r.ended is None or r.ended.kind == "done" for r in reports)
        if self._is_beside:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="django_tasker-writer", daemon=True)
                self._thread.start()
            self._handed_over.release()

    def collect(self) -> tuple[list[Report], list[HeldTask]] | None:
        """A batch that has been written, and the tasks of it that were another worker's; None: not yet, or no batch.

        Raises:
            DatabaseError: it could not be written; the next call tries again.
        """
        if self._error is not None:
            raise self._error
        if self._batch and self._recorder is not None and not self._is_beside:
            self._lost = self._recorder.write(self._batch)
        if self._lost is None:
            return None
        batch, lost, self._batch, self._lost = self._batch, self._lost, [], None
        return batch, lost

    def close(self) -> None:
        """End the thread; what it has not written by now stays unwritten."""
        self._closed.set()
        self._handed_over.release()
        if self._thread is not None:
            self._thread.join()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._handed_over.acquire() and not self._closed.is_set():
                self._lost = self._write_until_written()
                self._wake()
        except Exception as error:
            self._error = error
            self._wake()
        finally:
            connections[self._using].close()

    def _write_until_written(self) -> list[HeldTask] | None:
        assert self._recorder is not None
        failures = 0
        while True:
            try:
                return self._recorder.write(self._batch)
            except DatabaseError:
                connections[self._using].close()
                if failures in (3, 30, 300):
                    logger.warning("reports can't be written count=%s", len(self._batch), exc_info=True)
                if self._closed.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]):
                    return None
                failures += 1
