"""Websocket URLs, for Channels' `URLRouter`."""

from __future__ import annotations

from django.urls import path

from .consumers import EventConsumer, LogConsumer

websocket_urlpatterns = [
    path("ws/tasker/tasks/<uuid:uuid>/logs/", LogConsumer.as_asgi(), name="tasker-logs"),
    path("ws/tasker/events/", EventConsumer.as_asgi(), name="tasker-events"),
]
