"""Wake-ups through a channel layer, with a real Redis."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest
from django.db import transaction

from django_tasker import notify
from django_tasker.notify import layers
from django_tasker.notify.layers import ChannelLayerNotifier
from tests.waiting import PATIENCE

pytest.importorskip("channels_redis")
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only, pytest.mark.end_to_end]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Redis:
    def __init__(self, folder):
        self.port, self._folder = free_port(), folder
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self):
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def redis(tmp_path, settings):
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server")
    redis = Redis(tmp_path)
    hosts = [("127.0.0.1", redis.port)]
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    }
    yield redis
    redis.stop()


@pytest.fixture
def notifiers(redis):
    """Two of one database, as two processes have them."""
    both = ChannelLayerNotifier("default"), ChannelLayerNotifier("default")
    yield both
    for each in both:
        each.close()


def test_other_process_hears_at_once_after_the_commit(notifiers, wait_until):
    here, there = notifiers
    with there.subscribe("task:7") as subscription, there.subscribe("queue") as other, here.subscribe("queue") as own:
        wait_until(lambda: there.is_live and here.is_live)
        for each in (subscription, other, own):
            each.wait(0)
        with transaction.atomic():
            here.wake(["task:7"])
            assert not subscription.wait(0.3)

        assert subscription.wait(PATIENCE)
        assert not other.wait(0)
        here.wake(["queue"])
        assert other.wait(PATIENCE)
        assert own.wait(PATIENCE)


def test_restart_of_redis_is_survived(notifiers, redis, wait_until):
    here, there = notifiers
    with there.subscribe("queue") as subscription:
        wait_until(lambda: there.is_live)
        redis.stop()
        wait_until(lambda: not there.is_live)
        assert subscription.wait(PATIENCE)  # by the clock
        redis.start()
        wait_until(lambda: there.is_live)

        def heard():
            here.wake(["queue"])
            return not here.is_busy() or subscription.wait(0.5)

        wait_until(heard)


def test_layer_is_used_where_a_database_can_t_tell_and_another_process_can_hear(settings, monkeypatch):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert not layers.is_configured()
    settings.CHANNEL_LAYERS = {}
    assert not layers.is_configured()
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    assert layers.is_configured()
    monkeypatch.setattr(type(notify.connections["default"]), "vendor", "mysql")

    assert isinstance(notify._make("default"), ChannelLayerNotifier)
