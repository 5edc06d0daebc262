"""Capturing what is logged, and leaving what the project prints as it is."""

from __future__ import annotations

import logging
import logging.config
import pickle
import threading

import pytest

from django_tasker import logs

pytestmark = pytest.mark.sqlite_only


class Printed(logging.Handler):
    """A handler of the project."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def project():
    """A project that prints WARNING and above; all loggers as they were, afterwards."""
    root = logging.root
    before = root.level, root.handlers[:]
    root.handlers[:] = [printed := Printed()]
    root.setLevel(logging.WARNING)
    yield printed
    logs.uninstall()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name in ("a", "a.b", "quiet", "task", "task.op_x", "django_tasker.x"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()
        logger.propagate, logger.disabled = True, False


@pytest.fixture
def capture(project):
    """Captures this thread's logging at DEBUG; `capture.entries` are what came."""
    entries = []

    class Kept(logs.Capture):
        __slots__ = ("entries",)

    kept = Kept(logging.DEBUG, 100, 10_000, entries.append)
    kept.entries = entries
    logs.install(logging.DEBUG)
    token = logs.begin(kept)
    yield kept
    logs.end(token)


def messages(capture) -> list[str]:
    return [entry.message for entry in capture.entries]


def test_every_logger_is_captured_below_the_root_level_too(capture, project):
    logging.getLogger("a.b").debug("one %d", 1)
    logging.info("two")

    assert messages(capture) == ["one 1", "two"]
    assert [(entry.logger, entry.level) for entry in capture.entries] == [("a.b", 10), ("root", 20)]


def test_the_project_prints_what_it_printed_before(capture, project):
    logging.getLogger("a").info("too detailed")
    logging.getLogger("a").warning("printed")
    logging.getLogger("quiet").setLevel(logging.INFO)
    logging.getLogger("quiet").info("has a level of its own")

    assert project.messages == ["printed", "has a level of its own"]


def test_handlers_of_other_loggers_print_what_they_did_before(project):
    own = Printed()
    logging.getLogger("a").addHandler(own)
    logs.install(logging.DEBUG)

    logging.getLogger("a").info("too detailed")
    logging.getLogger("a").error("printed")

    assert own.messages == ["printed"]


def test_levels_and_handlers_are_as_before_after_uninstall(project):
    logs.install(logging.DEBUG)
    logs.install(logging.DEBUG)

    logs.uninstall()
    assert logging.root.level == logging.DEBUG
    logs.uninstall()

    assert logging.root.level == logging.WARNING
    assert project.filters == []
    assert not any(isinstance(handler, logs.CaptureHandler) for handler in logging.root.handlers)


def test_a_root_level_set_meanwhile_counts(capture, project):
    logging.root.setLevel(logging.ERROR)
    logs.end(logs.begin(capture))

    logging.getLogger("a").warning("not printed any more")
    logging.root.setLevel(logging.NOTSET)
    logging.getLogger("a").debug("printed now")

    assert project.messages == ["printed now"]
    assert messages(capture) == ["not printed any more", "printed now"]


def test_a_configuration_meanwhile_is_survived(capture, project):
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR", "handlers": []}}
    )

    logs.end(logs.begin(capture))
    logging.getLogger("a").info("captured")

    assert messages(capture) == ["captured"]


def test_without_handlers_warnings_are_still_printed(project, capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    logs.install(logging.DEBUG)

    logging.getLogger("a").info("silent")
    logging.getLogger("a").warning("last resort")

    assert capsys.readouterr().err == "last resort\n"


@pytest.mark.parametrize(
    "name", ["django_tasker.worker", "django_tasker", "django.db.backends.schema", "django.tasks", "psycopg.pool"]
)
def test_what_would_feed_on_itself_is_not_captured(capture, name):
    logging.getLogger(name).error("about storing the entries")

    assert messages(capture) == []


def test_names_that_only_begin_alike_are_captured(capture):
    logging.getLogger("django_tasker_of_mine").info("mine")

    assert messages(capture) == ["mine"]


def test_asyncio_is_captured_without_its_chatter(capture):
    logging.getLogger("asyncio").debug("Using selector")
    logging.getLogger("asyncio").error("never retrieved")

    assert messages(capture) == ["never retrieved"]


def test_nothing_is_captured_outside_a_run(project):
    logs.install(logging.DEBUG)

    logging.getLogger("a").error("nobody's")

    assert project.messages == ["nobody's"]


def test_other_threads_are_not_captured(capture):
    thread = threading.Thread(target=logging.getLogger("a").info, args=["elsewhere"])
    thread.start()
    thread.join(10)

    assert messages(capture) == []


def test_all_threads_of_a_process_with_one_run_are_captured(capture):
    logs.set_process_capture(capture)
    thread = threading.Thread(target=logging.getLogger("a").info, args=["elsewhere"])
    thread.start()
    thread.join(10)
    logs.set_process_capture(None)

    assert messages(capture) == ["elsewhere"]


def test_the_level_of_the_task_counts(project):
    entries = []
    capture = logs.Capture(logging.WARNING, 100, 10_000, entries.append)
    token = logs.begin(capture)

    logging.getLogger("a").info("less")
    logging.getLogger("a").warning("enough")
    logs.task_logger("op.x").info("less")
    logs.end(token)

    assert [entry.message for entry in entries] == ["enough"]


def test_past_the_cap_entries_are_counted(project):
    entries = []
    capture = logs.Capture(logging.DEBUG, 2, 10_000, entries.append)
    token = logs.begin(capture)

    for number in range(5):
        logging.info("%d", number)
    logs.end(token)

    assert [entry.message for entry in entries] == ["0", "1"]
    assert capture.dropped == 3


def test_past_the_bytes_entries_are_counted(project):
    entries = []
    capture = logs.Capture(logging.DEBUG, 100, 25, entries.append)
    token = logs.begin(capture)

    for text in ("x" * 20, "é" * 3, "x"):
        logging.info(text)
    logs.end(token)

    assert [entry.message for entry in entries] == ["x" * 20]
    assert capture.dropped == 2


def test_a_closed_capture_takes_nothing(capture):
    capture.close()

    logging.info("too late")

    assert messages(capture) == [] and capture.dropped == 0


# -- the task's own logger ------------------------------------------------------------------------------------------


def test_the_tasks_logger_is_captured_once_and_printed_as_its_level_says(capture, project):
    logger = logs.task_logger("op.x")
    logger.info("details")
    logger.warning("printed")

    assert logger.name == "task.op_x"
    assert messages(capture) == ["details", "printed"]
    assert project.messages == ["printed"]


@pytest.mark.parametrize("change", ["level", "disabled", "propagate"])
def test_the_tasks_logger_is_captured_whatever_the_project_has_set(capture, project, change):
    ours, theirs = logs.task_logger("op.x"), logging.getLogger("task.op_x")
    if change == "level":
        theirs.setLevel(logging.CRITICAL)
    elif change == "disabled":
        theirs.disabled = True
    else:
        theirs.propagate = False

    ours.info("details")

    assert messages(capture) == ["details"]
    assert project.messages == []


def test_handlers_added_to_the_tasks_logger_work(capture, project):
    own = Printed()
    logs.task_logger("op.x").addHandler(own)

    logs.task_logger("op.x").warning("both")

    assert own.messages == project.messages == ["both"]


def test_the_tasks_logger_can_be_pickled_and_has_children(capture):
    logger = logs.task_logger("op.x")

    assert pickle.loads(pickle.dumps(logger)) is logger
    logger.getChild("part").info("of a child")
    assert messages(capture) == ["of a child"]
