"""Starts Django commands in processes of their own, on the database of the running test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent


def url_of(entry: dict[str, Any]) -> str:
    """DATABASE_URL for an entry of DATABASES: the reverse of `example_project.databases.database`."""
    vendor = entry["ENGINE"].rsplit(".", 1)[1]
    if vendor == "sqlite3":
        return f"sqlite:///{quote(str(entry['NAME']))}"
    user = quote(entry["USER"]) + (f":{quote(entry['PASSWORD'])}" if entry["PASSWORD"] else "")
    if entry["HOST"].startswith("/"):
        return f"{vendor}://{user}@/{entry['NAME']}?host={quote(entry['HOST'])}"
    return f"{vendor}://{user}@{entry['HOST']}:{entry['PORT']}/{entry['NAME']}"


def manage(database_url: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `manage.py …` with the tests' settings; its output is text on pipes unless `options` say otherwise."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONUNBUFFERED": "1",
        **options.pop("environment", {}),
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
    )
