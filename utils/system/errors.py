"""How a command ends: one clear line for the user's mistake, one status for each signal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import reprlib
import shutil
import signal
import sys
import textwrap
import zlib  # noqa: F401  (before Paddle, in each rank: 2.6.2 brings a copy that breaks a later one)
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TextIO

from utils.system import INTERRUPTED, end_interrupted

EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128
"""Added to a signal's number: 130 after Ctrl-C, 143 after SIGTERM, as shells have it."""
MAX_LINE = 2000
_QUOTED = re.compile(r"""(?<!\S)'[^']*'(?:"'"'[^']*')*""")
"""A word that `shlex.quote` has quoted."""


class UserError(Exception):
    """Something the user can mend: a file, a flag, a setting.

    The message is one line that says what was found where (file, line), what was expected
    and what to do about it.
    """


class Terminated(BaseException):
    """SIGTERM has come; no `except Exception` stops it on its way to the command."""


class Interrupted(Exception):
    """All ranks have agreed to stop between two steps (`utils.training.preemption`)."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message, or the error's kind where it has none.

    The system's have a number before, which says nothing to people: '[Errno 28] No space left'.
    """
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(error).strip())
    return (text or type(error).__name__).splitlines()[0]


def reason(error: OSError) -> str:
    """Why the system refused, such as 'No space left on device'."""
    return error.strerror or str(error)


def printable(text: str) -> str:
    """Text that a terminal shows as it is; line ends and other such characters as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Printable text, cut off where it is too long for a message."""
    shown = printable(text)
    return shown if len(shown) <= MAX_LINE else f"{shown[: MAX_LINE - 1]}…"


def shown_on(stream: TextIO, line: str) -> str:
    """A line as a stream shows it: on a terminal that is narrower, broken between words.

    A command can still be pasted: its lines end with a backslash, and quotes are not broken.
    """
    if not stream.isatty():
        return line
    end = " \\" if "python " in line else ""
    columns = shutil.get_terminal_size().columns - len(end)
    wrapping = {"break_long_words": False, "break_on_hyphens": False}
    whole = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", "\0"), line)
    lines = textwrap.wrap(whole, columns, subsequent_indent="    ", **wrapping)
    begin = next((i for i, each in enumerate(lines) if "python " in f"{each} "), len(lines))
    lines[begin:-1] = [each + end for each in lines[begin:-1]]
    return "\n".join(lines).replace("\0", " ") or line


def tell(line: str) -> None:
    """Prints a line for people, whatever the names in it hold; see `shown_on`."""
    print(shown_on(sys.stdout, printable(line)))


def short_repr(value: Any) -> str:
    """A value of a stranger's file as a message shows it, however large or deep it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__} too long to show"


@contextlib.contextmanager
def signals_handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Inside the block Ctrl-C and SIGTERM call `handler(number, frame)`.

    Unless they are ignored, as by `nohup` or a shell's `&`.
    """
    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def raise_signal(number: int) -> NoReturn:
    """Ends what is under way, as Python does at Ctrl-C, also for SIGTERM."""
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _imports(frame: Any) -> bool:
    """Whether an import is under way in a frame or in what has called it."""
    while frame and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    return bool(frame)


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; a `UserError` becomes one line on stderr.

    The status is what the command returns (None counts as 0), 2 after a `UserError`, 130 after
    Ctrl-C, 143 after SIGTERM. A second signal ends the process at once, and so does the first
    while something is imported.
    """
    came: list[int] = []

    def leave(number: int, frame: Any) -> None:
        # What is raised in the middle of an import may leave Python's lock of imports taken, for
        # which threads then wait for ever, and some modules take it for their own failure.
        if came or _imports(frame):
            end_interrupted(number)
        came.append(number)
        raise_signal(number)

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed, and the next file to be opened would be it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console need not know every character
            stream.reconfigure(errors="backslashreplace")
    try:
        with signals_handled_by(leave):
            status = command() or 0
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # whoever read our output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_SIGNAL + signal.SIGPIPE
    except (Exception, KeyboardInterrupt, Terminated) as error:
        # After a signal, whatever was raised: on its way through libraries it may become another.
        signals = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
        number = came[0] if came else signals.get(type(error))
        if number:
            print(INTERRUPTED, file=sys.stderr)
            return EXIT_SIGNAL + number
        if isinstance(error, (UserError, OSError)):  # the latter such as a console on a full disk
            text = str(error) if isinstance(error, UserError) else first_line(error)
            print(shown_on(sys.stderr, f"error: {one_line(text)}"), file=sys.stderr)
            return EXIT_USER_ERROR
        raise
