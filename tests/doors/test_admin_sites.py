"""The admin in other surroundings: a site of the project's own, unfold, other languages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from gettext import GNUTranslations

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone, translation

from django_tasker import tasker
from django_tasker.models import Task
from tests.processes import ROOT

pytestmark = pytest.mark.django_db

LIST = "admin:django_tasker_task_changelist"


@pytest.fixture
def root(client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def pages(task: Task) -> list[str]:
    """The addresses of all pages, on the site of `reverse`."""
    names = ["change", "log", "history"]
    return [
        reverse(LIST),
        reverse("admin:app_list", args=["django_tasker"]),
        reverse("admin:django_tasker_task_add"),
        *(reverse(f"admin:django_tasker_task_{name}", args=[task.pk]) for name in names),
        *(reverse("admin:django_tasker_task_do", args=[task.pk, name]) for name in ("abort", "prioritize")),
        reverse("admin:django_tasker_task_pause") + "?kind=operation&name=echo",
    ]


@pytest.mark.urls("tests.doors.custom_site")
def test_custom_site_links_to_itself(root):
    task = tasker.add_task("echo")

    for address in pages(task):
        response = root.get(address)
        content = response.content.decode()
        assert response.status_code == 200, address
        assert address.startswith("/ops/") and '"/admin/' not in content

    response = root.post(reverse("admin:django_tasker_task_do", args=[task.pk, "abort"]), {"tasker_confirm": "1"})
    assert response.url == f"/ops/django_tasker/task/{task.pk}/change/"


@pytest.mark.parametrize("language", ["ar", "he", "de", "fr", "es", "pt-br"])
def test_pages_in_other_languages(root, language):
    task = tasker.add_task("echo", {"a": 1.5}, priority=1.5, run_timeout=1234.5)
    Task.objects.filter(pk=task.pk).update(progress={"current": 1.5, "total": 10.5})
    ended = tasker.add_task("echo")
    Task.objects.filter(pk=ended.pk).update(status="done", hold=-1, started_at=timezone.now(), ended_at=timezone.now())

    for address in pages(task):
        response = root.get(address, headers={"Accept-Language": language})
        content = response.content.decode()
        assert response.status_code == 200
        assert f'lang="{language}"' in content
        assert ('dir="rtl"' in content) == (language in ("ar", "he"))


def test_numbers_in_markup_are_not_localized(root, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    tasks = tasker.add_tasks({"operation": "echo"} for _ in range(3))
    Task.objects.filter(pk=tasks[0].pk).update(id=123456, progress={"current": 1234.5, "total": 5000})
    Task.objects.filter(pk=123456).update(status="running", hold=-1, started_at=timezone.now())
    header = {"Accept-Language": "de"}

    index = root.get(reverse("admin:app_list", args=["django_tasker"]), headers=header).content.decode()
    page = root.get(reverse("admin:django_tasker_task_change", args=[123456]), headers=header).content.decode()

    assert "/task/123456/change/" in index
    assert '<progress value="1234.5" max="5000"' in index
    assert "/task/123456/logs/" in page


@pytest.mark.sqlite_only
def test_everything_works_with_unfold(tmp_path):
    pytest.importorskip("unfold")
    tests = [f"tests/doors/test_admin{name}.py" for name in ("", "_task", "_dashboard")]
    command = [sys.executable, "-m", "pytest", "-q", "--ds=tests.doors.unfold_settings", "-p", "no:cacheprovider"]
    environment = {**os.environ, "TASKER_TEST_FOLDER": str(tmp_path), "DATABASE_URL": ""}

    # unfold's own list has inline styles, and its code may lag behind Django's newest; that is not what is tested
    warnings = ["-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning"]
    done = subprocess.run(
        [*command, *warnings, "-k", "not inline", *tests], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


LANGUAGES = ["de", "fr", "es"]


def entries(language: str) -> dict[str, list[str]]:
    """The texts of a catalog's source with their translations, one or two."""
    text = (ROOT / f"django_tasker/locale/{language}/LC_MESSAGES/django.po").read_text(encoding="utf-8")
    assert "#, fuzzy" not in text
    found = {}
    for block in text.split("\n\n")[1:]:
        quoted = [json.loads(line[line.index('"') :]) for line in block.splitlines() if line[:1] == "m"]
        found[quoted[0]] = quoted[2:] if "msgid_plural" in block else quoted[1:]
    return found


@pytest.mark.sqlite_only
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_compiled(language):
    folder = ROOT / f"django_tasker/locale/{language}/LC_MESSAGES"
    with (folder / "django.mo").open("rb") as file:
        compiled = GNUTranslations(file)._catalog

    for text, translations in entries(language).items():
        if any(translations):
            assert compiled.get(text, compiled.get((text, 0))) == translations[0]
            assert all(translations), text
        else:
            with translation.override(language):  # left to Django, which has it
                assert text in translation.trans_real.catalog()._catalog, text


@pytest.mark.sqlite_only
def test_every_text_of_templates_and_code_is_in_the_catalogs():
    known = entries("de").keys()
    wanted = set()
    for path in (ROOT / "django_tasker/templates").rglob("*.html"):
        wanted |= set(re.findall(r"""{% translate ["'](.+?)["'] (?:as \w+ )?%}""", path.read_text()))
    for path in (ROOT / "django_tasker/admin").rglob("*.py"):
        wanted |= set(re.findall(r"""\b(?:_|gettext_lazy)\(\s*"([^"]+)"\s*\)""", path.read_text()))

    assert wanted - known == set()
    assert len(wanted) > 150


@pytest.mark.parametrize(("language", "text"), [("de", "Warum sie wartet"), ("fr", "Pourquoi elle attend")])
def test_pages_speak_the_language_of_the_reader(root, language, text):
    task = tasker.add_task("echo")

    page = root.get(reverse("admin:django_tasker_task_change", args=[task.pk]), headers={"Accept-Language": language})

    assert text in page.content.decode()
