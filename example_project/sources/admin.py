"""The index in the admin: to read, since tasks write it."""

from __future__ import annotations

from django.contrib import admin

from .models import Package


@admin.register(Package)
class PackageAdmin(admin.ModelAdmin):
    list_display = ["name", "files", "lines", "functions", "classes", "imports", "longest_function_lines", "indexed_at"]
    search_fields = ["name"]
    ordering = ["-lines"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False
