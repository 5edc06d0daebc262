"""Moves waiting rows between streams. Only passes that hold the gate alone may put rows into a reason's stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Exists, OuterRef
from django.utils import timezone

from ..conditions import FRONT, LATER
from ..databases import in_transaction, listed
from ..models import Stream, Task
from ..statuses import Status
from . import keys, rows
from .facts import Facts
from .rows import Row

MOVE_AT_ONCE = 5000
"""Rows moved in one statement."""

CROWD = 32
"""Refused rows of one reason that make a stream for it worthwhile."""


def bring_due_to_front(using: str, now: datetime) -> bool:
    """Move tasks whose `run_at` has come to the front; False when there are more than one statement should move."""
    until = connections[using].ops.adapt_datetimefield_value(now)
    ids = rows.waiting_ids(using, f"hold = {LATER} AND run_at <= %s", [until], size=MOVE_AT_ONCE)
    _put(using, ids, FRONT)
    return len(ids) < MOVE_AT_ONCE


def move(
    using: str,
    refused: Mapping[int, list[Row]],
    reasons: Mapping[int, Any],
    *,
    keyed: Mapping[str, list[str]],
    everything: bool,
) -> int:
    """Move refused rows (stream id -> rows) out of the way, where they crowd; return how many were moved.

    With `everything`, small groups too: a pass that has read all it may must leave room behind it.

    Args:
        keyed: the lists of paths, by name, for which the rows of new streams get keys.
    """
    existing = Stream.objects.using(using).in_bulk(refused) if refused else {}
    moved = 0
    for stream_id, group in refused.items():
        stream = existing.get(stream_id)
        if not (everything or len(group) >= (CROWD if stream is None else CROWD // 4)):
            continue
        if stream is None:
            stream = Stream.objects.using(using).create(
                id=stream_id, reason=reasons[stream_id], keyed=keyed, created_at=timezone.now()
            )
        moved += _move_to(using, stream, group[:MOVE_AT_ONCE])
    return moved


def _move_to(using: str, stream: Stream, group: Sequence[Row]) -> int:
    """Move the rows that are still what was refused, with the keys that the stream's rows have."""
    refused = {row.id: (row.lane, row.priority) for row in group}
    paths = keys.path_lists(stream)
    names = keys.NAMES if paths else keys.NAMES[:3]
    found = rows.waiting(using, names, f"id IN ({listed(refused)})")
    tasks = [Facts(using, dict(zip(names, values, strict=True))) for values in found]
    tasks = [task for task in tasks if refused[task.id] == (task.lane, task.priority)]
    moved = _put(using, [task.id for task in tasks], stream.id)
    if paths:
        keys.write(using, stream.id, tasks, paths)
    return moved


def _put(using: str, ids: Sequence[int], hold: int) -> int:
    """Put these rows, which are locked, into a stream."""
    if not ids:
        return 0
    with connections[using].cursor() as cursor:
        cursor.execute(f"UPDATE {rows.TABLE} SET hold = {hold:d} WHERE id IN ({listed(ids)}) AND status = 'new'")
        return int(cursor.rowcount)


def dissolve(using: str, stream_ids: Collection[int]) -> None:
    """Bring what is left in these streams back to the front, and forget those that are empty then."""
    for stream_id in stream_ids:
        _put(using, rows.waiting_ids(using, "hold = %s", [stream_id]), FRONT)
        # A row that somebody has locked stays behind, and its stream with it.
        if not rows.page(using, stream_id, None, 1):
            Stream.objects.using(using).filter(id=stream_id).delete()


def bring_back_strays(using: str) -> int:
    """Bring waiting rows of streams that do not exist to the front: a safety net, run now and then."""
    waiting = Task.objects.using(using).filter(status=Status.NEW, hold__gt=LATER)
    strays = waiting.filter(~Exists(Stream.objects.filter(id=OuterRef("hold"))))

    def bring() -> int:
        ids = list(strays.select_for_update(skip_locked=True).values_list("id", flat=True)[:MOVE_AT_ONCE])
        return waiting.filter(id__in=ids).update(hold=FRONT)

    return in_transaction(using, bring)
