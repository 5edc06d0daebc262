"""Sample runners of the tests. Every name says what the runner does; `task.data` holds what it needs."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from django_tasker.errors import Postpone, Retry
from django_tasker.registry import registry

logger = logging.getLogger("tests.sample")

# Projects that load badly.
if "TASKER_TEST_BREAK_CHILDREN" in os.environ:
    raise RuntimeError("broken for the test")
if "TASKER_TEST_START_THREAD" in os.environ:
    threading.Thread(target=time.sleep, args=[60], name="left-over", daemon=True).start()


def runner(name: str, **options: Any):
    def assign(function):
        registry.assign(name, function, **options)
        return function

    return assign


# Plain functions, for processes and threads alike.


@runner("noop")
def noop(task):
    return None


@runner("echo")
def echo(task):
    return task.data


@runner("describe")
def describe(task):
    return {
        "uuid": str(task.uuid),
        "operation": task.operation,
        "queue": task.queue,
        "data": task.data,
        "priority": task.priority,
        "attempt": task.attempt,
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
    }


@runner("log")
def log(task):
    """Logs everywhere, at every level."""
    task.logger.debug("own %s", "debug")
    logger.info("other info", extra={"answer": 42, "thing": object})
    logging.getLogger("django_tasker.inner").error("never captured")
    logging.getLogger("django.db.backends").error("never captured")
    try:
        raise KeyError("lost")
    except KeyError:
        logger.exception("with a traceback")


@runner("log-from-thread")
def log_from_thread(task):
    thread = threading.Thread(target=logger.info, args=["from a thread of the runner"])
    thread.start()
    thread.join()


@runner("log-much")
def log_much(task):
    for number in range(task.data["count"]):
        logger.info("%s %s", number, "x" * task.data["size"])


@runner("log-odd")
def log_odd(task):
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError("no text")

        __repr__ = __str__

    task.logger.info("%d %s", "not a number")
    task.logger.info(Unprintable())
    task.logger.info("%s", Unprintable())
    task.logger.info(b"\xff\xfe bytes")
    task.logger.info("surrogate \udcff and NUL \0")
    task.logger.info("odd extra", extra={"it": Unprintable(), "n": float("nan"), "s": "\0"})


@runner("log-and-wait")
def log_and_wait(task):
    task.logger.info("waiting")
    task.abort_signal.wait(60)
    task.logger.info("signalled: %s", task.abort_signal.reason)
    task.abort_signal.raise_if_aborted()


@runner("progress")
def progress(task):
    for number in range(task.data["count"]):
        task.progress(number + 1, task.data["count"], "steps")


@runner("progress-then-wait")
def progress_then_wait(task):
    for number in range(100):
        task.progress(number + 1, 100)
    task.abort_signal.wait(60)


@runner("bad-progress")
def bad_progress(task):
    task.progress(float("nan"))


@runner("fail")
def fail(task):
    try:
        raise KeyError("cause")
    except KeyError as error:
        raise ValueError("text \0 \udcff " + "x" * task.data.get("size", 0)) from error


@runner("fail-group")
def fail_group(task):
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


@runner("system-exit")
def system_exit(task):
    sys.exit(3)


@runner("retry")
def retry(task):
    raise Retry("again", delay=2.5)


@runner("postpone")
def postpone(task):
    raise Postpone("later", delay=60)


@runner("postpone-wrongly")
def postpone_wrongly(task):
    raise Postpone(delay="soon")


@runner("unserialisable")
def unserialisable(task):
    return {"items": [1, 2, 3, object()]}


@runner("large-result")
def large_result(task):
    return "x" * task.data["size"]


@runner("loop-for-ever")
def loop_for_ever(task):
    touch(task)
    while True:
        pass


@runner("loop-and-swallow")
def loop_and_swallow(task):
    """Catches everything for a while; ends by itself after `times` exceptions."""
    touch(task)
    for _ in range(task.data["times"]):
        try:
            while True:
                pass
        except BaseException:
            continue


@runner("sleep-in-c")
def sleep_in_c(task):
    touch(task)
    time.sleep(task.data["seconds"])


@runner("return-although-aborted")
def return_although_aborted(task):
    touch(task)
    task.abort_signal.wait(60)
    return "done all the same"


@runner("wait-for-file")
def wait_for_file(task):
    """Says that it runs by making `started`, and ends when `end` is there."""
    touch(task)
    while not Path(task.data["end"]).exists():
        if task.abort_signal.wait(0.005):
            task.abort_signal.raise_if_aborted()
    return os.getpid()


@runner("die")
def die(task):
    task.logger.info("about to die")
    how = task.data["how"]
    if how == "exit":
        os._exit(task.data.get("code", 7))
    elif how == "segfault":
        import faulthandler

        faulthandler.disable()
        ctypes.string_at(0)
    elif how == "close-files":
        os.closerange(3, 1000)
        time.sleep(60)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


@runner("out-of-memory")
def out_of_memory(task):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, hard))
    try:
        return len(bytearray(4_000_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@runner("start-subprocess")
def start_subprocess(task):
    """Starts a process of its own and does not look after it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(task.data["started"]).write_text(str(process.pid))
    while True:
        pass


