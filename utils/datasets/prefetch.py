"""Work done ahead, in threads, and handed over in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prepared(
    items: Iterable[Item],
    parts: Callable[[Item], Iterable],
    work: Callable[[Item, object], None],
    threads: int,
    ahead: int,
) -> Iterator[Item]:
    """Yields items in their order, each when all of its parts have been worked on.

    Threads and not processes: decoding and scaling run outside Python's lock, results need not be
    copied from one process to another, and nothing is forked from a process that computes.

    Args:
        items: are asked for one by one, as there is room.
        parts: what can be done independently for an item.
        work: called with (item, part); the threads share its items.
        threads: how many; 0: the caller's own, nothing is done ahead.
        ahead: items that may be in the making beyond the one asked for.

    Raises:
        Exception: what `work` raised, where the item would have come; the first part's first.
    """
    if threads == 0:
        for item in items:
            for part in parts(item):
                work(item, part)
            yield item
        return
    waiting: deque = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="loader")
    try:
        for item in items:
            waiting.append((item, [pool.submit(work, item, part) for part in parts(item)]))
            if len(waiting) > ahead:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(item: Item, futures: list) -> Item:
    for future in futures:
        future.result()
    return item
