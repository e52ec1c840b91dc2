"""Graceful stop: after Ctrl-C or SIGTERM all ranks stop between the same two steps."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import numpy as np
import paddle

from utils.system import distributed
from utils.system.runtime import has_launcher

EXCHANGE_STEPS = 10
"""Steps from one exchange to the next on GPUs, where each waits for all that is under way."""
_STDERR = 2


class StopRequest:
    """Notes a signal (`note` is the handler); `agreed` acts on it.

    A second signal ends the process at once. Not so one of several ranks: it may get one from the
    terminal and another from whoever has started it, who also sees to it that it ends.

    Attributes:
        number: of the signal for which all ranks stop; 0: they go on.
    """

    def __init__(self) -> None:
        self.number, self._noted = 0, 0
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
                os.write(_STDERR, f"\nstopping after this step{again}\n".encode())

    def agreed(self, step: int) -> bool:
        """Whether all ranks stop before this step; they ask together, at the same steps."""
        if distributed.world_size() == 1:
            self.number = self._noted
        elif not self.number and step % self._every == 0:
            self.number = int(distributed.gather_array(np.array([self._noted])).max())
        return self.number > 0
