"""`manage.py tasker`: what people and scripts see of it."""

from __future__ import annotations

import json
import math
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_tasker import tasker
from django_tasker.management.shell import targets, values
from django_tasker.management.shell.output import Output
from django_tasker.models import Task, TaskLog
from tests.processes import manage

pytestmark = pytest.mark.django_db

NOBODY = "0b6d3b1e-6a38-4f0e-9d5c-3f6c4b0f3a11"


def shell(*arguments: object) -> str:
    """What a subcommand prints."""
    out = StringIO()
    call_command("tasker", *map(str, arguments), stdout=out, no_color=True)
    return out.getvalue()


def shell_json(*arguments: object) -> list:
    """The objects a subcommand prints."""
    return [json.loads(line) for line in shell(*arguments, "--json").splitlines()]


def exit_code(*arguments: object) -> tuple[int, str]:
    out = StringIO()
    with pytest.raises(SystemExit) as error:
        call_command("tasker", *map(str, arguments), stdout=out, no_color=True)
    return error.value.code, out.getvalue()


def end(task: Task, status: str, **values: object) -> Task:
    """Make a task an ended one, as if a worker had run it."""
    now = timezone.now()
    Task.objects.filter(pk=task.pk).update(
        status=status, hold=-1, active_key=None, started_at=now, ended_at=now, attempt=1, **values
    )
    task.refresh_from_db()
    return task


def write_log(task: Task, *entries: tuple[int, str]) -> None:
    for seq, (level, message) in enumerate(entries, start=1):
        TaskLog.objects.create(
            task=task, seq=seq, attempt=1, level=level, logger="books", message=message, created_at=timezone.now()
        )


@pytest.fixture
def task():
    return tasker.add_task("shell-test", {"book": 7})


