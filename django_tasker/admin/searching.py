"""The search box: a uuid, words, or a JSON query."""

from __future__ import annotations

import json
from uuid import UUID

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from ..conf import options
from ..errors import InvalidQuery
from ..models import Task

WORD_FIELDS = ("operation", "queue", "unique_key", "added_by", "worker_name", "abort_reason")


def search(tasks: QuerySet[Task], text: str) -> QuerySet[Task]:
    """The tasks that a text finds.

    Args:
        text: a JSON object is a query; a uuid names one task; otherwise every word must occur in the names of a task,
            its data or its error.

    Raises:
        InvalidQuery: the text begins like a query and is none.
    """
    text = text.strip()
    if text.startswith("{"):
        return _matching(tasks, text)
    if uuid := as_uuid(text):
        return tasks.filter(uuid=uuid)
    words = text.split()
    if not words:
        return tasks
    found = tasks.alias(data_text=Cast("data", TextField()), error_text=Cast("error", TextField()))
    for word in words:
        found = found.filter(_has_word(word))
    return found


def _matching(tasks: QuerySet[Task], text: str) -> QuerySet[Task]:
    try:
        query = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery(f"This is no JSON: {error}.", path="$") from error
    return tasks & Task.objects.using(tasks.db).matching(query, allow_regex=options().allow_regex)


def _has_word(word: str) -> Q:
    condition = Q(data_text__icontains=word) | Q(error_text__icontains=word)
    for field in WORD_FIELDS:
        condition |= Q(**{f"{field}__icontains": word})
    return condition


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) >= 32 else None
    except ValueError:
        return None
