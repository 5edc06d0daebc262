"""Counts what is in a Python file, by its syntax tree."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path


class Unreadable(ValueError):
    """The file is not valid Python, or can't be read."""


@dataclass(frozen=True)
class Counts:
    """What was counted; two can be added."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: int = 0
    longest_function: str = ""
    longest_function_lines: int = 0

    def __add__(self, other: Counts) -> Counts:
        longest = max(self, other, key=lambda counts: counts.longest_function_lines)
        return Counts(
            self.files + other.files,
            self.lines + other.lines,
            self.functions + other.functions,
            self.classes + other.classes,
            self.imports + other.imports,
            longest.longest_function,
            longest.longest_function_lines,
        )


def count_file(path: Path, label: str) -> Counts:
    """The counts of one file; functions are named `label:line name`. Raises Unreadable."""
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old escape sequence in somebody's string is not our affair
            tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    return count_tree(tree, label) + Counts(files=1, lines=source.count(b"\n"))


def count_tree(tree: ast.AST, label: str) -> Counts:
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    longest = max(functions, key=length, default=None)
    return Counts(
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        imports=sum(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes),
        longest_function=f"{label}:{longest.lineno} {longest.name}" if longest else "",
        longest_function_lines=length(longest) if longest else 0,
    )


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1
