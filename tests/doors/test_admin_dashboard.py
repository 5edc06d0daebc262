"""The dashboard on the index of the app."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from django_tasker import tasker
from django_tasker.admin import dashboard
from django_tasker.models import Task, Worker

pytestmark = pytest.mark.django_db

INDEX = "admin:app_list"


@pytest.fixture
def page(client):
    """page("view_task", …): the index of the app as a user with these permissions sees it."""

    def get(*abilities: str) -> str:
        user, _ = User.objects.get_or_create(username="ada", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=abilities))
        client.force_login(user)
        return client.get(reverse(INDEX, args=["django_tasker"])).content.decode()

    return get


def add_worker(name: str, *operations: str, **values: object) -> Worker:
    now = timezone.now()
    defaults = {"hostname": "h", "pid": 1234, "slots": {"process": 4}, "started_at": now, "heartbeat_at": now}
    return Worker.objects.create(name=name, operations=list(operations), **{**defaults, **values})


def end(task: Task, status: str, ended_at: datetime) -> None:
    Task.objects.filter(pk=task.pk).update(status=status, hold=-1, started_at=ended_at, ended_at=ended_at, attempt=1)


def test_waiting_tasks_without_a_live_worker_are_warned_of(page):
    tasker.add_task("echo")
    tasker.add_task("noop")
    add_worker("w1", "noop")
    add_worker("w2", "echo", heartbeat_at=timezone.now() - timedelta(hours=1))

    content = page("view_task")

    assert "1 task waits for the operation “echo”, which no live worker runs." in content
    assert "operation “noop”" not in content
    assert content.count("(lost)") == 1


def test_many_warnings_are_cut_short(page):
    tasker.add_tasks({"operation": f"op-{n}"} for n in range(5))

    content = page("view_task")

    assert content.count("which no live worker runs") == 3 and "(+ 2)" in content


def test_running_tasks_show_their_progress_and_workers_their_slots(page):
    task = tasker.add_task("echo")
    Task.objects.filter(pk=task.pk).update(
        status="running", hold=-1, started_at=timezone.now(), progress={"current": 3, "total": 12, "message": "books"}
    )
    add_worker("w1", "echo", running=1)

    content = page("view_task")

    assert '<progress value="3" max="12"' in content and "3 / 12 books" in content
    assert "4 process" in content


def test_no_worker_at_all_is_told(page):
    assert "No worker is alive" in page("view_task")


def test_buttons_to_pause_are_there_for_those_who_may(page):
    tasker.add_task("echo")
    tasker.pause(operation="noop")

    assert "/pause/" not in page("view_task")
    content = page("view_task", "pause_task")
    assert "name=echo&amp;way=pause" in content and "name=noop&amp;way=resume" in content


def test_nothing_is_shown_to_those_who_may_not_view_tasks(page):
    tasker.add_task("echo")

    assert "tasker-dashboard" not in page("add_task")


def test_chart_holds_each_ended_task_once():
    now = datetime(2026, 5, 1, 10, 31, 20, tzinfo=UTC)
    for minutes, status in [
        (0, "done"),
        (1, "failed"),
        (59, "done"),
        (61, "done"),
        (23 * 60, "aborted"),
        (1500, "done"),
    ]:
        end(tasker.add_task("echo"), status, now - timedelta(minutes=minutes))

    hour, day = dashboard.chart(now, minutes=60, step=2), dashboard.chart(now, minutes=1440, step=60)

    assert hour.totals == {"done": 1, "failed": 1, "aborted": 0} or hour.totals["done"] == 2
    assert day.totals == {"done": 3, "failed": 1, "aborted": 1}
    assert [(bar.x, bar.status) for bar in day.bars][-2:] == [(23, "done"), (23, "failed")]
    assert all(0 <= bar.y <= 100 and bar.y + bar.height <= 100.01 for bar in day.bars)


def test_chart_of_nothing_is_empty():
    assert dashboard.chart(timezone.now(), minutes=60, step=2).bars == []


def test_slow_counts_are_shared(monkeypatch):
    cache.clear()
    clock = iter([0.0, 0.5])
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: next(clock))
    asked = []

    values = [dashboard._shared("test", lambda: asked.append(1) or len(asked)) for _ in range(3)]

    assert values == [1, 1, 1]
    cache.clear()


def test_queries_are_few_however_many_tasks(page, django_assert_max_num_queries):
    tasker.add_tasks({"operation": f"op-{n % 30}"} for n in range(100))
    page("view_task")

    with django_assert_max_num_queries(20):
        page("view_task")