@runner("ignores-signals")
def ignores_signals(task):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    code = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@runner("fork")
def fork(task):
    """Forks, and lets the other process log, report progress and return as well."""
    logger.info("before")
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    logger.info("after in %s", "runner" if pid else "fork")
    task.progress(1 if pid else 2)
    return "runner" if pid else "fork"


@runner("ring-late")
def ring_late(task):
    """Leaves a signal that arrives after it has returned, with a handler that raises."""

    def ring(*_: object) -> None:
        raise OverflowError("rung too late")

    signal.signal(signal.SIGUSR1, ring)
    subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.3); os.kill({os.getpid()}, 10)"])


@runner("leave-alarm")
def leave_alarm(task):
    signal.setitimer(signal.ITIMER_REAL, 0.05)


@runner("leave-transaction-open")
def leave_transaction_open(task):
    from django.db import transaction

    transaction.atomic().__enter__()
    return task.data


@runner("database-name")
def database_name(task):
    """What the runner's connection says: its database, and whether it is in a transaction."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {"name": str(connection.settings_dict["NAME"]), "in_atomic_block": connection.in_atomic_block}


@runner("main-module")
def main_module(task):
    main = sys.modules["__main__"]
    return {"file": getattr(main, "__file__", None), "argv": sys.argv, "ran": os.environ.get("TASKER_MAIN_RAN")}


# -- coroutines -----------------------------------------------------------------------------------------------------


@runner("async-noop")
async def async_noop(task):
    return None


@runner("async-echo")
async def async_echo(task):
    await asyncio.sleep(0)
    logger.info("echo %s", task.data)
    return task.data


@runner("async-wait")
async def async_wait(task):
    task.logger.info("waiting")
    await asyncio.sleep(60)


@runner("async-wait-for-signal")
async def async_wait_for_signal(task):
    """Gives way by the signal, shielded from cancellation."""
    touch(task)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "done all the same"


@runner("async-swallow")
async def async_swallow(task):
    touch(task)
    for _ in range(task.data["times"]):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    return "gave in"


@runner("async-block")
async def async_block(task):
    touch(task)
    while True:
        pass


@runner("async-block-in-group")
async def async_block_in_group(task):
    async def block() -> None:
        touch(task)
        while True:
            pass

    async with asyncio.TaskGroup() as group:
        group.create_task(block())


@runner("async-block-in-c")
async def async_block_in_c(task):
    touch(task)
    time.sleep(task.data["seconds"])


@runner("async-wait-for-file")
async def async_wait_for_file(task):
    touch(task)
    while not Path(task.data["end"]).exists():
        await asyncio.sleep(0.005)
    return "survived"


@runner("async-fail")
async def async_fail(task):
    await asyncio.sleep(0)
    raise ValueError("async")


@runner("async-system-exit")
async def async_system_exit(task):
    sys.exit(3)


@runner("async-cancel-itself")
async def async_cancel_itself(task):
    raise asyncio.CancelledError


@runner("async-database")
async def async_database(task):
    from asgiref.sync import sync_to_async

    def ask() -> str:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return threading.current_thread().name

    return await sync_to_async(ask)()


def touch(task) -> None:
    """Make the file `started` of the task's data, for tests to wait for."""
    if task.data and "started" in task.data:
        Path(task.data["started"]).write_text(str(os.getpid()))


