"""What the tests of REST share: users, and a client that speaks JSON."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

ALL = (
    "view_task",
    "add_task",
    "change_task",
    "delete_task",
    "abort_task",
    "prioritize_task",
    "retry_task",
    "pause_task",
)


def user_with(*permissions: str, name: str = "ann") -> User:
    user = User.objects.create_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


class Api:
    """`api.get("tasks/")`, `api.post("tasks/", {…})`: the response, whose `json()` is the body."""

    def __init__(self, user: User | None = None) -> None:
        self.client = Client(raise_request_exception=True)
        if user is not None:
            self.client.force_login(user)

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        return self.client.get(f"/api/{path}", query or {}, headers=headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.generic(method, f"/api/{path}", data, "application/json", headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.send("DELETE", path, "", **headers)


def problem(response: Any, status: int) -> tuple[str, str | None]:
    """Code and path of a problem document."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status and body["detail"] and body["title"]
    return body["code"], body.get("path")
