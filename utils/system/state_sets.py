"""State files that belong together: written as one, read as one, at whatever moment a kill comes.

Three files cannot be renamed in one step, so a save goes through names of its own:

1. each file is written whole under its waiting name, `.last_64.next.pdparams` for
   `last_64.pdparams`; the last one, the record, holds the SHA-256 of the others: from the moment
   it has its waiting name, the new set is complete;
2. the files are renamed, the record last.

Before that moment the final names hold the old set. After it, every file of the new set has its
waiting name or its final one; which, its hash tells.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.system.errors import UserError
from utils.system.files import sha256_of_file
from utils.system.state_files import read_state, with_ending, write_state

HASHES = "files"
"""Where a record keeps the hashes: ending → SHA-256."""


class FoundSet(NamedTuple):
    """A whole set on disk: where each file is, by its ending, and the record's content, if any."""

    paths: dict[str, Path]
    record: dict[str, Any] | None


def write_set(
    prefix: Path, states: dict[str, dict[str, Any]], record: tuple[str, dict[str, Any]] | None
) -> None:
    """Replaces the files of a set, which stays loadable at every moment.

    Args:
        prefix: such as `output/last_64`.
        states: ending → state dict.
        record: ending and content of the file that makes the set one; None: there is none, and
            a kill between two renames leaves files of two saves, each of them whole.

    Raises:
        UserError: a file cannot be written; the set is as it was.
    """
    endings = [*states, *([record[0]] if record else [])]
    if record:
        _settle(prefix, list(states), record[0])
    try:
        for ending, state in states.items():
            write_state(_waiting(prefix, ending), state, alone=True)
        if record:
            _flush(prefix.parent)
            hashes = {ending: sha256_of_file(_waiting(prefix, ending)) for ending in states}
            write_state(_waiting(prefix, record[0]), {**record[1], HASHES: hashes}, alone=True)
    except UserError:  # such as a full disk, on which the part that fitted is in the way
        for ending in endings:
            _waiting(prefix, ending).unlink(missing_ok=True)
        raise
    _flush(prefix.parent)
    _rename(prefix, endings)


def find_set(prefix: Path, endings: Sequence[str], record: str, expected: str) -> FoundSet:
    """Finds the newest whole set.

    A set without a record, or whose record has no hashes, is taken as it stands.

    Args:
        prefix: such as `output/last_64`.
        endings: of the files beside the record.
        record: the record's ending.
        expected: what the record should hold, for messages.

    Raises:
        UserError: a file is missing or broken, or files are of different saves.
    """
    if _waiting(prefix, record).is_file():
        with contextlib.suppress(UserError):  # what it names was lost; the last set may be there
            return _set_of(_waiting(prefix, record), prefix, endings, expected)
    path = with_ending(prefix, record)
    if path.is_file():
        return _set_of(path, prefix, endings, expected)
    return FoundSet({ending: with_ending(prefix, ending) for ending in endings}, None)


def _set_of(record: Path, prefix: Path, endings: Sequence[str], expected: str) -> FoundSet:
    content = read_state(record, expected)
    paths = {ending: with_ending(prefix, ending) for ending in endings}
    hashes = content.get(HASHES)
    if hashes is None:
        return FoundSet(paths, content)
    if not isinstance(hashes, dict):
        raise UserError(f"{record}: not a file of {expected}: its hashes are missing")
    for ending, final in paths.items():
        places = [p for p in (_waiting(prefix, ending), final) if p.is_file()]
        if not places:
            raise UserError(f"{final}: missing; it belongs to {record}")
        fits = [place for place in places if sha256_of_file(place) == hashes.get(ending)]
        if not fits:
            raise UserError(f"{final}: damaged, or not of the same save as {record}")
        paths[ending] = fits[0]
    return FoundSet(paths, content)


def _settle(prefix: Path, endings: list[str], record: str) -> None:
    """Finishes the renames of a save that was killed in the middle of them."""
    waiting = _waiting(prefix, record)
    if not waiting.is_file():
        return
    try:
        _set_of(waiting, prefix, endings, "a saved state")
    except UserError:
        waiting.unlink()
    else:
        _rename(prefix, [*endings, record])


def _waiting(prefix: Path, ending: str) -> Path:
    return prefix.with_name(f".{prefix.name}.next{ending}")


def _rename(prefix: Path, endings: Sequence[str]) -> None:
    for ending in endings:
        try:
            os.replace(_waiting(prefix, ending), with_ending(prefix, ending))
        except FileNotFoundError:  # renamed before a kill
            continue
        except OSError as error:
            path = with_ending(prefix, ending)
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    _flush(prefix.parent)


def _flush(folder: Path) -> None:
    # So that not even a power failure mixes up what came first.
    with contextlib.suppress(OSError):  # a system that cannot open folders has no need of it
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