@runner("chatter", executor="thread")
def chatter(task):
    """Logs a line every 20 ms, every tenth a warning, until it is aborted or has logged `data.lines`."""
    lines = (task.data or {}).get("lines")
    number = 0
    while lines is None or number < lines:
        number += 1
        logger.log(logging.INFO if number % 10 else logging.WARNING, "line %d of a long story", number)
        task.progress(number, lines)
        task.abort_signal.wait(0.02)
        task.abort_signal.raise_if_aborted()
    return {"lines": number}


# -- for whole workers ------------------------------------------------------------------------------------------------


@runner("succeed-at-attempt")
def succeed_at_attempt(task):
    """Logs twice an attempt; fails until attempt `at`, in the way that `by` names."""
    task.logger.info("begin %s", task.attempt)
    task.logger.info("end %s", task.attempt)
    if task.attempt < task.data["at"]:
        if task.data.get("by") == "retry":
            raise Retry(f"again after {task.attempt}", delay=0.05)
        raise ValueError(f"attempt {task.attempt}")
    return task.attempt


@runner("postpone-once")
def postpone_once(task):
    """Postpones itself until the file `seen` is there, which it makes; takes `seconds` each time."""
    seen = Path(task.data["seen"])
    if not seen.exists():
        seen.touch()
        time.sleep(task.data.get("seconds", 0))
        raise Postpone("not yet", delay=0.1)
    time.sleep(task.data.get("seconds", 0))
    return task.attempt


@runner("die-once")
def die_once(task):
    """Kills its process the first time."""
    task.logger.info("life %s", "two" if Path(task.data["seen"]).exists() else "one")
    if not Path(task.data["seen"]).exists():
        Path(task.data["seen"]).touch()
        os._exit(7)
    return task.attempt


@runner("async-log-and-wait")
async def async_log_and_wait(task):
    touch(task)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        task.logger.info("cancelled")
        raise


@runner("thread-loop", executor="thread")
def thread_loop(task):
    touch(task)
    try:
        while True:
            time.sleep(0.001)
    except BaseException as error:
        task.logger.info("interrupted by %s", type(error).__name__)
        raise


@runner("leave-trail")
def leave_trail(task):
    """Writes its start, signs of life and its end to the file `trail`, and logs `logs` entries meanwhile."""
    trail = Trail(task)
    trail.write("start")
    until = time.monotonic() + task.data["seconds"]
    for number in range(task.data.get("logs", 0)):
        task.logger.info("entry %s of attempt %s", number + 1, task.attempt)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(0.02, left))
        trail.write("alive")
    trail.write("end")
    trail.close()


class Trail:
    """Lines that many processes append to one file: what, uuid, attempt, process id, monotonic nanoseconds."""

    def __init__(self, task) -> None:
        self._file = os.open(task.data["trail"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._run = f"{task.uuid} {task.attempt} {os.getpid()}"

    def write(self, what: str) -> None:
        os.write(self._file, f"{what} {self._run} {time.monotonic_ns()}\n".encode())

    def close(self) -> None:
        os.close(self._file)


@runner("die-in-worker", executor="thread")
def die_in_worker(task):
    """Takes its whole worker with it, but for the tasks that are only near it."""
    if task.data == "die":
        os._exit(9)
