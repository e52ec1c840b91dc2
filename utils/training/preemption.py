"""Ctrl-C and SIGTERM as a wish: work stops between two steps, on all ranks at the same one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from utils.system import distributed
from utils.system.runtime import has_launcher
from utils.system.signals import EXIT_SIGNAL, take_signals

EXCHANGE_SECONDS = 1.0
"""How long ranks go on, about, until they ask each other again whether to stop."""
_STDERR = 2


class Interrupted(Exception):
    """All ranks have agreed to stop here.

    Attributes:
        status: the exit status that says so: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = EXIT_SIGNAL + number


class Interruption:
    """Inside the block a signal is noted; `watch` acts on it.

    A second signal ends the process at once, as if nobody minded signals. Not so one of several
    ranks: it may get one signal from the terminal and another from whoever has started it, who
    also sees to it that it ends.
    """

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[int, Any] = {}
        self._alone = distributed.world_size() == 1 and not has_launcher()

    def __enter__(self) -> Interruption:
        self._before = take_signals(self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: Any) -> None:
        if self._number:
            return
        self._number = number
        again = ""
        if self._alone:
            again = "; again: at once"
            for each in self._before:
                signal.signal(each, signal.SIG_DFL)
        if distributed.is_first():  # not through a logger, which may be writing just now
            with contextlib.suppress(OSError):
                os.write(_STDERR, f"\nstopping after this step{again}\n".encode())

    def watch(self, items: Iterable) -> Iterator:
        """Gives the items; all ranks call it together, with as many.

        The ranks ask each other before the first item and then about every second: asking costs
        an exchange, which on a GPU waits for all steps that are still under way.

        Raises:
            Interrupted: on all ranks before the same item, where one of them has had a signal.
        """
        every, left, since = 1, 0, time.monotonic()
        for item in items:
            if left == 0:
                seconds = max(1e-6, time.monotonic() - since)
                # From few items on, and never from a few quick ones to very many.
                every = self._agree(int(min(2 * every, max(1, every * EXCHANGE_SECONDS / seconds))))
                left, since = every, time.monotonic()
            left -= 1
            yield item

    def _agree(self, items: int) -> int:
        """Raises where a rank has had a signal; else how many items to go on for, on all ranks."""
        if distributed.world_size() == 1:
            number, items = self._number, 1
        else:
            (said,) = distributed.gather_arrays(np.array([[self._number, items]]))
            number, items = int(said[:, 0].max()), int(said[:, 1].min())
        if number:
            raise Interrupted(number)
        return items
