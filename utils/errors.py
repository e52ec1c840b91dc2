"""The one kind of error that is the user's to mend: a clear line, exit status 2, no traceback."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128
"""Added to the number of a signal: 130 after Ctrl-C, 143 after SIGTERM, as shells have it."""
PATIENCE_SECONDS = 5.0
"""How long a signal waits for Paddle to return."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class UserError(Exception):
    """Something the user can mend: a file, a flag, a setting.

    The message is one line that says what was found where (file, line), what was expected
    and what to do about it.
    """


class Terminated(BaseException):
    """SIGTERM has come; no `except Exception` stops it on its way to `run_command`."""


_RAISED_BY = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}


def first_line(error: BaseException) -> str:
    """The first line of another library's message, or the error's kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; a `UserError` becomes one line on stderr.

    Args:
        command: a function without arguments; what it returns (None counts as 0) is the status.

    Returns:
        The exit status: the command's own, 2 after a `UserError`, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    came: list[int] = []
    try:
        with _raising_at_signals(came):
            return command() or 0
    except (Exception, KeyboardInterrupt, Terminated) as error:
        # After a signal, whatever was raised: on its way through libraries it may become another.
        number = came[0] if came else _RAISED_BY.get(type(error), 0)
        if number:
            print("stopped; what was saved before is whole", file=sys.stderr)
            return EXIT_SIGNAL + number
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
            return EXIT_USER_ERROR
        raise


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
def _raising_at_signals(came: list[int]) -> Iterator[None]:
    """Inside the block the first signal raises soon, the second at once.

    An exception in the middle of Paddle's code was seen to become another one, or to end the
    process with a trace of C++: so the first waits until Paddle has returned, for a while.
    """
    deadline = 0.0

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal deadline
        first = not came
        if number != signal.SIGALRM:
            came.append(number)
            if first:
                deadline = time.monotonic() + PATIENCE_SECONDS
        if len(came) == 1 and time.monotonic() < deadline and _is_in_paddle(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        else:
            raise Terminated if came[0] == signal.SIGTERM else KeyboardInterrupt

    before = {**take_signals(leave), signal.SIGALRM: signal.signal(signal.SIGALRM, leave)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_paddle(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "paddle":
            return True
        frame = frame.f_back
    return False