class TestAdd:
    def test_prints_the_uuid_alone(self):
        uuid = shell("add", "shell-test", '{"book": 7}').strip()

        assert tasker.get_task(uuid).data == {"book": 7}

    def test_takes_the_options_of_add_task(self):
        shell("add", "shell-test", "null", "--priority", "-2.5", "--queue", "slow", "--run-at", "2099-01-31T07:00")
        shell("add", "shell-test", "--max-attempts", 3, "--retry-delay", "2m", "--unique-key", "k", "--keep-for", "1d")

        first, second = Task.objects.order_by("id")
        assert (first.priority, first.queue, first.run_at.isoformat()) == (-2.5, "slow", "2099-01-31T07:00:00+00:00")
        assert (second.max_attempts, second.retry_delay, second.unique_key, second.keep_for) == (3, 120, "k", 86400)

    @pytest.mark.parametrize("text", ["-Infinity", "-inf"])
    def test_takes_an_infinite_priority(self, text):
        (found,) = shell_json("add", "shell-test", "--priority", text)

        assert found["priority"] == "-Infinity"
        assert Task.objects.get().priority == -math.inf

    def test_reads_data_from_standard_input(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", StringIO('{"pages": [1, 2]}'))

        shell("add", "shell-test", "-")

        assert Task.objects.get().data == {"pages": [1, 2]}

    @pytest.mark.parametrize(
        "arguments",
        [
            ["{"],
            ["NaN"],
            ["--priority", "nan"],
            ["--priority", "high"],
            ["--run-at", "tomorrow"],
            ["--retry-delay", "-1"],
            ["--concurrency", "{}"],
            ["--concurrency", '[{"scope": "nowhere", "query": {}, "limit": 1}]'],
            ["--max-attempts", "0"],
            ["--queue", ""],
            ['{"a": "\\u0000"}'],
            ["[" * 5000],
        ],
    )
    def test_refuses_what_is_wrong(self, arguments):
        with pytest.raises(CommandError):
            shell("add", "shell-test", *arguments)

        assert not Task.objects.exists()

    def test_tells_of_a_duplicate(self):
        shell("add", "shell-test", "--unique-key", "one")

        with pytest.raises(CommandError):
            shell("add", "shell-test", "--unique-key", "one")


class TestList:
    def test_shows_newest_first_and_how_many_there_are(self):
        for book in range(3):
            tasker.add_task("shell-test", {"book": book})

        text = shell("list", "--limit", 2)

        uuids = [str(uuid) for uuid in Task.objects.order_by("-id").values_list("uuid", flat=True)]
        assert [line.split()[0] for line in text.splitlines()[1:3]] == uuids[:2]
        assert "2 of 3 tasks" in text

    def test_json_is_an_object_a_line(self, task):
        (found,) = shell_json("list", "--query", '{"data.book": 7}', "--status", "new")

        assert (found["uuid"], found["data"], found["priority"]) == (str(task.uuid), {"book": 7}, 0)
        assert not {"id", "hold", "lane"} & set(found)

    def test_narrows_by_status_operation_and_queue(self, task):
        end(tasker.add_task("other"), "done")

        assert [found["operation"] for found in shell_json("list", "--status", "done")] == ["other"]
        assert [found["operation"] for found in shell_json("list", "--operation", "shell-test")] == ["shell-test"]
        assert shell_json("list", "--queue", "nobody's") == []

    def test_sorts_as_told(self):
        for priority in (3, 1, 2):
            tasker.add_task("shell-test", priority=priority)

        assert [found["priority"] for found in shell_json("list", "--sort", "priority")] == [1, 2, 3]

    def test_names_the_place_of_a_wrong_query(self):
        with pytest.raises(CommandError, match="stauts"):
            shell("list", "--query", '{"stauts": "new"}')


class TestShow:
    def test_tells_what_is_known(self, task):
        end(task, "failed", error={"type": "OSError", "message": "no disk", "traceback": "Traceback: here"})
        write_log(task, (30, "half full"))

        text = shell("show", task.uuid, "--logs")

        for part in (str(task.uuid), "failed", "OSError: no disk", "Traceback: here", "half full", '{"book": 7}'):
            assert part in text

    def test_tells_each_thing_once(self, task):
        names = [line.split(":")[0] for line in shell("show", task.uuid).splitlines()[1:]]

        assert len(names) == len(set(names))

    def test_shows_progress_as_a_bar(self, task):
        Task.objects.update(progress={"current": 3, "total": 10, "message": "chapters"})

        assert "[######--------------]  30% 3/10 chapters" in shell("show", task.uuid)

    def test_json_has_logs_where_asked(self, task):
        write_log(task, (10, "quiet"), (40, "loud"))

        (found,) = shell_json("show", task.uuid, "--logs", "--max-level", "error")

        assert [entry["message"] for entry in found["logs"]] == ["loud"]


class TestLogs:
    def test_filters_by_number_level_and_text(self, task):
        write_log(task, (20, "reading one"), (10, "reading two"), (20, "reading three"), (20, "done"))

        found = shell_json("logs", task.uuid, "--after", 1, "--max-level", "info", "--search", "READING")

        assert [(entry["seq"], entry["message"], entry["level"]) for entry in found] == [(3, "reading three", "info")]

    def test_follows_an_ended_task_to_its_end(self, task):
        write_log(task, (20, "one"), (20, "two"))
        end(task, "done")

        lines = shell("logs", task.uuid, "--follow", "--after", 1).splitlines()

        assert [line.split()[-1] for line in lines] == ["two"]


class TestWait:
    @pytest.mark.parametrize(
        ("status", "values", "code", "part"),
        [
            ("failed", {"error": {"type": "OSError", "message": "no disk", "traceback": ""}}, 1, "no disk"),
            ("aborted", {"abort_reason": "wrong file"}, 2, "wrong file"),
        ],
    )
    def test_exit_code_says_how_it_ended(self, task, status, values, code, part):
        end(task, status, **values)

        got, text = exit_code("wait", task.uuid)

        assert (got, part in text) == (code, True)

    def test_done_prints_the_result_and_ends_well(self, task):
        end(task, "done", result={"pages": 310})

        assert json.loads(shell("wait", task.uuid)) == {"pages": 310}

    def test_timeout_has_a_code_of_its_own(self, task):
        assert exit_code("wait", task.uuid, "--timeout", "0.05")[0] == 3

    def test_several_tasks_give_the_highest_code(self, task):
        failed = end(tasker.add_task("shell-test"), "failed", error={"type": "E", "message": "m", "traceback": ""})
        end(task, "done", result=1)

        assert exit_code("wait", task.uuid, failed.uuid)[0] == 1

    def test_unknown_task_is_told_apart(self):
        with pytest.raises(CommandError) as error:
            shell("wait", NOBODY)

        assert (error.value.returncode, NOBODY in str(error.value)) == (4, True)

    def test_shows_the_bar_at_a_terminal(self, task, monkeypatch):
        Task.objects.update(progress={"current": 1, "total": 2, "message": "halves"})
        monkeypatch.setattr(Output, "is_terminal", True)

        code, text = exit_code("wait", task.uuid, "--timeout", "0.6")

        assert code == 3
        assert "50% 1/2 halves" in text
        assert text.endswith(f"Task {task.uuid} has not ended in time; it is new.\n")


class TestChanges:
    @pytest.mark.parametrize(
        "arguments",
        [["show"], ["logs"], ["abort"], ["retry"], ["explain"], ["delete"], ["update", "--priority", "1"]],
    )
    def test_unknown_task_is_named(self, arguments):
        with pytest.raises(CommandError, match=NOBODY):
            shell(*arguments, NOBODY)

    def test_abort_keeps_the_reason(self, task):
        assert shell("abort", task.uuid, "--reason", "wrong file") == "Aborted 1 task.\n"

        task.refresh_from_db()
        assert (task.status, task.abort_reason) == ("aborted", "wrong file")

    def test_prioritize_takes_a_negative_priority(self, task):
        shell("prioritize", task.uuid, "-7")

        assert tasker.get_task(task.uuid).priority == -7

    def test_postpone_takes_a_relative_time(self, task):
        before = timezone.now()

        shell("postpone", task.uuid, "+5m")

        assert 299 < (tasker.get_task(task.uuid).run_at - before).total_seconds() < 400

    def test_retry_puts_back_what_has_ended(self, task):
        end(task, "failed", error={"type": "E", "message": "m", "traceback": ""})

        shell("retry", task.uuid)

        assert tasker.get_task(task.uuid).status == "new"

    def test_update_changes_what_is_given(self, task):
        shell("update", task.uuid, "--priority", "4", "--run-timeout", "2m")

        task.refresh_from_db()
        assert (task.priority, task.run_timeout) == (4, 120)

    def test_update_of_nothing_is_refused(self, task):
        with pytest.raises(CommandError, match="at least one"):
            shell("update", task.uuid)

    def test_what_can_no_longer_be_changed_is_refused(self, task):
        end(task, "done")

        with pytest.raises(CommandError):
            shell("update", task.uuid, "--priority", "4")

    def test_delete_leaves_active_tasks(self, task):
        with pytest.raises(CommandError, match="only ended"):
            shell("delete", task.uuid)

        end(task, "done")
        assert shell("delete", task.uuid) == "Deleted 1 task.\n"

    def test_pause_and_resume(self):
        shell("pause", "--operation", "shell-test")
        shell("pause", "--queue", "slow")
        paused = shell_json("stats")[0]["paused"]

        shell("resume", "--operation", "shell-test")
        shell("resume", "--queue", "slow")

        assert "shell-test" in json.dumps(paused)
        assert "slow" in json.dumps(paused)
        assert "shell-test" not in json.dumps(shell_json("stats")[0]["paused"])


class TestBulk:
    @pytest.fixture(autouse=True)
    def tasks(self):
        for book in range(3):
            tasker.add_task("shell-test", {"book": book})
        end(tasker.add_task("shell-test", {"book": 9}), "done")

    def test_changes_what_matches_and_counts_it(self):
        assert shell("abort", "--query", '{"data.book": {"$gte": 1}}') == "Aborted 2 tasks.\n"
        assert shell_json("prioritize", "--query", '{"operation": "shell-test"}', 5) == [{"count": 1}]
        assert shell("retry", "--query", "{}", "--yes") == "Retried 3 tasks.\n"
        assert shell("delete", "--query", "{}") == "Deleted 0 tasks.\n"

    def test_uuids_and_a_query_exclude_each_other(self):
        for arguments in (["abort"], ["abort", NOBODY, "--query", "{}"]):
            with pytest.raises(CommandError, match="one of the two"):
                shell(*arguments)

    @pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 3), ("", 3)])
    def test_asks_at_a_terminal(self, monkeypatch, answer, left):
        questions = []
        monkeypatch.setattr(targets.sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)

        try:
            shell("abort", "--query", "{}")
        except CommandError as error:
            assert "Nothing was changed" in str(error)

        assert questions == ["3 tasks are to be aborted. Go on? [y/N] "]
        assert tasker.count_tasks({"status": "new"}) == left


