"""The runners of this app: django_tasker imports this module of every installed app."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db.models import Sum

from django_tasker import tasker

from .indexing import Counts, Unreadable, count_file
from .models import Package
from .packages import installed_package, site_packages

# While a task indexes a package, no other task starts on the same one.
ONE_PER_PACKAGE = {
    "scope": "running",
    "query": {"operation": "index-package", "data.package": {"$ref": "data.package"}},
    "limit": 0,
}
# Starts when nothing is left to index: none runs, and none is waiting ahead.
AFTER_ALL_PACKAGES = {"scope": "active", "query": {"operation": "index-package"}, "limit": 0}


@tasker.runner("index-package", run_timeout=600, concurrency=[ONE_PER_PACKAGE])
def index_package(task) -> dict[str, Any]:
    """Read every Python file of `data.package` and store what is in them."""
    package = installed_package(task.data["package"])
    task.logger.info("%s has %d Python files, %d bytes", package.name, len(package.files), package.size)
    counts, unreadable = Counts(), 0
    for number, path in enumerate(package.files, start=1):
        task.abort_signal.raise_if_aborted()
        label = str(path.relative_to(site_packages()))
        try:
            found = count_file(path, label)
        except Unreadable as error:
            unreadable += 1
            task.logger.warning("skipped %s: %s", label, error)
        else:
            counts += found
            task.logger.debug("read %s: %d lines, %d functions", label, found.lines, found.functions)
        task.progress(number, len(package.files), "files")
    row = {**asdict(counts), "unreadable": unreadable}
    Package.objects.update_or_create(name=package.name, defaults={**row, "task_uuid": task.uuid})
    task.logger.info("%s: %d lines in %d files", package.name, counts.lines, counts.files)
    return row


@tasker.runner("summarize-packages", concurrency=[AFTER_ALL_PACKAGES])
def summarize_packages(task) -> dict[str, Any]:
    """Add the table up: totals, the largest packages, the longest function of all."""
    columns = ["files", "lines", "functions", "classes", "imports", "unreadable"]
    totals = Package.objects.aggregate(**{column: Sum(column, default=0) for column in columns})
    largest = Package.objects.order_by("-lines").values("name", *columns)[:10]
    longest = Package.objects.order_by("-longest_function_lines").values("longest_function", "longest_function_lines")
    task.logger.info("%d lines in all", totals["lines"])
    return {
        "packages": Package.objects.count(),
        "totals": totals,
        "largest": list(largest),
        "longest_function": longest.first(),
    }
