"""The README's curl commands, sent to the API."""

from __future__ import annotations

import shlex
from urllib.parse import urlencode

import pytest

from django_tasker import tasker
from tests import readme
from tests.doors.api_client import ALL, Api, user_with

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]
LINES = [line for line in readme.README.read_text().splitlines() if line.startswith("$ curl ")]


@pytest.mark.parametrize("line", LINES)
def test_command_is_understood(line):
    task = tasker.add_task("noop")
    words = shlex.split(line.replace("$uuid", str(task.uuid)).replace("import-book", "noop"))[2:]
    url, method, body, query, headers = "", "GET", "", "", {}
    while words:
        word = words.pop(0)
        if word in ("-G", "-N"):
            continue
        if word.startswith("$api/"):
            url = word.removeprefix("$api/")
        elif word == "-X":
            method = words.pop(0)
        elif word == "-d":
            method, body = "POST" if method == "GET" else method, words.pop(0)
        elif word == "--data-urlencode":
            query = "?" + urlencode([tuple(words.pop(0).split("=", 1))])
        elif word == "-H":
            name, value = words.pop(0).split(": ")
            headers[name] = "*" if "…" in value else value
        else:
            assert word == "-u"
            words.pop(0)
    headers.pop("Content-Type", None)

    response = Api(user_with(*ALL)).send(method, url + query, body, **headers)

    waits = "timeout=" in url or url.startswith("events/")  # not under WSGI
    assert response.status_code == (501 if waits else 201 if (method, url) == ("POST", "tasks/") else 200), (
        response.content
    )


def test_there_are_commands():
    assert len(LINES) > 10
