"""An event loop in a thread of its own, so that code which waits can stand on code which doesn't."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["Background"]

T = TypeVar("T")

_LONGEST_STOP = 5.0


class Background:
    """Runs coroutines in one thread; the thread starts with the first of them and ends with `close`.

    It works wherever it is called from, also from a notebook or a server, which run an event loop themselves.

    Examples
    --------
    >>> async def double(x):
    ...     return 2 * x
    >>> background = Background()
    >>> background.run(double(21))
    42
    >>> background.close()
    """

    def __init__(self, name: str = "whyrank-wire") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` and return at once; cancelling the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self._started())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` and wait for its result; an interrupted wait cancels it."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what is still going on and end the thread. A later `submit` starts another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_LONGEST_STOP)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LONGEST_STOP)
        loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return self._loop


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
