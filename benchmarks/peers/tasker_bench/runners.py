"""What the harness's tasks do, called in each of the three ways."""

import sink

from django_tasker import tasker


@tasker.runner("noop-coroutine")
async def noop_coroutine(task):
    return sink.mark(task.data)


@tasker.runner("noop-thread", executor="thread")
def noop_thread(task):
    return sink.mark(task.data)


@tasker.runner("noop-process", executor="process")
def noop_process(task):
    return sink.mark(task.data)
