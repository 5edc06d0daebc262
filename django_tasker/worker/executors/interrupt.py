"""Raises an exception in another thread: the only way to end Python code that does not look at its abort signal."""

from __future__ import annotations

import ctypes

from ...errors import RunAborted

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = [ctypes.c_ulong, ctypes.py_object]
_set_async_exc.restype = ctypes.c_int
_clear_async_exc = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def raise_run_aborted(thread_id: int) -> None:
    """Raise RunAborted in the thread, as soon as it runs Python code again. Code inside C goes on until it returns.

    See https://docs.python.org/3/c-api/init.html (PyThreadState_SetAsyncExc). The caller makes sure that the thread
    is still at what is to be ended.
    """
    _set_async_exc(thread_id, RunAborted)


def clear_raised(thread_id: int) -> None:
    """Take back what was raised in the thread and has not reached it yet."""
    _clear_async_exc(thread_id, None)
