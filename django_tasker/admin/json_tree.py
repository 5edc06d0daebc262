"""JSON as markup that folds by itself, cut where it is large."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

MAX_ITEMS = 50
"""Items shown of one object or array."""
MAX_VALUES = 500
"""Values shown in all."""
MAX_TEXT = 2_000
OPEN_DEPTH = 2


class JsonTree:
    """One JSON value; `is_cut` says whether something was left out, once `render` was called."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._left = MAX_VALUES
        self.is_cut = False

    def render(self) -> SafeString:
        return format_html('<div class="tasker-json" dir="ltr">{}</div>', self._node(self._value, 0))

    def _node(self, value: Any, depth: int) -> SafeString:
        self._left -= 1
        if isinstance(value, dict | list) and value:
            return self._container(value, depth)
        return self._leaf(value)

    def _container(self, value: dict[str, Any] | list[Any], depth: int) -> SafeString:
        is_object = isinstance(value, dict)
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        shown = pairs[: max(min(MAX_ITEMS, self._left), 0)] if depth < 30 else []
        rows = [
            format_html("<li><span class=json-key>{}</span>: {}</li>", key, self._node(item, depth + 1))
            for key, item in shown
            if self._left > 0
        ]
        if len(rows) < len(pairs):
            self.is_cut = True
            rows.append(format_html("<li class=json-more>… {}</li>", len(pairs) - len(rows)))
        is_open = SafeString(" open" if depth < OPEN_DEPTH and len(pairs) <= 20 else "")
        size = f"{{{len(pairs)}}}" if is_object else f"[{len(pairs)}]"
        body = format_html_join("", "{}", ((row,) for row in rows))
        return format_html("<details{}><summary>{}</summary><ul>{}</ul></details>", is_open, size, body)

    def _leaf(self, value: Any) -> SafeString:
        kind = {str: "string", bool: "word", type(None): "word"}.get(type(value), "number")
        text = json.dumps(value, ensure_ascii=False)
        if len(text) > MAX_TEXT:
            self.is_cut = True
            text = f"{text[:MAX_TEXT]}… ({_('%(count)d characters') % {'count': len(text)}})"
        return format_html('<span class="json-{}">{}</span>', kind, text)
