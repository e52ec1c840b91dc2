"""The parser of all commands: both spellings of a flag, mistakes in one line."""

from __future__ import annotations

import argparse
import sys

from utils.errors import UserError


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
