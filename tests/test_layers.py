"""The table of who may import whom, held against the import statements of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.sqlite_only

PACKAGE = Path(__file__).resolve().parent.parent / "django_tasker"

# A layer may import itself and the ones above it. A new module gets its place here first.
LAYERS = [
    "errors statuses conf abort json_values tracebacks uuids",
    "query conditions registry worker.messages",
    "models",
    "databases notify signals",
    "events subscriptions lifecycle admission assertions specs logs log_entries receivers listening",
    "facade worker access",
    "api admin templatetags consumers routing backend runners management testing",
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
DOORS = LAYERS[-1].split()
WORKER_DOORS = ("management", "testing")
ONE_DOOR = {"routing": "consumers", "templatetags": "admin", "runners": "backend"}  # modules that together are one door
# These look at everything, from inside functions; `__init__` resolves its names when first asked.
FREE = ("__init__", "apps", "checks")
# What `__init__` offers, and where it comes from.
OFFERED = {"tasker": "facade", "Tasker": "facade", "AbortController": "abort", "AbortSignal": "abort"}
# Packages that only some need, and the modules that may import them.
OPTIONAL = {
    "rest_framework": ("api",),
    "django_filters": ("api",),
    "drf_spectacular": ("api",),
    "channels": ("consumers", "routing", "notify"),
    "psycopg": ("databases", "notify"),
    "MySQLdb": ("databases", "notify"),
    "pymysql": ("databases", "notify"),
    "django.tasks": ("backend",),
    "unfold": ("admin",),
}


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "migrations" not in path.parts]


def top(path: Path) -> str:
    """The module or package directly under django_tasker that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a file imports while it runs (not under TYPE_CHECKING)."""
    package = ["django_tasker", *path.relative_to(PACKAGE).parts[:-1]]
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield from runtime_nodes(child)


def ours(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top module of what a file imports of this package, from elsewhere than its own top module."""
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "django_tasker" and len(parts) > 1 and parts[1] != top(path):
            deep = ".".join(parts[1:3])
            yield line, deep if deep in LAYER_OF else OFFERED.get(parts[1], parts[1])


def is_allowed(importer: str, imported: str) -> bool:
    if imported not in LAYER_OF:
        return imported in ("__version__", "Retry", "Postpone")
    if importer in DOORS and imported in DOORS:
        return ONE_DOOR.get(importer, importer) == ONE_DOOR.get(imported, imported)
    if imported == "worker":
        return importer in WORKER_DOORS or importer == "facade"
    if importer == "worker" and imported == "facade":
        return False
    return LAYER_OF[imported] <= LAYER_OF[importer]


def test_every_module_has_a_layer():
    unplaced = {top(path) for path in modules()} - set(LAYER_OF) - set(FREE)

    assert not unplaced, f"give these a place in LAYERS: {sorted(unplaced)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_only_from_their_layer_and_above(path):
    if top(path) not in LAYER_OF:
        return

    wrong = [f"line {line}: {name}" for line, name in ours(path) if not is_allowed(top(path), name)]

    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_optional_packages_stay_in_their_modules(path):
    wrong = [
        f"line {line}: {name}"
        for line, name in imports(path)
        for package, allowed in OPTIONAL.items()
        if (name == package or name.startswith(package + ".")) and top(path) not in allowed
    ]

    assert not wrong
