"""Checks values that are to be stored as JSON, and names the place of what can't be."""

from __future__ import annotations

import json
import math
from typing import Any

from .errors import InvalidTask

MAX_DEPTH = 100


class Utf8Encoder(json.JSONEncoder):
    """Writes text as it is: escaped, an astral character would not compare equal on MariaDB."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False, "separators": (",", ":")})


MAX_INTEGER = 2**63 - 1
_encode = Utf8Encoder(allow_nan=False).encode


def dumps(value: Any, *, path: str = "$", max_bytes: int | None = None, max_depth: int = MAX_DEPTH) -> str:
    """Return `value` as compact JSON text that every supported database stores and gives back unchanged.

    Args:
        path: what to call the value in messages, like `data`.
        max_bytes: largest size of the text in UTF-8; None: any.
        max_depth: levels of lists and objects within each other.

    Raises:
        InvalidTask: `value` holds NaN, an infinity, NUL, a lone surrogate, an integer beyond 64 bits, a key
            that is no string, something JSON has no word for, or is too deep or too large. `path` of the error
            is the place, like `data.items[3].name`.
    """
    _check(value, path, max_depth)
    text = _encode(value)
    if max_bytes is not None and len(text) * 4 > max_bytes and (size := len(text.encode())) > max_bytes:
        raise InvalidTask(f"{path} takes {size:,} bytes as JSON; at most {max_bytes:,} are allowed.", path=path)
    return text


def _check(value: Any, path: str, levels: int) -> None:
    if value is None or value is True or value is False:
        return
    kind = type(value)
    if kind is str:
        check_text(value, path)
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise InvalidTask(f"{path} is an integer of more than 64 bits; store it as a string.", path=path)
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidTask(f"{path} is {value!r}, which JSON has no word for.", path=path)
    elif levels <= 0:
        raise InvalidTask(f"{path} is nested too many levels deep.", path=path)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidTask(f"{path} has the key {key!r}; keys must be strings.", path=path)
            check_text(key, f"a key of {path}")
            _check(item, f"{path}.{key}", levels - 1)
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", levels - 1)
    else:
        _check_odd(value, path, levels)


def _check_odd(value: Any, path: str, levels: int) -> None:
    """Subclasses of JSON's types (an IntEnum, an OrderedDict) pass as what they are; the rest is refused."""
    for base in (str, int, float):
        if isinstance(value, base):
            return _check(base(value), path, levels)
    if isinstance(value, dict):
        return _check(dict(value), path, levels)
    if isinstance(value, list | tuple):
        return _check(list(value), path, levels)
    raise InvalidTask(f"{path} is a {type(value).__name__}, which JSON has no word for.", path=path)


def check_text(value: str, path: str) -> None:
    """Refuse text that a database can't store: NUL and lone surrogates."""
    if value.isascii():
        if "\0" in value:
            raise InvalidTask(f"{path} contains a NUL character.", path=path)
        return
    if "\0" in value:
        raise InvalidTask(f"{path} contains a NUL character.", path=path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidTask(f"{path} contains a lone surrogate.", path=path) from None


def storable_text(value: str, max_characters: int) -> str:
    """Make any text storable: NUL and lone surrogates are escaped, what is too long is cut and says so."""
    if len(value) > max_characters:
        value = f"{value[:max_characters]}… ({len(value) - max_characters:,} characters cut)"
    value = value.replace("\0", "\\x00")
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def stand_in(value: Any) -> Any:
    """A hashable stand-in for a JSON value: equal exactly when JSON calls two values equal (1 is 1.0, not true)."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, dict):
        return "dict", frozenset((key, stand_in(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(stand_in, value))
    return value
