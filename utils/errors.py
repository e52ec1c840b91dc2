"""The one kind of error that is the user's to mend: a clear line, exit status 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something the user can mend: a file, a flag, a setting.

    The message is one line that says what was found where (file, line), what was expected
    and what to do about it.
    """


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; a `UserError` becomes one line on stderr.

    Args:
        command: a function without arguments; what it returns (None counts as 0) is the status.

    Returns:
        The exit status: the command's own, or 2 after a `UserError`.
    """
    try:
        return command() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
