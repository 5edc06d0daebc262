"""The tests' settings for a server that outlives the flush of its database between two tests."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

MIDDLEWARE = ["tests.doors.browser_settings.forget_content_types", *MIDDLEWARE]  # noqa: F405


def forget_content_types(get_response):
    """A flush gives the content types new numbers; no request may use those of the test before."""

    def answer(request):
        from django.contrib.contenttypes.models import ContentType

        ContentType.objects.clear_cache()
        return get_response(request)

    return answer
