"""Sample functions for django.tasks (Django 6.0 and later). Every name says what the function does."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from django.dispatch import receiver
from django.tasks import task
from django.tasks.signals import task_finished, task_started

from django_tasker import Postpone, Retry

logger = logging.getLogger("tests.sample")


@receiver([task_started, task_finished])
def leave_trail(signal, task_result, **_: Any) -> None:
    """Append what Django's signals tell, to the file that the task's argument `trail` names."""
    if "trail" in task_result.kwargs:
        what = "started" if signal is task_started else "finished"
        with Path(task_result.kwargs["trail"]).open("a") as file:
            file.write(f"{what} {task_result.status} {task_result.attempts} {os.getpid()}\n")


@task
def add(a, b):
    return a + b


@task
async def add_slowly(a, b):
    await asyncio.sleep(0.01)
    return a + b


@task(priority=7, queue_name="mail")
def echo(*args, trail=None, **kwargs):
    """Where it ran, and with what."""
    logger.info("echo")
    return {"args": args, "kwargs": kwargs, "pid": os.getpid(), "thread": threading.current_thread().name}


@task
async def echo_on_loop(*args, trail=None, **kwargs):
    return {"args": args, "kwargs": kwargs, "pid": os.getpid(), "thread": threading.current_thread().name}


@task(backend="patient")
def echo_in_thread(*args):
    return {"pid": os.getpid(), "thread": threading.current_thread().name}


@task(takes_context=True)
def describe(context, **kwargs):
    context.running_task.progress(1, 2)
    result = context.task_result
    return {
        "id": result.id,
        "status": result.status,
        "attempt": context.attempt,
        "kwargs": result.kwargs,
        "started": result.started_at is not None,
        "enqueued": result.enqueued_at is not None,
        "workers": result.worker_ids,
        "operation": context.running_task.operation,
    }


@task(takes_context=True)
async def describe_on_loop(context):
    return {"id": context.task_result.id, "attempt": context.attempt}


@task
def fail(message="no", trail=None):
    raise ValueError(message)


@task
async def fail_on_loop():
    raise KeyError("no")


@task(takes_context=True)
def succeed_at(context, attempt, by="error", trail=None):
    """Fails before that attempt, by an error or by asking for another one."""
    if context.attempt < attempt:
        raise Retry("again", delay=0) if by == "retry" else ValueError(f"attempt {context.attempt}")
    return context.attempt


@task(takes_context=True)
def postpone_once(context, trail=None):
    if context.attempt == 1:
        raise Postpone("later", delay=0)
    return context.attempt


@task
def return_object():
    return object()


@task
def return_nan():
    return float("nan")


@task
def touch_and_sleep(path, trail=None):
    """Makes the file and goes on until it is ended."""
    Path(path).touch()
    while True:
        time.sleep(0.005)


@task
def die(trail=None):
    os._exit(7)


@task
def vanish():
    """Deleted by a test."""


def plain(a):
    return a
