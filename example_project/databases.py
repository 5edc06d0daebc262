"""Turns DATABASE_URL into Django's DATABASES entry, with the options that django_tasker recommends."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def database(url: str) -> dict[str, Any]:
    """The DATABASES entry for `sqlite:///file`, `postgresql://…` or `mysql://user:password@host:port/name`."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]) or "db.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
            "TEST": {"NAME": str(Path(unquote(parts.path[1:])).with_suffix(".test.sqlite3"))},
        }
    host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]  # ?host=/a/socket/folder
    entry: dict[str, Any] = {
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
    if parts.scheme in ("postgres", "postgresql"):
        return {**entry, "ENGINE": "django.db.backends.postgresql"}
    if parts.scheme in ("mysql", "mariadb"):
        return {**entry, "ENGINE": "django.db.backends.mysql", "OPTIONS": {"charset": "utf8mb4"}}
    raise ValueError(f"DATABASE_URL has the scheme {parts.scheme!r}, not sqlite, postgresql or mysql")
