"""Graceful stop: after Ctrl-C or SIGTERM all ranks stop between the same two steps.

The same exchange tells them when the clock wants a state saved.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from typing import Any

import numpy as np
import paddle

from utils.system import distributed
from utils.system.runtime import has_launcher

EXCHANGE_STEPS = 10
"""Steps from one exchange to the next on GPUs, where each waits for all that is under way."""


class StopRequest:
    """Notes a signal (`note` is the handler); `agreed` acts on it.

    A second signal ends the process at once. Not so one of several ranks: it may get one from the
    terminal and another from whoever has started it, who also sees to it that it ends.

    Args:
        save_seconds: from one saved state to the next; 0: not by the clock.

    Attributes:
        number: of the signal for which all ranks stop; 0: they go on.
        save_due: whether all ranks save before they go on.
    """

    def __init__(self, save_seconds: float = 0) -> None:
        self.number, self._noted = 0, 0
        self._save_seconds = save_seconds or math.inf
        self.saved()
        self._alone = distributed.world_size() == 1 and not has_launcher()
        self._every = 1 if paddle.device.get_device() == "cpu" else EXCHANGE_STEPS

    def note(self, number: int, _frame: Any) -> None:
        """Handles a signal."""
        if self._noted:
            return
        self._noted = number
        again = ""
        if self._alone:
            again = "; again: at once"
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_DFL)
        if distributed.is_main_process():  # not through a logger, which may be writing just now
            with contextlib.suppress(OSError):
                os.write(2, f"\nstopping after this step{again}\n".encode())

    def saved(self) -> None:
        """A state has been saved: the clock begins anew."""
        self.save_due, self._save_at = False, time.monotonic() + self._save_seconds

    def agreed(self, step: int) -> bool:
        """Whether all ranks stop before this step; they ask together, at the same steps."""
        found = np.array([[self._noted, time.monotonic() >= self._save_at]])
        if distributed.world_size() == 1 or (not self.number and step % self._every == 0):
            self.number, due = map(int, distributed.gather_array(found).max(axis=0))
            self.save_due = due > 0
        return self.number > 0

    def pauses(self, step: int) -> bool:
        """Whether all ranks leave the steps of an epoch here, to stop or to save."""
        return self.agreed(step) or self.save_due
