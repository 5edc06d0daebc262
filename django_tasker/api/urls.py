"""URLs of the REST API: `path("api/", include("django_tasker.api.urls"))`."""

from __future__ import annotations

from django.urls import path

from .monitoring import MonitoringViewSet
from .streams import StreamViewSet
from .views import TaskViewSet

app_name = "django_tasker"

tasks, streams, monitoring = TaskViewSet.as_view, StreamViewSet.as_view, MonitoringViewSet.as_view

urlpatterns = [
    path("tasks/", tasks({"get": "list", "post": "create"}), name="task-list"),
    path("tasks/search/", tasks({"post": "search"}), name="task-search"),
    path("tasks/count/", tasks({"post": "count"}), name="task-count"),
    path("tasks/abort/", tasks({"post": "abort_many"}), name="tasks-abort"),
    path("tasks/prioritize/", tasks({"post": "prioritize_many"}), name="tasks-prioritize"),
    path("tasks/retry/", tasks({"post": "retry_many"}), name="tasks-retry"),
    path(
        "tasks/<uuid:uuid>/",
        tasks({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="task-detail",
    ),
    path("tasks/<uuid:uuid>/abort/", tasks({"post": "abort"}), name="task-abort"),
    path("tasks/<uuid:uuid>/prioritize/", tasks({"post": "prioritize"}), name="task-prioritize"),
    path("tasks/<uuid:uuid>/postpone/", tasks({"post": "postpone"}), name="task-postpone"),
    path("tasks/<uuid:uuid>/retry/", tasks({"post": "retry"}), name="task-retry"),
    path("tasks/<uuid:uuid>/logs/", tasks({"get": "logs"}), name="task-logs"),
    path("tasks/<uuid:uuid>/output/", streams({"get": "output"}), name="task-output"),
    path("tasks/<uuid:uuid>/explain/", tasks({"get": "explain"}), name="task-explain"),
    path("workers/", monitoring({"get": "workers"}), name="worker-list"),
    path("operations/", monitoring({"get": "operations"}), name="operation-list"),
    path("operations/pause/", monitoring({"post": "pause"}), name="operation-pause"),
    path("operations/resume/", monitoring({"post": "resume"}), name="operation-resume"),
    path("stats/", monitoring({"get": "stats"}), name="stats"),
    path("events/", streams({"get": "events"}), name="events"),
]
