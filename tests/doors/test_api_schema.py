"""The OpenAPI document: complete, without a warning, and true."""

from __future__ import annotations

import json

import jsonschema
import pytest
from django.urls import get_resolver

from tests.doors.api_client import ALL, Api, user_with
from tests.listening.rows import add_logs, make_task

generators = pytest.importorskip("drf_spectacular.generators")
pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]


@pytest.fixture(scope="module")
def schema():
    return json.loads(json.dumps(generators.SchemaGenerator().get_schema(request=None, public=True)))


def operations(schema):
    return {
        (method, path.removeprefix("/api/")): operation
        for path, methods in schema["paths"].items()
        if not path.startswith("/api/schema")
        for method, operation in methods.items()
    }


def test_schema_is_valid_and_has_no_warning():
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.validation import validate_schema

    GENERATOR_STATS.reset()
    schema = generators.SchemaGenerator().get_schema(request=None, public=True)

    assert dict(GENERATOR_STATS._warn_cache) == dict(GENERATOR_STATS._error_cache) == {}
    validate_schema(schema)


def test_every_url_is_described(schema):
    urls = {
        str(pattern.pattern).replace("<uuid:uuid>", "{uuid}")
        for resolver in get_resolver().url_patterns
        if str(resolver.pattern) == "api/"
        for pattern in resolver.url_patterns
    }

    assert {path for _, path in operations(schema)} == urls


def test_every_operation_names_its_errors_and_shows_an_example(schema):
    for (method, path), operation in operations(schema).items():
        assert {"400", "401", "403", "406", "429"} <= operation["responses"].keys(), path
        assert ("404" in operation["responses"]) == ("{uuid}" in path), path
        assert operation["summary"] and operation["operationId"]
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]
            assert list(content) == ["application/json"]
            assert content["application/json"]["examples"], (method, path)


def test_examples_are_accepted(schema):
    api = Api(user_with(*ALL))
    operation = schema["paths"]["/api/tasks/"]["post"]["requestBody"]["content"]["application/json"]
    for (method, path), described in operations(schema).items():
        if "requestBody" not in described or path == "tasks/":
            continue
        for example in described["requestBody"]["content"]["application/json"]["examples"].values():
            body = json.loads(json.dumps(example["value"]).replace("import-book", "noop"))
            uuid = api.post("tasks/", {"operation": "noop"}).json()["uuid"]
            response = api.send(method.upper(), path.replace("{uuid}", uuid), body)
            assert response.status_code == 200, (path, response.content)
    (example,) = operation["examples"].values()
    assert api.post("tasks/", {**example["value"], "operation": "noop"}).status_code == 201


@pytest.mark.parametrize(
    "path", ["tasks/?with_logs=1", "tasks/{uuid}/?with_logs=1", "tasks/{uuid}/logs/", "tasks/{uuid}/output/",
             "tasks/{uuid}/explain/", "operations/", "workers/", "stats/"]
)  # fmt: skip
def test_answers_have_the_shape_that_is_promised(schema, path):
    api = Api(user_with(*ALL))
    task = make_task("failed", priority=float("inf"), error={"type": "E"}, data=[1], progress={"current": 1})
    add_logs(task.uuid, 1, 2)
    make_task("running")
    api.post("operations/pause/", {"operation": "noop"})

    response = api.get(path.replace("{uuid}", str(task.uuid)))

    described = schema["paths"][f"/api/{path.partition('?')[0]}"]["get"]["responses"]["200"]
    shape = {**described["content"]["application/json"]["schema"], "components": schema["components"]}
    jsonschema.validate(response.json(), shape)
