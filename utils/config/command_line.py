"""The parser of all commands: both spellings of a flag, mistakes in one line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence

from utils.system.errors import UserError


class Parser(argparse.ArgumentParser):
    """Takes each flag in `-` and in `_` spelling; a mistake is a `UserError`."""

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, after the spelling of the flags."""
        args = sys.argv[1:] if args is None else args
        return super().parse_known_args([_with_hyphens(a) for a in args], namespace)

    def error(self, message: str):
        """Raises the mistake instead of ending the process."""
        raise UserError(f"{message} ({self.prog} --help lists the flags)")


def _with_hyphens(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


_BEGINNINGS = ("--resume", "--last-epoch")
"""Flags, each with a value, that say where a training begins."""


def command_to_resume(state: str | None, arguments: Sequence[str] | None = None) -> str:
    """The command line that goes on with what this one began.

    Args:
        state: what `--resume` is to name; None: the command line as it was.
        arguments: the program and its arguments; None: the process's own.
    """
    arguments = sys.argv if arguments is None else arguments
    resume = ["--resume", state] if state else []
    kept = _without_beginning(arguments) if state else arguments
    return shlex.join(["python", *kept, *resume])


def _without_beginning(arguments: Sequence[str]) -> Iterator[str]:
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = _with_hyphens(argument).partition("=")
        if name not in _BEGINNINGS:
            yield argument
        elif not equals:
            next(rest, None)
