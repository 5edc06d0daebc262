"""Event and Listener rows, from the writers' side: who listens, what is written for them, what is forgotten."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.utils import timezone

from ..conf import options
from ..databases import database
from ..models import Event, Listener
from .patterns import matcher

if TYPE_CHECKING:
    from . import Happening

MAX_PAYLOAD_CHARACTERS = 50_000
"""Larger arguments are shortened, or left out, in an Event row; the rows of the task have them whole."""
MAX_TEXT_CHARACTERS = 1000
MAX_ITEMS = 20
BATCH = 50
CHUNK = 1000

ANYBODY = f"EXISTS(SELECT 1 FROM {Listener._meta.db_table})"
"""SQL: is there a listener, perhaps one whose lease is over? Compares no clocks, so it is the cheapest question."""


def live_patterns(using: str) -> list[str]:
    """The patterns of all listeners whose lease is not over."""
    now = database(using).now(connections[using])
    return list(Listener.objects.using(using).filter(expires_at__gt=now).values_list("pattern", flat=True).distinct())


def write(happenings: Iterable[Happening], patterns: list[str], *, using: str) -> bool:
    """Write an Event row for each happening that a pattern matches; did any?"""
    matches = matcher(tuple(sorted(patterns)))
    now = timezone.now()
    rows = [
        Event(name=each.name, task_uuid=each.uuid, payload=_payload(each.args), created_at=now)
        for each in happenings
        if each.name != "task.add" and matches(each)  # its argument is an object of this process
    ]
    if rows:
        Event.objects.using(using).bulk_create(rows, batch_size=BATCH)
    return bool(rows)


def _payload(args: dict[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in args.items()}
    text = json.dumps(plain, default=_plain)
    if len(text) > MAX_PAYLOAD_CHARACTERS:
        text = json.dumps({name: _shortened(name, value) for name, value in plain.items()}, default=_plain)
    payload: dict[str, Any] = json.loads(text)
    return payload


def _shortened(name: str, value: Any) -> Any:
    """What is left of an argument that is too large: texts are cut, but a result is left out rather than changed."""
    if name == "result":
        return None
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT_CHARACTERS else f"{value[:MAX_TEXT_CHARACTERS]}…"
    if isinstance(value, dict):
        return {key: _shortened("", item) for key, item in list(value.items())[:MAX_ITEMS]}
    return None if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Times as ISO 8601, infinite priorities by name, what JSON has no word for as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | int | float | dict | list | tuple):
        return value
    return str(value)


def pruning(using: str) -> Iterator[int]:
    """Delete listeners whose lease is over, and events past `EVENT_KEEP_SECONDS` in chunks, saying how many each time.

    Workers do it now and then. Outside a transaction each chunk is one of its own.
    """
    now = database(using).now(connections[using])
    Listener.objects.using(using).filter(expires_at__lt=now)._raw_delete(using)
    old = timezone.now() - timedelta(seconds=options().event_keep_seconds)
    events = Event.objects.using(using)
    while ids := list(events.filter(created_at__lt=old).order_by("created_at").values_list("id", flat=True)[:CHUNK]):
        yield events.filter(id__in=ids)._raw_delete(using)
