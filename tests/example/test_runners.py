"""The demo's runners, tested as a project tests its own."""

from __future__ import annotations

import pytest

from django_tasker import tasker
from django_tasker.testing import assert_added, drain, run_task
from example_project.sources import runners
from example_project.sources.indexing import Unreadable
from example_project.sources.models import Package

pytestmark = [pytest.mark.sqlite_only, pytest.mark.django_db]

PACKAGE = "sqlparse"


def test_a_package_is_counted_and_stored():
    task = run_task(tasker.add_task("index-package", {"package": PACKAGE}))

    stored = Package.objects.get(name=PACKAGE)
    assert task.status == "done"
    assert (stored.lines, stored.task_uuid) == (task.result["lines"], task.uuid)
    assert task.progress["current"] == task.progress["total"] == stored.files
    assert task.logs[0].message.startswith(f"{PACKAGE} has {stored.files} Python files")


def test_the_summary_waits_for_all_packages():
    tasker.add_task("summarize-packages")
    tasker.add_task("index-package", {"package": PACKAGE}, priority=-1)
    [summary] = assert_added("summarize-packages", count=1)

    ran = drain()

    assert [task.operation for task in ran] == ["index-package", "summarize-packages"]
    assert tasker.get_task(summary).result["packages"] == 1


def test_unreadable_files_are_passed_over(monkeypatch):
    def unreadable(path, label):
        raise Unreadable("not today")

    monkeypatch.setattr(runners, "count_file", unreadable)

    task = run_task(tasker.add_task("index-package", {"package": PACKAGE}))

    assert task.status == "done"
    assert task.result["files"] == 0
    assert task.result["unreadable"] == task.warning_count > 0


def test_an_abort_ends_the_reading(monkeypatch):
    task = tasker.add_task("index-package", {"package": PACKAGE})
    count_file = runners.count_file

    def abort_and_count(path, label):
        tasker.abort_task(task, "enough")
        return count_file(path, label)

    monkeypatch.setattr(runners, "count_file", abort_and_count)

    run_task(task)

    assert (task.status, task.abort_reason) == ("aborted", "enough")
    assert task.progress["current"] == 1
    assert not Package.objects.exists()


def test_a_package_that_is_not_there_fails():
    with pytest.raises(LookupError):
        run_task(tasker.add_task("index-package", {"package": "no_such_package"}), reraise=True)
