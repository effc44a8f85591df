"""Background tasks that are named, kept alive and never crash silently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_log = logging.getLogger("sbgw.tasks")
_running: set[asyncio.Task[Any]] = set()

_T = TypeVar("_T")


def spawn(name: str, coro: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Start ``coro`` as a task; a crash is logged under ``name``, a cancellation is not."""
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)
    task.add_done_callback(_finished)
    return task


def alive() -> int:
    """How many tasks the running loop has, whoever started them; 0 where no loop runs."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _finished(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task %s crashed: %r", task.get_name(), error, exc_info=error)