class TestStatsAndPrune:
    def test_stats_count_by_operation_and_status(self, task):
        end(tasker.add_task("shell-test"), "done")

        stats = shell_json("stats")[0]
        assert (stats["tasks"], stats["queues"]) == ({"shell-test": {"new": 1, "done": 1}}, {"default": 1})
        assert "shell-test" in shell("stats")

    def test_explain_says_that_no_worker_runs_it(self, task):
        assert "worker" in shell("explain", task.uuid)
        assert shell_json("explain", task.uuid)

    def test_prune_deletes_what_is_old_enough(self, task):
        end(task, "done", result=1)
        Task.objects.update(ended_at=timezone.now() - timezone.timedelta(days=31))
        end(tasker.add_task("shell-test"), "done")

        assert shell("prune", "--older-than", "30d", "--dry-run") == "Would delete 1 task.\n"
        assert shell("prune", "--older-than", "30d", "--status", "failed") == "Deleted 0 tasks.\n"
        assert shell("prune", "--older-than", "30d") == "Deleted 1 task.\n"
        assert Task.objects.count() == 1


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("1w", 604800)])
def test_durations(text, seconds):
    assert values.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "-5", "1e3", "٣"])
def test_wrong_durations(text):
    with pytest.raises(values.ArgumentTypeError):
        values.seconds(text)


