"""The one kind of error that is the user's to mend: a clear line, exit status 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from utils.system.signals import EXIT_SIGNAL, Terminated, number_of, raising_at_signals

EXIT_USER_ERROR = 2
LONGEST_LINE = 2000


class UserError(Exception):
    """Something the user can mend: a file, a flag, a setting.

    The message is one line that says what was found where (file, line), what was expected
    and what to do about it.
    """


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
    came: list[int] = []
    try:
        with raising_at_signals(came):
            return command() or 0
    except (Exception, KeyboardInterrupt, Terminated) as error:
        # After a signal, whatever was raised: on its way through libraries it may become another.
        number = came[0] if came else number_of(error)
        if number:
            print("stopped; what was saved before is whole", file=sys.stderr)
            return EXIT_SIGNAL + number
        if isinstance(error, UserError):
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            return EXIT_USER_ERROR
        raise
