"""Confined objects of the library: one thread at a time, made anew after a fork."""
from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Callable

from . import _native

_workers: "weakref.WeakSet[Worker]" = weakref.WeakSet()


class Worker:
    """An engine, detector or embedder behind a lock. `with worker as handle:` is one turn.

    Engines have threads and belong to one process. In a forked child the first turn makes the
    object anew from its model, which is shared.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._make = make
        self._arguments = arguments
        self._lock = threading.Lock()
        self.handle = make(*arguments)
        _workers.add(self)

    def __enter__(self) -> Any:
        self._lock.acquire()
        try:
            if _native.is_stale(self.handle):
                self.handle = self._make(*self._arguments)
        except BaseException:
            self._lock.release()
            raise
        return self.handle

    def __exit__(self, *error: Any) -> None:
        self._lock.release()


def _after_fork_in_child() -> None:
    # A lock that another thread held stays locked for ever in the child.
    for worker in list(_workers):
        worker._lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
