"""The check of `Origin`, for projects that forgot `AllowedHostsOriginValidator`.

Browsers send cookies with a websocket from any page, and always say from which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host


def is_origin_allowed(scope: Mapping[str, Any]) -> bool:
    """Does the page belong to ALLOWED_HOSTS or CSRF_TRUSTED_ORIGINS? True for clients that name no origin."""
    origins = [value for name, value in scope.get("headers", ()) if name == b"origin"]
    return all(_is_allowed(value.decode("latin1")) for value in origins)


def _is_allowed(origin: str) -> bool:
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        parts = urlsplit(origin)
        host = parts.hostname
    except ValueError:
        return False
    allowed = settings.ALLOWED_HOSTS or ([".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    return bool(host) and validate_host(f"[{host}]" if ":" in str(host) else str(host), allowed)
