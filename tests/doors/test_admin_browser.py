"""The admin in a real browser, against daphne and a real worker."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User

from django_tasker import tasker
from django_tasker.models import Task, TaskLog, Worker
from tests.processes import ROOT, manage, url_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.end_to_end, pytest.mark.sqlite_only]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SETTINGS = "tests.doors.browser_settings"
LIST = "/admin/django_tasker/task/"
SECONDS = 30_000
"""How long anything may take, in the browser's milliseconds."""

if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("no chromium is installed", allow_module_level=True)

from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402

expect.set_options(timeout=SECONDS)


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "CI needs chromium: apt-get install chromium"
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # playwright's own event loop runs in this thread
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Server:
    """daphne, with static files; can be restarted on the same port."""

    def __init__(self, database_url: str, log: Path) -> None:
        self.log = log  # not a pipe: nobody reads while a test goes on
        self.environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": SETTINGS}
        self.database_url = database_url
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ["runserver", "--noreload", "--insecure", f"127.0.0.1:{self.port}"]
        with self.log.open("a") as log:
            command = [sys.executable, "manage.py", *arguments]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        wait_until(self.is_answering, timeout=30)

    def is_answering(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.kill()
        end(self.process)


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(django_db_setup, tmp_path_factory) -> Iterator[Server]:
    from django.conf import settings

    server = Server(url_of(settings.DATABASES["default"]), tmp_path_factory.mktemp("daphne") / "log")
    server.start()
    yield server
    end(server.process)


@contextmanager
def working(database_url: str) -> Iterator[None]:
    """A live worker, as long as the block lasts."""
    process = manage(database_url, "tasker_worker", "--concurrency", "2", "--executor", "thread", "--grace", "0")
    try:
        wait_until(lambda: Worker.objects.exists() or process.poll() is not None, timeout=30)
        assert process.poll() is None, process.communicate()
        yield
    finally:
        end(process)


@pytest.fixture
def visit(browser, server, transactional_db):
    """visit("view_task", …): a page of somebody logged in who has these permissions; without any: a superuser."""
    contexts = []

    def log_in(*abilities: str, **options: object) -> Page:
        user = User.objects.create_user("ada", password="x", is_staff=True, is_superuser=not abilities)
        user.user_permissions.set(Permission.objects.filter(codename__in=abilities))
        context = browser.new_context(base_url=server.address, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto("/admin/login/")
        page.fill("#id_username", "ada")
        page.fill("#id_password", "x")
        page.click("[type=submit]")
        return page

    problems: list[str] = []
    yield log_in
    for context in contexts:
        context.close()
    assert problems == []
    assert " 500 [" not in server.log.read_text(), server.log.read_text()


def seqs(page: Page) -> list[int]:
    """The numbers of all lines that the viewer holds."""
    return page.evaluate(
        "document.querySelector('[data-tasker-log]').viewer.pages.loadedEntries().map((entry) => entry.seq)"
    )


def test_add_watch_filter_search_and_abort(visit, server):
    page = visit()
    with working(server.database_url):
        page.goto(f"{LIST}add/")
        page.fill("#id_operation", "chatter")
        page.click("[name=_save]")
        log = page.locator("[data-log=lines]")
        expect(log).to_contain_text("line 30 of a long story")
        expect(page.locator("[data-log=state]")).to_have_text("Live")

        page.select_option("[data-log=level]", "30")
        expect(page.locator(".log-info")).to_have_count(0)
        expect(page.locator(".log-warning").nth(5)).to_be_visible()
        page.select_option("[data-log=level]", "0")

        page.keyboard.press("Escape")
        page.locator("[data-log=lines]").focus()
        page.keyboard.press("/")
        page.keyboard.type("line 7 of")
        expect(page.locator("[data-log=found]")).to_have_text("1 of 1")
        expect(page.locator(".log-target mark")).to_have_text("line 7 of")
        expect(page.locator("[data-log=new]")).to_contain_text("New lines:")
        page.click("[data-log=new]")
        expect(page.locator("[data-log=follow]")).to_have_attribute("aria-pressed", "true")

        log.hover()
        page.mouse.wheel(0, -400)
        expect(page.locator("[data-log=follow]")).to_have_attribute("aria-pressed", "false")
        expect(page.locator("[data-log=new]")).to_contain_text("New lines:")

        page.click(".tasker-actions a:has-text('Abort')")
        page.fill("[name=reason]", "seen enough")
        page.click("[type=submit][value=Abort]")
        expect(page.locator(".tasker-headline .tasker-status")).to_have_text("aborted")
        expect(page.locator("[data-log=state]")).to_have_text("Ended")
        expect(page.locator(".tasker-head")).to_contain_text("seen enough")
    assert Task.objects.get().abort_reason == "seen enough"


def test_permalink_shows_its_line_of_a_long_log(visit):
    page = visit("view_task")
    task = write_log(5000)

    page.goto(f"{LIST}{task.pk}/change/#L2500")
    expect(page.locator(".log-target .log-number")).to_have_text("2500")
    assert page.locator(".log-line").count() < 1500
    page.locator("[data-log=lines]").focus()
    page.keyboard.press("g")
    expect(page.locator(".log-number").first).to_have_text("1")
    page.keyboard.press("Shift+G")
    expect(page.locator(".log-number").last).to_have_text("5000")
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_be_visible()


def write_log(count: int) -> Task:
    """An ended task with a log; every third line in colour, one that tries to be markup."""
    task = tasker.add_task("noop")
    now = task.added_at
    Task.objects.filter(pk=task.pk).update(status="done", hold=-1, attempt=1, started_at=now, ended_at=now)
    TaskLog.objects.bulk_create(
        TaskLog(
            task=task, seq=seq, attempt=1, level=20, logger="t", created_at=now,
            message=f"\x1b[31m<img src=x onerror=alert(1)>\x1b[0m {seq}" if seq % 3 == 0 else f"line {seq}",
        )
        for seq in range(1, count + 1)
    )  # fmt: skip
    return task


def test_nothing_in_a_log_becomes_markup(visit):
    page = visit("view_task")

    page.goto(f"{LIST}{write_log(9).pk}/change/")

    expect(page.locator(".ansi-31").first).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator(".tasker-log img")).to_have_count(0)


def test_no_line_is_lost_while_the_server_restarts(visit, server):
    page = visit("view_task")
    task = tasker.add_task("chatter", {"lines": 150})
    page.goto(f"{LIST}{task.pk}/change/")
    expect(page.locator("[data-log=state]")).to_have_text("Live")

    with working(server.database_url):
        expect(page.locator("[data-log=lines]")).to_contain_text("line 10 of")
        server.kill()
        expect(page.locator("[data-log=state]")).to_contain_text("reconnecting")
        server.start()
        expect(page.locator("[data-log=state]")).to_have_text("Ended")

    assert seqs(page) == list(range(1, 151))


def test_without_websockets_the_viewer_asks(visit):
    page = visit("view_task")
    page.add_init_script("delete window.WebSocket")
    task = write_log(3)
    Task.objects.filter(pk=task.pk).update(status="running", ended_at=None)
    page.goto(f"{LIST}{task.pk}/change/")
    expect(page.locator("[data-log=state]")).to_have_text("Live (polling)")

    TaskLog.objects.create(
        task=task, seq=4, attempt=1, level=40, logger="new", message="late", created_at=task.added_at
    )  # fmt: skip
    expect(page.locator(".log-error .log-message")).to_have_text("late")
    expect(page.locator("[data-log=logger] option[value=new]")).to_have_count(1)
    Task.objects.filter(pk=task.pk).update(status="done", ended_at=task.added_at)

    expect(page.locator("[data-log=state]")).to_have_text("Ended")
    assert seqs(page) == [1, 2, 3, 4]


def test_viewer_whose_permission_is_taken_away_is_told(visit):
    page = visit("change_task")  # the admin lets them view as well, the websocket does not
    task = write_log(3)
    Task.objects.filter(pk=task.pk).update(status="running", ended_at=None)
    page.goto(f"{LIST}{task.pk}/change/")
    expect(page.locator("[data-log=state]")).to_have_text("Live (polling)")

    User.objects.get().user_permissions.clear()

    expect(page.locator("[data-log=state]")).to_have_text("You may not see this log any more.")
    assert seqs(page) == [1, 2, 3]


def test_pages_obey_a_strict_content_security_policy(visit):
    page = visit()
    task = write_log(500)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)

    def with_policy(route):
        response = route.fetch()
        policy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
        route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})

    page.route("**/admin/**", with_policy)
    for address in (f"{LIST}{task.pk}/change/#L400", LIST, "/admin/django_tasker/", f"{LIST}{task.pk}/do/retry/"):
        page.goto(address)
        page.wait_for_load_state("networkidle")

    assert complaints == []


