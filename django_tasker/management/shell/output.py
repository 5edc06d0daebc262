"""How the shell prints: lines and tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import OutputWrapper
from django.core.management.color import Style
from django.utils import timezone

from ...models import Task, TaskLog

# Columns that only the machinery reads.
_INTERNAL = {"id", "lane", "hold", "active_key", "worker_id", "queue_deadline_at", "expires_at"}
_STYLES = {"failed": "ERROR", "aborted": "WARNING", "done": "SUCCESS"}
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


class Output:
    """Where a subcommand prints; `as_json` says which of the two ways is wanted."""

    def __init__(self, stdout: OutputWrapper, style: Style, *, as_json: bool) -> None:
        self.stdout = stdout
        self.style = style
        self.as_json = as_json

    @property
    def is_terminal(self) -> bool:
        return bool(self.stdout.isatty()) and not self.as_json

    def line(self, text: str = "") -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def transient(self, text: str) -> None:
        """Show a line that the next one overwrites; only for terminals."""
        self.stdout.write("\r\x1b[K" + text, ending="")
        self.stdout.flush()

    def json(self, value: Any) -> None:
        """One value on one line."""
        self.line(to_json(value))

    def either(self, value: Any, text: str) -> None:
        self.json(value) if self.as_json else self.line(text)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Columns as wide as they need to be; the last one is not padded."""
        cells = [list(header), *([plain(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
        for number, row in enumerate(cells):
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.line(self.style.MIGRATE_HEADING(text) if number == 0 else text)

    def status(self, status: str) -> str:
        """A status in its colour."""
        return str(getattr(self.style, _STYLES.get(status, ""), str)(status))


def to_json(value: Any) -> str:
    return json.dumps(value, default=_encode, ensure_ascii=False)


def _encode(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def plain(value: Any) -> str:
    """A value in a cell: times without fractions, no text for None, one line."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(sep=" ", timespec="seconds")
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict | list):
        return to_json(value)
    return " ".join(str(value).splitlines())


def number(value: float) -> str:
    """A priority or duration without needless decimals."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def task_json(task: Task) -> dict[str, Any]:
    """A task as an object of JSON: every column that a user knows, in the order of the model."""
    names = [field.attname for field in Task._meta.concrete_fields if field.attname not in _INTERNAL]
    values = {name: getattr(task, name) for name in names}
    if math.isinf(values["priority"]):  # JSON has no infinity
        values["priority"] = number(values["priority"])
    return {**values, "is_aborting": task.is_aborting}


def log_json(entry: TaskLog) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "created_at": entry.created_at,
        "attempt": entry.attempt,
        "level": level_name(entry.level),
        "logger": entry.logger,
        "message": entry.message,
        "traceback": entry.traceback,
        "extra": entry.extra,
    }


def log_line(entry: TaskLog, style: Style) -> str:
    name = level_name(entry.level)
    colour = style.ERROR if entry.level >= 40 else style.WARNING if entry.level >= 30 else str
    time = timezone.localtime(entry.created_at).strftime("%H:%M:%S.%f")[:-3]
    text = f"{entry.seq:>5} {time} {colour(f'{name:<8}')} {entry.message}"
    return f"{text}\n{entry.traceback.rstrip()}" if entry.traceback else text


def level_name(level: int) -> str:
    """The name of a level; one between two standard ones is called after the lower."""
    return LEVELS[max((known for known in LEVELS if known <= level), default=10)]


def progress_text(progress: dict[str, Any] | None, *, width: int = 20) -> str:
    """Progress as a bar with its figures; empty without progress."""
    if not progress:
        return ""
    current, total, message = progress.get("current"), progress.get("total"), progress.get("message") or ""
    if not total:
        return f"{number(float(current or 0))} {message}".strip()
    share = min(max(float(current or 0) / float(total), 0.0), 1.0)
    bar = "#" * round(share * width)
    figures = f"{number(float(current or 0))}/{number(float(total))} {message}".strip()
    return f"[{bar:-<{width}}] {share:4.0%} {figures}"
