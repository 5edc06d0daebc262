"""What the index knows of each package."""

from __future__ import annotations

from django.db import models


class Package(models.Model):
    """Counts over the Python files of one installed package, as its last `index-package` task found them."""

    name = models.CharField(max_length=200, unique=True)
    files = models.PositiveIntegerField(default=0)
    lines = models.PositiveIntegerField(default=0)
    functions = models.PositiveIntegerField(default=0)
    classes = models.PositiveIntegerField(default=0)
    imports = models.PositiveIntegerField(default=0)
    longest_function = models.CharField(max_length=500, blank=True, default="", help_text="file:line name")
    longest_function_lines = models.PositiveIntegerField(default=0)
    unreadable = models.PositiveIntegerField(default=0, help_text="Files that are not valid Python.")
    indexed_at = models.DateTimeField(auto_now=True)
    task_uuid = models.UUIDField(null=True, help_text="The task that wrote this row.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