def test_prioritized_task_moves_up_in_the_list(visit):
    page = visit()
    first, second = tasker.add_task("noop"), tasker.add_task("noop")
    page.goto(f"{LIST}?status__exact=new")
    rows = page.locator("#result_list tbody .tasker-uuid")
    expect(rows.first).to_have_text(str(first.uuid)[:8])

    page.check(f".action-select[value='{second.pk}']")
    page.select_option("[name=action]", "prioritize")
    page.click("[name=index]")
    page.click("[type=submit][value=Prioritize]")

    expect(rows.first).to_have_text(str(second.uuid)[:8])


def test_list_refreshes_itself_but_not_while_a_row_is_chosen(visit):
    page = visit()
    page.goto(LIST)
    task = tasker.add_task("noop")
    expect(page.locator("#result_list tbody")).to_contain_text("noop")  # it was empty
    page.check(f".action-select[value='{task.pk}']")
    expect(page.locator("[data-tasker-state]")).to_have_text("paused")
    tasker.abort_task(task)
    tasker.add_task("echo")

    page.uncheck(f".action-select[value='{task.pk}']")

    expect(page.locator("#result_list tbody")).to_contain_text("echo")
    expect(page.locator("#result_list [data-status=aborted]")).to_be_visible()
    expect(page.locator(".tasker-tabs [data-status=new] .tasker-count")).to_have_text("1")
    page.check("#action-toggle")
    expect(page.locator(".action-select:checked")).to_have_count(2)
    expect(page.locator(".action-counter").first).to_contain_text("2 of")


def test_viewer_sees_no_buttons_and_forged_posts_are_refused(visit):
    page = visit("view_task")
    task = tasker.add_task("noop")
    page.goto(f"{LIST}{task.pk}/change/")

    assert page.locator(".tasker-actions .button").count() == 0
    forge = """async ([address, data]) => {
        const token = document.cookie.match(/csrftoken=([^;]+)/)[1];
        const body = new URLSearchParams({csrfmiddlewaretoken: token, ...data});
        return (await fetch(address, {method: 'POST', body})).status;
    }"""
    for name in ("abort", "prioritize", "delete"):
        assert page.evaluate(forge, [f"{LIST}{task.pk}/do/{name}/", {"tasker_confirm": "1"}]) == 403
    for name in ("abort", "prioritize", "delete_selected"):
        assert page.evaluate(forge, [LIST, {"action": name, "_selected_action": task.pk}]) == 403
    assert Task.objects.get().status == "new"
