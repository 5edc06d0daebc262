"""The regular expressions of `$regex`: a subset that every database's engine, and Python's, reads in the same way.

A pattern is read here and written anew, with everything spelled out that engines differ in: `.` is anything but a
line feed, `\\d \\w \\s` are ASCII, `^` and `$` are the very ends of the string, options and groups are gone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Never

from .literals import fail

MAX_PATTERN = 1_000
MAX_REPEAT = 255  # PostgreSQL's own limit
MAX_EXPANDED = 5_000
MAX_GROUPS = 20

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \t\n\r\f\v"}
_START, _END = "\0A", "\0Z"  # no pattern holds NUL
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


@lru_cache(maxsize=512)
def translate(pattern: str, *, ignore_case: bool = False, end: str = r"\Z", path: str = "$") -> str:
    """Return the pattern in its portable form, to be searched for (not matched from the start).

    Args:
        ignore_case: let ASCII letters match in either case; engines fold the other letters differently.
        end: what the engine writes for the very end of the string.
        path: what to call the place in messages.

    Raises:
        InvalidQuery: no valid pattern, or one that engines read differently.
    """
    if len(pattern) > MAX_PATTERN:
        fail(f"The pattern at {path} has more than {MAX_PATTERN:,} characters.", path)
    text = _Reader(pattern, ignore_case, path).read() or "(?:)"
    return text.replace(_START, r"\A").replace(_END, end)


class _Reader:
    """Reads a pattern from left to right; the sizes are what repetitions expand to."""

    def __init__(self, pattern: str, ignore_case: bool, path: str) -> None:
        self._rest = pattern
        self._at = 0
        self._ignore_case = ignore_case
        self._path = path

    def read(self) -> str:
        text, size = self._alternatives(0)
        if self._peek():
            self._refuse("unbalanced )")
        if size > MAX_EXPANDED:
            self._refuse("too many repetitions")
        return text

    def _alternatives(self, depth: int) -> tuple[str, int]:
        text, size = self._sequence(depth)
        while self._peek() == "|":
            self._next()
            more, more_size = self._sequence(depth)
            text, size = f"{text or '(?:)'}|{more or '(?:)'}", size + more_size
        return text, size

    def _sequence(self, depth: int) -> tuple[str, int]:
        parts, total = [], 0
        while self._peek() not in ("", "|", ")"):
            text, size, repeatable = self._atom(depth)
            quantifier, times = self._quantifier()
            if quantifier and not repeatable:
                self._refuse("nothing to repeat")
            parts.append(text + quantifier)
            total += size * times
        return "".join(parts), total

    def _atom(self, depth: int) -> tuple[str, int, bool]:
        """Read one atom: its text, its size, and whether it may be repeated."""
        char = self._next()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._set(), 1, True
        if char == "^":
            return _START, 1, False
        if char == "$":
            return _END, 1, False
        if char == ".":
            return "[^\n]", 1, True
        if char == "\\":
            return self._escape(), 1, True
        if char in "*+?{}":
            self._refuse(f"{char} has nothing to repeat; write \\{char} for the character")
        return self._literal(char), 1, True

    def _group(self, depth: int) -> tuple[str, int, bool]:
        if depth >= MAX_GROUPS:
            self._refuse("groups nested too deep")
        if self._peek() == "?":
            self._next()
            if self._next() != ":":
                self._refuse("of the groups that begin with (? only (?:…) is portable")
        text, size = self._alternatives(depth + 1)
        if self._next() != ")":
            self._refuse("missing )")
        # An engine may refuse to repeat what can't consume anything, or loop; so do we.
        return f"(?:{text})", size + 1, "\0" not in text and size > 0

    def _escape(self) -> str:
        char = self._next()
        if char.lower() in _CLASSES and char:
            return f"[{'^' if char.isupper() else ''}{_CLASSES[char.lower()]}]"
        return self._literal(self._escaped(char))

    def _escaped(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if not char or char.isalnum() or not char.isascii():
            self._refuse(f"\\{char} is not portable")
        return char

    def _literal(self, char: str) -> str:
        if self._ignore_case and char.isascii() and char.isalpha():
            return f"[{char.lower()}{char.upper()}]"
        return _quoted(char)

    def _set(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self._next()
        members: list[str] = []
        while True:
            char = self._next()
            if char == "":
                self._refuse("missing ]")
            if char == "]" and members:
                return f"[{'^' if negated else ''}{''.join(members)}]"
            if char in "[]":
                self._refuse(f"write \\{char} for the character in a set")
            members.append(self._member(char))

    def _member(self, char: str) -> str:
        if char == "\\":
            char = self._next()
            if char and char in _CLASSES:
                return _CLASSES[char]
            char = self._escaped(char)
        last = char
        if self._peek() == "-" and self._rest[self._at + 1 : self._at + 2] not in ("]", ""):
            self._next()
            last = self._next()
            if last == "\\":
                last = self._escaped(self._next())
            elif last in "[]":
                self._refuse(f"write \\{last} for the character in a set")
        if last < char:
            self._refuse(f"the range {char}-{last} is empty")
        return _range(char, last) + (_other_case(char, last) if self._ignore_case else "")

    def _quantifier(self) -> tuple[str, int]:
        """Read what may follow an atom: its text, and how often it repeats at most (as a weight)."""
        char = self._peek()
        if char not in ("*", "+", "?", "{"):
            return "", 1
        self._next()
        if char == "{":
            text, weight = self._bounds()
        else:
            text, weight = char, 1
        if self._peek() == "?":
            self._next()  # lazy or greedy: whether a match exists is the same
        if self._peek() in ("*", "+", "?", "{"):
            self._refuse("multiple repeat")
        return text, weight

    def _bounds(self) -> tuple[str, int]:
        body, brace, _ = self._rest[self._at :].partition("}")
        low, comma, high = body.partition(",")
        digits = all(part.isascii() and part.isdigit() and len(part) <= 3 for part in (low, high or low))
        if not brace or not digits:
            self._refuse("{ needs the form {2}, {2,} or {2,5}; write \\{ for the character")
        least, most = int(low), int(high or low)
        if not least <= most <= MAX_REPEAT:
            self._refuse(f"repetitions go from 0 to {MAX_REPEAT}")
        self._at += len(body) + 1
        return (f"{{{least},{'' if not high else most}}}" if comma else f"{{{least}}}"), max(most, 1)

    def _peek(self) -> str:
        return self._rest[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _refuse(self, why: str) -> Never:
        place = f"$regex at {self._path}, character {min(self._at, len(self._rest))}"
        fail(f"{place}: {why}.", self._path)


def _quoted(char: str) -> str:
    """The character as every engine reads it, inside a set and outside."""
    return f"\\{char}" if char.isascii() and not char.isalnum() and char.isprintable() and char not in " _" else char


def _range(first: str, last: str) -> str:
    return _quoted(first) if first == last else f"{_quoted(first)}-{_quoted(last)}"


def _other_case(first: str, last: str) -> str:
    """The ASCII letters of a range once more, in the other case."""
    found = ""
    for low, high, shift in (("a", "z", -32), ("A", "Z", 32)):
        start, stop = max(first, low), min(last, high)
        if start <= stop:
            found += _range(chr(ord(start) + shift), chr(ord(stop) + shift))
    return found
