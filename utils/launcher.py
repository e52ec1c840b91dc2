"""Runs a function on every rank: those a launcher has started, or processes started here.

Paddle's own `dist.spawn` starts them. Watching over them is done here, since Paddle waits for ever
for a rank that does not end when asked to, and reports the errors that a failure causes in the
other ranks as readily as the failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import paddle.distributed as dist

from utils.errors import EXIT_USER_ERROR, UserError
from utils.runtime import has_launcher, usable_gpus

SETTLE_SECONDS = 1.0
"""From the first failure seen to the search for its cause: one rank's end fails the others."""
GRACE_SECONDS = 10.0
"""From asking a rank to end to making it end."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def run_on_all_ranks(
    function: Callable[[Any], int], argument: Any, processes: int, device: str
) -> int:
    """Runs `function(argument)` on all ranks and returns when all have ended.

    Under `python -m paddle.distributed.launch` this process is one of the ranks. Otherwise the
    ranks are started on this machine; one rank is this very process.

    Args:
        function: importable by name; returns the exit status.
        argument: can be pickled.
        processes: how many ranks to start; 0: one for each visible GPU, or one.
        device: 'auto', 'gpu' or 'cpu', what the ranks will choose.

    Raises:
        UserError: `processes` contradicts the launcher or the GPUs, a rank raised one, or a rank
            was killed.
        RuntimeError: a rank failed otherwise; its traceback is the message.
    """
    if has_launcher():
        if processes not in (0, dist.get_world_size()):
            raise UserError(
                f"--nprocs {processes}: the launcher has started {dist.get_world_size()} processes"
            )
        if dist.get_world_size() > 1:
            _join_world()
        return function(argument)
    gpus = 0 if device == "cpu" else usable_gpus()
    if gpus and processes > gpus:
        raise UserError(f"--nprocs {processes}: {gpus} GPUs are visible; --device cpu needs none")
    ranks = processes or gpus or 1
    if ranks == 1:
        return function(argument)
    failures = multiprocessing.get_context("spawn").SimpleQueue()
    with warnings.catch_warnings(), _termination_as_exit():
        warnings.simplefilter("ignore")  # Paddle's: that it will compute on the CPU
        context = dist.spawn(
            _run_rank,
            args=(function, argument, failures),
            nprocs=ranks,
            join=False,
            backend="nccl" if gpus else "gloo",
        )
        try:
            failed = _first_failure(context.processes)
        finally:
            _end(context.processes)
    if failed is not None:
        raise _cause(failed, context, failures)
    return 0


def _join_world() -> None:
    # Paddle shows settings that it has changed itself, and warns that it computes on the CPU.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        dist.init_parallel_env()


def _run_rank(function: Callable[[Any], int], argument: Any, failures: Any) -> None:
    if sys.platform == "linux":  # nothing else would end it if the parent were killed
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    try:
        _join_world()
        function(argument)
    except UserError as error:
        _leave(failures, EXIT_USER_ERROR, str(error))
    except Exception:
        _leave(failures, 1, f"rank {dist.get_rank()} failed:\n{traceback.format_exc()}")


def _leave(failures: Any, status: int, message: str) -> None:
    failures.put((status, message))
    for loader in multiprocessing.active_children():
        loader.terminate()
    sys.stdout.flush()
    os._exit(status)  # an orderly end was seen to wait until gloo gave up on the other ranks


@contextlib.contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Inside the block a polite kill (SIGTERM) unwinds the stack, so that the ranks are ended."""

    def leave(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_failure(processes: list) -> int | None:
    """Waits until all have ended well (None), or returns the rank whose failure came first."""
    while any(process.exitcode is None for process in processes):
        running = [process.sentinel for process in processes if process.exitcode is None]
        connection.wait(running, timeout=0.5)  # a loading process can keep a sentinel open
        if any(process.exitcode for process in processes):
            time.sleep(SETTLE_SECONDS)
            break
    failed = [rank for rank, process in enumerate(processes) if process.exitcode]
    # A killed rank (its status is below 0) is a cause; one with an error may be a consequence.
    return min(failed, key=lambda rank: processes[rank].exitcode, default=None)


def _end(processes: list) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()


def _cause(rank: int, context: Any, failures: Any) -> Exception:
    reported, message = (0, "") if failures.empty() else failures.get()  # the first one
    if reported == EXIT_USER_ERROR:
        return UserError(message)
    status = context.processes[rank].exitcode
    if status < 0:
        name = signal.Signals(-status).name
        return UserError(
            f"rank {rank} was killed by {name} (the system kills with SIGKILL where memory runs "
            "out); the other ranks were ended; --resume goes on from the last saved state"
        )
    return RuntimeError(message or f"rank {rank} ended with status {status}")
