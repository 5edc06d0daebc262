"""The admin: who may do what with tasks, seen and steered in Django's own admin site or any custom one.

With a site of your own: `site.register(Task, TaskAdmin)`.
"""

from __future__ import annotations

from .task import TaskAdmin

__all__ = ["TaskAdmin"]
