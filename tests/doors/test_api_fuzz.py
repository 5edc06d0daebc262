"""REST under requests that nobody would write: no error of the server, and no answer that the document leaves out."""

from __future__ import annotations

import base64
import os
import zlib
from uuid import UUID

import hypothesis
import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections

from django_tasker import tasker
from tests.listening.rows import add_logs, make_task

schemathesis = pytest.importorskip("schemathesis")
pytest.importorskip("drf_spectacular")
pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

checks = schemathesis.checks
AUTHORIZATION = "Basic " + base64.b64encode(b"root:secret").decode()


@pytest.fixture
def described(db):
    for signal in (request_started, request_finished):  # the transaction of the test goes on through all requests
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def uuids():
    """Tasks to hit, of which most requests know one."""
    User.objects.create_superuser("root", password="secret")
    new = tasker.add_task("noop", {"book": 7}, priority=float("-inf"), unique_key="k")
    failed = make_task("failed", error={"type": "OSError"}, result=[1])
    add_logs(failed.uuid, 1, 3)
    return [str(new.uuid), str(failed.uuid), str(make_task("running", progress={"current": 1}).uuid)]


SETTINGS = hypothesis.settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "5")),
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    database=None,
    derandomize=True,
)


def test_no_request_leads_to_an_error_of_the_server_or_an_answer_not_promised(described, uuids):
    asked = []
    for found in described.get_all_operations():
        operation = found.ok()
        if operation.path != "/api/schema/":
            for mode in schemathesis.GenerationMode:
                ask(operation, mode, uuids, asked)

    assert len(set(asked)) == 23


def ask(operation, mode, uuids, asked):
    """Send some dozen requests that fit the document, and some that don't."""

    @SETTINGS
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        if "uuid" in (case.path_parameters or {}):
            spread = zlib.crc32(repr((case.query, case.body)).encode(errors="replace"))
            if spread % 4 or not is_uuid(case.path_parameters["uuid"]):  # other paths are none of ours
                case.path_parameters["uuid"] = uuids[spread % len(uuids)]
        response = case.call(headers={"Authorization": AUTHORIZATION})
        asked.append(operation.label)
        if response.status_code != 501:  # waiting, under WSGI
            case.validate_response(response, checks=CHECKS)

    send()


def is_uuid(text):
    try:
        return str(UUID(str(text))) == text
    except ValueError:
        return False


CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
