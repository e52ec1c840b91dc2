"""Ctrl-C and SIGTERM: how a command takes them, and with which status it ends."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

EXIT_SIGNAL = 128
"""Added to the number of a signal: 130 after Ctrl-C, 143 after SIGTERM, as shells have it."""
PATIENCE_SECONDS = 5.0
"""How long a signal waits for Paddle to return."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM has come; no `except Exception` stops it on its way to the command."""


def number_of(error: BaseException) -> int:
    """The signal that raises such an error, 0 where none does."""
    raised_by = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
    return raised_by.get(type(error), 0)


def take_signals(handle: Callable[[int, Any], None]) -> dict[int, Any]:
    """Lets Ctrl-C and SIGTERM be handled, unless they are ignored (as by `nohup` or a shell's `&`).

    Args:
        handle: called with the signal's number and the frame.

    Returns:
        What handled each of them before; `signal.signal` puts it back.
    """
    minded = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    return {number: signal.signal(number, handle) for number in minded}


@contextlib.contextmanager
def raising_at_signals(came: list[int]) -> Iterator[None]:
    """Inside the block the first signal raises soon, the second at once.

    Args:
        came: takes up the numbers of the signals that come.

    An exception in the middle of Paddle's code was seen to become another one, or to end the
    process with a trace of C++: so the first waits until Paddle has returned, for a while (where
    the system has timers).
    """
    alarm = getattr(signal, "SIGALRM", None)
    deadline = 0.0

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal deadline
        first = not came
        if number != alarm:
            came.append(number)
            if first and alarm is not None:
                deadline = time.monotonic() + PATIENCE_SECONDS
        if len(came) == 1 and time.monotonic() < deadline and _is_in_paddle(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        else:
            raise Terminated if came[0] == signal.SIGTERM else KeyboardInterrupt

    before = take_signals(leave)
    if alarm is not None:
        before[alarm] = signal.signal(alarm, leave)
    try:
        yield
    finally:
        if alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_paddle(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "paddle":
            return True
        frame = frame.f_back
    return False
