"""No way to hear other processes: MySQL and MariaDB, and databases in memory.

Wake-ups of this process are heard at once; for others, `Subscription.wait` looks by the clock. It needs no thread.
"""

from __future__ import annotations

from .base import Notifier


class PollingNotifier(Notifier):
    """The floor under all notifiers."""