@pytest.mark.parametrize("text", ["2030-01-31T07:00", "2030-01-31 07:00:01Z", "2030-01-31", "+5m", "now"])
def test_moments_are_aware(text):
    assert timezone.is_aware(values.moment(text))


@pytest.mark.parametrize("text", ["", "+", "soon", "2030-13-01", "+99999999999w"])
def test_wrong_moments(text):
    with pytest.raises(values.ArgumentTypeError):
        values.moment(text)


@pytest.mark.end_to_end
@pytest.mark.django_db(transaction=True)
def test_a_script_can_add_wait_and_look(database_url):
    adding = manage(database_url, "tasker", "add", "shell-test", '{"book": 7}')
    uuid = adding.communicate(timeout=60)[0].strip()
    waiting = manage(database_url, "tasker", "wait", uuid, "--timeout", "60")
    following = manage(database_url, "tasker", "logs", uuid, "--follow", "--json")
    tasker.abort_task(uuid, "enough")

    out, _ = waiting.communicate(timeout=60)
    following.communicate(timeout=60)

    assert (waiting.returncode, "enough" in out, following.returncode) == (2, True, 0)


@pytest.mark.end_to_end
def test_errors_are_one_line_and_a_code(database_url):
    process = manage(database_url, "tasker", "show", NOBODY)

    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert NOBODY in errors.splitlines()[-1]
    assert "Traceback" not in errors
