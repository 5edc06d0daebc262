"""Found like the `runners` of any app: brings in the functions of projects that use our backend of django.tasks."""

import django

if django.VERSION >= (6, 0):
    from .backend import discover

    discover()
