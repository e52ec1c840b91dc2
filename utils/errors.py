"""The one kind of error that is the user's to mend: a clear line, exit status 2, no traceback."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128
"""Added to the number of a signal: 130 after Ctrl-C, 143 after SIGTERM, as shells have it."""
LONGEST_LINE = 2000


class UserError(Exception):
    """Something the user can mend: a file, a flag, a setting.

    The message is one line that says what was found where (file, line), what was expected
    and what to do about it.
    """


class Terminated(BaseException):
    """SIGTERM has come; no `except Exception` stops it on its way to `run_command`."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message, or the error's kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(text: str) -> str:
    """Text as one line that a terminal shows as it is: other characters come as escapes.

    Names in a message may be of a stranger's file.
    """
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 1]}…"


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; a `UserError` becomes one line on stderr.

    Args:
        command: a function without arguments; what it returns (None counts as 0) is the status.

    Returns:
        The exit status: the command's own, 2 after a `UserError`, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    try:
        with _raising_at_sigterm():
            return command() or 0
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, Terminated) as stop:
        print("stopped; what was saved before is whole", file=sys.stderr)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        return EXIT_SIGNAL + number


@contextlib.contextmanager
def _raising_at_sigterm() -> Iterator[None]:
    def leave(_number: int, _frame: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
