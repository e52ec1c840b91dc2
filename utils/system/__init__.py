"""The layer below all others: files, logs, ranks, and how a command ends."""

from __future__ import annotations

import os

INTERRUPTED = "interrupted; what was saved before is intact"


def end_interrupted(number: int) -> None:
    """Ends the process at once, as after a signal of this number: with a line, nothing else."""
    try:
        os.write(2, f"{INTERRUPTED}\n".encode())
    finally:
        os._exit(128 + number)
